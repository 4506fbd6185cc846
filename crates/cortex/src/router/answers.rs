//! What others say to the cortex: the task manager, governance, and the clock.

use std::collections::{BTreeMap, BTreeSet};

use grace_kernel::{Decision as Decided, Recorded};
use grace_log::note::VerifierKey;
use grace_types::{
    intent::{Era, IntentId, Submitted},
    reason::{Reason, Why},
    time::{Now, Timestamp},
};

use super::{
    Router, bad_request, because,
    event::{Clocks, Event, What},
    recorded, refusal,
    state::State,
    submit::judged,
    votes,
};
use crate::{
    case::{Carried, Grant, InForce, Owed, Verdict, Word},
    command::{DecisionState, Outcome, Refusal, Reply, Taken},
    governance::shell::NAME,
    limits,
    rules::Rules,
};

const PLACE: &str = "cortex";

pub(super) fn configure(
    state: &State,
    now: Now,
    (era, declared): (Era, &[String]),
    boot: &str,
) -> Decided<Router> {
    let reply = Decided::reply(Reply::Configured);
    let known = state.clocks.as_ref().filter(|clocks| clocks.boot == boot);
    let same = state.era.is_some() && state.declared == declared.iter().cloned().collect::<BTreeSet<_>>();
    if same && (known.is_some() || boot.is_empty() && state.clocks.is_none()) {
        return reply;
    }
    // The clock that does not jump began anew with the boot: what it says cannot be held against the last one.
    let at = if known.is_some() { state.time(now) } else { state.wall(now) };
    let clocks = known.cloned().or_else(|| (!boot.is_empty()).then(|| Clocks::of(boot, at, now.mono)));
    let told = match declared.len() {
        1 => "the manifest declares 1 type of intents".to_owned(),
        n => format!("the manifest declares {n} types of intents"),
    };
    let what = What::Configured { era: state.era.unwrap_or(era), declared: declared.to_vec(), clocks };
    let why = Why::because("cortex.declared", told);
    let why = if known.is_none() && !boot.is_empty() {
        why.and("cortex.boot", "from here on time is counted by the clock of this boot as well")
    } else {
        why
    };
    reply.record(recorded(at, what, PLACE, "started", why))
}

pub(super) fn settle(state: &State, at: Timestamp, results: &[(IntentId, Submitted)]) -> Decided<Router> {
    let mut decision = Decided::reply(Reply::Noted);
    let mut taken = Vec::new();
    for (id, submitted) in results.iter().filter(|(id, _)| state.handing.contains(id)) {
        match submitted {
            Submitted::Accepted { .. } => taken.push(*id),
            Submitted::Refused(refused) => {
                let told = format!("the task manager refused it: {refused}");
                let told: String = told.chars().take(limits::REASON_CHARS).collect();
                let reason = Reason::new(format!("task_manager.{}", refused.code), told);
                let why = because(std::slice::from_ref(&reason));
                let what = What::Refused { intent: *id, reason };
                decision = decision.record(recorded(at, what, id.to_string(), "handed on and refused", why));
            }
        }
    }
    let Some(first) = taken.first().copied() else { return decision };
    let (place, told) = match taken.len() {
        1 => (first.to_string(), format!("the task manager has {first} on disk")),
        n => (PLACE.to_owned(), format!("the task manager has {first} and {} more on disk", n - 1)),
    };
    let why = Why::because("task_manager.taken", told);
    decision.record(recorded(
        at,
        What::HandedOn { intents: taken },
        place,
        "handed on under its own name",
        why,
    ))
}

pub(super) fn told(state: &State, at: Timestamp, cases: &[(IntentId, Owed)]) -> Decided<Router> {
    let cases: Vec<(IntentId, Owed)> =
        cases.iter().filter(|case| state.cases.contains(case)).copied().collect();
    let Some((first, _)) = cases.first().copied() else { return Decided::reply(Reply::Noted) };
    let (place, told) = match cases.len() {
        1 => (first.to_string(), format!("governance has the case of {first} on disk")),
        n => (PLACE.to_owned(), format!("governance has {n} cases on disk, the first of {first}")),
    };
    let why = Why::because("governance.taken", told);
    let what = What::CasesTold { cases };
    Decided::reply(Reply::Noted).record(recorded(at, what, place, "told until it is on disk there", why))
}

