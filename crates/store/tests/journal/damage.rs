//! Damaged files: torn, cut, flipped, swapped, gone. The damage is named; nothing acknowledged goes missing in silence.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use grace_store::{Journal, Seq, StoreError};
use grace_types::chance::{Entropy, SeededEntropy};

use crate::{append_numbers, open, records};

pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A journal of 40 records as `kill -9` leaves it: most of it is still in the log.
pub(crate) fn crashed(folder: &Path) -> PathBuf {
    let live = folder.join("live.db");
    let mut journal = open(&live).unwrap();
    append_numbers(&mut journal, 40);
    journal.snapshot(Seq(20), b"twenty").unwrap();
    append_numbers(&mut journal, 1);
    let path = folder.join("crashed.db");
    for suffix in ["", "-wal", "-head"] {
        fs::copy(beside(&live, suffix), beside(&path, suffix)).unwrap();
    }
    path
}

/// A journal of 41 records that was closed cleanly: all of it is in the main file.
pub(crate) fn closed(folder: &Path) -> PathBuf {
    let path = crashed(folder);
    drop(open(&path).unwrap());
    assert!(!beside(&path, "-wal").exists());
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
            assert!(named.contains("crashed.db"), "{what}: {named}");
            false
        }
        // A flipped format number or a version bit makes SQLite or us refuse the file as not ours to write.
        Err(StoreError::Io { .. }) => false,
        Err(e) => panic!("{what}: {e}"),
    }
}

#[test]
fn a_flipped_bit_anywhere_is_named_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let mut entropy = SeededEntropy::new(5);
    let (crashed_files, mut named) = (crashed(folder.path()), 0);
    let originals: Vec<(PathBuf, Vec<u8>)> = ["", "-wal", "-head"]
        .iter()
        .map(|s| beside(&crashed_files, s))
        .map(|p| (p.clone(), fs::read(p).unwrap()))
        .collect();
    for round in 0..300u64 {
        for (path, bytes) in &originals {
            fs::write(path, bytes).unwrap();
        }
        let _ = fs::remove_file(beside(&crashed_files, "-shm"));
        let (target, _) = &originals[(round % 3) as usize];
        let bit = entropy.next_u64();
        flip(target, bit);
        let what = format!("bit {bit} of {}", target.display());
        named += u32::from(!intact_or_named(&crashed_files, &what));
    }
    assert!(named > 100, "only {named} of 300 were noticed");
}

#[test]
fn a_flipped_bit_in_a_closed_file_is_named_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let mut entropy = SeededEntropy::new(6);
    let path = closed(folder.path());
    let original = fs::read(&path).unwrap();
    for _ in 0..300 {
        fs::write(&path, &original).unwrap();
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(beside(&path, suffix));
        }
        let bit = entropy.next_u64();
        flip(&path, bit);
        intact_or_named(&path, &format!("bit {bit}"));
    }
}

#[test]
fn a_cut_log_that_held_acknowledged_records_is_named_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = crashed(folder.path());
    let wal = beside(&path, "-wal");
    let whole = fs::read(&wal).unwrap();
    for part in [0, 1, 3, 7] {
        let cut = whole.len() * part / 8;
        fs::write(&wal, &whole[..cut]).unwrap();
        let error = open(&path).map(drop).unwrap_err();
        // With no log at all not even the tables are there.
        let text = error.to_string();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{text}");
        assert!(part == 0 || text.contains("record 41 was acknowledged"), "{text}");
        if part > 0 {
            assert_eq!(fs::metadata(&wal).unwrap().len(), cut as u64, "the evidence was touched");
        }
    }
    // Putting the log back repairs it.
    fs::write(&wal, &whole).unwrap();
    let _ = fs::remove_file(beside(&path, "-shm"));
    assert_eq!(records(&mut open(&path).unwrap(), 1).unwrap().len(), 41);
}

#[test]
fn a_cut_main_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = closed(folder.path());
    let whole = fs::read(&path).unwrap();
    for cut in [0, 100, 4096, 4097, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(!intact_or_named(&path, &format!("cut to {cut}")));
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(beside(&path, suffix));
        }
    }
    fs::remove_file(&path).unwrap();
    let text = open(&path).map(drop).unwrap_err().to_string();
    assert!(text.contains("the file is gone") && !path.exists(), "{text}");
}

#[test]
fn an_older_copy_of_the_file_is_named_as_a_rollback() {
    let folder = tempfile::tempdir().unwrap();
    let path = closed(folder.path());
    let old = fs::read(&path).unwrap();
    append_numbers(&mut open(&path).unwrap(), 3);
    fs::write(&path, old).unwrap();
    let text = open(&path).map(drop).unwrap_err().to_string();
    assert!(text.contains("it ends at record 41, but record 44 was acknowledged"), "{text}");
    // The operator can accept the loss.
    fs::remove_file(beside(&path, "-head")).unwrap();
    assert_eq!(open(&path).unwrap().last(), Seq(41));
}

#[test]
fn another_file_is_not_taken_for_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    fs::write(&path, b"this is a text and no database, but long enough to look at".repeat(100)).unwrap();
    assert!(matches!(open(&path), Err(StoreError::Corrupt { .. })));
    fs::remove_file(&path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let text = open(&path).map(drop).unwrap_err().to_string();
    assert!(text.contains("not a journal"), "{text}");
}

#[test]
fn files_are_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journals").join("x.db");
    let mut journal = open(&path).unwrap();
    append_numbers(&mut journal, 1);
    let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for suffix in ["", "-wal", "-shm", "-head"] {
        assert_eq!(mode(&beside(&path, suffix)), 0o600, "{suffix}");
    }
}

#[test]
fn a_handle_that_was_fenced_stays_fenced_and_still_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
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
