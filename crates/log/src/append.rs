//! Appending: entries go in, and what must be written comes out.
//!
//! [`Appender`] keeps the right edge of the log and the batch that is not sealed. Entries are copied into their bundle and hashed
//! as they come, without an allocation for each. [`Appender::seal`] ends the batch with a [`Plan`]: every file to
//! write, in the order that no crash can break. Bundles come first, then tiles, then the checkpoint; a file is written under a new
//! name and never changes one that the checkpoint on disk needs. So whatever is cut off, the checkpoint that is there
//! describes files that are there, and what lies past it is written again.
//!
//! Deliberately not here: writing and syncing, deduplication, and when to seal: those are the kernel's.

use std::mem;

use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    edge::Edge,
    files::{self, Files, ReadError},
    hash::{Hash, leaf_hash},
    limits::{TREE_SIZE, UNSEALED_BYTES},
    note::SignerKey,
    tile::{CHECKPOINT_PATH, Entries, Kind, Resource, push_entry},
};

/// The end of a log, to which entries are appended.
#[derive(Debug, Clone, Default)]
pub struct Appender {
    edge: Edge,
    /// The bundle that is not full.
    bundle: Vec<u8>,
    /// Entries when the last batch was sealed.
    sealed: u64,
    /// What has filled since then.
    bundles: Vec<Write>,
    tiles: Vec<(Resource, Vec<u8>)>,
    unsealed_bytes: usize,
}

/// One file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Its path in the log's folder.
    pub path: String,
    /// All of its bytes.
    pub bytes: Vec<u8>,
}

/// What makes a batch durable.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the log holds once the plan is carried out.
    pub checkpoint: Checkpoint,
    /// Every file to write, in this order: bundles, tiles, and last the checkpoint. All before the checkpoint must be synced
    /// (files and folders) before it is written, and the checkpoint must be replaced atomically.
    pub writes: Vec<Write>,
    /// Folders of partial files whose full one is among `writes`. They may go once the checkpoint is synced.
    pub superseded: Vec<String>,
}

/// Why an entry was not appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// It does not fit the format. Store it elsewhere and log its digest.
    #[error("the entry has {0} bytes; an entry of the log has at most 65535")]
    TooLong(usize),
    /// The batch is as large as it may be: seal it first.
    #[error("the batch is full and must be sealed before more is appended")]
    BatchFull,
    /// The log is as large as it may be.
    #[error("the log is full")]
    LogFull,
}

/// Why a log on disk cannot be appended to.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// A file of the right edge is missing or malformed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The tiles' root is not the checkpoint's.
    #[error("the tiles of the right edge have the root {found}; the checkpoint says {expected}")]
    Root {
        /// From the tiles.
        found: Hash,
        /// From the checkpoint.
        expected: Hash,
    },
    /// The last bundle does not belong to the last tile.
    #[error("entry {index} in {path} does not hash to its leaf")]
    Entry {
        /// The bundle.
        path: String,
        /// The entry's place in the log.
        index: u64,
    },
    /// The checkpoint states more entries than a log can have.
    #[error("a log of {0} entries is larger than any that can be")]
    Size(u64),
}

impl Appender {
    /// The end of a log without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a log where `checkpoint` ends. Whatever the folder holds past it is ignored: it was never sealed.
    ///
    /// The caller has checked the checkpoint's signature. Reads one partial tile of each level and the last bundle, and
    /// checks them against the checkpoint's root; older files are [`crate::verify`]'s to check.
    ///
    /// # Errors
    ///
    /// A file of the right edge is missing, malformed, or not what the checkpoint was made from.
    pub fn resume(checkpoint: &Checkpoint, files: &impl Files) -> Result<Self, ResumeError> {
        let size = checkpoint.size;
        if size > TREE_SIZE {
            return Err(ResumeError::Size(size));
        }
        let partial_at = |kind, level: u32| {
            Resource::in_tree(kind, size >> (8 * level) >> 8, size).filter(|resource| !resource.is_full())
        };
        let mut partial = Vec::new();
        for level in (0..8u8).take_while(|level| size >> (8 * level) > 0) {
            partial.push(match partial_at(Kind::Tile(level), u32::from(level)) {
                Some(tile) => files::read_tile(files, tile)?.into_owned(),
                None => Vec::new(),
            });
        }
        let edge = Edge::from_partial_tiles(size, partial);
        if edge.root() != checkpoint.root {
            return Err(ResumeError::Root { found: edge.root(), expected: checkpoint.root });
        }
        let mut bundle = Vec::new();
        if let (Some(last), Some((_, leaves))) = (partial_at(Kind::Entries, 0), edge.partial_tiles().next()) {
            bundle = files::read_bundle(files, last)?.into_owned();
            let leaves = leaves.as_chunks::<32>().0;
            if let Some(wrong) =
                Entries::of(&bundle).zip(leaves).position(|(entry, leaf)| leaf_hash(entry).0 != *leaf)
            {
                let index = last.index * 256 + wrong as u64;
                return Err(ResumeError::Entry { path: last.to_string(), index });
            }
        }
        Ok(Self { edge, bundle, sealed: size, ..Self::default() })
    }

