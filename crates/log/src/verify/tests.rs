//! Every way to spoil a small log, and what the verifier calls it.

use std::collections::BTreeMap;

use grace_types::chance::SeededEntropy;

use super::{Problem, Report, compare, verify};
use crate::{
    append::Appender,
    checkpoint::{Checkpoint, Trust},
    hash::Hash,
    limits::{FAULTS, TREE_SIZE},
    note::{Note, SignerKey, tests::Witness},
};

type Folder = BTreeMap<String, Vec<u8>>;
const ORIGIN: &str = "log.example/verify";

fn key() -> SignerKey {
    SignerKey::generate(ORIGIN, &mut SeededEntropy::new(2)).unwrap()
}

fn trust() -> Trust {
    Trust::in_log(key().verifier().clone())
}

/// A log sealed at each of `sizes`, with all older partial files kept. `salt` makes other entries.
fn log(sizes: &[u64], salt: u8) -> (Folder, Vec<Checkpoint>) {
    let (mut appender, mut folder, mut checkpoints) = (Appender::new(), Folder::new(), Vec::new());
    for size in sizes {
        while appender.size() < *size {
            let index = appender.size();
            let entry = [&[salt], index.to_string().as_bytes()].concat();
            appender.append(&entry[..entry.len() - usize::from(index % 5 == 0)]).unwrap();
        }
        let plan = appender.seal(ORIGIN, &[&key()]).unwrap();
        folder.extend(plan.writes.into_iter().map(|write| (write.path, write.bytes)));
        checkpoints.push(plan.checkpoint);
    }
    (folder, checkpoints)
}

fn faults(report: &Report) -> Vec<String> {
    report.faults.iter().map(ToString::to_string).collect()
}

/// What is found beside the checkpoint, whose signature is slow to check without optimisation.
fn compared(folder: &Folder, checkpoint: &Checkpoint) -> Report {
    let mut report = Report::default();
    compare(folder, checkpoint, Vec::new(), &mut report);
    report
}

fn faults_of(folder: &Folder) -> Vec<String> {
    faults(&verify(folder, &trust(), &[]))
}

#[test]
fn whole_logs_are_whole() {
    for sizes in [
        &[0][..],
        &[1],
        &[0, 1, 2, 3],
        &[255, 256, 257],
        &[100, 300, 512],
        &[70, 700, 65_536, 65_537, 66_000],
    ] {
        let (folder, checkpoints) = log(sizes, 0);
        let report = verify(&folder, &trust(), &checkpoints);
        assert_eq!(faults(&report), [""; 0], "{sizes:?}");
        let last = checkpoints.last().unwrap();
        assert_eq!((report.is_ok(), report.root, report.entries), (true, Some(last.root), last.size));
        assert!(report.unsealed.is_empty() && report.unknown.is_empty());
    }
}

#[test]
fn every_flipped_bit_is_found_and_named() {
    // Full and partial bundles and tiles of two levels, and older partial ones of both.
    let (mut folder, _) = log(&[3, 258, 260], 0);
    let witness = Witness::new("witness.example");
    let mut trust = trust();
    (trust.witnesses, trust.quorum) = (vec![witness.1.clone()], 1);
    let mut note = Note::parse(&folder["checkpoint"]).unwrap();
    note.signatures.push(witness.cosign(1_700_000_000, &note.text));
    folder.insert("checkpoint".into(), note.to_string().into_bytes());
    assert!(verify(&folder, &trust, &[]).is_ok());
    assert_eq!(folder.len(), 10, "{:?}", folder.keys());

    let checkpoint = trust.open(&folder["checkpoint"]).unwrap().checkpoint;
    for path in folder.keys().cloned().collect::<Vec<_>>() {
        for bit in 0..folder[&path].len() * 8 {
            // Every byte of long files and of slow signatures, in turn each of its bits; [`crate::note`] tries them all.
            if (folder[&path].len() > 1000 || path == "checkpoint") && bit % 8 != (bit / 8) % 8 {
                continue;
            }
            let mut spoilt = folder.clone();
            spoilt.get_mut(&path).unwrap()[bit / 8] ^= 1 << (bit % 8);
            let report = if path == "checkpoint" {
                verify(&spoilt, &trust, &[])
            } else {
                compared(&spoilt, &checkpoint)
            };
            let named: Vec<&str> = report.faults.iter().map(|fault| fault.path.as_str()).collect();
            assert_eq!(named, [path.as_str()], "bit {bit}: {:?}", faults(&report));
        }
    }
}

