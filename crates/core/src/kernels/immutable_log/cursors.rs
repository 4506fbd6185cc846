//! Which records of which journals the log holds: for each source the sequence number that comes next. Pure.
//!
//! The entries themselves say it, since each names its source and sequence number; so the cursors are derived, and a snapshot
//! of them is there only to make a start quick. It is tagged with the size and the root of the tree that it was made from.

use std::collections::HashMap;

use grace_kernel::evidence::wire::Batch;
use grace_log::hash::Hash;
use grace_types::evidence::{JournalId, Source};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::limits::SOURCES;

/// Where every source stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cursors(HashMap<Source, u64>);

/// What is to be done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Take its records from this sequence number on; those before are there.
    From(u64),
    /// Nothing of it is new, or it begins after the next record, or it is a question: `next` is all there is to say.
    Nothing,
    /// Its source is one more than the log remembers.
    TooMany,
}

impl Cursors {
    /// The sequence number of the next record of `source`.
    pub(super) fn next(&self, source: &Source) -> u64 {
        self.0.get(source).copied().unwrap_or(1)
    }

    /// Looks at a batch.
    pub(super) fn admit(&self, batch: &Batch) -> Admission {
        let next = self.next(&batch.source);
        if batch.first > next || batch.end() <= next {
            Admission::Nothing
        } else if self.0.len() >= SOURCES && !self.0.contains_key(&batch.source) {
            Admission::TooMany
        } else {
            Admission::From(next)
        }
    }

    /// Notes that every record of `source` before `next` is in the log.
    pub(super) fn advance(&mut self, source: &Source, next: u64) {
        match self.0.get_mut(source) {
            Some(cursor) => *cursor = next.max(*cursor),
            None => drop(self.0.insert(source.clone(), next)),
        }
    }
}

/// The cursors as they were when the tree had this size and root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Entries.
    pub(super) size: u64,
    /// The root over them.
    pub(super) root: Hash,
    /// What they say.
    pub(super) cursors: Cursors,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    size: u64,
    root: String,
    next: Vec<(String, JournalId, u64)>,
}

impl Snapshot {
    /// A line of JSON, and its SHA-256 in hexadecimal on the next.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let next =
            self.cursors.0.iter().map(|(source, next)| (source.component.clone(), source.journal, *next));
        let mut next: Vec<_> = next.collect();
        next.sort_unstable();
        let form = Form { size: self.size, root: self.root.to_string(), next };
        // Numbers and names always have a JSON form.
        let line = serde_json::to_string(&form).unwrap_or_default();
        format!("{line}\n{}\n", hex(&Sha256::digest(&line))).into_bytes()
    }

    /// Reads what [`Snapshot::to_bytes`] wrote; `None` if it is anything else.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (line, digest) = text.strip_suffix('\n')?.split_once('\n')?;
        if hex(&Sha256::digest(line)) != digest {
            return None;
        }
        let Form { size, root, next } = serde_json::from_str(line).ok()?;
        let cursors =
            next.into_iter().map(|(name, journal, next)| Some((Source::new(&name, journal)?, next)));
        Some(Self {
            size,
            root: Hash::from_base64(&root)?,
            cursors: Cursors(cursors.collect::<Option<_>>()?),
        })
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
