//! The shell of a run: looks at the system, tells the decider, does what follows from its decisions, and keeps the evidence.
//!
//! ```text
//! System (status) ──────┐                                         ┌─► injector (a process of its own: undoes when we are gone)
//! injector's reports ───┼─► Session::turn ─► Runner, on its Host ─┼─► load, telemetry, shipping (a thread of its own: `back`)
//! stop requests ────────┘    every 20 ms       └─ journal ────────┴─► evidence folder, lines for the terminal
//! ```
//!
//! Everything that a run leaves behind when it is killed is undone by others: faults by the injector, whose pipe closes; the
//! lock by the kernel. Its journal tells the next run that it was not finished.

mod account;
mod back;
mod clock;
mod desk;
mod journals;
mod load;
mod lock;
mod log;
mod session;
mod verdict;
mod watch;

use std::{collections::BTreeMap, path::PathBuf, sync::mpsc::Receiver};

use grace_types::{
    chance::{Entropy as _, OsEntropy},
    id::RunId,
    time::Clock as _,
};
use serde_json::Value;

pub use lock::{Holder, LockError, RunLock};
pub use verdict::unknown_playbook;
pub use watch::Change;

use self::clock::RunClock;
use crate::{
    plan::Plan,
    record::{DetectionRecord, RunRecord, SafeguardRecord, VerificationRecord},
    runner::Event,
    safeguard::Safeguard,
    scenario::Scenario,
};

/// The component under whose name a run decides and ships its journal.
pub const COMPONENT: &str = "chaos";

/// What a run needs to know of the system that it attacks.
pub trait System {
    /// The documents of `grace status --json` since the last call, oldest first; at least the newest one. Does not wait.
    ///
    /// # Errors
    /// Why there is none, in a sentence.
    fn statuses(&self) -> Result<Vec<Value>, String>;

    /// The document of `grace status --json`, asked for now. Waits a fraction of a second at most.
    ///
    /// # Errors
    /// Why there is none, in a sentence.
    fn ask(&self) -> Result<Value, String>;
}

/// Where the instance is, and how to reach it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its data folder.
    pub data: PathBuf,
    /// The program that is the injector when it is told so.
    pub program: PathBuf,
    /// The bus, as somebody who may hear and say everything.
    pub login: BusLogin,
    /// The version of Grace.
    pub version: String,
}

/// How to reach the bus.
#[derive(Clone)]
pub struct BusLogin {
    /// The broker's Unix socket.
    pub socket: PathBuf,
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for BusLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BusLogin")
            .field("socket", &self.socket)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A run that is about to begin.
pub struct Assignment<'a> {
    /// What is to be run.
    pub scenario: &'a Scenario,
    /// On which targets.
    pub plan: &'a Plan,
    /// The safeguards that are expected.
    pub safeguards: &'a BTreeMap<String, Option<Safeguard>>,
    /// Where.
    pub place: &'a Place,
}

/// News of a run, for whoever watches.
#[derive(Debug)]
pub enum News<'a> {
    /// It begins.
    Begins {
        /// Its name.
        run: &'a str,
    },
    /// The runner decided something.
    Decided(&'a Event),
    /// A component went down, or is back.
    Changed(&'a Change),
    /// The system found something out by itself.
    Detected(&'a DetectionRecord),
    /// The control plane does not answer.
    Trouble(&'a str),
    /// The facts were looked at.
    Verified(&'a [VerificationRecord], &'a [SafeguardRecord]),
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// All of it.
    pub record: RunRecord,
    /// The bundle of its evidence, if there is one.
    pub bundle: Option<PathBuf>,
    /// Why the bundle has no seal, or is not there.
    pub warnings: Vec<String>,
}

/// Why a run did not come to a judgement. Whatever it had on is undone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Another run is under way, or the lock's file cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The journal cannot be opened or written.
    #[error("the journal of the runs: {0}")]
    Journal(String),
    /// The injector cannot be started.
    #[error("{0}")]
    Injector(String),
    /// The evidence has no place to be kept.
    #[error("the folder of the evidence: {0}")]
    Evidence(std::io::Error),
    /// The system refused a thread or a descriptor.
    #[error("{0}")]
    System(std::io::Error),
}

/// Runs a scenario to its judgement. Each text that comes in by `stops` asks for its end, and says who asks.
///
/// # Errors
/// See [`RunError`]. A run that fails is no error: its [`Outcome`] says so.
pub fn run(
    assignment: &Assignment<'_>,
    system: &dyn System,
    stops: &Receiver<String>,
    tell: &mut dyn FnMut(&News<'_>),
) -> Result<Outcome, RunError> {
    let clock = RunClock::start();
    let now = clock.now();
    let run = RunId::new(now.wall, &mut OsEntropy);
    let holder = Holder::new(run, &assignment.scenario.id, now.wall);
    // Held to the end of this function: the evidence belongs to the run.
    let _lock = RunLock::take(&assignment.place.data, &holder)?;
    tell(&News::Begins { run: &holder.run });
    session::Session::open(assignment, (run, clock), system, tell)?.run(stops)
}

/// A seed for the choice of targets.
#[must_use]
pub fn fresh_seed() -> u64 {
    OsEntropy.next_u64()
}
