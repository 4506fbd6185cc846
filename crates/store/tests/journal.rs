//! Journals under random operations, crashes, damage, full disks and kill -9.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its functions too")]

#[path = "journal/damage.rs"]
mod damage;
#[path = "journal/full.rs"]
mod full;
#[path = "journal/kill.rs"]
mod kill;
#[path = "journal/model.rs"]
mod model;
#[path = "journal/reader.rs"]
mod reader;
#[path = "journal/roll.rs"]
mod roll;

use std::{ops::ControlFlow, path::Path};

use grace_store::{Journal, Seq, StoreError, file::FileJournal};
use grace_types::time::Timestamp;

/// Opens a journal of files; the time stored beside the epoch does not matter here.
fn open(path: &Path) -> Result<FileJournal, StoreError> {
    FileJournal::open(path, Timestamp::EPOCH)
}

/// Every record from `from` on.
fn records(journal: &mut dyn Journal, from: u64) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    let mut found = Vec::new();
    journal.replay(Seq(from), &mut |record| {
        found.push((record.seq.0, record.payload.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Appends records that hold their own position, one batch each.
fn append_numbers(journal: &mut dyn Journal, count: u64) {
    for _ in 0..count {
        let number = (journal.last().0 + 1).to_le_bytes();
        journal.append(&[&number]).unwrap();
    }
}
