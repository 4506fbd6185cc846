//! How a runner speaks to its injector. Blocking, with a limit on every wait.
//!
//! ```text
//! Injector::start ─► spare ─► inject (waits for the bite) … undo, ended (wait for the end) ─► finish
//!                                └ order, bitten: several faults at once
//! ```
//!
//! Everything that the injector says is kept in the order in which it came ([`Injector::reports`]); waiting for one report loses
//! none of the others. Dropping the client closes the pipe, and everything is undone.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use grace_types::{
    id::FaultId,
    time::{Clock as _, Monotonic, Now, SystemClock},
};
use rustix::event::PollFlags;

use crate::{
    limits,
    lines::{Line, LineReader, Outbox, wait},
    order::FaultOrder,
    report::{BiteProof, RefusalCode, Report, Request, UndoCause, UndoProof},
};

/// A running injector.
#[derive(Debug)]
pub struct Injector {
    child: Option<Child>,
    /// None once it was closed.
    input: Option<OwnedFd>,
    output: OwnedFd,
    lines: LineReader,
    reports: Vec<Report>,
    ended: bool,
}

/// A fault that was proved to have taken effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitten {
    /// Which.
    pub id: FaultId,
    /// When that was proved.
    pub at: Now,
    /// By what.
    pub proof: BiteProof,
}

/// How a fault ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Nothing is left of it.
    Undone {
        /// When that was proved.
        at: Now,
        /// Why it ended.
        cause: UndoCause,
        /// What proves it.
        proof: UndoProof,
    },
    /// It failed, after it had bitten or before.
    Failed(FaultFailed),
}

/// Why a fault did not do what it was ordered to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct FaultFailed {
    /// What went wrong, in a sentence.
    pub error: String,
    /// When that was found.
    pub at: Now,
    /// Whether nothing of it is left.
    pub clean: bool,
    /// What proves that nothing is left, where it had begun.
    pub undo_proof: Option<UndoProof>,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The injector could not be started.
    #[error("the injector cannot be started: {0}")]
    NotStarted(io::Error),
    /// It has ended, or the pipe is broken. The control plane undoes what it left.
    #[error("the injector has ended")]
    Gone,
    /// It did not answer in time. It keeps its deadlines all the same.
    #[error("the injector said nothing of {what} within {} s", .patience.as_secs_f64())]
    Silent {
        /// What was waited for.
        what: String,
        /// How long.
        patience: Duration,
    },
    /// It does not do it.
    #[error("refused: {message}")]
    Refused {
        /// Why, for programs.
        code: RefusalCode,
        /// Why, for people.
        message: String,
    },
    /// It could not be brought on, or not be proved.
    #[error(transparent)]
    Failed(#[from] FaultFailed),
    /// Too much for the pipe at once.
    #[error("the request has more than {} bytes", limits::LINE_BYTES)]
    TooLong,
}

