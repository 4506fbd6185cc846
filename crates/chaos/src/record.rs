//! What a run was, from its first check to its judgement: the content of `incident.json`.
//!
//! Plain data. The runner fills it while the run goes on; the evidence folder stores it, and the report is drawn from it.
//! Nothing here is computed from anything else here, so that a reader can check each figure against the journals, the log and
//! the narratives that lie beside it.
//!
//! # What the runner calls
//!
//! The evidence of one run is one [`crate::evidence::Folder`], in `DATA/runs/<run>/`:
//!
//! ```text
//! Folder::create(DATA/runs/<run>, scenario text)   before anything is attacked; a failure here refuses the run
//!   folder.dump(at, cause, &status)                 the control plane's status: every 5 s and at each transition
//!   folder.resources(at, &sample)                   one sample of each process: every 5 s and at each transition
//!   folder.message(at, subject, payload)            each telemetry message, as it comes
//! folder.finish(&record, Sources {…})               once, at the end: incident.json, narratives, log entries with proofs,
//!                                                   report.html, seal, bundle.tar.zst; gives the bundle's path
//! ```
//!
//! `at` is a [`Timestamp`], `cause` one word or a short sentence (`every 5 s`, `phase: faults`, `fault 1 bit`), `status` the JSON
//! document of `grace status --json`. Every call may fail without ending the run: the run's safety comes first, and what could
//! not be kept is said in [`RunRecord::evidence_errors`].

use grace_types::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of this form; fields may be added without another one.
pub const FORMAT: u32 = 1;

/// One run of one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "Grace incident")]
pub struct RunRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// Names the run: `run_` and 26 digits.
    pub run: String,
    /// What was run.
    pub scenario: ScenarioRecord,
    /// Where it ran.
    pub host: HostRecord,
    /// When it began.
    pub started: Timestamp,
    /// When it was judged.
    pub ended: Timestamp,
    /// The phases in order.
    pub phases: Vec<PhaseRecord>,
    /// The faults in the order in which they were due.
    pub faults: Vec<FaultRecord>,
    /// What the system's own detectors found about targets of the run, after the first fault was ordered.
    pub detections: Vec<DetectionRecord>,
    /// Each component that was not ready for a while, and when it was again. One that went twice is here twice.
    pub recoveries: Vec<RecoveryRecord>,
    /// The most critical components that were seen down at one moment.
    pub down_at_once: u32,
    /// From the end of the last fault until all targets were ready and the steady state held; none where that did not happen.
    pub recovery_seconds: Option<f64>,
    /// What was expected of the system's safeguards, and what they did.
    pub safeguards: Vec<SafeguardRecord>,
    /// What was expected of playbooks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub playbooks: Vec<ExpectedRecord>,
    /// Subjects on which something had to be heard.
    pub telemetry: Vec<TelemetryRecord>,
    /// The steady state: what was checked, when, and how it went.
    pub steady_state: Vec<ProbeRecord>,
    /// The scenario's own conditions.
    pub verifications: Vec<VerificationRecord>,
    /// What the load did, if there was one.
    pub load: Option<LoadRecord>,
    /// The tamper-evident log before and after, if it could be read.
    pub log: Option<LogRecord>,
    /// The judgement.
    pub judgement: Judgement,
    /// What the conditions were evaluated over.
    pub facts: serde_json::Value,
    /// What evidence could not be kept, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence_errors: Vec<String>,
}

/// The scenario, as it was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioRecord {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its layer: 1, 2, 3, or 0 for the user's own.
    pub layer: u8,
    /// What kind of trouble it stages.
    pub category: String,
    /// How bad that trouble would be.
    pub severity: String,
    /// Its description.
    pub description: String,
    /// Where its text came from: `built in`, or a file.
    pub origin: String,
    /// Of the text, SHA-256 in hexadecimal.
    pub sha256: String,
    /// The text.
    pub text: String,
}

/// Where a run took place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostRecord {
    /// The version of Grace.
    pub grace: String,
    /// The operating system's kernel: `Linux 6.1.0`.
    pub kernel: String,
    /// `x86_64`.
    pub architecture: String,
    /// Processors that the runner may use.
    pub processors: u32,
    /// Main memory.
    pub memory_bytes: u64,
}

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The steady state is checked; nothing is attacked yet.
    Before,
    /// Faults are brought on and held.
    Faults,
    /// All faults have ended; the system recovers.
    Observation,
    /// Whatever is still on is undone.
    Undo,
    /// The steady state is checked again.
    After,
    /// The facts are gathered, and the conditions evaluated.
    Verification,
    /// The run is over.
    Judged,
}

impl Phase {
    /// As in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Faults => "faults",
            Self::Observation => "observation",
            Self::Undo => "undo",
            Self::After => "after",
            Self::Verification => "verification",
            Self::Judged => "judged",
        }
    }
}

