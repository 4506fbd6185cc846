//! The head file: what was acknowledged last.
//!
//! After a crash the end of the last segment may hold half of a batch that nobody was told of, and it is dropped without a word; damage to
//! what was acknowledged looks the same there. So after each synced append the position and digest of the last record are written to a
//! file of their own, without a sync (an overwrite in place costs about a microsecond). It can lag behind what is durable after a
//! power loss, which only weakens the check; it can never be ahead, since it is written after the sync. A journal that ends
//! before its head has lost acknowledged records, and says so instead of going on. Readers show nothing behind it.
//!
//! Format, 64 bytes: magic `GRACEHD1`, sequence (u64, little-endian), digest (32), the first 16 bytes of the SHA-256 of these 48.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::place::{self, HEAD, failed};
use crate::{Digest, Seq, StoreError, chain, chain::Head};

const MAGIC: &[u8; 8] = b"GRACEHD1";
const SIZE: usize = 64;

/// Times that it is read again when a writer seems to be in the middle of its 64 bytes.
const READINGS: u32 = 1000;

/// The open head file.
#[derive(Debug)]
pub(super) struct HeadFile {
    path: PathBuf,
    file: File,
}

impl HeadFile {
    /// Opens the file in `folder`; `None` when there is none.
    pub(super) fn open(folder: &Path, writable: bool) -> Result<Option<Self>, StoreError> {
        let path = folder.join(HEAD);
        match OpenOptions::new().read(true).write(writable).open(&path) {
            Ok(file) => Ok(Some(Self { path, file })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(&path, &e)),
        }
    }

    /// Makes the file, synced with its folder.
    pub(super) fn create(folder: &Path, head: Head) -> Result<Self, StoreError> {
        let path = folder.join(HEAD);
        let file = place::put(&path, &[&encode(head)]).map_err(|e| failed(&path, &e))?;
        Ok(Self { path, file })
    }

    /// What was acknowledged last.
    pub(super) fn read(&self) -> Result<Head, StoreError> {
        let mut bytes = [0u8; SIZE];
        for _ in 0..READINGS {
            match self.file.read_exact_at(&mut bytes, 0) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(e) => return Err(failed(&self.path, &e)),
            }
            if let Some(head) = decode(&bytes) {
                return Ok(head);
            }
            std::hint::spin_loop();
        }
        Err(place::corrupt(
            &self.path,
            "its checksum does not match; what was acknowledged last is unknown. Remove it to go on with what the \
             journal holds",
        ))
    }

    /// Notes that everything up to `head` has been acknowledged.
    pub(super) fn write(&self, head: Head) -> Result<(), StoreError> {
        self.file.write_all_at(&encode(head), 0).map_err(|e| failed(&self.path, &e))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

fn encode(head: Head) -> [u8; SIZE] {
    let mut bytes = [0u8; SIZE];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&head.seq.0.to_le_bytes());
    bytes[16..48].copy_from_slice(&head.digest.0);
    let check = chain::digest(&bytes[..48]);
    bytes[48..].copy_from_slice(&check.0[..16]);
    bytes
}

fn decode(bytes: &[u8; SIZE]) -> Option<Head> {
    let seq = Seq(u64::from_le_bytes(bytes[8..16].try_into().ok()?));
    let digest = Digest(bytes[16..48].try_into().ok()?);
    let head = Head { seq, digest };
    (encode(head) == *bytes).then_some(head)
}
