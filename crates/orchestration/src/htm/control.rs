//! What operators and the shell decide: settings, types, cancelling, retrying, pausing.

use std::collections::BTreeMap;

use grace_kernel::Decision;
use grace_types::{reason::Why, time::Now};

use super::{
    Decided, Era, Htm, IntentId, Reply, TaskId, counted, cut,
    event::{NewType, Settings, What},
    millis, recorded, refusal,
    state::{Course, Ending, Stage, State},
    view::IntentState,
};
use crate::{
    intent::{Definition, IntentType},
    limits,
};

/// A step of the clock over a boot is believed up to this: a clock that was set wrong must not make every timer fire for ever.
const LONGEST_BOOT_MS: u64 = 366 * 86_400_000;

pub(super) fn configure(state: &State, now: Now, boot: &str, era: Era, settings: &Settings) -> Decision<Htm> {
    let base = &state.base;
    let (offset, told) = match base.offset {
        Some(offset) if base.boot == boot => (offset, "a task manager started again"),
        Some(_) => {
            let wall = now.wall.as_millis().clamp(base.now, base.now.saturating_add(LONGEST_BOOT_MS));
            (offset_to(wall, now), "a task manager started after a boot of the machine")
        }
        None => (offset_to(now.wall.as_millis(), now), "a task manager started with a new journal"),
    };
    let own = millis(now.mono).saturating_add(offset);
    let at = base.now.max(u64::try_from(own).unwrap_or(0));
    let settings = Settings {
        worker_silence_ms: settings.worker_silence_ms.clamp(10, limits::LONGEST_MS),
        ..settings.clone()
    };
    let why = Why::because("htm.started", told);
    let what = What::Configured { boot: cut(boot), offset, era, settings };
    Decision::reply(Reply::Configured).record(recorded(at, what, "htm", "the manifest's settings", why))
}

fn offset_to(wall: u64, now: Now) -> i64 {
    i64::try_from(wall).unwrap_or(i64::MAX).saturating_sub(millis(now.mono))
}

pub(super) fn define(state: &State, at: u64, types: &BTreeMap<String, IntentType>) -> Decided {
    if types.len() > limits::TYPES {
        return Err(refusal(
            "bad_request",
            format!("at most {} types; these are {}", limits::TYPES, types.len()),
        ));
    }
    let mut changed = Vec::new();
    for (name, source) in types {
        let known = state.types.get(name.as_str()).filter(|kind| !kind.retired);
        let known = known.and_then(|kind| state.definitions.get(&kind.definition));
        if known.is_some_and(|pin| pin.definition.source == *source) {
            continue;
        }
        if let Err(faults) = Definition::compile(name, source.clone()) {
            let told: Vec<String> = faults.iter().take(limits::VIOLATIONS).map(ToString::to_string).collect();
            return Err(refusal("bad_request", format!("the type `{}`: {}", cut(name), told.join("; "))));
        }
        let number = state.base.next_definition + u32::try_from(changed.len()).unwrap_or(0);
        changed.push(NewType { number, name: name.clone(), source: source.clone() });
    }
    let gone = state.types.iter().filter(|(name, kind)| !kind.retired && !types.contains_key(&***name));
    let retired: Vec<String> = gone.map(|(name, _)| name.to_string()).collect();
    let names: Vec<String> = changed.iter().map(|new| new.name.clone()).collect();
    let mut decision = Decision::reply(Reply::Defined { changed: names.clone() });
    if changed.is_empty() && retired.is_empty() {
        return Ok(decision);
    }
    // One event for each type: a definition may be as large as an event should be.
    for new in changed {
        let why = Why::because("type.defined", format!("`{}` is new or changed", new.name));
        let place = new.name.clone();
        let what = What::TypesDefined { changed: vec![new], retired: Vec::new() };
        decision = decision.record(recorded(at, what, place, "the manifest", why));
    }
    if !retired.is_empty() {
        let why =
            Why::because("type.retired", format!("{} not defined any more", counted(retired.len(), "type")));
        let what = What::TypesDefined { changed: Vec::new(), retired };
        decision = decision.record(recorded(at, what, "htm", "the manifest", why));
    }
    Ok(decision)
}

