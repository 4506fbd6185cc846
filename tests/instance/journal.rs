//! What is written down, read without disturbing who writes: opening a journal properly would fence its writer.

use std::path::Path;

use grace_core::{control_plane::recorder::Entry, supervisor::Event};
use rusqlite::{Connection, OpenFlags};

/// The records of the control plane's journal, oldest first.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) entries: Vec<Entry>,
}

impl Journal {
    pub(super) fn read(path: &Path) -> Self {
        let payloads = payloads(path);
        Self { entries: payloads.iter().map(|bytes| Entry::from_json(bytes).unwrap()).collect() }
    }

    /// The events that `pick` picks, with their reasons.
    pub(crate) fn pick<T>(&self, pick: impl Fn(&Event) -> Option<T>) -> Vec<(T, String)> {
        let why = |entry: &Entry| entry.record.why().to_string();
        self.entries.iter().filter_map(|e| Some((pick(e.record.event())?, why(e)))).collect()
    }
}

/// Every record of a journal, oldest first.
pub(super) fn payloads(path: &Path) -> Vec<Vec<u8>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).unwrap();
    let mut query = connection.prepare("SELECT payload FROM records ORDER BY seq").unwrap();
    query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}
