//! Segments: each is twice as large as the one before, made ahead, and removed once all that it holds has been truncated.

use std::{fs, ops::ControlFlow, path::Path};

use grace_store::{Journal, JournalReader, Seq, file::FileReader, limits};

use crate::{damage::copy, open, records};

const RECORD: [u8; 4000] = [7; 4000];

/// Names and lengths of the segments, in order.
fn segments(folder: &Path) -> Vec<(String, u64)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(Result::unwrap)
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
        .filter(|(name, _)| name.starts_with("segment-"))
        .collect();
    all.sort();
    all
}

#[test]
fn a_long_journal_goes_from_segment_to_segment_and_readers_follow() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.journal");
    let mut journal = open(&path).unwrap();
    let mut reader = FileReader::open(path.clone()).unwrap();
    let mut read = 0;
    for round in 0..60 {
        journal.append(&[RECORD.as_slice(); 16]).unwrap();
        if round % 7 == 0 {
            drop(journal);
            journal = open(&path).unwrap();
        }
        while read < journal.last().0 {
            reader
                .read(Seq(read + 1), 50_000, &mut |record| {
                    assert_eq!((record.seq.0, record.payload), (read + 1, RECORD.as_slice()));
                    read = record.seq.0;
                    ControlFlow::Continue(())
                })
                .unwrap();
        }
    }
    assert_eq!((read, journal.last()), (960, Seq(960)));
    drop(journal);
    let all = segments(&path);
    assert!((5..10).contains(&all.len()), "{all:?}");
    assert_eq!(all[0].0, "segment-00000000000000000001");
    assert!(all.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{all:?}");

    let mut journal = open(&path).unwrap();
    journal.snapshot(Seq(900), b"state").unwrap();
    journal.truncate(Seq(900)).unwrap();
    assert!(segments(&path).len() <= 3, "{:?}", segments(&path));
    assert_eq!(records(&mut journal, 901).unwrap().len(), 60);
    // Also for one who stands before what is left.
    let mut late = FileReader::open(path.clone()).unwrap();
    assert!(late.read(Seq(900), 1, &mut |_| ControlFlow::Break(())).is_err());
    let mut seen = 0;
    late.read(Seq(901), usize::MAX, &mut |record| {
        seen = record.seq.0;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(seen, 960);
    drop(journal);
    assert_eq!(records(&mut open(&path).unwrap(), 901).unwrap().len(), 60);
}

#[test]
fn a_segment_that_is_gone_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.journal");
    let mut journal = open(&path).unwrap();
    for _ in 0..60 {
        journal.append(&[RECORD.as_slice(); 16]).unwrap();
    }
    drop(journal);
    let all = segments(&path);
    for (number, (name, _)) in all.iter().enumerate() {
        let damaged = folder.path().join(format!("{number}.journal"));
        copy(&path, &damaged);
        fs::remove_file(damaged.join(name)).unwrap();
        let read = open(&damaged).and_then(|mut journal| records(&mut journal, 1));
        match read {
            // One that was made ahead and holds nothing.
            Ok(found) => assert_eq!((number, found.len()), (all.len() - 1, 960)),
            Err(e) => assert!(e.to_string().contains("corrupt"), "{e}"),
        }
    }
}

#[test]
fn a_batch_larger_than_a_segment_makes_it_longer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.journal");
    let mut journal = open(&path).unwrap();
    let large = vec![5; usize::try_from(limits::SEGMENT_BYTES.0).unwrap() * 40];
    for _ in 0..3 {
        journal.append(&[&large, b"small"]).unwrap();
        journal.append(&[b"smaller"]).unwrap();
    }
    drop(journal);
    let found = records(&mut open(&path).unwrap(), 1).unwrap();
    assert_eq!(
        found.iter().map(|(_, payload)| payload.len()).collect::<Vec<_>>(),
        [large.len(), 5, 7].repeat(3)
    );
}
