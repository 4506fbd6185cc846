//! What can happen in the task manager. Each is recorded with its reasons; the state moves by these and by nothing else.
//!
//! Events are few and small: one for a batch, ids and tokens rather than copies. What follows from an event by rule (a
//! task whose last dependency succeeded may start, an intent whose last task succeeded is over) is not another event: the state
//! draws it, the same way in every replay.

use std::sync::Arc;

pub use grace_types::intent::Origin;
use serde::{Deserialize, Serialize};

use super::{Era, IntentId, TaskId, fairness::Fairness};
use crate::intent::{IntentType, Json, Priority};

/// Something that happened, and when by the task manager's own time (Unix milliseconds that no step of the wall clock moves).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: u64,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A task manager started, or its settings changed. Time in which none was there does not count against workers.
    Configured {
        /// The machine's boot, whose monotonic clock `offset` belongs to.
        boot: String,
        /// The own time minus the monotonic clock, milliseconds.
        offset: i64,
        /// Whose ids these are; the first one stays.
        era: Era,
        /// In force from now on.
        settings: Settings,
    },
    /// These types are in force; any other takes no new intents.
    TypesDefined {
        /// Those that are new or changed.
        changed: Vec<NewType>,
        /// Names of those that are no more.
        retired: Vec<String>,
    },
    /// Intents were taken.
    Submitted {
        /// In the order in which they were sent.
        intents: Vec<NewIntent>,
    },
    /// A worker offers itself. Tasks of an earlier incarnation of it go back to the queue.
    WorkerJoined {
        /// Its number among workers.
        number: u32,
        /// What it offers.
        worker: Offer,
    },
    /// A sign of life.
    WorkerSeen {
        /// Which.
        worker: u32,
    },
    /// A worker is gone; its tasks go back to the queue.
    WorkerGone {
        /// Which.
        worker: u32,
        /// Its name.
        name: String,
        /// Whether it was lost, which counts against the tasks that it had; or left.
        lost: bool,
    },
    /// Tasks were given to workers, in one decision on all that asked.
    Dispatched {
        /// One for each worker that was given something.
        to: Vec<Dispatch>,
        /// Whose turn it is after this.
        fairness: Fairness,
    },
    /// Tasks succeeded.
    TasksDone {
        /// One for each worker that says so.
        by: Vec<DoneBy>,
    },
    /// An attempt at a task failed.
    TaskFailed {
        /// Which.
        task: TaskId,
        /// Under which lease; 0 where there was none.
        token: u64,
        /// What went wrong.
        reason: String,
        /// What becomes of the task.
        next: Next,
    },
    /// Leases were made longer.
    LeasesExtended {
        /// The worker that asked.
        worker: u32,
        /// The tasks and the new ends of their leases.
        tasks: Vec<(TaskId, u64)>,
    },
    /// Answers under leases that are no more were refused.
    AnswersRefused {
        /// The worker that gave them.
        worker: u32,
        /// The tasks, the tokens given, and why not.
        answers: Vec<(TaskId, u64, String)>,
    },
    /// An intent is to end; what succeeded is compensated.
    IntentCancelled {
        /// Which.
        intent: IntentId,
        /// Why.
        reason: String,
    },
    /// A dead letter gets another chance, with fresh attempts.
    TaskRequeued {
        /// Which.
        task: TaskId,
    },
    /// The waits of these tasks are over.
    DelaysOver {
        /// Which.
        tasks: Vec<TaskId>,
    },
    /// These intents were not done by their deadlines.
    DeadlinesMissed {
        /// Which.
        intents: Vec<IntentId>,
    },
    /// No task of this type is given out.
    TypePaused {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
    /// Tasks of this type are given out again.
    TypeResumed {
        /// Which.
        name: String,
    },
    /// More or less waits than before.
    BacklogChanged {
        /// How much that is.
        level: Level,
        /// Tasks that wait.
        waiting: u64,
    },
    /// The last of the disk is kept for emergencies: all other work stands still.
    ReserveBegun,
    /// Work that stood still goes on; that time does not count against leases.
    ReserveOver,
}

