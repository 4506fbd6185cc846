//! What the sinks hold, read from their files alone.

use std::{collections::BTreeMap, fs, path::Path};

use grace_core::kernels::{clarity, immutable_log};
use grace_log::tile::{Entries, Kind, Resource};
use grace_store::narrative::NarrativeDb;
use grace_types::{
    evidence::{Content, LogEntry, Source},
    narrative::Narrative,
    time::Timestamp,
};
use serde::Deserialize;

/// Records by source, the first of each at index 0.
pub(crate) type Held = BTreeMap<Source, Vec<Vec<u8>>>;

/// The number of entries in the log's public files.
pub(crate) fn log_size(data: &Path) -> u64 {
    let checkpoint = fs::read_to_string(data.join(immutable_log::LOG).join("checkpoint")).unwrap_or_default();
    // C2SP tlog-checkpoint: the origin, the size, the root.
    checkpoint.lines().nth(1).map_or(0, |size| size.parse().unwrap())
}

/// The records in the log, in its order; each source's must be in the journal's order, without a gap and without a duplicate.
pub(crate) fn log(data: &Path) -> Held {
    let mut held = Held::new();
    let size = log_size(data);
    for bundle in 0..size.div_ceil(256) {
        let name = Resource::in_tree(Kind::Entries, bundle, size).unwrap();
        let read = |name: String| fs::read(data.join(immutable_log::LOG).join(name));
        let bytes = read(name.to_string()).or_else(|_| read(name.full().to_string())).unwrap();
        let left = usize::try_from(size - bundle * 256).unwrap();
        for (entry, index) in Entries::of(&bytes).zip(bundle * 256..).take(left) {
            let LogEntry { source, sequence, content } = LogEntry::read(entry).unwrap();
            let Content::Record(record) = content else { panic!("entry {index} is too large") };
            let records = held.entry(source.clone()).or_default();
            assert_eq!(sequence, records.len() as u64 + 1, "entry {index}, of {source}");
            records.push(record.get().as_bytes().to_vec());
        }
    }
    held
}

/// Asserts that the database of narratives holds one for each decision in the journals, and nothing else.
pub(crate) fn assert_narrated(data: &Path, journals: &Held) {
    let told = NarrativeDb::open_read_only(clarity::database(data)).unwrap();
    let stands: BTreeMap<Source, u64> =
        told.stands().unwrap().into_iter().map(|stand| (stand.source, stand.next)).collect();
    let mut decisions = 0;
    for (source, records) in journals {
        assert_eq!(stands.get(source), Some(&(records.len() as u64 + 1)), "{source}");
        for (record, sequence) in records.iter().zip(1..) {
            let Some(narrative) = Narrative::read(record).unwrap() else { continue };
            decisions += 1;
            let found = told.by_id(narrative.id).unwrap().unwrap();
            assert_eq!((&found.source, found.sequence), (source, sequence));
            assert_eq!(found.narrative, narrative);
        }
    }
    assert_eq!(told.count().unwrap(), decisions);
}

/// When a record was decided.
pub(crate) fn decided(record: &[u8]) -> Timestamp {
    #[derive(Deserialize)]
    struct Timed {
        time: Timestamp,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Stored {
        Event(Timed),
        Answer(Timed),
    }
    let (Stored::Event(timed) | Stored::Answer(timed)) = serde_json::from_slice(record).unwrap();
    timed.time
}
