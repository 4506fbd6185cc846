//! A frame of the pending file: the entries that one sync made durable, and the checkpoint that seals them.
//!
//! ```text
//! magic "GRACELG1" │ base u64 │ entries u64 │ body u32 │ note u32 │ digest 32 │ body │ note │ padding to 64
//! ```
//!
//! Numbers are little-endian. `base` is the size of the tree before the frame. The body holds the entries as a bundle does, two
//! bytes of length before each. The digest (SHA-256) covers the header before it and the note. The body needs none: its
//! entries must give the root that the note signs. So a frame says of itself whether it is whole, and none can be made
//! up by whoever writes entries.

use std::io;

use grace_log::{checkpoint::Checkpoint, limits::NOTE_BYTES};
use sha2::{Digest as _, Sha256};

use super::{disk::InPlace, limits::FRAME_MOST_BYTES};

const MAGIC: &[u8; 8] = b"GRACELG1";
/// Bytes before the body.
pub(super) const HEADER: usize = 64;
/// Where the digest begins.
const DIGEST: usize = 32;
/// Frames begin at multiples of this.
pub(super) const ALIGN: u64 = 64;

/// A frame to be written.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// All of its bytes.
    pub(super) bytes: Vec<u8>,
    /// What the log holds with it.
    pub(super) checkpoint: Checkpoint,
}

/// Makes a frame of `bytes`, in which [`HEADER`] bytes are left free and the entries follow.
pub(super) fn finish(bytes: &mut Vec<u8>, base: u64, entries: u64, note: &str) {
    let body = bytes.len() - HEADER;
    bytes.extend_from_slice(note.as_bytes());
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&base.to_le_bytes());
    header[16..24].copy_from_slice(&entries.to_le_bytes());
    // Both lengths are far below 4 GiB, by the bounds of a frame and of a note.
    header[24..28].copy_from_slice(&u32::try_from(body).unwrap_or(u32::MAX).to_le_bytes());
    header[28..32].copy_from_slice(&u32::try_from(note.len()).unwrap_or(u32::MAX).to_le_bytes());
    let digest = digest(&header, note.as_bytes());
    header[DIGEST..].copy_from_slice(&digest);
    bytes[..HEADER].copy_from_slice(&header);
}

fn digest(header: &[u8; HEADER], note: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(&header[..DIGEST]).chain_update(note).finalize().into()
}

/// A frame as its header and its note tell.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// Where in the segment it begins.
    pub(super) offset: u64,
    /// The size of the tree before it.
    pub(super) base: u64,
    /// Entries in it.
    pub(super) entries: u64,
    /// The signed checkpoint; the signature is not checked yet.
    pub(super) note: Vec<u8>,
    body: u32,
}

impl Head {
    /// The frame at `offset`, if a whole header and note are there.
    pub(super) fn read(file: &dyn InPlace, offset: u64) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER];
        if file.read_at(offset, &mut header)? < HEADER || !is_header(&header) {
            return Ok(None);
        }
        let u64_at = |at: usize| header[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let u32_at = |at: usize| header[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let (base, entries, body, note) = (u64_at(8), u64_at(16), u32_at(24), u32_at(28) as usize);
        if body as usize > FRAME_MOST_BYTES || note > NOTE_BYTES || base.checked_add(entries).is_none() {
            return Ok(None);
        }
        let mut bytes = vec![0; note];
        let whole = file.read_at(offset + HEADER as u64 + u64::from(body), &mut bytes)? == note;
        let sound = whole && header[DIGEST..] == digest(&header, &bytes);
        Ok(sound.then_some(Self { offset, base, entries, note: bytes, body }))
    }

    /// The size of the tree with it.
    pub(super) const fn end(&self) -> u64 {
        self.base + self.entries
    }

    /// Where the next frame begins.
    pub(super) fn next(&self) -> u64 {
        after(self.offset, HEADER + self.body as usize + self.note.len())
    }

    /// The entries, as in a bundle. Fewer bytes where the file ends.
    pub(super) fn body(&self, file: &dyn InPlace) -> io::Result<Vec<u8>> {
        let mut body = vec![0; self.body as usize];
        let read = file.read_at(self.offset + HEADER as u64, &mut body)?;
        body.truncate(read);
        Ok(body)
    }
}

/// Where the next frame begins after one of `length` bytes at `offset`.
pub(super) fn after(offset: u64, length: usize) -> u64 {
    offset + (length as u64).next_multiple_of(ALIGN)
}

/// Whether these bytes look like the beginning of a frame.
pub(super) fn is_header(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}
