//! What the watchdog of Layer 2 can be asked, what can happen, what it answers, and what it knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use grace_types::{
    manifest::Layer2Settings,
    time::{Monotonic, Timestamp},
};
use serde::{Deserialize, Serialize};

use super::{
    alert::Alert,
    sample::{Sample, Standing},
    telemetry::Telemetry,
};

/// What is in force.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The manifest's thresholds.
    pub layer2: Layer2Settings,
    /// Whether the manifest has workers, or types of intents that need some.
    pub workers_expected: bool,
}

/// Everything that the watchdog knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The boot of the machine in which monotonic times were read.
    pub boot: String,
    /// What is in force.
    pub settings: Settings,
    /// The boot of the instance whose readiness was judged.
    pub judged: Option<Timestamp>,
    /// The last look.
    pub last: Option<Telemetry>,
    /// When the task manager answered last; unknown in another boot of the machine.
    pub answered: Option<Monotonic>,
    /// The most subscriptions that there were.
    pub most_subscriptions: u64,
    /// Alerts that the last look brought one step from being raised or cleared, by `rule/component`.
    pub near: BTreeSet<String>,
    /// Alerts that are raised, by `rule/component`.
    pub alerts: BTreeMap<String, Alert>,
}

/// What the watchdog can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Command {
    /// A process takes over, or the manifest was read again. Before everything else.
    Configure {
        /// The machine's boot id.
        boot: String,
        /// In force from now on.
        settings: Settings,
    },
    /// Who is ready, while it is not judged yet.
    Judge {
        /// What the control plane says.
        standing: Standing,
        /// How long ago the instance booted, milliseconds.
        age_ms: u64,
    },
    /// A look at Layer 2.
    Observe {
        /// What was seen.
        sample: Box<Sample>,
    },
    /// The same without a record: when none can be written.
    Look {
        /// What was seen.
        sample: Box<Sample>,
    },
    /// The last look, and the alerts that are raised.
    Overview,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Other settings are in force, or the machine was booted.
    Configured {
        /// The machine's boot id.
        boot: String,
        /// In force from now on.
        settings: Settings,
    },
    /// It was judged whether Layer 2 got ready in time.
    Judged {
        /// The boot of the instance.
        booted: Timestamp,
        /// How long each took that is ready, milliseconds.
        took_ms: BTreeMap<String, u64>,
        /// Which are not.
        late: Vec<String>,
    },
    /// A look at Layer 2.
    Telemetry {
        /// What is told of it.
        telemetry: Box<Telemetry>,
        /// When the task manager answered, if it did.
        answered: Option<Monotonic>,
        /// Alerts that it brought one step from being raised or cleared.
        near: BTreeSet<String>,
    },
    /// An alert was raised.
    AlertRaised {
        /// What it says.
        alert: Alert,
    },
    /// An alert is over.
    AlertCleared {
        /// As it was.
        alert: Alert,
        /// When.
        at: Timestamp,
    },
}

/// What the watchdog answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// In force.
    Configured,
    /// Whether there is a verdict.
    Judged {
        /// If not, it is to be asked again.
        settled: bool,
    },
    /// What is told of the look.
    Observed {
        /// To be published.
        telemetry: Box<Telemetry>,
        /// Alerts that are raised now, the worst first.
        alerts: Vec<Alert>,
    },
    /// What is known.
    Overview {
        /// The last look.
        telemetry: Option<Box<Telemetry>>,
        /// Alerts that are raised, the worst first.
        alerts: Vec<Alert>,
    },
}

/// What the watchdog refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    /// The sample names more components than there can be.
    TooMany {
        /// How many.
        count: usize,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { count } => {
                write!(f, "{count} components are more than the {} that are watched", crate::limits::WATCHED)
            }
        }
    }
}
