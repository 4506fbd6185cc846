//! Building the tree anew from its entries, beside the tiles that are there.
//!
//! Entries make the leaves of a tile of level 0; 256 of them make one hash of the tile above, and so on. Each tile made is
//! compared with its file as soon as it is full. Where they differ, the hash in the tile above vouches for one of them, and the
//! tree goes on from that one, so that a fault is named once and does not spread upwards. The partial tiles at the right edge
//! have no tile above; the signed root vouches for them together.

use std::{collections::VecDeque, mem};

use super::{Problem, Report};
use crate::{
    checkpoint::Checkpoint,
    files::{self, Files, Read, read_tile},
    hash::{Hash, fold_peaks, leaf_hash, peaks_of, root_of},
    limits::FAULTS,
    tile::{CHECKPOINT_PATH, Entries, Kind, Resource},
};

type Hashes = Vec<[u8; 32]>;

/// Compares all bundles and tiles with `checkpoint`. `past` are sizes and roots to compare on the way, smallest first.
pub(super) fn derive(
    files: &impl Files,
    checkpoint: &Checkpoint,
    past: Vec<(u64, Hash)>,
    report: &mut Report,
) {
    let (past, levels, odd) = (past.into(), Vec::new(), Vec::new());
    Derivation { files, checkpoint, past, levels, odd, report }.run();
}

struct Derivation<'a, F> {
    files: &'a F,
    checkpoint: &'a Checkpoint,
    past: VecDeque<(u64, Hash)>,
    levels: Vec<Level>,
    /// Bundles that do not end where they should. Named at the end, unless one of their entries was by then, which
    /// says more: a changed length moves all that follows it.
    odd: Vec<(Resource, Problem)>,
    report: &'a mut Report,
}

/// What is made of a level.
#[derive(Default)]
struct Level {
    /// Full tiles so far.
    full: u64,
    /// The hashes of the next one.
    hashes: Hashes,
}

/// A tile as made and as found, where they differ.
struct Difference {
    tile: Resource,
    /// Shorter than the tile if entries are missing.
    made: Hashes,
    found: Hashes,
}

impl Difference {
    /// Whether every entry was there to make it.
    fn is_complete(&self) -> bool {
        self.made.len() == self.found.len()
    }

    /// The places that differ.
    fn places(&self) -> impl Iterator<Item = usize> {
        (0..self.found.len()).filter(|place| self.made.get(*place) != self.found.get(*place))
    }

    /// The first place that differs, and how many more do.
    fn extent(&self) -> (usize, u64) {
        let mut places = self.places();
        (places.next().unwrap_or(0), places.count() as u64)
    }
}

