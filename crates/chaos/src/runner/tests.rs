//! The decider, driven step by step.

use std::time::Duration;

use grace_kernel::{Decider, Outcome};
use grace_types::{
    id::RunId,
    time::{Monotonic, Now, Timestamp},
};

use super::*;
use crate::{
    plan::PlannedFault,
    record::{JudgementReason, Phase},
    scenario::FaultKind,
};

const MS: Duration = Duration::from_millis(1);

/// A run under test: what was decided so far.
struct Table {
    state: State,
    now: Monotonic,
    events: Vec<Event>,
    effects: Vec<Effect>,
}

impl Table {
    fn begin(faults: Vec<PlannedFault>, probes: Vec<ProbeOrder>) -> Self {
        let mut table =
            Self { state: State::default(), now: Monotonic::from_nanos(1), events: vec![], effects: vec![] };
        table.tell(begin(1, faults, probes));
        table
    }

    fn tell(&mut self, command: impl std::borrow::Borrow<Command>) -> Vec<&'static str> {
        let now = Now { wall: Timestamp::EPOCH, mono: self.now };
        let decision = Runner::decide(&self.state, now, command.borrow());
        self.effects.clear();
        let mut names = Vec::new();
        for recorded in decision.events() {
            assert!(!recorded.why().to_string().is_empty());
            // As from a journal.
            let json = serde_json::to_string(recorded).unwrap();
            let recorded: grace_kernel::Recorded<Event> = serde_json::from_str(&json).unwrap();
            Runner::evolve(&mut self.state, recorded.event());
            self.effects.extend(Runner::effects(&self.state, &recorded));
            names.push(Runner::what(recorded.event()));
            self.events.push(recorded.event().clone());
        }
        names
    }

    fn after(&mut self, wait: Duration, command: Command) -> Vec<&'static str> {
        self.now = self.now.plus(wait);
        self.tell(command)
    }

    fn phase(&self) -> Phase {
        self.state.run.as_ref().unwrap().phase
    }

    fn judgement(&self) -> (bool, Vec<String>) {
        let Some(Event::Judged { passed, reasons, .. }) = self.events.last() else {
            panic!("not judged: {:?}", self.events)
        };
        (*passed, reasons.iter().map(|reason| reason.text.clone()).collect())
    }
}

fn begin(run: u128, faults: Vec<PlannedFault>, probes: Vec<ProbeOrder>) -> Command {
    let orders = Orders {
        scenario: "x".into(),
        scenario_sha256: String::new(),
        faults,
        probes,
        max_recovery: 1000 * MS,
    };
    Command::Begin { run: RunId::from_bits(run), orders }
}

fn fault(number: u32, kind: FaultKind, at: Duration) -> PlannedFault {
    let duration = (!kind.is_over_at_once()).then_some(500 * MS);
    PlannedFault { number, kind, target: format!("t{number}"), at, duration, needed: true }
}

fn probe(during: Option<Duration>) -> ProbeOrder {
    ProbeOrder { name: "p".into(), within: 100 * MS, during }
}

fn look(holds: bool, failing_for: Duration, waiting: &[&str]) -> Command {
    let detail = if holds { String::new() } else { "it is not so".to_owned() };
    Command::Look(Look {
        probes: vec![Seen { holds, detail, failing_for }],
        waiting_for: Some(waiting.iter().map(|name| (*name).to_owned()).collect()),
        stop: None,
    })
}

fn well() -> Command {
    look(true, Duration::ZERO, &[])
}

/// A moment that has not come: what is told of it happened just now.
const NOW: Monotonic = Monotonic::from_nanos(u64::MAX);

fn bitten(number: u32) -> Command {
    Command::Bitten { number, proof: "seen".into(), at: NOW }
}

fn ended(number: u32) -> Command {
    Command::Ended { number, proof: "seen".into(), at: NOW, cut_short: false }
}

const VERIFIED: Command = Command::Verified { against: Vec::new(), checked: 3 };

