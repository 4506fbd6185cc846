//! Proofs: against the definitions, for every pair of small sizes and around the edges of tiles, and with every part spoilt.

use std::{borrow::Cow, cell::Cell, io};

use grace_log::{
    append::Appender,
    checkpoint::Trust,
    files::{Files, read_entry},
    hash::Hash,
    note::Note,
    proof::{ProofError, prove_consistency, prove_inclusion, verify_consistency, verify_inclusion},
    proof_file::ProofFile,
};
use grace_types::chance::{Entropy as _, SeededEntropy};

use crate::{
    trees::{known_entries, unhex},
    written_out::{Folder, ORIGIN, carry_out, consistency, entry, folder, key, leaf, leaves, path, root},
};

#[test]
fn the_known_proofs() {
    let (mut appender, mut folder) = (Appender::new(), Folder::new());
    for entry in known_entries() {
        appender.append(&entry).unwrap();
    }
    carry_out(&appender.seal(ORIGIN, &[&key()]).unwrap(), &mut folder);
    let hex = |proof: Vec<Hash>| proof.iter().map(|hash| hash.0.to_vec()).collect::<Vec<_>>();
    let known = [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ];
    assert_eq!(hex(prove_inclusion(&folder, 0, 8).unwrap()), known.map(unhex));
    assert_eq!(hex(prove_consistency(&folder, 1, 8).unwrap()), known.map(unhex));
}

#[test]
fn every_proof_of_small_trees() {
    let (leaves, folder) = (leaves(70), folder(70));
    for size in 1..=70u64 {
        let n = usize::try_from(size).unwrap();
        // Older sizes are proved from the newest tiles too, as a full tile stands in for a partial one.
        let folder = if size % 2 == 0 { crate::written_out::folder(size) } else { earlier(&folder, size) };
        let now = root(&leaves[..n]);
        for m in 0..n {
            let (index, leaf) = (m as u64, leaves[m]);
            let proof = prove_inclusion(&folder, index, size).unwrap();
            assert_eq!(proof, path(m, &leaves[..n]), "{m} in {n}");
            assert_eq!(verify_inclusion(leaf, index, size, now, &proof), Ok(()), "{m} in {n}");
            spoilt_inclusion(leaf, index, size, now, &proof);
        }
        for m in 0..=n {
            let (old, then) = (m as u64, root(&leaves[..m]));
            let proof = prove_consistency(&folder, old, size).unwrap();
            assert_eq!(proof, consistency(m, &leaves[..n]), "{m} to {n}");
            assert_eq!(verify_consistency(old, then, size, now, &proof), Ok(()), "{m} to {n}");
            spoilt_consistency(old, then, size, now, &proof);
        }
    }
}

/// The tiles of a smaller tree, cut from those of a larger one within one tile.
fn earlier(folder: &Folder, size: u64) -> Folder {
    let bytes = folder["tile/0/000.p/70"][..usize::try_from(size).unwrap() * 32].to_vec();
    Folder::from([(format!("tile/0/000.p/{size}"), bytes)])
}

fn spoils(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut spoilt: Vec<Vec<Hash>> = (0..proof.len())
        .flat_map(|at| {
            let (mut flipped, mut shorter) = (proof.to_vec(), proof.to_vec());
            flipped[at].0[at % 32] ^= 1 << (at % 8);
            shorter.remove(at);
            [flipped, shorter]
        })
        .collect();
    spoilt.push([proof, &[Hash::EMPTY]].concat());
    spoilt.push(vec![Hash::EMPTY; 129]);
    spoilt
}

fn spoilt_inclusion(leaf: Hash, index: u64, size: u64, root: Hash, proof: &[Hash]) {
    for spoilt in spoils(proof) {
        assert!(verify_inclusion(leaf, index, size, root, &spoilt).is_err());
    }
    assert!(verify_inclusion(Hash::EMPTY, index, size, root, proof).is_err());
    assert!(verify_inclusion(leaf, index, size, Hash::EMPTY, proof).is_err());
    for other in [index + 1, index ^ 1, size, u64::MAX] {
        assert!(
            verify_inclusion(leaf, other, size, root, proof).is_err(),
            "{index} is not {other} in {size}"
        );
    }
}

fn spoilt_consistency(old: u64, then: Hash, new: u64, now: Hash, proof: &[Hash]) {
    for spoilt in spoils(proof) {
        assert!(verify_consistency(old, then, new, now, &spoilt).is_err());
    }
    let other = Hash([7; 32]);
    assert!(verify_consistency(old, other, new, now, proof).is_err());
    // Whatever comes after nothing: the empty tree is the beginning of every other.
    assert_eq!(verify_consistency(old, then, new, other, proof).is_err(), old > 0);
    assert_eq!(verify_consistency(new + 1, then, new, now, proof), Err(ProofError::Impossible));
    assert_eq!(verify_consistency(0, then, u64::MAX, now, proof), Err(ProofError::Impossible));
}

