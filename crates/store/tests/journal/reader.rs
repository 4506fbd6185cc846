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
    file::{FileJournal, FileReader},
    memory::{Disk, Fault, MemoryJournal, MemoryReader},
};
use grace_types::{chance::SeededEntropy, evidence::JournalId, time::Timestamp};

use crate::{
    append_numbers,
    damage::{crashed, files, restore, segment},
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
    let path = folder.path().join("x.journal");
    let mut journal = open(&path).unwrap();
    reads_what_is_written(&mut journal, &mut FileReader::open(&path).unwrap());
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
    let path = folder.path().join("x.journal");
    let at = |seconds: u64| Timestamp::EPOCH.plus(Duration::from_secs(seconds));
    let mut journal = FileJournal::open(&path, at(1)).unwrap();
    let first = journal.id();
    append_numbers(&mut journal, 4);
    drop(journal);
    let journal = FileJournal::open(&path, at(2)).unwrap();
    assert_eq!((journal.id(), first), (first, JournalId::made_at(at(1))));
    let mut reader = FileReader::open(&path).unwrap();
    assert_eq!(read(&mut reader, 1, 16).unwrap().len(), 2);

    drop(journal);
    fs::rename(&path, folder.path().join("aside")).unwrap();
    assert!(matches!(reader.last(), Err(StoreError::Missing { .. })));
    let mut journal = FileJournal::open(&path, at(3)).unwrap();
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
    let path = folder.path().join("x.journal");
    let error = |path: &Path| FileReader::open(path).map(drop).unwrap_err();
    assert!(matches!(error(&path), StoreError::Missing { .. }));
    fs::create_dir(&path).unwrap();
    assert!(matches!(error(&path), StoreError::Missing { .. }));
    fs::remove_dir(&path).unwrap();
    fs::write(&path, b"no journal at all").unwrap();
    assert!(matches!(error(&path), StoreError::Corrupt { .. }));
    fs::remove_file(&path).unwrap();

    // The loss of acknowledged records was accepted: what is left is told once a writer has looked.
    append_numbers(&mut open(&path).unwrap(), 3);
    fs::remove_file(path.join("head")).unwrap();
    assert!(matches!(error(&path), StoreError::Missing { .. }));
    drop(open(&path).unwrap());
    assert_eq!(FileReader::open(&path).unwrap().last().unwrap(), Seq(3));
}

#[test]
fn damage_is_named_and_nothing_behind_it_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = crashed(folder.path());
    let mut reader = FileReader::open(&path).unwrap();
    assert_eq!(read(&mut reader, 1, 160).unwrap().len(), 20);

    // A record is what holds its number, once in the file each.
    let damage = |record: u64| {
        let mut bytes = fs::read(segment(&path)).unwrap();
        let found =
            bytes.windows(12).rposition(|at| at == [&[8, 0, 0, 0][..], &record.to_le_bytes()].concat());
        bytes[found.unwrap() + 4] ^= 0x80;
        fs::write(segment(&path), bytes).unwrap();
    };
    damage(30);
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
    let error = FileReader::open(&path).map(drop).unwrap_err().to_string();
    assert!(error.contains("record 30"), "{error}");
}

#[test]
fn a_record_that_a_visitor_had_no_room_for_is_next_and_nothing_before_it_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = crashed(folder.path());
    let mut reader = FileReader::open(&path).unwrap();
    let mut up_to = |from: u64, last: u64| {
        let mut found = Vec::new();
        let read = reader.read(Seq(from), usize::MAX, &mut |record| {
            found.push(record.seq.0);
            if record.seq.0 > last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        read.map(|()| found)
    };
    assert_eq!(up_to(1, 20).unwrap(), (1..=21).collect::<Vec<_>>());
    // What lies before would be refused by whoever comes by again.
    let mut bytes = fs::read(segment(&path)).unwrap();
    let record = [&[8, 0, 0, 0][..], &5u64.to_le_bytes()].concat();
    let found = bytes.windows(12).rposition(|at| at == record).unwrap();
    bytes[found + 4] ^= 0x80;
    fs::write(segment(&path), bytes).unwrap();
    assert_eq!(up_to(21, 24).unwrap(), (21..=25).collect::<Vec<_>>());
    assert_eq!(up_to(26, 30).unwrap(), (26..=31).collect::<Vec<_>>());
    // Only the one that was shown last: further back it has to look from where the segment begins.
    assert!(matches!(up_to(30, 31), Err(StoreError::Corrupt { .. })));
}

#[test]
fn a_reader_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = crashed(folder.path());
    let whole = files(&path);
    let mut reader = FileReader::open(&path).unwrap();
    assert_eq!(read(&mut reader, 1, usize::MAX).unwrap().len(), 41);
    drop(reader);
    assert_eq!(files(&path), whole);

    let cut = fs::read(segment(&path)).unwrap()[..600].to_vec();
    fs::write(segment(&path), &cut).unwrap();
    assert!(matches!(FileReader::open(&path), Err(StoreError::Corrupt { .. })));
    assert_eq!(fs::read(segment(&path)).unwrap(), cut);
    restore(&path, &whole);
    fs::remove_file(path.join("meta")).unwrap();
    assert!(matches!(FileReader::open(&path), Err(StoreError::Corrupt { .. })));
}

#[test]
fn a_reader_shows_nothing_that_was_not_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = crashed(folder.path());
    let head = fs::read(path.join("head")).unwrap();
    open(&path).and_then(|mut journal| journal.append(&[b"late"])).unwrap();
    fs::write(path.join("head"), head).unwrap();
    let mut reader = FileReader::open(&path).unwrap();
    assert_eq!(reader.last().unwrap(), Seq(41));
    assert_eq!(read(&mut reader, 41, usize::MAX).unwrap().len(), 1);
    // Its next writer finds it whole, and makes it durable.
    assert_eq!(open(&path).unwrap().last(), Seq(42));
    assert_eq!(read(&mut reader, 42, usize::MAX).unwrap(), [(42, b"late".to_vec())]);
}

/// The writer is another process, which dies again and again; the reader stays open all the time.
#[test]
fn a_reader_follows_a_writer_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.journal");
    let mut reader: Option<FileReader> = None;
    let mut next = 1;
    for round in 1..=6u64 {
        let mut child = kill::spawn(&path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        for acknowledged in lines.by_ref().filter_map(|l| kill::number(&l)).take(20 * round as usize) {
            let reader = reader.get_or_insert_with(|| FileReader::open(&path).unwrap());
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
