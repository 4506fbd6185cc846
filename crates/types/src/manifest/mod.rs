//! What the user asks Grace to run.
//!
//! Text → `raw` (the keys as users write them; also the source of the JSON Schema) → `resolve` and its neighbours
//! (defaults, bounds, references, replicas) → [`model`], which the rest of Grace works with: every default filled in,
//! every replica a process of its own, every reference checked. A bad manifest is refused as a whole, with every fault
//! in it named by file, line, column and field.
//!
//! Not here: whether a command exists or a port is free. That is known only when it starts.

mod api;
mod checks;
mod defaults;
mod environment;
mod errors;
mod load;
pub mod model;
mod names;
mod plan;
mod probe;
mod process;
mod procfile;
mod raw;
mod resolve;
mod schema;
pub mod units;
mod words;

pub use errors::ManifestErrors;
pub use load::{ReadFile, load, parse, parse_with, read_text};
pub use model::*;
pub use names::RESERVED_NAMES;
pub use plan::{BootPlan, BootStep, PlanError};
pub use procfile::procfile;
pub use schema::json_schema;

/// Every key with its default and an explanation, as a manifest: `config/default.yaml`.
pub const DEFAULT_YAML: &str = include_str!("../../../../config/default.yaml");