#[test]
fn a_run_from_its_beginning_to_its_judgement() {
    let faults = vec![fault(1, FaultKind::Kill, Duration::ZERO), fault(2, FaultKind::Mute, 50 * MS)];
    let mut t = Table::begin(faults, vec![probe(None)]);
    assert_eq!(t.after(MS, look(false, 10 * MS, &[])), [""; 0], "it may yet become steady");
    assert_eq!(t.after(MS, well()), ["steady_state_checked"]);
    assert_eq!((t.phase(), t.effects.as_slice()), (Phase::Faults, &[Effect::StartLoad][..]));
    assert_eq!(t.after(MS, well()), ["fault_ordered"]);
    assert!(matches!(&t.effects[..], [Effect::Inject(fault)] if fault.target == "t1"));
    assert_eq!(t.after(MS, well()), [""; 0], "ordered once");
    assert_eq!(t.tell(Command::Aimed { number: 1, pid: 7 }), ["fault_aimed"]);
    assert_eq!(t.tell(bitten(1)), ["fault_bitten"]);
    assert_eq!(t.tell(ended(1)), ["fault_undone"]);
    assert_eq!(t.after(60 * MS, well()), ["fault_ordered"], "the second has its own time");
    assert_eq!(t.phase(), Phase::Faults);
    assert_eq!(t.tell(bitten(2)), ["fault_bitten"]);
    assert_eq!(t.after(300 * MS, ended(2)), ["fault_undone"]);
    assert_eq!(t.phase(), Phase::Observation);
    assert_eq!(t.after(200 * MS, look(true, MS, &["t1"])), [""; 0]);
    assert_eq!(t.after(50 * MS, look(false, MS, &[])), [""; 0]);
    assert_eq!(t.after(50 * MS, well()), ["recovered"]);
    assert_eq!(
        t.events.last(),
        Some(&Event::Recovered { after: 300 * MS }),
        "from the end of the last fault"
    );
    assert_eq!(t.effects, [Effect::Clear]);
    assert_eq!(t.tell(Command::Cleared), ["cleared"]);
    assert_eq!(t.tell(well()), ["steady_state_checked"]);
    assert_eq!(t.effects, [Effect::Verify]);
    assert_eq!(t.tell(VERIFIED), ["verified", "judged"]);
    assert!(t.judgement().0);
    assert!(
        t.judgement().1[0].contains("2 faults took effect, recovery took 0.300 s, and 3 conditions hold")
    );
    assert!(t.state.under_way().is_none());
}

#[test]
fn what_is_not_steady_is_not_attacked() {
    let mut t = Table::begin(vec![fault(1, FaultKind::Kill, Duration::ZERO)], vec![probe(None)]);
    assert_eq!(t.after(200 * MS, look(false, 200 * MS, &[])), ["steady_state_checked", "judged"]);
    assert_eq!(t.effects, []);
    assert_eq!(t.judgement().1, ["not steady before anything was attacked: p: it is not so"]);
}

#[test]
fn a_recovery_that_takes_too_long_fails_the_run_and_is_cleared_all_the_same() {
    let mut t = Table::begin(vec![fault(1, FaultKind::Kill, Duration::ZERO)], vec![probe(None)]);
    for command in [well(), well(), bitten(1), ended(1)] {
        t.tell(command);
    }
    assert_eq!(t.after(999 * MS, look(true, MS, &["t1"])), [""; 0]);
    assert_eq!(t.after(MS, look(true, MS, &["t1"])), ["not_recovered"]);
    assert_eq!(t.effects, [Effect::Clear]);
    t.tell(Command::Cleared);
    t.tell(well());
    t.tell(VERIFIED);
    assert_eq!(t.judgement(), (false, vec!["not recovered within 1 s: t1 is not back".to_owned()]));
}

