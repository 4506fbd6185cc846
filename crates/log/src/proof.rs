//! Inclusion and consistency proofs: made from tiles, verified from hashes alone.
//!
//! A proof is made from the few tiles that cover its hashes, each read once: about two for each 8 levels of the tree. The
//! makers follow RFC 6962, sections 2.1.1 and 2.1.2; the verifiers RFC 9162, sections 2.1.3.2 and 2.1.4.2. They share no
//! code, so that one checks the other.
//!
//! A maker does not check the tiles it reads. Verify what it made against the checkpoint before handing it out.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use crate::{
    files::{Files, ReadError, read_tile},
    hash::{Hash, fold_peaks, node_hash, root_of},
    limits::{PROOF_HASHES, TREE_SIZE},
    tile::{Kind, Resource},
};

/// The audit path of entry `index` in the tree of the first `size` entries: from the leaf's sibling to the root's child.
///
/// # Errors
///
/// A tile is missing, unreadable or of the wrong length, or the tree has no such entry.
pub fn prove_inclusion(files: &impl Files, index: u64, size: u64) -> Result<Vec<Hash>, ReadError> {
    if index >= size || size > TREE_SIZE {
        return Err(ReadError::Outside { size, what: format!("entry {index}") });
    }
    let mut tiles = Tiles::of(files, size);
    let (mut proof, mut tree) = (Vec::new(), 0..size);
    while tree.end - tree.start > 1 {
        let (left, right) = split(&tree);
        if index < right.start {
            proof.push(tiles.root(right)?);
            tree = left;
        } else {
            proof.push(tiles.root(left)?);
            tree = right;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of the first `new` entries begins with that of the first `old`. Empty if they are the same, or
/// `old` is 0.
///
/// # Errors
///
/// A tile is missing, unreadable or of the wrong length, or `old` is the larger one.
pub fn prove_consistency(files: &impl Files, old: u64, new: u64) -> Result<Vec<Hash>, ReadError> {
    if old > new || new > TREE_SIZE {
        return Err(ReadError::Outside { size: new, what: format!("first {old} entries") });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let mut tiles = Tiles::of(files, new);
    let (mut proof, mut tree) = (Vec::new(), 0..new);
    while tree.end != old {
        let (left, right) = split(&tree);
        if old <= right.start {
            proof.push(tiles.root(right)?);
            tree = left;
        } else {
            proof.push(tiles.root(left)?);
            tree = right;
        }
    }
    // A subtree that begins at 0 is the old tree itself, whose root the verifier has.
    if tree.start > 0 {
        proof.push(tiles.root(tree)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Splits a tree of at least two as RFC 6962 does: the left part is the largest power of two that leaves a right part.
fn split(tree: &Range<u64>) -> (Range<u64>, Range<u64>) {
    let left = 1 << (tree.end - tree.start - 1).ilog2();
    (tree.start..tree.start + left, tree.start + left..tree.end)
}

/// The tiles of a tree, each read once.
struct Tiles<'a, F> {
    files: &'a F,
    size: u64,
    read: BTreeMap<Resource, Cow<'a, [u8]>>,
}

impl<'a, F: Files> Tiles<'a, F> {
    const fn of(files: &'a F, size: u64) -> Self {
        Self { files, size, read: BTreeMap::new() }
    }

    /// The root over the entries of `range`, which begins at a multiple of the largest power of two in it.
    fn root(&mut self, range: Range<u64>) -> Result<Hash, ReadError> {
        let (mut peaks, mut start) = (Vec::new(), range.start);
        while start < range.end {
            let height = (range.end - start).ilog2();
            peaks.push(self.perfect(start, height)?);
            start += 1 << height;
        }
        Ok(fold_peaks(peaks.into_iter()))
    }

    /// The root over the 2^`height` entries from `start`, from the tile that has it or the hashes under it.
    fn perfect(&mut self, start: u64, height: u32) -> Result<Hash, ReadError> {
        let outside =
            |size| ReadError::Outside { size, what: format!("subtree of height {height} at {start}") };
        let level = u8::try_from(height / 8).map_err(|_| outside(self.size))?;
        let first = start >> (8 * level);
        let tile = Resource::in_tree(Kind::Tile(level), first / 256, self.size).ok_or(outside(self.size))?;
        let bytes = match self.read.entry(tile) {
            std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => free.insert(read_tile(self.files, tile)?),
        };
        let at = usize::try_from(first % 256).unwrap_or(0);
        let hashes = bytes.as_chunks().0.get(at..at + (1 << (height % 8)));
        hashes.map(root_of).ok_or(outside(self.size))
    }
}

/// Why a proof does not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// No tree has such an index or such sizes.
    #[error("the proof is about an entry or a tree that cannot be")]
    Impossible,
    /// Too many hashes, or too few.
    #[error("the proof does not have as many hashes as it needs")]
    Length,
    /// The hashes lead elsewhere.
    #[error("the proof leads to another root: something was altered")]
    Root,
}

/// Checks that the entry with hash `leaf` is at `index` of the tree of `size` entries with `root`.
///
/// # Errors
///
/// It is not, or the proof does not show it.
pub fn verify_inclusion(
    leaf: Hash,
    index: u64,
    size: u64,
    root: Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if index >= size || size > TREE_SIZE {
        return Err(ProofError::Impossible);
    }
    if proof.len() > PROOF_HASHES {
        return Err(ProofError::Length);
    }
    // `at` and `last` are the places of the node reached and of the rightmost node, level by level.
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            // A rightmost node without a sibling rises unchanged until it is a right child.
            let lone = at.trailing_zeros();
            at >>= lone;
            last >>= lone;
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    match (last, hash == root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}

/// Checks that the tree of `new` entries with `new_root` begins with the tree of `old` entries with `old_root`.
///
/// # Errors
///
/// It does not, or the proof does not show it.
pub fn verify_consistency(
    old: u64,
    old_root: Hash,
    new: u64,
    new_root: Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new || new > TREE_SIZE {
        return Err(ProofError::Impossible);
    }
    if old == 0 || old == new {
        let same = if old == 0 { old_root == Hash::EMPTY } else { old_root == new_root };
        return match (proof, same) {
            ([], true) => Ok(()),
            ([], false) => Err(ProofError::Root),
            _ => Err(ProofError::Length),
        };
    }
    if proof.len() > PROOF_HASHES {
        return Err(ProofError::Length);
    }
    // An old tree of a power of two is a node of the new one, and left out of the proof.
    let (first, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        let (first, rest) = proof.split_first().ok_or(ProofError::Length)?;
        (*first, rest)
    };
    let skip = (old - 1).trailing_ones();
    let (mut at, mut last) = ((old - 1) >> skip, (new - 1) >> skip);
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            let lone = at.trailing_zeros();
            at >>= lone;
            last >>= lone;
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    match (last, old_hash == old_root && new_hash == new_root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}
