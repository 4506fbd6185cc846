//! Everything that the task manager knows: intents with their tasks, types, workers. What can be found from that by rule is in
//! the index and is not stored.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    Era, IntentId, TaskId,
    event::{Granted, Level, Origin, Settings},
    fairness::Fairness,
    index::Index,
    intents::Intents,
};
use crate::intent::{Definition, Json, Priority, TaskSpec};

/// The task manager's state.
#[derive(Debug, Default)]
pub struct State {
    pub(super) base: Base,
    pub(super) types: BTreeMap<Arc<str>, Type>,
    /// Every definition that is in force or that an intent still has.
    pub(super) definitions: BTreeMap<u32, Arc<Pinned>>,
    pub(super) intents: Intents,
    pub(super) workers: BTreeMap<u32, Worker>,
    /// Keys of intents that were forgotten, oldest first.
    pub(super) past: VecDeque<PastKey>,
    pub(super) index: Index,
}

/// Single values.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Base {
    /// When the last event was; the own time, Unix milliseconds.
    pub(super) now: u64,
    pub(super) boot: String,
    /// The own time minus the monotonic clock, milliseconds; unknown before the first start.
    pub(super) offset: Option<i64>,
    pub(super) era: Era,
    pub(super) settings: Settings,
    pub(super) next_intent: u64,
    /// Tasks that came into the queue so far.
    pub(super) next_place: u64,
    /// The greatest fencing token given.
    pub(super) last_token: u64,
    pub(super) next_worker: u32,
    pub(super) next_definition: u32,
    /// Intents that are over, ever.
    pub(super) ended: u64,
    pub(super) fairness: Fairness,
    pub(super) level: Level,
    pub(super) totals: Totals,
    /// Since when the last of the disk is kept for emergencies, as far as is on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reserve: Option<u64>,
}

/// What happened since the journal was begun.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Intents taken.
    pub submitted: u64,
    /// Intents that succeeded.
    pub succeeded: u64,
    /// Intents that failed.
    pub failed: u64,
    /// Intents that were cancelled.
    pub cancelled: u64,
    /// Intents that were late.
    pub deadlines_missed: u64,
    /// Tasks given to workers.
    pub dispatched: u64,
    /// Attempts that failed.
    pub attempts_failed: u64,
    /// Leases that ended because the worker was lost.
    pub leases_lost: u64,
    /// Answers refused, as far as they are on record.
    pub answers_refused: u64,
}

/// A type of intents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Type {
    /// The definition in force.
    pub(super) definition: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) retired: bool,
    /// Why nothing of it is given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) paused: Option<String>,
    /// When the next start is due at an even rate, nanoseconds of the own time (GCRA's theoretical arrival time).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) arrival_ns: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A definition, and where its tasks queue.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) number: u32,
    pub(super) definition: Arc<Definition>,
    /// For each task, the number of what it needs of a worker.
    pub(super) needs: Vec<u32>,
}

/// What was asked for, and how far it is.
#[derive(Debug, Clone)]
pub(super) struct Intent {
    pub(super) pin: Arc<Pinned>,
    pub(super) actor: Arc<str>,
    pub(super) key: Option<Arc<str>>,
    pub(super) payload: Json,
    pub(super) priority: Priority,
    pub(super) submitted: u64,
    pub(super) deadline: Option<u64>,
    pub(super) late: bool,
    pub(super) shares: Option<Arc<str>>,
    /// Shared by those that were approved together.
    pub(super) origin: Option<Arc<Origin>>,
    pub(super) course: Course,
    /// Why it failed or was cancelled.
    pub(super) reason: Option<Box<str>>,
    /// Tasks of the plan that have not succeeded.
    pub(super) open: u16,
    /// Tasks with a worker.
    pub(super) leased: u16,
    /// Tasks of the plan that succeeded so far, for their order.
    pub(super) done: u16,
    /// Its place among those that are over; 0 before.
    pub(super) ended: u64,
    pub(super) tasks: Box<[Task]>,
}

/// How far an intent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Course {
    /// Its tasks wait or run.
    Running,
    /// It will end so; tasks that workers have are still awaited.
    Unwinding(Ending),
    /// It will end so; what succeeded is taken back, last first.
    Compensating(Ending),
    /// It is over.
    Over(Ending),
}