impl What {
    /// Its name in subjects and types.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Configured { .. } => "configured",
            Self::TypesDefined { .. } => "types_defined",
            Self::Submitted { .. } => "submitted",
            Self::WorkerJoined { .. } => "worker_joined",
            Self::WorkerSeen { .. } => "worker_seen",
            Self::WorkerGone { .. } => "worker_gone",
            Self::Dispatched { .. } => "dispatched",
            Self::TasksDone { .. } => "tasks_done",
            Self::TaskFailed { .. } => "task_failed",
            Self::LeasesExtended { .. } => "leases_extended",
            Self::AnswersRefused { .. } => "answers_refused",
            Self::IntentCancelled { .. } => "intent_cancelled",
            Self::TaskRequeued { .. } => "task_requeued",
            Self::DelaysOver { .. } => "delays_over",
            Self::DeadlinesMissed { .. } => "deadlines_missed",
            Self::TypePaused { .. } => "type_paused",
            Self::TypeResumed { .. } => "type_resumed",
            Self::BacklogChanged { .. } => "backlog_changed",
            Self::ReserveBegun => "reserve_begun",
            Self::ReserveOver => "reserve_over",
        }
    }
}

/// What can be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Waiting tasks at which a warning is recorded.
    pub backlog_warning: u64,
    /// Waiting tasks at which intents of low priority are refused.
    pub backlog_critical: u64,
    /// Waiting tasks at which intents of normal priority are refused too.
    pub backlog_normal: u64,
    /// Tasks that are not over, past which every intent is refused.
    pub tasks: u64,
    /// A worker that has not spoken for this long is lost, milliseconds.
    pub worker_silence_ms: u64,
    /// How long a lease outlives its task's timeout, milliseconds.
    pub lease_grace_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        use crate::limits;
        Self {
            backlog_warning: limits::BACKLOG_WARNING,
            backlog_critical: limits::BACKLOG_CRITICAL,
            backlog_normal: limits::BACKLOG_NORMAL,
            tasks: limits::TASKS as u64,
            worker_silence_ms: limits::WORKER_SILENCE_MS,
            lease_grace_ms: limits::LEASE_GRACE_MS,
        }
    }
}

/// A type, as it is in force from now on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewType {
    /// The number of this definition.
    pub number: u32,
    /// The type's name.
    pub name: String,
    /// As it is written.
    pub source: IntentType,
}

/// An intent that was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewIntent {
    /// Its name.
    pub id: IntentId,
    /// The number of its type's definition.
    pub definition: u32,
    /// Who wants it.
    pub actor: String,
    /// Its idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What it is about.
    pub payload: Json,
    /// How urgent it is.
    pub priority: Priority,
    /// When it may begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    /// When it counts as late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// What it shares a cap with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<String>,
    /// Who approved it, and what caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Arc<Origin>>,
    /// It has the origin of the one before it, which is not written again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub origin_as_before: bool,
}

/// What a worker offers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Unique among workers.
    pub name: String,
    /// This run of it; another run of the same name has none of the tasks of the one before.
    pub incarnation: String,
    /// Kinds of task that it can run.
    pub kinds: Vec<String>,
    /// Labels that it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Tasks that it can run at a time.
    pub slots: u32,
}

/// A task that was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// Which.
    pub task: TaskId,
    /// The fencing token of the lease: greater than every one before.
    pub token: u64,
}

/// What a worker was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatch {
    /// Which.
    pub worker: u32,
    /// Its name.
    pub name: String,
    /// The tasks and their fencing tokens.
    pub tasks: Vec<Granted>,
    /// The worker's name for its request: asked again under it, it gets the same tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// What a worker did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DoneBy {
    /// Which.
    pub worker: u32,
    /// Its tasks.
    pub tasks: Vec<Done>,
}

/// A task that succeeded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Which.
    pub task: TaskId,
    /// Under which lease.
    pub token: u64,
    /// What came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
}

/// What becomes of a task after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// Another attempt.
    Retry {
        /// Not before.
        due: u64,
    },
    /// A dead letter; its intent fails.
    Dead,
}

/// How much waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As usual.
    #[default]
    Normal,
    /// More than usual.
    Warning,
    /// So much that intents of low priority are refused.
    Critical,
}
