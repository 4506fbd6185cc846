//! A segment: a file that holds records one after the other, in batches.
//!
//! Format, numbers little-endian. A header, which is a block ([`super::block`]) `GRACESG1` of the journal's id, the segment's number, the record
//! before its first, the bytes that it is meant to take, and that record's digest. Then batches, each:
//!
//! - magic `GRBT`, its records (u32), the bytes of them (u64), and what binds these to their place in the chain (32, [`chain::batch`])
//! - for each record: its digest (32), its length (u32), its bytes
//!
//! A segment is filled with zeros before it is used ([`super::ahead`]), so that an append changes neither its length nor where its blocks lie, and
//! syncing it is one write to the device. What lies behind the last batch means nothing: zeros, or a batch that was torn.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use grace_types::evidence::JournalId;

use super::{
    block::Block,
    place::{self, SEGMENT},
};
use crate::{Digest, Seq, chain, chain::Head, limits};

const MAGIC: &[u8; 8] = b"GRACESG1";
/// Of a segment.
pub(super) const HEADER: usize = super::block::SIZE;
const BATCH_MAGIC: &[u8; 4] = b"GRBT";
/// Of a batch.
pub(super) const BATCH_HEADER: usize = 48;
/// Of a record.
pub(super) const RECORD_HEADER: usize = 36;

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) journal: JournalId,
    /// From 1, without gaps: the number in its name.
    pub(super) number: u64,
    /// The end of the segment before.
    pub(super) before: Head,
    /// Bytes of the file that it is meant to take; a larger batch makes it longer.
    pub(super) size: u64,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let numbers = [self.journal.0, self.number, self.before.seq.0, self.size];
        Block { numbers, digest: self.before.digest }.encode(MAGIC)
    }

    fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let Block { numbers: [journal, number, before, size], digest } = Block::decode(bytes, MAGIC)?;
        Some(Self { journal: JournalId(journal), number, before: Head { seq: Seq(before), digest }, size })
    }

    /// The header of `file`, if it is the segment of that number and journal. One that has been made ahead has none.
    pub(super) fn read(file: &File, journal: JournalId, number: u64) -> io::Result<Option<Self>> {
        let mut bytes = [0u8; HEADER];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Self::decode(&bytes).filter(|h| (h.journal, h.number) == (journal, number))),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// Opens the segment of that number; `None` when there is no such file, or it has not been begun.
pub(super) fn open(folder: &Path, journal: JournalId, number: u64) -> io::Result<Option<(File, Header)>> {
    let file = match File::open(place::file(folder, SEGMENT, number)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    Ok(Header::read(&file, journal, number)?.map(|header| (file, header)))
}

/// The headers of the segments that have been begun, in order.
pub(super) fn begun(folder: &Path, journal: JournalId) -> io::Result<Vec<Header>> {
    let mut headers = Vec::new();
    for number in place::numbered(folder, SEGMENT)? {
        headers.extend(open(folder, journal, number)?.map(|(_, header)| header));
    }
    Ok(headers)
}

/// Adds a batch that comes after `before` to `bytes`, and returns where the chain ends then.
pub(super) fn encode(bytes: &mut Vec<u8>, before: Head, batch: &[&[u8]]) -> Head {
    let length: usize = batch.iter().map(|payload| RECORD_HEADER + payload.len()).sum();
    bytes.reserve(BATCH_HEADER + length);
    bytes.extend_from_slice(&BatchHeader::of(before, batch.len(), length).encode());
    let mut head = before;
    for payload in batch {
        head = head.then(payload);
        bytes.extend_from_slice(&head.digest.0);
        // No record is longer than `limits::RECORD_BYTES`.
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(payload);
    }
    head
}

/// What comes before the records of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) records: u32,
    pub(super) bytes: u64,
    place: Digest,
}

impl BatchHeader {
    fn of(before: Head, records: usize, bytes: usize) -> Self {
        let (records, bytes) = (records as u32, bytes as u64);
        Self { records, bytes, place: chain::batch(before, records, bytes) }
    }

    fn encode(&self) -> [u8; BATCH_HEADER] {
        let mut bytes = [0u8; BATCH_HEADER];
        bytes[..4].copy_from_slice(BATCH_MAGIC);
        bytes[4..8].copy_from_slice(&self.records.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[16..].copy_from_slice(&self.place.0);
        bytes
    }

    /// `None` where no batch begins that comes after `before`.
    pub(super) fn decode(bytes: &[u8], before: Head) -> Option<Self> {
        let bytes: &[u8; BATCH_HEADER] = bytes.try_into().ok()?;
        let header = Self {
            records: u32::from_le_bytes(bytes[4..8].try_into().ok()?),
            bytes: u64::from_le_bytes(bytes[8..16].try_into().ok()?),
            place: Digest(bytes[16..].try_into().ok()?),
        };
        let expected = chain::batch(before, header.records, header.bytes);
        let ours = bytes.starts_with(BATCH_MAGIC) && header.place == expected && header.records > 0;
        ours.then_some(header)
    }
}

/// What comes before a record: its digest and its length. `None` when it would be longer than a record is.
pub(super) fn record_header(bytes: &[u8]) -> Option<(Digest, usize)> {
    let bytes: &[u8; RECORD_HEADER] = bytes.try_into().ok()?;
    let length = u32::from_le_bytes(bytes[32..].try_into().ok()?) as usize;
    let digest = Digest(bytes[..32].try_into().ok()?);
    (length <= limits::RECORD_BYTES).then_some((digest, length))
}
