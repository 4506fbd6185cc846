//! A scenario that was checked: every default filled in, every condition compiled.

use std::{fmt, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;

/// One experiment. See the schema in `schemas/scenario.schema.json` for what each part means.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name on the command line.
    pub id: String,
    /// What it is, in a line.
    pub title: String,
    /// The layer that it is about.
    pub layer: u8,
    /// What kind of trouble it stages.
    pub category: String,
    /// How bad that trouble would be.
    pub severity: Severity,
    /// For people.
    pub description: String,
    /// What is done to whom, and when.
    pub faults: Vec<Fault>,
    /// Work that goes on meanwhile.
    pub load: Vec<LogWriters>,
    /// What is true of a healthy system.
    pub steady_state: Vec<Probe>,
    /// Safeguards that must fire.
    pub safeguards: Vec<String>,
    /// Playbooks that must run.
    pub playbooks: Vec<String>,
    /// Subject patterns on which something must be heard.
    pub telemetry: Vec<String>,
    /// What must be true in the end.
    pub verifications: Vec<Verification>,
    /// From the end of the last fault until everything is as before.
    pub max_recovery: Duration,
    /// When one of these becomes true the run is aborted.
    pub stop_conditions: Vec<Verification>,
    /// Components that must not be touched.
    pub spare: Vec<String>,
    /// Where its text came from.
    pub origin: Origin,
    /// Its text.
    pub text: String,
}

/// Where a definition came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The binary.
    BuiltIn,
    /// A file.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How bad the staged trouble would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nobody would notice at once.
    Low,
    /// Something would be slower or delayed.
    Medium,
    /// Something would not work.
    High,
    /// The instance as a whole would be in danger.
    Critical,
}

impl Severity {
    /// As in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What can be done to a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Its process is ended with SIGKILL.
    Kill,
    /// Its process is stopped with SIGSTOP, and goes on at the end.
    Stop,
    /// Its heartbeats are revoked: the control plane drops what it says on the life line.
    Mute,
}

impl FaultKind {
    /// As in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Mute => "mute",
        }
    }

    /// Whether it is over as soon as it has taken effect.
    #[must_use]
    pub const fn is_over_at_once(self) -> bool {
        matches!(self, Self::Kill)
    }
}

/// A fault, before its targets are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is done.
    pub kind: FaultKind,
    /// To whom.
    pub target: Target,
    /// After the steady state was found to hold.
    pub at: Duration,
    /// How long at most; none for what is over at once.
    pub duration: Option<Duration>,
    /// Whether the run fails without it.
    pub needed: bool,
}

/// A choice among components: all that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// These, and each of them must be there.
    pub names: Option<Vec<String>>,
    /// Whether its loss is an emergency.
    pub critical: Option<bool>,
    /// What it is.
    pub kind: Option<TargetKind>,
    /// Its layer.
    pub layer: Option<u8>,
    /// But not these.
    pub not: Vec<String>,
    /// Only so many.
    pub count: Option<usize>,
    /// Which of them.
    pub pick: Pick,
}

/// What a target is; the words of `grace status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// A built-in kernel.
    Kernel,
    /// A part of layer 2.
    Orchestrator,
    /// Layer 3.
    Cortex,
    /// Runs tasks.
    Worker,
    /// One of the user's own programs.
    Process,
}

impl TargetKind {
    /// As in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Orchestrator => "orchestrator",
            Self::Cortex => "cortex",
            Self::Worker => "worker",
            Self::Process => "process",
        }
    }
}

/// Which of several targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// The first by name.
    #[default]
    First,
    /// Any.
    Random,
}

/// Writers that append records to the tamper-evident log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogWriters {
    /// How many.
    pub writers: u32,
    /// Records a second of each, at most.
    pub rate: u32,
    /// Of each record.
    pub size_bytes: usize,
    /// How long at most.
    pub duration: Duration,
}

/// Something that is true of a healthy system.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// What it says.
    pub name: String,
    /// When it holds.
    pub check: Condition,
    /// How long it may be untrue before and after the faults.
    pub within: Duration,
    /// How long it may be untrue at a stretch while faults are on; none where that does not matter.
    pub during: Option<Duration>,
}

/// A condition with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Verification {
    /// What it says.
    pub name: String,
    /// When it holds.
    pub check: Condition,
}
