//! Reading a journal that somebody else may be writing.
//!
//! It shows what `head` says was acknowledged, and so was synced; it takes no lock and writes nothing. Whether the files are still the same is asked of
//! the name of `head`: whoever begins a journal makes a new one.

use std::{
    fs::{self, File},
    io,
    ops::ControlFlow,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use grace_types::evidence::JournalId;

use super::{
    cursor::{Cursor, range, record_corrupt},
    head::HeadFile,
    load, lost,
    meta::MetaFile,
    not_a_file,
    place::{HEAD, failed},
};
use crate::{JournalReader, Record, Seq, StoreError, chain::Head, limits};

/// A reader of the journal in a folder. See the module's page.
#[derive(Debug)]
pub struct FileReader {
    folder: PathBuf,
    head: HeadFile,
    meta: MetaFile,
    id: JournalId,
    /// Behind what was read last.
    cursor: Option<Cursor>,
}

impl FileReader {
    /// Opens the journal at `folder`.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no journal yet, or one whose loss was accepted and that no writer has opened since;
    /// [`StoreError::Corrupt`] when it is not a journal or ends before what was acknowledged; otherwise the system's failure.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let folder = folder.into();
        not_a_file(&folder)?;
        let missing = |detail: &str| StoreError::Missing {
            path: folder.display().to_string(),
            detail: detail.to_owned(),
        };
        // The name may come to mean another journal while it is being opened.
        for _ in 0..limits::REOPENINGS {
            let Some(head) = HeadFile::open(&folder, false)? else {
                let begun = folder.join(super::place::META).exists();
                return Err(missing(if begun {
                    "its file head was removed, and no writer has opened it since"
                } else {
                    "there is no journal yet"
                }));
            };
            let acknowledged = head.read()?;
            let Some(mut meta) = MetaFile::open(&folder)? else {
                return Err(match acknowledged.seq {
                    Seq(0) => missing("the journal has not been begun yet"),
                    seq => lost(&folder, seq, "its file meta is gone"),
                });
            };
            let numbers = meta.read()?;
            let opened = load(&folder, numbers, Some(acknowledged));
            if !is_named(head.file(), &folder)? {
                continue;
            }
            // A writer may have truncated what was being looked through; then it is the newer numbers that count.
            match opened {
                Err(_) if meta.read()? != numbers => continue,
                opened => opened.map(drop)?,
            }
            return Ok(Self { folder, head, meta, id: numbers.id, cursor: None });
        }
        let detail = "it was replaced again and again while it was being opened".to_owned();
        Err(StoreError::Io { path: folder.display().to_string(), detail })
    }

    /// The journal's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Notices that the name means another journal now, and goes over to it.
    fn follow(&mut self) -> Result<(), StoreError> {
        if is_named(self.head.file(), &self.folder)? {
            return Ok(());
        }
        let was = self.id;
        *self = Self::open(self.folder.clone())?;
        if self.id == was {
            // The same one, put back from elsewhere.
            return Ok(());
        }
        Err(StoreError::Replaced { path: self.folder.display().to_string(), was, now: self.id })
    }
}

impl JournalReader for FileReader {
    fn id(&self) -> JournalId {
        self.id
    }

    fn last(&mut self) -> Result<Seq, StoreError> {
        self.follow()?;
        self.head.read().map(|head| head.seq)
    }

    fn read(
        &mut self,
        from: Seq,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.follow()?;
        let last = self.head.read()?.seq;
        let meta = self.meta.read()?;
        if from.0 > last.0 + 1 {
            return Err(range(from, format!("the journal ends at record {}", last.0)));
        }
        if from <= meta.base.seq {
            return Err(range(from, format!("records up to {} have been truncated", meta.base.seq.0)));
        }
        let mut known = self.cursor.take();
        let stands_there = known.as_mut().is_some_and(|cursor| cursor.stands_before(from));
        let mut cursor = match known {
            Some(mut cursor) if stands_there => {
                cursor.refresh();
                cursor
            }
            known => {
                let cursor = Cursor::before(&self.folder, meta, from)?;
                let known: Option<Head> = known.map(|known| known.at);
                if known.is_some_and(|known| known.seq == cursor.at.seq && known != cursor.at) {
                    let detail = "it is not the one that was read before".to_owned();
                    return Err(record_corrupt(&self.folder, cursor.at.seq, detail));
                }
                cursor
            }
        };
        let mut taken = 0usize;
        let walked = cursor.walk(last, &mut |record| {
            taken = taken.saturating_add(record.payload.len());
            match visit(record) {
                ControlFlow::Continue(()) if taken < max_bytes => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        });
        // As far as it went it was whole.
        self.cursor = Some(cursor);
        walked
    }
}

/// Whether the open file is the one that the name `head` means.
fn is_named(head: &File, folder: &Path) -> Result<bool, StoreError> {
    let path = folder.join(HEAD);
    let io = |e: io::Error| failed(&path, &e);
    let open = head.metadata().map_err(io)?;
    match fs::metadata(&path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let detail = "there is no journal any more".to_owned();
            Err(StoreError::Missing { path: folder.display().to_string(), detail })
        }
        Err(e) => Err(io(e)),
    }
}
