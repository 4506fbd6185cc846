//! The tamper-evident log before and after a run: has it only grown, does any source have a gap or a duplicate, and is every
//! acknowledged record of the load in it? Read from its files, so it works with everything down.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::Path,
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
    log_folder::LogFolder,
    record::{LogPoint, LogRecord},
};

/// The log of an instance.
pub(super) struct Log {
    folder: LogFolder,
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
        Ok(Self { folder: LogFolder::of(data), trust: Trust::in_log(key) })
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
    /// Where each source's first entry of the run is, and its sequence number.
    first: BTreeMap<Source, (u64, u64)>,
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
        Self {
            run,
            next: before.checkpoint.size,
            before,
            first: BTreeMap::new(),
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
        if size.saturating_sub(self.next) > limits::LOG_ENTRIES {
            return Err(format!("more than {} entries were added", limits::LOG_ENTRIES));
        }
        while self.next < size {
            let (resource, bytes) = log.entries(self.next / 256, size)?;
            let skip = usize::try_from(self.next % 256).unwrap_or(0);
            let width = usize::from(resource.width);
            let mut seen = skip;
            for entry in Entries::of(&bytes).take(width).skip(skip) {
                self.entry(self.next, entry);
                self.next += 1;
                seen += 1;
            }
            if seen < width {
                return Err(format!("{resource} breaks off at entry {}", self.next));
            }
        }
        Ok(())
    }

