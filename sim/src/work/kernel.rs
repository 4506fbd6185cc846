//! A kernel's process: the production host of one of the four deciders, on a memory journal.

use std::{ops::ControlFlow, rc::Rc};

use grace_kernel::{Answer, Decider, Envelope, Host, Recorded, Stored};
use grace_orchestration::delivery::step::Report;
use grace_store::{
    Journal, JournalReader, Seq,
    memory::{Disk, MemoryJournal, MemoryReader},
};
use grace_types::{
    chance::{Entropy, SeededEntropy},
    event::Event as CloudEvent,
    time::Now,
};

use super::net::Node;

/// Where an answer goes.
#[derive(Debug, Clone)]
pub(super) enum To {
    Nobody,
    /// What must be durable before the process is of any use.
    Setup,
    /// Who asked, under which call.
    Letter(Node, u64),
    /// The front door's: these events are for the policies too.
    Front(Node, u64, Rc<Vec<CloudEvent>>),
    /// A performer's report, which must not be lost while the process lives.
    Settle(Rc<Report>),
    /// The desk's: leases of the workers that wait there.
    Lease,
}

/// See the module's page.
pub(super) struct Kernel<D: Decider> {
    pub(super) disk: Disk,
    pub(super) running: Option<Running<D>>,
}

pub(super) struct Running<D: Decider> {
    pub(super) host: Host<D, To>,
    journal: MemoryJournal,
    entropy: SeededEntropy,
    /// A commit is under way.
    committing: bool,
}

/// What a commit let out.
pub(super) struct Committed<D: Decider> {
    pub(super) answers: Vec<(To, Answer<D>)>,
    pub(super) effects: Vec<D::Effect>,
    /// Records that are durable now.
    pub(super) records: usize,
    /// What the journal said.
    pub(super) error: Option<String>,
    /// The power went in the middle of it.
    pub(super) died: bool,
}

impl<D: Decider> Kernel<D> {
    pub(super) fn new() -> Self {
        Self { disk: Disk::new(), running: None }
    }

    /// Starts the process. Gives what the state still waits for, and what was passed over.
    pub(super) fn start(
        &mut self,
        component: &str,
        entropy: &mut SeededEntropy,
    ) -> Result<(Vec<D::Effect>, Vec<String>), String> {
        self.disk.power_on(entropy);
        let mut journal = MemoryJournal::open(&self.disk).map_err(|e| e.to_string())?;
        let mut host = Host::load(component, &mut journal).map_err(|e| e.to_string())?;
        let notices = host.take_notices();
        let outstanding = host.outstanding();
        let entropy = SeededEntropy::new(entropy.next_u64());
        self.running = Some(Running { host, journal, entropy, committing: false });
        Ok((outstanding, notices))
    }

    pub(super) fn state(&self) -> Option<&D::State> {
        self.running.as_ref().map(|running| running.host.state())
    }

    /// Takes a command; whether a commit must be planned.
    pub(super) fn take(&mut self, now: Now, command: D::Command, to: To) -> bool {
        let Some(running) = &mut self.running else { return false };
        running.host.take(now, &mut running.entropy, Envelope::new(command), to);
        !std::mem::replace(&mut running.committing, true)
    }

    pub(super) fn commit(&mut self) -> Option<Committed<D>> {
        let running = self.running.as_mut().filter(|running| running.committing)?;
        running.committing = false;
        let released = running.host.commit(&mut running.journal);
        let error = released.error.map(|e| e.to_string());
        let died = self.disk.is_off();
        let (answers, effects) =
            if died { (Vec::new(), Vec::new()) } else { (released.answers, released.effects) };
        Some(Committed { answers, effects, records: released.entries.len(), error, died })
    }

    /// Stores a snapshot, if the process is idle; what came of it.
    pub(super) fn snapshot(&mut self) -> Option<String> {
        let running = self.running.as_mut()?;
        if !running.host.is_idle() {
            return None;
        }
        Some(match running.host.snapshot(&mut running.journal) {
            Ok(info) => format!("snapshot {} {}", info.seq.0, info.digest),
            Err(e) => format!("no snapshot: {e}"),
        })
    }

    /// Flips a bit of the newest snapshot.
    pub(super) fn damage_snapshot(&mut self, bit: usize) {
        let newest =
            self.running.as_mut().and_then(|running| running.journal.snapshots().ok()?.last().map(|i| i.seq));
        if let Some(seq) = newest {
            self.disk.flip_snapshot_bit(seq, bit);
        }
    }

    /// The events of the journal, first to last, as the bytes on the disk say.
    pub(super) fn events(&self) -> Result<Vec<Recorded<D::Event>>, String> {
        let (mut events, mut wrong) = (Vec::new(), None);
        let mut reader = MemoryReader::open(&self.disk);
        reader
            .read(Seq(1), usize::MAX, &mut |record| match Stored::<D>::from_json(record.payload) {
                Ok(Stored::Event(entry)) => {
                    events.push(entry.record);
                    ControlFlow::Continue(())
                }
                Ok(Stored::Answer(_)) => ControlFlow::Continue(()),
                Err(e) => {
                    wrong = Some(format!("record {}: {e}", record.seq.0));
                    ControlFlow::Break(())
                }
            })
            .map_err(|e| e.to_string())?;
        wrong.map_or(Ok(events), Err)
    }

    /// Whether the state that runs, by whatever snapshots and restarts it came to be, is the one that the events alone give.
    pub(super) fn is_replay(&self, events: &[Recorded<D::Event>]) -> Result<(), String> {
        let mut state = D::State::default();
        events.iter().for_each(|event| D::evolve(&mut state, event.event()));
        let Some(running) = self.state() else { return Err("it does not run".to_owned()) };
        let text = |state: &D::State| serde_json::to_string(state).map_err(|e| e.to_string());
        let (running, replayed) = (text(running)?, text(&state)?);
        if running == replayed {
            return Ok(());
        }
        let at = running.bytes().zip(replayed.bytes()).take_while(|(a, b)| a == b).count();
        let part =
            |text: &str| text.get(at.saturating_sub(60)..text.len().min(at + 60)).unwrap_or("").to_owned();
        Err(format!("the state is not what its journal says: …{}… is …{}…", part(&running), part(&replayed)))
    }
}
