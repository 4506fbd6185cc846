//! What the trigger mesh can be asked, what can happen, and what it answers.

use std::{collections::BTreeMap, fmt};

use grace_types::{event::Event as CloudEvent, id::EventId};
use serde::{Deserialize, Serialize};

use super::{compiled::Verdict, subscription::Subscription};
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
    seen::Mark,
    steady::Began,
};

/// What the trigger mesh can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Command {
    /// A process takes over. Before everything else.
    Begin {
        /// The machine's boot id.
        boot: String,
    },
    /// This subscription is there from now on; it replaces the one of that name.
    Put {
        /// Its name.
        name: String,
        /// What it is.
        subscription: Box<Subscription>,
    },
    /// These are declared in the manifest. One that was declared before and is not any more is removed; those that were put stay.
    Declare {
        /// By name.
        subscriptions: BTreeMap<String, Subscription>,
    },
    /// This subscription is there no longer, nor what is in its lane.
    Remove {
        /// Its name.
        name: String,
    },
    /// These events happened.
    Ingest {
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
    /// All subscriptions, in short.
    List,
    /// One subscription, with its dead letters.
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
    /// A subscription was put in.
    Put {
        /// Its name.
        name: String,
        /// What it is.
        subscription: Box<Subscription>,
        /// Whether the manifest declares it.
        #[serde(default)]
        declared: bool,
    },
    /// A subscription was taken out.
    Removed {
        /// Its name.
        name: String,
        /// Deliveries that waited, and dead letters, that went with it.
        dropped: u64,
    },
    /// Events were taken.
    Accepted {
        /// When, steady milliseconds.
        at_ms: u64,
        /// When, by the wall clock, milliseconds.
        wall_ms: u64,
        /// Each of them.
        events: Vec<Taken>,
        /// Their deliveries.
        steps: Vec<Step>,
    },
    /// Deliveries went on.
    Delivery(Happening),
    /// An event at the end of a long chain of causes set nothing off: triggers that set off each other would go on for ever.
    ChainStopped {
        /// The subscription that did not fire.
        name: String,
        /// For which event.
        cause: EventId,
        /// How many causes lie before it.
        hops: u32,
        /// When, steady milliseconds.
        at_ms: u64,
    },
    /// A filter cannot be evaluated.
    FilterFailed {
        /// Whose.
        name: String,
        /// Over which event.
        cause: EventId,
        /// Why.
        reason: String,
        /// When, steady milliseconds.
        at_ms: u64,
    },
}

/// An event that was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// Its source and id.
    pub mark: Mark,
    /// The subscriptions that fired.
    pub fired: Vec<String>,
    /// The subscriptions that it came too soon for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub throttled: Vec<String>,
    /// The subscriptions that had no room for it: a copy of it is for them alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<String>,
}

/// What the trigger mesh answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Done.
    Done,
    /// Time has passed.
    Ticked(Passed),
    /// What came of each event, in order.
    Ingested {
        /// One for each.
        events: Vec<Ingested>,
    },
    /// What would come of the event in each subscription.
    Verdicts {
        /// By name.
        verdicts: Vec<Verdict>,
    },
    /// All subscriptions.
    Subscriptions {
        /// By name.
        rows: Vec<Row>,
    },
    /// One subscription.
    Subscription {
        /// In short.
        row: Row,
        /// As it was given.
        subscription: Box<Subscription>,
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
pub enum Ingested {
    /// It fired so many subscriptions.
    Taken {
        /// How many.
        fired: usize,
    },
    /// It had been taken before.
    Duplicate,
    /// No subscription takes it.
    Unwanted,
    /// There is no room for something that it sets off: send it again later. What there was room for is done once.
    Busy {
        /// Why.
        reason: String,
    },
}

/// A subscription in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its types.
    pub types: Vec<String>,
    /// Whether it takes events.
    pub enabled: bool,
    /// Whether the manifest declares it.
    #[serde(default)]
    pub declared: bool,
    /// Firings.
    pub fired: u64,
    /// Events that came too soon.
    pub throttled: u64,
    /// Deliveries that were done.
    pub done: u64,
    /// Deliveries that wait or are tried again later.
    pub waiting: usize,
    /// Deliveries under way.
    pub in_flight: usize,
    /// Dead letters.
    pub dead: usize,
    /// `closed`, `open` or `half_open`.
    pub breaker: String,
    /// Why it is not closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the trigger mesh refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    /// There is no such subscription.
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// It is declared in the manifest, and changed there.
    Declared {
        /// Which.
        name: String,
    },
    /// The subscription cannot be used.
    Invalid {
        /// Everything that is wrong with it.
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
            Self::Unknown { name } => write!(f, "there is no subscription `{}`", short(name)),
            Self::Declared { name } => {
                write!(f, "the subscription `{}` is declared in the manifest: change it there", short(name))
            }
            Self::Invalid { faults } => {
                let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
                f.write_str(&all.join("; "))
            }
            Self::Full { reason } => f.write_str(reason),
        }
    }
}
