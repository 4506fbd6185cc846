//! One fault, from its order to its end. Pure: what happened and the time come in, steps come out.
//!
//! ```text
//! Ordered ─journaled─► Striking ─struck─► Proving ─proof─► Biting ─deadline, asked, target gone─► Undoing ─proof─► Forgetting ─► Over
//!    │                    └──────────── no proof in time ──────────────────────────────────────►     │
//!    └─ not journaled: nothing was touched ─► Over                              cannot be undone ─► Over, record left
//! ```
//!
//! The deadline counts from the order, since it is written before the bite. Results may come late or twice (the life line is
//! asked on another thread): each is taken only in the state that waits for it.

use std::time::Duration;

use grace_types::time::{Monotonic, Now};

use crate::{
    limits,
    order::FaultOrder,
    report::{BiteProof, Report, UndoCause, UndoProof},
};

/// What the shell is to do. The result of each but [`Step::Say`] comes back as an [`Input`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write the record, synced. Answered by [`Input::Journaled`].
    Journal,
    /// Bring it on. Answered by [`Input::Struck`].
    Bite,
    /// Look for the proof. Answered by [`Input::Looked`].
    Look,
    /// Undo it (again), and look for the proof of that. Answered by [`Input::Loosened`].
    Undo,
    /// Remove the record, synced. Answered by [`Input::Forgotten`].
    Forget,
    /// Tell the runner.
    Say(Report),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The order was accepted.
    Begin,
    /// The record is on disk, or cannot be written.
    Journaled(Result<(), String>),
    /// It was done, or could not be.
    Struck(Result<(), String>),
    /// The proof; none yet; or why there will be none.
    Looked(Result<Option<BiteProof>, String>),
    /// The proof that it is over; none yet; or why the last try failed.
    Loosened(Result<Option<UndoProof>, String>),
    /// The record was removed, or is left for the sweep to find.
    Forgotten,
    /// The process that it hits has ended.
    TargetGone,
    /// It is to end now.
    End(UndoCause),
    /// Time has passed.
    Tick,
}

/// One fault.
#[derive(Debug)]
pub struct Injection {
    order: FaultOrder,
    deadline: Monotonic,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Ordered,
    Striking {
        by: Monotonic,
    },
    /// `look_at` is none while a look is under way.
    Proving {
        struck: Monotonic,
        by: Monotonic,
        look_at: Option<Monotonic>,
    },
    Biting {
        since: Monotonic,
    },
    Undoing(Undoing),
    /// `at` is when the proof was seen: removing the record waits for the disk.
    Forgetting {
        ended: Undoing,
        proof: UndoProof,
        at: Now,
    },
    Over {
        clean: bool,
    },
}

/// The undo under way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Undoing {
    cause: UndoCause,
    /// What went wrong before.
    failure: Option<String>,
    /// When its bite was proved.
    bitten: Option<Monotonic>,
    give_up: Monotonic,
    /// None while a try is under way.
    try_at: Option<Monotonic>,
    last_error: String,
}

impl Injection {
    /// A fault that was accepted at `now`.
    #[must_use]
    pub fn new(order: FaultOrder, now: Monotonic) -> Self {
        let deadline = now.plus(order.duration());
        Self { order, deadline, state: State::Ordered }
    }

    /// What was ordered.
    #[must_use]
    pub const fn order(&self) -> &FaultOrder {
        &self.order
    }

    /// When it ends at the latest.
    #[must_use]
    pub const fn deadline(&self) -> Monotonic {
        self.deadline
    }

