//! The journal's own numbers: which one it is, its fencing epoch, and where it begins.
//!
//! They change when a writer opens the journal and when records are truncated, and then the file is replaced as a whole. Whoever has it open
//! sees by its count of names that it has been.
//!
//! Format: a block ([`super::block`]) `GRACEJN1` of the journal's id, its epoch, when that was opened (nanoseconds), the last record that was
//! truncated, and its digest.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use grace_types::{evidence::JournalId, time::Timestamp};
use rustix::fs::fstat;

use super::{
    block::{Block, SIZE},
    place::{self, META, corrupt, failed},
};
use crate::{Epoch, Seq, StoreError, chain::Head};

const MAGIC: &[u8; 8] = b"GRACEJN1";

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
    let numbers = [meta.id.0, meta.epoch.0, meta.opened.as_nanos(), meta.base.seq.0];
    Block { numbers, digest: meta.base.digest }.encode(MAGIC)
}

fn decode(bytes: &[u8; SIZE]) -> Option<Meta> {
    let Block { numbers: [id, epoch, opened, base], digest } = Block::decode(bytes, MAGIC)?;
    Some(Meta {
        id: JournalId(id),
        epoch: Epoch(epoch),
        opened: Timestamp::from_nanos(opened),
        base: Head { seq: Seq(base), digest },
    })
}