    /// Entries, those that are not sealed included. The next entry gets this index.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Entries that are not sealed.
    #[must_use]
    pub const fn unsealed(&self) -> u64 {
        self.edge.size() - self.sealed
    }

    /// The root over all entries, those that are not sealed included.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.edge.root()
    }

    /// Appends one entry to the batch and returns its index in the log.
    ///
    /// # Errors
    ///
    /// The entry is too long, or the batch or the log is full; then nothing was appended.
    pub fn append(&mut self, entry: &[u8]) -> Result<u64, AppendError> {
        if self.unsealed_bytes >= UNSEALED_BYTES {
            return Err(AppendError::BatchFull);
        }
        if self.edge.size() >= TREE_SIZE {
            return Err(AppendError::LogFull);
        }
        if !push_entry(&mut self.bundle, entry) {
            return Err(AppendError::TooLong(entry.len()));
        }
        let (index, tiles, unsealed) = (self.edge.size(), &mut self.tiles, &mut self.unsealed_bytes);
        self.edge.push(leaf_hash(entry), |tile, bytes| {
            *unsealed += bytes.len();
            tiles.push((tile, bytes));
        });
        if index % 256 == 255 {
            // The next bundle is likely to be as long.
            let next = Vec::with_capacity(self.bundle.len());
            let bytes = mem::replace(&mut self.bundle, next);
            self.unsealed_bytes += bytes.len();
            let path = Resource { kind: Kind::Entries, index: index / 256, width: 256 }.to_string();
            self.bundles.push(Write { path, bytes });
        }
        Ok(index)
    }

    /// Ends the batch: says what to write so that all that was appended is durable, under a checkpoint for `origin` signed
    /// by `signers`. An empty batch makes a plan too, of the checkpoint alone.
    ///
    /// If the plan cannot be carried out, carry it out again or [`Appender::resume`] from what is on disk: this
    /// `Appender` counts it as done.
    ///
    /// # Errors
    ///
    /// `origin` cannot stand in a checkpoint, or there is no signer; then the batch stays open.
    pub fn seal(&mut self, origin: &str, signers: &[&SignerKey]) -> Result<Plan, CheckpointError> {
        let checkpoint = Checkpoint::new(origin, self.edge.size(), self.edge.root())?;
        let note = checkpoint.sign(signers)?;
        let last = Resource::in_tree(Kind::Entries, self.edge.size() / 256, self.edge.size());
        let (before, size) = (self.sealed, self.edge.size());
        let changed = |tile: &Resource| {
            let Kind::Tile(level) = tile.kind else { return false };
            size >> (8 * level) != before >> (8 * level)
        };

        let superseded_bundles =
            (before / 256..).map(|index| Resource { kind: Kind::Entries, index, width: 256 });
        let superseded = superseded_bundles
            .take(self.bundles.len())
            .chain(self.tiles.iter().map(|(tile, _)| *tile))
            .map(Resource::partials_folder)
            .collect();
        let mut writes = mem::take(&mut self.bundles);
        if let Some(bundle) = last.filter(|_| size != before) {
            writes.push(Write { path: bundle.to_string(), bytes: self.bundle.clone() });
        }
        self.tiles.sort_by_key(|(tile, _)| *tile);
        writes.extend(self.tiles.drain(..).map(|(tile, bytes)| Write { path: tile.to_string(), bytes }));
        let partial = self.edge.partial_tiles().filter(|(tile, _)| changed(tile));
        writes.extend(partial.map(|(tile, hashes)| Write { path: tile.to_string(), bytes: hashes.to_vec() }));
        writes.push(Write { path: CHECKPOINT_PATH.to_owned(), bytes: note.into_bytes() });
        self.sealed = size;
        self.unsealed_bytes = 0;
        Ok(Plan { checkpoint, writes, superseded })
    }
}