    fn entry(&mut self, index: u64, bytes: &[u8]) {
        let entry = match LogEntry::read(bytes) {
            Ok(entry) => entry,
            Err(error) => return self.tell(format!("entry {index}: {error}")),
        };
        let sequence = entry.sequence;
        match self.last.get(&entry.source).copied() {
            Some(last) => self.follows(&entry.source, last, sequence, index),
            None => drop(self.first.insert(entry.source.clone(), (index, sequence))),
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

    /// Whether a source's entry is the one that follows its `last`.
    fn follows(&mut self, source: &Source, last: u64, sequence: u64, index: u64) {
        if sequence > last + 1 {
            self.gaps += sequence - last - 1;
            self.tell(format!("entry {index}: {source} {} to {} are missing", last + 1, sequence - 1));
        } else if sequence <= last {
            self.duplicates += 1;
            self.tell(format!("entry {index}: {source} {sequence} is here again"));
        }
    }

    /// Whether each source's first entry of the run follows its last one before: looks back until all are found.
    fn look_back(&mut self, log: &Log, size: u64) -> Result<(), String> {
        let mut open = std::mem::take(&mut self.first);
        let before = self.before.checkpoint.size;
        let end = before.saturating_sub(limits::LOG_LOOK_BACK);
        let mut bundle = before.div_ceil(256);
        while bundle > end / 256 && !open.is_empty() {
            bundle -= 1;
            let (_, bytes) = log.entries(bundle, size)?;
            let old = usize::try_from((before - bundle * 256).min(256)).unwrap_or(256);
            let mut last = HashMap::new();
            for entry in Entries::of(&bytes).take(old).filter_map(|entry| LogEntry::read(entry).ok()) {
                last.insert(entry.source, entry.sequence);
            }
            for (source, last) in last {
                if let Some((index, sequence)) = open.remove(&source) {
                    self.follows(&source, last, sequence, index);
                }
            }
        }
        if bundle == 0 {
            // The whole past was seen: these begin within the run.
            for (source, (index, sequence)) in open {
                self.follows(&source, 0, sequence, index);
            }
        }
        Ok(())
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
    pub(super) fn record(mut self, log: &Log, after: &Point, read: Result<(), String>) -> LogRecord {
        let read = read.and_then(|()| self.look_back(log, after.checkpoint.size));
        let (old, new) = (&self.before.checkpoint, &after.checkpoint);
        let proved = prove_consistency(&log.folder, old.size, new.size).map_err(|error| error.to_string());
        let consistent = proved.and_then(|proof| {
            let verified = verify_consistency(old.size, old.root, new.size, new.root, &proof);
            verified.map_err(|error| error.to_string())
        });
        // What a log holds that is not the one of before says nothing about that one.
        let known = read.is_ok() && consistent.is_ok();
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

#[cfg(test)]
mod tests {
    use grace_log::{append::Appender, note::SignerKey};
    use grace_types::{
        chance::SeededEntropy,
        evidence::{JournalId, write_entry},
    };

    use super::*;

    const RUN: RunId = RunId::from_bits(1);

    /// A log in a folder, sealed as often as a test likes.
    struct Bench {
        folder: tempfile::TempDir,
        appender: Appender,
        key: SignerKey,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let key = SignerKey::generate("grace/test", &mut SeededEntropy::new(1)).unwrap();
            std::fs::create_dir_all(folder.path().join("keys")).unwrap();
            let path = folder.path().join("keys/immutable_log.vkey");
            std::fs::write(path, format!("{}\n", key.verifier())).unwrap();
            Self { folder, appender: Appender::new(), key }
        }

        fn append(&mut self, source: &Source, sequence: u64, record: &[u8]) {
            let mut entry = Vec::new();
            write_entry(&mut entry, source, sequence, record);
            self.appender.append(&entry).unwrap();
        }

        fn seal(&mut self) -> (Log, Point) {
            let plan = self.appender.seal("grace/test", &[&self.key]).unwrap();
            for write in plan.writes {
                let path = self.folder.path().join("log").join(write.path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, write.bytes).unwrap();
            }
            let log = Log::of(self.folder.path()).unwrap();
            let point = log.point().unwrap();
            (log, point)
        }
    }

    fn source(name: &str) -> Source {
        Source::new(name, JournalId(7)).unwrap()
    }

    fn survey(bench: &mut Bench, before: Point, writers: &[Written]) -> (LogRecord, (u64, u64)) {
        let (log, after) = bench.seal();
        let mut survey = Survey::new(RUN, before, writers);
        let read = survey.go_on(&log, &after);
        let load = survey.load(writers);
        (survey.record(&log, &after, read), load)
    }

    #[test]
    fn a_log_that_goes_on_where_it_was_is_continuous() {
        let mut bench = Bench::new();
        for sequence in 1..=600 {
            bench.append(&source("a"), sequence, b"{}");
        }
        bench.append(&source("b"), 1, b"{}");
        let (_, before) = bench.seal();
        for sequence in 601..=900 {
            bench.append(&source("a"), sequence, b"{}");
        }
        bench.append(&source("b"), 2, b"{}");
        bench.append(&source("new"), 1, b"{}");
        let (record, _) = survey(&mut bench, before, &[]);
        assert_eq!((record.consistent, record.continuous, record.gaps), (Some(true), Some(true), Some(0)));
        assert_eq!((record.before.size, record.after.size), (601, 903));
        assert_eq!(record.errors, [""; 0]);
    }

    #[test]
    fn gaps_and_duplicates_are_counted_also_across_the_beginning_of_the_run() {
        let mut bench = Bench::new();
        bench.append(&source("a"), 1, b"{}");
        bench.append(&source("b"), 1, b"{}");
        let (_, before) = bench.seal();
        for (name, sequence) in [("a", 4), ("a", 5), ("a", 5), ("b", 1), ("c", 3)] {
            bench.append(&source(name), sequence, b"{}");
        }
        let (record, _) = survey(&mut bench, before, &[]);
        assert_eq!((record.continuous, record.gaps, record.duplicates), (Some(false), Some(4), Some(2)));
        assert!(record.errors.iter().any(|error| error.contains("a@0000000000000007 2 to 3 are missing")));
    }

    #[test]
    fn acknowledged_records_are_looked_for_one_by_one() {
        let mut bench = Bench::new();
        let (_, before) = {
            bench.append(&source("a"), 1, b"{}");
            bench.seal()
        };
        let writer = Written { source: source("chaos-load-1"), size_bytes: 200, sent: 4, acknowledged: 3 };
        let sent = |number| load::record(RUN, &writer.source, number, 200);
        bench.append(&writer.source, 1, &sent(1));
        bench.append(&writer.source, 2, &sent(1));
        bench.append(&writer.source, 4, &sent(4));
        bench.append(&writer.source, 4, &sent(4));
        let (record, load) = survey(&mut bench, before, std::slice::from_ref(&writer));
        assert_eq!(
            load,
            (2, 1),
            "the second is another's, the third is not there, the fourth is there twice"
        );
        assert_eq!((record.gaps, record.duplicates), (Some(1), Some(1)));
    }

    #[test]
    fn a_log_that_was_rewritten_is_not_consistent() {
        let (mut bench, mut other) = (Bench::new(), Bench::new());
        bench.append(&source("a"), 1, b"{}");
        let (_, before) = bench.seal();
        for sequence in 1..=3 {
            other.append(&source("b"), sequence, b"{}");
        }
        let (record, _) = survey(&mut other, before, &[]);
        assert_eq!(record.consistent, Some(false));
        assert!(!record.errors.is_empty());
    }

    #[test]
    fn a_log_that_was_rolled_back_is_neither_consistent_nor_continuous() {
        let (mut bench, mut old) = (Bench::new(), Bench::new());
        old.append(&source("a"), 1, b"{}");
        for sequence in 1..=3 {
            bench.append(&source("a"), sequence, b"{}");
        }
        let (_, before) = bench.seal();
        let (record, _) = survey(&mut old, before, &[]);
        assert_eq!((record.before.size, record.after.size), (3, 1));
        assert_eq!((record.consistent, record.continuous, record.gaps), (Some(false), None, None));
    }

    #[test]
    fn without_a_log_the_reason_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let told = Log::of(folder.path()).err().unwrap();
        assert!(told.contains("immutable_log.vkey"), "{told}");
    }
}
