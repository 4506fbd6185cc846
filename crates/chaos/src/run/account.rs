//! The record of a run as it grows: from the events of its journal, with their times. Pure.

use grace_types::time::Timestamp;

use crate::{
    plan::PlannedFault,
    record::{FaultRecord, Judgement, Phase, PhaseRecord, ProbeRecord},
    runner::Event,
};

/// What the events tell.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// The phases; the last one has no end yet.
    pub(super) phases: Vec<PhaseRecord>,
    /// The faults in the order of their numbers.
    pub(super) faults: Vec<FaultRecord>,
    /// The steady state.
    pub(super) steady_state: Vec<ProbeRecord>,
    /// How long the recovery took.
    pub(super) recovery_seconds: Option<f64>,
    /// The judgement.
    pub(super) judgement: Judgement,
}

impl Account {
    /// Of a run with these faults.
    #[must_use]
    pub(super) fn of(faults: &[PlannedFault]) -> Self {
        let fault = |fault: &PlannedFault| FaultRecord {
            number: fault.number,
            kind: fault.kind.word().to_owned(),
            target: fault.target.clone(),
            pid: None,
            duration_seconds: fault.duration.map(|duration| duration.as_secs_f64()),
            ordered: None,
            bitten: None,
            ended: None,
            bit: false,
            undone: false,
            proof: None,
            undo_proof: None,
            error: None,
        };
        Self { faults: faults.iter().map(fault).collect(), ..Self::default() }
    }

    /// Takes in an event.
    pub(super) fn take(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::SteadyStateChecked { phase, probes, .. } => {
                let record = |probe: &crate::runner::ProbeOutcome| ProbeRecord {
                    name: probe.name.clone(),
                    phase: *phase,
                    at,
                    ok: probe.ok,
                    detail: probe.detail.clone(),
                };
                self.steady_state.extend(probes.iter().map(record));
            }
            Event::FaultOrdered { number, .. } => self.fault(*number, |fault| fault.ordered = Some(at)),
            Event::FaultAimed { number, pid, .. } => self.fault(*number, |fault| fault.pid = Some(*pid)),
            Event::FaultBitten { number, proof, .. } => self.fault(*number, |fault| {
                (fault.bit, fault.bitten, fault.proof) = (true, Some(at), Some(proof.clone()));
            }),
            Event::FaultUndone { number, proof, .. } => self.fault(*number, |fault| {
                (fault.undone, fault.ended, fault.undo_proof) = (true, Some(at), Some(proof.clone()));
            }),
            Event::FaultFailed { number, error, clean, .. } => self.fault(*number, |fault| {
                (fault.undone, fault.ended, fault.error) = (*clean, Some(at), Some(error.clone()));
            }),
            Event::Recovered { after } => self.recovery_seconds = Some(after.as_secs_f64()),
            Event::Judged { passed, reasons, .. } => {
                self.judgement = Judgement { passed: *passed, reasons: reasons.clone() };
            }
            Event::RunStarted { .. }
            | Event::NotRecovered { .. }
            | Event::StopConditionMet { .. }
            | Event::Aborted { .. }
            | Event::Cleared { .. }
            | Event::Verified { .. }
            | Event::EvidenceSealed { .. } => {}
        }
    }

    fn fault(&mut self, number: u32, change: impl FnOnce(&mut FaultRecord)) {
        if let Some(fault) = self.faults.iter_mut().find(|fault| fault.number == number) {
            change(fault);
        }
    }

    /// Takes note of the phase; true if it is another one.
    pub(super) fn enter(&mut self, at: Timestamp, phase: Phase) -> bool {
        if self.phases.last().is_some_and(|last| last.phase == phase) {
            return false;
        }
        if let Some(last) = self.phases.last_mut() {
            last.to = at;
        }
        self.phases.push(PhaseRecord { phase, from: at, to: at });
        true
    }
}
