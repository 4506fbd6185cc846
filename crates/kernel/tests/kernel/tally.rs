//! A small decider for the tests: named tallies that go up, never past a bound.

use std::{collections::BTreeMap, fmt};

use grace_kernel::{Decider, Decision, Recorded};
use grace_types::{reason::Why, time::Now};
use serde::{Deserialize, Serialize};

pub(crate) enum Tally {}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tallies {
    pub(crate) counts: BTreeMap<String, f64>,
    /// Announcements that nobody has confirmed.
    pub(crate) unannounced: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    Add { name: String, by: f64 },
    AddAll { names: Vec<String> },
    Announced,
    Read { name: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    Added { name: String, by: f64 },
    Announced,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TooMuch {
    pub(crate) bound: f64,
}

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a tally may not exceed {}", self.bound)
    }
}

pub(crate) const BOUND: f64 = 1e6;

impl Decider for Tally {
    type State = Tallies;
    type Command = Command;
    type Event = Event;
    type Reply = f64;
    type Refusal = TooMuch;
    type Effect = String;

    fn decide(state: &Tallies, _now: Now, command: &Command) -> Decision<Self> {
        let count = |name: &str| state.counts.get(name).copied().unwrap_or(0.0);
        match command {
            Command::Read { name } => Decision::reply(count(name)),
            Command::Announced => Decision::reply(0.0).record(Recorded::new(
                Event::Announced,
                "announcer",
                "confirmation",
                Why::because("announced.confirmed", "the announcer confirmed it"),
            )),
            Command::AddAll { names } => names.iter().fold(Decision::reply(0.0), |decision, name| {
                let why = Why::because("add.asked", format!("{name} was to go up by one"));
                let added = Event::Added { name: name.clone(), by: 1.0 };
                decision.record(Recorded::new(added, name.as_str(), "sum", why))
            }),
            Command::Add { name, by } => {
                let sum = count(name) + by;
                if sum > BOUND {
                    return Decision::refuse(TooMuch { bound: BOUND });
                }
                let why = Why::because("add.asked", format!("{name} was to go up by {by}"));
                let added = Event::Added { name: name.clone(), by: *by };
                Decision::reply(sum).record(Recorded::new(added, name.as_str(), "sum", why))
            }
        }
    }

    /// Of several at once, those for fires alone.
    fn decide_in_reserve(state: &Tallies, now: Now, command: &Command) -> Decision<Self> {
        match command {
            Command::AddAll { names } => {
                let fires = names.iter().filter(|name| is_fire(name)).cloned().collect();
                Self::decide(state, now, &Command::AddAll { names: fires })
            }
            other => Self::decide(state, now, other),
        }
    }

    fn is_for_emergency(_: &Tallies, event: &Recorded<Event>, _: &[Recorded<Event>]) -> bool {
        matches!(event.event(), Event::Added { name, .. } if is_fire(name))
    }

    fn evolve(state: &mut Tallies, event: &Event) {
        match event {
            Event::Added { name, by } => {
                *state.counts.entry(name.clone()).or_insert(0.0) += by;
                state.unannounced += 1;
            }
            Event::Announced => state.unannounced = state.unannounced.saturating_sub(1),
        }
    }

    fn effects(_state: &Tallies, event: &Recorded<Event>) -> Vec<String> {
        match event.event() {
            Event::Added { name, .. } => vec![name.clone()],
            Event::Announced => Vec::new(),
        }
    }

    fn outstanding(state: &Tallies) -> Vec<String> {
        (0..state.unannounced).map(|n| format!("again {n}")).collect()
    }

    fn what(event: &Event) -> &'static str {
        match event {
            Event::Added { .. } => "added",
            Event::Announced => "announced",
        }
    }
}

fn is_fire(name: &str) -> bool {
    name.starts_with("fire")
}

pub(crate) fn add(name: &str, by: f64) -> Command {
    Command::Add { name: name.to_owned(), by }
}

pub(crate) fn read(name: &str) -> Command {
    Command::Read { name: name.to_owned() }
}
