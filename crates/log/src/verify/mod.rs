//! The offline verifier: is this folder the log that its key signed, to the last bit?
//!
//! [`verify`] hashes every entry and builds the tree anew, level by level, beside the tiles that are there (`derive`). Where both
//! agree all the way to the signed root, nothing was altered. Where they do not, the hash above tells which side is right, so
//! that the report names the entry, the tile or the checkpoint at fault, and goes on to the next. Partial files of earlier
//! sizes that are still there are compared last (`stale`).
//!
//! A log that its own key holder rewrote is whole in itself. That shows only against a checkpoint kept elsewhere: give
//! those that you know, and a rollback, a fork or a rewritten past is found.
//!
//! What this cannot find: a changed signature by a witness that is not in [`Trust`] (nobody can tell it from another), and
//! changes in files past the checkpoint, which nothing has signed yet; those files are listed.

mod derive;
mod stale;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::{
    checkpoint::{Checkpoint, CheckpointError, Opened, Relation, Trust},
    files::{Files, ReadError},
    hash::Hash,
    limits::{FAULTS, NOTE_BYTES},
    tile::CHECKPOINT_PATH,
};

/// What a verification found.
#[derive(Debug, Default)]
pub struct Report {
    /// The checkpoint in the folder, if it can be trusted. Without it nothing else was looked at.
    pub opened: Option<Opened>,
    /// The root made anew, if it could be: from the entries, and beside faults from what vouches for itself.
    pub root: Option<Hash>,
    /// Entries hashed.
    pub entries: u64,
    /// Bytes of entries hashed.
    pub entry_bytes: u64,
    /// What is wrong, in the order found. With [`FAULTS`] of them the verification gives up.
    pub faults: Vec<Fault>,
    /// Faults past those, met before it gave up.
    pub more_faults: u64,
    /// Files past the checkpoint, left by a batch that was not sealed. Nothing vouches for them.
    pub unsealed: Vec<String>,
    /// Files that are no part of a log.
    pub unknown: Vec<String>,
}

impl Report {
    /// Whether the log is whole.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.opened.is_some() && self.faults.is_empty()
    }

    fn add(&mut self, path: impl fmt::Display, problem: Problem) {
        if self.faults.len() < FAULTS {
            self.faults.push(Fault { path: path.to_string(), problem });
        } else {
            self.more_faults += 1;
        }
    }

    fn add_read(&mut self, error: ReadError) {
        match error {
            ReadError::Missing { path } => self.add(path, Problem::Missing),
            ReadError::Io { path, error } => self.add(path, Problem::Unreadable(error.to_string())),
            ReadError::Length { path, found, expected } => {
                self.add(path, Problem::Length { found, expected });
            }
            ReadError::Bundle { path, index } => self.add(path, Problem::Entry { index, others: 0 }),
            ReadError::Outside { .. } => self.add(CHECKPOINT_PATH, Problem::Unreadable(error.to_string())),
        }
    }
}

/// One thing that is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file at fault.
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is not there.
    #[error("the file is missing")]
    Missing,
    /// It is there and could not be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
    /// The checkpoint cannot be trusted.
    #[error("{0}")]
    Checkpoint(CheckpointError),
    /// A tile that is too short or too long.
    #[error("the file has {found} bytes and should have {expected}")]
    Length {
        /// Bytes there.
        found: usize,
        /// Bytes that belong there.
        expected: usize,
    },
    /// An entry was altered, added, removed or cut off.
    #[error("entry {index} is not the one that was logged{}", Others(*.others))]
    Entry {
        /// The first such entry's place in the log.
        index: u64,
        /// How many after it in this bundle are not either: a changed length shifts all that follow.
        others: u64,
    },
    /// Bytes follow the last entry of a bundle.
    #[error("{0} bytes follow the last entry")]
    Trailing(usize),
    /// A hash in a tile was altered.
    #[error("hash {position} of the tile is not that of what lies under it{}", Others(*.others))]
    Hash {
        /// The first such hash's place in the tile.
        position: usize,
        /// How many after it are wrong too.
        others: u64,
    },
    /// A tile and all under it agree, and were altered together: the tile above says so.
    #[error("the tile and what lies under it were replaced: {0} has another hash for it")]
    Replaced(String),
    /// A tile and what lies under it disagree, and nothing tells which is right.
    #[error(
        "hash {position} of the tile is not that of what lies under it, and nothing tells which was altered"
    )]
    Disagrees {
        /// The first such hash's place in the tile.
        position: usize,
    },
    /// A partial file of an earlier size is not the beginning of the later one.
    #[error("this older partial file is not the beginning of what came after it")]
    Stale,
    /// The checkpoint signs another root.
    #[error("the signed root is {signed}, but the log's files give {derived}")]
    Root {
        /// In the checkpoint.
        signed: Hash,
        /// From the files.
        derived: Hash,
    },
    /// A known checkpoint has more entries.
    #[error("the log was rolled back: it has {size} entries, and had {known}")]
    RolledBack {
        /// Entries now.
        size: u64,
        /// Entries in the known checkpoint.
        known: u64,
    },
    /// A known checkpoint of this size has another root.
    #[error("the log forked: two checkpoints of {size} entries have the roots {root} and {known}")]
    Fork {
        /// Entries in both.
        size: u64,
        /// Here.
        root: Hash,
        /// In the known checkpoint.
        known: Hash,
    },
    /// The first entries are not those of a known checkpoint.
    #[error("the past was rewritten: the first {size} entries give the root {derived}, and gave {known}")]
    Rewritten {
        /// Entries in the known checkpoint.
        size: u64,
        /// From the entries now.
        derived: Hash,
        /// In the known checkpoint.
        known: Hash,
    },
}

struct Others(u64);

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str(", nor is 1 after it"),
            n => write!(f, ", nor are {n} after it"),
        }
    }
}

/// Checks a whole log against its checkpoint, and that against checkpoints that the caller knows to be this log's (of any
/// size; their signatures were checked when they were opened).
///
/// Reads each file once, one at a time, and again only where something is wrong.
#[must_use]
pub fn verify(files: &impl Files, trust: &Trust, known: &[Checkpoint]) -> Report {
    let mut report = Report::default();
    let opened = match files.read(CHECKPOINT_PATH, NOTE_BYTES) {
        Ok(Some(note)) => trust.open(&note).map_err(Problem::Checkpoint),
        Ok(None) => Err(Problem::Missing),
        Err(error) => Err(Problem::Unreadable(error.to_string())),
    };
    let checkpoint = match opened {
        Ok(opened) => report.opened.insert(opened).checkpoint.clone(),
        Err(problem) => {
            report.add(CHECKPOINT_PATH, problem);
            return report;
        }
    };
    let mut past = Vec::new();
    for known in known {
        let (size, root) = (checkpoint.size, checkpoint.root);
        match checkpoint.relation_to(known) {
            Relation::Same => {}
            Relation::Ahead => past.push((known.size, known.root)),
            Relation::Behind => report.add(CHECKPOINT_PATH, Problem::RolledBack { size, known: known.size }),
            Relation::Fork => report.add(CHECKPOINT_PATH, Problem::Fork { size, root, known: known.root }),
        }
    }
    past.sort_unstable();
    compare(files, &checkpoint, past, &mut report);
    report
}

/// Compares all files but the checkpoint's own with `checkpoint`, and the tree on its way with the roots in `past`.
fn compare(files: &impl Files, checkpoint: &Checkpoint, past: Vec<(u64, Hash)>, report: &mut Report) {
    derive::derive(files, checkpoint, past, report);
    stale::compare(files, checkpoint.size, report);
}
