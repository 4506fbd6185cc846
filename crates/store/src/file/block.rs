//! What a file of the journal's begins with: its kind, four numbers, a digest, and a check of these, so that a flipped bit anywhere is noticed.
//!
//! Format, 104 bytes, numbers little-endian: magic (8), four u64, digest (32), the SHA-256 of these 72.

use crate::{Digest, chain};

const CHECKED: usize = 72;
/// Of a block.
pub(super) const SIZE: usize = CHECKED + 32;

/// The contents of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) numbers: [u64; 4],
    pub(super) digest: Digest,
}

impl Block {
    pub(super) fn encode(&self, magic: &[u8; 8]) -> [u8; SIZE] {
        let mut bytes = [0u8; SIZE];
        bytes[..8].copy_from_slice(magic);
        for (at, number) in self.numbers.into_iter().enumerate() {
            bytes[8 + 8 * at..16 + 8 * at].copy_from_slice(&number.to_le_bytes());
        }
        bytes[40..CHECKED].copy_from_slice(&self.digest.0);
        let check = chain::digest(&bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&check.0);
        bytes
    }

    /// `None` when these bytes are not a block of that kind, whole.
    pub(super) fn decode(bytes: &[u8; SIZE], magic: &[u8; 8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(bytes[8 + 8 * at..16 + 8 * at].try_into().ok()?));
        let numbers = [number(0)?, number(1)?, number(2)?, number(3)?];
        let block = Self { numbers, digest: Digest(bytes[40..CHECKED].try_into().ok()?) };
        (block.encode(magic) == *bytes).then_some(block)
    }
}
