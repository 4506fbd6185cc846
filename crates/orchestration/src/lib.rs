//! Layer 2: what turns events and requests into work that is done once, by somebody, with a reason.
//!
//! Everything here is a pure decider or a pure part of one: no clock, no IO, no chance but what comes as an argument.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`expression`] | CEL over JSON, and `${ CEL }` in texts |
//! | [`htm`] | the hierarchical task manager: durable trees of tasks, workers, leases |
//! | [`intent`] | types of intents: payload schema, plan, mappings; compiled and checked |
//! | [`limits`] | the bounds of intents and of the task manager, with their reasons |

pub mod expression;
pub mod htm;
pub mod intent;
pub mod limits;
