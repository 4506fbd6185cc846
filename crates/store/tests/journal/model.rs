//! Both engines, driven with the same random operations and crashes, against a model of what a journal promises.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use grace_store::{
    Epoch, Journal, Seq, StoreError, limits,
    memory::{Disk, Fault, MemoryJournal},
};
use grace_types::chance::SeededEntropy;
use proptest::prelude::*;

use crate::damage::copy;

/// One step of a history. Positions are drawn as a fraction of what exists.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Vec<u8>>),
    Snapshot(u8, Vec<u8>),
    Truncate(u8),
    Replay(u8),
    Restore(u8),
    /// A second writer opens; the first must be fenced.
    Takeover,
    Reopen,
    /// The process dies between two operations.
    Crash,
    /// The process dies while it appends; the number chooses how much reaches the disk.
    CrashInAppend(Vec<Vec<u8>>, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let batch = || prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5);
    let step = prop_oneof![
        6 => batch().prop_map(Step::Append),
        2 => (any::<u8>(), prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(at, s)| Step::Snapshot(at, s)),
        1 => any::<u8>().prop_map(Step::Truncate),
        2 => any::<u8>().prop_map(Step::Replay),
        1 => any::<u8>().prop_map(Step::Restore),
        1 => Just(Step::Takeover),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
        2 => (batch(), any::<u64>()).prop_map(|(b, cut)| Step::CrashInAppend(b, cut)),
    ];
    prop::collection::vec(step, 1..40)
}

/// What is needed of an engine beside the trait: opening, and dying.
trait Engine {
    fn open(&mut self) -> Box<dyn Journal>;
    fn crash(&mut self, journal: Box<dyn Journal>);
    /// Dies during the append; the next `open` finds all of the batch or nothing.
    fn crash_in_append(&mut self, journal: Box<dyn Journal>, batch: &[&[u8]], cut: u64);
}

struct Memory(Disk);

impl Engine for Memory {
    fn open(&mut self) -> Box<dyn Journal> {
        Box::new(MemoryJournal::open(&self.0).unwrap())
    }

    fn crash(&mut self, journal: Box<dyn Journal>) {
        self.0.power_on(&mut SeededEntropy::new(1));
        drop(journal);
    }

    fn crash_in_append(&mut self, mut journal: Box<dyn Journal>, batch: &[&[u8]], cut: u64) {
        self.0.inject(if cut.is_multiple_of(5) { Fault::CrashAfterSync } else { Fault::CrashBeforeSync });
        let result = journal.append(batch);
        assert_eq!(result.is_err(), !batch.is_empty(), "{result:?}");
        self.0.clear_faults();
        self.0.power_on(&mut SeededEntropy::new(cut));
        assert!(records_of(&mut *journal).is_err(), "a dead handle still answers");
    }
}

/// A crash is a copy of the files as they lie at that moment: the writer never gets to tidy up.
struct Files {
    folder: tempfile::TempDir,
    life: u32,
}

impl Files {
    fn path(&self) -> PathBuf {
        self.folder.path().join(format!("{}.journal", self.life))
    }

    /// Copies the files to the next life's folder.
    fn copy(&mut self) {
        let old = self.path();
        self.life += 1;
        copy(&old, &self.path());
    }
}

impl Engine for Files {
    fn open(&mut self) -> Box<dyn Journal> {
        Box::new(crate::open(&self.path()).unwrap())
    }

    fn crash(&mut self, journal: Box<dyn Journal>) {
        self.copy();
        drop(journal);
    }

    fn crash_in_append(&mut self, mut journal: Box<dyn Journal>, batch: &[&[u8]], cut: u64) {
        let head = fs::read(self.path().join("head")).unwrap();
        let before = segments(&self.path());
        journal.append(batch).unwrap();
        let after = segments(&self.path());
        self.copy();
        fs::write(self.path().join("head"), head).unwrap();
        // Of what the append changed, some blocks are on the disk and others are not.
        for (name, bytes) in after {
            let old = before.get(&name);
            let mut torn = bytes.clone();
            for (block, chunk) in torn.chunks_mut(32).enumerate() {
                let lost = cut >> (block % 64) & 1 == 1;
                for (at, byte) in chunk.iter_mut().enumerate().filter(|_| lost) {
                    *byte = old.and_then(|old| old.get(block * 32 + at)).copied().unwrap_or(0);
                }
            }
            fs::write(self.path().join(name), torn).unwrap();
        }
    }
}

fn segments(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path));
    named
        .filter(|(name, _)| name.starts_with("segment-") && !name.ends_with(".new"))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

