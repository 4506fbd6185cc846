//! What the supervisor is told, what it decides, and what follows from a decision.

use std::{collections::BTreeMap, time::Duration};

use grace_types::{
    id::{BootId, FaultId, IncarnationId},
    manifest::Signal,
    time::Monotonic,
};
use serde::{Deserialize, Serialize};

use super::state::Run;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It returned this status.
    Status(i32),
    /// This signal ended it.
    Signal(i32),
    /// It ended while nobody could collect its status.
    Unknown,
}

impl Exit {
    /// Whether it ended of its own will with status 0.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Status(0))
    }
}

/// Signals that nobody asks for in a manifest, and that programs die of (signal(7)).
const CRASHES: [(i32, &str); 9] = [
    (4, "SIGILL"),
    (5, "SIGTRAP"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (11, "SIGSEGV"),
    (13, "SIGPIPE"),
    (24, "SIGXCPU"),
    (31, "SIGSYS"),
];

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(code) => write!(f, "exited with status {code}"),
            Self::Signal(number) => {
                let asked = Signal::ALL.iter().find(|s| s.number() == *number).map(|s| s.name());
                let crashed = || CRASHES.iter().find(|(n, _)| n == number).map(|(_, name)| *name);
                match asked.or_else(crashed) {
                    Some(name) => write!(f, "was ended by {name}"),
                    None => write!(f, "was ended by signal {number}"),
                }
            }
            Self::Unknown => f.write_str("ended with a status that nobody could collect"),
        }
    }
}

/// Which detector found that a process does not do its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "detector", rename_all = "snake_case")]
pub enum Hang {
    /// It sent no heartbeat for its watchdog interval.
    Watchdog {
        /// Time since the last one.
        silent: Duration,
    },
    /// It asked for its own end with `WATCHDOG=trigger`.
    Triggered,
    /// Its liveness probe failed `failure_threshold` times in a row.
    Liveness {
        /// What the last check said.
        reason: String,
    },
    /// Its process is stopped (SIGSTOP), and no operator paused it.
    Stopped,
    /// It was not ready within its start timeout.
    StartTimeout {
        /// What it was waiting for.
        reason: String,
    },
}

impl std::fmt::Display for Hang {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Watchdog { silent } => write!(f, "sent no heartbeat for {} ms", silent.as_millis()),
            Self::Triggered => f.write_str("asked to be restarted (WATCHDOG=trigger)"),
            Self::Liveness { reason } => write!(f, "failed its liveness probe: {reason}"),
            Self::Stopped => f.write_str("is stopped (SIGSTOP) and no operator paused it"),
            Self::StartTimeout { reason } => write!(f, "was not ready in time: {reason}"),
        }
    }
}

/// A live process that a new control plane found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which component it is.
    pub component: String,
    /// Which run of it.
    pub incarnation: IncarnationId,
    /// Its process.
    pub pid: u32,
    /// Its start time in clock ticks since boot: with the pid, the identity of a process.
    pub start_ticks: u64,
}

impl Found {
    /// Whether it is the main process of this run.
    #[must_use]
    pub fn is(&self, run: &Run) -> bool {
        (self.incarnation, self.pid, self.start_ticks) == (run.incarnation, run.pid, run.start_ticks)
    }
}

/// What the supervisor is told. `seed` feeds ids and jitter, so that deciding stays pure.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// 64 random bits from the shell.
    pub seed: u64,
    /// What happened or is asked.
    pub input: Input,
}