#[test]
fn proofs_at_the_edges_of_tiles() {
    let size = 65_536 + 256 + 3;
    let (leaves, folder) = (leaves(size), folder(size));
    let mut chance = SeededEntropy::new(5);
    let edges = [0, 1, 2, 254, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, size - 1];
    let random = (0..40).map(|_| chance.below(size));
    let now = root(&leaves);
    for m in edges.into_iter().chain(random) {
        let at = usize::try_from(m).unwrap();
        let proof = prove_inclusion(&folder, m, size).unwrap();
        assert_eq!(proof, path(at, &leaves), "{m}");
        assert_eq!(verify_inclusion(leaf(&entry(m)), m, size, now, &proof), Ok(()));
        assert_eq!(read_entry(&folder, size, m).unwrap(), entry(m));
        let proof = prove_consistency(&folder, m, size).unwrap();
        assert_eq!(proof, consistency(at, &leaves), "{m}");
        assert_eq!(verify_consistency(m, root(&leaves[..at]), size, now, &proof), Ok(()));
    }
    for (old, new) in [(256, 512), (300, 65_536), (65_536, 65_792), (255, 257)] {
        let (then, now) = (root(&leaves[..old]), root(&leaves[..new]));
        let proof = prove_consistency(&folder, old as u64, new as u64);
        // The partial tiles of that size are gone; the full ones begin with them, but those at the edge are not full.
        if let Ok(proof) = proof {
            assert_eq!(
                verify_consistency(old as u64, then, new as u64, now, &proof),
                Ok(()),
                "{old} to {new}"
            );
        }
    }
}

#[test]
fn a_proof_reads_each_tile_once() {
    struct Counted<'a>(&'a Folder, Cell<usize>);
    impl Files for Counted<'_> {
        fn read(&self, path: &str, limit: usize) -> io::Result<Option<Cow<'_, [u8]>>> {
            self.1.set(self.1.get() + 1);
            self.0.read(path, limit)
        }
        fn list(&self) -> io::Result<Vec<String>> {
            self.0.list()
        }
    }
    let folder = folder(70_000);
    let counted = Counted(&folder, Cell::new(0));
    prove_inclusion(&counted, 12_345, 70_000).unwrap();
    // Its own tile of each level (two), and the right edge of each.
    assert_eq!(counted.1.get(), 4);
}

#[test]
fn what_is_not_there_cannot_be_proved() {
    let folder = folder(300);
    assert!(prove_inclusion(&folder, 300, 300).is_err());
    assert!(prove_inclusion(&folder, 0, 0).is_err());
    assert!(prove_inclusion(&folder, 0, 301).is_err(), "the tile of a size that was never sealed");
    assert!(prove_inclusion(&folder, 0, u64::MAX).is_err());
    assert!(prove_consistency(&folder, 301, 300).is_err());
    assert!(prove_consistency(&folder, 1, u64::MAX).is_err());
}

#[test]
fn a_proof_file_convinces_a_stranger() {
    let folder = folder(300);
    let trust = Trust::in_log(key().verifier().clone());
    let note = Note::parse(&folder["checkpoint"]).unwrap();
    for index in [0, 255, 256, 299] {
        let mut file = ProofFile::make(&folder, index, 300, note.clone()).unwrap();
        if index == 299 {
            file.extra = Some(b"age-v1.2.1".to_vec());
        }
        let text = file.to_string();
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\n"), "{text}");
        let read = ProofFile::parse(text.as_bytes()).unwrap();
        assert_eq!(read, file);
        assert_eq!(read.verify(&entry(index), &trust).unwrap().checkpoint.size, 300);
        assert!(read.verify(b"another", &trust).is_err());

        for byte in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[byte] ^= 1 << (byte % 8);
            let in_extra = index == 299 && (23..50).contains(&byte);
            let accepted =
                ProofFile::parse(&bytes).is_ok_and(|file| file.verify(&entry(index), &trust).is_ok());
            assert!(
                !accepted || in_extra,
                "byte {byte} of the proof of {index}: nothing vouches for extra data alone"
            );
        }
        for length in 0..text.len() {
            let cut = ProofFile::parse(&text.as_bytes()[..length]);
            assert!(cut.is_err(), "cut to {length} bytes");
        }
    }
}
