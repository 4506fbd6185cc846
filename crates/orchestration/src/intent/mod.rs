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
mod http;
mod model;
mod schema;
#[cfg(test)]
mod tests;

pub use grace_types::intent::{Json, Priority, Violation};
use grace_types::yaml::Path;

pub use definition::{Backoff, Caps, Definition, Definitions, Needs, RateLimit, TaskSpec};
pub use model::{Concurrency, Expect, IntentType, Limits, Plan, Rate, Retry, Task};
pub use schema::Schema;

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
