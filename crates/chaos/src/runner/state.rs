//! Where a run stands, and how events move it.

use std::{collections::BTreeSet, time::Duration};

use grace_types::{id::RunId, time::Monotonic};
use serde::{Deserialize, Serialize};

use super::event::{Event, Orders};
use crate::record::{JudgementReason, Phase};

/// What the runner knows: the run under way or the last one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// None before the first run.
    pub run: Option<Run>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Names it.
    pub id: RunId,
    /// What it is to do.
    pub orders: Orders,
    /// Where it stands.
    pub phase: Phase,
    /// Since when.
    pub since: Monotonic,
    /// One for each of the orders' faults.
    pub faults: Vec<FaultState>,
    /// Faults that took effect.
    #[serde(default)]
    pub bitten: u32,
    /// Probes that failed while the faults were on; told once each.
    pub failed_during: BTreeSet<String>,
    /// When the last fault ended.
    pub last_end: Option<Monotonic>,
    /// How long the recovery took.
    pub recovery: Option<Duration>,
    /// Whether it was ended early.
    pub aborted: bool,
    /// What speaks against it so far.
    pub against: Vec<JudgementReason>,
}

/// Where a fault stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultState {
    /// Not ordered yet.
    Due,
    /// Ordered; no proof yet.
    Ordered {
        /// When.
        at: Monotonic,
    },
    /// It took effect.
    On {
        /// When that was proved.
        since: Monotonic,
    },
    /// It is over, or never was.
    Over,
}

impl State {
    /// The run, if it is under way.
    #[must_use]
    pub fn under_way(&self) -> Option<&Run> {
        self.run.as_ref().filter(|run| run.phase != Phase::Judged)
    }

    pub(super) fn evolve(&mut self, event: &Event) {
        if let Event::RunStarted { run, orders, at } = event {
            self.run = Some(Run::new(*run, orders.clone(), *at));
        } else if let Some(run) = &mut self.run {
            run.evolve(event);
        }
    }
}

impl Run {
    fn new(id: RunId, orders: Orders, at: Monotonic) -> Self {
        Self {
            id,
            faults: vec![FaultState::Due; orders.faults.len()],
            orders,
            phase: Phase::Before,
            since: at,
            bitten: 0,
            failed_during: BTreeSet::new(),
            last_end: None,
            recovery: None,
            aborted: false,
            against: Vec::new(),
        }
    }

    /// Whether every fault is over.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.faults.iter().all(|fault| *fault == FaultState::Over)
    }

    /// The state of a fault by its number; `None` for a number that there is not.
    #[must_use]
    pub fn fault(&self, number: u32) -> Option<FaultState> {
        self.faults.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
    }

    fn set(&mut self, number: u32, state: FaultState) {
        let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        if let Some(fault) = at.and_then(|at| self.faults.get_mut(at)) {
            *fault = state;
        }
    }

    fn enter(&mut self, phase: Phase, at: Monotonic) {
        (self.phase, self.since) = (phase, at);
    }

    fn over(&mut self, number: u32, at: Monotonic) {
        self.set(number, FaultState::Over);
        self.last_end = self.last_end.max(Some(at));
        if self.phase == Phase::Faults && self.is_quiet() {
            self.enter(Phase::Observation, at);
        }
    }

    fn blame(&mut self, code: &str, text: String) {
        self.against.push(JudgementReason { code: code.to_owned(), text });
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::RunStarted { .. } | Event::FaultAimed { .. } | Event::EvidenceSealed { .. } => {}
            Event::SteadyStateChecked { phase, ok, probes, at } => {
                for probe in probes.iter().filter(|probe| !probe.ok) {
                    let text = format!("steady state, {}: {}: {}", phase.word(), probe.name, probe.detail);
                    self.blame("chaos.steady_state", text);
                }
                match (phase, ok) {
                    (Phase::Before, true) if self.faults.is_empty() => {
                        self.last_end = Some(*at);
                        self.enter(Phase::Observation, *at);
                    }
                    (Phase::Before, true) => self.enter(Phase::Faults, *at),
                    (Phase::After, _) => self.enter(Phase::Verification, *at),
                    (Phase::Faults, false) => {
                        self.failed_during.extend(probes.iter().map(|probe| probe.name.clone()));
                    }
                    _ => {}
                }
            }
            Event::FaultOrdered { number, at, .. } => self.set(*number, FaultState::Ordered { at: *at }),
            Event::FaultBitten { number, at, .. } => {
                self.bitten = self.bitten.saturating_add(1);
                self.set(*number, FaultState::On { since: *at });
            }
            Event::FaultUndone { number, at, .. } => self.over(*number, *at),
            Event::FaultFailed { number, target, error, clean, needed, at } => {
                if *needed || !clean {
                    self.blame("chaos.fault", format!("fault {number} on {target}: {error}"));
                }
                self.over(*number, *at);
            }
            Event::Recovered { after } => {
                self.recovery = Some(*after);
                self.phase = Phase::Undo;
            }
            Event::NotRecovered { after, missing } => {
                let missing = missing.join("; ");
                let text = format!("not recovered within {} s: {missing}", after.as_secs());
                self.blame("chaos.recovery", text);
                self.phase = Phase::Undo;
            }
            Event::StopConditionMet { name, detail } => {
                self.blame("chaos.stop_condition", format!("{name}: {detail}"));
            }
            Event::Aborted { by, phase, .. } => {
                self.blame("chaos.aborted", format!("ended early, in the phase `{}`, by {by}", phase.word()));
                self.aborted = true;
                self.phase = Phase::Undo;
            }
            Event::Cleared { at } => {
                self.faults.fill(FaultState::Over);
                self.enter(Phase::After, *at);
            }
            Event::Verified { against, .. } => self.against.extend(against.iter().cloned()),
            Event::Judged { .. } => self.phase = Phase::Judged,
        }
    }
}
