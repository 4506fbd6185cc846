//! What there is, for people and for the layers above.

use std::collections::{BTreeMap, BTreeSet};

use grace_kernel::Decision;
use grace_types::reason::Reason;

use super::{
    Decided, IntentId, Refusal, Reply, TaskId,
    command::Query,
    line::Line,
    refusal,
    state::{Course, Ending, Intent, Stage, State, Task},
    submit,
    view::{IntentState, IntentView, Overview, TaskState, TaskView, TypeView, WorkerView},
};
use crate::{
    intent::{Definition, Priority},
    limits,
};

pub(super) fn query(state: &State, at: u64, query: &Query) -> Decided {
    Ok(Decision::reply(match query {
        Query::Overview => Reply::Overview(Box::new(overview(state))),
        Query::Intent(id) => Reply::Intent(Box::new(intent(state, *id)?)),
        Query::Key(key) => match state.index.keys.get(key.as_str()) {
            Some((id, _)) => Reply::Intent(Box::new(
                intent(state, *id).map_err(|e| Refusal { code: "forgotten".to_owned(), ..e })?,
            )),
            None => return Err(refusal("unknown_intent", format!("no intent has the key {key}"))),
        },
        Query::Task(id) => match state.task(*id) {
            Some((intent, task)) => Reply::Task(Box::new(task_view(state, *id, intent, task))),
            None => {
                return Err(refusal("unknown_task", format!("there is no task {id}, or it was forgotten")));
            }
        },
        Query::Intents { state: wanted, limit, before } => {
            let older = state.intents.before(*before);
            let fitting = older.filter(|(_, intent)| wanted.is_none_or(|wanted| intent.state() == wanted));
            let (intents, more) = page(fitting.map(|(id, intent)| view(state, id, intent)), *limit);
            Reply::Intents { intents, more }
        }
        Query::Check { intents } => return submit::check(state, at, intents),
        Query::DeadLetters { limit } => {
            let intents =
                state.index.dead.ids.values().rev().filter_map(|id| Some((*id, state.intents.get(id)?)));
            let dead = intents.flat_map(|(id, intent)| {
                let tasks = (0..).zip(&intent.tasks).filter(|(_, task)| task.stage == Stage::Dead);
                tasks.map(move |(n, task)| task_view(state, id.task(n), intent, task))
            });
            let (tasks, more) = page(dead, *limit);
            Reply::DeadLetters { tasks, more }
        }
    }))
}

fn intent(state: &State, id: IntentId) -> Result<IntentView, Refusal> {
    let intent = state.intents.get(&id);
    let intent = intent.map(|intent| view(state, id, intent));
    intent.ok_or_else(|| refusal("unknown_intent", format!("there is no intent {id}, or it was forgotten")))
}

/// At most `limit` rows, and whether there are more.
fn page<T>(mut rows: impl Iterator<Item = T>, limit: usize) -> (Vec<T>, bool) {
    let page = rows.by_ref().take(limit.min(limits::ROWS)).collect();
    let more = rows.next().is_some();
    (page, more)
}

/// The kinds of task that a worker must offer for it.
fn kinds(definition: &Definition) -> Vec<String> {
    let kinds: BTreeSet<&str> = definition.tasks.iter().map(|task| &*task.needs.kind).collect();
    kinds.into_iter().map(str::to_owned).collect()
}

fn overview(state: &State) -> Overview {
    let index = &state.index;
    let running = index.held.values().map(|held| held.len() as u64).sum();
    let mut waiting: BTreeMap<&str, u64> = BTreeMap::new();
    for ((name, _), lane) in &index.lanes {
        *waiting.entry(name).or_default() += lane.queues.iter().map(|queue| queue.len() as u64).sum::<u64>();
    }
    let types = state.types.iter().map(|(name, kind)| {
        let definition = state.definitions.get(&kind.definition).map(|pin| &pin.definition);
        let view = TypeView {
            paused: kind.paused.clone(),
            retired: kind.retired,
            description: definition.and_then(|definition| definition.source.description.clone()),
            kinds: definition.map(|definition| kinds(definition)).unwrap_or_default(),
            waiting: waiting.get(&**name).copied().unwrap_or(0),
            running: index.running.get(name).copied().unwrap_or(0),
            most: definition.and_then(|definition| definition.caps.most),
            per_key: definition.and_then(|d| d.caps.per_key.as_ref().map(|(most, _)| *most)),
        };
        (name.to_string(), view)
    });
    let workers = state.workers.iter().map(|(number, worker)| {
        let view = WorkerView {
            kinds: worker.kinds.iter().map(ToString::to_string).collect(),
            labels: worker.labels.iter().map(ToString::to_string).collect(),
            slots: worker.slots,
            running: index.held.get(number).map_or(0, BTreeSet::len),
            seen: worker.seen,
            done: worker.done,
            failed: worker.failed,
        };
        (worker.name.to_string(), view)
    });
    Overview {
        level: state.base.level,
        waiting: Priority::ALL.into_iter().map(|p| (p, index.waiting[p.rank()])).collect(),
        open: index.open,
        running,
        delayed: index.delayed,
        dead_letters: index.dead.ids.len(),
        totals: state.base.totals.clone(),
        types: types.collect(),
        workers: workers.collect(),
        stuck: stuck(state),
    }
}

