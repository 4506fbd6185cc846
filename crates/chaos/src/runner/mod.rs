//! The runner's decisions: what is done when, and what is made of it. Pure; [`crate::run`] is the shell around it.
//!
//! Every step is an event with its reasons in the journal of the component `chaos`, so that a run can be told from its journal
//! alone. A run that its runner did not finish is noted as aborted by the next one.

mod decider;
mod event;
mod state;
#[cfg(test)]
mod tests;

pub use decider::{Refusal, Runner};
pub use event::{Command, Effect, Event, Look, Orders, ProbeOrder, ProbeOutcome, Seen};
pub use state::{FaultState, Run, State};
