//! Asking for intents, and looking at them: the cortex knows what was decided, the task manager what came of it.
//!
//! ```text
//! args ─► grace.cmd.cortex ─► a decision ─┬─► show: lines, or JSON
//!                      grace.cmd.htm ─────┘   (its tasks, where it has any)
//! ```

use std::{collections::BTreeMap, io::IsTerminal as _};

use grace_core::instance::Instance;
use grace_cortex::{
    command::decided_subject,
    command::{Answered, Asked, Circumstances, Command, Decision, DecisionState, Outcome, Query, Reply},
    router::{Router, shell},
};
use grace_orchestration::htm::{
    IntentId,
    view::{IntentState, IntentView},
};

use super::{
    args::{State, Submit},
    millis, payload, refused,
    show::{self, Shown},
};
use crate::{
    failure::{Exit, Failure},
    output::Output,
    road,
};

impl road::Asked for Router {
    const COMPONENT: &'static str = shell::NAME;
    const CALLED: &'static str = "the cortex";

    fn refused(refusal: grace_cortex::command::Refusal) -> Failure {
        let (exit, code) = match refusal.code.as_str() {
            "unknown_intent" | "forgotten" => (Exit::Usage, "not_found"),
            "bad_request" => (Exit::Usage, "bad_request"),
            other => (Exit::Failed, other),
        };
        Failure::new(exit, code, refusal.message)
    }
}

type Cortex = road::Road<Router>;
type TaskManager = super::Road;

fn odd() -> Failure {
    Failure::new(Exit::Failed, "bad_request", "the cortex answered something else than was asked")
        .help("use a CLI of the same version")
}

/// Asks for an intent, and shows what became of it: at once, or once it is over.
pub(super) fn submit(instance: &Instance, args: &Submit, out: &mut Output) -> Result<Exit, Failure> {
    let circumstances = Circumstances {
        user_facing: args.user_facing,
        emergency: args.emergency,
        revenue_impact: args.revenue_impact.unwrap_or_default(),
    };
    let asked = Asked {
        kind: args.kind.clone(),
        actor: args.actor.clone(),
        payload: payload(args)?,
        key: args.key.clone(),
        priority: args.priority.map(Into::into),
        deadline_ms: args.deadline.map(millis),
        delay_ms: args.delay.map(millis),
        target: args.target.clone(),
        circumstances: (circumstances != Circumstances::default()).then_some(circumstances),
        ..Asked::default()
    };
    let cortex = Cortex::to(instance)?;
    let decision = decided(&cortex, asked)?;
    let id = decision.id;
    let shown = if args.wait {
        ended(instance, &cortex, id, out)?
    } else {
        let work = work_of(instance, &decision)?;
        Shown { decision: Some(decision), work }
    };
    show::intent(&shown, out)?;
    let good = match shown.state() {
        "succeeded" => true,
        "denied" | "failed" => false,
        _ => !args.wait,
    };
    Ok(if good { Exit::Done } else { Exit::Failed })
}

/// Has an intent decided.
pub(crate) fn decide(instance: &Instance, asked: Asked) -> Result<Decision, Failure> {
    decided(&Cortex::to(instance)?, asked)
}

fn decided(cortex: &Cortex, asked: Asked) -> Result<Decision, Failure> {
    let Reply::Submitted { results } = cortex.order(Command::Submit { intents: vec![asked] })? else {
        return Err(odd());
    };
    match results.into_iter().next() {
        Some(Answered::Decided(decision)) => Ok(*decision),
        Some(Answered::Refused(why)) => Err(refused(why)),
        None => Err(odd()),
    }
}

/// Shows what was decided of an intent that is no work.
pub(crate) fn tell(decision: Decision, out: &mut Output) -> Result<(), Failure> {
    show::intent(&Shown { decision: Some(decision), work: None }, out)
}

/// Shows one intent.
pub(super) fn show(instance: &Instance, id: IntentId, out: &mut Output) -> Result<Exit, Failure> {
    show::intent(&fetch(instance, id)?, out)?;
    Ok(Exit::Done)
}

