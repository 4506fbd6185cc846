//! What a runner decides. Pure: time is an argument, and what happened comes as a command.
//!
//! ```text
//! Before ─steady─► Faults ─all over─► Observation ─recovered, or too late─► Undo ─cleared─► After ─checked─► Verification ─► Judged
//!    │ not steady    └──────── asked to stop, a stop condition, at any time ──►  │                                         ▲
//!    └──────────────────────────────────────────────────────────────────────── aborted: cleared ──────────────────────────┘
//! ```

use std::fmt;

use grace_kernel::{Decider, Decision, Recorded};
use grace_types::{
    reason::Why,
    time::{Monotonic, Now},
};
use serde::{Deserialize, Serialize};

use super::{
    event::{Command, Effect, Event, Look, ProbeOutcome, Seen},
    state::{FaultState, Run, State},
};
use crate::{
    limits,
    plan::PlannedFault,
    record::{JudgementReason, Phase},
};

/// The decider of the component `chaos`.
#[derive(Debug)]
pub struct Runner;

/// Why a command did nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Decider for Runner {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Reply = ();
    type Refusal = Refusal;
    type Effect = Effect;

    fn decide(state: &State, now: Now, command: &Command) -> Decision<Self> {
        let events = match (command, state.under_way()) {
            (Command::Begin { run, orders }, under_way) => {
                let mut events: Vec<_> = under_way.into_iter().flat_map(abandon).collect();
                let why =
                    Why::because("chaos.asked", format!("the scenario {} was asked for", orders.scenario));
                let event = Event::RunStarted { run: *run, orders: orders.clone(), at: now.mono };
                events.push(Recorded::new(event, orders.scenario.as_str(), "grace chaos run", why));
                events
            }
            (Command::Seal { run, digest }, _) => match &state.run {
                Some(known) if known.id.to_string() == *run => vec![sealed(known, run, digest)],
                _ => return Decision::refuse(Refusal(format!("{run} is not the last run"))),
            },
            (_, None) => return Decision::refuse(Refusal("no run is under way".to_owned())),
            (command, Some(run)) => on_command(run, now, command),
        };
        events.into_iter().fold(Decision::reply(()), Decision::record)
    }

    fn evolve(state: &mut State, event: &Event) {
        state.evolve(event);
    }

    fn effects(state: &State, recorded: &Recorded<Event>) -> Vec<Effect> {
        match recorded.event() {
            Event::SteadyStateChecked { phase: Phase::Before, ok: true, .. } => vec![Effect::StartLoad],
            Event::SteadyStateChecked { phase: Phase::After, .. } => vec![Effect::Verify],
            Event::FaultOrdered { number, .. } => {
                let faults = state.run.iter().flat_map(|run| &run.orders.faults);
                faults.filter(|fault| fault.number == *number).cloned().map(Effect::Inject).collect()
            }
            Event::Recovered { .. }
            | Event::NotRecovered { .. }
            | Event::Aborted { abandoned: false, .. } => {
                vec![Effect::Clear]
            }
            _ => Vec::new(),
        }
    }

    fn what(event: &Event) -> &'static str {
        event.name()
    }
}

type Events = Vec<Recorded<Event>>;

/// A run whose runner is gone: what it had on was undone by the injector when the pipe to the runner closed.
fn abandon(run: &Run) -> Events {
    let place = run.orders.scenario.as_str();
    let by = "the end of its runner".to_owned();
    let why = Why::because("chaos.abandoned", "its runner ended without a judgement, and another run begins");
    let event = Event::Aborted { run: run.id, by, phase: run.phase, abandoned: true };
    let aborted = Recorded::new(event, place, "unfinished run in the journal", why);
    let reason =
        JudgementReason { code: "chaos.abandoned".into(), text: "its runner ended before it".into() };
    vec![aborted, judged(run, false, vec![reason])]
}

