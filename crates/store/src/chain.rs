//! The digests that make a journal tamper-evident.
//!
//! Record n's digest covers the digest of record n−1, so a change anywhere shows at the first record that was
//! touched. The chain starts from zeros. A snapshot's seal binds its bytes to its position and to the chain there, so
//! that a snapshot cannot pass for one of another position or another journal. All numbers are little-endian.

use sha2::{Digest as _, Sha256};

use crate::{Digest, Seq};

/// A place in the chain: a record and its digest. The default is the place before the first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Head {
    pub(crate) seq: Seq,
    pub(crate) digest: Digest,
}

impl Head {
    /// The place after one more record.
    pub(crate) fn then(self, payload: &[u8]) -> Self {
        let seq = Seq(self.seq.0 + 1);
        Self { seq, digest: link(self.digest, seq, payload) }
    }
}

/// The digest of the record at `seq`: SHA-256 over (previous digest, seq, length, payload).
pub(crate) fn link(previous: Digest, seq: Seq, payload: &[u8]) -> Digest {
    let mut head = [0u8; 48];
    head[..32].copy_from_slice(&previous.0);
    head[32..40].copy_from_slice(&seq.0.to_le_bytes());
    head[40..].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    Digest(Sha256::new().chain_update(head).chain_update(payload).finalize().into())
}

/// The digest of some bytes.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// What binds a snapshot's digest to its position and to the record chain there.
pub(crate) fn seal(seq: Seq, size_bytes: u64, state: Digest, chain: Digest) -> Digest {
    let mut bytes = [0u8; 80];
    bytes[..8].copy_from_slice(&seq.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&size_bytes.to_le_bytes());
    bytes[16..48].copy_from_slice(&state.0);
    bytes[48..].copy_from_slice(&chain.0);
    digest(&bytes)
}

/// What binds a batch of records to its place: SHA-256 over (the digest before it, its first record, how many, their bytes).
pub(crate) fn batch(before: Head, records: u32, bytes: u64) -> Digest {
    let mut head = [0u8; 52];
    head[..32].copy_from_slice(&before.digest.0);
    head[32..40].copy_from_slice(&before.seq.0.to_le_bytes());
    head[40..44].copy_from_slice(&records.to_le_bytes());
    head[44..].copy_from_slice(&bytes.to_le_bytes());
    digest(&head)
}
