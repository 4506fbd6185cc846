//! The digests that make a journal tamper-evident.
//!
//! Record n's digest covers the digest of record n−1, so a change anywhere shows at the first record that was
//! touched. The chain starts from zeros. A snapshot's seal binds its bytes to its position and to the chain there, so
//! that a snapshot cannot pass for one of another position or another journal. All numbers are little-endian.

use sha2::{Digest as _, Sha256};

use crate::{Digest, Seq};

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

/// Guards the journal's id against flipped bits.
pub(crate) fn name(journal: u64) -> Digest {
    digest(&journal.to_le_bytes())
}

/// Guards the journal's own few numbers (epoch, truncation point) against flipped bits.
pub(crate) fn guard(epoch: u64, base: Seq, chain: Digest) -> Digest {
    seal(base, epoch, Digest::default(), chain)
}