impl<F: Files> Derivation<'_, F> {
    fn run(&mut self) {
        let size = self.checkpoint.size;
        for index in 0..size.div_ceil(256) {
            if self.report.faults.len() + self.odd.len() >= FAULTS {
                break;
            }
            let Some(bundle) = Resource::in_tree(Kind::Entries, index, size) else { break };
            let leaves = self.leaves(bundle);
            self.check_past(index * 256, &leaves);
            if bundle.is_full() {
                self.push_tile(leaves);
            } else {
                self.level(0).hashes = leaves;
            }
        }
        if self.report.faults.len() + self.odd.len() < FAULTS {
            self.check_past(size, &[]);
            self.settle_edge();
        }
        for (bundle, problem) in mem::take(&mut self.odd) {
            let path = bundle.to_string();
            if self.report.faults.iter().all(|fault| fault.path != path) {
                self.report.add(path, problem);
            }
        }
    }

    /// The hashes of a bundle's entries, as many as are whole.
    fn leaves(&mut self, bundle: Resource) -> Hashes {
        let Read { bytes, width, .. } = match files::read(self.files, bundle) {
            Ok(read) => read,
            Err(error) => {
                self.report.add_read(error);
                return Vec::new();
            }
        };
        let wanted = usize::from(bundle.width);
        let mut entries = Entries::of(&bytes);
        let mut leaves = Vec::with_capacity(wanted);
        for entry in entries.by_ref().take(wanted) {
            self.report.entry_bytes += entry.len() as u64;
            leaves.push(leaf_hash(entry).0);
        }
        self.report.entries += leaves.len() as u64;
        let rest = entries.rest().len();
        if leaves.len() < wanted {
            let index = bundle.index * 256 + leaves.len() as u64;
            let others = (wanted - leaves.len() - 1) as u64;
            self.odd.push((bundle, Problem::Entry { index, others }));
        } else if rest > 0 && width == wanted {
            // (A full bundle that is read in place of a partial one rightly goes on.)
            self.odd.push((bundle, Problem::Trailing(rest)));
        }
        leaves
    }

    fn level(&mut self, level: usize) -> &mut Level {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Level::default);
        }
        &mut self.levels[level]
    }

    /// Settles a full tile of level 0, and every tile that its hash fills.
    fn push_tile(&mut self, leaves: Hashes) {
        let mut hashes = leaves;
        for level in 0..8u8 {
            let here = self.level(usize::from(level));
            let tile = Resource { kind: Kind::Tile(level), index: here.full, width: 256 };
            here.full += 1;
            let hash = self.settle(tile, hashes);
            let above = &mut self.level(usize::from(level) + 1).hashes;
            above.push(hash.0);
            if above.len() < 256 {
                break;
            }
            hashes = mem::take(above);
        }
    }

    /// Compares a full tile as made with its file, names what is at fault, and returns the hash of the one that is right.
    fn settle(&mut self, tile: Resource, made: Hashes) -> Hash {
        let difference = match read_tile(self.files, tile) {
            Ok(found) if found.as_chunks().0 == made.as_slice() => return root_of(&made),
            Ok(found) => Difference { tile, made, found: found.as_chunks().0.to_vec() },
            Err(error) => {
                self.report.add_read(error);
                let whole = made.len() == usize::from(tile.width);
                return if whole { root_of(&made) } else { self.hash_above(tile).unwrap_or(Hash::EMPTY) };
            }
        };
        let above = self.hash_above(tile);
        let (by_made, by_found) = (root_of(&difference.made), root_of(&difference.found));
        if above == Some(by_found) {
            self.blame_made(&difference);
            by_found
        } else if above == Some(by_made) && difference.is_complete() {
            self.blame_found(&difference);
            by_made
        } else {
            self.blame_either(&difference);
            // Either the hash above is spoilt too, or both are. The entries are what the log is for.
            if difference.is_complete() { by_made } else { above.unwrap_or(by_found) }
        }
    }

    /// What the tile above says the hash of `tile` is.
    fn hash_above(&self, tile: Resource) -> Option<Hash> {
        let Kind::Tile(level) = tile.kind else { return None };
        let above = Resource::in_tree(Kind::Tile(level + 1), tile.index / 256, self.checkpoint.size)?;
        let hashes = read_tile(self.files, above).ok()?;
        hashes.as_chunks().0.get(usize::try_from(tile.index % 256).ok()?).copied().map(Hash)
    }

    /// Compares the partial tiles as made with their files and with the signed root. Of those that differ, some choice of the made
    /// and the found gives the signed root, or nothing does; there are at most eight, so all choices are tried.
    fn settle_edge(&mut self) {
        let size = self.checkpoint.size;
        let mut differences = Vec::new();
        for (level, at) in (0u8..).zip(0..self.levels.len()) {
            let index = self.levels[at].full;
            let Some(tile) = Resource::in_tree(Kind::Tile(level), index, size) else { continue };
            let made = &self.levels[at].hashes;
            match read_tile(self.files, tile) {
                Ok(found) if found.as_chunks().0 == made.as_slice() => {}
                Ok(found) => {
                    let (made, found) = (made.clone(), found.as_chunks().0.to_vec());
                    differences.push((at, Difference { tile, made, found }));
                }
                Err(error) => {
                    let is_made = made.len() == usize::from(tile.width);
                    self.report.add_read(error);
                    if !is_made {
                        // Neither the entries nor their tile: no root can be made, and both are named.
                        return;
                    }
                }
            }
        }
        let signed = self.checkpoint.root;
        let mut derived = None;
        for choice in 0..1u32 << differences.len() {
            let is_found = |nth: usize| (choice >> nth) & 1 == 1;
            if differences.iter().enumerate().any(|(nth, (_, d))| !d.is_complete() && !is_found(nth)) {
                continue;
            }
            for (nth, (at, difference)) in differences.iter().enumerate() {
                let chosen = if is_found(nth) { &difference.found } else { &difference.made };
                self.levels[*at].hashes.clone_from(chosen);
            }
            let root = self.root_with(&[]);
            if root == signed {
                self.report.root = Some(root);
                for (nth, (_, difference)) in differences.iter().enumerate() {
                    if is_found(nth) { self.blame_made(difference) } else { self.blame_found(difference) }
                }
                return;
            }
            derived.get_or_insert(root);
        }
        self.report.root = derived;
        if let Some(derived) = derived {
            self.report.add(CHECKPOINT_PATH, Problem::Root { signed, derived });
        }
        for (_, difference) in &differences {
            self.blame_either(difference);
        }
    }

    /// The root over all that is made, and `leaves` after it.
    fn root_with(&self, leaves: &[[u8; 32]]) -> Hash {
        let made = self.levels.iter().rev().flat_map(|level| peaks_of(&level.hashes));
        let peaks: Vec<Hash> = made.chain(peaks_of(leaves)).collect();
        fold_peaks(peaks.into_iter())
    }

    /// Compares the past roots of sizes up to the end of `leaves`, the entries from `start` on.
    fn check_past(&mut self, start: u64, leaves: &[[u8; 32]]) {
        while let Some((size, known)) = self.past.front().copied() {
            let Some(leaves) = usize::try_from(size.saturating_sub(start)).ok().and_then(|n| leaves.get(..n))
            else {
                break;
            };
            self.past.pop_front();
            // A size before `start` ended in a bundle that was cut short, which is named.
            if size >= start {
                let derived = self.root_with(leaves);
                if derived != known {
                    self.report.add(CHECKPOINT_PATH, Problem::Rewritten { size, derived, known });
                }
            }
        }
    }

    /// The file is right, and what was made is not.
    fn blame_made(&mut self, difference: &Difference) {
        let Difference { tile, .. } = difference;
        match tile.kind {
            Kind::Entries => {}
            // A bundle without a whole entry is missing or cut, and named for that.
            Kind::Tile(0) if difference.made.is_empty() => {}
            Kind::Tile(0) => {
                let (place, others) = difference.extent();
                let index = tile.index * 256 + place as u64;
                self.report.add(Resource { kind: Kind::Entries, ..*tile }, Problem::Entry { index, others });
            }
            Kind::Tile(level) => {
                for place in difference.places() {
                    let index = tile.index * 256 + place as u64;
                    let below = Resource { kind: Kind::Tile(level - 1), index, width: 256 };
                    self.report.add(below, Problem::Replaced(tile.to_string()));
                }
            }
        }
    }

    /// What was made is right, and the file is not.
    fn blame_found(&mut self, difference: &Difference) {
        let (position, others) = difference.extent();
        self.report.add(difference.tile, Problem::Hash { position, others });
    }

    fn blame_either(&mut self, difference: &Difference) {
        let (position, _) = difference.extent();
        self.report.add(difference.tile, Problem::Disagrees { position });
        if difference.tile.kind == Kind::Tile(0) {
            self.blame_made(difference);
        }
    }
}
