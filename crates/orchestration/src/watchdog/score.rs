//! The health score of a component of Layer 2: one number from 0.0 to 1.0, from what only Layer 2 knows. Pure.
//!
//! ```text
//! score = ready × answer × queue × breaches × breakers × workers        rounded to 3 decimals
//!
//! ready     1, or 0 when the control plane says that it is not
//! answer    1 up to 100 ms, then falling to 0.5 at 2 s; 0 without an answer
//! queue     1 up to the warning (half of the fullest queue), then falling to 0.3 at the critical threshold (when it is full)
//! breaches  1 − 0.5 × broken promises ÷ work done, since the look before
//! breakers  1 − 0.5 × open breakers ÷ all
//! workers   0.3 for the task manager when there is none and there should be, and for a worker that it does not know
//! ```
//!
//! A factor without data is 1, and the product lets one bad factor show through many good ones. What the machine knows of a process
//! (restarts, heartbeats, memory, CPU) is the health monitor's score, and not repeated here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    message::State,
    sample::{Answer, Sample},
    telemetry::Telemetry,
};
use crate::{delivery::overview::Overview, limits};

/// A component's health.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// 0.0 to 1.0.
    pub health: f64,
    /// Whether the control plane says that it is ready; `null` when it says nothing.
    pub ready: Option<bool>,
    /// How long its answer took, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_ms: Option<f64>,
    /// What takes from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub factors: Vec<Factor>,
}

/// Something that takes from a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Factor {
    /// `ready`, `answer`, `queue`, `breaches`, `breakers` or `workers`.
    pub name: String,
    /// 0.0 to 1.0.
    pub value: f64,
}

/// Factors as they are gathered.
#[derive(Default)]
struct Factors(Vec<Factor>);

impl Factors {
    fn take(&mut self, name: &str, value: f64) {
        let value = round(value);
        if value < 1.0 {
            self.0.push(Factor { name: name.to_owned(), value });
        }
    }

    fn health(self, ready: Option<bool>, answer_ms: Option<f64>) -> Health {
        let health = round(self.0.iter().map(|factor| factor.value).product());
        Health { health, ready, answer_ms: answer_ms.map(round), factors: self.0 }
    }
}

/// The health of every component of Layer 2, of those that were asked and of those that the control plane names. `now` holds the
/// numbers of this look.
#[must_use]
pub fn healths(state: &State, sample: &Sample, now: &Telemetry) -> BTreeMap<String, Health> {
    let answers: BTreeMap<&str, Result<f64, &str>> =
        sample.answers().filter(|(name, _)| *name != "control_plane").collect();
    let standing = sample.status.iter().flat_map(|status| status.components.keys().map(String::as_str));
    let names = answers.keys().copied().chain(standing);
    let workers = sample.htm.as_ref().and_then(Answer::said).map(|queue| &queue.workers);
    let mut healths = BTreeMap::new();
    for name in names {
        let ready = sample.is_ready(name);
        let mut factors = Factors::default();
        factors.take("ready", if ready == Some(false) { 0.0 } else { 1.0 });
        let answer = answers.get(name).copied();
        match answer {
            Some(Ok(ms)) => {
                factors.take("answer", falling(ms, 100.0, limits::LOOK_WAIT.as_millis() as f64, 0.5));
            }
            Some(Err(_)) => factors.take("answer", 0.0),
            None => {}
        }
        factors.take("breaches", breaches(state.last.as_ref(), now, name));
        match name {
            "htm" => htm(&mut factors, state, sample),
            "trigger_mesh" => lanes(&mut factors, sample.trigger_mesh.as_ref().and_then(Answer::said)),
            "event_policy" => lanes(&mut factors, sample.event_policy.as_ref().and_then(Answer::said)),
            "scheduler" => {
                let said = sample.scheduler.as_ref().and_then(Answer::said);
                lanes(&mut factors, said.map(|said| &said.overview));
            }
            _ => {}
        }
        let is_worker = sample
            .status
            .iter()
            .any(|status| status.components.get(name).is_some_and(|component| component.worker));
        if is_worker && workers.is_some_and(|known| !known.contains(name)) {
            factors.take("workers", 0.3);
        }
        healths.insert(name.to_owned(), factors.health(ready, answer.and_then(Result::ok)));
    }
    healths
}

fn htm(factors: &mut Factors, state: &State, sample: &Sample) {
    let Some(queue) = sample.htm.as_ref().and_then(Answer::said) else { return };
    let layer2 = &state.settings.layer2;
    let (warning, critical) = (layer2.queue_warning as f64, layer2.queue_critical as f64);
    factors.take("queue", falling(queue.waiting as f64, warning, critical, 0.3));
    if queue.workers.is_empty() && (state.settings.workers_expected || queue.open > 0) {
        factors.take("workers", 0.3);
    }
}

fn lanes(factors: &mut Factors, said: Option<&Overview>) {
    let Some(overview) = said else { return };
    factors.take("queue", falling(overview.fullest, 0.5, 1.0, 0.3));
    factors.take("breakers", 1.0 - 0.5 * share(overview.breakers_open as u64, overview.count as u64));
}

/// What the promises that were broken since the look before take.
fn breaches(before: Option<&Telemetry>, now: &Telemetry, name: &str) -> f64 {
    let Some(before) = before else { return 1.0 };
    let since = |of: fn(&Telemetry) -> u64| of(now).saturating_sub(of(before));
    let (broken, work) = match name {
        "htm" => (since(|t| t.deadlines_missed), since(|t| t.dispatches)),
        "trigger_mesh" => (since(|t| t.trigger_given_up), since(|t| t.trigger_firings)),
        "event_policy" => (since(|t| t.policy_given_up), since(|t| t.policy_firings)),
        "scheduler" => {
            (since(|t| t.schedules_late + t.scheduler_given_up), since(|t| t.scheduler_dispatches))
        }
        _ => return 1.0,
    };
    1.0 - 0.5 * share(broken, work)
}

/// A share of a whole that is at least as large.
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(part).max(1) as f64
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// 1 up to `from`, then in a straight line to `low` at `to`, and `low` from there on.
fn falling(x: f64, from: f64, to: f64, low: f64) -> f64 {
    if x <= from {
        1.0
    } else if x >= to {
        low
    } else {
        1.0 - (1.0 - low) * (x - from) / (to - from)
    }
}
