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
//! | [`mapping`], [`file`] | which call means which type of intent |
//! | [`shell`] | a shell's command line, as far as it can be told |
//! | [`ask`] | a call put to the cortex, on the bus |
//! | `resource` | `POST /v1/hooks/{agent}` |
//! | [`answer`] | a verdict as JSON, standard error and exit status |
//! | [`settings`] | what an agent is told so that it runs the hook |
//!
//! All but [`file`], [`ask`] and `resource` is pure: no IO, no clock. Not here: the process that reads a hook's input and gives the answer.

pub mod agent;
pub mod answer;
pub mod ask;
pub mod call;
pub mod file;
pub mod mapping;
pub(crate) mod resource;
pub mod settings;
pub mod shell;
