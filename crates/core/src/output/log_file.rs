//! One component's log file: stamped lines in, appended in batches, rotated by size.
//!
//! Writing may fail (a full disk, an I/O error) and that must never block the component or the thread: what cannot be written
//! is counted and dropped, and the first line that can be written again says how much was lost and why.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use grace_types::{
    manifest::LogSettings,
    time::{Monotonic, Now, Timestamp},
};

use super::{
    lines::Part,
    rotation::{self, Step},
};
use crate::limits;

/// Lines that are ready to be written, with their stamps.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where each line ends in `bytes`, its newline included.
    ends: Vec<usize>,
    stamp: Stamp,
}

impl Batch {
    /// Adds `2026-11-23T12:30:00.123456Z TAG TEXT`.
    pub(super) fn push(&mut self, wall: Timestamp, tag: &str, text: &[u8], part: Part) {
        self.stamp.write(wall, &mut self.bytes);
        for piece in
            [b" ", tag.as_bytes(), b" ", part.prefix().as_bytes(), text, part.suffix().as_bytes(), b"\n"]
        {
            self.bytes.extend_from_slice(piece);
        }
        self.ends.push(self.bytes.len());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(limits::READ_BYTES);
        self.ends.clear();
    }
}

/// Writes stamps; the part down to the second is kept, since most lines share it with the one before.
#[derive(Debug, Default)]
struct Stamp {
    second: u64,
    text: String,
}

impl Stamp {
    fn write(&mut self, wall: Timestamp, out: &mut Vec<u8>) {
        const NANOS: u64 = 1_000_000_000;
        let second = wall.as_nanos() / NANOS;
        if self.text.is_empty() || second != self.second {
            self.second = second;
            self.text = Timestamp::from_nanos(second * NANOS).to_string();
        }
        let micros = wall.as_nanos() % NANOS / 1000;
        out.extend_from_slice(self.text.trim_end_matches('Z').as_bytes());
        out.extend_from_slice(format!(".{micros:06}Z").as_bytes());
    }
}

/// Output that could not be written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Loss {
    pub(super) bytes: u64,
    pub(super) lines: u64,
    pub(super) reason: String,
}

impl Loss {
    fn add(&mut self, bytes: usize, lines: usize, reason: &str) {
        self.bytes += bytes as u64;
        self.lines += lines as u64;
        self.reason = reason.to_owned();
    }
}

/// The file that a component's lines are appended to.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    settings: LogSettings,
    file: Option<File>,
    size_bytes: u64,
    /// Whether the file ends in the middle of a line.
    torn: bool,
    /// Lost since the last line about losses was written.
    unwritten: Loss,
    /// Lost since the last report was taken.
    unreported: Loss,
    /// Not written to before this; set after a failure.
    retry_at: Option<Monotonic>,
    /// When to look again whether somebody deleted the file.
    look_at: Monotonic,
}

impl LogFile {
    pub(super) fn new(path: PathBuf, settings: LogSettings) -> Self {
        Self {
            path,
            settings,
            file: None,
            size_bytes: 0,
            torn: false,
            unwritten: Loss::default(),
            unreported: Loss::default(),
            retry_at: None,
            look_at: Monotonic::ZERO,
        }
    }

    pub(super) fn settings(&mut self, settings: LogSettings) {
        self.settings = settings;
    }

    /// Writes the batch, or counts what of it is lost; the batch is empty afterwards.
    pub(super) fn write(&mut self, batch: &mut Batch, now: Now) {
        let mut done = 0;
        let failure = if self.retry_at.is_some_and(|at| now.mono < at) {
            Some(self.unwritten.reason.clone())
        } else {
            self.try_write(batch, &mut done, now).err().map(|e| {
                self.retry_at = Some(now.mono.plus(limits::OUTPUT_RETRY));
                self.file = None;
                e.to_string()
            })
        };
        if let Some(reason) = failure {
            let lines = batch.ends.iter().filter(|end| **end > done).count();
            self.lose(batch.bytes.len() - done, lines, &reason);
        } else {
            self.retry_at = None;
        }
        batch.clear();
    }

    /// Whether there is something to write that no further output may ever bring: the line about a loss.
    pub(super) fn owes_a_line(&self) -> bool {
        self.unwritten.lines > 0
    }

    /// What was lost since the last call.
    pub(super) fn take_loss(&mut self) -> Option<Loss> {
        (self.unreported.lines > 0).then(|| std::mem::take(&mut self.unreported))
    }

    fn lose(&mut self, bytes: usize, lines: usize, reason: &str) {
        self.unwritten.add(bytes, lines, reason);
        if lines > 0 {
            self.unreported.add(bytes, lines, reason);
        }
    }

    fn try_write(&mut self, batch: &Batch, done: &mut usize, now: Now) -> io::Result<()> {
        self.open(now)?;
        if self.owes_a_line() {
            self.write_loss_line(now)?;
        }
        let mut ends = batch.ends.iter().copied().peekable();
        while *done < batch.bytes.len() {
            let mut upto = *done;
            while let Some(end) = ends.next_if(|end| {
                rotation::fits(
                    self.size_bytes + (upto - *done) as u64,
                    (end - upto) as u64,
                    self.settings.max_size_bytes,
                )
            }) {
                upto = end;
            }
            if upto == *done {
                self.rotate()?;
            } else {
                self.append(&batch.bytes[*done..upto], done)?;
            }
        }
        Ok(())
    }

    fn write_loss_line(&mut self, now: Now) -> io::Result<()> {
        let Loss { bytes, lines, reason } = &self.unwritten;
        let text = format!("{bytes} bytes of output ({lines} lines) were lost: {reason}");
        let mut line = Batch::default();
        line.push(now.wall, "grace", text.as_bytes(), Part::Whole);
        if !rotation::fits(self.size_bytes, line.bytes.len() as u64, self.settings.max_size_bytes) {
            self.rotate()?;
        }
        self.append(&line.bytes, &mut 0)?;
        self.unwritten = Loss::default();
        Ok(())
    }

