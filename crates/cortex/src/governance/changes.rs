//! Intents by which governance itself is changed: sound before anybody is asked, and carried out once they are allowed.
//!
//! The cortex tells an allowed one until it is on record here; told twice, it counts once. What came of it is told back until the cortex has
//! that on record: of policies and charter once the cortex decides by them, or does not.

use grace_kernel::{Decision, Recorded};
use grace_types::{intent::Json, reason::Why, time::Now};

use super::{
    approvals::enrollable,
    command::{Refusal, Reply},
    decider::{Decided, record, words},
    event::Event,
    generations::bearable,
    people::dispensable,
    state::{Closed, State},
};
use crate::{
    case::{Carried, Case, Generation, Word},
    change::{Wanted, named},
};

/// Whether what an intent names could be done as things are, and how many people beside whoever asks could say yes to it: what nobody can
/// approve is not to wait for it.
pub(super) fn sound(state: &State, (kind, payload): (&str, &Json), by: &str) -> Decided {
    let refusal = match named(kind, payload) {
        None => None,
        Some(Err(wrong)) => Some(Refusal::new("bad_request", wrong)),
        Some(Ok(wanted)) => hindered(state, &wanted),
    };
    let others = state.may(by, &Default::default()).count();
    refusal.map_or_else(|| Decision::reply(Reply::Sound { others }), Decision::refuse)
}

/// Policies and charter as they would be.
fn texts<'a>(state: &'a State, wanted: &'a Wanted) -> Option<(&'a str, &'a str)> {
    let Wanted::Adopt { policies, charter, .. } = wanted else { return None };
    let now = &state.generation(state.in_force)?.generation;
    Some((policies.as_deref().unwrap_or(&now.policies), charter.as_deref().unwrap_or(&now.charter)))
}

fn hindered(state: &State, wanted: &Wanted) -> Option<Refusal> {
    if let Some(Err(refusal)) = wanted.reason().map(|reason| words("reason", reason)) {
        return Some(refusal);
    }
    match wanted {
        Wanted::Adopt { over, .. } => {
            if let Some(number) = state.on_its_way {
                let text =
                    format!("generation {number} is on its way to the cortex: ask again once it has come");
                return Some(Refusal::new("wrong_state", text));
            }
            let Some((policies, charter)) = texts(state, wanted) else {
                return Some(Refusal::new("wrong_state", "there is no generation to change yet"));
            };
            if over.is_some_and(|over| over != state.in_force) {
                let text = format!(
                    "it was made over generation {}, and generation {} is in force: make it over that one",
                    over.unwrap_or_default(),
                    state.in_force
                );
                return Some(Refusal::new("wrong_state", text));
            }
            let now = state.generation(state.in_force).map(|kept| &kept.generation);
            if now.is_some_and(|now| now.policies == policies && now.charter == charter) {
                let text = format!("this is what generation {} holds already", state.in_force);
                return Some(Refusal::new("unchanged", text));
            }
            bearable(state, policies, charter).err()
        }
        Wanted::Enroll { approver, public_key, .. } => enrollable(state, approver, public_key).err(),
        Wanted::Dismiss { approver, .. } => dispensable(state, approver).err(),
    }
}

/// Whether it was told before.
pub(super) fn is_known(state: &State, case: &Case) -> bool {
    let under_way = |kept: &super::state::Kept| {
        kept.carries.as_ref().is_some_and(|carries| carries.intent == case.intent)
    };
    state.carried.contains(&case.intent) || state.generations.iter().any(under_way)
}

/// Carries an allowed intent out: exactly what approvers said yes to here. At the cortex's word alone nothing is changed.
pub(super) fn carry_out(state: &State, now: Now, case: &Case) -> Vec<Recorded<Event>> {
    let failed = |why: String| vec![over(Carried { failed: Some(why), ..of(case) })];
    let approved = state
        .closed(case.intent)
        .filter(|closed| closed.verdict.word == Word::Approved && closed.case.digest == case.digest);
    let Some(Closed { case, verdict, .. }) = approved else {
        return failed("no approval of it is on record in governance: ask again".to_owned());
    };
    let wanted = match named(&case.kind, &case.payload) {
        Some(Ok(wanted)) => wanted,
        Some(Err(wrong)) => return failed(wrong),
        None => return failed("it names nothing that could change".to_owned()),
    };
    if let Some(refusal) = hindered(state, &wanted) {
        return failed(refusal.faults.unwrap_or(refusal.message));
    }
    let (by, asked_by) = (&verdict.by, case.actor.name.clone());
    let text = format!("{} of {asked_by}, approved by {}", case.intent, by.join(" and "));
    let why = Why::because("change.approved", text);
    let why = match wanted.reason() {
        Some(reason) => why.and("change.reason", reason),
        None => why,
    };
    match &wanted {
        Wanted::Adopt { reason, .. } => {
            let Some((policies, charter)) = texts(state, &wanted) else { return Vec::new() };
            let number = state.last + 1;
            let event = Event::Approved {
                generation: Generation { number, policies: policies.to_owned(), charter: charter.to_owned() },
                by: asked_by,
                reason: reason.clone().unwrap_or_else(|| format!("asked for as {}", case.intent)),
                approved_by: by.clone(),
                at: now.wall,
                carries: of(case),
            };
            vec![record(event, format!("generation {number}"), "cortex", why)]
        }
        Wanted::Enroll { approver, public_key, .. } => {
            let (name, public_key) = (approver.clone(), public_key.clone());
            let event = Event::Enrolled { approver: name, public_key, by: asked_by, at: now.wall };
            vec![record(event, approver.clone(), "cortex", why), over(of(case))]
        }
        Wanted::Dismiss { approver, .. } => {
            let event = Event::Dismissed { approver: approver.clone() };
            vec![record(event, approver.clone(), "cortex", why), over(of(case))]
        }
    }
}

fn of(case: &Case) -> Carried {
    Carried { intent: case.intent, digest: case.digest.clone(), failed: None }
}

/// What came of it.
pub(super) fn over(result: Carried) -> Recorded<Event> {
    let why = match &result.failed {
        None => Why::because("change.done", "what was asked for is in force"),
        Some(why) => Why::because("change.failed", why.clone()),
    };
    let place = result.intent.to_string();
    record(Event::CarriedOut { result }, place, "governance", why)
}
