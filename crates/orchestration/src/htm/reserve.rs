//! While the last of the disk is kept for emergencies: work that was allowed in one goes on to its end, and all other work stands still.
//!
//! ```text
//! reserve_begun ─► plain intents are refused, plain tasks stay where they are; their workers are told to answer again later
//!               ─► intents of tier 4 are taken, dispatched, answered, retried, ended
//! reserve_over  ─► leases of plain tasks are as much longer as that took, and everything goes on
//! ```
//!
//! What workers say of plain tasks cannot be recorded, so nobody can tell which of their slots are free: those do not count, and a worker
//! bounds by what it asks for how much it runs. No lease of a plain task ends meanwhile, and none of its attempts is used up. Caps of
//! types and of concurrency keys hold as ever.

use grace_kernel::Recorded;
use grace_types::reason::Why;

use super::{
    IntentId, TaskId,
    event::{Event, NewIntent, What},
    index::Timer,
    recorded,
    state::{Intent, Stage, State},
};

impl Intent {
    /// Whether the cortex allowed it in an emergency.
    pub(super) fn is_emergency(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| origin.is_emergency())
    }
}

impl State {
    /// Whether the task belongs to an emergency.
    pub(super) fn is_of_emergency(&self, task: TaskId) -> bool {
        self.is_emergency(task.intent)
    }

    fn is_emergency(&self, id: IntentId) -> bool {
        self.intents.get(&id).is_some_and(Intent::is_emergency)
    }

    /// Whether work of an emergency is not over. Without any, nothing is to be recorded of workers either.
    pub(super) fn has_emergencies(&self) -> bool {
        !self.index.emergencies.is_empty()
    }

    /// What is due by this timer while nothing else may be recorded.
    pub(super) fn concerns_emergency(&self, timer: Timer) -> bool {
        match timer {
            Timer::Delay(task) | Timer::Lease(task) => self.is_of_emergency(task),
            Timer::Deadline(intent) => self.is_emergency(intent),
            Timer::Silence(_) => self.has_emergencies(),
        }
    }

    /// Whether this event belongs to an emergency.
    pub(super) fn belongs_to_emergency(&self, event: &Event) -> bool {
        let mut tasks: Box<dyn Iterator<Item = TaskId> + '_> = match &event.what {
            // Without its start nothing is decided here at all.
            What::Configured { .. } | What::ReserveBegun => return true,
            What::Submitted { intents } => return all_emergencies(intents),
            What::WorkerJoined { .. } | What::WorkerSeen { .. } | What::WorkerGone { .. } => {
                return self.has_emergencies();
            }
            What::IntentCancelled { intent, .. } => return self.is_emergency(*intent),
            What::DeadlinesMissed { intents } => return intents.iter().all(|id| self.is_emergency(*id)),
            What::Dispatched { to, .. } => {
                Box::new(to.iter().flat_map(|dispatch| &dispatch.tasks).map(|granted| granted.task))
            }
            What::TasksDone { by } => Box::new(by.iter().flat_map(|by| &by.tasks).map(|done| done.task)),
            What::TaskFailed { task, .. } | What::TaskRequeued { task } => Box::new(std::iter::once(*task)),
            What::LeasesExtended { tasks, .. } => Box::new(tasks.iter().map(|(task, _)| *task)),
            What::DelaysOver { tasks } => Box::new(tasks.iter().copied()),
            What::TypesDefined { .. }
            | What::AnswersRefused { .. }
            | What::TypePaused { .. }
            | What::TypeResumed { .. }
            | What::BacklogChanged { .. }
            | What::ReserveOver => return false,
        };
        tasks.all(|task| self.is_of_emergency(task))
    }

    /// The end of the reserve: it does not count against those who have plain tasks.
    pub(super) fn thaw(&mut self) {
        let Some(since) = self.base.reserve.take() else { return };
        let (gap, grace) = (self.base.now.saturating_sub(since), self.base.settings.lease_grace_ms);
        let held: Vec<TaskId> = self.index.held.values().flatten().copied().collect();
        for id in held.into_iter().filter(|id| !self.is_of_emergency(*id)).collect::<Vec<_>>() {
            if let Some(Stage::Leased { worker, until }) = self.task(id).map(|(_, task)| task.stage) {
                // One that ended in the moment before it was noted has a moment to be answered under.
                let until = until.max(since.saturating_add(grace)).saturating_add(gap);
                self.set_stage(id, Stage::Leased { worker, until });
            }
        }
    }
}

fn all_emergencies(intents: &[NewIntent]) -> bool {
    let mut before = false;
    intents.iter().all(|intent| {
        if !intent.origin_as_before {
            before = intent.origin.as_ref().is_some_and(|origin| origin.is_emergency());
        }
        before
    })
}

/// It has begun. One record, so that a restart knows since when, and people what happened to their work.
pub(super) fn begun(state: &State, at: u64) -> Option<Recorded<Event>> {
    if state.base.reserve.is_some() {
        return None;
    }
    let why = Why::because("reserve.begun", "the disk is almost full").and(
        "reserve.kept",
        "work of emergencies goes on; all other stands still, and nothing of it is lost",
    );
    Some(recorded(at, What::ReserveBegun, "htm", "the last of the disk is for emergencies", why))
}

/// It is over.
pub(super) fn over(state: &State, at: u64) -> Option<Recorded<Event>> {
    let since = state.base.reserve?;
    let why = Why::because("reserve.over", "there is room on the disk again").and(
        "reserve.time",
        format!("leases are {} ms longer, since nothing could be recorded", at.saturating_sub(since)),
    );
    Some(recorded(at, What::ReserveOver, "htm", "what stood still goes on", why))
}
