//! What is written down, read without disturbing who writes: opening a journal properly would fence its writer.

use std::{ops::ControlFlow, path::Path};

use grace_core::{control_plane::recorder::Entry, supervisor::Event};
use grace_store::{JournalReader as _, Seq, file::FileReader};

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
    let mut payloads = Vec::new();
    let mut reader = FileReader::open(path).unwrap();
    reader
        .read(Seq(1), usize::MAX, &mut |record| {
            payloads.push(record.payload.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    payloads
}
