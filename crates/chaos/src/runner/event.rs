//! What the runner is told, what it decides, and what follows.

use std::time::Duration;

use grace_types::{id::RunId, time::Monotonic};
use serde::{Deserialize, Serialize};

use crate::{
    plan::PlannedFault,
    record::{JudgementReason, Phase},
};

/// What a run is to do: of the scenario, only what decisions rest on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// The scenario's id.
    pub scenario: String,
    /// Of its text, SHA-256 in hexadecimal.
    pub scenario_sha256: String,
    /// The faults in the order of time.
    pub faults: Vec<PlannedFault>,
    /// The steady state.
    pub probes: Vec<ProbeOrder>,
    /// How long the recovery may take.
    pub max_recovery: Duration,
}

/// A steady-state probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeOrder {
    /// Its name.
    pub name: String,
    /// How long it may be untrue before and after the faults.
    pub within: Duration,
    /// How long it may be untrue at a stretch while faults are on; none where that does not matter.
    pub during: Option<Duration>,
}

/// What the runner is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "tell", rename_all = "snake_case")]
pub enum Command {
    /// Begin a run.
    Begin {
        /// Names it.
        run: RunId,
        /// What it is to do.
        orders: Orders,
    },
    /// One look at the system.
    Look(Look),
    /// The injector took a fault up; whom it hits.
    Aimed {
        /// Which fault.
        number: u32,
        /// The process.
        pid: u32,
    },
    /// A fault was proved to have taken effect.
    Bitten {
        /// Which fault.
        number: u32,
        /// The proof.
        proof: String,
        /// When that was.
        at: Monotonic,
    },
    /// A fault was proved to be over.
    Ended {
        /// Which fault.
        number: u32,
        /// Why it ended, and the proof.
        proof: String,
        /// When that was.
        at: Monotonic,
        /// Whether neither its time nor the system ended it, but somebody who ended the injector.
        cut_short: bool,
    },
    /// A fault could not be brought on, proved or undone.
    Failed {
        /// Which fault.
        number: u32,
        /// What went wrong.
        error: String,
        /// Whether nothing of it is left.
        clean: bool,
        /// When that was.
        at: Monotonic,
    },
    /// Everything that was on is undone.
    Cleared,
    /// Somebody asks for the end of the run.
    Stop {
        /// Who: `Ctrl-C`, `SIGTERM` …
        by: String,
    },
    /// The evidence of the run under way, or of the last one, is complete: what is to be sealed.
    Seal {
        /// Which run.
        run: String,
        /// Of the list of all digests, SHA-256 in hexadecimal.
        digest: String,
    },
    /// What the facts say.
    Verified {
        /// What speaks against the run; nothing if all is well.
        against: Vec<JudgementReason>,
        /// How many conditions were looked at.
        checked: u32,
    },
}

/// What one look at the system showed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Look {
    /// Each probe of the steady state, in the order of [`Orders::probes`].
    pub probes: Vec<Seen>,
    /// Targets that are not back yet; none where that cannot be told.
    pub waiting_for: Option<Vec<String>>,
    /// Stop conditions that hold, or cannot be evaluated, and what was found.
    pub stop: Option<(String, String)>,
}

/// What one look showed of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seen {
    /// Whether it holds.
    pub holds: bool,
    /// What was found, where it does not.
    pub detail: String,
    /// For how long it has not held in this phase.
    pub failing_for: Duration,
}

/// How a probe came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeOutcome {
    /// Which.
    pub name: String,
    /// Whether it held.
    pub ok: bool,
    /// What was found, where it did not.
    pub detail: String,
}

