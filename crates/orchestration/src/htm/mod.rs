//! The hierarchical task manager: intents become trees of durable tasks, workers run them, and every dispatch says why.
//!
//! ```text
//! submit ─► intent ─► tasks: blocked ─► waiting (by priority) ─ lease ─► leased ─ answer ─► succeeded ─► next tasks
//!                                ▲           ▲ fairness, caps, rate        │  └ failed ─► delayed (back-off) or dead letter
//!                                └ delayed ──┴───── worker lost, lease over ┘
//! ```
//!
//! A pure decider: commands in ([`command`]), events out ([`event`]), and the state moves by events alone ([`state`], `evolve`,
//! `tree`, with what can be found by rule in `index`). What it rests on:
//!
//! - A lease carries a fencing token, greater than every one before. An answer counts only under the lease's token, from its worker,
//!   before its end; the same answer again is taken again; anything else is refused with the reason.
//! - An intent that was accepted is never dropped. Above the bounds, new ones are refused, low priority first.
//! - Time is the task manager's own: Unix milliseconds at its first start, moved on by the monotonic clock, and by the
//!   wall clock only over a boot of the machine. A step of the wall clock neither fires nor loses anything.
//! - While the last of the disk is kept for emergencies, work of emergencies goes on and all other stands still (`reserve`).
//! - There may be several task managers: ids carry their era, and nothing here knows the others.
//!
//! What the shell does: `configure` and `define` at the start; a `tick` whenever [`State::next_due_ms`] says so, and at least every
//! second; collects the asks of workers that wait and repeats them as one `lease` when [`Effect::Ready`] comes; counts
//! refusals: `shell` and `desk` are that. Not here: approval (intents come approved, from the cortex), and running tasks (workers).

mod answers;
pub mod command;
mod control;
pub mod desk;
mod dispatch;
pub mod event;
mod evolve;
pub mod fairness;
mod index;
mod intents;
mod line;
mod query;
mod reserve;
mod saved;
pub mod shell;
pub mod state;
mod submit;
#[cfg(test)]
mod tests;
mod tick;
mod tree;
pub mod view;
mod workers;

use grace_kernel::{Decider, Decision, Recorded, Room};
use grace_types::{
    reason::Why,
    time::{Monotonic, Now},
};

use self::event::What;
pub use self::{
    command::{Command, Refusal, Reply},
    event::{Event, Granted},
    state::{Course, Ending, State},
};
pub use grace_types::intent::{BadId, Era, IntentId, Json, TaskId};

/// The decider.
#[derive(Debug)]
pub enum Htm {}

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Tasks wait: repeat the asks of the workers that wait.
    Ready,
    /// An intent is over: tell whoever waits for it.
    Ended {
        /// Which.
        intent: IntentId,
        /// How.
        ending: Ending,
    },
    /// A worker need not go on with a task: tell it, if it can be told before its next sign of life.
    Stop {
        /// Its name.
        worker: String,
        /// Which, and under which lease.
        granted: Granted,
    },
}

type Decided = Result<Decision<Htm>, Refusal>;

impl Decider for Htm {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;
    type Refusal = Refusal;
    type Effect = Effect;

    fn decide(state: &State, now: Now, command: &Command) -> Decision<Self> {
        decide(state, now, command, Room::Enough).unwrap_or_else(Decision::refuse)
    }

    fn decide_in_reserve(state: &State, now: Now, command: &Command) -> Decision<Self> {
        decide(state, now, command, Room::Reserve).unwrap_or_else(Decision::refuse)
    }

    fn is_for_emergency(state: &State, event: &Recorded<Event>, _: &[Recorded<Event>]) -> bool {
        state.belongs_to_emergency(event.event())
    }

    fn evolve(state: &mut State, event: &Event) {
        state.take(event);
    }

    fn effects(state: &State, record: &Recorded<Event>) -> Vec<Effect> {
        let mut effects: Vec<Effect> =
            state.index.just_ended.iter().map(|&(intent, ending)| Effect::Ended { intent, ending }).collect();
        let stopped = match &record.event().what {
            What::IntentCancelled { intent, .. } => Some(*intent),
            What::TaskFailed { task, next: event::Next::Dead, .. } => Some(task.intent),
            _ => None,
        };
        effects.extend(stopped.into_iter().flat_map(|intent| state.unneeded(intent)));
        // A dispatch makes nothing ready, and neither does what only keeps a lease alive.
        let quiet = matches!(
            record.event().what,
            What::Dispatched { .. }
                | What::WorkerSeen { .. }
                | What::LeasesExtended { .. }
                | What::AnswersRefused { .. }
                | What::DeadlinesMissed { .. }
                | What::BacklogChanged { .. }
                | What::ReserveBegun
        );
        if !quiet && state.waiting() > 0 {
            effects.push(Effect::Ready);
        }
        effects
    }

