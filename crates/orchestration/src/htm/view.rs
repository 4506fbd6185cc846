//! Intents, tasks, types and workers as they are shown: the answers to queries.

use std::{collections::BTreeMap, sync::Arc};

use grace_types::reason::Reason;
use serde::{Deserialize, Serialize};

use super::{
    IntentId, TaskId,
    event::{Level, Origin},
    state::Totals,
};
use crate::intent::{Json, Priority};

/// What an intent is at, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntentState {
    /// No task has begun.
    Waiting,
    /// Tasks have begun.
    Running,
    /// It fails or is cancelled; what it did is being taken back.
    Compensating,
    /// Every task succeeded.
    Succeeded,
    /// A task failed for good.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl IntentState {
    /// Whether it has ended, one way or another.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// What a task is at, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// A compensation that is not needed so far.
    Unneeded,
    /// It waits for other tasks.
    Blocked,
    /// It waits for a time.
    Delayed,
    /// It waits for a worker.
    Waiting,
    /// A worker has it.
    Running,
    /// It succeeded.
    Succeeded,
    /// It failed for good: a dead letter.
    Dead,
    /// It was not needed any more.
    Cancelled,
}

/// An intent as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntentView {
    /// Its name.
    pub id: IntentId,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who wants it.
    pub actor: String,
    /// What it is at.
    pub state: IntentState,
    /// How urgent it is.
    pub priority: Priority,
    /// Its idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What it is about.
    pub payload: Json,
    /// When it was taken, Unix milliseconds.
    pub submitted: u64,
    /// When it counts as late, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// Whether it is late.
    pub late: bool,
    /// Why it failed or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who approved it, and what caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Arc<Origin>>,
    /// Its tasks; compensations that are not needed are left out.
    pub tasks: Vec<TaskView>,
}

/// A task as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TaskView {
    /// Its name.
    pub id: TaskId,
    /// Its name in the plan.
    pub name: String,
    /// What is to be done.
    pub kind: String,
    /// What it is at.
    pub state: TaskState,
    /// Who has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Attempts so far.
    pub attempts: u16,
    /// What came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it is tried again or its lease ends, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<u64>,
}

/// Counts, types and workers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// How much waits.
    pub level: Level,
    /// Waiting tasks, most urgent first.
    pub waiting: BTreeMap<Priority, u64>,
    /// Tasks that are not over.
    pub open: u64,
    /// Tasks with a worker.
    pub running: u64,
    /// Tasks that wait for a time.
    #[serde(default)]
    pub delayed: u64,
    /// Intents with a dead letter.
    pub dead_letters: usize,
    /// What happened since the journal was begun.
    pub totals: Totals,
    /// By name.
    pub types: BTreeMap<String, TypeView>,
    /// By name.
    pub workers: BTreeMap<String, WorkerView>,
    /// What waits for a kind or a label that no worker has.
    pub stuck: Vec<Reason>,
}

/// A type as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeView {
    /// Why nothing of it is given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// It takes no new intents.
    pub retired: bool,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The kinds of its tasks, compensations included: what its workers must offer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// Its tasks that wait for a worker.
    pub waiting: u64,
    /// Its tasks with a worker.
    pub running: u32,
    /// The most of them at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<u32>,
    /// The same of intents with the same key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_key: Option<u32>,
}

/// A worker as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Kinds of task that it can run.
    pub kinds: Vec<String>,
    /// Labels that it has.
    pub labels: Vec<String>,
    /// Tasks that it can run at a time.
    pub slots: u32,
    /// Tasks that it has.
    pub running: usize,
    /// Its last sign of life on record, Unix milliseconds.
    pub seen: u64,
    /// Tasks that succeeded with it.
    pub done: u64,
    /// Attempts that failed with it.
    pub failed: u64,
}
