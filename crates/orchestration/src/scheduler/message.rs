//! What the scheduler can be asked, what can happen, and what it answers.

use std::{collections::BTreeMap, fmt};

use grace_types::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    occurrence::{Next, Nominal},
    schedule::Schedule,
    state::Late,
};
use crate::{
    clockwork::Passed,
    delivery::{
        action::Fault,
        happening::Happening,
        lane::DeadLetter,
        overview::Overview,
        step::{Report, Step},
    },
    expression::short,
    steady::Began,
};

/// What the scheduler can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Command {
    /// A process takes over. Before everything else.
    Begin {
        /// The machine's boot id.
        boot: String,
    },
    /// This schedule is there from now on; it replaces the one of that name. The same one again changes nothing.
    Put {
        /// Its name.
        name: String,
        /// What it is.
        schedule: Box<Schedule>,
        /// For the jitter.
        chance: u64,
    },
    /// These are declared in the manifest. One that was declared before and is not any more is removed; those that were put stay.
    Declare {
        /// By name.
        schedules: BTreeMap<String, Schedule>,
        /// For the jitter.
        chance: u64,
    },
    /// This schedule is there no longer, nor what waits to be delivered for it.
    Remove {
        /// Its name.
        name: String,
    },
    /// It is not to fire until it is resumed.
    Pause {
        /// Its name.
        name: String,
    },
    /// It is to fire again.
    Resume {
        /// Its name.
        name: String,
        /// For the jitter.
        chance: u64,
    },
    /// It is to fire now, beside its times, paused or not.
    RunNow {
        /// Its name.
        name: String,
        /// For ids.
        chance: u64,
    },
    /// Time has passed.
    Tick {
        /// For ids and jitter.
        chance: u64,
    },
    /// This became of deliveries.
    Settle {
        /// At most [`crate::limits::EVENTS`].
        reports: Vec<Report>,
        /// For the times of retries.
        chance: u64,
    },
    /// The intents of these firings have ended, however. Their keys.
    Ended {
        /// Which.
        keys: Vec<String>,
    },
    /// Which firings run, as far as is known: those of schedules that do not allow overlap.
    Running,
    /// Dead letters are to be tried again.
    Requeue {
        /// Whose.
        name: String,
        /// Which; all where it is left out.
        keys: Option<Vec<String>>,
    },
    /// Dead letters are to be thrown away.
    Discard {
        /// Whose.
        name: String,
        /// Which; all where it is left out.
        keys: Option<Vec<String>>,
    },
    /// Schedules in short, by name, at most [`crate::limits::ROWS`].
    List {
        /// After this name.
        after: Option<String>,
    },
    /// One schedule, with its next times.
    Show {
        /// Its name.
        name: String,
        /// How many times.
        times: usize,
    },
    /// All of it in numbers.
    Overview,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The line of time goes on in another boot.
    Began(Began),
    /// A schedule was added, or replaced.
    Put {
        /// Its name.
        name: String,
        /// What it is.
        schedule: Box<Schedule>,
        /// Which of that name it is: no two ever have the same.
        generation: u32,
        /// Its first occurrence.
        next: Option<Next>,
        /// When, steady milliseconds.
        at_ms: u64,
        /// When, by the wall clock, milliseconds.
        wall_ms: u64,
        /// Whether the manifest declares it.
        #[serde(default)]
        declared: bool,
    },
    /// A schedule was removed.
    Removed {
        /// Its name.
        name: String,
    },
    /// A schedule was paused.
    Paused {
        /// Its name.
        name: String,
    },
    /// A schedule goes on.
    Resumed {
        /// Its name.
        name: String,
        /// Its first occurrence from now on.
        next: Option<Next>,
    },
    /// An occurrence fired.
    Fired {
        /// Whose.
        name: String,
        /// Which.
        nominal: Nominal,
        /// What made it fire.
        origin: Origin,
        /// How late it is, milliseconds.
        late_ms: u64,
        /// Its delivery.
        step: Box<Step>,
        /// When, steady milliseconds.
        at_ms: u64,
        /// When, by the wall clock, milliseconds.
        wall_ms: u64,
    },
    /// Occurrences were too late, and do nothing.
    Misfired {
        /// Whose.
        name: String,
        /// The first of them.
        first: Nominal,
        /// The last of them that was counted.
        last: Nominal,
        /// How many were counted.
        count: u64,
        /// Whether there were more, not counted, up to the first that is not late.
        more: bool,
        /// The occurrence after them.
        next: Option<Next>,
    },
    /// An occurrence did nothing.
    Skipped {
        /// Whose.
        name: String,
        /// Which.
        nominal: Nominal,
        /// Why.
        reason: String,
        /// What made it due.
        origin: Origin,
    },
    /// An occurrence is held until the one before has ended.
    Held {
        /// Whose.
        name: String,
        /// Which.
        nominal: Nominal,
        /// The occurrence after it.
        next: Option<Next>,
    },
    /// A firing's intent has ended.
    Ended {
        /// Whose.
        name: String,
        /// The firing's key.
        key: String,
    },
    /// Deliveries went on.
    Delivery(Happening),
}

