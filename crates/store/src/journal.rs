//! What a journal is: the trait, its records, and its errors.

use std::{fmt, ops::ControlFlow};

use grace_types::evidence::JournalId;

/// Position of a record: 1 for the first, then without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

/// Fencing epoch: each opening writer takes a higher one; a lower one can never append again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One record as it is read back. Its digest has been checked against the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its position.
    pub seq: Seq,
    /// What was appended.
    pub payload: &'a [u8],
}

/// What is known of a snapshot without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The last record whose effect the snapshot contains.
    pub seq: Seq,
    /// Of its bytes.
    pub digest: Digest,
    /// Length of its bytes.
    pub size_bytes: u64,
}

/// Stores a state as the snapshot for which it was made, synced; may block.
pub type StoreSnapshot = Box<dyn FnOnce(&[u8]) -> Result<SnapshotInfo, StoreError> + Send>;

/// A durable, ordered, tamper-evident list of records with snapshots.
///
/// Not shared: one writer owns it, on a thread that may block.
pub trait Journal: Send {
    /// Appends the batch after the last record and syncs it. When this returns `Ok`, the whole batch survives a
    /// crash; when it returns an error, a later replay shows the whole batch or nothing of it, and the caller must
    /// reload to know which. Returns the position of the first record of the batch. An empty batch writes nothing and
    /// only checks that this handle is not fenced, which is what an answer without a write needs.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when a higher epoch has opened the journal; [`StoreError::TooLarge`]; otherwise the
    /// engine's failure.
    fn append(&mut self, batch: &[&[u8]]) -> Result<Seq, StoreError>;

    /// Visits every record with `seq >= from`, in order, each checked against the digest chain. Stops early on `Break`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] names the first record that does not match; nothing behind it is shown.
    /// [`StoreError::Range`] when records from `from` on have been truncated: a state built without them would be wrong.
    fn replay(
        &mut self,
        from: Seq,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// The position of the last record; `Seq(0)` when there is none.
    fn last(&self) -> Seq;

    /// The epoch under which this handle writes.
    fn epoch(&self) -> Epoch;

    /// The place for a snapshot of everything up to `seq`, to be stored by whoever has the time, while appends go on: a snapshot is bound to
    /// its record, and one that is stored late, even by a handle that was fenced meanwhile, is as good as it was. Do not truncate meanwhile.
    ///
    /// # Errors
    /// As for [`Journal::append`]; [`StoreError::Range`] when `seq` lies after the last record, or before the
    /// truncation point.
    fn begin_snapshot(&mut self, seq: Seq) -> Result<StoreSnapshot, StoreError>;

    /// Stores `state` as the snapshot of everything up to `seq`, synced. One at the same `seq` is replaced; of the
    /// others, the newest [`crate::limits::SNAPSHOTS_KEPT`] in all are kept.
    ///
    /// # Errors
    /// As for [`Journal::begin_snapshot`]; [`StoreError::TooLarge`].
    fn snapshot(&mut self, seq: Seq, state: &[u8]) -> Result<SnapshotInfo, StoreError> {
        self.begin_snapshot(seq)?(state)
    }

    /// The snapshots, oldest first.
    ///
    /// # Errors
    /// The engine's failure.
    fn snapshots(&mut self) -> Result<Vec<SnapshotInfo>, StoreError>;

    /// The bytes of the snapshot at `seq`, checked against its digest.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when they do not match; [`StoreError::Range`] when there is no such snapshot.
    fn restore(&mut self, seq: Seq) -> Result<Vec<u8>, StoreError>;

    /// Drops the records up to and including `seq`, which must lie at or before a good snapshot, and the snapshots
    /// before `seq`, onto which nothing could be replayed any more. The digest chain stays checkable from the
    /// truncation point on.
    ///
    /// # Errors
    /// [`StoreError::Range`] when no snapshot covers `seq`.
    fn truncate(&mut self, seq: Seq) -> Result<(), StoreError>;

    /// Which journal this is: fixed when it was made, so that one begun anew in its place is told apart.
    fn id(&self) -> JournalId;

    /// Bytes that an ordinary user may still write on the journal's device; `None` where that is not known.
    fn room(&self) -> Option<u64>;

    /// Bytes that the journal's device holds in all; `None` where that is not known.
    fn device_bytes(&self) -> Option<u64> {
        None
    }
}

/// Reads a journal that another handle, of this process or another, may be writing.
///
/// It shows durable records only, takes no epoch, writes nothing, and holds no writer up. A reader is open on one journal; when
/// another has been begun in its place, the next call fails once with [`StoreError::Replaced`] and the reader stands on the new one.
pub trait JournalReader: Send {
    /// Which journal is read.
    fn id(&self) -> JournalId;

