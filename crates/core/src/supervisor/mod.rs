//! The supervisor: the pure half of the control plane.
//!
//! ```text
//! pidfd, notify socket, probes, operators ─► Command ─► decide ─► Recorded<Event>… ─► effects ─► shell
//!                                                         ▲            │
//!                                                         └── State ◄── evolve
//! ```
//!
//! [`decider::decide`] first takes in what happened, then *reconciles*: whatever may start now is started, whatever
//! must be stopped next is stopped, whatever has run out of time is killed. So there is one place that says when a
//! process may start, whether at boot, after a crash, or in an emergency.
//!
//! Not here: heartbeats, probes and `/proc` sweeps are counted by the control plane's detectors, which report only
//! their findings ([`Input::Ready`], [`Input::Hung`]); a heartbeat itself decides nothing.

pub mod decider;
pub mod event;
mod plan;
pub mod state;
#[cfg(test)]
mod tests;

pub use event::{Command, Effect, Event, Exit, Found, Hang, Input, Outcome, Refusal, Then};
pub use plan::Plan;
pub use state::{Component, Phase, Run, State};

use std::time::Duration;

/// A run that was ready and lasted this long was sound: its end restarts at once, without back-off. Shorter runs in a
/// row are a crash loop, which back-off slows down. One second is far above any start-up crash and far below the
/// life of a useful service.
pub const SOUND_RUN: Duration = Duration::from_secs(1);