fn on_command(run: &Run, now: Now, command: &Command) -> Events {
    match command {
        Command::Begin { .. } | Command::Seal { .. } => Vec::new(),
        Command::Look(look) => on_look(run, now, look),
        Command::Aimed { number, pid } => with_fault(run, *number, |fault| {
            let event = Event::FaultAimed { number: *number, target: fault.target.clone(), pid: *pid };
            let why = Why::because("chaos.target", format!("process {pid} is {} now", fault.target));
            vec![Recorded::new(event, &*fault.target, "status", why)]
        }),
        Command::Bitten { number, proof, at } => match run.fault(*number) {
            Some(FaultState::Due | FaultState::Ordered { .. }) => with_fault(run, *number, |fault| {
                let (target, proof) = (fault.target.clone(), proof.clone());
                let why = Why::because("chaos.proof", proof.clone());
                let event = Event::FaultBitten { number: *number, target, proof, at: (*at).min(now.mono) };
                vec![Recorded::new(event, &*fault.target, "injector", why)]
            }),
            _ => Vec::new(),
        },
        Command::Ended { number, proof, at, cut_short } => match run.fault(*number) {
            // Once the run is being cleared, that is how it should end.
            Some(FaultState::On { .. }) if *cut_short && run.phase == Phase::Faults => {
                failed(run, (*at).min(now.mono), *number, &format!("it ended before its time: {proof}"), true)
            }
            Some(FaultState::On { since }) => with_fault(run, *number, |fault| {
                let (target, proof) = (fault.target.clone(), proof.clone());
                let why = Why::because("chaos.proof", proof.clone());
                // What cannot be undone was over when it had bitten; the report comes once its record is removed.
                let at = if fault.kind.is_over_at_once() { since } else { (*at).min(now.mono) };
                let event = Event::FaultUndone { number: *number, target, proof, at };
                vec![Recorded::new(event, &*fault.target, "injector", why)]
            }),
            _ => Vec::new(),
        },
        Command::Failed { number, error, clean, at } => match run.fault(*number) {
            None | Some(FaultState::Over) => Vec::new(),
            Some(_) => failed(run, (*at).min(now.mono), *number, error, *clean),
        },
        Command::Cleared if run.phase == Phase::Undo => cleared(run, now),
        Command::Stop { by } => abort(run, by),
        Command::Verified { against, checked } if run.phase == Phase::Verification => {
            verified(run, against, *checked)
        }
        Command::Cleared | Command::Verified { .. } => Vec::new(),
    }
}

fn with_fault(run: &Run, number: u32, make: impl Fn(&PlannedFault) -> Events) -> Events {
    run.orders.faults.iter().find(|fault| fault.number == number).map(make).unwrap_or_default()
}

fn failed(run: &Run, at: Monotonic, number: u32, error: &str, clean: bool) -> Events {
    with_fault(run, number, |fault| {
        let event = Event::FaultFailed {
            number,
            target: fault.target.clone(),
            error: error.to_owned(),
            clean,
            needed: fault.needed,
            at,
        };
        vec![Recorded::new(event, &*fault.target, "injector", Why::because("chaos.fault", error))]
    })
}

fn on_look(run: &Run, now: Now, look: &Look) -> Events {
    if let Some((name, detail)) = &look.stop
        && !matches!(run.phase, Phase::Undo | Phase::Judged)
    {
        let why = Why::because("chaos.stop_condition", format!("{name}: {detail}"));
        let event = Event::StopConditionMet { name: name.clone(), detail: detail.clone() };
        let mut events = vec![Recorded::new(event, &*run.orders.scenario, "stop condition", why)];
        events.extend(abort(run, &format!("the stop condition `{name}`")));
        return events;
    }
    match run.phase {
        Phase::Before | Phase::After => steady(run, now, look),
        Phase::Faults => {
            let mut events = order_due(run, now);
            events.extend(overdue(run, now));
            events.extend(failing_during(run, now, look));
            events
        }
        Phase::Observation => {
            let mut events = failing_during(run, now, look);
            events.extend(recovery(run, now, look));
            events
        }
        Phase::Undo | Phase::Verification | Phase::Judged => Vec::new(),
    }
}

/// Probes with what was seen of them. What was not looked at does not hold.
fn seen<'a>(run: &'a Run, look: &'a Look) -> impl Iterator<Item = (&'a super::event::ProbeOrder, Seen)> {
    run.orders.probes.iter().enumerate().map(|(at, probe)| {
        let unseen = || Seen { detail: "it was not looked at".to_owned(), ..Seen::default() };
        (probe, look.probes.get(at).cloned().unwrap_or_else(unseen))
    })
}

