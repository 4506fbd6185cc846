//! Intents as they travel: what somebody wants done, who approved it, and what became of it.
//!
//! ```text
//! whoever wants something ─ Submission ─► the layer that governs ─ with an id and an Origin ─► the task manager ─► Submitted
//! ```
//!
//! What is asked of the layer that governs, and what it answers, is in [`asked`].
//!
//! Not here: what may be asked for and which tasks that takes (Layer 2), and what may be done without a person (Layer 3).

pub mod asked;
mod id;
mod json;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

pub use self::{
    id::{BadId, Era, IntentId, TaskId},
    json::Json,
};
use crate::reason::Reason;

/// The header that says how long an answer may wait, milliseconds: of a lease, for a task; of an intent, for the task manager to take it.
pub const WAIT_HEADER: &str = "Grace-Wait-Ms";

/// Where the task manager takes intents. Nobody but the layer that governs may publish there.
pub const SUBMIT_SUBJECT: &str = "grace.htm.submit";

/// How urgent work is. Each gets its share of the dispatches, so that none starves (see the task manager's fairness).
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before everything else.
    Critical,
    /// Soon.
    High,
    /// In turn.
    #[default]
    Normal,
    /// When there is room; refused first when too much waits.
    Low,
}

impl Priority {
    /// Most urgent first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Normal, Self::Low];

    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// Its place among [`Self::ALL`].
    #[must_use]
    pub const fn rank(self) -> usize {
        self as usize
    }
}

/// One thing that is wrong with a payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// JSON Pointer (RFC 6901) to the value; empty for the payload itself.
    pub pointer: String,
    /// What was expected there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = if self.pointer.is_empty() { "the payload" } else { &self.pointer };
        write!(f, "{pointer}: expected {}, found {}", self.expected, self.found)
    }
}

/// An intent that somebody wants done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Its name, where the layer that governs gave it one; the task manager's next when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<IntentId>,
    /// Its type's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who wants it.
    pub actor: String,
    /// What it is about; `null` when not given.
    #[serde(default)]
    pub payload: Json,
    /// The same key gives the same intent, for as long as it is known and for the last 262,144 keys after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The type's when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// When it counts as late, milliseconds from now; the type's when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// When it may begin, milliseconds from now; at once when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Who approved it, and what caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Arc<Origin>>,
    /// It has the origin of the one before it, which is not said again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub origin_as_before: bool,
}

/// The tier of what is allowed in an emergency, under a grant that is live.
pub const EMERGENCY_TIER: u8 = 4;

/// The code with which an intent is refused while the last of the disk is kept for emergencies. With room again it is taken.
pub const DISK_RESERVE: &str = "disk_reserve";

/// Who approved an intent, and what caused it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Origin {
    /// Who approved it: the operator, or the layer above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// The tier under which it was approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Its score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Why it was approved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// What it belongs to (an id in its text form), for events that its tasks publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    /// The event that caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation: Option<String>,
    /// How many causes lie before it.
    #[serde(skip_serializing_if = "is_zero")]
    pub hops: u32,
    /// W3C Trace Context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl Origin {
    /// Whether it was allowed in an emergency. The cortex writes the tier, whatever whoever asked may have written there.
    #[must_use]
    pub fn is_emergency(&self) -> bool {
        self.tier.as_deref().is_some_and(|tier| tier.parse() == Ok(EMERGENCY_TIER))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Submitted {
    /// It is durable.
    Accepted {
        /// Its name.
        id: IntentId,
        /// It was there already, under the same key.
        repeated: bool,
    },
    /// It was not taken.
    Refused(Refused),
}

/// Why an intent is not taken, or not even decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// Stable: `unknown_type`, `invalid`, `key_reused`, `overloaded`, `too_large`, `bad_request`; of what changes governance also its refusals,
    /// such as `no_approver` or `bad_policies`.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// What is wrong with the payload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<Violation>,
}

impl Refused {
    /// Nothing is wrong with the payload itself.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), violations: Vec::new() }
    }
}

/// With everything that is wrong with the payload.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for (n, violation) in self.violations.iter().enumerate() {
            write!(f, "{} {violation}", if n == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}
