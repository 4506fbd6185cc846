//! What is told of each look: on the bus, and on record. Names are stable; fields may be added.
//!
//! Numbers of one that does not answer stay as they were, so that totals never fall; its health says that it is silent.

use std::collections::BTreeMap;

use grace_types::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    message::State,
    sample::{Answer, Sample},
    score::{Health, healths},
};

/// One look at Layer 2. Totals are since each journal was begun.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Telemetry {
    /// When.
    pub time: Timestamp,
    /// Tasks that wait for a worker.
    pub htm_queue_depth: u64,
    /// Tasks with a worker.
    pub htm_running: u64,
    /// Tasks that wait for a time.
    pub htm_delayed: u64,
    /// Intents with a dead letter.
    pub htm_dead: u64,
    /// Workers that the task manager knows.
    pub workers: u64,
    /// Tasks given to workers, in total.
    pub dispatches: u64,
    /// The same a second, since the look before; `null` when there is none to count from.
    pub dispatches_per_second: Option<f64>,
    /// Intents that were late, in total.
    pub deadlines_missed: u64,
    /// Subscriptions.
    pub trigger_subscriptions: u64,
    /// Their firings, in total.
    pub trigger_firings: u64,
    /// Their dead letters.
    pub trigger_dead: u64,
    /// Deliveries that they gave up, in total.
    pub trigger_given_up: u64,
    /// Event policies.
    pub policies: u64,
    /// Their firings, in total.
    pub policy_firings: u64,
    /// Deliveries that they gave up, in total.
    pub policy_given_up: u64,
    /// Schedules.
    pub schedules: u64,
    /// Their firings, in total.
    pub scheduler_dispatches: u64,
    /// Occurrences more than a second late, or so late that they did nothing, in total.
    pub schedules_late: u64,
    /// Deliveries that they gave up, in total.
    pub scheduler_given_up: u64,
    /// Breakers that are not closed, of all that answer.
    pub breakers_open: u64,
    /// Promises broken, in total: missed deadlines, late schedules, deliveries given up.
    pub sla_breaches: u64,
    /// Alerts that are raised, and only warn.
    pub alerts_warning: u64,
    /// Alerts that are raised, and are critical.
    pub alerts_critical: u64,
    /// By name.
    pub components: BTreeMap<String, Health>,
}

impl Telemetry {
    /// What a sample says. The alerts are counted when it is known what it changes of them.
    #[must_use]
    pub fn of(state: &State, sample: &Sample, time: Timestamp, rate: Option<f64>) -> Self {
        let mut told = state.last.clone().unwrap_or_default();
        told.time = time;
        told.dispatches_per_second = rate.map(|rate| (rate * 1000.0).round() / 1000.0);
        if let Some(queue) = sample.htm.as_ref().and_then(Answer::said) {
            told.htm_queue_depth = queue.waiting;
            told.htm_running = queue.running;
            told.htm_delayed = queue.delayed;
            told.htm_dead = queue.dead;
            told.workers = queue.workers.len() as u64;
            told.dispatches = queue.dispatched;
            told.deadlines_missed = queue.deadlines_missed;
        }
        told.breakers_open = 0;
        if let Some(mesh) = sample.trigger_mesh.as_ref().and_then(Answer::said) {
            told.trigger_subscriptions = mesh.count as u64;
            told.trigger_firings = mesh.totals.fired;
            told.trigger_dead = mesh.dead_letters as u64;
            told.trigger_given_up = mesh.totals.dead;
            told.breakers_open += mesh.breakers_open as u64;
        }
        if let Some(policies) = sample.event_policy.as_ref().and_then(Answer::said) {
            told.policies = policies.count as u64;
            told.policy_firings = policies.totals.fired;
            told.policy_given_up = policies.totals.dead;
            told.breakers_open += policies.breakers_open as u64;
        }
        if let Some(scheduler) = sample.scheduler.as_ref().and_then(Answer::said) {
            told.schedules = scheduler.overview.count as u64;
            told.scheduler_dispatches = scheduler.overview.totals.fired;
            told.scheduler_given_up = scheduler.overview.totals.dead;
            told.schedules_late = scheduler.late.fired + scheduler.late.misfired;
            told.breakers_open += scheduler.overview.breakers_open as u64;
        }
        let given_up = told.trigger_given_up + told.policy_given_up + told.scheduler_given_up;
        told.sla_breaches = told.deadlines_missed + told.schedules_late + given_up;
        told.components = healths(state, sample, &told);
        told
    }

    /// In one sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} tasks wait and {} run, {} workers; in total {} dispatches, {} trigger and {} policy firings, {} schedule firings, \
             {} SLA breaches",
            self.htm_queue_depth,
            self.htm_running,
            self.workers,
            self.dispatches,
            self.trigger_firings,
            self.policy_firings,
            self.scheduler_dispatches,
            self.sla_breaches
        )
    }
}
