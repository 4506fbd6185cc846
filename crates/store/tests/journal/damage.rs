//! Damaged files: torn, cut, flipped, swapped, gone. The damage is named; nothing acknowledged goes missing in silence.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use grace_store::{Journal, Seq, StoreError, file::FileJournal};
use grace_types::time::Timestamp;

use crate::{append_numbers, open, records};

/// Copies a journal as it lies there.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for (name, bytes) in files(from) {
        fs::write(to.join(name), bytes).unwrap();
    }
}

/// Everything in the journal's folder.
pub(crate) fn files(folder: &Path) -> Vec<(OsString, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// Puts the folder back to what it was.
pub(crate) fn restore(folder: &Path, files: &[(OsString, Vec<u8>)]) {
    fs::remove_dir_all(folder).unwrap();
    fs::create_dir(folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

/// The only segment of such a journal.
pub(crate) fn segment(folder: &Path) -> PathBuf {
    folder.join("segment-00000000000000000001")
}

/// A journal of 41 records, as `kill -9` leaves it.
pub(crate) fn crashed(folder: &Path) -> PathBuf {
    let live = folder.join("live.journal");
    let mut journal = open(&live).unwrap();
    append_numbers(&mut journal, 40);
    journal.snapshot(Seq(20), b"twenty").unwrap();
    append_numbers(&mut journal, 1);
    let path = folder.join("crashed.journal");
    copy(&live, &path);
    path
}

fn flip(path: &Path, bit: u64) {
    let mut bytes = fs::read(path).unwrap();
    let bit = bit % (bytes.len() as u64 * 8);
    bytes[bit as usize / 8] ^= 1 << (bit % 8);
    fs::write(path, bytes).unwrap();
}

/// Either everything is there, or the damage was named.
fn intact_or_named(path: &Path, what: &str) -> bool {
    let read = open(path).and_then(|mut journal| {
        let found = records(&mut journal, 1)?;
        for info in journal.snapshots()? {
            assert_eq!(journal.restore(info.seq)?, b"twenty", "{what}");
        }
        Ok((found, journal.snapshots()?.len()))
    });
    match read {
        Ok((found, snapshots)) => {
            assert_eq!((found.len(), snapshots), (41, 1), "{what}: lost in silence");
            assert!(found.iter().all(|(seq, payload)| payload[..] == seq.to_le_bytes()), "{what}");
            true
        }
        Err(StoreError::Corrupt { what: named, .. }) => {
            assert!(named.contains("crashed.journal"), "{what}: {named}");
            false
        }
        // A flipped bit in the number of the format is a format that is not known.
        Err(StoreError::Io { .. }) => false,
        Err(e) => panic!("{what}: {e}"),
    }
}

#[test]
fn a_flipped_bit_anywhere_is_named_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let path = crashed(folder.path());
    let originals = files(&path);
    assert_eq!(originals.len(), 4, "head, meta, a segment and a snapshot");
    let (mut named, mut bits) = (0, 0);
    for (name, bytes) in &originals {
        // All of what is written, and some of the zeros behind it.
        for bit in (0..(bytes.len() as u64 * 8).min(40_000)).step_by(37) {
            restore(&path, &originals);
            flip(&path.join(name), bit);
            named += u32::from(!intact_or_named(&path, &format!("bit {bit} of {}", name.display())));
            bits += 1;
        }
    }
    assert!(named * 10 > bits * 5, "only {named} of {bits} were noticed");
}

#[test]
fn a_cut_segment_that_held_acknowledged_records_is_named_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = crashed(folder.path());
    let segment = segment(&path);
    let whole = fs::read(&segment).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for part in [0, 1, 3, 7] {
        let cut = used * part / 8;
        fs::write(&segment, &whole[..cut]).unwrap();
        let error = open(&path).map(drop).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{text}");
        assert_eq!(fs::metadata(&segment).unwrap().len(), cut as u64, "the evidence was touched");
    }
    // Zeros are what a segment that was made ahead holds: there the journal seems to end.
    fs::write(&segment, [&whole[..used / 2], &vec![0; whole.len() - used / 2]].concat()).unwrap();
    let text = open(&path).map(drop).unwrap_err().to_string();
    assert!(text.contains("corrupt"), "{text}");
    fs::remove_file(&segment).unwrap();
    let text = open(&path).map(drop).unwrap_err().to_string();
    assert!(text.contains("it ends at record 0, but record 41 was acknowledged"), "{text}");
    // Putting it back repairs it.
    fs::write(&segment, &whole).unwrap();
    assert_eq!(records(&mut open(&path).unwrap(), 1).unwrap().len(), 41);
}

#[test]
fn a_torn_batch_that_was_not_acknowledged_is_dropped_and_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = crashed(folder.path());
    let head = fs::read(path.join("head")).unwrap();
    let mut journal = open(&path).unwrap();
    journal.append(&[b"one", b"two", b"three"]).unwrap();
    drop(journal);
    let segment = segment(&path);
    let mut bytes = fs::read(&segment).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    assert!(matches!(open(&path), Err(StoreError::Corrupt { .. })), "it was acknowledged");
    fs::write(path.join("head"), head).unwrap();
    let mut journal = open(&path).unwrap();
    assert_eq!(journal.last(), Seq(41));
    append_numbers(&mut journal, 2);
    drop(journal);
    assert_eq!(records(&mut open(&path).unwrap(), 1).unwrap().len(), 43);
}

