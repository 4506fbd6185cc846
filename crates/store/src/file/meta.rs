//! The journal's own numbers: which one it is, its fencing epoch, and where it begins.
//!
//! They change when a writer opens the journal and when records are truncated, and then the file is replaced as a whole. Whoever has it open
//! sees by its count of names that it has been.
//!
//! Format, 104 bytes, numbers as little-endian u64: magic `GRACEJN1`, the journal's id, its epoch, when that was opened (nanoseconds), the
//! last record that was truncated, its digest (32), the SHA-256 of these 72.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use grace_types::{evidence::JournalId, time::Timestamp};
use rustix::fs::fstat;

use super::place::{self, META, corrupt, failed};
use crate::{Digest, Epoch, Seq, StoreError, chain, chain::Head};

const MAGIC: &[u8; 8] = b"GRACEJN1";
const CHECKED: usize = 72;
const SIZE: usize = CHECKED + 32;

/// The numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) id: JournalId,
    pub(super) epoch: Epoch,
    pub(super) opened: Timestamp,
    /// The end of what was truncated; zeros when nothing was.
    pub(super) base: Head,
}

/// The open file, and what it says.
#[derive(Debug)]
pub(super) struct MetaFile {
    path: PathBuf,
    file: File,
    meta: Meta,
}

impl MetaFile {
    /// Opens the file in `folder`; `None` when there is none.
    pub(super) fn open(folder: &Path) -> Result<Option<Self>, StoreError> {
        let path = folder.join(META);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(&path, &e)),
        };
        let mut bytes = [0u8; SIZE];
        match file.read_exact_at(&mut bytes, 0) {
            Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => return Err(failed(&path, &e)),
            _ => {}
        }
        if &bytes[..7] == b"GRACEJN" && bytes[7] != MAGIC[7] {
            let version = char::from(bytes[7]).escape_default().to_string();
            let detail =
                format!("its format is version {version}; this program knows {}", char::from(MAGIC[7]));
            return Err(StoreError::Io { path: path.display().to_string(), detail });
        }
        let meta = decode(&bytes).ok_or_else(|| corrupt(&path, "its digest does not match"))?;
        Ok(Some(Self { path, file, meta }))
    }

    /// Puts these numbers in place of what was there.
    pub(super) fn put(folder: &Path, meta: Meta) -> Result<Self, StoreError> {
        let path = folder.join(META);
        let file = place::put(&path, &[&encode(meta)]).map_err(|e| failed(&path, &e))?;
        Ok(Self { path, file, meta })
    }

    /// The numbers as they are now, whoever changed them.
    pub(super) fn read(&mut self) -> Result<Meta, StoreError> {
        let names = fstat(&self.file).map_err(|e| failed(&self.path, &e.into()))?.st_nlink;
        if names == 0 {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            *self = Self::open(folder)?.ok_or_else(|| corrupt(&self.path, "the file is gone"))?;
        }
        Ok(self.meta)
    }
}

fn encode(meta: Meta) -> [u8; SIZE] {
    let mut bytes = [0u8; SIZE];
    bytes[..8].copy_from_slice(MAGIC);
    let numbers = [meta.id.0, meta.epoch.0, meta.opened.as_nanos(), meta.base.seq.0];
    for (at, number) in numbers.into_iter().enumerate() {
        bytes[8 + 8 * at..16 + 8 * at].copy_from_slice(&number.to_le_bytes());
    }
    bytes[40..CHECKED].copy_from_slice(&meta.base.digest.0);
    let check = chain::digest(&bytes[..CHECKED]);
    bytes[CHECKED..].copy_from_slice(&check.0);
    bytes
}

fn decode(bytes: &[u8; SIZE]) -> Option<Meta> {
    let number = |at: usize| Some(u64::from_le_bytes(bytes[8 + 8 * at..16 + 8 * at].try_into().ok()?));
    let digest = Digest(bytes[40..CHECKED].try_into().ok()?);
    let meta = Meta {
        id: JournalId(number(0)?),
        epoch: Epoch(number(1)?),
        opened: Timestamp::from_nanos(number(2)?),
        base: Head { seq: Seq(number(3)?), digest },
    };
    (encode(meta) == *bytes).then_some(meta)
}