#[test]
fn a_fault_that_does_not_bite_fails_the_run_unless_it_is_not_needed() {
    for needed in [true, false] {
        let one = PlannedFault { needed, ..fault(1, FaultKind::Stop, Duration::ZERO) };
        let mut t = Table::begin(vec![one], vec![]);
        t.tell(well());
        t.tell(well());
        let failed = Command::Failed { number: 1, error: "no such process".into(), clean: true, at: NOW };
        assert_eq!(t.tell(failed.clone()), ["fault_failed"]);
        assert_eq!(t.tell(failed), [""; 0], "told once");
        for command in [well(), Command::Cleared, well(), VERIFIED] {
            t.tell(command);
        }
        assert_eq!(t.judgement().0, !needed);
    }
}

#[test]
fn an_injector_that_says_nothing_does_not_hold_the_run_up() {
    let mut t = Table::begin(vec![fault(1, FaultKind::Stop, Duration::ZERO)], vec![]);
    t.tell(well());
    t.tell(well());
    assert_eq!(t.after(44_000 * MS, well()), [""; 0]);
    assert_eq!(t.after(2_000 * MS, well()), ["fault_failed"]);
    assert_eq!(t.phase(), Phase::Observation);
}

#[test]
fn a_recovery_is_timed_from_the_end_of_the_fault_and_not_from_when_that_was_heard() {
    for (kind, ended_after, recovered_after) in
        [(FaultKind::Stop, 30 * MS, 270 * MS), (FaultKind::Kill, 30 * MS, 290 * MS)]
    {
        let mut t = Table::begin(vec![fault(1, kind, Duration::ZERO)], vec![]);
        t.tell(well());
        t.tell(well());
        let bit = t.now.plus(10 * MS);
        let over = t.now.plus(ended_after);
        t.now = t.now.plus(100 * MS);
        t.tell(Command::Bitten { number: 1, proof: "seen".into(), at: bit });
        t.tell(Command::Ended { number: 1, proof: "seen".into(), at: over, cut_short: false });
        t.after(200 * MS, well());
        assert_eq!(t.events.last(), Some(&Event::Recovered { after: recovered_after }), "{kind:?}");
    }
}

#[test]
fn a_recovery_that_was_looked_at_too_late_is_none_in_time() {
    let mut t = Table::begin(vec![fault(1, FaultKind::Kill, Duration::ZERO)], vec![]);
    for command in [well(), well(), bitten(1), ended(1)] {
        t.tell(command);
    }
    assert_eq!(t.after(5_000 * MS, well()), ["not_recovered"], "1 s is allowed");
}

#[test]
fn a_fault_that_somebody_cut_short_fails_the_run() {
    let mut t = Table::begin(vec![fault(1, FaultKind::Stop, Duration::ZERO)], vec![]);
    t.tell(well());
    t.tell(well());
    t.tell(bitten(1));
    let cut = Command::Ended { number: 1, proof: "seen".into(), at: NOW, cut_short: true };
    assert_eq!(t.tell(cut), ["fault_failed"]);
    for command in [well(), Command::Cleared, well(), VERIFIED] {
        t.tell(command);
    }
    assert_eq!(t.judgement(), (false, vec!["fault 1 on t1: it ended before its time: seen".to_owned()]));
}

#[test]
fn only_faults_that_took_effect_are_said_to_have() {
    let spare = PlannedFault { needed: false, ..fault(2, FaultKind::Stop, Duration::ZERO) };
    let mut t = Table::begin(vec![fault(1, FaultKind::Kill, Duration::ZERO), spare], vec![]);
    t.tell(well());
    t.tell(well());
    let failed = Command::Failed { number: 2, error: "no such process".into(), clean: true, at: NOW };
    for command in [bitten(1), ended(1), failed, well(), Command::Cleared, well(), VERIFIED] {
        t.tell(command);
    }
    let (passed, reasons) = t.judgement();
    assert!(passed && reasons[0].starts_with("1 of 2 faults took effect"), "{reasons:?}");
}

