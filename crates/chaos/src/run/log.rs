//! The tamper-evident log before and after a run: has it only grown, does any source have a gap or a duplicate, and is every
//! acknowledged record of the load in it? Read from its files, so it works with everything down.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use grace_log::{
    checkpoint::{Checkpoint, Trust},
    files::Files,
    limits::{BUNDLE_BYTES, NOTE_BYTES},
    note::VerifierKey,
    proof::{prove_consistency, verify_consistency},
    tile::{CHECKPOINT_PATH, Entries, Kind, Resource},
};
use grace_types::{
    evidence::{Content, LogEntry, Source},
    id::RunId,
};

use super::load::{self, Written};
use crate::{
    limits,
    record::{LogPoint, LogRecord},
};

/// A log's folder, of which files are read by name.
struct Folder(PathBuf);

impl Files for Folder {
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Cow<'_, [u8]>>> {
        let file = match File::open(self.0.join(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(Cow::Owned(bytes)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The log of an instance.
pub(super) struct Log {
    folder: Folder,
    trust: Trust,
}

/// A checkpoint whose signature was checked.
#[derive(Debug, Clone)]
pub(super) struct Point {
    /// What it says.
    pub(super) checkpoint: Checkpoint,
    /// The note itself.
    pub(super) note: String,
}

impl Point {
    fn record(&self) -> LogPoint {
        let (size, root) = (self.checkpoint.size, self.checkpoint.root.to_string());
        LogPoint { size, root, note: self.note.clone() }
    }
}

impl Log {
    /// The log in `data`, trusted by its key.
    ///
    /// # Errors
    /// There is no key, or none that can be read; in a sentence.
    pub(super) fn of(data: &Path) -> Result<Self, String> {
        let path = data.join("keys").join("immutable_log.vkey");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let key: VerifierKey =
            text.trim_end().parse().map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { folder: Folder(data.join("log")), trust: Trust::in_log(key) })
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    /// There is none, or its signature is not the key's; in a sentence.
    pub(super) fn point(&self) -> Result<Point, String> {
        let note = self.folder.read(CHECKPOINT_PATH, NOTE_BYTES).map_err(|error| error.to_string())?;
        let note = note.ok_or("nothing was sealed in the log yet")?;
        let opened = self.trust.open(&note).map_err(|error| error.to_string())?;
        Ok(Point { checkpoint: opened.checkpoint, note: String::from_utf8_lossy(&note).into_owned() })
    }

    fn entries(&self, bundle: u64, size: u64) -> Result<(Resource, Cow<'_, [u8]>), String> {
        let resource =
            Resource::in_tree(Kind::Entries, bundle, size).ok_or("the log is shorter than that")?;
        // A partial bundle may be gone once the full one is there.
        for candidate in [resource, resource.full()] {
            let path = candidate.to_string();
            let read = self.folder.read(&path, BUNDLE_BYTES).map_err(|error| format!("{path}: {error}"))?;
            if let Some(bytes) = read {
                return Ok((resource, bytes));
            }
        }
        Err(format!("{resource} is missing"))
    }
}

/// What is looked for in the entries of a run.
pub(super) struct Survey {
    run: RunId,
    before: Point,
    /// The next entry to be looked at.
    next: u64,
    /// The last sequence number of each source.
    last: HashMap<Source, u64>,
    /// How often each record of the load was found as it was sent: by the writer's source, the record's number.
    found: BTreeMap<Source, Vec<u32>>,
    sizes: BTreeMap<Source, usize>,
    gaps: u64,
    duplicates: u64,
    errors: Vec<String>,
}

impl Survey {
    /// Of the entries after `before`.
    #[must_use]
    pub(super) fn new(run: RunId, before: Point, writers: &[Written]) -> Self {
        let counts = |writer: &Written| vec![0; usize::try_from(writer.sent).unwrap_or(0)];
        let next = before.checkpoint.size.saturating_sub(limits::LOG_LOOK_BACK);
        Self {
            run,
            next: next - next % 256,
            before,
            last: HashMap::new(),
            found: writers.iter().map(|writer| (writer.source.clone(), counts(writer))).collect(),
            sizes: writers.iter().map(|writer| (writer.source.clone(), writer.size_bytes)).collect(),
            gaps: 0,
            duplicates: 0,
            errors: Vec::new(),
        }
    }

    /// Looks at the entries up to `after`, from where it stopped the last time.
    ///
    /// # Errors
    /// They cannot be read, or are too many; in a sentence.
    pub(super) fn go_on(&mut self, log: &Log, after: &Point) -> Result<(), String> {
        let size = after.checkpoint.size;
        if size.saturating_sub(self.next) > limits::LOG_ENTRIES + limits::LOG_LOOK_BACK {
            return Err(format!("more than {} entries were added", limits::LOG_ENTRIES));
        }
        let whole = self.before.checkpoint.size <= limits::LOG_LOOK_BACK;
        while self.next < size {
            let (resource, bytes) = log.entries(self.next / 256, size)?;
            let skip = usize::try_from(self.next % 256).unwrap_or(0);
            let width = usize::from(resource.width);
            let mut seen = skip;
            for entry in Entries::of(&bytes).take(width).skip(skip) {
                self.entry(self.next, entry, whole);
                self.next += 1;
                seen += 1;
            }
            if seen < width {
                return Err(format!("{resource} breaks off at entry {}", self.next));
            }
        }
        Ok(())
    }

    fn entry(&mut self, index: u64, bytes: &[u8], whole: bool) {
        let entry = match LogEntry::read(bytes) {
            Ok(entry) => entry,
            Err(error) => return self.tell(format!("entry {index}: {error}")),
        };
        let sequence = entry.sequence;
        let during = index >= self.before.checkpoint.size;
        let expected = self.last.get(&entry.source).map_or(if whole { 1 } else { sequence }, |last| last + 1);
        if during && sequence > expected {
            self.gaps += sequence - expected;
            self.tell(format!("entry {index}: {} {expected} to {} are missing", entry.source, sequence - 1));
        } else if during && sequence < expected {
            self.duplicates += 1;
            self.tell(format!("entry {index}: {} {sequence} is here again", entry.source));
        }
        let (run, sizes) = (self.run, &self.sizes);
        if let Some(counts) = self.found.get_mut(&entry.source)
            && let Some(count) =
                usize::try_from(sequence).ok().and_then(|n| counts.get_mut(n.checked_sub(1)?))
        {
            let sent =
                load::record(run, &entry.source, sequence, sizes.get(&entry.source).copied().unwrap_or(0));
            if matches!(entry.content, Content::Record(found) if found.get().as_bytes() == sent) {
                *count += 1;
            } else {
                self.tell(format!("entry {index}: {} {sequence} is not what was sent", entry.source));
            }
        }
        let last = self.last.entry(entry.source).or_insert(sequence);
        *last = sequence.max(*last);
    }

    fn tell(&mut self, error: String) {
        if self.errors.len() < limits::SCENARIO_ENTRIES {
            self.errors.push(error);
        }
    }

    /// Acknowledged records that were not found, and records that were found more than once.
    #[must_use]
    pub(super) fn load(&self, writers: &[Written]) -> (u64, u64) {
        let (mut lost, mut duplicated) = (0, 0);
        for writer in writers {
            let counts = self.found.get(&writer.source).map_or(&[][..], Vec::as_slice);
            let acknowledged = usize::try_from(writer.acknowledged).unwrap_or(usize::MAX);
            let found = counts.iter().take(acknowledged).filter(|count| **count > 0).count();
            lost += writer.acknowledged - found as u64;
            duplicated += counts.iter().filter(|count| **count > 1).count() as u64;
        }
        (lost, duplicated)
    }

    /// What was found, with the proof that the log at `after` contains the log before. `read` says whether its entries were.
    #[must_use]
    pub(super) fn record(mut self, log: &Log, after: &Point, read: &Result<(), String>) -> LogRecord {
        let (old, new) = (&self.before.checkpoint, &after.checkpoint);
        let proved = prove_consistency(&log.folder, old.size, new.size).map_err(|error| error.to_string());
        let consistent = proved.and_then(|proof| {
            let verified = verify_consistency(old.size, old.root, new.size, new.root, &proof);
            verified.map_err(|error| error.to_string())
        });
        let known = read.is_ok();
        let (before, gaps, duplicates) = (self.before.record(), self.gaps, self.duplicates);
        let wrong = [consistent.as_ref().err(), read.as_ref().err()];
        self.errors.extend(wrong.into_iter().flatten().cloned());
        LogRecord {
            before,
            after: after.record(),
            consistent: Some(consistent.is_ok()),
            continuous: known.then_some(gaps == 0 && duplicates == 0),
            gaps: known.then_some(gaps),
            duplicates: known.then_some(duplicates),
            errors: self.errors,
        }
    }
}
