//! Rebuilding from the journals: the same content, all or nothing, and nothing lost unasked.

use std::{fs, path::Path};

use grace_store::{
    Journal, JournalReader,
    memory::{Disk, MemoryJournal, MemoryReader},
    narrative::{Journals, Link, LogStand, NarrativeDb, Query},
};
use grace_types::evidence::{JournalId, Source};

use crate::{Event, ingest, source};

/// Two journals, and a database that has taken them in.
fn filled(path: &Path) -> (NarrativeDb, Vec<(Source, Disk)>) {
    let mut db = NarrativeDb::open(path).unwrap();
    let mut journals = Vec::new();
    for (n, name) in [(1u128, "web"), (2, "db")] {
        let disk = Disk::with_id(JournalId(7));
        let records: Vec<Vec<u8>> = (0..50)
            .map(|i| Event { place: name, ..Event::new(n * 1000 + i, 100 + i as u64) }.record())
            .collect();
        MemoryJournal::open(&disk)
            .unwrap()
            .append(&records.iter().map(Vec::as_slice).collect::<Vec<_>>())
            .unwrap();
        ingest(&mut db, &source(name), 1, &records).unwrap();
        journals.push((source(name), disk));
    }
    (db, journals)
}

fn readers(journals: &[(Source, Disk)]) -> Journals<'static> {
    let open = |disk| Box::new(MemoryReader::open(disk)) as Box<dyn JournalReader>;
    journals.iter().map(|(source, disk)| (source.clone(), open(disk))).collect()
}

fn content(db: &NarrativeDb) -> Vec<(u128, u64, Option<u64>)> {
    let page = db.find(&Query { limit: 1000, text: Some("reason".to_owned()), ..Query::default() }).unwrap();
    page.told.iter().map(|t| (t.narrative.id.as_bits(), t.sequence, t.log_index)).collect()
}

#[test]
fn a_rebuild_gives_the_same_again_and_mends_what_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n.db");
    let (mut db, journals) = filled(&path);
    let stand = LogStand { origin: "o".to_owned(), size: 9, root: [1; 32], next: 9 };
    db.link(&[Link { source: source("web"), first: 3, count: 4, log_index: 5 }], &stand).unwrap();
    let before = content(&db);
    assert_eq!(before.len(), 100);
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("UPDATE narratives SET why = '[]', correlation = zeroblob(16) WHERE seq < 20; DELETE FROM narratives WHERE seq = 30")
        .unwrap();
    let rebuilt = db.rebuild(readers(&journals), false).unwrap();
    assert_eq!((rebuilt.records, rebuilt.journals, rebuilt.done), (100, 2, true));
    assert_eq!(content(&db), before);
    assert_eq!((db.count().unwrap(), db.log_stand().unwrap()), (100, Some(stand)));
    // It goes on from there.
    assert_eq!(ingest(&mut db, &source("web"), 51, &[Event::new(5, 999).record()]).unwrap(), 52);
}

#[test]
fn what_would_be_lost_is_named_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (mut db, mut journals) = filled(&folder.path().join("n.db"));
    let before = content(&db);
    let (_, gone) = journals.pop().unwrap();
    drop(gone);
    journals[0].1.flip_log_bit(20_000);
    let rebuilt = db.rebuild(readers(&journals), false).unwrap();
    assert!(!rebuilt.done && rebuilt.lost.len() == 2);
    let db_lost = &rebuilt.lost[0];
    assert_eq!((db_lost.source.component.as_str(), db_lost.had, db_lost.has), ("db", 50, 0));
    assert!(rebuilt.lost[1].has < 50 && rebuilt.lost[1].detail.contains("corrupt"), "{rebuilt:?}");
    assert_eq!(content(&db), before);
    let rebuilt = db.rebuild(readers(&journals), true).unwrap();
    assert!(rebuilt.done && content(&db).len() < 50);
}

#[test]
fn a_crash_in_the_middle_leaves_the_old_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n.db");
    let (mut db, journals) = filled(&path);
    let before = content(&db);
    let crashed = folder.path().join("crashed.db");
    /// Copies the files as a crash would leave them, in the middle of the rebuild, and looks into the live ones.
    struct Spy<'a> {
        inner: MemoryReader,
        from: &'a Path,
        to: &'a Path,
        expected: &'a [(u128, u64, Option<u64>)],
    }
    impl JournalReader for Spy<'_> {
        fn id(&self) -> JournalId {
            self.inner.id()
        }
        fn last(&mut self) -> Result<grace_store::Seq, grace_store::StoreError> {
            self.inner.last()
        }
        fn read(
            &mut self,
            from: grace_store::Seq,
            max_bytes: usize,
            visit: &mut dyn FnMut(grace_store::Record<'_>) -> std::ops::ControlFlow<()>,
        ) -> Result<(), grace_store::StoreError> {
            for suffix in ["", "-wal"] {
                let name = |path: &Path| format!("{}{suffix}", path.display());
                fs::copy(name(self.from), name(self.to)).unwrap();
            }
            assert_eq!(content(&NarrativeDb::open_read_only(self.from).unwrap()), self.expected);
            self.inner.read(from, max_bytes, visit)
        }
    }
    let spies: Journals<'_> = journals
        .iter()
        .map(|(source, disk)| {
            let spy = Spy { inner: MemoryReader::open(disk), from: &path, to: &crashed, expected: &before };
            (source.clone(), Box::new(spy) as Box<dyn JournalReader>)
        })
        .collect();
    assert!(db.rebuild(spies, false).unwrap().done);
    assert_eq!(content(&NarrativeDb::open(&crashed).unwrap()), before);
    assert_eq!(content(&db), before);
}
