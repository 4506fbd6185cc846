//! Hooks of coding agents: what an agent is about to do becomes an intent, and the decision an answer in that agent's own dialect.
//!
//! ```text
//! the hook's JSON ─► call (bounded, read) ─┬─► passed over: an event that is no tool call
//!                                          └─► mapping ─► type, target, payload ─► (the cortex decides) ─► verdict ─► answer
//! ```
//!
//! | Module | What it holds |
//! |---|---|
//! | [`agent`] | the agents whose dialects are spoken |
//! | [`call`] | a hook's input, read |
//! | [`mapping`] | which call means which type of intent |
//! | [`answer`] | a verdict as JSON, standard error and exit status |
//!
//! Pure: no IO, no clock. Not here yet: whoever reads a hook's input, asks the cortex and gives the answer.

pub mod agent;
pub mod answer;
pub mod call;
pub mod mapping;