/// When a phase was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseRecord {
    /// Which.
    pub phase: Phase,
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

/// One fault on one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultRecord {
    /// Its number within the run, from 1.
    pub number: u32,
    /// `kill`, `stop`, `mute`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The component.
    pub target: String,
    /// The process that it was aimed at, once it was ordered.
    pub pid: Option<u32>,
    /// How long it was meant to last; none for what is over at once.
    pub duration_seconds: Option<f64>,
    /// When the injector was told.
    pub ordered: Option<Timestamp>,
    /// When it was proved to have taken effect.
    pub bitten: Option<Timestamp>,
    /// When it was proved to be over; for a fault that cannot be undone, such as a kill, when it had bitten.
    pub ended: Option<Timestamp>,
    /// Whether it took effect.
    pub bit: bool,
    /// Whether nothing of it is left.
    pub undone: bool,
    /// What proves that it took effect.
    pub proof: Option<String>,
    /// What proves that it is over.
    pub undo_proof: Option<String>,
    /// Why it could not be brought on or undone.
    pub error: Option<String>,
}

/// Something that the system found out about a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DetectionRecord {
    /// The event that says so: `evt_` and 26 digits.
    pub event: String,
    /// Its type.
    pub what: String,
    /// The component that it is about; empty for the instance.
    pub target: String,
    /// When.
    pub at: Timestamp,
    /// Why, in a sentence.
    pub why: String,
}

/// A component that was down for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryRecord {
    /// Which.
    pub component: String,
    /// When it was first seen not to be ready.
    pub down: Timestamp,
    /// When it was seen ready again; none where it was not.
    pub ready: Option<Timestamp>,
    /// Between the two.
    pub seconds: Option<f64>,
}

/// A safeguard: expected or not, fired or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SafeguardRecord {
    /// Its name.
    pub name: String,
    /// What it is, in a few words; empty where there is no safeguard of this name.
    pub title: String,
    /// Whether the scenario expects it.
    pub expected: bool,
    /// Whether its own detector fired within the run, after the fault began, about a target of the run.
    pub fired: bool,
    /// From the first bite until then.
    pub seconds: Option<f64>,
    /// The event that shows it.
    pub event: Option<String>,
    /// Why it does not count, where it was expected and does not.
    pub detail: Option<String>,
}

/// Something that was expected by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedRecord {
    /// Its name.
    pub name: String,
    /// Whether it was seen.
    pub seen: bool,
    /// Why not, where it was not.
    pub detail: Option<String>,
}

/// A subject on which something had to be heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TelemetryRecord {
    /// A subject pattern.
    pub subject: String,
    /// Messages on it during the run.
    pub messages: u64,
}

/// A steady-state probe at one of the times at which it is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeRecord {
    /// Its name.
    pub name: String,
    /// `before`, `faults` or `after`.
    pub phase: Phase,
    /// When it was settled.
    pub at: Timestamp,
    /// Whether it held.
    pub ok: bool,
    /// What was found, where it did not.
    pub detail: String,
}

/// A condition of the scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerificationRecord {
    /// Its name.
    pub name: String,
    /// Whether it was evaluated and true.
    pub ok: bool,
    /// Why not; empty where it was.
    pub detail: String,
}

/// What the load did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadRecord {
    /// Records that were sent.
    pub sent: u64,
    /// Records of which the receiver said that they are durable.
    pub acknowledged: u64,
    /// Acknowledged records that could not be found afterwards; none where that could not be looked up.
    pub lost: Option<u64>,
    /// Records that were found more than once; none where that could not be looked up.
    pub duplicated: Option<u64>,
    /// Tries that ended in an error. Each was tried again.
    pub errors: u64,
    /// The last error.
    pub last_error: Option<String>,
}

/// The tamper-evident log before and after a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogRecord {
    /// Before the first fault.
    pub before: LogPoint,
    /// After the recovery.
    pub after: LogPoint,
    /// Whether a consistency proof shows that the later log contains the earlier one unchanged; none where none could be made.
    pub consistent: Option<bool>,
    /// Whether no source has a gap or a duplicate; none where the entries could not be read.
    pub continuous: Option<bool>,
    /// Sequence numbers that are missing, over all sources.
    pub gaps: Option<u64>,
    /// Sequence numbers that are there twice, over all sources.
    pub duplicates: Option<u64>,
    /// What is wrong, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// A sealed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogPoint {
    /// Entries.
    pub size: u64,
    /// The root hash, in base64 as in the checkpoint.
    pub root: String,
    /// The signed checkpoint itself.
    pub note: String,
}

/// Whether the run passed, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// Whether everything that the scenario asks for was so.
    pub passed: bool,
    /// Why: never empty once it is judged.
    pub reasons: Vec<JudgementReason>,
}

/// One step of the argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JudgementReason {
    /// Stable, dotted: `chaos.verification`.
    pub code: String,
    /// A sentence.
    pub text: String,
}
