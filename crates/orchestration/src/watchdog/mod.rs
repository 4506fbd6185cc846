//! The watchdog of Layer 2: looks at the task manager, the trigger mesh, the event policies and the scheduler, and says what is not as
//! it should be.
//!
//! ```text
//! grace.control_plane.status (who is ready) ─┐
//! grace.cmd.<name> {overview} (how much)    ─┴► sample ─► rules ─► hysteresis ─► alert_raised, alert_cleared
//!                                                   └► score ─► telemetry ─► journal, grace.telemetry.layer2
//! ```
//!
//! | Module | What it holds |
//! |---|---|
//! | [`sample`] | what one look saw |
//! | [`rules`] | what is wrong with a sample: each rule and what it is about |
//! | [`alert`] | alerts, and when one is raised and cleared |
//! | [`score`] | the formula of the health score |
//! | [`telemetry`] | what is told of each look |
//! | [`message`], [`decider`] | what is asked, decided and recorded |
//! | [`view`] | what it says in votes |
//! | [`shell`] | the looks: every 15 s, and every second until everything was ready once |
//!
//! Two things are decided once for each boot of the instance and with each look:
//!
//! - **Readiness.** When everything of Layer 2 is ready, `layer2_ready` says how long each took. What is not within 30 s is an alert.
//! - **Alerts.** Raised when two looks in a row find it (no workers at all: at once), cleared when two in a row find that it is over, for
//!   numbers with a margin. So nothing that swings makes more than one event in two looks, and nothing that swings from look to
//!   look makes any.
//!
//! It watches and tells; it restarts nothing. Asking puts nothing on record with those that are asked, and ends after two seconds.
//! While the bus is away its looks are left out: that is others' alarm.

pub mod alert;
pub mod decider;
pub mod message;
pub mod rules;
pub mod sample;
pub mod score;
pub mod shell;
pub mod telemetry;
#[cfg(test)]
mod tests;
pub mod view;

pub use decider::Layer2Watchdog;
pub use message::{Command, Event, Refusal, Reply, Settings, State};
