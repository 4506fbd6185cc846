//! How the injector lays hands on a process: which ones it may touch, and what biting, looking and undoing are.

use std::{collections::BTreeSet, io, path::PathBuf};

use grace_types::time::Monotonic;
use rustix::process::Signal;

use super::desk::{Desk, Question};
use crate::{
    limits,
    order::{Fault, FaultOrder},
    process::{Process, STOPPED},
    report::{BiteProof, RefusalCode, UndoProof},
};

/// Set by Grace in the environment of everything that it starts.
const DATA_VARIABLE: &str = "GRACE_DATA";
/// Which component a process belongs to; set likewise.
const COMPONENT_VARIABLE: &str = "GRACE_COMPONENT";

/// What may be touched.
#[derive(Debug)]
pub(super) struct Bounds {
    /// The instance: its data folder, without links in its path.
    pub(super) data: PathBuf,
    /// Who gave the orders when this began.
    pub(super) runner: u32,
    pub(super) spared_components: BTreeSet<String>,
    pub(super) spared_pids: BTreeSet<u32>,
}

impl Bounds {
    /// Adds to what is spared; false if that is more than [`limits::SPARED`].
    pub(super) fn spare(&mut self, components: Vec<String>, pids: Vec<u32>) -> bool {
        let room = |held: usize, more: usize| held + more <= limits::SPARED;
        let fits =
            room(self.spared_components.len(), components.len()) && room(self.spared_pids.len(), pids.len());
        if fits {
            self.spared_components.extend(components);
            self.spared_pids.extend(pids);
        }
        fits
    }
}

/// A process in the grip of a fault.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) process: Process,
    /// Whether its end was seen.
    pub(super) gone: bool,
    order: FaultOrder,
}

impl Hand {
    /// Takes hold of an order's target, and touches nothing.
    pub(super) fn grip(order: &FaultOrder, bounds: &Bounds) -> Result<Self, (RefusalCode, String)> {
        order.check().map_err(|fault| (RefusalCode::BadOrder, fault.to_string()))?;
        let target = order.fault.target();
        let spared = |why: &str| Err((RefusalCode::Spared, format!("{target} is {why}")));
        if target.pid == std::process::id() {
            return spared("the injector itself");
        }
        if target.pid == bounds.runner {
            return spared("the runner");
        }
        if bounds.spared_pids.contains(&target.pid) || bounds.spared_components.contains(&target.component) {
            return spared("outside the blast radius");
        }
        let gone = || (RefusalCode::NotFound, format!("{target} has ended"));
        let refused = |e: io::Error| (RefusalCode::Busy, format!("{target} cannot be taken hold of: {e}"));
        let process = Process::of(target).map_err(refused)?.ok_or_else(gone)?;
        let foreign = |why: String| Err((RefusalCode::Foreign, format!("{target} {why}")));
        let Some(environment) = process.environment() else {
            return if process.is_gone() {
                Err(gone())
            } else {
                foreign("belongs to somebody else".to_owned())
            };
        };
        if !environment.is(DATA_VARIABLE, &bounds.data) {
            return foreign(format!("is no process of the instance in {}", bounds.data.display()));
        }
        if !environment.is(COMPONENT_VARIABLE, &target.component) {
            return foreign("is no process of that component".to_owned());
        }
        Ok(Self { process, gone: false, order: order.clone() })
    }

    /// Brings the fault on; none when the answer comes from the desk.
    pub(super) fn bite(&self, until: Monotonic, desk: &Desk) -> Option<Result<(), String>> {
        let signal = |signal| Some(self.process.signal(signal).map_err(|e| e.to_string()));
        match &self.order.fault {
            Fault::Kill { .. } => signal(Signal::KILL),
            Fault::Stop { .. } => signal(Signal::STOP),
            Fault::Mute { .. } => self.ask(desk, Question::Mute { until }),
        }
    }

    /// Looks for the proof; none when the answer comes from the desk.
    pub(super) fn look(&self, desk: &Desk) -> Option<Result<Option<BiteProof>, String>> {
        match (&self.order.fault, self.process.state()) {
            (Fault::Kill { .. }, None) => Some(Ok(Some(BiteProof::Ended))),
            (Fault::Kill { .. }, Some(_)) => Some(Ok(None)),
            (_, None) => Some(Err("the process ended".to_owned())),
            (Fault::Stop { .. }, Some(state)) => {
                Some(Ok((state == STOPPED).then_some(BiteProof::Stopped { state })))
            }
            (Fault::Mute { .. }, Some(_)) => self.ask(desk, Question::State),
        }
    }

    /// Undoes it, and looks whether it is; none when the answer comes from the desk.
    pub(super) fn undo(&self, desk: &Desk) -> Option<Result<Option<UndoProof>, String>> {
        match (&self.order.fault, self.process.state()) {
            (_, None) => Some(Ok(Some(UndoProof::Gone))),
            // It was not to be proved that it ended; a kill that comes later is not taken back.
            (Fault::Kill { .. }, Some(state)) => Some(Ok(Some(UndoProof::Running { state }))),
            (Fault::Stop { .. }, Some(_)) => Some(self.process.go_on().map_err(|e| e.to_string())),
            (Fault::Mute { .. }, Some(_)) => self.ask(desk, Question::Unmute),
        }
    }

    fn ask<T>(&self, desk: &Desk, question: Question) -> Option<Result<T, String>> {
        let asked = desk.ask(self.order.id, self.order.fault.target(), question);
        (!asked).then(|| Err("too many wait for the control plane".to_owned()))
    }
}