/// Before and after: settled when all of it holds, or one has not held for too long.
fn steady(run: &Run, now: Now, look: &Look) -> Events {
    let all = seen(run, look).all(|(_, seen)| seen.holds);
    let late = seen(run, look).any(|(probe, seen)| !seen.holds && seen.failing_for >= probe.within);
    if !all && !late {
        return Vec::new();
    }
    let probes: Vec<ProbeOutcome> =
        seen(run, look).map(|(probe, seen)| outcome(&probe.name, &seen)).collect();
    let why = match probes.iter().find(|probe| !probe.ok) {
        None => Why::because("chaos.steady", format!("all {} probes hold", probes.len())),
        Some(probe) => Why::because("chaos.not_steady", format!("{}: {}", probe.name, probe.detail)),
    };
    let event = Event::SteadyStateChecked { phase: run.phase, ok: all, probes: probes.clone(), at: now.mono };
    let mut events = vec![Recorded::new(event, &*run.orders.scenario, "steady state", why)];
    if run.phase == Phase::Before && !all {
        let unsteady = probes.iter().filter(|probe| !probe.ok).map(|probe| JudgementReason {
            code: "chaos.steady_state".to_owned(),
            text: format!("not steady before anything was attacked: {}: {}", probe.name, probe.detail),
        });
        events.push(judged(run, false, unsteady.collect()));
    }
    events
}

fn outcome(name: &str, seen: &Seen) -> ProbeOutcome {
    ProbeOutcome { name: name.to_owned(), ok: seen.holds, detail: seen.detail.clone() }
}

fn order_due(run: &Run, now: Now) -> Events {
    let elapsed = now.mono.since(run.since);
    let due = run.orders.faults.iter().zip(&run.faults);
    due.filter(|(fault, state)| **state == FaultState::Due && fault.at <= elapsed)
        .map(|(fault, _)| {
            let text =
                format!("the plan asks for it {} ms after the steady state held", fault.at.as_millis());
            let event = Event::FaultOrdered {
                number: fault.number,
                kind: fault.kind,
                target: fault.target.clone(),
                at: now.mono,
            };
            Recorded::new(event, &*fault.target, "plan", Why::because("chaos.due", text))
        })
        .collect()
}

/// An injector that says nothing must not hold the run up for ever.
fn overdue(run: &Run, now: Now) -> Events {
    let faults = run.orders.faults.iter().zip(&run.faults);
    let late = faults.filter(|(fault, state)| {
        let (from, own) = match state {
            FaultState::Ordered { at } => (*at, std::time::Duration::ZERO),
            FaultState::On { since } => (*since, fault.duration.unwrap_or_default()),
            FaultState::Due | FaultState::Over => return false,
        };
        now.mono > from.plus(own).plus(limits::INJECTOR_PATIENCE)
    });
    late.flat_map(|(fault, _)| {
        failed(run, now.mono, fault.number, "the injector said nothing more of it", false)
    })
    .collect()
}

fn failing_during(run: &Run, now: Now, look: &Look) -> Events {
    let failing: Vec<ProbeOutcome> = seen(run, look)
        .filter(|(probe, seen)| {
            let late = probe.during.is_some_and(|allowed| seen.failing_for >= allowed);
            late && !seen.holds && !run.failed_during.contains(&probe.name)
        })
        .map(|(probe, seen)| outcome(&probe.name, &seen))
        .collect();
    let Some(first) = failing.first() else { return Vec::new() };
    let why = Why::because("chaos.not_steady", format!("{}: {}", first.name, first.detail));
    let event = Event::SteadyStateChecked { phase: Phase::Faults, ok: false, probes: failing, at: now.mono };
    vec![Recorded::new(event, &*run.orders.scenario, "steady state", why)]
}