/// What must be there.
#[derive(Default)]
struct Model {
    records: Vec<Vec<u8>>,
    base: u64,
    snapshots: BTreeMap<u64, Vec<u8>>,
    epoch: u64,
}

impl Model {
    fn last(&self) -> u64 {
        self.records.len() as u64
    }

    fn from(&self, seq: u64) -> Vec<(u64, Vec<u8>)> {
        self.records
            .iter()
            .enumerate()
            .map(|(i, r)| (i as u64 + 1, r.clone()))
            .skip(seq as usize - 1)
            .collect()
    }

    /// `part`/255 of the way from 0 to the last record.
    fn at(&self, part: u8) -> u64 {
        self.last() * u64::from(part) / 255
    }
}

fn records_of(journal: &mut dyn Journal) -> Result<usize, StoreError> {
    crate::records(journal, 1).map(|r| r.len())
}

fn check(journal: &mut dyn Journal, model: &Model) {
    assert_eq!(journal.last(), Seq(model.last()));
    assert_eq!(journal.epoch(), Epoch(model.epoch));
    assert_eq!(crate::records(journal, model.base + 1).unwrap(), model.from(model.base + 1));
    let infos = journal.snapshots().unwrap();
    assert_eq!(
        infos.iter().map(|i| i.seq.0).collect::<Vec<_>>(),
        model.snapshots.keys().copied().collect::<Vec<_>>()
    );
    for info in infos {
        let state = &model.snapshots[&info.seq.0];
        assert_eq!(info.size_bytes, state.len() as u64);
        assert_eq!(&journal.restore(info.seq).unwrap(), state);
    }
}

fn run(engine: &mut dyn Engine, steps: &[Step]) {
    let mut model = Model { epoch: 1, ..Model::default() };
    let mut journal = engine.open();
    for step in steps {
        journal = take(engine, journal, &mut model, step);
        check(&mut *journal, &model);
    }
}