#[test]
fn every_flipped_bit_of_an_entry_names_the_entry() {
    let (folder, checkpoints) = log(&[258, 260], 0);
    for (path, first) in [("tile/entries/000", 0), ("tile/entries/001.p/4", 256)] {
        let (mut at, mut index) = (0, first);
        while at < folder[path].len() {
            let end = at + 2 + usize::from(folder[path][at + 1]);
            for byte in at + 2..end {
                let mut spoilt = folder.clone();
                spoilt.get_mut(path).unwrap()[byte] ^= 0x20;
                assert_eq!(
                    faults(&compared(&spoilt, &checkpoints[1])),
                    [format!("{path}: entry {index} is not the one that was logged")]
                );
            }
            (at, index) = (end, index + 1);
        }
    }
}

#[test]
fn every_truncated_lengthened_or_missing_file_is_named() {
    let (folder, checkpoints) = log(&[3, 258, 260], 0);
    for path in folder.keys().cloned().collect::<Vec<_>>() {
        let length = folder[&path].len();
        let step = if length > 1000 { 37 } else { 1 };
        let longer = [folder[&path].as_slice(), &[0]].concat();
        let shorter = (0..length).step_by(step).map(|length| folder[&path][..length].to_vec());
        for bytes in shorter.chain([longer]) {
            let spoilt_length = bytes.len();
            let mut spoilt = folder.clone();
            spoilt.insert(path.clone(), bytes);
            let report = if path == "checkpoint" {
                verify(&spoilt, &trust(), &[])
            } else {
                compared(&spoilt, &checkpoints[2])
            };
            let named: Vec<&str> = report.faults.iter().map(|fault| fault.path.as_str()).collect();
            assert_eq!(named, [path.as_str()], "{spoilt_length} of {length} bytes: {:?}", faults(&report));
        }
        let mut spoilt = folder.clone();
        spoilt.remove(&path);
        let stale = path.ends_with(".p/3") || path.ends_with(".p/2");
        let expected = if stale { vec![] } else { vec![format!("{path}: the file is missing")] };
        assert_eq!(faults_of(&spoilt), expected);
    }
}

#[test]
fn several_faults_are_all_named() {
    let (folder, _) = log(&[700], 0);
    let mut spoilt = folder.clone();
    for path in ["tile/entries/000", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2"] {
        *spoilt.get_mut(path).unwrap().last_mut().unwrap() ^= 1;
    }
    // The hash above the second tile is spoilt too, so nothing tells whether that tile or its entry was.
    let expected = [
        "tile/0/001: hash 255 of the tile is not that of what lies under it, and nothing tells which was altered",
        "tile/entries/000: entry 255 is not the one that was logged",
        "tile/entries/001: entry 511 is not the one that was logged",
        "tile/0/002.p/188: hash 187 of the tile is not that of what lies under it",
        "tile/1/000.p/2: hash 1 of the tile is not that of what lies under it",
    ];
    let found = faults_of(&spoilt);
    for fault in expected {
        assert!(found.iter().any(|found| found.starts_with(fault)), "{fault}\n{found:?}");
    }
    // Without the bundle and its tile, the rest is still looked at.
    let mut spoilt = folder;
    for path in ["tile/entries/000", "tile/0/000"] {
        spoilt.remove(path);
    }
    spoilt.get_mut("tile/entries/001").unwrap()[2] ^= 1;
    let missing = |path: &str| format!("{path}: the file is missing");
    let entry = "tile/entries/001: entry 256 is not the one that was logged".to_owned();
    assert_eq!(faults_of(&spoilt), [missing("tile/entries/000"), missing("tile/0/000"), entry]);
}

