//! A journal in a folder of its own: records in segments, which are files made ahead of their use, so that an append is one write
//! over zeros and one sync.
//!
//! | File | What it holds |
//! |---|---|
//! | `meta` | which journal it is, its epoch, where it begins |
//! | `head` | what was acknowledged last |
//! | `segment-N` | records, in order, in batches |
//! | `snapshot-N` | a snapshot of everything up to record N |
//!
//! An append takes the folder's lock (`flock`), looks whether its epoch still holds, writes its batch behind the last one, syncs it and
//! notes it in `head`. A batch is whole or not there: its records are bound to each other and to their place by the digest chain, and
//! what does not check at the end of the last segment and was never acknowledged is a write that was torn. Truncating removes segments that
//! hold nothing else. To copy a journal that is in use, copy `head` before the segments.
//!
//! Deliberately not here: retries, and threads other than the one that makes the next segment. The handle blocks, and so does storing a snapshot;
//! their owner decides on which threads, and reloads after an error.

mod ahead;
mod block;
mod cursor;
mod head;
mod lock;
mod meta;
pub(crate) mod place;
mod reader;
mod segment;
mod snapshot;

use std::{
    fs::{self, File},
    io,
    ops::ControlFlow,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use ahead::Ahead;
use cursor::{Cursor, End, range, record_corrupt};
use grace_types::{evidence::JournalId, time::Timestamp};
use head::HeadFile;
use lock::{Held, Lock};
use meta::{Meta, MetaFile};
use place::{SEGMENT, failed};
pub use reader::FileReader;
use segment::{BATCH_HEADER, Header, RECORD_HEADER};

use crate::{
    Digest, Epoch, Journal, Record, Seq, SnapshotInfo, StoreError, StoreSnapshot, chain::Head,
    journal::check_size, limits,
};

/// What a journal's folder is called behind its component's name and a dot.
pub const EXTENSION: &str = "journal";

/// A journal in a folder. See the module's page.
#[derive(Debug)]
pub struct FileJournal {
    folder: PathBuf,
    lock: Lock,
    meta: MetaFile,
    head_file: HeadFile,
    id: JournalId,
    epoch: Epoch,
    end: End,
    /// The segment that `end` lies in.
    file: Option<File>,
    /// After a failed append nobody knows what is on disk: `end` must be read anew first.
    stale: bool,
    ahead: Option<Ahead>,
    /// Of the batch that is written, kept for its memory.
    bytes: Vec<u8>,
}

impl FileJournal {
    /// Opens the journal at `folder`, making it if need be, and takes the next epoch durably: from here on every handle
    /// opened earlier is fenced. `now` is stored beside the epoch, for whoever reads the file, and names a new journal.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when there is something else, or the journal is damaged or ends before what was acknowledged; nothing
    /// is changed then. Otherwise the system's failure.
    pub fn open(folder: impl Into<PathBuf>, now: Timestamp) -> Result<Self, StoreError> {
        let folder = folder.into();
        not_a_file(&folder)?;
        place::create(&folder).map_err(|e| failed(&folder, &e))?;
        let lock = Lock::of(&folder)?;
        let held = lock.take()?;
        let head_file = HeadFile::open(&folder, true)?;
        let acknowledged = head_file.as_ref().map(HeadFile::read).transpose()?;
        let meta_file = MetaFile::open(&folder)?;
        let fresh = Meta { id: JournalId::made_at(now), epoch: Epoch(0), opened: now, base: Head::default() };
        let meta = match meta_file {
            Some(mut file) => file.read()?,
            None => not_begun(&folder, acknowledged).map(|()| fresh)?,
        };
        let (end, tail) = load(&folder, meta, acknowledged)?;
        let file = settle(&folder, end, tail)?;
        let head_file = match head_file {
            Some(head_file) => head_file,
            None => HeadFile::create(&folder, end.head)?,
        };
        head_file.write(end.head)?;
        let epoch = Epoch(meta.epoch.0 + 1);
        let meta_file = MetaFile::put(&folder, Meta { epoch, opened: now, ..meta })?;
        tidy(&folder, meta)?;
        drop(held);
        let (id, bytes) = (meta.id, Vec::new());
        Ok(Self {
            folder,
            lock,
            meta: meta_file,
            head_file,
            id,
            epoch,
            end,
            file,
            stale: false,
            ahead: None,
            bytes,
        })
    }

    /// The journal's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The journal's numbers, if this handle may still write.
    fn ours(&mut self) -> Result<Meta, StoreError> {
        let meta = self.meta.read()?;
        if meta.epoch == self.epoch {
            Ok(meta)
        } else {
            Err(StoreError::Fenced { ours: self.epoch, current: meta.epoch })
        }
    }

    /// Takes the lock for something that is written, and sees that this handle may write and knows where.
    fn begin(&mut self) -> Result<(Held, Meta), StoreError> {
        let held = self.lock.take()?;
        let meta = self.ours()?;
        self.refresh(meta)?;
        Ok((held, meta))
    }

    /// After an append that failed: what of it is there. With the lock held, and our epoch in force.
    fn refresh(&mut self, meta: Meta) -> Result<(), StoreError> {
        if self.stale {
            let (end, tail) = load(&self.folder, meta, Some(self.end.head))?;
            self.file = settle(&self.folder, end, tail)?;
            self.end = end;
            self.head_file.write(end.head)?;
            self.stale = false;
        }
        Ok(())
    }

    /// Writes the batch behind the last one and syncs it.
    fn write(&mut self, batch: &[&[u8]]) -> Result<(), StoreError> {
        let records: usize = batch.iter().map(|payload| RECORD_HEADER + payload.len()).sum();
        let length = (BATCH_HEADER + records) as u64;
        self.bytes.clear();
        self.bytes.shrink_to(limits::BATCH_KEPT_BYTES);
        let (header, offset) = match self.end.segment {
            Some((header, offset)) if self.file.is_some() && offset + length <= header.size => {
                (header, offset)
            }
            _ => (self.begin_segment()?, 0),
        };
        if offset == 0 {
            self.bytes.extend_from_slice(&header.encode());
        }
        let head = segment::encode(&mut self.bytes, self.end.head, batch);
        let path = place::file(&self.folder, SEGMENT, header.number);
        let Some(file) = &self.file else { return Err(place::corrupt(&path, "it is not open")) };
        let write = || -> io::Result<()> {
            file.write_all_at(&self.bytes, offset)?;
            file.sync_data()
        };
        write().map_err(|e| failed(&self.folder, &e))?;
        let offset = offset + self.bytes.len() as u64;
        self.end = End { head, segment: Some((header, offset)) };
        if offset > header.size / 4 && self.ahead.as_ref().is_none_or(|ahead| ahead.number <= header.number) {
            let size = self.size_after(Some(header));
            self.ahead = Some(Ahead::begin(&self.folder, header.number + 1, size, self.epoch));
        }
        Ok(())
    }

    /// Opens the segment after the current one.
    fn begin_segment(&mut self) -> Result<Header, StoreError> {
        let current = self.end.segment.map(|(header, _)| header);
        let number = current.map_or(1, |header| header.number + 1);
        let ready = self.ahead.take().is_some_and(Ahead::ready);
        let path = place::file(&self.folder, SEGMENT, number);
        let open = || -> io::Result<(File, u64)> {
            let file = place::open(&path)?;
            if !ready {
                place::sync_parent(&path)?;
            }
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, length) = open().map_err(|e| failed(&self.folder, &e))?;
        self.file = Some(file);
        let size = length.max(self.size_after(current));
        Ok(Header { journal: self.id, number, before: self.end.head, size })
    }

    /// How large the segment after this one is to be.
    fn size_after(&self, header: Option<Header>) -> u64 {
        let (least, most) = limits::SEGMENT_BYTES;
        let wanted = header.map_or(least, |header| header.size.saturating_mul(2)).min(most);
        let room = self.room().unwrap_or(u64::MAX) / limits::SEGMENT_PART_OF_ROOM;
        wanted.min(room).max(least)
    }

    /// The digest of the record at `seq`, which is between the truncation point and the last record.
    fn digest_at(&self, meta: Meta, seq: Seq) -> Result<Digest, StoreError> {
        match seq {
            seq if seq == self.end.head.seq => Ok(self.end.head.digest),
            seq if seq == meta.base.seq => Ok(meta.base.digest),
            seq => Cursor::before(&self.folder, meta, Seq(seq.0 + 1)).map(|cursor| cursor.at.digest),
        }
    }
}

impl Drop for FileJournal {
    fn drop(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            ahead.end();
        }
    }
}

