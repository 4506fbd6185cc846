//! What the control plane wrote down, read without disturbing it: opening the journal properly would fence its writer.

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
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).unwrap();
        let mut query = connection.prepare("SELECT payload FROM records ORDER BY seq").unwrap();
        let payloads = query.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        let entries = payloads.map(|bytes| serde_json::from_slice(&bytes.unwrap()).unwrap()).collect();
        Self { entries }
    }

    /// The events that `pick` picks, with their reasons.
    pub(crate) fn pick<T>(&self, pick: impl Fn(&Event) -> Option<T>) -> Vec<(T, String)> {
        let why = |entry: &Entry| entry.record.why().to_string();
        self.entries.iter().filter_map(|e| Some((pick(e.record.event())?, why(e)))).collect()
    }
}