    fn outstanding(state: &State) -> Vec<Effect> {
        if state.waiting() > 0 { vec![Effect::Ready] } else { Vec::new() }
    }

    fn what(event: &Event) -> &'static str {
        event.what.name()
    }
}

fn decide(state: &State, now: Now, command: &Command, room: Room) -> Decided {
    let at = state.time(now);
    if let Command::Configure { boot, era, settings } = command {
        return Ok(control::configure(state, now, boot, *era, settings));
    }
    if state.base.offset.is_none() {
        return Err(refusal("not_configured", "the task manager has not been configured"));
    }
    match command {
        Command::Configure { .. } => Err(refusal("bad_request", "configured twice")),
        Command::Define { types } => control::define(state, at, types),
        Command::Submit { intents } => submit::submit(state, at, intents, room),
        Command::Register(offer) => workers::register(state, at, offer),
        Command::Leave { worker } => workers::gone(state, at, worker, None),
        Command::Lost { worker, reason } => workers::gone(state, at, worker, Some(reason)),
        Command::Beat { worker, remembered } => workers::beat(state, at, worker, *remembered),
        Command::Lease { asks } => dispatch::lease(state, at, asks, room),
        Command::Answer { worker, answers, chance } => {
            answers::answer(state, at, worker, answers, (*chance, room))
        }
        Command::Turn { turns, chance } => answers::turn(state, at, turns, (*chance, room)),
        Command::Extend { worker, tasks } => answers::extend(state, at, worker, tasks, room),
        Command::Cancel { intent, reason } => control::cancel(state, at, *intent, reason),
        Command::Retry { task, reason } => control::retry(state, at, *task, reason),
        Command::Pause { name, reason } => control::pause(state, at, name, reason),
        Command::Resume { name, reason } => control::resume(state, at, name, reason),
        Command::Tick { chance, heard } => Ok(tick::tick(state, at, *chance, heard, room)),
        Command::Query(query) => query::query(state, at, query),
    }
}

impl State {
    /// The own time, milliseconds. It never goes back.
    fn time(&self, now: Now) -> u64 {
        let own = self.base.offset.map_or(0, |offset| millis(now.mono).saturating_add(offset));
        self.base.now.max(u64::try_from(own).unwrap_or(0))
    }

    /// Milliseconds until something is due by time, when a `tick` is wanted; nothing is due while this is `None`.
    #[must_use]
    pub fn next_due_ms(&self, now: Now) -> Option<u64> {
        self.index.timers.first().map(|(due, _)| due.saturating_sub(self.time(now)))
    }

    /// Leases of an intent that is to end, which need not be gone on with.
    fn unneeded(&self, id: IntentId) -> Vec<Effect> {
        let Some(intent) = self.intents.get(&id) else { return Vec::new() };
        if !matches!(intent.course, Course::Unwinding(_)) {
            return Vec::new();
        }
        let tasks = (0..).zip(&intent.tasks);
        tasks
            .filter_map(|(n, task)| {
                let state::Stage::Leased { worker, .. } = task.stage else { return None };
                let worker = self.workers.get(&worker)?.name.to_string();
                Some(Effect::Stop { worker, granted: Granted { task: id.task(n), token: task.token } })
            })
            .collect()
    }
}

fn millis(mono: Monotonic) -> i64 {
    i64::try_from(mono.as_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

fn refusal(code: &str, message: impl Into<String>) -> Refusal {
    Refusal { code: code.to_owned(), message: message.into() }
}

/// An event with its reasons. `how` is the rule that chose.
fn recorded(at: u64, what: What, place: impl Into<String>, how: &str, why: Why) -> Recorded<Event> {
    Recorded::new(Event { at, what }, place, how, why)
}

/// What people wrote, cut to what is kept.
fn cut(text: &str) -> String {
    let most = crate::limits::REASON_CHARS;
    let mut cut: String = text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        cut.push('…');
    }
    cut
}

/// `1 task`, `2 tasks`.
fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
