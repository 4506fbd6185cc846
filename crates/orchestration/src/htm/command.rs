//! What the task manager can be asked, and what it answers: the JSON that travels.
//!
//! A worker in any language needs four of these: `register` once, then `lease`, `answer` and (between them) `beat`:
//!
//! ```json
//! {"register": {"name": "py-1", "incarnation": "7f3a", "kinds": ["resize"], "slots": 4}}
//!     → {"registered": {"beat_ms": 5000}}
//! {"lease": {"asks": [{"worker": "py-1", "max": 4, "request": "1"}]}}
//!     → {"leased": {"grants": [{"worker": "py-1", "tasks": [{"task": "tsk_3xq7k-42.0", "token": 17, "kind": "resize",
//!                  "input": {…}, "attempt": 1, "timeout_ms": 30000, …}]}], "wake_ms": null}}
//! {"answer": {"worker": "py-1", "answers": [{"task": "tsk_3xq7k-42.0", "token": 17, "output": {…}},
//!                                           {"task": "tsk_3xq7k-43.0", "token": 18, "failed": "no such file", "retry": false}]}}
//!     → {"answered": {"verdicts": ["taken", "taken"]}}
//! {"turn": {"turns": [{"worker": "py-1", "answers": [{"task": "tsk_3xq7k-44.0", "token": 19}], "next": {"worker": "py-1", "max": 1, "request": "2"}}]}}
//!     → {"turned": {"turns": [{"verdicts": ["taken"], "tasks": [{"task": "tsk_3xq7k-45.0", …}]}]}}
//! {"beat": {"worker": "py-1"}}
//!     → {"beaten": {"stop": [{"task": "tsk_3xq7k-40.0", "token": 11}], "beat_ms": 5000}}
//! ```
//!
//! A `turn` is an answer and a lease in one, for workers in a hurry: it tells what was done and takes what there is, and does not wait
//! where there is nothing.
//!
//! Every one of them may be sent again when its answer was lost: a `lease` under the same `request` gets the same tasks, an answer
//! that was taken is taken again. An answer under a lease that is no more is refused with the reason, and changes nothing. A verdict
//! `{"later": "disk_reserve: …"}` says that the disk is almost full: answer again until there is room.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

pub use grace_types::intent::{Refused, Submission, Submitted, asked::Refusal};
use grace_types::trace::TraceContext;
use serde::{Deserialize, Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

use super::{
    Era, IntentId, TaskId,
    event::{Granted, Offer, Origin, Settings},
    view::{IntentState, IntentView, Overview, TaskView},
};
use crate::intent::{IntentType, Json};

/// What it can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// A task manager has started. The first command after every start.
    Configure {
        /// The machine's boot id.
        boot: String,
        /// Random bits; only the first ever count.
        era: Era,
        /// In force from now on.
        #[serde(default)]
        settings: Settings,
    },
    /// These types are in force; others take no new intents.
    Define {
        /// By name.
        types: BTreeMap<String, IntentType>,
    },
    /// Intents, approved already.
    Submit {
        /// At most [`crate::limits::BATCH`].
        intents: Vec<Submission>,
    },
    /// A worker offers itself.
    Register(Offer),
    /// A worker goes in good order.
    Leave {
        /// Its name.
        worker: String,
    },
    /// A worker is known to be dead.
    Lost {
        /// Its name.
        worker: String,
        /// How that is known.
        reason: String,
    },
    /// A sign of life.
    Beat {
        /// The worker's name.
        worker: String,
        /// The shell keeps it in memory and tells it with each tick: it is not recorded. Nobody says so from outside.
        #[serde(skip)]
        remembered: bool,
    },
    /// Workers want tasks. All that ask at the moment are best put into one command: the least loaded is served first.
    Lease {
        /// One for each worker.
        asks: Vec<Ask>,
    },
    /// What became of tasks.
    Answer {
        /// The worker's name.
        worker: String,
        /// At most [`crate::limits::BATCH`].
        answers: Vec<TaskAnswer>,
        /// Random bits for the jitter of retries.
        #[serde(default)]
        chance: u64,
    },
    /// The same from workers that speak at the same time. What each wants `next` is asked for by a `lease` right behind it.
    Turn {
        /// One for each worker.
        turns: Vec<Turn>,
        /// Random bits for the jitter of retries.
        #[serde(default)]
        chance: u64,
    },
    /// A worker needs longer for tasks: each gets its timeout anew.
    Extend {
        /// The worker's name.
        worker: String,
        /// At most [`crate::limits::BATCH`].
        tasks: Vec<Granted>,
    },
    /// An intent is to end; what succeeded is compensated.
    Cancel {
        /// Which.
        intent: IntentId,
        /// Why.
        reason: String,
    },
    /// A dead letter gets another chance.
    Retry {
        /// Which.
        task: TaskId,
        /// Why.
        reason: String,
    },
    /// Gives out no task of a type until it is resumed.
    Pause {
        /// The type's name.
        name: String,
        /// Why.
        reason: String,
    },
    /// See `pause`.
    Resume {
        /// The type's name.
        name: String,
        /// Why.
        reason: String,
    },
    /// Time has passed.
    Tick {
        /// Random bits for the jitter of retries.
        chance: u64,
        /// Workers that the shell has heard of late, each with the milliseconds since: signs of life that are not recorded.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        heard: BTreeMap<String, u64>,
    },
    /// What there is. Changes nothing.
    Query(Query),
}

