//! Making it all again from the journals.
//!
//! One transaction: a crash at any point leaves the old content, and readers see the old content until the new one is whole. The links to
//! the log stay: they are about sequence numbers, and no journal knows them.

use grace_types::evidence::Source;
use rusqlite::TransactionBehavior;

use super::{
    Batch, NarrativeDb, Words, error,
    write::{insert, read_batch, source_row},
};
use crate::{JournalReader, Seq, StoreError, limits};

/// The journals, each with its source.
pub type Journals<'a> = Vec<(Source, Box<dyn JournalReader + 'a>)>;

/// A source whose journal gives fewer records than the database had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Whose.
    pub source: Source,
    /// The last record that the database had.
    pub had: u64,
    /// The last one that its journal gives.
    pub has: u64,
    /// Why no more.
    pub detail: String,
}

/// What came of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rebuilt {
    /// Records read.
    pub records: u64,
    /// Journals read.
    pub journals: usize,
    /// What the journals do not give any more.
    pub lost: Vec<Lost>,
    /// Whether the new content is in force. When something would be lost and that was not accepted, the old content is.
    pub done: bool,
}

impl NarrativeDb {
    /// Wipes the narratives and makes them again from `journals`, synced. Nothing is changed when the journals give less than the
    /// database had, unless `accept_loss`.
    ///
    /// # Errors
    /// The engine's failure; nothing was changed then.
    pub fn rebuild(&mut self, journals: Journals<'_>, accept_loss: bool) -> Result<Rebuilt, StoreError> {
        let before = self.stands()?;
        let path = self.path.clone();
        let failed = |e: rusqlite::Error| error::sqlite(&path, &e);
        self.words = Words::default();
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        tx.execute_batch(
            "DELETE FROM narratives; DELETE FROM elsewhere; INSERT INTO told (told) VALUES ('delete-all');
             UPDATE sources SET next = 1, told = 0, odd = 0, last_odd = NULL;",
        )
        .map_err(failed)?;
        let mut rebuilt = Rebuilt { journals: journals.len(), ..Rebuilt::default() };
        let mut ends: Vec<(Source, u64, String)> = Vec::new();
        for (source, mut reader) in journals {
            let mut next = source_row(&tx, &source).map_err(failed)?.1;
            let detail = loop {
                let mut records: Vec<Vec<u8>> = Vec::new();
                let read = reader.read(Seq(next), limits::REBUILD_BYTES, &mut |record| {
                    records.push(record.payload.to_vec());
                    std::ops::ControlFlow::Continue(())
                });
                let batch = Batch {
                    source: &source,
                    first: next,
                    records: records.iter().map(Vec::as_slice).collect(),
                };
                let mut told = Vec::new();
                let after = read_batch(&tx, &batch, &mut told).map_err(failed)?;
                insert(&tx, &mut self.words, told).map_err(failed)?;
                rebuilt.records += after - next;
                let stuck = after == next;
                next = after;
                match read {
                    Ok(()) if stuck => break "its journal ends there".to_owned(),
                    Ok(()) => {}
                    Err(e) => break e.to_string(),
                }
            };
            ends.push((source, next, detail));
        }
        for stand in before {
            let end = ends.iter().find(|(source, ..)| *source == stand.source);
            let (next, detail) =
                end.map_or((1, "its journal was not found"), |(_, next, detail)| (*next, detail.as_str()));
            if next < stand.next {
                let (had, has) = (stand.next - 1, next - 1);
                rebuilt.lost.push(Lost { source: stand.source, had, has, detail: detail.to_owned() });
            }
        }
        rebuilt.done = rebuilt.lost.is_empty() || accept_loss;
        if rebuilt.done {
            tx.commit().map_err(failed)?;
        } else {
            tx.rollback().map_err(failed)?;
            self.words = Words::default();
        }
        Ok(rebuilt)
    }
}
