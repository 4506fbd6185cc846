//! One owner's deliveries: what waits, what is under way, what comes again later, and what was given up.

use std::collections::{BTreeMap, VecDeque};

use grace_types::{id::EventId, time::Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    action::{Cause, Work},
    breaker::{self, Breaker, Permit},
    bucket::{Bucket, Rate},
};
use crate::{limits, period::Period};

/// How a lane deals with what it is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Deliveries that wait or are retried. Past it, further ones become dead letters.
    pub queue: u32,
    /// Deliveries under way at a time.
    pub in_flight: u32,
    /// How fast deliveries begin. Those past it wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// When the lane stops trying.
    pub breaker: breaker::Settings,
    /// What happens after a failure.
    pub retry: Retry,
}

/// What happens after a failure: it is tried again, later each time, and then given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all.
    pub attempts: u32,
    /// Before the second attempt. Doubled each time; up to a half is taken off at random, so that not all come back at once.
    pub first: Period,
    /// At most.
    pub longest: Period,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue: 1000,
            in_flight: 64,
            rate: None,
            breaker: breaker::Settings::default(),
            retry: Retry::default(),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 5, first: Period::from_secs(1), longest: Period::from_secs(300) }
    }
}

impl Settings {
    /// What is wrong with them: the key, and why.
    #[must_use]
    pub fn fault(&self) -> Option<(&'static str, String)> {
        let within = |value: u32, most: u32| value >= 1 && value <= most;
        if !within(self.queue, limits::LANE_QUEUE) {
            return Some(("queue", format!("from 1 to {}", limits::LANE_QUEUE)));
        }
        if !within(self.in_flight, limits::LANE_FLIGHTS) {
            return Some(("in_flight", format!("from 1 to {}", limits::LANE_FLIGHTS)));
        }
        if !within(self.retry.attempts, u32::from(limits::ATTEMPTS)) {
            return Some(("retry", format!("`attempts` is from 1 to {}", limits::ATTEMPTS)));
        }
        if self.breaker.successes == 0 {
            return Some(("breaker", "`successes` is at least 1".to_owned()));
        }
        self.rate.as_ref().and_then(Rate::fault).map(|message| ("rate", message))
    }
}

/// Work and its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// The same over every attempt: the idempotency key of what it does.
    pub key: String,
    /// The id of the event, where it publishes one.
    pub id: EventId,
    /// What is to be done.
    pub work: Work,
    /// What set it off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Attempts that were begun.
    #[serde(default)]
    pub attempts: u32,
}

/// A delivery that was given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// As it was.
    pub delivery: Delivery,
    /// Why it was given up.
    pub reason: String,
    /// When.
    pub time: Timestamp,
}

/// See the module's page. Its fields change only by [`super::step::Step`]s.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// How it deals with what it is given.
    pub settings: Settings,
    /// First in, first out.
    pub waiting: VecDeque<Delivery>,
    /// To be tried again: moment (steady milliseconds) and number, so that equal moments keep their order.
    #[serde(with = "pairs")]
    pub later: BTreeMap<(u64, u64), Delivery>,
    /// Under way, by key.
    pub flying: BTreeMap<String, Delivery>,
    /// Given up, oldest first.
    pub dead: VecDeque<DeadLetter>,
    /// Whether it tries at all.
    pub breaker: Breaker,
    /// What is left of its rate.
    pub bucket: Bucket,
    /// Bytes of work, dead letters included.
    pub bytes: u64,
    /// Deliveries that were done.
    pub done: u64,
    pub(super) number: u64,
}

impl Lane {
    /// Deliveries that wait or come again later.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.waiting.len() + self.later.len()
    }

    /// Whether nothing is left to be done or looked at.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.depth() == 0 && self.flying.is_empty() && self.dead.is_empty()
    }

    /// How many deliveries may begin at `at_ms`, were there enough, and whether the one is a trial.
    #[must_use]
    pub fn room(&self, at_ms: u64) -> (usize, bool) {
        let slots =
            usize::try_from(self.settings.in_flight).unwrap_or(usize::MAX).saturating_sub(self.flying.len());
        let paced = match &self.settings.rate {
            Some(rate) => usize::try_from(self.bucket.tokens(rate, at_ms)).unwrap_or(usize::MAX),
            None => usize::MAX,
        };
        match self.breaker.permit(at_ms) {
            Permit::Yes => (slots.min(paced), false),
            Permit::Trial => (slots.min(paced).min(1), true),
            Permit::No { .. } => (0, false),
        }
    }

    /// The moment from which a delivery may begin without anything else happening; `None` when something else must happen.
    #[must_use]
    pub fn ready_ms(&self) -> Option<u64> {
        let mut ready = match (self.waiting.is_empty(), self.later.keys().next()) {
            (false, _) => 0,
            (true, Some((due, _))) => *due,
            (true, None) => return None,
        };
        if self.flying.len() >= usize::try_from(self.settings.in_flight).unwrap_or(usize::MAX) {
            return None;
        }
        match self.breaker.permit(0) {
            Permit::No { until_ms: Some(until) } => ready = ready.max(until),
            Permit::No { until_ms: None } => return None,
            Permit::Yes | Permit::Trial => {}
        }
        if let Some(rate) = &self.settings.rate
            && self.bucket.tokens(rate, ready) == 0
        {
            ready = ready.max(self.bucket.next_from(rate));
        }
        Some(ready)
    }

    /// When a delivery that failed for the `attempts`th time is tried again; `chance` takes up to a half off.
    #[must_use]
    pub fn retry_ms(&self, attempts: u32, at_ms: u64, chance: u64) -> u64 {
        let retry = &self.settings.retry;
        let doubled = retry.first.millis().saturating_mul(1 << attempts.saturating_sub(1).min(40));
        let wait = doubled.min(retry.longest.millis()).max(1);
        at_ms.saturating_add(wait - chance % (wait / 2 + 1))
    }
}

/// A map whose keys are no texts, as a list of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Delivery;

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<(u64, u64), Delivery>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<(u64, u64), Delivery>, D::Error> {
        Ok(Vec::<((u64, u64), Delivery)>::deserialize(deserializer)?.into_iter().collect())
    }
}