/// What governance says came of intents that change it. Said twice, it counts once.
pub(super) fn carried(state: &State, at: Timestamp, results: &[Carried]) -> Result<Decided<Router>, Refusal> {
    if results.len() > limits::BATCH {
        return Err(bad_request(format!("at most {} results at a time", limits::BATCH)));
    }
    let mut decision = Decided::reply(Reply::Noted);
    let mut said = BTreeSet::new();
    for Carried { intent, digest, failed } in results {
        let waited = state.changing.contains(intent) && said.insert(*intent);
        let same = state.intents.get(intent).is_some_and(|kept| kept.decision.digest == *digest);
        if !waited || !same {
            continue;
        }
        let reason = match failed {
            None => Reason::new("change.done", "governance has put it in force"),
            Some(why) => {
                let told = format!("it did not take effect: {why}");
                Reason::new("change.failed", told.chars().take(limits::REASON_CHARS).collect::<String>())
            }
        };
        let why = because(std::slice::from_ref(&reason));
        let what = What::Carried { intent: *intent, done: failed.is_none(), reason };
        decision = decision.record(recorded(at, what, intent.to_string(), "carried out by governance", why));
    }
    Ok(decision)
}

pub(super) fn resolve(
    state: &State,
    at: Timestamp,
    verdicts: &[Verdict],
) -> Result<Decided<Router>, Refusal> {
    if verdicts.is_empty() || verdicts.len() > limits::BATCH {
        return Err(bad_request(format!("1 to {} verdicts at a time", limits::BATCH)));
    }
    let (mut results, mut events, mut said) = (Vec::new(), Vec::new(), BTreeSet::new());
    for verdict in verdicts {
        let fresh = said.insert(verdict.intent);
        match one(state, at, verdict) {
            Ok(Some(_)) if !fresh => results.push(not_waiting(verdict.intent)),
            Ok(what) => {
                results.push(Taken::Taken);
                events.extend(what.map(|what| (verdict.intent, what)));
            }
            Err(refused) => results.push(refused),
        }
    }
    let decision = Decided::reply(Reply::Resolved { results });
    Ok(events.into_iter().fold(decision, |decision, (id, what)| decision.record(ended(at, id, what))))
}

/// The record of what became of an intent that waited.
fn ended(at: Timestamp, id: IntentId, what: What) -> Recorded<Event> {
    let (why, how) = match &what {
        What::Resolved { reasons, .. } => (because(reasons), "what people said of exactly this"),
        What::Expired { reasons, .. } => (because(reasons), "the end of its wait"),
        _ => (because(&[]), "resolved"),
    };
    recorded(at, what, id.to_string(), how, why)
}

fn not_waiting(id: IntentId) -> Taken {
    let message = format!("{id} does not wait for an approval");
    Taken::Refused { code: "not_waiting".to_owned(), message }
}

/// What a verdict changes; nothing where it was given before.
fn one(state: &State, at: Timestamp, verdict: &Verdict) -> Result<Option<What>, Taken> {
    let id = verdict.intent;
    let refuse = |code: &str, message: String| Taken::Refused { code: code.to_owned(), message };
    let Some(kept) = state.intents.get(&id) else {
        return Err(refuse("unknown_intent", format!("there is no intent {id}")));
    };
    if kept.decision.digest != verdict.digest {
        return Err(refuse("wrong_digest", format!("the verdict is on something else than {id} asks for")));
    }
    if kept.decision.outcome != Outcome::WaitsForApproval {
        let same = match verdict.word {
            Word::Approved => kept.decision.outcome == Outcome::Allowed,
            Word::Denied | Word::Expired => kept.decision.outcome == Outcome::Denied,
        };
        let asked_before = kept.decision.tier == Some(crate::tier::Tier::Approval.number());
        return if same && asked_before { Ok(None) } else { Err(not_waiting(id)) };
    }
    if kept.decision.expires.is_some_and(|end| at >= end) {
        return Ok(Some(expired(id)));
    }
    let people: BTreeSet<&str> = verdict.by.iter().map(String::as_str).collect();
    let (have, needed) = (people.len(), usize::from(kept.decision.quorum));
    if verdict.word == Word::Approved && have < needed {
        return Err(refuse("too_few", format!("{have} said yes, and {id} takes {needed} different people")));
    }
    let by = verdict.by.join(" and ");
    let mut reasons: Vec<Reason> = verdict.reasons.iter().take(limits::REASONS).cloned().collect();
    let outcome = match verdict.word {
        Word::Approved => {
            let said: Vec<&str> = verdict
                .reasons
                .iter()
                .filter(|one| one.code == "approval.reason")
                .map(|one| one.text.as_str())
                .collect();
            let because = if said.is_empty() { String::new() } else { format!(": {}", said.join("; ")) };
            let told: String = format!("{by} approved{because}").chars().take(limits::REASON_CHARS).collect();
            // What it says is in this sentence already.
            reasons.retain(|one| !["approval.approved", "approval.reason"].contains(&one.code.as_str()));
            reasons.insert(0, Reason::new("approval.given", told));
            still_bearable(state, at, id, &mut reasons)
        }
        Word::Denied => {
            reasons.insert(0, Reason::new("approval.denied", format!("denied by {by}")));
            Outcome::Denied
        }
        Word::Expired => {
            reasons.insert(0, Reason::new("approval.expired", "nobody approved it in time, which is a no"));
            Outcome::Denied
        }
    };
    let by = verdict.by.clone();
    Ok(Some(What::Resolved { intent: id, word: verdict.word, outcome, by, reasons }))
}

