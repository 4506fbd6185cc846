//! Lets time pass for a decider that says when it has something to do without being asked.
//!
//! A tick is a command like any other; its answer says when the next is due. In between the clockwork sleeps, at most
//! [`limits::LOOK_EVERY`], since the wall clock may be set; whoever gives the decider something to do nudges it.

use std::{sync::Arc, time::Duration};

use grace_kernel::{Decider, Envelope, HostError, Outcome, process::thread::Commands};
use grace_types::chance::{Entropy as _, OsEntropy};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{delivery::step::Step, limits};

/// What a tick has done, and when the next is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Something is due already: tick again at once.
    pub more: bool,
    /// When something is due, milliseconds from now; `None` for never.
    pub next_ms: Option<u64>,
}

impl Passed {
    /// After a tick at `at_ms` that began these deliveries, when `due_ms` was the first moment at which a lane could go on. What it did not
    /// begin, for lack of room, is begun when something settles.
    pub(crate) fn after(steps: &[Step], due_ms: Option<u64>, at_ms: u64) -> Self {
        let next_ms = due_ms.filter(|due| *due > at_ms).map(|due| due - at_ms);
        Self { more: !steps.is_empty(), next_ms }
    }
}

/// A decider to which time matters.
pub(crate) trait Timed: Decider {
    /// The command by which time passes.
    fn tick(chance: u64) -> Self::Command;
    /// What its answer says.
    fn passed(reply: &Self::Reply) -> Option<Passed>;
}

/// The way to wake it up; clones wake the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clockwork(Arc<Notify>);

impl Clockwork {
    /// Something may be due now that was not before.
    pub(crate) fn nudge(&self) {
        self.0.notify_one();
    }

    /// Ticks until the host stops.
    pub(crate) async fn run<D: Timed>(self, commands: Commands<D>) {
        loop {
            let tick = Envelope::new(D::tick(OsEntropy.next_u64()));
            let passed = match commands.ask(tick).await {
                Ok(Outcome::Done(reply)) => D::passed(&reply),
                Err(HostError::Stopping) => return,
                // A journal that cannot be written now is tried again; the host tells of it.
                Ok(Outcome::Refused(_)) | Err(_) => None,
            };
            let wait = match passed {
                Some(Passed { more: true, .. }) => continue,
                Some(Passed { next_ms: Some(ms), .. }) => Duration::from_millis(ms).min(limits::LOOK_EVERY),
                _ => limits::LOOK_EVERY,
            };
            let _ = tokio::time::timeout(wait, self.0.notified()).await;
        }
    }
}
