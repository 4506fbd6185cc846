//! Scenarios: what is done to a running Grace, and what is expected of it.
//!
//! Text → `raw` (the keys as they are written; also the source of the JSON Schema) → `resolve` (bounds, defaults, conditions
//! compiled) → [`Scenario`]. A bad one is refused as a whole, with every fault in it named by file, line, column and field.
//! `library` finds them: embedded in the binary, and in folders of the user's, which win.
//!
//! Not here: whether targets exist. That is known only of a running instance (`crate::plan`).

mod library;
mod model;
mod raw;
mod resolve;

pub(crate) use library::read_text;
pub use library::{Library, LibraryError};
pub use model::*;
pub(crate) use resolve::Checks;
pub use resolve::{FACTS, LIVE_FACTS, ScenarioErrors, parse};

/// The JSON Schema (draft 2020-12) of a scenario.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(raw::RawScenario).to_value()
}
