//! The head file: what was acknowledged last.
//!
//! SQLite's recovery drops everything in its log after the first frame that does not check out, without a word: for
//! SQLite a damaged log and a torn last write look the same, and a log file that is gone is no error at all. So
//! after each synced append the position and digest of the last record are written to a file of their own,
//! without a sync (an overwrite in place costs about a microsecond). It can lag behind what is durable after a power loss,
//! which only weakens the check; it can never be ahead, since it is written after the sync. A journal that ends before
//! its head has lost acknowledged records, and says so instead of going on.
//!
//! Format, 64 bytes: magic `GRACEHD1`, sequence (u64, little-endian), digest (32), the first 16 bytes of the SHA-256 of these 48.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::{Digest, Seq, StoreError, chain};

const MAGIC: &[u8; 8] = b"GRACEHD1";
const SIZE: usize = 64;

/// The open head file.
#[derive(Debug)]
pub(super) struct HeadFile {
    path: PathBuf,
    file: File,
}

/// Its path: `NAME.db-head`.
pub(super) fn path_for(journal: &Path) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push("-head");
    PathBuf::from(name)
}

impl HeadFile {
    /// Opens the file beside `journal` and reads it; `None` when there is no such file.
    pub(super) fn read(journal: &Path) -> Result<Option<(Self, Seq, Digest)>, StoreError> {
        let path = path_for(journal);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(super::error::io(&path, &e)),
        };
        let mut bytes = [0u8; SIZE];
        let (seq, digest) = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => decode(&bytes),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(e) => return Err(super::error::io(&path, &e)),
        }
        .ok_or_else(|| StoreError::Corrupt {
            what: path.display().to_string(),
            detail:
                "its checksum does not match; what was acknowledged last is unknown. Remove it to go on with \
                     what the journal holds"
                    .to_owned(),
        })?;
        Ok(Some((Self { path, file }, seq, digest)))
    }

    /// What the file beside `journal` says, without opening it for writing.
    pub(super) fn peek(journal: &Path) -> Result<Option<(Seq, Digest)>, StoreError> {
        let path = path_for(journal);
        match std::fs::read(&path) {
            // A writer may be in the middle of its 64 bytes; what it says is a lower bound that can be done without.
            Ok(bytes) => Ok(bytes.as_slice().try_into().ok().and_then(decode)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(super::error::io(&path, &e)),
        }
    }

    /// Makes the file, synced with its folder.
    pub(super) fn create(journal: &Path, seq: Seq, digest: Digest) -> Result<Self, StoreError> {
        let path = path_for(journal);
        let make = || -> io::Result<File> {
            // Written in full under another name first: a crash in between must not leave a file that looks damaged.
            let fresh = path.with_extension("db-head.new");
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&fresh)?;
            file.write_all_at(&encode(seq, digest), 0)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)?;
            super::files::sync_parent(&path)?;
            Ok(file)
        };
        let file = make().map_err(|e| super::error::io(&path, &e))?;
        Ok(Self { path, file })
    }

    /// Notes that everything up to `seq` has been acknowledged.
    pub(super) fn write(&self, seq: Seq, digest: Digest) -> Result<(), StoreError> {
        self.file.write_all_at(&encode(seq, digest), 0).map_err(|e| super::error::io(&self.path, &e))
    }
}

fn encode(seq: Seq, digest: Digest) -> [u8; SIZE] {
    let mut bytes = [0u8; SIZE];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&seq.0.to_le_bytes());
    bytes[16..48].copy_from_slice(&digest.0);
    let check = chain::digest(&bytes[..48]);
    bytes[48..].copy_from_slice(&check.0[..16]);
    bytes
}

fn decode(bytes: &[u8; SIZE]) -> Option<(Seq, Digest)> {
    let seq = Seq(u64::from_le_bytes(bytes[8..16].try_into().ok()?));
    let digest = Digest(bytes[16..48].try_into().ok()?);
    (encode(seq, digest) == *bytes).then_some((seq, digest))
}