/// What waits for something that no worker offers.
fn stuck(state: &State) -> Vec<Reason> {
    let mut waiting: BTreeMap<u32, usize> = BTreeMap::new();
    for ((_, need), lane) in &state.index.lanes {
        *waiting.entry(*need).or_default() += lane.queues.iter().map(Line::len).sum::<usize>();
    }
    let needs =
        waiting.into_iter().filter_map(|(need, tasks)| Some((state.index.needs.get(need as usize)?, tasks)));
    let alone = needs.filter(|(needs, _)| !state.workers.values().any(|worker| worker.can_run(needs)));
    alone
        .take(limits::ROWS)
        .map(|(needs, tasks)| {
            let labels: Vec<&str> = needs.labels.iter().map(|label| &**label).collect();
            let with = if labels.is_empty() { String::new() } else { format!(" with {}", labels.join(", ")) };
            let tasks = super::counted(tasks, "task");
            Reason::new("dispatch.no_worker", format!("{tasks} wait for a worker for `{}`{with}", needs.kind))
        })
        .collect()
}

fn view(state: &State, id: IntentId, intent: &Intent) -> IntentView {
    let tasks = (0..).zip(&intent.tasks).filter(|(_, task)| task.stage != Stage::Dormant);
    IntentView {
        id,
        kind: intent.pin.definition.name.to_string(),
        actor: intent.actor.to_string(),
        state: intent.state(),
        priority: intent.priority,
        key: intent.key.as_deref().map(str::to_owned),
        payload: intent.payload.clone(),
        submitted: intent.submitted,
        deadline: intent.deadline,
        late: intent.late,
        reason: intent.reason.as_deref().map(str::to_owned),
        origin: intent.origin.clone(),
        tasks: tasks.map(|(n, task)| task_view(state, id.task(n), intent, task)).collect(),
    }
}

fn task_view(state: &State, id: TaskId, intent: &Intent, task: &Task) -> TaskView {
    let spec = intent.spec(id.index);
    let (worker, due) = match task.stage {
        Stage::Leased { worker, until } => {
            (state.workers.get(&worker).map(|w| w.name.to_string()), Some(until))
        }
        Stage::Delayed(due) => (None, Some(due)),
        _ => (None, None),
    };
    TaskView {
        id,
        name: spec.map(|spec| spec.name.to_string()).unwrap_or_default(),
        kind: spec.map(|spec| spec.needs.kind.to_string()).unwrap_or_default(),
        state: task.stage.state(),
        worker,
        attempts: task.attempts,
        output: task.output.clone(),
        reason: task.reason.as_deref().map(str::to_owned),
        due,
    }
}

impl Intent {
    pub(super) fn state(&self) -> IntentState {
        match self.course {
            Course::Running if self.tasks.iter().all(|task| task.attempts == 0) => IntentState::Waiting,
            Course::Running => IntentState::Running,
            Course::Unwinding(_) | Course::Compensating(_) => IntentState::Compensating,
            Course::Over(Ending::Succeeded) => IntentState::Succeeded,
            Course::Over(Ending::Failed) => IntentState::Failed,
            Course::Over(Ending::Cancelled) => IntentState::Cancelled,
        }
    }
}

impl Stage {
    pub(super) const fn state(self) -> TaskState {
        match self {
            Self::Dormant => TaskState::Unneeded,
            Self::Blocked(_) => TaskState::Blocked,
            Self::Delayed(_) => TaskState::Delayed,
            Self::Waiting => TaskState::Waiting,
            Self::Leased { .. } => TaskState::Running,
            Self::Succeeded(_) => TaskState::Succeeded,
            Self::Dead => TaskState::Dead,
            Self::Cancelled => TaskState::Cancelled,
        }
    }
}

impl IntentState {
    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl TaskState {
    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unneeded => "not needed",
            Self::Blocked => "blocked",
            Self::Delayed => "delayed",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}
