//! The control socket: how the CLI reaches the control plane with everything else down.
//!
//! A connection carries one request as a line of JSON; the answer is one or more lines of JSON. [`Request::Watch`] is
//! answered by a [`Answer::Status`] now and after every change, until either side closes.

use std::time::Duration;

use grace_faults::{LifeLine, LifeLineState, ProcessTarget};
use serde::{Deserialize, Serialize};

use crate::status::{ComponentStatus, Status};

/// What can be asked of the control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// The state of everything.
    Status,
    /// The state of everything, now and after each change.
    Watch,
    /// Stop a component's process and start a new one, whatever state it is in. Its restart count within the window starts afresh.
    Restart {
        /// Which component.
        name: String,
    },
    /// Stop a component in place (SIGSTOP); its watchdog and probes wait.
    Pause {
        /// Which component.
        name: String,
    },
    /// Let a paused component go on.
    Resume {
        /// Which component.
        name: String,
    },
    /// Drop, and count, what a component's process says on its life line: a fault, as an injector orders it. Ends at its deadline,
    /// which the control plane holds, and with the process.
    Mute {
        /// Which component.
        name: String,
        /// Its main process.
        pid: u32,
        /// That process's start time, to be sure that it is the one that is meant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start_ticks: Option<u64>,
        /// For how long at most, in milliseconds.
        for_ms: u64,
    },
    /// Take again what it says. That it is not muted, or has another process by now, is no error.
    Unmute {
        /// Which component.
        name: String,
        /// Its main process.
        pid: u32,
    },
    /// Stop everything in order. Answered when it has begun; the socket closes when it is done.
    Down,
}

/// What the control plane answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// The state of everything.
    Status(Box<Status>),
    /// What was asked for has been decided and written.
    Done {
        /// One sentence on what happens now.
        message: String,
    },
    /// It was not done.
    Refused {
        /// Stable code: `not_found`, `wrong_state`, `bad_request`, `stopping`, `busy`.
        code: String,
        /// What is wrong, in one sentence.
        message: String,
        /// What to do about it.
        help: String,
    },
}

/// The life line as an injector works it, over whatever carries a request to the control plane and its answer back.
#[derive(Debug)]
pub struct LifeLineControl<A>(pub A);

impl<A: FnMut(&Request) -> Result<Answer, String>> LifeLineControl<A> {
    fn order(&mut self, request: &Request) -> Result<(), String> {
        match (self.0)(request)? {
            Answer::Done { .. } => Ok(()),
            Answer::Refused { message, .. } => Err(message),
            Answer::Status(_) => Err("the control plane answered another question".to_owned()),
        }
    }
}

impl<A: FnMut(&Request) -> Result<Answer, String>> LifeLine for LifeLineControl<A> {
    fn mute(&mut self, target: &ProcessTarget, time: Duration) -> Result<(), String> {
        self.order(&Request::Mute {
            name: target.component.clone(),
            pid: target.pid,
            start_ticks: Some(target.start_ticks),
            for_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn unmute(&mut self, target: &ProcessTarget) -> Result<(), String> {
        self.order(&Request::Unmute { name: target.component.clone(), pid: target.pid })
    }

    fn state(&mut self, target: &ProcessTarget) -> Result<LifeLineState, String> {
        let status = match (self.0)(&Request::Status)? {
            Answer::Status(status) => status,
            Answer::Refused { message, .. } => return Err(message),
            Answer::Done { .. } => return Err("the control plane answered another question".to_owned()),
        };
        let is_it = |c: &&ComponentStatus| c.name == target.component && c.pid == Some(target.pid);
        let Some(component) = status.components.iter().find(is_it) else { return Ok(LifeLineState::Gone) };
        let age = component.heartbeat_age_seconds;
        Ok(component.muted.map_or(LifeLineState::Open, |muted| LifeLineState::Muted {
            dropped: muted.dropped,
            heartbeat_age: age.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        }))
    }
}