/// Allowed, unless what is in force by now would not even let it be asked for.
pub(super) fn still_bearable(
    state: &State,
    at: Timestamp,
    id: IntentId,
    reasons: &mut Vec<Reason>,
) -> Outcome {
    let Some(question) = state.asked_again(id) else { return Outcome::Denied };
    let judgement = judged(state, &question, at);
    if judgement.outcome == Outcome::Denied {
        let told = format!("generation {}, in force by now, denies it", state.number());
        reasons.push(Reason::new("policy.changed", told));
        reasons.extend(judgement.reasons);
        return Outcome::Denied;
    }
    Outcome::Allowed
}

fn expired(id: IntentId) -> What {
    let told = "nobody decided on it in time, which is a no";
    What::Expired { intent: id, reasons: vec![Reason::new("approval.expired", told)] }
}

/// What is to be decided by from now on. Of what is not genuine, was in force before, or cannot be read, nothing is taken.
pub(super) fn adopt(
    state: &State,
    at: Timestamp,
    in_force: &InForce,
    key: Option<&str>,
) -> Result<Decided<Router>, Refusal> {
    let InForce { revision, generation, grants, .. } = in_force;
    if let Some(wrong) = not_genuine(in_force, key) {
        let told = format!("what was told to be in force counts for nothing: {wrong}");
        let why = Why::because("in_force.not_genuine", told);
        let how = "its signature, with governance's public key";
        return Ok(Decided::refuse(refusal("not_genuine", wrong)).record(recorded(
            at,
            What::InForceRefused { revision: *revision },
            PLACE,
            how,
            why,
        )));
    }
    if *revision < state.revision {
        return Ok(old(state, at, *revision));
    }
    if grants.len() > limits::GRANTS {
        return Err(bad_request(format!("at most {} emergency grants", limits::GRANTS)));
    }
    let mut decision = Decided::reply(Reply::Adopted { generation: generation.number });
    if state.generation.as_ref() != Some(generation) {
        let (number, current) = (generation.number, state.number());
        if number < current || (number == current && state.generation.is_some()) {
            let message = format!("generation {current} is in force; {number} is not newer");
            return Err(refusal("old_generation", message));
        }
        if let Err(fault) = Rules::read(Some(generation), &state.declared) {
            let told = format!("generation {number} cannot be read, and generation {current} stays: {fault}");
            let told: String = told.chars().take(limits::REASON_CHARS).collect();
            let why = Why::because("generation.unsound", told.clone());
            let event =
                recorded(at, What::GenerationRefused { number }, PLACE, "read before it is in force", why);
            return Ok(Decided::refuse(refusal("bad_generation", told)).record(event));
        }
        let why =
            Why::because("generation.sound", format!("generation {number} reads and follows {current}"));
        let what = What::GenerationAdopted { generation: generation.clone(), revision: *revision };
        decision = decision.record(recorded(at, what, PLACE, "read before it is in force", why));
    }
    Ok(match granted(state, at, in_force) {
        Some(changed) => decision.record(changed),
        None => decision,
    })
}