/// A worker that wants tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Its name.
    pub worker: String,
    /// At most so many; its free slots bound them too.
    pub max: u32,
    /// The worker's name for this request: sent again under it, it gets the same tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// What one worker says of its tasks, and what it wants next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Its name.
    pub worker: String,
    /// At most [`crate::limits::BATCH`].
    pub answers: Vec<TaskAnswer>,
    /// What it wants next, if there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Ask>,
}

/// What became of a task: done, unless `failed` says why not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskAnswer {
    /// Which.
    pub task: TaskId,
    /// The lease's.
    pub token: u64,
    /// What came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Whether another attempt makes sense; `true` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<bool>,
}

/// What can be looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// Counts, types and workers.
    Overview,
    /// One intent with its tasks.
    Intent(IntentId),
    /// The intent that was submitted under this key. One that has ended and was forgotten is refused as `forgotten`.
    Key(String),
    /// One task.
    Task(TaskId),
    /// Intents, newest first.
    Intents {
        /// Only those at this state.
        #[serde(default)]
        state: Option<IntentState>,
        /// At most so many, and at most [`crate::limits::ROWS`].
        limit: usize,
        /// Only older ones, for the next page.
        #[serde(default)]
        before: Option<IntentId>,
    },
    /// Whether these would be taken if they were submitted now, one by one. Changes nothing.
    Check {
        /// At most [`crate::limits::BATCH`].
        intents: Vec<Submission>,
    },
    /// Tasks that failed for good, newest first.
    DeadLetters {
        /// At most so many, and at most [`crate::limits::ROWS`].
        limit: usize,
    },
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is in force.
    Configured,
    /// Types that are new or changed.
    Defined {
        /// By name.
        changed: Vec<String>,
    },
    /// One for each intent, in their order.
    Submitted {
        /// Taken, or not.
        results: Vec<Submitted>,
    },
    /// The worker is known.
    Registered {
        /// How often it is to give a sign of life, milliseconds.
        beat_ms: u64,
    },
    /// The worker is gone.
    Gone {
        /// Tasks that it had.
        tasks: usize,
    },
    /// The sign of life was heard.
    Beaten {
        /// Tasks that it need not go on with.
        stop: Vec<Granted>,
        /// How often it is to give a sign of life, milliseconds.
        beat_ms: u64,
    },
    /// One for each ask, in their order.
    Leased {
        /// What each is given.
        grants: Vec<Grants>,
        /// When waiting tasks that a rate holds back may start, milliseconds from now.
        wake_ms: Option<u64>,
    },
    /// One for each answer or extension, in their order.
    Answered {
        /// Taken, or not.
        verdicts: Vec<Verdict>,
    },
    /// One for each turn, in their order.
    Turned {
        /// What became of each.
        turns: Vec<Turned>,
    },
    /// The intent ends.
    Cancelled {
        /// What it is at now.
        state: IntentState,
    },
    /// The task waits again.
    Retried,
    /// The type is paused or resumed, or was before.
    Switched,
    /// What was due is done.
    Ticked {
        /// More is due at once.
        more: bool,
        /// When something is due next, milliseconds from now.
        next_ms: Option<u64>,
    },
    /// Counts, types and workers.
    Overview(Box<Overview>),
    /// One intent.
    Intent(Box<IntentView>),
    /// One task.
    Task(Box<TaskView>),
    /// Intents.
    Intents {
        /// Newest first.
        intents: Vec<IntentView>,
        /// There are more.
        more: bool,
    },
    /// What would become of each, in their order; the ids are given anew when they are submitted.
    Checked {
        /// Taken, or not.
        results: Vec<Submitted>,
    },
    /// Dead letters.
    DeadLetters {
        /// Newest first.
        tasks: Vec<TaskView>,
        /// There are more.
        more: bool,
    },
}

