//! The bytes of the twin's log: batches, each whole or not there.
//!
//! A batch is `[body length u64][count u32]`, then for each record `[length u32][payload][chain digest 32]`, then the
//! SHA-256 of all of it. A reader that meets a batch that does not check out stops: whether that is a torn write or
//! damage, the caller tells from what was acknowledged.

use std::ops::ControlFlow;

use crate::{Digest, Record, Seq, chain};

const HEADER: usize = 12;
const TRAILER: usize = 32;

/// A position and the chain's digest there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Chained {
    pub(super) seq: Seq,
    pub(super) digest: Digest,
}

/// What a reader found.
pub(super) struct Scan {
    /// The last record of the last whole batch.
    pub(super) head: Chained,
    /// Where the last whole batch ends.
    pub(super) bytes: usize,
}

/// The bytes of one batch that follows `head`, and the head after it.
pub(super) fn encode(batch: &[&[u8]], mut head: Chained) -> (Vec<u8>, Chained) {
    let body: usize = batch.iter().map(|payload| 4 + payload.len() + 32).sum();
    let mut bytes = Vec::with_capacity(HEADER + body + TRAILER);
    bytes.extend_from_slice(&(body as u64).to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(batch.len()).unwrap_or(u32::MAX).to_le_bytes());
    for payload in batch {
        let seq = Seq(head.seq.0 + 1);
        head = Chained { seq, digest: chain::link(head.digest, seq, payload) };
        bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(&head.digest.0);
    }
    let check = chain::digest(&bytes);
    bytes.extend_from_slice(&check.0);
    (bytes, head)
}

/// Visits the records of every whole batch with the chain's digest at each, until the first batch that is not whole. An
/// error is a whole batch whose records do not fit the chain: position and detail.
pub(super) fn scan(
    log: &[u8],
    base: Chained,
    visit: &mut dyn FnMut(Record<'_>, Digest) -> ControlFlow<()>,
) -> Result<Scan, (Seq, String)> {
    let mut found = Scan { head: base, bytes: 0 };
    while let Some((body, end)) = whole_batch(log, found.bytes) {
        let mut rest = body;
        let mut head = found.head;
        while !rest.is_empty() {
            let seq = Seq(head.seq.0 + 1);
            let Some((payload, digest, after)) = split_record(rest) else {
                return Err((seq, "its length does not fit its batch".to_owned()));
            };
            if chain::link(head.digest, seq, payload) != digest {
                return Err((seq, "its digest does not match".to_owned()));
            }
            head = Chained { seq, digest };
            rest = after;
            if visit(Record { seq, payload }, digest).is_break() {
                return Ok(found);
            }
        }
        found = Scan { head, bytes: end };
    }
    Ok(found)
}

fn whole_batch(log: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let header = log.get(at..at + HEADER)?;
    let body = usize::try_from(u64::from_le_bytes(header[..8].try_into().ok()?)).ok()?;
    let body_end = (at + HEADER).checked_add(body)?;
    let end = body_end.checked_add(TRAILER)?;
    let trailer = log.get(body_end..end)?;
    (chain::digest(&log[at..body_end]).0 == trailer).then(|| (&log[at + HEADER..body_end], end))
}

fn split_record(bytes: &[u8]) -> Option<(&[u8], Digest, &[u8])> {
    let length = usize::try_from(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
    let payload = bytes.get(4..4 + length)?;
    let digest = Digest(bytes.get(4 + length..4 + length + 32)?.try_into().ok()?);
    Some((payload, digest, &bytes[4 + length + 32..]))
}
