//! The right edge of a growing tree: all that is needed to append to it, in a few kilobytes however large the tree is.
//!
//! It holds the partial tile of each level, and the roots of the perfect subtrees ("peaks") that the tree splits into, so that
//! a leaf costs one node hash on average and the root of any size a few. A tile leaves through a callback as it fills.

use crate::{
    hash::{Hash, fold_peaks, node_hash, peaks_of},
    limits::{TILE_BYTES, TREE_SIZE},
    tile::{Kind, Resource},
};

/// The right edge of a tree.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edge {
    size: u64,
    /// Roots of perfect subtrees, largest first: one for each bit of `size`.
    peaks: Vec<Hash>,
    /// The hashes of each level's partial tile, from level 0.
    partial: Vec<Vec<u8>>,
}

impl Edge {
    /// The edge of a tree of `size`, from its partial tiles from level 0 up (an empty one where the level has none).
    pub(crate) fn from_partial_tiles(size: u64, partial: Vec<Vec<u8>>) -> Self {
        let peaks = partial.iter().rev().flat_map(|tile| peaks_of(tile.as_chunks().0)).collect();
        Self { size, peaks, partial }
    }

    /// Entries in the tree.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    pub(crate) fn root(&self) -> Hash {
        fold_peaks(self.peaks.iter().copied())
    }

    /// The partial tiles, from level 0 up.
    pub(crate) fn partial_tiles(&self) -> impl Iterator<Item = (Resource, &[u8])> {
        (0..).zip(&self.partial).filter_map(|(level, tile)| {
            let at = Resource::in_tree(Kind::Tile(level), (self.size >> (8 * level)) / 256, self.size)?;
            Some((at, tile.as_slice()))
        })
    }

    /// Appends a leaf. Each tile that it fills is handed to `full`. Returns `false`, with nothing appended, when the
    /// tree is as large as [`TREE_SIZE`].
    pub(crate) fn push(&mut self, leaf: Hash, mut full: impl FnMut(Resource, Vec<u8>)) -> bool {
        if self.size >= TREE_SIZE {
            return false;
        }
        let (mut hash, mut height) = (leaf, 0u8);
        loop {
            // Now `hash` is a perfect subtree of `height` that ends at the new leaf.
            if height % 8 == 0 {
                self.push_to_tile(height / 8, &hash, &mut full);
            }
            if (self.size >> height) & 1 == 0 {
                break;
            }
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            height += 1;
        }
        self.peaks.push(hash);
        self.size += 1;
        true
    }

    /// Adds a hash of height 8 × `level` to the level's tile.
    fn push_to_tile(&mut self, level: u8, hash: &Hash, full: &mut impl FnMut(Resource, Vec<u8>)) {
        let at = usize::from(level);
        if self.partial.len() <= at {
            self.partial.push(Vec::with_capacity(TILE_BYTES));
        }
        let tile = &mut self.partial[at];
        tile.extend_from_slice(&hash.0);
        if tile.len() == TILE_BYTES {
            let index = self.size >> (8 * level) >> 8;
            full(
                Resource { kind: Kind::Tile(level), index, width: 256 },
                std::mem::replace(tile, Vec::with_capacity(TILE_BYTES)),
            );
        }
    }
}
