//! What the components recorded during a run, read from their journals: it does not need the bus, the log or any kernel.

use std::{ops::ControlFlow, path::Path};

use grace_store::{
    JournalReader as _, Seq, StoreError,
    file::{EXTENSION, FileReader},
};
use grace_types::{narrative::Narrative, time::Timestamp};

use crate::limits;

/// The component whose decisions are followed while a run goes on.
pub(super) const CONTROL_PLANE: &str = "control_plane";

/// The journals of an instance, each from where it stood when the run began.
pub(super) struct Journals {
    each: Vec<Journal>,
    /// What was read so far.
    pub(super) told: Vec<Told>,
    /// How many there were besides, past the bound.
    pub(super) left_out: u64,
    /// What could not be read, a sentence each.
    pub(super) errors: Vec<String>,
}

/// What a component recorded.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// Its story.
    pub(super) narrative: Narrative,
    /// When it was read, by the run's clock.
    pub(super) seen: Timestamp,
}

impl Told {
    /// When it was recorded, by the run's clock, if that was not before `since`. The component's own time says so, except where
    /// somebody has set the clock meanwhile.
    #[must_use]
    pub(super) fn at(&self, since: Timestamp) -> Timestamp {
        let said = self.narrative.time;
        if (since..=self.seen).contains(&said) { said } else { self.seen }
    }
}

struct Journal {
    component: String,
    reader: FileReader,
    next: Seq,
    broken: bool,
}

impl Journals {
    /// Opens every journal in DATA/journals, but the run's own.
    #[must_use]
    pub(super) fn open(data: &Path, own: &str) -> Self {
        let mut journals = Self { each: Vec::new(), told: Vec::new(), left_out: 0, errors: Vec::new() };
        let folder = match std::fs::read_dir(data.join("journals")) {
            Ok(folder) => folder,
            Err(error) => {
                journals.errors.push(format!("the journals cannot be listed: {error}"));
                return journals;
            }
        };
        let mut paths: Vec<_> = folder.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        for path in paths {
            let component = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let Some(component) = component.filter(|name| name != own) else { continue };
            if path.extension().is_none_or(|extension| extension != EXTENSION) {
                continue;
            }
            let opened = FileReader::open(&path).and_then(|mut reader| Ok((reader.last()?, reader)));
            match opened {
                Ok((last, reader)) => {
                    let next = Seq(last.0 + 1);
                    journals.each.push(Journal { component, reader, next, broken: false });
                }
                Err(error) => journals.errors.push(format!("the journal of {component}: {error}")),
            }
        }
        journals
    }

    /// Reads what was added to the journals: the control plane's, or `all`. What is new.
    pub(super) fn read(&mut self, all: bool, now: Timestamp) -> &[Told] {
        let known = self.told.len();
        let (told, left_out) = (&mut self.told, &mut self.left_out);
        let mut keep = |narrative| {
            if told.len() < limits::NARRATIVES {
                told.push(Told { narrative, seen: now });
            } else {
                *left_out += 1;
            }
        };
        for journal in &mut self.each {
            let wanted = !journal.broken && (all || journal.component == CONTROL_PLANE);
            if wanted && let Err(error) = journal.read(all, &mut keep) {
                journal.broken = true;
                self.errors.push(format!("the journal of {}: {error}", journal.component));
            }
        }
        &self.told[known..]
    }

    /// Whether what conditions and safeguards rest on could be read.
    #[must_use]
    pub(super) fn follows_the_control_plane(&self) -> bool {
        self.each.iter().any(|journal| journal.component == CONTROL_PLANE && !journal.broken)
    }
}

impl Journal {
    fn read(&mut self, to_the_end: bool, keep: &mut dyn FnMut(Narrative)) -> Result<(), StoreError> {
        loop {
            let from = self.next;
            let result = self.reader.read(from, limits::JOURNAL_ROUND_BYTES, &mut |record| {
                self.next = Seq(record.seq.0 + 1);
                // A record that tells no story is the affair of whoever keeps narratives.
                if let Ok(Some(narrative)) = Narrative::read(record.payload) {
                    keep(narrative);
                }
                ControlFlow::Continue(())
            });
            match result {
                // Another was begun in its place: all of it is new.
                Err(StoreError::Replaced { .. }) => self.next = Seq(1),
                Err(error) => return Err(error),
                Ok(()) if self.next == from || !to_the_end => return Ok(()),
                Ok(()) => {}
            }
        }
    }
}
