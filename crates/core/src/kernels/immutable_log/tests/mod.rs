//! The log on a disk that crashes, fills up, is altered, or is gone.

mod allocations;
#[path = "../../../../../log/tests/counting.rs"]
mod counting;
mod crash;
mod damage;
mod intake;
mod threads;
mod waits;

use std::collections::BTreeMap;

use grace_kernel::evidence::{
    Sink,
    wire::{Batch, BatchWriter, Joined},
};
use grace_log::{
    checkpoint::Trust,
    tile::{CHECKPOINT_PATH, Entries, Kind, resources},
    verify::verify,
};
use grace_types::evidence::{Content, JournalId, LogEntry, Source};
use sha2::{Digest as _, Sha256};

use super::{LOG, PUBLIC_KEY, cursors::hex, disk::memory::MemoryDisk};

pub(super) fn source(name: &str) -> Source {
    Source::new(name, JournalId(7)).unwrap()
}

/// The record of a sequence number; some of those of `large` do not fit an entry.
pub(super) fn record(source: &Source, sequence: u64) -> Vec<u8> {
    let filling = if source.component == "large" && sequence.is_multiple_of(16) {
        66_000
    } else {
        40 + sequence as usize % 300
    };
    format!("{{\"n\":{sequence},\"of\":\"{source}\",\"x\":\"{}\"}}", "x".repeat(filling)).into_bytes()
}

/// A batch of `count` records from `first`.
pub(super) fn batch(source: &Source, first: u64, count: u64) -> Batch {
    let mut writer = BatchWriter::new(source.clone(), first);
    for sequence in first..first + count {
        assert_eq!(writer.join(&record(source, sequence)), Joined::Yes);
    }
    Batch::read(Sink::ImmutableLog, &writer.into_message(Sink::ImmutableLog)).unwrap()
}

/// The log's public files are whole, and hold of each source exactly the records from 1 on, each once and in order. How many.
pub(super) fn check(disk: &MemoryDisk) -> BTreeMap<Source, u64> {
    let all = disk.files();
    let prefix = format!("{LOG}/");
    let (mut log, mut blobs) = (BTreeMap::new(), BTreeMap::new());
    for (path, bytes) in &all {
        match path.strip_prefix(&prefix) {
            Some(path) if path.starts_with("blobs/") => drop(blobs.insert(path[6..].to_owned(), bytes)),
            Some(path) => drop(log.insert(path.to_owned(), bytes.clone())),
            None => {}
        }
    }
    let key = std::str::from_utf8(&all[PUBLIC_KEY]).unwrap().trim_end().parse().unwrap();
    let trust = Trust::in_log(key);
    let report = verify(&log, &trust, &[]);
    assert!(report.is_ok(), "{:?}", report.faults);
    assert!(
        report.unsealed.is_empty() && report.unknown.is_empty(),
        "{:?} {:?}",
        report.unsealed,
        report.unknown
    );
    let size = trust.open(&log[CHECKPOINT_PATH]).unwrap().checkpoint.size;
    let mut found = BTreeMap::new();
    let bundles = resources(size).take_while(|resource| resource.kind == Kind::Entries);
    let bundles = bundles
        .filter_map(|bundle| log.get(&bundle.to_string()).or_else(|| log.get(&bundle.full().to_string())));
    for bytes in bundles.flat_map(|bundle| Entries::of(bundle)) {
        let entry = LogEntry::read(bytes).unwrap();
        let count = found.entry(entry.source.clone()).or_insert(0);
        *count += 1;
        assert_eq!(entry.sequence, *count, "{}", entry.source);
        let expected = record(&entry.source, entry.sequence);
        match entry.content {
            Content::Record(raw) => assert_eq!(raw.get().as_bytes(), expected),
            Content::Blob(blob) => {
                assert_eq!(*blobs[&blob.sha256], expected);
                assert_eq!(
                    (blob.sha256, blob.size),
                    (hex(&Sha256::digest(&expected)), expected.len() as u64)
                );
            }
        }
    }
    found
}
