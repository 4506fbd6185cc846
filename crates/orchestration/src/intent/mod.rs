//! Intents: what may be asked for, and which tasks that takes.
//!
//! ```text
//! YAML ─ crate::written ─► IntentType (as it is written) ─ compile ─► Definition: schema, tasks with their dependencies, mappings
//! payload ─ Definition::check ─► every violation, or none ─► the task manager
//! ```
//!
//! An [`IntentType`] is what a manifest or a file says under `intents:`; the same shape travels as JSON to the task manager, which
//! compiles it again: whoever sends it is not believed. A [`Definition`] never changes; a type that is defined anew gets another
//! one, and intents that are under way keep theirs.
//!
//! Not here: how a task is run (workers), and when (the task manager).

mod compile;
mod definition;
mod json;
mod model;
mod schema;
#[cfg(test)]
mod tests;

use grace_types::yaml::Path;
use serde::{Deserialize, Serialize};

pub use definition::{Backoff, Caps, Definition, Needs, RateLimit, TaskSpec};
pub use json::Json;
pub use model::{Concurrency, Expect, IntentType, Limits, Plan, Rate, Retry, Task};
pub use schema::{Schema, Violation};

/// One thing that is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, from the definition's root.
    pub path: Path,
    /// Whether it is about the key at the end of `path` rather than its value.
    pub at_key: bool,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

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