pub(super) fn cancel(state: &State, at: u64, id: IntentId, reason: &str) -> Decided {
    let Some(intent) = state.intents.get(&id) else {
        return Err(refusal("unknown_intent", format!("there is no intent {id}, or it was forgotten")));
    };
    match intent.course {
        Course::Over(_) => return Err(refusal("over", format!("{id} is over: {}", intent.state().word()))),
        Course::Unwinding(_) | Course::Compensating(_) => {
            return Ok(Decision::reply(Reply::Cancelled { state: intent.state() }));
        }
        Course::Running => {}
    }
    let waiting =
        intent.tasks.iter().filter(|task| task.stage.is_open()).count() - usize::from(intent.leased);
    let told = format!("{} cancelled, {} awaited", counted(waiting, "task"), intent.leased);
    let undone = intent.done;
    let after =
        if intent.leased == 0 && undone == 0 { IntentState::Cancelled } else { IntentState::Compensating };
    let why = Why::because("intent.cancelled", cut(reason)).and("intent.tasks", told);
    let what = What::IntentCancelled { intent: id, reason: cut(reason) };
    let event = recorded(at, what, id.to_string(), "asked for", why);
    Ok(Decision::reply(Reply::Cancelled { state: after }).record(event))
}

pub(super) fn retry(state: &State, at: u64, id: TaskId, reason: &str) -> Decided {
    let Some((intent, task)) = state.task(id) else {
        return Err(refusal("unknown_task", format!("there is no task {id}, or it was forgotten")));
    };
    if task.stage != Stage::Dead || intent.course != Course::Over(Ending::Failed) {
        let word = task.stage.state().word();
        return Err(refusal(
            "not_dead",
            format!("only a dead letter of an intent that failed is tried again; {id} is {word}"),
        ));
    }
    let undos = &intent.tasks[intent.pin.definition.forward..];
    if undos.iter().any(|undo| undo.stage != Stage::Dormant) {
        let message = format!("what {} did was taken back: submit it again", id.intent);
        return Err(refusal("compensated", message));
    }
    // What succeeded stays; the rest is open again, within the same bound as what is submitted.
    let forward = &intent.tasks[..intent.pin.definition.forward];
    let again = forward.iter().filter(|task| !matches!(task.stage, Stage::Succeeded(_))).count() as u64;
    let (open, most) = (state.open_tasks(), state.base.settings.tasks);
    if open + again > most {
        let message =
            format!("{open} tasks are not over; at most {most} may be, and these would be {again} more");
        return Err(refusal("overloaded", message));
    }
    let why =
        Why::because("task.retried", cut(reason)).and("task.was", task.reason.as_deref().unwrap_or("failed"));
    let event = recorded(at, What::TaskRequeued { task: id }, id.to_string(), "asked for", why);
    Ok(Decision::reply(Reply::Retried).record(event))
}

pub(super) fn pause(state: &State, at: u64, name: &str, reason: &str) -> Decided {
    let kind = state.types.get(name).ok_or_else(|| unknown_type(name))?;
    let reply = Decision::reply(Reply::Switched);
    if kind.paused.is_some() {
        return Ok(reply);
    }
    let why = Why::because("type.paused", cut(reason));
    let what = What::TypePaused { name: name.to_owned(), reason: cut(reason) };
    Ok(reply.record(recorded(at, what, name, "asked for", why)))
}

pub(super) fn resume(state: &State, at: u64, name: &str, reason: &str) -> Decided {
    let kind = state.types.get(name).ok_or_else(|| unknown_type(name))?;
    let reply = Decision::reply(Reply::Switched);
    if kind.paused.is_none() {
        return Ok(reply);
    }
    let why = Why::because("type.resumed", cut(reason));
    let what = What::TypeResumed { name: name.to_owned() };
    Ok(reply.record(recorded(at, what, name, "asked for", why)))
}

fn unknown_type(name: &str) -> super::Refusal {
    refusal("unknown_type", format!("there is no intent type `{}`", cut(name)))
}
