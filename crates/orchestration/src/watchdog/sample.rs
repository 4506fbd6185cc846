//! What one look saw: who is ready, what each answered and how fast.

use std::collections::{BTreeMap, BTreeSet};

use grace_types::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{delivery::overview::Overview, htm, scheduler::Late};

/// Everything that one look saw.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What the control plane says.
    pub status: Option<Standing>,
    /// Why it says nothing.
    #[serde(default)]
    pub silence: Option<String>,
    /// What the others answered. One that the instance does not have is not asked.
    pub htm: Option<Answer<Queue>>,
    /// See `htm`.
    pub trigger_mesh: Option<Answer<Overview>>,
    /// See `htm`.
    pub event_policy: Option<Answer<Overview>>,
    /// See `htm`.
    pub scheduler: Option<Answer<Firings>>,
}

/// What the control plane says of Layer 2.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// When the instance booted.
    pub booted: Timestamp,
    /// Components of Layer 2, by name.
    pub components: BTreeMap<String, Readiness>,
}

/// How one component stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether it is ready now.
    pub ready: bool,
    /// Whether it is one of the workers.
    #[serde(default)]
    pub worker: bool,
    /// What it is doing: `ready`, `paused`, `restarting` …
    pub state: String,
    /// Since when.
    pub since: Timestamp,
}

/// What one that was asked answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<T> {
    /// It answered.
    Given {
        /// What.
        said: T,
        /// How long it took, milliseconds.
        after_ms: f64,
    },
    /// It did not, or not what was asked; why.
    Missing(String),
}

impl<T> Answer<T> {
    /// What it said.
    pub const fn said(&self) -> Option<&T> {
        match self {
            Self::Given { said, .. } => Some(said),
            Self::Missing(_) => None,
        }
    }

    /// How long it took, or why there is none.
    pub fn after_ms(&self) -> Result<f64, &str> {
        match self {
            Self::Given { after_ms, .. } => Ok(*after_ms),
            Self::Missing(why) => Err(why),
        }
    }
}

/// The task manager in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Tasks that wait for a worker.
    pub waiting: u64,
    /// Tasks with a worker.
    pub running: u64,
    /// Tasks that wait for a time.
    pub delayed: u64,
    /// Tasks that are not over.
    pub open: u64,
    /// Intents with a dead letter.
    pub dead: u64,
    /// Tasks given to workers, ever.
    pub dispatched: u64,
    /// Intents that were late, ever.
    pub deadlines_missed: u64,
    /// Workers that it knows, by name.
    pub workers: BTreeSet<String>,
}

impl From<&htm::view::Overview> for Queue {
    fn from(overview: &htm::view::Overview) -> Self {
        Self {
            waiting: overview.waiting.values().sum(),
            running: overview.running,
            delayed: overview.delayed,
            open: overview.open,
            dead: overview.dead_letters as u64,
            dispatched: overview.totals.dispatched,
            deadlines_missed: overview.totals.deadlines_missed,
            workers: overview.workers.keys().cloned().collect(),
        }
    }
}

/// The scheduler in numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Firings {
    /// Schedules and their deliveries.
    pub overview: Overview,
    /// What did not happen when it was due.
    pub late: Late,
}

impl Sample {
    /// Those that were asked, by name: how long each took, or why it did not answer.
    pub fn answers(&self) -> impl Iterator<Item = (&'static str, Result<f64, &str>)> {
        let control_plane = match (&self.status, &self.silence) {
            (None, Some(why)) => Some(("control_plane", Err(why.as_str()))),
            _ => self.status.as_ref().map(|_| ("control_plane", Ok(0.0))),
        };
        [
            control_plane,
            self.htm.as_ref().map(|answer| ("htm", answer.after_ms())),
            self.trigger_mesh.as_ref().map(|answer| ("trigger_mesh", answer.after_ms())),
            self.event_policy.as_ref().map(|answer| ("event_policy", answer.after_ms())),
            self.scheduler.as_ref().map(|answer| ("scheduler", answer.after_ms())),
        ]
        .into_iter()
        .flatten()
    }

    /// Whether a component is ready, as far as the control plane says.
    #[must_use]
    pub fn is_ready(&self, name: &str) -> Option<bool> {
        self.status.as_ref()?.components.get(name).map(|component| component.ready)
    }
}