/// What became of a turn.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Turned {
    /// One for each answer, in their order.
    pub verdicts: Vec<Verdict>,
    /// The worker's next tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<Lease>,
    /// Why nothing of it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

/// What a worker is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grants {
    /// Its name.
    pub worker: String,
    /// Its tasks.
    pub tasks: Vec<Lease>,
    /// Why there can be none: `unknown_worker` asks it to register.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A task that a worker has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// Which.
    pub task: TaskId,
    /// The fencing token: greater than every one before. It goes with the answer, and with what the task does elsewhere.
    pub token: u64,
    /// What it belongs to.
    pub intent: IntentId,
    /// The intent's type.
    #[serde(rename = "type")]
    pub intent_type: Arc<str>,
    /// The task's name in the plan.
    pub name: Arc<str>,
    /// What is to be done.
    pub kind: Arc<str>,
    /// With what.
    pub input: Json,
    /// Who wants it.
    pub actor: Arc<str>,
    /// The how manieth attempt, from 1.
    pub attempt: u16,
    /// How long it may take. The lease ends a little later.
    pub timeout_ms: u64,
    /// Who approved the intent, and what caused it.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "shared_origin")]
    pub origin: Option<Arc<Origin>>,
}

/// Writes an origin as it was written last where it is the same one: intents that were asked for together share theirs, and it is half of a lease.
fn shared_origin<S: Serializer>(origin: &Option<Arc<Origin>>, to: S) -> Result<S::Ok, S::Error> {
    thread_local! {
        // Holds the origin too, so that no other one can lie at its place.
        static LAST: RefCell<Option<(Arc<Origin>, Box<RawValue>)>> = const { RefCell::new(None) };
    }
    let Some(origin) = origin else { return to.serialize_none() };
    LAST.with_borrow_mut(|last| match last {
        Some((before, text)) if Arc::ptr_eq(before, origin) => text.serialize(to),
        _ => {
            let text = serde_json::value::to_raw_value(origin).map_err(S::Error::custom)?;
            let done = text.serialize(to);
            *last = Some((Arc::clone(origin), text));
            done
        }
    })
}

impl Lease {
    /// The trace context under which the task runs, where its intent was set off under one: what it does elsewhere belongs to it.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        let above: TraceContext = self.origin.as_ref()?.traceparent.as_deref()?.parse().ok()?;
        Some(above.of_task(&self.intent.to_string(), &self.task.to_string(), self.token))
    }
}

/// What became of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It counts, now or since it was given first.
    Taken,
    /// It does not count; why.
    Refused(String),
    /// It cannot be put on record now: to be given again, as it is. The lease does not end meanwhile.
    Later(String),
}
