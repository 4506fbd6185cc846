//! What the cortex has on record, from the files of the tamper-evident log alone: it works with no Grace running.

use grace_core::instance::Instance;
use grace_cortex::router::{Event, shell};
use grace_types::{
    evidence::{JournalId, LogEntry},
    narrative::Raw,
};

use crate::{
    failure::Failure,
    log::{
        entries,
        place::{Place, unreadable},
        tail,
        verify::Progress,
    },
};

/// One record of the cortex.
pub(super) struct Record {
    /// Of which journal: one that was set aside knows nothing of the one begun in its place.
    pub(super) journal: JournalId,
    /// What happened, or why that cannot be told.
    pub(super) event: Result<Event, String>,
}

/// What an entry of the cortex begins with: all others need not be looked into.
const HEAD: &[u8] = b"{\"source\":\"cortex\",";

/// Visits all records of the cortex, in the order in which they were sealed.
pub(super) fn each(
    instance: &Instance,
    mut visit: impl FnMut(Record) -> Result<(), Failure>,
) -> Result<(), Failure> {
    debug_assert_eq!(shell::NAME, "cortex", "the head names it");
    let place = Place::of(instance)?;
    let size = match tail::size(&place) {
        // Begun, and nothing is sealed yet.
        Err(failure) if failure.code == "no_log" => return Ok(()),
        size => size?,
    };
    let progress = Progress::default();
    let done = entries::each(&place, size, 0..size, |index, entry| {
        progress.at(index);
        if !entry.starts_with(HEAD) {
            return Ok(());
        }
        let read = match LogEntry::read(entry) {
            Ok(read) => read,
            Err(e) => return Err(unreadable(&place.log, &std::io::Error::other(e.to_string()))),
        };
        let event = match entries::record(&place, &read) {
            Ok(record) => event(&record),
            Err(e) => Err(format!("the record beside the log cannot be read: {e}")),
        };
        match event.transpose() {
            Some(event) => visit(Record { journal: read.source.journal, event }),
            None => Ok(()),
        }
    });
    progress.clear();
    done
}

/// Nothing where a record only settles what was answered under a key.
fn event(record: &[u8]) -> Result<Option<Event>, String> {
    let Some(raw) = Raw::read(record).map_err(|e| e.to_string())? else { return Ok(None) };
    let event = serde_json::from_str(raw.event);
    event.map(Some).map_err(|e| format!("a record of another form: {e}"))
}