    /// Whether there is nothing left to do.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Over { .. })
    }

    /// Whether nothing of it is left in the system: it is over, and was undone or never began.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        matches!(self.state, State::Over { clean: true })
    }

    /// When [`Input::Tick`] is next due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        match &self.state {
            State::Striking { by } => Some(*by),
            State::Proving { by, look_at, .. } => Some(look_at.map_or(*by, |at| at.min(*by))),
            State::Biting { .. } => Some(self.deadline),
            State::Undoing(undoing) => {
                Some(undoing.try_at.map_or(undoing.give_up, |at| at.min(undoing.give_up)))
            }
            State::Ordered | State::Forgetting { .. } | State::Over { .. } => None,
        }
    }

    /// Takes in what happened; what is to be done now, in order.
    #[must_use]
    pub fn take(&mut self, now: Now, input: Input) -> Vec<Step> {
        match input {
            Input::Begin => match self.state {
                State::Ordered => vec![Step::Journal],
                _ => Vec::new(),
            },
            Input::Journaled(result) => self.journaled(now, result),
            Input::Struck(result) => self.struck(now, result),
            Input::Looked(result) => self.looked(now, result),
            Input::Loosened(result) => self.loosened(now, result),
            Input::Forgotten => self.forgotten(),
            Input::TargetGone => self.target_gone(now),
            Input::End(cause) => self.end(now, cause),
            Input::Tick => self.tick(now),
        }
    }

    fn journaled(&mut self, now: Now, result: Result<(), String>) -> Vec<Step> {
        match (&self.state, result) {
            (State::Ordered, Ok(())) => {
                let by = now.mono.plus(self.order.fault.proof_time()).min(self.deadline);
                self.state = State::Striking { by };
                vec![Step::Bite]
            }
            (State::Ordered, Err(error)) => {
                let error = format!("its undo cannot be written down, so it was not begun: {error}");
                self.never_began(now, error)
            }
            // Called off while it was being written.
            (State::Over { .. }, Ok(())) => vec![Step::Forget],
            _ => Vec::new(),
        }
    }

    fn struck(&mut self, now: Now, result: Result<(), String>) -> Vec<Step> {
        let State::Striking { by } = self.state else { return Vec::new() };
        match result {
            Ok(()) => {
                self.state = State::Proving { struck: now.mono, by, look_at: None };
                vec![Step::Look]
            }
            // What was tried may have been done all the same: an answer can be lost.
            Err(error) => self.fail(now, format!("it could not be brought on: {error}")),
        }
    }

    fn looked(&mut self, now: Now, result: Result<Option<BiteProof>, String>) -> Vec<Step> {
        let State::Proving { struck, by, look_at: None } = self.state else { return Vec::new() };
        match result {
            Ok(Some(proof)) => {
                let bitten = Report::Bitten {
                    id: self.order.id,
                    at: now,
                    proof,
                    proved_after_ms: millis(now.mono.since(struck)),
                };
                self.state = State::Biting { since: now.mono };
                let mut steps = vec![Step::Say(bitten)];
                if self.order.fault.is_over_at_once() {
                    let ended = self.undoing(now, UndoCause::AtOnce, None);
                    self.state = State::Forgetting { ended, proof: UndoProof::Gone, at: now };
                    steps.push(Step::Forget);
                }
                steps
            }
            Ok(None) => {
                let look_at = Some(now.mono.plus(self.order.fault.look_interval()));
                self.state = State::Proving { struck, by, look_at };
                Vec::new()
            }
            Err(error) => self.fail(now, format!("its effect cannot be proved: {error}")),
        }
    }

    fn loosened(&mut self, now: Now, result: Result<Option<UndoProof>, String>) -> Vec<Step> {
        let State::Undoing(undoing) = &mut self.state else { return Vec::new() };
        match result {
            Ok(Some(proof)) => {
                self.state = State::Forgetting { ended: undoing.clone(), proof, at: now };
                return vec![Step::Forget];
            }
            Ok(None) => "it is not over yet".clone_into(&mut undoing.last_error),
            Err(error) => undoing.last_error = error,
        }
        undoing.try_at = Some(now.mono.plus(limits::UNDO_RETRY));
        Vec::new()
    }

    fn forgotten(&mut self) -> Vec<Step> {
        let State::Forgetting { ended, proof, at } = &self.state else { return Vec::new() };
        let report = match (&ended.failure, ended.bitten) {
            (None, Some(bitten)) => Report::Undone {
                id: self.order.id,
                at: *at,
                cause: ended.cause,
                proof: proof.clone(),
                lasted_ms: millis(at.mono.since(bitten)),
            },
            (failure, _) => Report::Failed {
                id: self.order.id,
                at: *at,
                error: failure.clone().unwrap_or_else(|| ended_early(ended.cause)),
                clean: true,
                undo_proof: Some(proof.clone()),
            },
        };
        self.state = State::Over { clean: true };
        vec![Step::Say(report)]
    }

    fn target_gone(&mut self, now: Now) -> Vec<Step> {
        match &mut self.state {
            State::Proving { look_at: look_at @ Some(_), .. } => {
                *look_at = None;
                vec![Step::Look]
            }
            State::Biting { .. } => self.undo(now, UndoCause::TargetGone, None),
            State::Undoing(Undoing { try_at: try_at @ Some(_), .. }) => {
                *try_at = None;
                vec![Step::Undo]
            }
            _ => Vec::new(),
        }
    }

    fn end(&mut self, now: Now, cause: UndoCause) -> Vec<Step> {
        match self.state {
            State::Ordered => self.never_began(now, ended_early(cause)),
            State::Striking { .. } | State::Proving { .. } | State::Biting { .. } => {
                self.undo(now, cause, None)
            }
            State::Undoing(_) | State::Forgetting { .. } | State::Over { .. } => Vec::new(),
        }
    }

    fn tick(&mut self, now: Now) -> Vec<Step> {
        match &mut self.state {
            State::Striking { by } | State::Proving { by, .. } if *by <= now.mono => {
                let text = if self.deadline <= now.mono {
                    "its effect was not proved before its deadline".to_owned()
                } else {
                    format!("its effect was not proved within {} s", self.order.fault.proof_time().as_secs())
                };
                self.fail(now, text)
            }
            State::Proving { look_at: look_at @ Some(_), .. } if look_at.is_some_and(|at| at <= now.mono) => {
                *look_at = None;
                vec![Step::Look]
            }
            State::Biting { .. } if self.deadline <= now.mono => self.undo(now, UndoCause::Deadline, None),
            State::Undoing(undoing) if undoing.give_up <= now.mono => {
                let error = format!(
                    "it could not be undone within {} s: {}; its record is left for the control plane",
                    limits::UNDO_TIME.as_secs(),
                    undoing.last_error
                );
                let error = match &undoing.failure {
                    Some(failure) => format!("{failure}; {error}"),
                    None => error,
                };
                self.state = State::Over { clean: false };
                let id = self.order.id;
                vec![Step::Say(Report::Failed { id, at: now, error, clean: false, undo_proof: None })]
            }
            State::Undoing(Undoing { try_at: try_at @ Some(_), .. })
                if try_at.is_some_and(|at| at <= now.mono) =>
            {
                *try_at = None;
                vec![Step::Undo]
            }
            _ => Vec::new(),
        }
    }

    fn never_began(&mut self, now: Now, error: String) -> Vec<Step> {
        self.state = State::Over { clean: true };
        let id = self.order.id;
        vec![Step::Say(Report::Failed { id, at: now, error, clean: true, undo_proof: None })]
    }

    fn fail(&mut self, now: Now, error: String) -> Vec<Step> {
        self.undo(now, UndoCause::Failed, Some(error))
    }

    fn undo(&mut self, now: Now, cause: UndoCause, failure: Option<String>) -> Vec<Step> {
        self.state = State::Undoing(self.undoing(now, cause, failure));
        vec![Step::Undo]
    }

    fn undoing(&self, now: Now, cause: UndoCause, failure: Option<String>) -> Undoing {
        let bitten = if let State::Biting { since } = self.state { Some(since) } else { None };
        Undoing {
            cause,
            failure,
            bitten,
            give_up: now.mono.plus(limits::UNDO_TIME),
            try_at: None,
            last_error: "nobody answers".to_owned(),
        }
    }
}

fn ended_early(cause: UndoCause) -> String {
    format!("it ended before its effect was proved: {cause}")
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