/// What is known of an intent.
pub(super) fn fetch(instance: &Instance, id: IntentId) -> Result<Shown, Failure> {
    match looked(&Cortex::to(instance)?, id) {
        Ok(decision) => {
            let work = work_of(instance, &decision)?;
            Ok(Shown { decision: Some(decision), work })
        }
        // The task manager knows some of those that are not known there any more, or while the cortex is away.
        Err(failure) if matches!(failure.code.as_str(), "not_found" | "not_reachable") => {
            match super::fetch(&TaskManager::to(instance)?, id) {
                Ok(work) => Ok(Shown { decision: None, work: Some(work) }),
                Err(_) => Err(failure),
            }
        }
        Err(failure) => Err(failure),
    }
}

fn looked(cortex: &Cortex, id: IntentId) -> Result<Decision, Failure> {
    match cortex.ask(Command::Query(Query::Intent(id)))? {
        Reply::Intent(decision) => Ok(*decision),
        _ => Err(odd()),
    }
}

/// What the task manager knows of an intent that it has; nothing while it is away.
fn work_of(instance: &Instance, decision: &Decision) -> Result<Option<IntentView>, Failure> {
    if decision.outcome != Outcome::Allowed || decision.state != DecisionState::Running {
        return Ok(None);
    }
    match super::fetch(&TaskManager::to(instance)?, decision.id) {
        Ok(work) => Ok(Some(work)),
        Err(failure) if matches!(failure.code.as_str(), "not_reachable" | "not_found") => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The intent, once it is over. A person who waits is told of each task.
fn ended(instance: &Instance, cortex: &Cortex, id: IntentId, out: &Output) -> Result<Shown, Failure> {
    let mut heard = cortex.hear(&decided_subject(&id.to_string()))?;
    loop {
        match looked(cortex, id) {
            Ok(decision) if decision.state == DecisionState::Running => {
                let road = TaskManager::to(instance)?;
                let work = done(&road, id, out)?;
                return Ok(Shown { decision: Some(decision), work: Some(work) });
            }
            Ok(decision) if decision.state != DecisionState::Waiting => {
                return Ok(Shown { decision: Some(decision), work: None });
            }
            Ok(_) => {}
            // The cortex is being replaced; the decision is safe.
            Err(failure) if failure.code == "not_reachable" => {}
            Err(failure) => return Err(failure),
        }
        cortex.hint(&mut heard);
    }
}

/// The intent, once the task manager is done with it.
fn done(road: &TaskManager, id: IntentId, out: &Output) -> Result<IntentView, Failure> {
    let mut heard = road.hear(&format!("grace.htm.ended.{id}"))?;
    let watched = !out.json && std::io::stderr().is_terminal();
    let mut told = Vec::new();
    loop {
        match super::fetch(road, id) {
            Ok(intent) if intent.state.is_over() => return Ok(intent),
            Ok(intent) if watched => show::progress(&intent, &mut told),
            Ok(_) => {}
            // The task manager is being replaced; the intent is safe.
            Err(failure) if failure.code == "not_reachable" => {}
            Err(failure) => return Err(failure),
        }
        road.hint(&mut heard);
    }
}

/// Lists intents, newest first: of each what the task manager knows, else what the cortex does.
pub(super) fn list(
    instance: &Instance,
    state: Option<State>,
    limit: usize,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let mut all: BTreeMap<IntentId, Shown> = BTreeMap::new();
    let mut more = false;
    let decided = state.map(State::decided);
    if decided != Some(None) {
        let query = Query::Intents { state: decided.flatten(), limit, before: None, actor: None };
        let Reply::Intents { intents, more: rest } = Cortex::to(instance)?.ask(Command::Query(query))? else {
            return Err(odd());
        };
        more |= rest;
        all.extend(intents.into_iter().map(|one| (one.id, Shown { decision: Some(one), work: None })));
    }
    let at_work: Option<Option<IntentState>> = state.map(State::at_work);
    if at_work != Some(None) {
        let (intents, rest) = super::intents(&TaskManager::to(instance)?, at_work.flatten(), limit)?;
        more |= rest;
        for work in intents {
            let decision = all.remove(&work.id).and_then(|shown| shown.decision);
            all.insert(work.id, Shown { decision, work: Some(work) });
        }
    }
    let newest: Vec<Shown> = all.into_values().rev().collect();
    more |= newest.len() > limit;
    show::intents(&newest[..newest.len().min(limit)], more, out)?;
    Ok(Exit::Done)
}

/// What a cancelled or retried intent is at.
pub(super) fn after(work: IntentView) -> Shown {
    Shown { decision: None, work: Some(work) }
}
