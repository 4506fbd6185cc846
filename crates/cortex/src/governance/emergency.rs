//! Leave to act in an emergency: declared by a person or by the control plane, bounded, and ended by the clock, by hand, or with it.

use std::time::Duration;

use grace_kernel::{Decision, Recorded};
use grace_types::{reason::Why, time::Now};

use super::{
    command::{Refusal, Reply},
    decider::{Decided, label, millis_after, moment, record, words},
    event::{End, Event},
    state::{Live, State, is_over},
};
use crate::{
    case::{Case, Grant},
    judge::grant_of,
    limits,
    request::{Actor, ActorKind},
};

/// Who declares an emergency when nobody is awake.
const CONTROL_PLANE: &str = "control_plane";
/// Who acts in it then.
const SELF_HEALING: &str = "self_healing";

/// A person declares one.
pub(super) fn begin(
    state: &State,
    now: Now,
    (reason, for_ms): (&str, u64),
    actor: Option<&Actor>,
    by: &str,
) -> Decided {
    let sound = label(by)
        .and_then(|()| words("reason", reason))
        .and_then(|()| actor.map_or(Ok(()), |actor| label(&actor.name)));
    if let Err(refusal) = sound {
        return Decision::refuse(refusal);
    }
    let lasts = Duration::from_millis(for_ms);
    if lasts.is_zero() || lasts > limits::EMERGENCY {
        let most = limits::EMERGENCY.as_secs() / 3600;
        let text =
            format!("an emergency lasts for more than 0 s and at most {most} h: begin another one then");
        return Decision::refuse(Refusal::new("bad_request", text));
    }
    if by == CONTROL_PLANE {
        let text = format!("`{CONTROL_PLANE}` declares its own by itself");
        return Decision::refuse(Refusal::new("bad_request", text));
    }
    if state.grants.len() >= limits::EMERGENCIES {
        let text = format!("{} emergencies are live, and no more are taken", limits::EMERGENCIES);
        return Decision::refuse(Refusal::new("full", text));
    }
    let (grant, event) = begun(state, now, (lasts, by, reason), actor.cloned());
    Decision::reply(Reply::Begun { grant }).record(event)
}

fn begun(
    state: &State,
    now: Now,
    (lasts, by, reason): (Duration, &str, &str),
    actor: Option<Actor>,
) -> (Grant, Recorded<Event>) {
    let (id, until) = (format!("emg-{}", state.emergencies + 1), now.wall.plus(lasts));
    let whom = actor.as_ref().map_or_else(
        || "everybody whom a policy lets ask".to_owned(),
        |actor| format!("{} {}", actor.kind.entity_type(), actor.name),
    );
    let text = format!("{by} declared an emergency: {reason}");
    let why = Why::because("emergency.declared", text)
        .and("emergency.leave", format!("leave for {whom} until {}", moment(until)));
    let (by_name, reason) = (by.to_owned(), reason.to_owned());
    let grant = Grant { id: id.clone(), actor, by: by_name, reason, since: now.wall, until };
    let event = Event::EmergencyBegun { grant: grant.clone(), mono_until_ms: millis_after(now, lasts) };
    (grant, record(event, id, by, why))
}

/// What is known of the control plane.
pub(super) fn seen(state: &State, now: Now, declared: bool, reason: &str) -> Decided {
    let own = state.grants.values().find(|live| live.grant.by == CONTROL_PLANE);
    match (declared, own) {
        (true, None) => {
            let healer = Actor { kind: ActorKind::Kernel, name: SELF_HEALING.to_owned() };
            let (grant, event) = begun(state, now, (limits::EMERGENCY, CONTROL_PLANE, reason), Some(healer));
            Decision::reply(Reply::Begun { grant }).record(event)
        }
        (false, Some(live)) => {
            let event = ended(live, End::EmergencyOver, (CONTROL_PLANE, now), "the emergency is over");
            Decision::reply(Reply::Done).record(event)
        }
        (true, Some(_)) | (false, None) => Decision::reply(Reply::Done),
    }
}

/// Somebody ends one.
pub(super) fn end(state: &State, now: Now, grant: &str, by: &str) -> Decided {
    if let Err(refusal) = label(by) {
        return Decision::refuse(refusal);
    }
    let Some(live) = state.grants.get(grant) else {
        let over = state.ended.iter().any(|ended| ended.grant.id == grant);
        return Decision::refuse(if over {
            Refusal::new("wrong_state", format!("{grant} is over already"))
        } else {
            Refusal::new("not_found", "there is no such emergency")
        });
    };
    let event = ended(live, End::ByHand, (by, now), &format!("ended by {by}"));
    Decision::reply(Reply::Done).record(event)
}

/// An intent was allowed under a grant: which one, whose and why, and what was done under it.
pub(super) fn used(state: &State, case: &Case) -> Recorded<Event> {
    let Actor { kind, name } = &case.actor;
    let text = format!(
        "{} on {} (tier {}) was allowed to the {} {name} under an emergency grant",
        case.kind,
        case.target,
        case.tier,
        kind.word()
    );
    let why = Why::because("emergency.used", text);
    let named = grant_of(&case.reasons);
    let known = named.and_then(|id| {
        let ended = || state.ended.iter().map(|ended| &ended.grant).find(|grant| grant.id == id);
        state.grants.get(id).map(|live| &live.grant).or_else(ended)
    });
    let why = match (named, known) {
        (_, Some(Grant { id, by, reason, until, .. })) => why
            .and("emergency.grant", format!("{id}, begun by {by}, until {}", moment(*until)))
            .and("emergency.reason", reason.clone()),
        (Some(id), None) => why.and("emergency.grant", format!("{id}, which is not kept any more")),
        (None, None) => why.and("emergency.grant", "the decision names none"),
    };
    let event = Event::EmergencyUsed {
        intent: case.intent,
        actor: case.actor.clone(),
        kind: case.kind.clone(),
        target: case.target.clone(),
        grant: named.map(str::to_owned),
    };
    record(event, case.intent.to_string(), "cortex", why)
}

/// Those whose time is over.
pub(super) fn over(state: &State, now: Now) -> impl Iterator<Item = Recorded<Event>> {
    let over = state.grants.values().filter(move |live| is_over(now, live.grant.until, live.mono_until_ms));
    over.map(move |live| ended(live, End::Expired, ("clock", now), "its time is over"))
}

fn ended(live: &Live, end: End, (by, now): (&str, Now), text: &str) -> Recorded<Event> {
    let grant = &live.grant;
    let why = Why::because("emergency.ended", text)
        .and("emergency.uses", format!("{} intents were allowed under it", live.uses));
    let event = Event::EmergencyEnded { grant: grant.id.clone(), end, by: by.to_owned(), at: now.wall };
    record(event, grant.id.clone(), by, why)
}
