//! The trigger mesh: events that set off intents and other events.
//!
//! ```text
//! event ─ known already? ─ which subscriptions name its type? ─ filter ─ throttle ─ render the action ─► a delivery in each lane
//! ```
//!
//! A [`Subscription`] names types of events, a CEL filter, a throttle and an action. An event that at least one subscription takes
//! is acknowledged once its deliveries are durable; from there on [`crate::delivery`] keeps them until they are done or dead
//! letters. What no subscription takes is not recorded: there is nothing to lose.
//!
//! Rules:
//! - **Duplicates.** `source` and `id` name an event. One that was taken is remembered for [`crate::limits::SEEN_FOR_MS`], the last
//!   [`crate::limits::SEEN`] of them; a copy within that memory is acknowledged and does nothing.
//! - **Filter.** One that cannot be evaluated does not fire; that is recorded, at most once a minute for each subscription.
//! - **Throttle.** `once_within` lets the first event through and none that comes within that time after it. Those are counted.
//!   `rate` drops nothing: deliveries past it wait.
//! - **Full.** Past `queue` deliveries become dead letters, past [`crate::limits::LANE_DEAD_LETTERS`] the event is not acknowledged.
//! - **Action.** One that cannot be rendered is a dead letter at once. It keeps the event, and is rendered again when it is requeued.
//!
//! Time is the steady line ([`crate::steady`]): steps of the wall clock neither open a throttle nor lose a retry.
//!
//! Not here: where events come from and how actions are performed (the shell).

mod compiled;
mod decider;
pub mod door;
mod ingest;
mod message;
pub mod shell;
mod state;
mod subscription;
#[cfg(test)]
mod tests;

pub use compiled::{Outcome, Verdict};
pub use decider::TriggerMesh;
pub use message::{Command, Event, Ingested, Refusal, Reply, Row, Taken};
pub use state::State;
pub use subscription::{Subscription, Throttle};