fn take(
    engine: &mut dyn Engine,
    mut journal: Box<dyn Journal>,
    model: &mut Model,
    step: &Step,
) -> Box<dyn Journal> {
    match step {
        Step::Append(batch) => {
            let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
            assert_eq!(journal.append(&slices).unwrap(), Seq(model.last() + 1));
            model.records.extend_from_slice(batch);
        }
        Step::Snapshot(part, state) => {
            let seq = model.at(*part);
            let result = journal.snapshot(Seq(seq), state);
            assert_eq!(result.is_ok(), seq >= model.base, "{result:?}");
            if seq >= model.base {
                model.snapshots.insert(seq, state.clone());
                while model.snapshots.len() > limits::SNAPSHOTS_KEPT as usize {
                    model.snapshots.pop_first();
                }
            }
            let beyond = journal.snapshot(Seq(model.last() + 1), state);
            assert!(matches!(beyond, Err(StoreError::Range { .. })));
        }
        Step::Truncate(part) => {
            let seq = model.at(*part);
            let covered = seq <= model.base || model.snapshots.range(seq..).next().is_some();
            let result = journal.truncate(Seq(seq));
            assert_eq!(result.is_ok(), covered, "{result:?}");
            if covered && seq > model.base {
                model.base = seq;
                model.snapshots = model.snapshots.split_off(&seq);
            }
        }
        Step::Replay(part) => {
            let from = model.at(*part) + 1;
            match crate::records(&mut *journal, from) {
                Ok(found) => assert_eq!(found, model.from(from)),
                Err(e) => assert!(from <= model.base && matches!(e, StoreError::Range { .. }), "{e}"),
            }
        }
        Step::Restore(part) => {
            let seq = model.at(*part);
            match journal.restore(Seq(seq)) {
                Ok(state) => assert_eq!(Some(&state), model.snapshots.get(&seq)),
                Err(e) => {
                    assert!(!model.snapshots.contains_key(&seq) && matches!(e, StoreError::Range { .. }));
                }
            }
        }
        Step::Takeover => {
            let newer = engine.open();
            model.epoch += 1;
            for result in [
                journal.append(&[b"late"]).map(drop),
                journal.append(&[]).map(drop),
                journal.snapshot(Seq(model.last()), b"late").map(drop),
                journal.truncate(Seq(model.base)).and(journal.append(&[b"late"]).map(drop)),
            ] {
                assert!(matches!(result, Err(StoreError::Fenced { .. })), "{result:?}");
            }
            return newer;
        }
        Step::Reopen => {
            drop(journal);
            model.epoch += 1;
            return engine.open();
        }
        Step::Crash => {
            engine.crash(journal);
            model.epoch += 1;
            return engine.open();
        }
        Step::CrashInAppend(batch, cut) => {
            let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
            engine.crash_in_append(journal, &slices, *cut);
            let journal = engine.open();
            model.epoch += 1;
            if journal.last().0 > model.last() {
                model.records.extend_from_slice(batch);
            }
            return journal;
        }
    }
    journal
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_memory_twin_keeps_its_promises(steps in steps()) {
        run(&mut Memory(Disk::new()), &steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn files_keep_their_promises(steps in steps()) {
        run(&mut Files { folder: tempfile::tempdir().unwrap(), life: 0 }, &steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Failed writes: whole or nothing, and the handle goes on afterwards from what is there.
    #[test]
    fn the_memory_twin_fails_on_command(
        faults in prop::collection::vec((0..3u8, prop::collection::vec(any::<u8>(), 0..20)), 1..20),
    ) {
        let disk = Disk::new();
        let mut journal = MemoryJournal::open(&disk).unwrap();
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for (fault, payload) in faults {
            disk.inject([Fault::Full, Fault::Io, Fault::IoAfterSync][usize::from(fault)]);
            let result = journal.append(&[&payload, &payload]);
            let full = matches!(result, Err(StoreError::Full { .. }));
            let io = matches!(result, Err(StoreError::Io { .. }));
            prop_assert_eq!((full, io), (fault == 0, fault != 0));
            prop_assert_eq!(disk.pending_faults(), 0);
            if fault == 2 {
                expected.extend([payload.clone(), payload.clone()]);
            }
            prop_assert_eq!(journal.append(&[&payload]).unwrap().0, expected.len() as u64 + 1);
            expected.push(payload);
        }
        let found: Vec<Vec<u8>> = crate::records(&mut journal, 1).unwrap().into_iter().map(|(_, p)| p).collect();
        prop_assert_eq!(found, expected);
    }

    /// Any bit of the log, flipped: opening or replaying names the damage, and nothing from it on is shown.
    #[test]
    fn the_memory_twin_finds_every_flipped_bit(batches in 1..8u8, position in any::<usize>()) {
        let disk = Disk::new();
        let mut journal = MemoryJournal::open(&disk).unwrap();
        for n in 0..batches {
            journal.append(&[&[n], &[n, n]]).unwrap();
        }
        journal.snapshot(Seq(2), b"state").unwrap();
        let whole = crate::records(&mut journal, 1).unwrap();
        disk.flip_log_bit(position % (disk.log_bytes() * 8));
        let mut shown = Vec::new();
        let replayed = journal.replay(Seq(1), &mut |r| {
            shown.push((r.seq.0, r.payload.to_vec()));
            std::ops::ControlFlow::Continue(())
        });
        assert!(matches!(replayed, Err(StoreError::Corrupt { .. })));
        prop_assert!(shown.len() < whole.len() && shown[..] == whole[..shown.len()]);
        let opened = MemoryJournal::open(&disk);
        assert!(matches!(opened, Err(StoreError::Corrupt { .. })));
    }
}

#[test]
fn a_damaged_snapshot_is_not_restored_and_covers_nothing() {
    let disk = Disk::new();
    let mut journal = MemoryJournal::open(&disk).unwrap();
    journal.append(&[b"a", b"b"]).unwrap();
    journal.snapshot(Seq(2), b"state").unwrap();
    disk.flip_snapshot_bit(Seq(2), 11);
    assert!(
        matches!(journal.restore(Seq(2)), Err(StoreError::Corrupt { what, .. }) if what.contains("snapshot 2"))
    );
    assert!(matches!(journal.truncate(Seq(1)), Err(StoreError::Corrupt { .. })));
    assert_eq!(records_of(&mut journal).unwrap(), 2);
}

/// Begun by one writer, stored when that has gone on, and another has the journal.
fn a_late_snapshot_is_good(mut open: impl FnMut() -> Box<dyn Journal>) {
    let mut old = open();
    old.append(&[b"a", b"b"]).unwrap();
    let store = old.begin_snapshot(Seq(2)).unwrap();
    old.append(&[b"c"]).unwrap();
    let mut new = open();
    new.append(&[b"d"]).unwrap();
    assert!(matches!(old.begin_snapshot(Seq(3)), Err(StoreError::Fenced { .. })));
    assert_eq!(store(b"state").unwrap().seq, Seq(2));
    assert_eq!(new.restore(Seq(2)).unwrap(), b"state");
    new.truncate(Seq(2)).unwrap();
    assert_eq!(crate::records(&mut *new, 3).unwrap().len(), 2);
}

#[test]
fn a_snapshot_may_be_stored_late() {
    let disk = Disk::new();
    a_late_snapshot_is_good(|| Box::new(MemoryJournal::open(&disk).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.journal");
    a_late_snapshot_is_good(|| Box::new(crate::open(&path).unwrap()));
}
