//! SQLite's log beside the journal's file stays short, whatever is appended.
#![expect(clippy::disallowed_methods, reason = "a test waits for a thread of the journal's, with a deadline")]

use std::{
    fs,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use grace_store::{Journal, JournalReader, Seq, limits::JOURNAL_LOG_PAGES, sqlite::SqliteReader};

use crate::{damage::beside, open};

const RECORD: [u8; 4000] = [7; 4000];
/// In one append.
const BATCH: usize = 64;
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_log_is_folded_in_and_begins_anew_beside_appends_and_readers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.db");
    let mut journal = open(&path).unwrap();
    let mut reader = SqliteReader::open(path.clone()).unwrap();
    let begun = Instant::now();
    let mut read = 0;
    loop {
        journal.append(&[RECORD.as_slice(); BATCH]).unwrap();
        let next = Seq(read + 1);
        reader
            .read(next, usize::MAX, &mut |record| {
                read = record.seq.0;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(read, journal.last().0);
        let length = |path| fs::metadata(path).unwrap().len();
        let (file, log) = (length(path.clone()), length(beside(&path, "-wal")));
        // A record takes a page: the log is not as long as all that went through it.
        if file / 4096 > 3 * u64::try_from(JOURNAL_LOG_PAGES).unwrap() && log / 4096 < read / 2 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{read} records, {file} bytes in the file, {log} in the log");
    }
    drop(journal);
    assert_eq!(open(&path).unwrap().last(), Seq(read));
}
