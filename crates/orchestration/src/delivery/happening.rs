//! Steps of lanes, put together into events that are worth a record each, with their reasons.

use grace_kernel::Recorded;
use grace_types::reason::Why;
use serde::{Deserialize, Serialize};

use super::{
    breaker::Change,
    step::{End, Lanes, Perform, Step},
};
use crate::limits;

/// What kind of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Deliveries began.
    Dispatched,
    /// Attempts ended.
    Settled,
    /// A delivery was given up.
    DeadLettered,
    /// A breaker lets nothing through.
    BreakerOpened,
    /// A breaker tries.
    BreakerHalfOpened,
    /// A breaker lets everything through.
    BreakerClosed,
    /// Dead letters wait again.
    Requeued,
    /// Dead letters were thrown away.
    Discarded,
}

impl Kind {
    /// The event's name.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Dispatched => "dispatched",
            Self::Settled => "settled",
            Self::DeadLettered => "dead_lettered",
            Self::BreakerOpened => "breaker_opened",
            Self::BreakerHalfOpened => "breaker_half_opened",
            Self::BreakerClosed => "breaker_closed",
            Self::Requeued => "requeued",
            Self::Discarded => "discarded",
        }
    }

    const fn of(step: &Step) -> Self {
        match step {
            Step::Queued { .. } | Step::Started { .. } => Self::Dispatched,
            Step::Settled { end: End::Dead { .. }, .. } | Step::Dead { .. } => Self::DeadLettered,
            Step::Settled { .. } => Self::Settled,
            Step::Breaker { change: Change::Opened { .. }, .. } => Self::BreakerOpened,
            Step::Breaker { change: Change::HalfOpened, .. } => Self::BreakerHalfOpened,
            Step::Breaker { change: Change::Closed, .. } => Self::BreakerClosed,
            Step::Requeued { .. } => Self::Requeued,
            Step::Discarded { .. } => Self::Discarded,
        }
    }

    /// Whether several of its steps make one event.
    const fn gathers(self) -> bool {
        matches!(self, Self::Dispatched | Self::Settled)
    }
}

/// Steps that happened together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Happening {
    /// What kind.
    pub kind: Kind,
    /// When, steady milliseconds.
    pub at_ms: u64,
    /// When, by the wall clock, milliseconds.
    pub wall_ms: u64,
    /// In order.
    pub steps: Vec<Step>,
}

impl Happening {
    /// Takes it into the lanes.
    pub fn apply(&self, lanes: &mut Lanes) {
        for step in &self.steps {
            lanes.apply(step, self.at_ms);
        }
    }

    /// What it asks to be performed.
    #[must_use]
    pub fn performs(&self, lanes: &Lanes) -> Vec<Perform> {
        self.steps.iter().flat_map(|step| lanes.performs(step)).collect()
    }

    /// Puts steps together.
    #[must_use]
    pub fn group(steps: Vec<Step>, at_ms: u64, wall_ms: u64) -> Vec<Self> {
        let (mut groups, mut bytes): (Vec<Self>, usize) = (Vec::new(), 0);
        for step in steps {
            let (kind, weight) = (Kind::of(&step), weight(&step));
            match groups.last_mut() {
                Some(last)
                    if last.kind == kind && kind.gathers() && bytes + weight <= limits::RECORD_BYTES =>
                {
                    bytes += weight;
                    last.steps.push(step);
                }
                _ => {
                    bytes = weight;
                    groups.push(Self { kind, at_ms, wall_ms, steps: vec![step] });
                }
            }
        }
        groups
    }

    /// With its reasons, as the event that `wrap` makes of it.
    pub fn recorded<E>(self, wrap: impl FnOnce(Self) -> E) -> Recorded<E> {
        let owners = self.owners();
        let place = match owners.as_slice() {
            [owner] => owner.clone(),
            _ => "deliveries".to_owned(),
        };
        let (how, why) = self.account(&owners.join(", "));
        Recorded::new(wrap(self), place, how, why)
    }