fn recovery(run: &Run, now: Now, look: &Look) -> Events {
    let after = now.mono.since(run.last_end.unwrap_or(run.since));
    let mut missing: Vec<String> = match &look.waiting_for {
        None => vec!["the state of the targets is not known".to_owned()],
        Some(names) => names.iter().map(|name| format!("{name} is not back")).collect(),
    };
    missing.extend(
        seen(run, look)
            .filter(|(_, seen)| !seen.holds)
            .map(|(p, seen)| format!("{}: {}", p.name, seen.detail)),
    );
    let place = run.orders.scenario.as_str();
    // A look that comes too late cannot tell whether it was so in time.
    if missing.is_empty() && after > run.orders.max_recovery {
        missing.push(format!("it was seen to be back only after {:.3} s", after.as_secs_f64()));
    }
    if missing.is_empty() {
        let text = "all targets are ready and the steady state holds";
        let event = Recorded::new(
            Event::Recovered { after },
            place,
            "observation",
            Why::because("chaos.recovered", text),
        );
        return held_during(run, now).into_iter().chain([event]).collect();
    }
    if after < run.orders.max_recovery {
        return Vec::new();
    }
    let why = Why::because(
        "chaos.max_recovery",
        format!("{} s were allowed", run.orders.max_recovery.as_secs_f64()),
    );
    let event = Event::NotRecovered { after, missing };
    held_during(run, now).into_iter().chain([Recorded::new(event, place, "observation", why)]).collect()
}

/// The probes that had to hold while the faults were on, and did.
fn held_during(run: &Run, now: Now) -> Option<Recorded<Event>> {
    let held = run.orders.probes.iter();
    let held = held.filter(|probe| probe.during.is_some() && !run.failed_during.contains(&probe.name));
    let probes: Vec<ProbeOutcome> = held
        .map(|probe| ProbeOutcome { name: probe.name.clone(), ok: true, detail: String::new() })
        .collect();
    if probes.is_empty() {
        return None;
    }
    let why = Why::because("chaos.steady", format!("{} probes held all along", probes.len()));
    let event = Event::SteadyStateChecked { phase: Phase::Faults, ok: true, probes, at: now.mono };
    Some(Recorded::new(event, &*run.orders.scenario, "steady state", why))
}

fn abort(run: &Run, by: &str) -> Events {
    if run.aborted {
        return Vec::new();
    }
    let why = Why::because("chaos.aborted", format!("{by} asked for its end"));
    let event = Event::Aborted { run: run.id, by: by.to_owned(), phase: run.phase, abandoned: false };
    vec![Recorded::new(event, &*run.orders.scenario, "abort", why)]
}

fn cleared(run: &Run, now: Now) -> Events {
    let why = Why::because("chaos.cleared", "the injector has nothing on any more");
    let mut events =
        vec![Recorded::new(Event::Cleared { at: now.mono }, &*run.orders.scenario, "injector", why)];
    if run.aborted {
        events.push(judged(run, false, run.against.clone()));
    }
    events
}

fn verified(run: &Run, against: &[JudgementReason], checked: u32) -> Events {
    let text = format!("{checked} conditions were looked at, and {} speak against the run", against.len());
    let event = Event::Verified { checked, against: against.to_vec() };
    let verified =
        Recorded::new(event, &*run.orders.scenario, "verification", Why::because("chaos.verified", text));
    let mut reasons: Vec<JudgementReason> = run.against.iter().chain(against).cloned().collect();
    let passed = reasons.is_empty();
    if passed {
        let recovery = run.recovery.unwrap_or_default().as_secs_f64();
        let faults = match (run.bitten, run.faults.len()) {
            (bitten, all) if usize::try_from(bitten) == Ok(all) => format!("{all} faults"),
            (bitten, all) => format!("{bitten} of {all} faults"),
        };
        let text =
            format!("{faults} took effect, recovery took {recovery:.3} s, and {checked} conditions hold");
        reasons.push(JudgementReason { code: "chaos.as_expected".to_owned(), text });
    }
    vec![verified, judged(run, passed, reasons)]
}

fn sealed(run: &Run, id: &str, digest: &str) -> Recorded<Event> {
    let why = Why::because("chaos.sealed", "the digest of all its files is on record from here on");
    let event = Event::EvidenceSealed { run: id.to_owned(), digest: digest.to_owned() };
    Recorded::new(event, &*run.orders.scenario, "evidence folder", why)
}

fn judged(run: &Run, passed: bool, reasons: Vec<JudgementReason>) -> Recorded<Event> {
    let mut steps = reasons.iter().map(|reason| (reason.code.clone(), reason.text.clone()));
    let (code, text) = steps.next().unwrap_or(("chaos.aborted".to_owned(), "it was ended early".to_owned()));
    let why = steps.fold(Why::because(code, text), |why, (code, text)| why.and(code, text));
    let event = Event::Judged { run: run.id, passed, reasons };
    Recorded::new(event, &*run.orders.scenario, "judgement", why)
}
