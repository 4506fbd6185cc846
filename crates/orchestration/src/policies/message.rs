//! What the event policy engine can be asked, what can happen, and what it answers.

use std::{collections::BTreeMap, fmt};

use grace_types::{
    event::Event as CloudEvent,
    id::{CorrelationId, EventId},
};
use serde::{Deserialize, Serialize};

use super::{cascade::Stop, compiled::Verdict, policy::Policy};
use crate::{
    clockwork::Passed,
    delivery::{
        action::{Cause, Fault},
        breaker::Change,
        happening::Happening,
        lane::DeadLetter,
        overview::Overview,
        step::{Report, Step},
    },
    expression::short,
    seen::Mark,
    steady::Began,
};

/// What the event policy engine can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Command {
    /// A process takes over. Before everything else.
    Begin {
        /// The machine's boot id.
        boot: String,
    },
    /// These are the policies from now on, and no others.
    Load {
        /// By name.
        policies: BTreeMap<String, Policy>,
    },
    /// These events happened.
    Observe {
        /// At most [`crate::limits::EVENTS`].
        events: Vec<CloudEvent>,
        /// For the ids of what is published.
        chance: u64,
    },
    /// Time has passed.
    Tick,
    /// This became of attempts.
    Settle {
        /// At most [`crate::limits::EVENTS`].
        reports: Vec<Report>,
        /// For the times of retries.
        chance: u64,
    },
    /// A policy that rests is to take part again.
    Reset {
        /// Its name.
        name: String,
    },
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
    /// What would come of this event?
    Test {
        /// The event.
        event: Box<CloudEvent>,
    },
    /// All policies, in short.
    List,
    /// One policy, with its dead letters.
    Show {
        /// Its name.
        name: String,
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
    /// A policy was put in.
    Put {
        /// Its name.
        name: String,
        /// What it is.
        policy: Box<Policy>,
    },
    /// A policy was taken out.
    Removed {
        /// Its name.
        name: String,
        /// Deliveries that waited, and dead letters, that went with it.
        dropped: u64,
    },
    /// Events were counted or fired policies.
    Observed {
        /// When, steady milliseconds.
        at_ms: u64,
        /// When, by the wall clock, milliseconds.
        wall_ms: u64,
        /// Each of them.
        events: Vec<Observed>,
        /// Their deliveries.
        steps: Vec<Step>,
    },
    /// A chain was stopped.
    Stopped {
        /// The policy that would have gone on with it.
        policy: String,
        /// The event that it would have acted on.
        cause: Cause,
        /// Why.
        stop: Stop,
        /// When, steady milliseconds.
        at_ms: u64,
    },
    /// A policy rests, is tried, or takes part again.
    Guard {
        /// Which.
        policy: String,
        /// What changed.
        change: Change,
        /// When, steady milliseconds.
        at_ms: u64,
    },
    /// A policy rests, and did not act on an event; recorded once a minute.
    Rested {
        /// Which.
        policy: String,
        /// The event.
        cause: EventId,
        /// When, steady milliseconds.
        at_ms: u64,
    },
    /// A policy's condition cannot be evaluated; recorded once a minute.
    Failed {
        /// Which.
        policy: String,
        /// Over which event.
        cause: EventId,
        /// Why.
        reason: String,
        /// When, steady milliseconds.
        at_ms: u64,
    },
    /// Deliveries went on.
    Delivery(Happening),
}

/// An event that changed something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Its source and id.
    pub mark: Mark,
    /// Its id.
    pub id: EventId,
    /// What it belongs to.
    pub root: CorrelationId,
    /// How many causes lie before it.
    pub hops: u32,
    /// The windows that it was counted in: policy and group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<(String, String)>,
    /// The policies that it fired, with what they remarked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fired: Vec<(String, Vec<String>)>,
    /// The policies that had no room for what they set off: a copy of it is for them alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<String>,
}

/// What the event policy engine answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Done.
    Done,
    /// Time has passed.
    Ticked(Passed),
    /// What came of each event, in order.
    Observed {
        /// One for each.
        events: Vec<Observation>,
    },
    /// What would come of the event in each policy.
    Verdicts {
        /// In the order in which they see it.
        verdicts: Vec<Verdict>,
    },
    /// All policies.
    Policies {
        /// By name.
        rows: Vec<Row>,
    },
    /// One policy.
    Policy {
        /// In short.
        row: Row,
        /// As it was written.
        policy: Box<Policy>,
        /// Oldest first, at most [`crate::limits::ROWS`].
        dead_letters: Vec<DeadLetter>,
    },
    /// So many dead letters.
    Letters {
        /// How many.
        count: usize,
    },
    /// All of it in numbers.
    Overview(Overview),
}

/// What came of one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Observation {
    /// It fired these policies, and these would have gone on with a chain that was stopped.
    Done {
        /// By priority.
        fired: Vec<String>,
        /// By priority.
        stopped: Vec<String>,
    },
    /// It had been observed before.
    Duplicate,
    /// There is no room for something that it sets off: send it again later. What there was room for is done once.
    Busy {
        /// Why.
        reason: String,
    },
}

/// A policy in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its types.
    pub types: Vec<String>,
    /// Whether it takes part.
    pub enabled: bool,
    /// Its priority.
    pub priority: i32,
    /// Firings.
    pub fired: u64,
    /// Chains that were stopped at it.
    pub stopped: u64,
    /// `closed` while it takes part, `open` while it rests, `half_open` while it is tried.
    pub guard: String,
    /// Deliveries that were done.
    pub done: u64,
    /// Deliveries that wait or are tried again later.
    pub waiting: usize,
    /// Dead letters.
    pub dead: usize,
    /// The breaker of its deliveries: `closed`, `open` or `half_open`.
    pub breaker: String,
    /// Why guard or breaker is not closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the event policy engine refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    /// There is no such policy.
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// Policies cannot be used; none was taken.
    Invalid {
        /// Everything that is wrong with them; each path begins with the policy's name.
        faults: Vec<Fault>,
    },
    /// There are too many.
    Full {
        /// Of what, and how many are taken.
        reason: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(f, "there is no policy `{}`", short(name)),
            Self::Invalid { faults } => {
                let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
                f.write_str(&all.join("; "))
            }
            Self::Full { reason } => f.write_str(reason),
        }
    }
}