    /// The last durable record; `Seq(0)` when there is none.
    ///
    /// # Errors
    /// As for [`JournalReader::read`].
    fn last(&mut self) -> Result<Seq, StoreError>;

    /// Visits the durable records from `from` on, in order, each checked against the digest chain, until the visitor breaks or
    /// the payloads visited amount to `max_bytes`; at least one is visited if there is one. Reading on from where the last
    /// call ended also checks that what was read is still what the journal holds.
    ///
    /// # Errors
    /// [`StoreError::Replaced`], see above; [`StoreError::Missing`] when there is no journal any more; [`StoreError::Range`] when
    /// records from `from` on have been truncated, or `from` lies beyond the record that would be next;
    /// [`StoreError::Corrupt`] names the first record that does not match, and nothing behind it is shown.
    fn read(
        &mut self,
        from: Seq,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;
}

/// Why a journal could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another writer opened the journal with a higher epoch.
    #[error("this writer's epoch {} is stale: epoch {} has opened the journal", ours.0, current.0)]
    Fenced {
        /// The epoch of this handle.
        ours: Epoch,
        /// The epoch that holds the journal now.
        current: Epoch,
    },
    /// What is stored is not what was written.
    #[error("{what} is corrupt: {detail}")]
    Corrupt {
        /// The record, snapshot or file at fault.
        what: String,
        /// What was expected and what was found.
        detail: String,
    },
    /// The position asked for does not exist.
    #[error("position {} is out of range: {detail}", seq.0)]
    Range {
        /// The position.
        seq: Seq,
        /// What exists.
        detail: String,
    },
    /// A record or snapshot is larger than a journal takes.
    #[error("{what} of {size_bytes} bytes: at most {limit_bytes} are accepted")]
    TooLarge {
        /// `a record`, `a snapshot`.
        what: &'static str,
        /// Its size.
        size_bytes: usize,
        /// See [`crate::limits`].
        limit_bytes: usize,
    },
    /// No space is left on the device.
    #[error("no space left on the device that holds {path}")]
    Full {
        /// The journal's file.
        path: String,
    },
    /// There is no journal at this place yet.
    #[error("{path}: {detail}")]
    Missing {
        /// Where it would be.
        path: String,
        /// What is there instead.
        detail: String,
    },
    /// Another journal lies where the one that was read lay. The reader stands on the new one now.
    #[error("{path}: another journal ({now}) was begun in place of {was}")]
    Replaced {
        /// The journal's file.
        path: String,
        /// The one that was read.
        was: JournalId,
        /// The one that is there now.
        now: JournalId,
    },
    /// The file cannot be used: permissions, a lock, an I/O error.
    #[error("{path}: {detail}")]
    Io {
        /// The journal's file.
        path: String,
        /// What the system said.
        detail: String,
    },
}

/// Refuses what is larger than a journal takes.
pub(crate) fn check_size(
    what: &'static str,
    size_bytes: usize,
    limit_bytes: usize,
) -> Result<(), StoreError> {
    if size_bytes > limit_bytes {
        Err(StoreError::TooLarge { what, size_bytes, limit_bytes })
    } else {
        Ok(())
    }
}