impl Injector {
    /// Starts `program --data DATA injector`, and waits until it takes orders.
    ///
    /// # Errors
    /// [`ClientError::NotStarted`], [`ClientError::Silent`], [`ClientError::Gone`].
    pub fn start(program: &Path, data: &Path) -> Result<Self, ClientError> {
        let mut command = Command::new(program);
        command.arg("--data").arg(data).arg("injector").current_dir("/");
        // A run of a component that ends takes its processes with it, and is told by these variables; the injector outlives it.
        command.env_remove("GRACE_COMPONENT").env_remove("GRACE_INCARNATION");
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.map_err(ClientError::NotStarted)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(ClientError::Gone);
        };
        Self { child: Some(child), ..Self::over(input.into(), output.into()) }.ready()
    }

    /// Speaks to an injector that runs already, over its standard input and output.
    ///
    /// # Errors
    /// [`ClientError::Silent`], [`ClientError::Gone`].
    pub fn connect(input: OwnedFd, output: OwnedFd) -> Result<Self, ClientError> {
        Self::over(input, output).ready()
    }

    fn over(input: OwnedFd, output: OwnedFd) -> Self {
        let (lines, reports) = (LineReader::default(), Vec::new());
        Self { child: None, input: Some(input), output, lines, reports, ended: false }
    }

    fn ready(mut self) -> Result<Self, ClientError> {
        let up = |report: &Report| matches!(report, Report::Ready { .. }).then_some(());
        self.until("itself", limits::CLIENT_PATIENCE, up)?;
        Ok(self)
    }

    /// The injector's process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.reports.iter().find_map(|r| if let Report::Ready { pid } = r { Some(*pid) } else { None })
    }

    /// Everything that it has said, as far as it was waited for.
    #[must_use]
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// Names what is not to be touched: the blast radius. Holds for all orders after it.
    ///
    /// # Errors
    /// [`ClientError::Gone`], [`ClientError::Silent`], [`ClientError::TooLong`].
    pub fn spare(&mut self, components: Vec<String>, pids: Vec<u32>) -> Result<(), ClientError> {
        self.say(&Request::Spare { components, pids })
    }

    /// Gives an order and does not wait for it; see [`Injector::bitten`].
    ///
    /// # Errors
    /// [`ClientError::Gone`], [`ClientError::Silent`].
    pub fn order(&mut self, order: &FaultOrder) -> Result<(), ClientError> {
        self.say(&Request::Inject { order: order.clone() })
    }

    /// Gives orders that are to bite at one time, and does not wait for them; see [`Injector::bitten`] for each.
    ///
    /// # Errors
    /// [`ClientError::Gone`], [`ClientError::Silent`], [`ClientError::TooLong`].
    pub fn volley(&mut self, orders: Vec<FaultOrder>) -> Result<(), ClientError> {
        self.say(&Request::Volley { orders })
    }

    /// Gives an order, and waits until it has bitten.
    ///
    /// # Errors
    /// Any; after [`ClientError::Silent`] and [`ClientError::Gone`] the fault may have bitten, and is undone all the same.
    pub fn inject(&mut self, order: &FaultOrder) -> Result<Bitten, ClientError> {
        self.order(order)?;
        self.bitten(order)
    }

    /// Waits until a fault that was ordered has bitten, for as long as that may take.
    ///
    /// # Errors
    /// As [`Injector::inject`].
    pub fn bitten(&mut self, order: &FaultOrder) -> Result<Bitten, ClientError> {
        let wanted = order.id;
        let time = order.fault.proof_time().min(order.duration());
        self.until("the bite", time + limits::UNDO_TIME + limits::CLIENT_PATIENCE, |report| {
            match report.clone() {
                Report::Bitten { id, at, proof, .. } if id == wanted => Some(Ok(Bitten { id, at, proof })),
                Report::Refused { id: Some(id), code, message } if id == wanted => {
                    Some(Err(ClientError::Refused { code, message }))
                }
                Report::Failed { id, at, error, clean, undo_proof } if id == wanted => {
                    Some(Err(FaultFailed { error, at, clean, undo_proof }.into()))
                }
                _ => None,
            }
        })?
    }

    /// Asks for a fault to be undone before its deadline, and waits until it is.
    ///
    /// # Errors
    /// [`ClientError::Gone`], [`ClientError::Silent`], [`ClientError::Refused`] for one that was never ordered.
    pub fn undo(&mut self, id: FaultId) -> Result<Ended, ClientError> {
        self.say(&Request::Undo { id })?;
        self.ended(id, limits::UNDO_TIME + limits::CLIENT_PATIENCE)
    }

    /// Waits until a fault has ended, whatever ends it.
    ///
    /// # Errors
    /// [`ClientError::Gone`], [`ClientError::Silent`], [`ClientError::Refused`] for one that was refused.
    pub fn ended(&mut self, wanted: FaultId, patience: Duration) -> Result<Ended, ClientError> {
        self.until("the end of a fault", patience, |report| match report.clone() {
            Report::Undone { id, at, cause, proof, .. } if id == wanted => {
                Some(Ok(Ended::Undone { at, cause, proof }))
            }
            Report::Failed { id, at, error, clean, undo_proof } if id == wanted => {
                Some(Ok(Ended::Failed(FaultFailed { error, at, clean, undo_proof })))
            }
            Report::Refused { id: Some(id), code, message } if id == wanted => {
                Some(Err(ClientError::Refused { code, message }))
            }
            _ => None,
        })?
    }

    /// Takes what the injector says within `patience`, to be found in [`Injector::reports`]; returns as soon as there is
    /// something new. False when there is nothing.
    ///
    /// # Errors
    /// [`ClientError::Gone`].
    pub fn listen(&mut self, patience: Duration) -> Result<bool, ClientError> {
        let known = self.reports.len();
        let deadline = now().plus(patience);
        while self.reports.len() == known {
            if !self.read(deadline)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Has everything undone, and waits for the injector's end: what it said, and whether nothing is left to undo.
    ///
    /// # Errors
    /// [`ClientError::Silent`].
    pub fn finish(mut self) -> Result<(Vec<Report>, bool), ClientError> {
        self.input = None;
        let patience = limits::UNDO_TIME + limits::CLIENT_PATIENCE;
        let deadline = now().plus(patience);
        let silent = || ClientError::Silent { what: "its end".to_owned(), patience };
        loop {
            match self.read(deadline) {
                Ok(true) => {}
                Ok(false) => return Err(silent()),
                Err(_) => break,
            }
        }
        // Its output is closed as the last thing that it does: what follows takes no time to speak of.
        let status = self.child.take().map(|mut child| child.wait());
        let clean = status.is_none_or(|status| status.is_ok_and(|status: ExitStatus| status.success()));
        Ok((std::mem::take(&mut self.reports), clean))
    }

    fn say(&mut self, request: &Request) -> Result<(), ClientError> {
        let Some(input) = &self.input else { return Err(ClientError::Gone) };
        let mut outbox = Outbox::default();
        if !outbox.add(request) {
            return Err(ClientError::TooLong);
        }
        let patience = limits::CLIENT_PATIENCE;
        outbox.flush(input, now().plus(patience)).map_err(|e| match e.kind() {
            io::ErrorKind::TimedOut => ClientError::Silent { what: "a request".to_owned(), patience },
            _ => ClientError::Gone,
        })
    }

    /// The first report that `pick` picks, of all that came and will come.
    fn until<T>(
        &mut self,
        what: &str,
        patience: Duration,
        pick: impl Fn(&Report) -> Option<T>,
    ) -> Result<T, ClientError> {
        let deadline = now().plus(patience);
        let mut looked_at = 0;
        loop {
            if let Some(found) = self.reports[looked_at..].iter().find_map(&pick) {
                return Ok(found);
            }
            looked_at = self.reports.len();
            if !self.read(deadline)? {
                return Err(ClientError::Silent { what: what.to_owned(), patience });
            }
        }
    }

    /// Reads once; false if `deadline` passes before there is anything.
    fn read(&mut self, deadline: Monotonic) -> Result<bool, ClientError> {
        let gone = |_| ClientError::Gone;
        if self.ended {
            return Err(ClientError::Gone);
        }
        if !wait(self.output.as_fd(), PollFlags::IN, deadline).map_err(gone)? {
            return Ok(false);
        }
        self.ended = !self.lines.read(&self.output).map_err(gone)?;
        while let Some(line) = self.lines.next() {
            // What this version does not understand is not for it.
            if let Line::Text(text) = line
                && let Ok(report) = serde_json::from_slice(&text)
            {
                self.reports.push(report);
            }
        }
        Ok(true)
    }
}

fn now() -> Monotonic {
    SystemClock.now().mono
}
