//! What the control plane must offer for a life line to be muted. The binary implements it over the control socket; the
//! control plane itself for its own sweep.

use std::time::Duration;

use crate::order::ProcessTarget;

/// The control plane's side of muting. Every call may wait, within a bound of its own.
pub trait LifeLine {
    /// Drops and counts what this very process says, for so long at most: the control plane holds this deadline too.
    ///
    /// # Errors
    /// It was refused, or nobody answers; in a sentence.
    fn mute(&mut self, target: &ProcessTarget, time: Duration) -> Result<(), String>;

    /// Takes again what it says. Not being muted is no error.
    ///
    /// # Errors
    /// It was refused, or nobody answers; in a sentence.
    fn unmute(&mut self, target: &ProcessTarget) -> Result<(), String>;

    /// How things stand.
    ///
    /// # Errors
    /// Nobody answers; in a sentence.
    fn state(&mut self, target: &ProcessTarget) -> Result<LifeLineState, String>;
}

/// How the life line of a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeLineState {
    /// The component has no process, or another one.
    Gone,
    /// What it says is taken.
    Open,
    /// What it says is dropped.
    Muted {
        /// Datagrams dropped so far.
        dropped: u64,
        /// Since the last heartbeat that was taken, where it owes heartbeats.
        heartbeat_age: Option<Duration>,
    },
}