/// What was in force before is not taken up again: leave that somebody ended would be live once more.
fn old(state: &State, at: Timestamp, revision: u64) -> Decided<Router> {
    let told = format!("revision {revision} was in force before; {} is known", state.revision);
    let refused = Decided::refuse(refusal("old_revision", told.clone()));
    if state.refused == Some(revision) {
        return refused;
    }
    let why = Why::because("in_force.old", told);
    refused.record(recorded(at, What::InForceRefused { revision }, PLACE, "revisions rise", why))
}

/// The emergency grants that are live now, where they are others than before.
fn granted(state: &State, at: Timestamp, in_force: &InForce) -> Option<Recorded<Event>> {
    let live: Vec<Grant> = in_force.grants.iter().filter(|grant| at < grant.until).cloned().collect();
    let known: BTreeMap<String, Grant> = live.iter().map(|grant| (grant.id.clone(), grant.clone())).collect();
    if known == state.grants {
        return None;
    }
    let told = |grant: &Grant| {
        let text = format!("{} by {} until {}: {}", grant.id, grant.by, grant.until, grant.reason);
        Reason::new("emergency.live", text)
    };
    let mut reasons: Vec<Reason> = live.iter().take(limits::REASONS).map(told).collect();
    if reasons.is_empty() {
        reasons.push(Reason::new("emergency.none", "no emergency grant is live any more"));
    }
    let what = What::GrantsChanged { grants: live, revision: in_force.revision };
    Some(recorded(at, what, PLACE, "what governance says", because(&reasons)))
}

/// Why it is not governance's; nothing where it is.
fn not_genuine(in_force: &InForce, key: Option<&str>) -> Option<String> {
    let Some(key) = key else {
        return Some(
            "governance's public key is not known: `keys/governance.vkey` cannot be read".to_owned(),
        );
    };
    match key.parse::<VerifierKey>() {
        Err(e) => Some(format!("`keys/governance.vkey` holds no public key: {e}")),
        Ok(key) if key.name() != NAME => Some(format!("`keys/governance.vkey` is the key of {}", key.name())),
        Ok(key) => (!in_force.is_signed(&key)).then(|| "it does not have governance's signature".to_owned()),
    }
}

/// Where the wall clock went on by more than the other one, both are read anew: from here on it is not to be set back.
fn ahead(state: &State, now: Now) -> Option<Recorded<Event>> {
    let clocks = state.clocks.as_ref()?;
    let by = now.wall.since(clocks.now(now.mono));
    if by < limits::CLOCK_STEP {
        return None;
    }
    let at = state.time(now);
    let told = format!("it went on by {} s more than the clock that does not jump", by.as_secs());
    let what = What::ClockAhead { clocks: Clocks::of(&clocks.boot, at, now.mono) };
    Some(recorded(at, what, PLACE, "the wall clock", Why::because("clock.ahead", told)))
}

/// What was due by time: waits that are over, grants that have ended.
pub(super) fn tick(state: &State, at: Timestamp, now: Now) -> Decided<Router> {
    let mut decision = ahead(state, now).into_iter().fold(Decided::reply(Reply::Ticked), Decided::record);
    let over = |id: &&IntentId| {
        let decision = state.intents.get(id).map(|kept| &kept.decision);
        decision.is_some_and(|one| {
            one.state == DecisionState::Waiting && one.expires.is_some_and(|end| at >= end)
        })
    };
    for id in state.waiting.iter().filter(over).take(limits::BATCH) {
        let poll = state.intents.get(id).and_then(|kept| kept.poll.as_deref());
        let counted = poll.and_then(|poll| votes::counted(state, at, *id, poll));
        decision = decision.record(counted.unwrap_or_else(|| ended(at, *id, expired(*id))));
    }
    grants_over(state, at).into_iter().fold(decision, Decided::record)
}

/// Grants whose time is over.
pub(super) fn grants_over(state: &State, at: Timestamp) -> Option<Recorded<Event>> {
    let ended: Vec<String> =
        state.grants.values().filter(|grant| at >= grant.until).map(|grant| grant.id.clone()).collect();
    if ended.is_empty() {
        return None;
    }
    let why = Why::because("emergency.ended", format!("the time of {} is over", ended.join(", ")));
    Some(recorded(at, What::GrantsEnded { grants: ended }, PLACE, "the end of a grant", why))
}