/// How an intent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Every task succeeded.
    Succeeded,
    /// A task failed for good.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

/// One task of an intent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) stage: Stage,
    /// Its place in the queue; lower is earlier.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) place: u64,
    /// The last lease's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) token: u64,
    /// Leases so far.
    #[serde(default)]
    pub(super) attempts: u16,
    /// Leases of them that ended with their worker.
    #[serde(default)]
    pub(super) losses: u16,
    /// What came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<Json>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<Box<str>>,
}

/// Where a task is. One of the last three is its end, but for a retry of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// A compensation that is not needed so far.
    Dormant,
    /// Waits for other tasks: how many.
    Blocked(u16),
    /// Waits for a time.
    Delayed(u64),
    /// Waits for a worker.
    Waiting,
    /// A worker has it until then.
    Leased { worker: u32, until: u64 },
    /// It succeeded, as the how manieth of its intent.
    Succeeded(u16),
    /// It failed for good.
    Dead,
    /// It was not needed any more.
    Cancelled,
}

/// Somebody who runs tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Worker {
    pub(super) name: Arc<str>,
    pub(super) incarnation: String,
    pub(super) kinds: BTreeSet<Arc<str>>,
    pub(super) labels: BTreeSet<Arc<str>>,
    pub(super) slots: u32,
    pub(super) joined: u64,
    /// Its last sign of life on record.
    pub(super) seen: u64,
    /// The name of its last request, and what it was given for it.
    pub(super) request: Option<Box<str>>,
    pub(super) granted: Vec<Granted>,
    /// When a refused answer of it was last recorded.
    pub(super) refused: u64,
    pub(super) done: u64,
    pub(super) failed: u64,
}

/// The key of an intent that was forgotten.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PastKey(pub(super) Arc<str>, pub(super) IntentId, pub(super) u64);

impl Intent {
    pub(super) fn spec(&self, index: u16) -> Option<&TaskSpec> {
        self.pin.definition.task(index)
    }

    pub(super) fn priority_of(&self, index: u16) -> Priority {
        self.spec(index).and_then(|spec| spec.priority).unwrap_or(self.priority)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.course, Course::Over(_))
    }

    /// Bytes that it holds beside its own size.
    pub(super) fn bytes(&self) -> usize {
        let outputs = self.tasks.iter().filter_map(|task| task.output.as_ref()).map(Json::len);
        256 + self.payload.len() + outputs.sum::<usize>()
    }

    /// What identifies its content: a key that comes back with another one is a mistake of the sender's.
    pub(super) fn fingerprint(&self) -> u64 {
        fingerprint(&self.pin.definition.name, &self.actor, self.payload.text())
    }
}

/// FNV-1a (Fowler, Noll, Vo): the same for ever, and it guards against mistakes only.
pub(super) fn fingerprint(kind: &str, actor: &str, payload: &str) -> u64 {
    let parts = [kind.as_bytes(), &[0], actor.as_bytes(), &[0], payload.as_bytes()];
    parts.into_iter().flatten().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl State {
    pub(super) fn task(&self, id: TaskId) -> Option<(&Intent, &Task)> {
        let intent = self.intents.get(&id.intent)?;
        Some((intent, intent.tasks.get(usize::from(id.index))?))
    }

    pub(super) fn task_mut(&mut self, id: TaskId) -> Option<(&mut Intent, usize)> {
        let intent = self.intents.get_mut(&id.intent)?;
        let index = usize::from(id.index);
        (index < intent.tasks.len()).then_some((intent, index))
    }

    pub(super) fn worker_named(&self, name: &str) -> Option<(u32, &Worker)> {
        let number = *self.index.names.get(name)?;
        self.workers.get(&number).map(|worker| (number, worker))
    }

    /// Tasks that wait for a worker.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.index.waiting.iter().sum()
    }

    /// Tasks that are not over.
    #[must_use]
    pub const fn open_tasks(&self) -> u64 {
        self.index.open
    }

    /// What happened since the journal was begun.
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.base.totals
    }
}
