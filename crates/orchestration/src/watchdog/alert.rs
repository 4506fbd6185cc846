//! Alerts, and when one is raised and cleared.
//!
//! ```text
//! not raised ── holds ──► near ── holds ──► raised ── over ──► near ── over ──► cleared
//!                │                            │
//!                └ at once, for what is worse than a doubt: raised with the first look
//! ```
//!
//! A look that finds neither (between the threshold and four fifths of it, or no answer to say so) keeps what is there and breaks
//! the row. So N looks make at most N/2 events of an alert, whatever they see (2N/3 of one that is raised at once), and what swings
//! from look to look makes at most one.

use std::fmt;

use grace_types::{manifest::Severity, time::Timestamp};
use serde::{Deserialize, Serialize};

/// What an alert can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Many tasks wait.
    QueueWarning,
    /// Very many tasks wait.
    QueueCritical,
    /// Nobody is there to run tasks.
    NoWorkers,
    /// There are fewer subscriptions than there should be.
    FewSubscriptions,
    /// Tasks wait and few are given out.
    SlowDispatch,
    /// A component is not ready.
    NotReady,
    /// A component that is ready does not answer.
    NoAnswer,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::QueueWarning => "queue_warning",
            Self::QueueCritical => "queue_critical",
            Self::NoWorkers => "no_workers",
            Self::FewSubscriptions => "few_subscriptions",
            Self::SlowDispatch => "slow_dispatch",
            Self::NotReady => "not_ready",
            Self::NoAnswer => "no_answer",
        })
    }
}

/// An alert that is raised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What it is about.
    pub rule: Rule,
    /// Whom.
    pub component: String,
    /// How bad it is.
    pub severity: Severity,
    /// Since when.
    pub since: Timestamp,
    /// What was seen, in one sentence.
    pub text: String,
}

/// What a look finds of what a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is so.
    Holds,
    /// It is not so.
    Over,
    /// Neither: within the margin, or nobody can tell.
    Open,
}

/// What follows from a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Stay,
    /// One more look like this, and it is raised or cleared.
    Near,
    /// It is raised.
    Raise,
    /// It is cleared.
    Clear,
}

/// The step that follows. `near` is whether the look before took [`Step::Near`], `at_once` whether one look is enough to raise it.
#[must_use]
pub const fn step(raised: bool, near: bool, found: Found, at_once: bool) -> Step {
    match (raised, found) {
        (false, Found::Holds) if near || at_once => Step::Raise,
        (true, Found::Over) if near => Step::Clear,
        (false, Found::Holds) | (true, Found::Over) => Step::Near,
        (true, Found::Holds) | (false, Found::Over) | (_, Found::Open) => Step::Stay,
    }
}

/// What a number says about a threshold that it is not to be above: the margin is down to four fifths of it.
#[must_use]
pub const fn above(value: u64, threshold: u64) -> Found {
    if value > threshold {
        Found::Holds
    } else if value <= threshold - threshold / 5 {
        Found::Over
    } else {
        Found::Open
    }
}