/// What the runner decided or took note of. Journaled, each with its reasons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run begins.
    RunStarted {
        /// Names it.
        run: RunId,
        /// What it is to do.
        orders: Orders,
        /// When.
        at: Monotonic,
    },
    /// The steady state was checked.
    SteadyStateChecked {
        /// In which phase.
        phase: Phase,
        /// Whether all of it held.
        ok: bool,
        /// Each probe that was settled.
        probes: Vec<ProbeOutcome>,
        /// When.
        at: Monotonic,
    },
    /// The injector is told to bring on a fault.
    FaultOrdered {
        /// Which.
        number: u32,
        /// What.
        #[serde(rename = "type")]
        kind: crate::scenario::FaultKind,
        /// On whom.
        target: String,
        /// When.
        at: Monotonic,
    },
    /// A process was found for the fault.
    FaultAimed {
        /// Which.
        number: u32,
        /// The component.
        target: String,
        /// The process.
        pid: u32,
    },
    /// The fault took effect.
    FaultBitten {
        /// Which.
        number: u32,
        /// On whom.
        target: String,
        /// What proves it.
        proof: String,
        /// When.
        at: Monotonic,
    },
    /// The fault is over, and nothing of it is left.
    FaultUndone {
        /// Which.
        number: u32,
        /// On whom.
        target: String,
        /// Why it ended, and what proves it.
        proof: String,
        /// When.
        at: Monotonic,
    },
    /// The fault could not be brought on, proved or undone.
    FaultFailed {
        /// Which.
        number: u32,
        /// On whom.
        target: String,
        /// What went wrong.
        error: String,
        /// Whether nothing of it is left.
        clean: bool,
        /// Whether the run fails for it.
        needed: bool,
        /// When.
        at: Monotonic,
    },
    /// All targets are ready, and the steady state holds.
    Recovered {
        /// Since the end of the last fault.
        after: Duration,
    },
    /// That did not happen in time.
    NotRecovered {
        /// How long was waited.
        after: Duration,
        /// What is missing, a sentence each.
        missing: Vec<String>,
    },
    /// A stop condition holds.
    StopConditionMet {
        /// Which.
        name: String,
        /// What was found.
        detail: String,
    },
    /// The run ends early.
    Aborted {
        /// Which run.
        run: RunId,
        /// Who or what ended it.
        by: String,
        /// In which phase.
        phase: Phase,
        /// Whether its runner was gone, so that the next run took note of it.
        abandoned: bool,
    },
    /// Whatever was still on is undone.
    Cleared {
        /// When.
        at: Monotonic,
    },
    /// The facts were gathered and judged.
    Verified {
        /// How many conditions were looked at.
        checked: u32,
        /// What speaks against the run.
        against: Vec<JudgementReason>,
    },
    /// The digest of the evidence, on record so that the tamper-evident log vouches for it.
    EvidenceSealed {
        /// Which run.
        run: String,
        /// Of the list of all digests, SHA-256 in hexadecimal.
        digest: String,
    },
    /// The run is over.
    Judged {
        /// Which run.
        run: RunId,
        /// Whether everything was as the scenario asks.
        passed: bool,
        /// Why.
        reasons: Vec<JudgementReason>,
    },
}

impl Event {
    /// Its name in event types: the `event` tag of its JSON form.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RunStarted { .. } => "run_started",
            Self::SteadyStateChecked { .. } => "steady_state_checked",
            Self::FaultOrdered { .. } => "fault_ordered",
            Self::FaultAimed { .. } => "fault_aimed",
            Self::FaultBitten { .. } => "fault_bitten",
            Self::FaultUndone { .. } => "fault_undone",
            Self::FaultFailed { .. } => "fault_failed",
            Self::Recovered { .. } => "recovered",
            Self::NotRecovered { .. } => "not_recovered",
            Self::StopConditionMet { .. } => "stop_condition_met",
            Self::Aborted { .. } => "aborted",
            Self::Cleared { .. } => "cleared",
            Self::Verified { .. } => "verified",
            Self::EvidenceSealed { .. } => "evidence_sealed",
            Self::Judged { .. } => "judged",
        }
    }
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Tell the injector to bring this fault on.
    Inject(PlannedFault),
    /// Start the load.
    StartLoad,
    /// Stop the load and undo whatever is on; then say so ([`Command::Cleared`]).
    Clear,
    /// Gather the facts and look at them; then say so ([`Command::Verified`]).
    Verify,
}
