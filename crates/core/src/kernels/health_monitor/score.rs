//! The health score: one number from 0.0 (does nothing useful) to 1.0 (nothing to complain of). Pure.
//!
//! ```text
//! score = state × restarts × heartbeat × memory × cpu          rounded to 3 decimals
//!
//! state      ready 1, stopped 1 (it was meant to end), starting 0.7, paused 0.5, restarting 0.3, degraded 0.1, failed 0;
//!            ready by its state but not by its readiness: 0.7
//! restarts   1 − 0.5 × restarts in the window ÷ restarts allowed in it, at least 0.5
//! heartbeat  1 up to one interval since the last beat, then falling to 0 at two
//! memory     1 up to 80 % of its limit, then falling to 0.5 at the limit
//! cpu        1 up to 90 % of its limit, then falling to 0.8 at the limit
//! ```
//!
//! A factor without data is 1: what is not measured is not held against a component. The product lets one bad factor
//! show through many good ones, which a mean would hide. Limits weigh less than failures on purpose: a program that uses
//! what it was given is not ill.

use serde::{Deserialize, Serialize};

use crate::status::ComponentState;

/// What was measured of one component in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// What it is doing.
    pub state: ComponentState,
    /// Whether it is ready now.
    pub ready: bool,
    /// Restarts within the last period of its availability.
    pub restarts: u32,
    /// Restarts allowed within that period.
    pub intensity: u32,
    /// Seconds since its last heartbeat; `None` when it sends none or it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_age_seconds: Option<f64>,
    /// Its heartbeat interval in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_interval_seconds: Option<f64>,
    /// CPU in cores since the last round, its descendants included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<f64>,
    /// The limit, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit_cores: Option<f64>,
    /// Resident memory in bytes, its descendants' included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The limit, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
}

/// A score and what it is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// 0.0 to 1.0.
    pub value: f64,
    /// The factors below 1, worst first.
    pub factors: Vec<Factor>,
}

/// Something that takes from a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Factor {
    /// `state`, `restarts`, `heartbeat`, `memory` or `cpu`.
    pub name: String,
    /// 0.0 to 1.0.
    pub value: f64,
    /// What was seen, in one sentence.
    pub text: String,
}

/// The score of a reading.
#[must_use]
pub fn score(reading: &Reading) -> Score {
    let all = [state(reading), restarts(reading), heartbeat(reading), memory(reading), cpu(reading)];
    let mut factors: Vec<Factor> = all.into_iter().flatten().filter(|factor| factor.value < 1.0).collect();
    let value = round(factors.iter().map(|factor| factor.value).product());
    factors.sort_by(|a, b| a.value.total_cmp(&b.value));
    Score { value, factors }
}

fn round(value: f64) -> f64 {
    (value.clamp(0.0, 1.0) * 1000.0).round() / 1000.0
}

fn factor(name: &str, value: f64, text: String) -> Option<Factor> {
    // What cannot be measured (a limit of 0, a clock that stood) takes nothing.
    value.is_finite().then(|| Factor { name: name.to_owned(), value: round(value), text })
}

fn state(reading: &Reading) -> Option<Factor> {
    let (value, text) = match reading.state {
        ComponentState::Ready if reading.ready => return None,
        ComponentState::Ready => (0.7, "it runs but is not ready"),
        ComponentState::Stopping | ComponentState::Stopped => return None,
        ComponentState::Starting => (0.7, "it is starting"),
        ComponentState::Paused => (0.5, "it is paused"),
        ComponentState::Restarting => (0.3, "it is being restarted"),
        ComponentState::Degraded => (0.1, "it ran out of restarts and the instance goes on without it"),
        ComponentState::Failed => (0.0, "it failed"),
    };
    factor("state", value, text.to_owned())
}

fn restarts(reading: &Reading) -> Option<Factor> {
    let share = f64::from(reading.restarts) / f64::from(reading.intensity.max(1));
    let text = format!("{} restarts in the window, {} are allowed", reading.restarts, reading.intensity);
    factor("restarts", 1.0 - 0.5 * share.min(1.0), text)
}

fn heartbeat(reading: &Reading) -> Option<Factor> {
    let (age, interval) = (reading.heartbeat_age_seconds?, reading.heartbeat_interval_seconds?);
    let text = format!("its last heartbeat is {age:.1} s old, the interval is {interval:.1} s");
    factor("heartbeat", falling(age / interval, 1.0, 2.0, 0.0), text)
}

fn memory(reading: &Reading) -> Option<Factor> {
    let (used, limit) = (reading.memory_bytes?, reading.memory_limit_bytes?);
    let text = format!("it uses {used} of {limit} bytes of memory");
    factor("memory", falling(used as f64 / limit as f64, 0.8, 1.0, 0.5), text)
}

fn cpu(reading: &Reading) -> Option<Factor> {
    let (used, limit) = (reading.cpu_cores?, reading.cpu_limit_cores?);
    let text = format!("it uses {used:.2} of {limit:.2} cores");
    factor("cpu", falling(used / limit, 0.9, 1.0, 0.8), text)
}

/// 1 up to `from`, then in a straight line to `low` at `to`, and `low` from there on.
fn falling(x: f64, from: f64, to: f64, low: f64) -> f64 {
    1.0 - (1.0 - low) * ((x - from) / (to - from)).clamp(0.0, 1.0)
}