#[test]
fn an_older_copy_of_the_files_is_named_as_a_rollback() {
    let folder = tempfile::tempdir().unwrap();
    let path = crashed(folder.path());
    let old = fs::read(segment(&path)).unwrap();
    append_numbers(&mut open(&path).unwrap(), 3);
    fs::write(segment(&path), old).unwrap();
    let text = open(&path).map(drop).unwrap_err().to_string();
    assert!(text.contains("it ends at record 41, but record 44 was acknowledged"), "{text}");
    // The operator can accept the loss.
    fs::remove_file(path.join("head")).unwrap();
    assert_eq!(open(&path).unwrap().last(), Seq(41));
    // But not that of the journal's own numbers.
    fs::remove_file(path.join("meta")).unwrap();
    let text = open(&path).map(drop).unwrap_err().to_string();
    assert!(text.contains("its file meta is gone"), "{text}");
}

#[test]
fn another_file_is_not_taken_for_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.journal");
    fs::write(&path, b"this is a text").unwrap();
    let text = open(&path).map(drop).unwrap_err().to_string();
    assert!(text.contains("not a journal"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), b"this is a text");
    // Nor another journal's segment for this one's.
    let (one, other) = (crashed(folder.path()), folder.path().join("another.journal"));
    let mut journal = FileJournal::open(&other, Timestamp::from_nanos(9)).unwrap();
    append_numbers(&mut journal, 41);
    drop(journal);
    fs::copy(segment(&one), segment(&other)).unwrap();
    assert!(matches!(open(&other), Err(StoreError::Corrupt { .. })));
}

#[test]
fn files_are_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journals").join("x.journal");
    let mut journal = open(&path).unwrap();
    append_numbers(&mut journal, 1);
    let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
    journal.snapshot(Seq(1), b"state").unwrap();
    assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o700));
    for (name, _) in files(&path) {
        assert_eq!(mode(&path.join(&name)), 0o600, "{}", name.display());
    }
}

#[test]
fn a_handle_that_was_fenced_stays_fenced_and_still_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.journal");
    let mut old = open(&path).unwrap();
    append_numbers(&mut old, 2);
    let mut new = open(&path).unwrap();
    append_numbers(&mut new, 2);
    for _ in 0..2 {
        assert!(matches!(old.append(&[b"late"]), Err(StoreError::Fenced { .. })));
    }
    assert_eq!(records(&mut old, 1).unwrap().len(), 4);
    assert_eq!(records(&mut new, 1).unwrap().len(), 4);
}