#[test]
fn a_verification_that_speaks_against_the_run_fails_it() {
    let mut t = Table::begin(vec![], vec![]);
    for command in [well(), well(), Command::Cleared, well()] {
        t.tell(command);
    }
    let text = "the fact `log` is not known: there is no log".to_owned();
    let against = vec![JudgementReason { code: "chaos.verification".into(), text: text.clone() }];
    assert_eq!(t.tell(Command::Verified { against, checked: 1 }), ["verified", "judged"]);
    assert_eq!(t.judgement(), (false, vec![text]));
}

#[test]
fn probes_during_the_faults_are_told_once() {
    let mut t = Table::begin(vec![fault(1, FaultKind::Stop, Duration::ZERO)], vec![probe(Some(20 * MS))]);
    t.tell(well());
    t.tell(well());
    t.tell(bitten(1));
    assert_eq!(t.tell(look(false, 10 * MS, &[])), [""; 0], "not for too long yet");
    assert_eq!(t.tell(look(false, 30 * MS, &[])), ["steady_state_checked"]);
    assert_eq!(t.tell(look(false, 40 * MS, &[])), [""; 0]);
    for command in [ended(1), well(), Command::Cleared, well(), VERIFIED] {
        t.tell(command);
    }
    assert_eq!(t.judgement(), (false, vec!["steady state, faults: p: it is not so".to_owned()]));
    // One that held is on record as well.
    let mut t = Table::begin(vec![], vec![probe(Some(20 * MS))]);
    t.tell(well());
    assert_eq!(t.tell(well()), ["steady_state_checked", "recovered"]);
}

/// Commands that lead a run with one fault through all of its phases.
fn script() -> Vec<Command> {
    vec![well(), well(), bitten(1), ended(1), well(), Command::Cleared, well(), VERIFIED]
}

#[test]
fn a_run_can_be_aborted_at_every_step_and_ends_cleared() {
    for stop in [
        Command::Stop { by: "Ctrl-C".into() },
        Command::Look(Look { stop: Some(("hot".into(), "too hot".into())), ..Look::default() }),
    ] {
        for steps in 0..script().len() {
            let mut t = Table::begin(vec![fault(1, FaultKind::Stop, Duration::ZERO)], vec![probe(None)]);
            for command in script().into_iter().take(steps) {
                t.tell(command);
            }
            let phase = t.phase();
            let told = t.tell(stop.clone());
            if phase == Phase::Undo && matches!(stop, Command::Look(_)) {
                assert_eq!(told, [""; 0], "it is being undone already");
                continue;
            }
            assert_eq!(told.last(), Some(&"aborted"), "{phase:?}");
            assert_eq!((t.phase(), t.effects.as_slice()), (Phase::Undo, &[Effect::Clear][..]), "{phase:?}");
            assert_eq!(t.tell(stop.clone()), [""; 0], "once is enough");
            assert_eq!(t.tell(VERIFIED), [""; 0], "too late");
            assert_eq!(t.tell(Command::Cleared), ["cleared", "judged"]);
            assert!(!t.judgement().0);
        }
    }
}

#[test]
fn the_next_run_notes_one_that_was_not_finished() {
    for steps in 0..script().len() {
        let mut t = Table::begin(vec![fault(1, FaultKind::Stop, Duration::ZERO)], vec![probe(None)]);
        for command in script().into_iter().take(steps) {
            t.tell(command);
        }
        assert_eq!(t.tell(begin(2, vec![], vec![])), ["aborted", "judged", "run_started"]);
        assert_eq!(t.effects, [], "nothing is to be cleared: the injector did that");
        assert_eq!(t.state.under_way().unwrap().id, RunId::from_bits(2));
    }
}

#[test]
fn without_a_run_there_is_nothing_to_tell() {
    let now = Now::default();
    for command in script() {
        let decision = Runner::decide(&State::default(), now, &command);
        assert!(matches!(decision.outcome(), Outcome::Refused(_)) && decision.events().is_empty());
    }
}
