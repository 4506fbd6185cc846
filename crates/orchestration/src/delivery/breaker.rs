//! A circuit breaker: after so many failures in a row it lets nothing through for a while, then one attempt to try.
//!
//! Nygard's pattern ("Release It!", 2007). Closed: everything passes; `failures` in a row open it. Open: nothing passes until
//! `open_for` is over. Half-open: one attempt at a time passes; `successes` of them close it, a failure opens it again.

use serde::{Deserialize, Serialize};

use crate::period::Period;

/// When it opens and closes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Failures in a row that open it. 0: it never opens of itself.
    pub failures: u32,
    /// How long it lets nothing through.
    pub open_for: Period,
    /// Successes in a row that close it again.
    pub successes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { failures: 5, open_for: Period::from_secs(30), successes: 1 }
    }
}

/// Where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Breaker {
    /// Everything passes.
    #[default]
    #[serde(rename = "closed")]
    Fresh,
    /// Everything passes; so many failures in a row.
    Failing {
        /// How many.
        failures: u32,
    },
    /// Nothing passes.
    Open {
        /// Until this moment, steady milliseconds.
        until_ms: u64,
        /// Why it opened.
        reason: String,
    },
    /// One attempt at a time passes.
    HalfOpen {
        /// Whether one is under way.
        trying: bool,
        /// Successes so far.
        successes: u32,
        /// Why it had opened.
        reason: String,
    },
}

/// Whether an attempt may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// It may.
    Yes,
    /// One may, to see whether it works again.
    Trial,
    /// Not before this moment, where it is known; otherwise when the trial under way has ended.
    No {
        /// Steady milliseconds.
        until_ms: Option<u64>,
    },
}

/// A change that is worth a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "snake_case")]
pub enum Change {
    /// It lets nothing through.
    Opened {
        /// Until this moment, steady milliseconds.
        until_ms: u64,
        /// Why.
        reason: String,
    },
    /// One attempt passes.
    HalfOpened,
    /// Everything passes.
    Closed,
}

impl Breaker {
    /// Whether an attempt may begin at `at_ms`.
    #[must_use]
    pub const fn permit(&self, at_ms: u64) -> Permit {
        match self {
            Self::Fresh | Self::Failing { .. } => Permit::Yes,
            Self::Open { until_ms, .. } if *until_ms <= at_ms => Permit::Trial,
            Self::Open { until_ms, .. } => Permit::No { until_ms: Some(*until_ms) },
            Self::HalfOpen { trying: true, .. } => Permit::No { until_ms: None },
            Self::HalfOpen { trying: false, .. } => Permit::Trial,
        }
    }

    /// What an attempt's end changes, beside the count that [`Self::note`] keeps.
    #[must_use]
    pub fn judge(&self, settings: &Settings, failed: Option<&str>, at_ms: u64) -> Option<Change> {
        let open = |why: String| {
            Some(Change::Opened { until_ms: at_ms.saturating_add(settings.open_for.millis()), reason: why })
        };
        match (self, failed) {
            (Self::Fresh | Self::Failing { .. }, Some(why)) => {
                let failures = self.failures() + 1;
                (settings.failures > 0 && failures >= settings.failures)
                    .then(|| open(format!("{failures} failures in a row, the last one: {why}")))
                    .flatten()
            }
            (Self::HalfOpen { .. }, Some(why)) => open(format!("the trial failed: {why}")),
            (Self::HalfOpen { successes, .. }, None) => {
                (successes + 1 >= settings.successes).then_some(Change::Closed)
            }
            (Self::Fresh | Self::Failing { .. } | Self::Open { .. }, None) | (Self::Open { .. }, Some(_)) => {
                None
            }
        }
    }

    /// Counts an attempt's end.
    pub fn note(&mut self, failed: bool) {
        match self {
            Self::Fresh | Self::Failing { .. } if failed => {
                *self = Self::Failing { failures: self.failures() + 1 }
            }
            Self::Failing { .. } => *self = Self::Fresh,
            Self::HalfOpen { trying, successes, .. } => {
                *trying = false;
                if !failed {
                    *successes += 1;
                }
            }
            Self::Fresh | Self::Open { .. } => {}
        }
    }

    /// Takes a change.
    pub fn change(&mut self, change: &Change) {
        *self = match change {
            Change::Opened { until_ms, reason } => Self::Open { until_ms: *until_ms, reason: reason.clone() },
            Change::HalfOpened => Self::HalfOpen {
                trying: false,
                successes: 0,
                reason: self.reason().unwrap_or_default().to_owned(),
            },
            Change::Closed => Self::Fresh,
        };
    }

    /// A trial begins.
    pub const fn begin_trial(&mut self) {
        if let Self::HalfOpen { trying, .. } = self {
            *trying = true;
        }
    }

    /// Why it opened, where it is not closed.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Fresh | Self::Failing { .. } => None,
            Self::Open { reason, .. } | Self::HalfOpen { reason, .. } => Some(reason),
        }
    }

    /// As it is shown.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Fresh | Self::Failing { .. } => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half_open",
        }
    }

    const fn failures(&self) -> u32 {
        match self {
            Self::Failing { failures } => *failures,
            Self::Fresh | Self::Open { .. } | Self::HalfOpen { .. } => 0,
        }
    }
}
