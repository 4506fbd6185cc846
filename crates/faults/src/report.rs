//! What the injector is told and what it answers: one JSON document a line.
//!
//! Each order is answered by [`Report::Refused`]; or by [`Report::Bitten`] and then [`Report::Undone`] or [`Report::Failed`]; or by
//! [`Report::Failed`] alone. When a fault is said to be undone, its record is gone from the disk.

use grace_types::{id::FaultId, time::Now};
use serde::{Deserialize, Serialize};

use crate::order::FaultOrder;

/// What a runner asks. Closing the pipe asks for everything to be undone at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The blast radius: these are not to be touched, from now on. Adds to what was said before; not answered.
    Spare {
        /// Components.
        components: Vec<String>,
        /// Processes.
        pids: Vec<u32>,
    },
    /// Bring on a fault.
    Inject {
        /// Which.
        order: FaultOrder,
    },
    /// Bring on faults at one time: all of them are written down first, and then bite one right after the other.
    Volley {
        /// Which.
        orders: Vec<FaultOrder>,
    },
    /// Undo a fault before its deadline.
    Undo {
        /// Which.
        id: FaultId,
    },
}

/// What the injector says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// It is up, out of reach of the runner's terminal, and takes orders.
    Ready {
        /// Its process.
        pid: u32,
    },
    /// What was asked is not done. For an order: nothing was touched.
    Refused {
        /// Which fault; none where the request cannot be read.
        id: Option<FaultId>,
        /// Why, for programs.
        code: RefusalCode,
        /// Why, for people.
        message: String,
    },
    /// It took effect.
    Bitten {
        /// Which fault.
        id: FaultId,
        /// When that was proved.
        at: Now,
        /// By what.
        proof: BiteProof,
        /// From the bite to its proof, in milliseconds.
        proved_after_ms: u64,
    },
    /// It is over, and nothing is left of it.
    Undone {
        /// Which fault.
        id: FaultId,
        /// When that was proved.
        at: Now,
        /// Why it ended.
        cause: UndoCause,
        /// What proves that it is over.
        proof: UndoProof,
        /// From the proof of its bite to its end, in milliseconds; 0 for what is over at once.
        lasted_ms: u64,
    },
    /// It could not be brought on, proved, or undone.
    Failed {
        /// Which fault.
        id: FaultId,
        /// When that was found.
        at: Now,
        /// What went wrong, in a sentence.
        error: String,
        /// Whether nothing of it is left. If not, its record remains, and the control plane goes on trying.
        clean: bool,
        /// What proves that nothing is left, where it had begun.
        undo_proof: Option<UndoProof>,
    },
}

/// Why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The line is no request, or is too long.
    BadRequest,
    /// The order is out of bounds.
    BadOrder,
    /// An order of this id was given before.
    Duplicate,
    /// There is no such process any more, or no such fault.
    NotFound,
    /// The process is none of this instance's, or not of this component.
    Foreign,
    /// It lies outside the blast radius, or is the runner or the injector itself.
    Spared,
    /// Too many faults at one time, or too many orders.
    Busy,
    /// Everything is being undone.
    Ending,
}

/// What proves that a fault took effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "proof", rename_all = "snake_case")]
pub enum BiteProof {
    /// The pidfd says that the process has ended.
    Ended,
    /// The process is stopped.
    Stopped {
        /// Its state in `/proc/PID/stat`: `T`.
        state: char,
    },
    /// The control plane dropped what the process said.
    Muted {
        /// How many datagrams.
        dropped: u64,
        /// Since the last heartbeat that was taken, in milliseconds, where it owes heartbeats.
        heartbeat_age_ms: Option<u64>,
    },
}

/// What proves that nothing of a fault is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "proof", rename_all = "snake_case")]
pub enum UndoProof {
    /// The process that it hit has ended, and the fault with it.
    Gone,
    /// The process goes on.
    Running {
        /// Its state in `/proc/PID/stat`.
        state: char,
    },
    /// The control plane takes what the process says.
    Heard,
    /// The machine was started anew since.
    Rebooted,
}

/// Why a fault ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoCause {
    /// It is over as soon as it has bitten.
    AtOnce,
    /// Its time was over.
    Deadline,
    /// The runner asked.
    Asked,
    /// What it hit has ended, most often because a detector found it and it was replaced.
    TargetGone,
    /// The runner closed the pipe, or died.
    RunnerGone,
    /// The injector was asked to end (SIGTERM, SIGINT or SIGHUP).
    InjectorEnds,
    /// It could not be brought on or proved.
    Failed,
}

impl Report {
    /// The fault that it is about.
    #[must_use]
    pub const fn id(&self) -> Option<FaultId> {
        match self {
            Self::Ready { .. } => None,
            Self::Refused { id, .. } => *id,
            Self::Bitten { id, .. } | Self::Undone { id, .. } | Self::Failed { id, .. } => Some(*id),
        }
    }

    /// Whether it is the last that is said of its fault.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Undone { .. } | Self::Failed { .. })
    }
}

impl std::fmt::Display for BiteProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ended => f.write_str("the pidfd says that the process has ended"),
            Self::Stopped { state } => write!(f, "the process is in state {state}"),
            Self::Muted { dropped, heartbeat_age_ms } => {
                write!(f, "the control plane dropped {dropped} datagrams of the process")?;
                heartbeat_age_ms.map_or(Ok(()), |ms| write!(f, "; its last heartbeat is {ms} ms old"))
            }
        }
    }
}

impl std::fmt::Display for UndoProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => f.write_str("the process that it hit has ended"),
            Self::Running { state } => write!(f, "the process goes on, in state {state}"),
            Self::Heard => f.write_str("the control plane takes what the process says"),
            Self::Rebooted => f.write_str("the machine was started anew since"),
        }
    }
}

impl std::fmt::Display for UndoCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AtOnce => "it is over at once",
            Self::Deadline => "its time was over",
            Self::Asked => "the runner asked for it",
            Self::TargetGone => "what it hit has ended",
            Self::RunnerGone => "the runner closed the pipe or died",
            Self::InjectorEnds => "the injector was asked to end",
            Self::Failed => "it could not be brought on or proved",
        })
    }
}
