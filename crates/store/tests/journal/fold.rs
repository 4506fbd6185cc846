//! SQLite's log beside the journal's file stays short, whatever is appended.

use std::{fs, ops::ControlFlow};

use grace_store::{Journal, JournalReader, Seq, limits::JOURNAL_LOG_PAGES, sqlite::SqliteReader};

use crate::{damage::beside, open};

const RECORD: [u8; 4000] = [7; 4000];
/// In one append.
const BATCH: u64 = 64;

#[test]
fn the_log_begins_anew_beside_appends_and_readers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.db");
    let mut journal = open(&path).unwrap();
    let mut reader = SqliteReader::open(path.clone()).unwrap();
    // A page each and a few more: seven times what the log is folded in at.
    let appends = 7 * u64::try_from(JOURNAL_LOG_PAGES).unwrap() / BATCH;
    let (mut longest, mut read) = (0, 0);
    for _ in 0..appends {
        journal.append(&[RECORD.as_slice(); BATCH as usize]).unwrap();
        longest = longest.max(fs::metadata(beside(&path, "-wal")).unwrap().len());
        let next = Seq(read + 1);
        reader
            .read(next, usize::MAX, &mut |record| {
                read = record.seq.0;
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    assert_eq!(read, appends * BATCH);
    // Told once, told once more while it is at work, and a third time not waited for.
    let pages = longest / 4096;
    assert!(pages < 4 * u64::try_from(JOURNAL_LOG_PAGES).unwrap(), "{pages} pages");
    drop(journal);
    assert_eq!(open(&path).unwrap().last(), Seq(appends * BATCH));
}