/// What made an occurrence fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Origin {
    /// Its time came.
    Time {
        /// The occurrence after it.
        next: Option<Next>,
    },
    /// It was held, and the one before has ended.
    Held,
    /// Somebody asked for it.
    Asked,
}

/// What the scheduler answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Done.
    Done,
    /// The firing's key.
    Running {
        /// Under which the intent is submitted.
        key: String,
    },
    /// What fired.
    Ticked {
        /// Occurrences that fired.
        fired: usize,
        /// Whether more may be due already, and when something is due.
        #[serde(flatten)]
        passed: Passed,
    },
    /// Keys of firings that run.
    Firings {
        /// Of each its key.
        keys: Vec<String>,
    },
    /// Schedules in short.
    Schedules {
        /// By name.
        rows: Vec<Row>,
        /// Whether there are more.
        more: bool,
    },
    /// One schedule.
    Schedule {
        /// In short.
        row: Row,
        /// As it was given.
        schedule: Box<Schedule>,
        /// Its next times, as far as the wall clock does not step.
        times: Vec<Timestamp>,
        /// Oldest first.
        dead_letters: Vec<DeadLetter>,
    },
    /// So many dead letters.
    Letters {
        /// How many.
        count: usize,
    },
    /// All of it in numbers.
    Overview {
        /// Schedules and their deliveries.
        overview: Overview,
        /// What did not happen when it was due.
        late: Late,
    },
}

/// A schedule in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// `waiting`, `paused` or `ended`.
    pub state: String,
    /// Whether the manifest declares it.
    #[serde(default)]
    pub declared: bool,
    /// The next time, jitter included.
    pub next: Option<Timestamp>,
    /// The last firing.
    pub last: Option<Timestamp>,
    /// Firings.
    pub fired: u64,
    /// Occurrences that were too late.
    pub misfired: u64,
    /// Occurrences that were skipped.
    pub skipped: u64,
    /// The key of the firing that runs, where overlap matters.
    pub running: Option<String>,
    /// Dead letters.
    pub dead: usize,
}

/// What the scheduler refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    /// There is no such schedule.
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// It is declared in the manifest, and changed there.
    Declared {
        /// Which.
        name: String,
    },
    /// The schedule cannot be used.
    Invalid {
        /// Everything that is wrong with it.
        faults: Vec<Fault>,
    },
    /// There are too many.
    Full {
        /// Of what, and how many are taken.
        reason: String,
    },
    /// It cannot be run now.
    Blocked {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(f, "there is no schedule `{}`", short(name)),
            Self::Declared { name } => {
                write!(f, "the schedule `{}` is declared in the manifest: change it there", short(name))
            }
            Self::Invalid { faults } => {
                let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
                f.write_str(&all.join("; "))
            }
            Self::Full { reason } | Self::Blocked { reason } => f.write_str(reason),
        }
    }
}
