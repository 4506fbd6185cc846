//! Taking records in: once each, in order, and durable.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use grace_store::{
    StoreError,
    narrative::{Batch, Link, LogStand, NarrativeDb, Query},
};
use grace_types::id::EventId;

use crate::{Event, ingest, source};

fn records(from: u64, to: u64) -> Vec<Vec<u8>> {
    (from..to).map(|n| Event::new(u128::from(n), 1000 + n).record()).collect()
}

#[test]
fn what_was_taken_is_skipped_and_a_gap_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n.db");
    let mut db = NarrativeDb::open(&path).unwrap();
    let web = source("web");
    assert_eq!(ingest(&mut db, &web, 1, &[]).unwrap(), 1);
    assert_eq!(ingest(&mut db, &web, 2, &records(2, 4)).unwrap(), 1, "a gap");
    assert_eq!(ingest(&mut db, &web, 1, &records(1, 4)).unwrap(), 4);
    assert_eq!(ingest(&mut db, &web, 2, &records(2, 6)).unwrap(), 6, "two of four are new");
    assert_eq!(ingest(&mut db, &web, 1, &records(1, 3)).unwrap(), 6);
    assert_eq!((db.count().unwrap(), db.next(&web).unwrap(), db.next(&source("other")).unwrap()), (5, 6, 1));

    // Two sources in one transaction; the journal tells sources apart, too.
    let again = grace_types::evidence::Source { journal: grace_types::evidence::JournalId(8), ..web.clone() };
    let rest = records(1, 3);
    let batch = |source, first| Batch { source, first, records: rest.iter().map(Vec::as_slice).collect() };
    assert_eq!(db.ingest(&[batch(&again, 1), batch(&web, 7)]).unwrap(), [3, 6]);
    assert_eq!(db.stands().unwrap().iter().map(|s| s.next).collect::<Vec<_>>(), [6, 3]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_record_that_cannot_be_told_is_counted_and_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut db = NarrativeDb::open(folder.path().join("n.db")).unwrap();
    let web = source("web");
    let mut mixed = records(1, 3);
    mixed.insert(1, b"{}".to_vec());
    mixed.insert(2, b"\xff not even text".to_vec());
    mixed.insert(3, br#"{"answer":{"key":"k"}}"#.to_vec());
    assert_eq!(ingest(&mut db, &web, 1, &mixed).unwrap(), 6);
    let stand = db.stands().unwrap().remove(0);
    assert_eq!((db.count().unwrap(), stand.next, stand.odd), (2, 6, 2));
    assert!(stand.last_odd.unwrap().starts_with("record 3: "));
}

#[test]
fn many_of_one_reading_of_the_clock_all_find_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut db = NarrativeDb::open(folder.path().join("n.db")).unwrap();
    let mut all: Vec<Vec<u8>> = (0..300).map(|n| Event::new(n, 5000).record()).collect();
    let far = 4_000_000_000_000;
    all.extend((300..310).map(|n| Event::new(n, far * 2).record()));
    assert_eq!(ingest(&mut db, &source("web"), 1, &all).unwrap(), 311);
    assert_eq!(db.count().unwrap(), 310);
    let page = db.find(&Query { limit: 1000, ..Query::default() }).unwrap();
    assert_eq!(page.told.len(), 310);
    assert!(page.told.windows(2).all(|w| w[0].position > w[1].position));
}

#[test]
fn links_name_the_entry_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut db = NarrativeDb::open(folder.path().join("n.db")).unwrap();
    let web = source("web");
    ingest(&mut db, &web, 1, &records(1, 21)).unwrap();
    assert_eq!(db.log_stand().unwrap(), None);
    let link = |first, count, log_index| Link { source: web.clone(), first, count, log_index };
    let stand = |size, next| LogStand { origin: "o".to_owned(), size, root: [9; 32], next };
    db.link(&[link(1, 5, 0), link(6, 2, 5), link(8, 3, 100)], &stand(103, 103)).unwrap();
    db.link(&[link(11, 1, 103), link(15, 2, 200)], &stand(300, 250)).unwrap();
    assert_eq!(db.log_stand().unwrap(), Some(stand(300, 250)));
    let index = |db: &NarrativeDb, n: u128| db.by_id(EventId::from_bits(n)).unwrap().unwrap().log_index;
    for (sequence, expected) in [
        (1, Some(0)),
        (7, Some(6)),
        (8, Some(100)),
        (11, Some(103)),
        (12, None),
        (15, Some(200)),
        (16, Some(201)),
        (17, None),
    ] {
        assert_eq!(index(&db, sequence), expected, "{sequence}");
    }
    db.unlink().unwrap();
    assert_eq!((db.log_stand().unwrap(), index(&db, 1)), (None, None));
}

#[test]
fn another_file_is_not_taken_for_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n.db");
    let missing = |path: &Path| matches!(NarrativeDb::open_read_only(path), Err(StoreError::Missing { .. }));
    assert!(missing(&path));
    fs::write(&path, b"").unwrap();
    assert!(missing(&path));
    fs::write(&path, b"not a database by far".repeat(300)).unwrap();
    assert!(matches!(NarrativeDb::open(&path), Err(StoreError::Corrupt { .. })));
    fs::remove_file(&path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(NarrativeDb::open(&path), Err(StoreError::Corrupt { .. })));
    assert!(matches!(NarrativeDb::open_read_only(&path), Err(StoreError::Corrupt { .. })));
}

const CHILD: &str = "GRACE_TEST_NARRATIVES";

/// Not a test by itself: the writer that the next test kills.
#[test]
fn child_ingests_until_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let mut db = NarrativeDb::open(Path::new(&path)).unwrap();
    let web = source("web");
    let mut out = std::io::stdout();
    writeln!(out).unwrap();
    loop {
        let next = db.next(&web).unwrap();
        let next = ingest(&mut db, &web, next, &records(next, next + 1 + next % 9)).unwrap();
        writeln!(out, "next {next}").unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9_and_is_read_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n.db");
    let mut reader: Option<NarrativeDb> = None;
    for round in 1..=5usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ingest::child_ingests_until_killed", "--nocapture", "--test-threads=1"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let number = |line: String| line.strip_prefix("next ").and_then(|n| n.parse::<u64>().ok());
        let mut lines =
            BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).filter_map(number);
        let mut heard = lines.by_ref().take(round * 4).last().unwrap();
        let reader = reader.get_or_insert_with(|| NarrativeDb::open_read_only(&path).unwrap());
        assert!(reader.count().unwrap() >= heard - 1);
        child.kill().unwrap();
        heard = lines.last().unwrap_or(heard);
        child.wait().unwrap();

        // With its writer dead, for an old reader and a new one; rows and cursor are of one piece.
        for db in [&*reader, &NarrativeDb::open_read_only(&path).unwrap()] {
            let count = db.count().unwrap();
            assert!(count >= heard - 1, "{count} < {heard}");
            assert_eq!(db.next(&source("web")).unwrap(), count + 1);
            let found =
                db.find(&Query { text: Some("reason".to_owned()), limit: 10_000, ..Query::default() });
            assert_eq!(found.unwrap().told.len() as u64, count);
        }
    }
}
