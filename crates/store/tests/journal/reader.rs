//! Readers beside writers: only what is durable, in order, whole; and another journal in the same place is noticed.

use std::{
    fs,
    io::{BufRead, BufReader},
    ops::ControlFlow,
    path::Path,
    time::Duration,
};

use grace_store::{
    Journal, JournalReader, Seq, StoreError,
    memory::{Disk, Fault, MemoryJournal, MemoryReader},
    sqlite::{SqliteJournal, SqliteReader},
};
use grace_types::{chance::SeededEntropy, evidence::JournalId, time::Timestamp};

use crate::{
    append_numbers,
    damage::{beside, closed, crashed},
    kill, open, records,
};

type Found = Vec<(u64, Vec<u8>)>;

fn read(reader: &mut dyn JournalReader, from: u64, max_bytes: usize) -> Result<Found, StoreError> {
    let mut found = Vec::new();
    reader.read(Seq(from), max_bytes, &mut |record| {
        found.push((record.seq.0, record.payload.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// What both engines promise.
fn reads_what_is_written(journal: &mut dyn Journal, reader: &mut dyn JournalReader) {
    assert_eq!(reader.id(), journal.id());
    assert_eq!((reader.last().unwrap(), read(reader, 1, 100).unwrap().len()), (Seq(0), 0));
    append_numbers(journal, 10);
    assert_eq!(reader.last().unwrap(), Seq(10));
    assert_eq!(read(reader, 1, usize::MAX).unwrap(), records(journal, 1).unwrap());
    // Eight bytes each: at least one record whatever the bound, and no more than reach it.
    for (max_bytes, expected) in [(0, 1), (8, 1), (9, 2), (16, 2), (1000, 7)] {
        let found = read(reader, 4, max_bytes).unwrap();
        assert_eq!((found[0].0, found.len()), (4, expected), "{max_bytes}");
    }
    let mut seen = 0;
    reader
        .read(Seq(1), usize::MAX, &mut |_| {
            seen += 1;
            if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!((seen, read(reader, 4, usize::MAX).unwrap().len()), (3, 7));
    assert!(read(reader, 11, 100).unwrap().is_empty());
    assert!(matches!(read(reader, 12, 100), Err(StoreError::Range { .. })));

    // The writer goes on, and is not fenced by its reader.
    append_numbers(journal, 5);
    assert_eq!(read(reader, 11, 100).unwrap(), records(journal, 11).unwrap());
    journal.snapshot(Seq(12), b"state").unwrap();
    journal.truncate(Seq(12)).unwrap();
    assert!(matches!(read(reader, 12, 100), Err(StoreError::Range { .. })));
    assert_eq!(read(reader, 13, 100).unwrap().len(), 3);
}

#[test]
fn a_reader_of_a_file_shows_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    let mut journal = open(&path).unwrap();
    reads_what_is_written(&mut journal, &mut SqliteReader::open(&path).unwrap());
    assert!(journal.room().unwrap() > 0);
}

#[test]
fn the_memory_twins_reader_shows_what_is_written() {
    let disk = Disk::with_id(JournalId(7));
    let mut journal = MemoryJournal::open(&disk).unwrap();
    reads_what_is_written(&mut journal, &mut MemoryReader::open(&disk));
    assert_eq!(journal.room(), None);
    disk.set_room(Some(5));
    assert_eq!(journal.room(), Some(5));
}

#[test]
fn the_memory_twins_reader_shows_nothing_that_is_not_synced() {
    let disk = Disk::new();
    let mut reader = MemoryReader::open(&disk);
    let mut journal = MemoryJournal::open(&disk).unwrap();
    append_numbers(&mut journal, 3);
    disk.inject(Fault::CrashBeforeSync);
    assert!(journal.append(&[b"unsynced"]).is_err());
    assert!(matches!(reader.last(), Err(StoreError::Io { .. })));
    disk.power_on(&mut SeededEntropy::new(3));
    assert_eq!(reader.last().unwrap(), Seq(3));
    disk.lie_about_syncs();
    let mut journal = MemoryJournal::open(&disk).unwrap();
    let synced = journal.last();
    append_numbers(&mut journal, 3);
    assert_eq!(reader.last().unwrap(), synced);
    disk.flip_log_bit(100);
    assert!(matches!(read(&mut reader, 1, 100), Err(StoreError::Corrupt { .. })));
}

#[test]
fn a_journal_keeps_its_id_and_one_begun_anew_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    let at = |seconds: u64| Timestamp::EPOCH.plus(Duration::from_secs(seconds));
    let mut journal = SqliteJournal::open(&path, at(1)).unwrap();
    let first = journal.id();
    append_numbers(&mut journal, 4);
    drop(journal);
    let journal = SqliteJournal::open(&path, at(2)).unwrap();
    assert_eq!((journal.id(), first), (first, JournalId::made_at(at(1))));
    let mut reader = SqliteReader::open(&path).unwrap();
    assert_eq!(read(&mut reader, 1, 16).unwrap().len(), 2);

    drop(journal);
    for suffix in ["", "-wal", "-shm", "-head"] {
        let _ = fs::rename(beside(&path, suffix), folder.path().join(format!("aside{suffix}")));
    }
    assert!(matches!(reader.last(), Err(StoreError::Missing { .. })));
    let mut journal = SqliteJournal::open(&path, at(3)).unwrap();
    append_numbers(&mut journal, 9);
    let error = read(&mut reader, 3, 100).unwrap_err();
    assert!(
        matches!(error, StoreError::Replaced { was, now, .. } if (was, now) == (first, journal.id())),
        "{error}"
    );
    assert_eq!(reader.id(), JournalId::made_at(at(3)));
    assert_eq!(read(&mut reader, 1, 100).unwrap(), records(&mut journal, 1).unwrap());

    let disk = Disk::with_id(JournalId(1));
    let mut reader = MemoryReader::open(&disk);
    disk.begin_anew(JournalId(2));
    assert!(matches!(reader.last(), Err(StoreError::Replaced { .. })));
    assert_eq!((reader.id(), reader.last().unwrap()), (JournalId(2), Seq(0)));
}

#[test]
fn a_journal_that_is_not_there_yet_is_told_from_a_damaged_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    let error = |path: &Path| SqliteReader::open(path).map(drop).unwrap_err();
    assert!(matches!(error(&path), StoreError::Missing { .. }));
    fs::write(&path, b"").unwrap();
    assert!(matches!(error(&path), StoreError::Missing { .. }));
    fs::write(&path, b"no database at all".repeat(500)).unwrap();
    assert!(matches!(error(&path), StoreError::Corrupt { .. }));
    fs::remove_file(&path).unwrap();

    // Made before journals had an id: its next writer gives it one.
    drop(open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().execute_batch("DROP TABLE identity").unwrap();
    assert!(matches!(error(&path), StoreError::Missing { .. }));
    let journal = SqliteJournal::open(&path, Timestamp::from_nanos(5)).unwrap();
    assert_eq!(journal.id(), JournalId(5));
    assert_eq!(SqliteReader::open(&path).unwrap().id(), JournalId(5));
}

#[test]
fn damage_is_named_and_nothing_behind_it_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = closed(folder.path());
    let change = |sql: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let mut reader = SqliteReader::open(&path).unwrap();
    assert_eq!(read(&mut reader, 1, 160).unwrap().len(), 20);

    change("UPDATE records SET payload = x'00' WHERE seq = 30");
    let mut shown = 0;
    let error = reader.read(Seq(21), usize::MAX, &mut |record| {
        shown = record.seq.0;
        ControlFlow::Continue(())
    });
    assert!(
        matches!(&error, Err(StoreError::Corrupt { what, .. }) if what.contains("record 30")),
        "{error:?}"
    );
    assert_eq!(shown, 29);

    // What was read already is not looked through again, but its end must still be there.
    change("UPDATE records SET digest = zeroblob(32) WHERE seq = 29");
    let error = read(&mut reader, 30, 8).unwrap_err().to_string();
    assert!(error.contains("record 29") && error.contains("not the one that was read before"), "{error}");
    change("DELETE FROM records WHERE seq > 25");
    assert!(matches!(read(&mut reader, 30, 8), Err(StoreError::Range { .. })));
    let error = SqliteReader::open(&path).map(drop).unwrap_err().to_string();
    assert!(error.contains("it ends at record 25, but record 41 was acknowledged"), "{error}");
}

#[test]
fn a_cut_log_is_named_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = crashed(folder.path());
    let (file, log) = (fs::read(&path).unwrap(), fs::read(beside(&path, "-wal")).unwrap());
    let mut reader = SqliteReader::open(&path).unwrap();
    assert_eq!(read(&mut reader, 1, usize::MAX).unwrap().len(), 41);
    drop(reader);
    assert_eq!(fs::read(beside(&path, "-wal")).unwrap(), log, "a reader wrote to the log");
    assert_eq!(fs::read(&path).unwrap(), file, "a reader wrote to the file");

    fs::write(beside(&path, "-wal"), &log[..log.len() / 2]).unwrap();
    let _ = fs::remove_file(beside(&path, "-shm"));
    let error = SqliteReader::open(&path).map(drop).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { .. }), "{error}");
    assert_eq!(fs::read(beside(&path, "-wal")).unwrap().len(), log.len() / 2);
    fs::write(&path, b"").unwrap();
    assert!(matches!(SqliteReader::open(&path), Err(StoreError::Corrupt { .. })));
}

/// The writer is another process, which dies again and again; the reader stays open all the time.
#[test]
fn a_reader_follows_a_writer_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let mut reader: Option<SqliteReader> = None;
    let mut next = 1;
    for round in 1..=6u64 {
        let mut child = kill::spawn(&path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        for acknowledged in lines.by_ref().filter_map(|l| kill::number(&l)).take(20 * round as usize) {
            let reader = reader.get_or_insert_with(|| SqliteReader::open(&path).unwrap());
            // Everything that was acknowledged is there for a reader, too.
            while next <= acknowledged {
                let found = read(reader, next, 200).unwrap();
                assert!(!found.is_empty(), "{next} was acknowledged");
                for (seq, payload) in found {
                    assert_eq!((seq, payload), (next, next.to_le_bytes().to_vec()));
                    next += 1;
                }
            }
        }
        child.kill().unwrap();
        let heard = lines.filter_map(|l| kill::number(&l)).last().unwrap_or(0);
        child.wait().unwrap();
        assert!(reader.as_mut().unwrap().last().unwrap().0 >= heard);
    }
    let whole = records(&mut open(&path).unwrap(), 1).unwrap();
    assert!(whole.len() as u64 >= next - 1);
}

#[test]
fn a_journal_that_is_closed_needs_no_log_even_while_somebody_is_open_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    let mut journal = SqliteJournal::open(&path, Timestamp::EPOCH).unwrap();
    journal.append(&[b"one"]).unwrap();
    let mut reader = SqliteReader::open(&path).unwrap();
    assert_eq!(reader.last().unwrap(), Seq(1));
    drop(journal);
    assert_eq!(fs::metadata(folder.path().join("x.db-wal")).unwrap().len(), 0);
    assert_eq!(reader.last().unwrap(), Seq(1));
}