    /// Appends whole lines; `done` grows by what reached the file, also when this fails half way.
    fn append(&mut self, lines: &[u8], done: &mut usize) -> io::Result<()> {
        if self.torn {
            self.write_some(b"\n")?;
            self.torn = false;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            let written = self.write_some(rest)?;
            *done += written;
            self.torn = rest[written - 1] != b'\n';
            rest = &rest[written..];
        }
        Ok(())
    }

    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(file) = &mut self.file else {
            return Err(io::Error::other("the log file is not open"));
        };
        loop {
            match file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.size_bytes += written as u64;
                    return Ok(written);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        for step in rotation::steps(&self.path, self.settings.max_files) {
            let result = match &step {
                Step::Remove(path) => std::fs::remove_file(path),
                Step::Rename { from, to } => std::fs::rename(from, to),
            };
            match result {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        self.open_file()
    }

    /// Makes sure that the file is open and is still the one at the path: an operator may have deleted it.
    fn open(&mut self, now: Now) -> io::Result<()> {
        if let Some(file) = &self.file {
            if now.mono < self.look_at {
                return Ok(());
            }
            self.look_at = now.mono.plus(limits::OUTPUT_REPORT);
            if file.metadata()?.nlink() > 0 {
                return Ok(());
            }
        }
        let fresh = self.file.is_none();
        self.open_file()?;
        if fresh {
            // Files past a limit that was lowered would otherwise stay for ever.
            for (number, path) in rotation::rotated(&self.path)? {
                if number >= self.settings.max_files.max(1) {
                    std::fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    }

    fn open_file(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = match options.open(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let folder = self.path.parent().unwrap_or(Path::new("."));
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
                options.open(&self.path)?
            }
            other => other?,
        };
        let meta = file.metadata()?;
        self.size_bytes = meta.len();
        self.torn = false;
        if meta.is_file() && meta.len() > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            self.torn = last != *b"\n";
        }
        self.file = Some(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SETTINGS: LogSettings = LogSettings { max_size_bytes: 200, max_files: 3 };

    fn at(millis: u64) -> Now {
        Now {
            wall: Timestamp::from_nanos(1_795_437_000_123_456_789).plus(Duration::from_millis(millis)),
            mono: Monotonic::from_nanos(millis * 1_000_000),
        }
    }

    fn say(file: &mut LogFile, now: Now, texts: &[&str]) {
        let mut batch = Batch::default();
        for text in texts {
            batch.push(now.wall, "out", text.as_bytes(), Part::Whole);
        }
        file.write(&mut batch, now);
        assert!(batch.is_empty());
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn lines_are_stamped_and_the_file_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/web.log");
        let mut file = LogFile::new(path.clone(), SETTINGS);
        say(&mut file, at(0), &["hello"]);
        let mut batch = Batch::default();
        batch.push(at(1000).wall, "err", b"half", Part::Middle);
        file.write(&mut batch, at(1000));
        assert_eq!(
            read(&path),
            "2026-11-23T12:30:00.123456Z out hello\n\
             2026-11-23T12:30:01.123456Z err [continued] half [continues]\n"
        );
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_full_file_is_rotated_between_lines_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        for old in 1..6 {
            std::fs::write(rotation::numbered(&path, old), "old\n").unwrap();
        }
        let mut file = LogFile::new(path.clone(), SETTINGS);
        let texts: Vec<String> = (0..40).map(|n| format!("line {n}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        say(&mut file, at(0), &texts);
        assert_eq!(rotation::rotated(&path).unwrap().len(), 2);
        let mut all = String::new();
        for n in [2, 1, 0] {
            let text = read(&rotation::numbered(&path, n));
            assert!(text.len() <= 200 && text.ends_with('\n'), "{text}");
            all.push_str(&text);
        }
        assert!(all.ends_with("out line 39\n") && all.contains("out line 30\n"), "{all}");
        say(&mut file, at(1), &["x".repeat(500).as_str(), "after"]);
        assert!(read(&path).ends_with("after\n"));
        assert_eq!(read(&rotation::numbered(&path, 1)).len(), 500 + 32 + 1);
    }

    #[test]
    fn what_a_full_disk_took_is_counted_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut file = LogFile::new(path.clone(), SETTINGS);
        say(&mut file, at(0), &["one", "two"]);
        let loss = file.take_loss().unwrap();
        assert_eq!((loss.lines, loss.bytes), (2, 2 * 36));
        assert!(loss.reason.contains("No space left"), "{loss:?}");
        assert!(file.owes_a_line() && file.take_loss().is_none());
        std::fs::remove_file(&path).unwrap();
        say(&mut file, at(1), &["three"]);
        assert!(!path.exists(), "it was tried again too early");
        say(&mut file, at(1000), &["four"]);
        let text = read(&path);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("grace 110 bytes of output (3 lines) were lost: No space left"), "{text}");
        assert!(lines[1].ends_with("out four") && !file.owes_a_line());
    }

    #[test]
    fn a_torn_line_and_a_deleted_file_do_not_swallow_the_next_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        std::fs::write(&path, "torn").unwrap();
        let mut file = LogFile::new(path.clone(), SETTINGS);
        say(&mut file, at(0), &["one"]);
        assert!(read(&path).starts_with("torn\n2026-"), "{}", read(&path));
        std::fs::remove_file(&path).unwrap();
        say(&mut file, at(5000), &["two"]);
        assert!(read(&path).ends_with("out two\n"));
    }
}
