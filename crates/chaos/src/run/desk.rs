//! The decider of the runs on its journal, and the thread of causes that ties one run's events together.

use grace_kernel::{Envelope, Host};
use grace_store::{Seq, StoreError, file::FileJournal};
use grace_types::{
    chance::OsEntropy,
    id::{CorrelationId, EventId},
    time::{Clock as _, Timestamp},
};

use super::{COMPONENT, RunError, clock::RunClock};
use crate::{
    record::Phase,
    runner::{Command, Effect, Event, FaultState, Runner},
};

/// What was decided, with its time, and what is to be done.
pub(super) type Decided = (Vec<(Timestamp, Event)>, Vec<Effect>);

/// The decider on its journal, and the thread of causes.
pub(super) struct Desk {
    host: Host<Runner, ()>,
    journal: FileJournal,
    clock: RunClock,
    correlation: CorrelationId,
    causation: Option<EventId>,
}

impl Desk {
    /// Opens the journal, making it if need be.
    ///
    /// # Errors
    /// It is damaged, or cannot be used.
    pub(super) fn open(path: std::path::PathBuf, clock: RunClock) -> Result<Self, RunError> {
        let now = clock.now().wall;
        let fail = |error: String| RunError::Journal(error);
        let mut journal = FileJournal::open(path, now).map_err(|error| fail(error.to_string()))?;
        let host = Host::load(COMPONENT, &mut journal).map_err(|error| fail(error.to_string()))?;
        let correlation = CorrelationId::new(now, &mut OsEntropy);
        Ok(Self { host, journal, clock, correlation, causation: None })
    }

    /// Decides all of it, and makes it durable at once. What was decided, with its time, and what is to be done.
    pub(super) fn tell(&mut self, commands: Vec<Command>) -> Result<Decided, RunError> {
        for command in commands {
            let now = self.clock.now();
            let mut envelope = Envelope::new(command);
            (envelope.correlation, envelope.causation) = (Some(self.correlation), self.causation);
            self.host.take(now, &mut OsEntropy, envelope, ());
        }
        let released = self.host.commit(&mut self.journal);
        if let Some(error) = released.error {
            return Err(RunError::Journal(error.to_string()));
        }
        let refused = released.answers.into_iter().find_map(|(_, answer)| answer.err());
        if let Some(error) = refused {
            return Err(RunError::Journal(error.to_string()));
        }
        let events = released.entries.into_iter().map(|(_, entry)| {
            self.causation = Some(entry.id);
            (entry.time, entry.record.event().clone())
        });
        Ok((events.collect(), released.effects))
    }

    /// Where the run stands.
    pub(super) fn phase(&self) -> Phase {
        self.host.state().run.as_ref().map_or(Phase::Judged, |run| run.phase)
    }

    /// The faults that are not over, by their numbers.
    pub(super) fn faults_on(&self) -> Vec<u32> {
        let faults = self.host.state().run.iter().flat_map(|run| run.faults.iter().zip(1..));
        let on =
            faults.filter(|(state, _)| matches!(state, FaultState::Ordered { .. } | FaultState::On { .. }));
        on.map(|(_, number)| number).collect()
    }

    /// The last record that is durable.
    pub(super) const fn durable(&self) -> Seq {
        self.host.durable()
    }

    /// Stores a snapshot when enough lies behind the last one.
    pub(super) fn snapshot_if_due(&mut self) -> Result<(), StoreError> {
        self.host.snapshot_if_due(&mut self.journal).map(drop)
    }
}
