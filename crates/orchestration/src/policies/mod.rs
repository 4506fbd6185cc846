//! The event policy engine: when such an event, and so many of them, then that.
//!
//! ```text
//! event ─ which policies name its type? ─ by priority: count in its window ─ `when` ─ may its chain go on? ─┬─► deliveries, notes
//!                                                                                                           └─► stopped, with why
//! ```
//!
//! A [`Policy`] is written in a manifest or a file ([`crate::written`]): types, a CEL condition over `event`, `data` and `count`, and what follows. What it
//! does goes through a lane of its own ([`crate::delivery`]): bounded, retried, with a breaker and dead letters.
//!
//! **Cascades.** A policy that acts on what policies caused can run for ever. Each event carries how many causes lie before it
//! (`hops`) and what it belongs to; the engine remembers which policy caused which event. It stops a chain
//! - at depth [`crate::limits::CASCADE_DEPTH`];
//! - when policies have set off [`crate::limits::CASCADE_FAN_OUT`] things because of one root event;
//! - when the same policy comes again in one chain more than its `repeat` allows. The chain is followed link by link where the event,
//!   or its cause, came from a policy. Where others lie in between (an intent, its tasks), a policy that fired earlier and with
//!   fewer hops for the same correlation counts as part of the chain.
//!
//! What was stopped, and the chain, is recorded. The policy then rests for [`crate::limits::CASCADE_REST_MS`], fires once on trial, and
//! is back when that led to no stop. Resting is the guard's affair, a breaker beside the one of the lane: what was set off before
//! is still delivered.
//!
//! What cannot be rendered is a dead letter that keeps the event; it can be looked at and thrown away.
//!
//! Duplicates are known as in [`crate::triggers`]: by source and id. Time is the steady line ([`crate::steady`]).
//!
//! Not here: where events come from, and performing (the shell).

mod cascade;
mod compiled;
mod decider;
mod lint;
mod message;
mod observe;
mod policy;
pub mod shell;
mod state;
#[cfg(test)]
mod tests;
mod window;

pub use cascade::Stop;
pub use compiled::{Outcome, Verdict};
pub use decider::EventPolicies;
pub use lint::{Finding, lint};
pub use message::{Command, Event, Observation, Observed, Refusal, Reply, Row};
pub use policy::{Policy, Then, Window};
pub use state::State;
