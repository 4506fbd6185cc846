//! Work that must reach somebody: what triggers and event policies do once they have fired.
//!
//! ```text
//! Action (as written) ─ compile ─► Plan ─ render over the event ─► Work, with its key ─► a lane
//! lane: waiting ─► flying ─┬─► done
//!          ▲    breaker,   ├─► retry, later ──┐
//!          │    rate       └─► dead letter    │
//!          └──────────────────────────────────┘
//! ```
//!
//! Each owner (a subscription, a policy) has a [`lane::Lane`] of its own: a bounded queue, a [`bucket::Bucket`] for its rate, a
//! [`breaker::Breaker`], retries with back-off, and dead letters that can be put back. A lane that fails or is slow holds nobody
//! else up.
//!
//! Work carries a key that stays the same over every attempt and restart: whoever performs it hands the key on, so that work that
//! was done and not confirmed before a crash is not done twice. Nothing is dropped between its acceptance and its being done or
//! standing among the dead letters.
//!
//! Pure, but for [`perform`]: the steps that a lane takes are events of the decider that holds it ([`step::Step`]).

pub mod action;
pub mod breaker;
pub mod bucket;
pub mod happening;
pub mod lane;
pub mod overview;
pub mod perform;
pub(crate) mod share;
pub mod step;
#[cfg(test)]
mod tests;