/// What happened, or what an operator asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A fresh instance begins.
    Boot {
        /// Names this boot.
        boot: BootId,
    },
    /// A new control plane took over; these processes are alive.
    TakeOver {
        /// Names this boot, should no record of it have survived.
        boot: BootId,
        /// Every live process of this instance.
        found: Vec<Found>,
        /// Processes that ended while nobody watched, and how, by pid.
        reaped: BTreeMap<u32, Exit>,
    },
    /// A process was started.
    Spawned {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
        /// Its process.
        pid: u32,
        /// Its start time in clock ticks since boot.
        start_ticks: u64,
    },
    /// A process could not be started.
    SpawnFailed {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
        /// What the system said.
        error: String,
    },
    /// A process ended.
    Exited {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
        /// How.
        exit: Exit,
    },
    /// A process became ready.
    Ready {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
        /// What told so: `READY=1`, a probe, a line of output, or that it runs.
        how: &'static str,
    },
    /// A detector found that a process does not do its work.
    Hung {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
        /// What was found.
        hang: Hang,
    },
    /// A deadline passed.
    Tick,
    /// An operator asks for a fresh process.
    Restart {
        /// Which component.
        component: String,
    },
    /// An operator stops a component in place.
    Pause {
        /// Which component.
        component: String,
    },
    /// An operator lets a paused component go on.
    Resume {
        /// Which component.
        component: String,
    },
    /// An injector asks for a life line to be muted.
    Mute {
        /// Which component.
        component: String,
        /// Its main process.
        pid: u32,
        /// That process's start time, if it is given.
        start_ticks: Option<u64>,
        /// For how long at most.
        time: Duration,
    },
    /// It is to be heard again.
    Unmute {
        /// Which component.
        component: String,
        /// Its main process.
        pid: u32,
    },
    /// A fault whose injector died, or was late, was undone.
    FaultSwept {
        /// Which.
        fault: FaultId,
        /// What it was: `stop`.
        kind: &'static str,
        /// The component that it hit.
        component: String,
        /// Why its injector did not do it.
        why: String,
        /// What proves that nothing is left of it.
        proof: String,
    },
    /// Stop everything.
    Shutdown {
        /// Who or what asks for it.
        cause: String,
    },
}

/// What follows a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// A new process, because an operator asked for one; it is not counted as a failure.
    Restart,
    /// What the restart policy says, because the process was hung.
    Recover,
    /// Nothing: the instance shuts down.
    Rest,
}

/// How Grace gives up on a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A user's program: it stays down until somebody acts.
    Failed,
    /// A kernel: the instance goes on without it.
    Degraded,
}

/// What the supervisor decided. Journaled, each with its reasons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A fresh instance begins; what was known of an earlier one is history.
    Booted {
        /// Names this boot.
        boot: BootId,
        /// How many components it has.
        components: usize,
    },
    /// A new control plane took over.
    TookOver {
        /// Live processes that it goes on supervising.
        adopted: usize,
    },
    /// A component gets a new process.
    StartDecided {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
    },
    /// The process runs.
    Started {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
        /// Its process.
        pid: u32,
        /// Its start time in clock ticks since boot.
        start_ticks: u64,
        /// When.
        at: Monotonic,
    },
    /// The process could not be started.
    StartFailed {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
        /// What the system said.
        error: String,
    },
    /// It is ready.
    BecameReady {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
        /// Since its start.
        after: Duration,
    },
    /// Its process ended.
    Exited {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
        /// How.
        exit: Exit,
        /// Since its start.
        after: Duration,
    },
    /// It does not do its work.
    HangDetected {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
        /// What was found.
        hang: Hang,
    },
    /// A new process follows.
    RestartScheduled {
        /// Which component.
        component: String,
        /// Not before.
        due: Monotonic,
        /// Back-off, 0 for at once.
        delay: Duration,
        /// Restarts in the window, this one included.
        in_window: u32,
        /// Short runs in a row, which the back-off grows with.
        short_runs: u32,
        /// When it was scheduled, for the window.
        at: Monotonic,
    },
    /// Its process is asked to end.
    StopDecided {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
        /// What follows.
        then: Then,
        /// When it is killed if it has not ended.
        kill_at: Monotonic,
    },
    /// Its process is killed.
    KillDecided {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
        /// What follows.
        then: Then,
    },
    /// An operator stopped it in place.
    Paused {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
    },
    /// An operator let it go on.
    Resumed {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
    },
    /// A fault: what its process says on its life line is dropped.
    LifeLineMuted {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
        /// When it is heard again at the latest.
        until: Monotonic,
    },
    /// It is heard again, or has ended.
    LifeLineUnmuted {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
    },
    /// A fault whose injector died, or was late, was undone by the control plane.
    FaultUndone {
        /// The component that it hit.
        component: String,
        /// Which fault.
        fault: FaultId,
        /// What it was: `stop`.
        kind: String,
    },
    /// It ended, and its policy asks for no restart.
    Completed {
        /// Which component.
        component: String,
        /// How.
        exit: Exit,
    },
    /// It is not started, because everything is being stopped.
    Withheld {
        /// Which component.
        component: String,
    },
    /// It ran out of restarts.
    GaveUp {
        /// Which component.
        component: String,
        /// What that means for it.
        outcome: Outcome,
    },
    /// An operator asked for a fresh start: counters are cleared.
    CountersCleared {
        /// Which component.
        component: String,
    },
    /// Critical components are down in a way that ordinary restarts do not mend.
    EmergencyDeclared {
        /// Which critical components are down.
        down: Vec<String>,
        /// What is restarted, in this order.
        restart: Vec<String>,
        /// 1 for the first declaration since all was well.
        round: u32,
    },
    /// Every critical component is ready again.
    EmergencyResolved {
        /// How long it lasted.
        lasted: Duration,
    },
    /// Everything is being stopped.
    ShutdownBegun {
        /// Who or what asked for it.
        cause: String,
    },
    /// Nothing runs any more.
    ShutdownFinished,
}