    fn owners(&self) -> Vec<String> {
        let mut owners: Vec<String> = Vec::new();
        for step in &self.steps {
            let (Step::Queued { owner, .. }
            | Step::Started { owner, .. }
            | Step::Settled { owner, .. }
            | Step::Dead { owner, .. }
            | Step::Breaker { owner, .. }
            | Step::Requeued { owner, .. }
            | Step::Discarded { owner, .. }) = step;
            if owners.len() < 8 && !owners.contains(owner) {
                owners.push(owner.clone());
            }
        }
        owners
    }

    fn account(&self, owners: &str) -> (&'static str, Why) {
        let because = Why::because;
        match (self.kind, self.steps.first()) {
            (Kind::Dispatched, _) => {
                let count: usize = self.steps.iter().map(started).sum();
                (
                    "queue",
                    because("delivery.turn", format!("it is the turn of {count} deliveries of {owners}")),
                )
            }
            (Kind::Settled, _) => ("report", self.ends(owners)),
            (_, Some(Step::Settled { key, end: End::Dead { reason, .. }, .. })) => (
                "retry",
                because("delivery.given_up", format!("{key} of {owners} failed for good: {reason}")),
            ),
            (_, Some(Step::Dead { delivery, reason, .. })) => {
                let text = format!("{} of {owners} cannot be delivered: {reason}", delivery.key);
                ("queue", because("delivery.refused", text))
            }
            (_, Some(Step::Breaker { change: Change::Opened { reason, .. }, .. })) => {
                ("breaker", because("breaker.failures", format!("{owners}: {reason}")))
            }
            (_, Some(Step::Breaker { change: Change::HalfOpened, .. })) => (
                "breaker",
                because("breaker.trial", format!("the time of {owners} is over; one attempt may pass")),
            ),
            (_, Some(Step::Breaker { .. })) => {
                ("breaker", because("breaker.works", format!("the trial of {owners} succeeded")))
            }
            (_, Some(Step::Requeued { keys, .. } | Step::Discarded { keys, .. })) => (
                "operator",
                because("delivery.asked", format!("asked for {} dead letters of {owners}", keys.len())),
            ),
            _ => ("report", because("delivery.report", format!("reported for {owners}"))),
        }
    }

    fn ends(&self, owners: &str) -> Why {
        let mut done = 0usize;
        let mut failed = None;
        let mut failures = 0usize;
        for step in &self.steps {
            match step {
                Step::Settled { end: End::Done, .. } => done += 1,
                Step::Settled { end: End::Retry { reason, .. } | End::Dead { reason, .. }, .. } => {
                    failures += 1;
                    failed.get_or_insert(reason);
                }
                _ => {}
            }
        }
        let why =
            Why::because("delivery.done", format!("{done} deliveries of {owners} were reported as done"));
        match failed {
            None => why,
            Some(reason) => why.and(
                "delivery.failed",
                format!("{failures} failed and are tried again, the first: {reason}"),
            ),
        }
    }
}

/// About the bytes of a step in the journal.
pub(super) fn weight(step: &Step) -> usize {
    const NAMES: usize = 200;
    NAMES
        + match step {
            Step::Queued { delivery, .. } | Step::Dead { delivery, .. } => delivery.work.weight() + NAMES,
            Step::Started { keys, .. } | Step::Requeued { keys, .. } | Step::Discarded { keys, .. } => {
                keys.iter().map(|key| key.len() + 3).sum()
            }
            Step::Settled { end: End::Retry { reason, .. } | End::Dead { reason, .. }, .. } => reason.len(),
            Step::Settled { end: End::Done, .. } | Step::Breaker { .. } => 0,
        }
}

fn started(step: &Step) -> usize {
    match step {
        Step::Started { keys, .. } => keys.len(),
        _ => 1,
    }
}