impl Journal for FileJournal {
    fn append(&mut self, batch: &[&[u8]]) -> Result<Seq, StoreError> {
        batch.iter().try_for_each(|payload| check_size("a record", payload.len(), limits::RECORD_BYTES))?;
        let (_held, meta) = self.begin()?;
        let first = Seq(self.end.head.seq.0 + 1);
        if batch.is_empty() {
            return Ok(first);
        }
        if let Err(e) = self.write(batch) {
            self.stale = true;
            // If even this fails, the next call tries again before it does anything.
            let _ = self.refresh(meta);
            return Err(e);
        }
        self.head_file.write(self.end.head)?;
        Ok(first)
    }

    fn replay(
        &mut self,
        from: Seq,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let meta = self.meta.read()?;
        // Another writer may have gone on.
        let last = self.head_file.read()?.seq.max(self.end.head.seq);
        if from.0 > last.0 + 1 {
            return Err(range(from, format!("the journal ends at record {}", last.0)));
        }
        let mut cursor = Cursor::before(&self.folder, meta, from)?;
        cursor.walk(last, visit)
    }

    fn last(&self) -> Seq {
        self.end.head.seq
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn begin_snapshot(&mut self, seq: Seq) -> Result<StoreSnapshot, StoreError> {
        let (_held, meta) = self.begin()?;
        let last = self.end.head.seq;
        if seq > last || seq < meta.base.seq {
            return Err(range(seq, format!("the journal holds {} to {}", meta.base.seq.0 + 1, last.0)));
        }
        let (folder, at) = (self.folder.clone(), Head { seq, digest: self.digest_at(meta, seq)? });
        Ok(Box::new(move |state| snapshot::put(&folder, at, state)))
    }

    fn snapshots(&mut self) -> Result<Vec<SnapshotInfo>, StoreError> {
        let numbers = snapshot::numbers(&self.folder)?;
        numbers
            .into_iter()
            .map(|number| snapshot::info(&self.folder, Seq(number)).map(|(info, _)| info))
            .collect()
    }

    fn restore(&mut self, seq: Seq) -> Result<Vec<u8>, StoreError> {
        let (state, digest) = snapshot::read(&self.folder, seq)?;
        let meta = self.meta.read()?;
        if seq < meta.base.seq || self.digest_at(meta, seq)? != digest {
            let detail = "the records before it are not those that it was made from";
            return Err(snapshot::corrupt(&self.folder, seq, detail));
        }
        Ok(state)
    }

    fn truncate(&mut self, seq: Seq) -> Result<(), StoreError> {
        let (_held, meta) = self.begin()?;
        if seq <= meta.base.seq {
            return Ok(());
        }
        let snapshots = snapshot::numbers(&self.folder)?;
        let Some(cover) = snapshots.iter().find(|number| **number >= seq.0) else {
            return Err(range(seq, "no snapshot covers it".to_owned()));
        };
        self.restore(Seq(*cover))?;
        let base = Head { seq, digest: self.digest_at(meta, seq)? };
        let meta = Meta { base, ..meta };
        self.meta = MetaFile::put(&self.folder, meta)?;
        let before: Vec<u64> = snapshots.into_iter().filter(|number| *number < seq.0).collect();
        snapshot::remove(&self.folder, &before)?;
        tidy(&self.folder, meta)
    }

    fn id(&self) -> JournalId {
        self.id
    }

    fn room(&self) -> Option<u64> {
        let device = rustix::fs::statvfs(&self.folder).ok()?;
        Some(device.f_bavail.saturating_mul(device.f_frsize))
    }

    fn device_bytes(&self) -> Option<u64> {
        let device = rustix::fs::statvfs(&self.folder).ok()?;
        Some(device.f_blocks.saturating_mul(device.f_frsize))
    }
}

/// Refuses a path at which something else lies.
fn not_a_file(folder: &Path) -> Result<(), StoreError> {
    match fs::metadata(folder) {
        Ok(found) if !found.is_dir() => {
            Err(place::corrupt(folder, "it is a file and not a journal, which is a folder"))
        }
        _ => Ok(()),
    }
}

/// Refuses to begin a journal where one has been.
fn not_begun(folder: &Path, acknowledged: Option<Head>) -> Result<(), StoreError> {
    if let Some(Head { seq, .. }) = acknowledged.filter(|head| head.seq > Seq(0)) {
        return Err(lost(folder, seq, "its file meta is gone"));
    }
    if place::numbered(folder, SEGMENT).map_err(|e| failed(folder, &e))?.is_empty() {
        Ok(())
    } else {
        Err(place::corrupt(folder, "it holds segments, and its file meta is gone"))
    }
}

fn lost(folder: &Path, acknowledged: Seq, found: &str) -> StoreError {
    let detail = format!(
        "{found}, but record {} was acknowledged. Put back what is missing, or remove {} to accept the loss",
        acknowledged.0,
        folder.join(place::HEAD).display()
    );
    place::corrupt(folder, &detail)
}

/// Finds the end of the journal: behind what was acknowledged, and whole batches beyond it. Also where the segment of the end holds what was not
/// acknowledged.
fn load(folder: &Path, meta: Meta, acknowledged: Option<Head>) -> Result<(End, u64), StoreError> {
    let io = |e: io::Error| failed(folder, &e);
    let begun = segment::begun(folder, meta.id).map_err(io)?;
    let known = acknowledged.map_or(Seq(u64::MAX), |head| head.seq.max(meta.base.seq));
    let number = begun.iter().rev().find(|header| header.before.seq <= known).map(|header| header.number);
    let mut cursor = Cursor::at_segment(folder, meta, number)?;
    if let Some(head) = acknowledged {
        while cursor.at.seq < known {
            if cursor.next()?.is_none() {
                return Err(lost(folder, known, &format!("it ends at record {}", cursor.at.seq.0)));
            }
        }
        for known in [head, meta.base] {
            if cursor.at.seq == known.seq && cursor.at.digest != known.digest {
                let detail = "it is not the one that was acknowledged: this file is another journal's, or was rewritten";
                return Err(record_corrupt(folder, known.seq, detail.to_owned()));
            }
        }
        // The rest of a batch whose first records were acknowledged: the head was older than it.
        while cursor.in_batch() && cursor.next()?.is_some() {}
    }
    let known = cursor.end();
    while cursor.whole_batch()? {}
    let end = cursor.end();
    let tail = match (known.segment, end.segment) {
        (Some((known, offset)), Some((header, _))) if known.number == header.number => offset,
        _ => 0,
    };
    Ok((end, tail))
}

/// Makes durable what nobody may have synced, by writing it again: after a sync that failed the system may take it for written. Returns the
/// segment, open for what is appended.
fn settle(folder: &Path, end: End, tail: u64) -> Result<Option<File>, StoreError> {
    let Some((header, offset)) = end.segment else { return Ok(None) };
    let path = place::file(folder, SEGMENT, header.number);
    let settle = || -> io::Result<File> {
        let file = place::open(&path)?;
        if tail < offset {
            let mut bytes = vec![0u8; (offset - tail) as usize];
            file.read_exact_at(&mut bytes, tail)?;
            file.write_all_at(&bytes, tail)?;
            file.sync_all()?;
            place::sync_parent(&path)?;
        }
        Ok(file)
    };
    settle().map(Some).map_err(|e| failed(folder, &e))
}

/// Removes what nobody needs: segments of truncated records alone, and files that were never finished.
fn tidy(folder: &Path, meta: Meta) -> Result<(), StoreError> {
    let tidy = || -> io::Result<()> {
        let begun = segment::begun(folder, meta.id)?;
        for pair in begun.windows(2) {
            if pair[1].before.seq <= meta.base.seq {
                fs::remove_file(place::file(folder, SEGMENT, pair[0].number))?;
            }
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    };
    tidy().map_err(|e| failed(folder, &e))
}