impl Event {
    /// The component that the event is about; `None` for the instance as a whole.
    #[must_use]
    pub fn component(&self) -> Option<&str> {
        match self {
            Self::StartDecided { component, .. }
            | Self::Started { component, .. }
            | Self::StartFailed { component, .. }
            | Self::BecameReady { component, .. }
            | Self::Exited { component, .. }
            | Self::HangDetected { component, .. }
            | Self::RestartScheduled { component, .. }
            | Self::StopDecided { component, .. }
            | Self::KillDecided { component, .. }
            | Self::Paused { component, .. }
            | Self::Resumed { component, .. }
            | Self::LifeLineMuted { component, .. }
            | Self::LifeLineUnmuted { component, .. }
            | Self::FaultUndone { component, .. }
            | Self::Completed { component, .. }
            | Self::Withheld { component }
            | Self::GaveUp { component, .. }
            | Self::CountersCleared { component } => Some(component),
            Self::Booted { .. }
            | Self::TookOver { .. }
            | Self::EmergencyDeclared { .. }
            | Self::EmergencyResolved { .. }
            | Self::ShutdownBegun { .. }
            | Self::ShutdownFinished => None,
        }
    }

    /// Its name in event types and subjects: the `event` tag of its JSON form.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Booted { .. } => "booted",
            Self::TookOver { .. } => "took_over",
            Self::StartDecided { .. } => "start_decided",
            Self::Started { .. } => "started",
            Self::StartFailed { .. } => "start_failed",
            Self::BecameReady { .. } => "became_ready",
            Self::Exited { .. } => "exited",
            Self::HangDetected { .. } => "hang_detected",
            Self::RestartScheduled { .. } => "restart_scheduled",
            Self::StopDecided { .. } => "stop_decided",
            Self::KillDecided { .. } => "kill_decided",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::LifeLineMuted { .. } => "life_line_muted",
            Self::LifeLineUnmuted { .. } => "life_line_unmuted",
            Self::FaultUndone { .. } => "fault_undone",
            Self::Completed { .. } => "completed",
            Self::Withheld { .. } => "withheld",
            Self::GaveUp { .. } => "gave_up",
            Self::CountersCleared { .. } => "counters_cleared",
            Self::EmergencyDeclared { .. } => "emergency_declared",
            Self::EmergencyResolved { .. } => "emergency_resolved",
            Self::ShutdownBegun { .. } => "shutdown_begun",
            Self::ShutdownFinished => "shutdown_finished",
        }
    }
}

/// What the shell must do because of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start a process for this run of the component.
    Spawn {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
    },
    /// Begin to watch it: watchdog, probes, start timeout.
    Watch {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
    },
    /// Send this signal number to its process group.
    Signal {
        /// Which component.
        component: String,
        /// Its process.
        pid: u32,
        /// The signal's number.
        signal: i32,
    },
    /// Detectors wait: it is paused, or being stopped.
    Unwatch {
        /// Which component.
        component: String,
    },
    /// Its process has ended: collect what it left behind.
    CleanUp {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
    },
    /// Everything has ended.
    Quit,
}

/// Why an operator's request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such component.
    #[error("there is no component named `{0}`")]
    NotFound(String),
    /// The component is in a state in which this makes no sense.
    #[error("`{component}` is {state}: {detail}")]
    WrongState {
        /// Which component.
        component: String,
        /// What it is.
        state: &'static str,
        /// Why that does not fit.
        detail: &'static str,
    },
    /// A fault of this length is not taken.
    #[error("a life line is muted for 1 ms to {} s, not for {} ms", .longest.as_secs(), .asked.as_millis())]
    Length {
        /// What was asked for.
        asked: Duration,
        /// The longest.
        longest: Duration,
    },
    /// The instance is shutting down.
    #[error("the instance is shutting down")]
    Stopping,
}
