//! The control socket: how the CLI reaches the control plane with everything else down.
//!
//! A connection carries one request as a line of JSON; the answer is one or more lines of JSON. [`Request::Watch`] is
//! answered by a [`Answer::Status`] now and after every change, until either side closes.

use serde::{Deserialize, Serialize};

use crate::status::Status;

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
