//! What happens to a batch: pure. Duplicates are left out, records become entries, entries are hashed into the tree and laid into
//! the open frame; the frame is sealed when the writer says so.
//!
//! This is the kernel's decider. It has no journal beside the log, because the log is its journal: an entry is the event, the
//! cursors are the state, and a start derives them from the entries (`docs/decisions/0008-the-log-is-its-own-journal.md`).

use std::mem;

use grace_kernel::evidence::wire::Batch;
use grace_log::{
    append::{AppendError, Appender, Plan},
    checkpoint::{Checkpoint, CheckpointError},
    limits::ENTRY_BYTES,
    note::SignerKey,
};
use grace_types::evidence::{Blob, Source, write_blob_entry, write_entry};
use sha2::{Digest as _, Sha256};

use super::{
    cursors::{Admission, Cursors, Snapshot, hex},
    frame::{self, Frame, HEADER},
    limits::{FRAME_BYTES, KEPT_BUFFER_BYTES, SOURCES},
};

/// The end of the log with what is not sealed yet.
#[derive(Debug)]
pub(super) struct Intake {
    key: SignerKey,
    cursors: Cursors,
    appender: Appender,
    /// The open frame: room for its header, then entries.
    frame: Vec<u8>,
    /// The size of the tree before the open frame.
    base: u64,
    /// Bytes of entries since the last plan.
    unplanned: usize,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// All before it is in the log once the open frame is sealed.
    pub(super) next: u64,
    /// The first new entry's place in the log, if there is a new one.
    pub(super) index: Option<u64>,
}

/// Why a batch is not taken, and never will be as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// One source too many.
    #[error("the log knows {SOURCES} journals already and takes no further one")]
    TooManySources,
    /// The log cannot grow.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Intake {
    /// Goes on where `appender` and `cursors` end. `unplanned` is the bytes of entries in the appender that no plan covers.
    pub(super) fn new(key: SignerKey, appender: Appender, cursors: Cursors, unplanned: usize) -> Self {
        let base = appender.size();
        Self { key, cursors, appender, frame: vec![0; HEADER], base, unplanned }
    }

    /// The key.
    pub(super) const fn key(&self) -> &SignerKey {
        &self.key
    }

    /// Entries, those in the open frame included.
    pub(super) const fn size(&self) -> u64 {
        self.appender.size()
    }

    /// Whether there is something to seal.
    pub(super) const fn is_open(&self) -> bool {
        self.appender.size() > self.base
    }

    /// Whether the open frame should take no further batch.
    pub(super) const fn is_full(&self) -> bool {
        self.frame.len() >= FRAME_BYTES
    }

    /// Whether entries are there that no plan covers.
    pub(super) const fn has_unplanned(&self) -> bool {
        self.appender.unsealed() > 0
    }

    /// Their bytes.
    pub(super) const fn unplanned_bytes(&self) -> usize {
        self.unplanned
    }

    /// The records of a batch that do not fit an entry and are new: each is to lie beside the log, durable, before the batch is
    /// taken.
    pub(super) fn blobs<'a>(&self, batch: &'a Batch) -> Vec<(Blob, &'a [u8])> {
        let Admission::From(next) = self.cursors.admit(batch) else { return Vec::new() };
        let new = batch.records().filter(|(sequence, _)| *sequence >= next);
        new.filter(|(sequence, record)| !fits(&batch.source, *sequence, record))
            .map(|(_, record)| (blob_of(record), record))
            .collect()
    }

    /// Takes what is new of a batch into the open frame. What this says holds once the frame is sealed and synced.
    ///
    /// # Errors
    /// Nothing more of the batch can be taken.
    pub(super) fn take(&mut self, batch: &Batch) -> Result<Taken, Refused> {
        let next = match self.cursors.admit(batch) {
            Admission::From(next) => next,
            Admission::Nothing => return Ok(Taken { next: self.cursors.next(&batch.source), index: None }),
            Admission::TooMany => return Err(Refused::TooManySources),
        };
        let index = Some(self.appender.size());
        let (before, mut taken_to) = (self.frame.len(), next);
        let mut new = batch.records().filter(|(sequence, _)| *sequence >= next);
        let done = new.try_for_each(|(sequence, record)| {
            self.push(&batch.source, sequence, record)?;
            taken_to = sequence + 1;
            Ok(())
        });
        if taken_to > next {
            self.cursors.advance(&batch.source, taken_to);
        }
        self.unplanned += self.frame.len() - before;
        done.map(|()| Taken { next: batch.end(), index })
    }

    fn push(&mut self, source: &Source, sequence: u64, record: &[u8]) -> Result<(), Refused> {
        let start = self.frame.len();
        let entry = start + 2;
        self.frame.extend_from_slice(&[0, 0]);
        write_entry(&mut self.frame, source, sequence, record);
        if self.frame.len() - entry > ENTRY_BYTES {
            self.frame.truncate(entry);
            write_blob_entry(&mut self.frame, source, sequence, &blob_of(record));
        }
        if let Err(e) = self.appender.append(&self.frame[entry..]) {
            self.frame.truncate(start);
            return Err(e.into());
        }
        let length = u16::try_from(self.frame.len() - entry).unwrap_or(u16::MAX);
        self.frame[start..entry].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Seals the open frame; the next one is built in `spare`.
    ///
    /// # Errors
    /// The key's name cannot stand in a checkpoint, which was checked when the key was made.
    pub(super) fn seal(&mut self, mut spare: Vec<u8>) -> Result<Frame, CheckpointError> {
        let checkpoint =
            Checkpoint::new(self.key.verifier().name(), self.appender.size(), self.appender.root())?;
        let note = checkpoint.sign(&[&self.key])?;
        if spare.capacity() > KEPT_BUFFER_BYTES && self.frame.len() < KEPT_BUFFER_BYTES {
            spare = Vec::new();
        }
        spare.clear();
        spare.resize(HEADER, 0);
        let mut bytes = mem::replace(&mut self.frame, spare);
        frame::finish(&mut bytes, self.base, self.appender.size() - self.base, &note);
        self.base = self.appender.size();
        Ok(Frame { bytes, checkpoint })
    }

    /// What brings the public files up to the last seal. Only between a seal and the next batch.
    ///
    /// # Errors
    /// As for [`Intake::seal`].
    pub(super) fn plan(&mut self) -> Result<Plan, CheckpointError> {
        debug_assert!(!self.is_open(), "a plan publishes what is sealed");
        self.unplanned = 0;
        let name = self.key.verifier().name().to_owned();
        self.appender.seal(&name, &[&self.key])
    }

    /// The cursors, at the size of the last plan. As for [`Intake::plan`].
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { size: self.appender.size(), root: self.appender.root(), cursors: self.cursors.clone() }
    }
}

/// Whether the record's entry is short enough. The exact length is only worked out near the bound.
fn fits(source: &Source, sequence: u64, record: &[u8]) -> bool {
    const MOST_HEAD: usize = 256;
    if record.len() + MOST_HEAD <= ENTRY_BYTES {
        return true;
    }
    let mut entry = Vec::new();
    write_entry(&mut entry, source, sequence, record);
    entry.len() <= ENTRY_BYTES
}

fn blob_of(record: &[u8]) -> Blob {
    Blob { sha256: hex(&Sha256::digest(record)), size: record.len() as u64 }
}
