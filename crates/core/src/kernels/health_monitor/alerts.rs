//! Alert rules over readings, with the semantics of Prometheus: a condition is pending until it has held for the rule's
//! `hold`, then the alert fires; it resolves when the condition has not held for as long. Pure.

use std::time::Duration;

use grace_types::{
    manifest::{AlertRule, Comparison, Metric, Severity},
    time::{Monotonic, Now, Timestamp},
};
use serde::{Deserialize, Serialize};

use super::score::{Reading, Score};

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The condition holds, not long enough yet.
    Pending,
    /// The condition has held for long enough.
    Firing,
    /// It fires, and the condition holds no more, not long enough yet.
    Recovering,
}

/// An alert that is not over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The rule's name.
    pub rule: String,
    /// The component.
    pub component: String,
    /// How bad it is.
    pub severity: Severity,
    /// Where it stands.
    pub phase: Phase,
    /// Since when it stands there.
    pub since: Timestamp,
    /// The same on the clock that `hold` is counted in.
    pub since_mono: Monotonic,
    /// Since when the condition first held.
    pub began: Timestamp,
    /// What was measured when it got there.
    pub value: f64,
}

/// The step that an alert takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// To this phase.
    To(Phase),
    /// It fired and is over.
    Resolved,
    /// It never fired and is over.
    Cleared,
}

/// What the rule measures; `None` when there is no data, in which case its condition does not hold.
#[must_use]
pub fn measure(metric: Metric, reading: &Reading, score: &Score) -> Option<f64> {
    let value = match metric {
        Metric::Health => score.value,
        Metric::CpuCores => reading.cpu_cores?,
        Metric::MemoryBytes => reading.memory_bytes? as f64,
        Metric::Restarts => f64::from(reading.restarts),
        Metric::HeartbeatAgeSeconds => reading.heartbeat_age_seconds?,
    };
    value.is_finite().then_some(value)
}

/// Whether the rule's condition holds for what was measured.
#[must_use]
pub fn holds(rule: &AlertRule, value: Option<f64>) -> bool {
    match (rule.comparison, value) {
        (Comparison::Above, Some(value)) => value > rule.threshold,
        (Comparison::Below, Some(value)) => value < rule.threshold,
        (_, None) => false,
    }
}

/// The step that follows from the condition, if any.
#[must_use]
pub fn step(alert: Option<&Alert>, holds: bool, hold: Duration, now: Now) -> Option<Step> {
    let waited = |alert: &Alert| now.mono.since(alert.since_mono) >= hold;
    match (alert.map(|a| (a.phase, waited(a))), holds) {
        (None, true) if hold.is_zero() => Some(Step::To(Phase::Firing)),
        (None, true) => Some(Step::To(Phase::Pending)),
        (Some((Phase::Pending, true)), true) => Some(Step::To(Phase::Firing)),
        (Some((Phase::Pending, _)), false) => Some(Step::Cleared),
        (Some((Phase::Firing, _)), false) if hold.is_zero() => Some(Step::Resolved),
        (Some((Phase::Firing, _)), false) => Some(Step::To(Phase::Recovering)),
        (Some((Phase::Recovering, _)), true) => Some(Step::To(Phase::Firing)),
        (Some((Phase::Recovering, true)), false) => Some(Step::Resolved),
        (None, false)
        | (Some((Phase::Pending, false) | (Phase::Firing, _)), true)
        | (Some((Phase::Recovering, false)), false) => None,
    }
}

/// The rules that are there without a manifest. A rule of the manifest with the same name takes a built-in one's place.
#[must_use]
pub fn built_in() -> Vec<AlertRule> {
    let rule = |name: &str, metric, comparison, threshold, hold_seconds, severity| AlertRule {
        name: name.to_owned(),
        component: None,
        metric,
        comparison,
        threshold,
        hold: Duration::from_secs(hold_seconds),
        severity,
    };
    vec![
        // Half a score: restarting, degraded or failed, or several lesser things at once.
        rule("unhealthy", Metric::Health, Comparison::Below, 0.5, 10, Severity::Critical),
        // Longer than a start or a deliberate pause should take.
        rule("impaired", Metric::Health, Comparison::Below, 0.8, 60, Severity::Warning),
        // The second restart within a window is no accident any more.
        rule("restarting_often", Metric::Restarts, Comparison::Above, 1.0, 0, Severity::Warning),
    ]
}