#[test]
fn what_was_replaced_together_is_found_above() {
    let (folder, _) = log(&[700], 0);
    let (other, _) = log(&[700], 1);
    let mut spoilt = folder.clone();
    for path in ["tile/entries/001", "tile/0/001"] {
        spoilt.insert(path.into(), other[path].clone());
    }
    let named = "the tile and what lies under it were replaced: tile/1/000.p/2 has another hash for it";
    assert_eq!(faults_of(&spoilt), [format!("tile/0/001: {named}")]);

    // All but the checkpoint, replaced together.
    let mut spoilt = other;
    spoilt.insert("checkpoint".into(), folder["checkpoint"].clone());
    let report = verify(&spoilt, &trust(), &[]);
    assert!(matches!(report.faults[0].problem, Problem::Root { .. }), "{:?}", faults(&report));
    assert_eq!(report.faults[0].path, "checkpoint");
}

#[test]
fn rollback_fork_and_a_rewritten_past_are_found() {
    let (old, old_checkpoints) = log(&[300], 0);
    let (new, new_checkpoints) = log(&[300, 700], 0);
    assert!(verify(&new, &trust(), &old_checkpoints).is_ok());
    let report = verify(&old, &trust(), &new_checkpoints);
    assert_eq!(faults(&report), ["checkpoint: the log was rolled back: it has 300 entries, and had 700"]);
    // Rolled back by its checkpoint alone: the files past it are unsealed.
    let mut rolled_back = new;
    rolled_back.insert("checkpoint".into(), old["checkpoint"].clone());
    let report = verify(&rolled_back, &trust(), &new_checkpoints);
    assert_eq!(report.faults.len(), 1, "{:?}", faults(&report));
    assert!(report.unsealed.contains(&"tile/entries/002.p/188".to_owned()), "{:?}", report.unsealed);

    let (other, _) = log(&[300], 1);
    let report = verify(&other, &trust(), &old_checkpoints);
    assert!(
        matches!(report.faults[..], [ref only] if matches!(only.problem, Problem::Fork { size: 300, .. }))
    );

    let (rewritten, _) = log(&[700], 1);
    for size in [0, 1, 256, 300, 512, 699] {
        let (_, known) = log(&[size], 0);
        let report = verify(&rewritten, &trust(), &known);
        let is_rewritten =
            matches!(report.faults[..], [ref only] if matches!(only.problem, Problem::Rewritten { .. }));
        assert_eq!(is_rewritten, size > 0, "{size}: {:?}", faults(&report));
    }
}

#[test]
fn files_past_the_checkpoint_and_strange_files_are_listed() {
    let (mut folder, _) = log(&[300], 0);
    for (path, list) in [
        ("tile/0/002.p/1", 0),
        ("tile/2/000.p/1", 0),
        ("tile/0/001", 0),
        ("tile/0/001.tmp", 1),
        ("notes.txt", 1),
    ] {
        folder.insert(path.into(), vec![1]);
        let report = verify(&folder, &trust(), &[]);
        assert!(report.is_ok());
        assert!([&report.unsealed, &report.unknown][list].contains(&path.to_owned()), "{path}");
    }
}

#[test]
fn a_checkpoint_that_cannot_be_trusted_ends_it() {
    let (mut folder, _) = log(&[5], 0);
    let stranger = SignerKey::generate(ORIGIN, &mut SeededEntropy::new(9)).unwrap();
    let signed = Checkpoint::new(ORIGIN, 5, Hash::EMPTY).unwrap().sign(&[&stranger]).unwrap();
    folder.insert("checkpoint".into(), signed.into_bytes());
    assert_eq!(faults_of(&folder), ["checkpoint: no known key has signed the note"]);
    folder.remove("checkpoint");
    let report = verify(&folder, &trust(), &[]);
    assert_eq!(faults(&report), ["checkpoint: the file is missing"]);
    assert!(!report.is_ok() && report.opened.is_none());
}

#[test]
fn a_checkpoint_of_more_than_anyone_has_ends_soon() {
    let checkpoint = Checkpoint::new(ORIGIN, TREE_SIZE, Hash::EMPTY).unwrap();
    let signed = checkpoint.sign(&[&key()]).unwrap().into_bytes();
    let report = verify(&Folder::from([("checkpoint".into(), signed)]), &trust(), &[]);
    assert_eq!((report.faults.len(), report.is_ok(), report.root), (FAULTS, false, None));
}
