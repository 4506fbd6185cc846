//! What was sealed last and what was published last, in one small file beside the log.
//!
//! It is how a start knows that something is missing: a checkpoint that was rolled back, another log in the place of this one, or
//! pending entries that are gone. It is overwritten in place after each sync, without a sync of its own; so after a power loss
//! it can lag behind, which only weakens the check, and it is never ahead.
//!
//! Format: magic `GRACEKN1`; twice a size (u64, little-endian) and a root (32 bytes), first what was sealed, then what was published;
//! the SHA-256 of these 88 bytes.

use std::io;

use grace_log::{checkpoint::Checkpoint, hash::Hash};
use sha2::{Digest as _, Sha256};

use super::disk::InPlace;

const MAGIC: &[u8; 8] = b"GRACEKN1";
const BODY: usize = 88;
/// Bytes of the file.
pub(super) const KNOWN_BYTES: usize = BODY + 32;

/// A size and the root of the tree at that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    /// Entries.
    pub(super) size: u64,
    /// The root over them.
    pub(super) root: Hash,
}

impl Point {
    /// The tree without entries.
    pub(super) const EMPTY: Self = Self { size: 0, root: Hash::EMPTY };

    /// What a checkpoint says.
    pub(super) const fn of(checkpoint: &Checkpoint) -> Self {
        Self { size: checkpoint.size, root: checkpoint.root }
    }
}

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// Acknowledged.
    pub(super) sealed: Point,
    /// In the public files.
    pub(super) published: Point,
}

impl Known {
    /// The bytes of the file.
    pub(super) fn to_bytes(self) -> [u8; KNOWN_BYTES] {
        let mut bytes = [0; KNOWN_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        for (at, point) in [(8, self.sealed), (48, self.published)] {
            bytes[at..at + 8].copy_from_slice(&point.size.to_le_bytes());
            bytes[at + 8..at + 40].copy_from_slice(&point.root.0);
        }
        let digest = Sha256::digest(&bytes[..BODY]);
        bytes[BODY..].copy_from_slice(&digest);
        bytes
    }

    /// Reads the file; `None` if it is damaged.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let point = |at: usize| {
            let size = u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
            Some(Point { size, root: Hash(*bytes.get(at + 8..)?.first_chunk()?) })
        };
        let known = Self { sealed: point(8)?, published: point(48)? };
        (known.to_bytes() == bytes).then_some(known)
    }
}

/// The open file.
pub(super) struct KnownFile {
    file: Box<dyn InPlace>,
    known: Known,
}

impl KnownFile {
    /// Goes on with a file that holds `known`.
    pub(super) fn new(file: Box<dyn InPlace>, known: Known) -> Self {
        Self { file, known }
    }

    /// Notes that all up to `point` is acknowledged.
    pub(super) fn sealed(&mut self, point: Point) -> io::Result<()> {
        self.known.sealed = point;
        self.file.write_at(0, &self.known.to_bytes())
    }

    /// Notes that all up to `point` is in the public files.
    pub(super) fn published(&mut self, point: Point) -> io::Result<()> {
        self.known.published = point;
        self.file.write_at(0, &self.known.to_bytes())
    }
}
