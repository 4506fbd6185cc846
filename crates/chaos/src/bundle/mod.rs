//! The evidence of a run in one file, `bundle.tar.zst`, and its check on any machine, with nothing else at hand.
//!
//! ```text
//! files ─► digests.json (SHA-256 and size of each) ─► its digest is an event of the run ─► the tamper-evident log
//!   │                                                             │
//!   └────────► tar ─► zstd ─► skippable frame: SHA-256     seal.json, seal.tlog-proof: that event, proved to be in the log
//! ```
//!
//! Two things keep a bundle honest. The last frame finds any changed byte, wherever it is, even where nothing else looks: that is against
//! accidents. The seal is against people: whoever changes a file must change `digests.json`, and its digest stands in a log
//! entry that only the log's key can vouch for. The judgement comes from the log as well, and the record of the run must agree.
//!
//! | Module | What it holds |
//! |---|---|
//! | `pack` | files to bytes, the same bytes for the same files |
//! | `unpack` | bytes to files, within bounds |
//! | [`digests`] | `digests.json` |
//! | [`verify`](mod@verify) | everything that must agree |
//! | [`limits`] | every bound, with its reason |
//!
//! Nothing here reads or writes files.

pub mod digests;
pub mod limits;
mod pack;
mod unpack;
pub mod verify;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use pack::pack;
pub use unpack::{UnpackError, unpack};
pub use verify::{Verdict, verify};

/// The files of a bundle, by name. Names are relative, with `/`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What the run was: [`crate::record::RunRecord`].
pub const INCIDENT: &str = "incident.json";
/// The scenario's text.
pub const SCENARIO: &str = "scenario.yaml";
/// The report for people.
pub const REPORT: &str = "report.html";
/// CPU, memory and more of each component over time: [`crate::evidence::ResourceLine`] a line.
pub const RESOURCES: &str = "resources.jsonl";
/// Messages on the bus: [`crate::evidence::TelemetryLine`] a line.
pub const TELEMETRY: &str = "telemetry.jsonl";
/// The narratives of the run's time: [`grace_types::narrative::Narrative`] a line.
pub const NARRATIVES: &str = "narratives.jsonl";
/// Statuses of the control plane: [`crate::evidence::Dump`] each.
pub const DUMPS: &str = "dumps/";
/// The signed checkpoint after the run.
pub const CHECKPOINT: &str = "log/checkpoint";
/// The signed checkpoint before it.
pub const CHECKPOINT_BEFORE: &str = "log/checkpoint.before";
/// That the later log contains the earlier one, in the form of a C2SP tlog-witness request.
pub const CONSISTENCY: &str = "log/consistency";
/// The log's verifier key.
pub const KEY: &str = "log/immutable_log.vkey";
/// The log's entries between the checkpoints, each named by its index.
pub const ENTRIES: &str = "log/entries/";
/// A C2SP tlog-proof for each.
pub const PROOFS: &str = "log/proofs/";
/// Records that the entries name and that lie beside the log, by digest.
pub const BLOBS: &str = "log/blobs/";
/// Which entries were too many: [`LeftOut`].
pub const LEFT_OUT: &str = "log/left_out.json";
/// The log entry that holds the run's judgement. It is found together with the seal, so it has no digest; it needs none.
pub const JUDGED: &str = "judged.json";
/// That it is in the log.
pub const JUDGED_PROOF: &str = "judged.tlog-proof";
/// Digests of all files but itself, those of the judgement and the seal, and [`UNSEALED`].
pub const DIGESTS: &str = "digests.json";
/// The log entry that holds the digest of [`DIGESTS`].
pub const SEAL: &str = "seal.json";
/// That it is in the log.
pub const SEAL_PROOF: &str = "seal.tlog-proof";
/// Why there is no seal, where there is none.
pub const UNSEALED: &str = "unsealed.txt";

/// The component whose journal holds the seal, and the last part but one of the event's type.
pub const SEAL_COMPONENT: &str = "chaos";
/// See [`SEAL_COMPONENT`].
pub const SEAL_ACTION: &str = "evidence_sealed";
/// Likewise of the judgement.
pub const JUDGED_ACTION: &str = "judged";

/// The name of an entry's file under [`ENTRIES`], and with another ending under [`PROOFS`].
#[must_use]
pub fn entry_name(index: u64) -> String {
    format!("{ENTRIES}{index:012}.json")
}

/// The name of a proof's file.
#[must_use]
pub fn proof_name(index: u64) -> String {
    format!("{PROOFS}{index:012}.tlog-proof")
}

/// Entries of the run's time that are not in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LeftOut {
    /// The first such index.
    pub from: u64,
    /// The first one after them.
    pub to: u64,
}

/// Whether a name can be a file's in a bundle: one that means the same on every system, leads nowhere else, and hides nothing.
#[must_use]
pub fn is_sound(name: &str) -> bool {
    let sound = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    name.len() <= limits::NAME_BYTES && name.split('/').all(sound)
}
