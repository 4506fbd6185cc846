//! Reads a component's log back: its last lines over rotated files, then what is added, through rotations.
//!
//! Only the files are needed: it works with everything else down. It blocks, since it is the whole of what
//! `grace logs` does.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write},
    mem::MaybeUninit,
    ops::Range,
    os::{
        fd::OwnedFd,
        unix::fs::{FileExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
};

use super::rotation;

/// Bytes read from a file at once.
const BLOCK_BYTES: usize = 64 << 10;

/// A file is looked at this often even when the system reports no change: some file systems report none.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Writes the last `lines` lines of the log at `path` to `out`; with `follow`, goes on with what is added until `out`
/// is closed, and waits for the file if there is none yet.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] when there is no such log and `follow` is not asked for; failures to read. That `out` was
/// closed is no error.
pub fn read(path: &Path, lines: usize, follow: bool, out: &mut dyn Write) -> io::Result<()> {
    match copy(path, lines, follow, out) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn copy(path: &Path, lines: usize, follow: bool, out: &mut dyn Write) -> io::Result<()> {
    // Watched before the first read, so that nothing is added unseen in between.
    let watch = if follow { Some(Watch::on(path)?) } else { None };
    let mut current = print_last(path, lines, out)?;
    let Some(mut watch) = watch else {
        let not_found =
            || io::Error::new(io::ErrorKind::NotFound, format!("{} does not exist", path.display()));
        return current.map(|_| ()).ok_or_else(not_found);
    };
    loop {
        out.flush()?;
        watch.wait()?;
        current = catch_up(path, current, out)?;
    }
}

/// Prints the last lines over all files; the newest file, read to its end.
fn print_last(path: &Path, lines: usize, out: &mut dyn Write) -> io::Result<Option<File>> {
    let mut files = open_all(path)?;
    let mut missing = lines;
    let mut parts = Vec::new();
    for file in &files {
        parts.push(last_lines(file, &mut missing)?);
        if missing == 0 {
            break;
        }
    }
    for (file, part) in files.iter_mut().zip(parts).rev() {
        // To where the lines were counted: what has been added since is not among the last lines then.
        file.seek(SeekFrom::Start(part.start))?;
        io::copy(&mut (&*file).take(part.end - part.start), out)?;
    }
    out.flush()?;
    Ok((!files.is_empty()).then(|| files.swap_remove(0)))
}

/// Every file of the log, newest first. One that is renamed while this looks is not taken twice.
fn open_all(path: &Path) -> io::Result<Vec<File>> {
    let mut files: Vec<File> = Vec::new();
    let mut seen = Vec::new();
    let rotated = match rotation::rotated(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    let paths = std::iter::once(path.to_owned()).chain(rotated.into_iter().map(|(_, path)| path));
    for path in paths {
        if let Some(file) = open(&path)? {
            let id = identity(&file)?;
            if !seen.contains(&id) {
                seen.push(id);
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// Where in the file its last `missing` lines are; what is still missing afterwards. A last line without its newline
/// counts as one.
fn last_lines(file: &File, missing: &mut usize) -> io::Result<Range<u64>> {
    let length = file.metadata()?.len();
    if *missing == 0 {
        return Ok(length..length);
    }
    let mut end = length;
    let mut block = vec![0; BLOCK_BYTES];
    let mut ends_seen = 0;
    let mut at_end = true;
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES as u64);
        let part = &mut block[..usize::try_from(end - start).unwrap_or(BLOCK_BYTES)];
        file.read_exact_at(part, start)?;
        for (i, byte) in part.iter().enumerate().rev() {
            if *byte == b'\n' && !std::mem::take(&mut at_end) {
                ends_seen += 1;
                if ends_seen == *missing {
                    *missing = 0;
                    return Ok(start + i as u64 + 1..length);
                }
            }
            at_end = false;
        }
        end = start;
    }
    // The file's first line has no newline before it.
    if !at_end {
        ends_seen += 1;
    }
    *missing -= ends_seen;
    Ok(0..length)
}

/// Prints what was added since `current` was read to its end, in it and in the files that followed it.
fn catch_up(path: &Path, current: Option<File>, out: &mut dyn Write) -> io::Result<Option<File>> {
    let Some(mut current) = current else {
        return print_from_the_oldest(path, out);
    };
    // Looked up before the last read, so that what was written before a rotation is read before what came after it.
    let newer = newer_than(path, identity(&current)?)?;
    if newer.is_empty() && current.metadata()?.len() < current.stream_position()? {
        current.seek(SeekFrom::Start(0))?;
    }
    io::copy(&mut current, out)?;
    for mut file in newer {
        io::copy(&mut file, out)?;
        current = file;
    }
    Ok(Some(current))
}

fn print_from_the_oldest(path: &Path, out: &mut dyn Write) -> io::Result<Option<File>> {
    let mut newest = None;
    for mut file in open_all(path)?.into_iter().rev() {
        io::copy(&mut file, out)?;
        newest = Some(file);
    }
    Ok(newest)
}

/// The files that were begun after the one with this identity, oldest first; all when it is gone.
fn newer_than(path: &Path, id: (u64, u64)) -> io::Result<Vec<File>> {
    if let Some(file) = open(path)?
        && identity(&file)? == id
    {
        return Ok(Vec::new());
    }
    let mut newer = Vec::new();
    for file in open_all(path)? {
        if identity(&file)? == id {
            break;
        }
        newer.push(file);
    }
    newer.reverse();
    Ok(newer)
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    let meta = file.metadata()?;
    Ok((meta.dev(), meta.ino()))
}

/// Waits for a change in the log's folder.
struct Watch {
    inotify: OwnedFd,
    folder: PathBuf,
}

impl Watch {
    fn on(path: &Path) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let watch = Self { inotify, folder };
        watch.add()?;
        Ok(watch)
    }

    fn add(&self) -> io::Result<()> {
        let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        match inotify::add_watch(&self.inotify, &self.folder, flags) {
            // No folder yet: it is looked for again after each wait. No watch to spare: the waiting time has to do.
            Ok(_) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOSPC) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Returns after a change, or after [`LOOK_AGAIN`].
    fn wait(&mut self) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.inotify, PollFlags::IN)];
        match poll(&mut fds, Some(&LOOK_AGAIN)) {
            Ok(0) => return self.add(),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        // Which file changed does not matter: one look finds out, and other components' logs are few.
        while events.next().is_ok() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(files: &[(u32, &str)]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        for (n, text) in files {
            std::fs::write(rotation::numbered(&path, *n), text).unwrap();
        }
        (folder, path)
    }

    fn last(path: &Path, lines: usize) -> String {
        let mut out = Vec::new();
        read(path, lines, false, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_last_lines_come_from_as_many_files_as_they_need() {
        let (_folder, path) = log(&[(2, "a\nb\n"), (1, "c\nd\n"), (0, "e\nf")]);
        let all = "a\nb\nc\nd\ne\nf";
        for lines in 0..8 {
            let skip = 2 * 6usize.saturating_sub(lines);
            assert_eq!(last(&path, lines), all.get(skip..).unwrap_or_default(), "{lines} lines");
        }
    }

    #[test]
    fn long_lines_and_empty_files_are_counted_right() {
        let long = "x".repeat(3 * BLOCK_BYTES);
        let (_folder, path) = log(&[(3, "a\n"), (1, ""), (0, &format!("\n{long}\n\nz\n"))]);
        assert_eq!(last(&path, 2), "\nz\n");
        assert_eq!(last(&path, 3), format!("{long}\n\nz\n"));
        assert_eq!(last(&path, 4), format!("\n{long}\n\nz\n"));
        assert_eq!(last(&path, 5), format!("a\n\n{long}\n\nz\n"));
    }

    #[test]
    fn a_log_that_is_not_there_is_named() {
        let (_folder, path) = log(&[]);
        let error = read(&path, 5, false, &mut Vec::new()).unwrap_err();
        assert!(error.kind() == io::ErrorKind::NotFound && error.to_string().contains("web.log"), "{error}");
    }

    #[test]
    fn what_follows_is_read_through_rotations() {
        let (_folder, path) = log(&[(0, "a\n")]);
        let mut out = Vec::new();
        let mut current = print_last(&path, 10, &mut out).unwrap();
        let mut step = |write: &dyn Fn(&Path)| {
            write(&path);
            current = catch_up(&path, current.take(), &mut out).unwrap();
        };
        step(&|path| append(path, "b\n"));
        step(&|path| {
            for text in ["c\n", "d\n", "e\n"] {
                append(path, text);
                for step in rotation::steps(path, 5) {
                    if let rotation::Step::Rename { from, to } = step {
                        let _ = std::fs::rename(from, to);
                    }
                }
            }
        });
        step(&|path| append(path, "f\n"));
        step(&|path| std::fs::write(path, "").unwrap());
        step(&|path| append(path, "g\n"));
        assert_eq!(String::from_utf8(out).unwrap(), "a\nb\nc\nd\ne\nf\ng\n");
    }

    fn append(path: &Path, text: &str) {
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }
}
