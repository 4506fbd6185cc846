//! Approvals: what is asked of people, what they say, and what follows.

use grace_kernel::{Decision, Recorded};
use grace_log::note::{Algorithm, VerifierKey};
use grace_types::{
    reason::{Reason, Why},
    time::Now,
};

use super::{
    binding::{Answer, Said, is_approver, same_person},
    command::{Refusal, Reply},
    decider::{Decided, label, millis_after, moment, record, words},
    event::Event,
    query,
    state::{Approver, Open, State},
};
use crate::{
    case::{Case, Verdict, Word},
    limits,
};

/// That a case waits.
pub(super) fn asked(case: &Case, now: Now) -> Recorded<Event> {
    let mono_until_ms = case.until.map(|until| millis_after(now, until.since(now.wall)));
    let text = format!("{} of {} waits for {} to say yes", case.kind, case.actor.name, so_many(case.quorum));
    let mut why = Why::because("approval.asked", text);
    for Reason { code, text } in &case.reasons {
        why = why.and(code, text);
    }
    record(
        Event::Asked { case: Box::new(case.clone()), mono_until_ms },
        case.intent.to_string(),
        "cortex",
        why,
    )
}

fn so_many(quorum: u8) -> String {
    match quorum.max(1) {
        1 => "one person".to_owned(),
        n => format!("{n} different people"),
    }
}

/// That nobody said anything in time.
pub(super) fn expired(open: &Open, now: Now) -> Recorded<Event> {
    let until = open.case.until.map(moment).unwrap_or_default();
    let text =
        format!("{} of {} people said yes until {until}, which is a no", open.yes.len(), open.quorum());
    let reason = Reason::new("approval.expired", text);
    let by = open.yes.keys().cloned().collect();
    resolved(open, (Word::Expired, by, vec![reason]), ("clock", now))
}

fn resolved(
    open: &Open,
    (word, by, reasons): (Word, Vec<String>, Vec<Reason>),
    (how, now): (&str, Now),
) -> Recorded<Event> {
    let mut steps = reasons.iter();
    let first = steps.next().map_or_else(
        || Why::because("approval.resolved", "it was decided"),
        |reason| Why::because(&reason.code, &reason.text),
    );
    let why = steps.fold(first, |why, reason| why.and(&reason.code, &reason.text));
    let (intent, digest) = (open.case.intent, open.case.digest.clone());
    let verdict = Verdict { intent, digest, word, by, reasons };
    record(Event::Resolved { verdict, at: now.wall }, intent.to_string(), how, why)
}

/// An approver says something.
pub(super) fn answer(state: &State, now: Now, said: &Said, answer: Answer) -> Decided {
    match weighed(state, now, said, answer) {
        Ok(Weighed::Repeated) => counted(state, said, true),
        Ok(Weighed::Counts(open)) if answer == Answer::Deny => denied(state, now, said, open),
        Ok(Weighed::Counts(open)) => yes(state, now, said, open),
        Ok(Weighed::TooLate(open)) => {
            let refusal = Refusal::new("expired", format!("the time to answer {} is over", said.intent));
            not_taken(refusal, said).record(expired(open, now))
        }
        Err(refusal) if refusal.code == "not_found" => Decision::refuse(refusal),
        Err(refusal) => not_taken(refusal, said),
    }
}

fn not_taken(refusal: Refusal, said: &Said) -> Decided {
    let (code, text) = (refusal.code.clone(), refusal.message.clone());
    let why = Why::because(format!("approval.{code}"), text);
    let mut said = said.clone();
    for text in [&mut said.approver, &mut said.digest, &mut said.signature] {
        *text = text.chars().take(limits::NAME_BYTES).collect();
    }
    said.reason = said.reason.map(|reason| reason.chars().take(limits::NAME_BYTES).collect());
    let (place, by) = (said.intent.to_string(), said.approver.clone());
    Decision::refuse(refusal).record(record(Event::NotTaken { said, code }, place, by, why))
}

enum Weighed<'a> {
    Counts(&'a Open),
    Repeated,
    TooLate(&'a Open),
}

/// Whether an answer counts. Who it is comes first, then whether he said this, and only then whether he may.
fn weighed<'a>(state: &'a State, now: Now, said: &Said, answer: Answer) -> Result<Weighed<'a>, Refusal> {
    let refused = |code: &str, text: String| Err(Refusal::new(code, text));
    let open = state.open.get(&said.intent);
    let closed = state.closed(said.intent);
    let Some(case) = open.map(|open| &open.case).or(closed.map(|closed| &closed.case)) else {
        return refused("not_found", format!("no approval is asked for {}", said.intent));
    };
    let Some(approver) = state.approvers.get(&said.approver) else {
        return refused("unknown_approver", format!("`{}` is no approver", tame(&said.approver)));
    };
    if said.digest != case.digest {
        let text = format!("the answer is about something else than {} asks for", said.intent);
        return refused("wrong_digest", text);
    }
    let key: Option<VerifierKey> = approver.public_key.parse().ok();
    if !key.is_some_and(|key| said.is_signed(answer, &key, &state.instance)) {
        let text = format!("the signature is not {}'s under this answer to {}", approver.name, said.intent);
        return refused("forged", text);
    }
    if answer == Answer::Approve && same_person(&case.actor.name, &approver.name) {
        let text = format!("{} asked for {}, and nobody approves his own", approver.name, said.intent);
        return refused("own_intent", text);
    }
    if let Some(reason) = &said.reason {
        words("reason", reason)?;
    }
    let Some(open) = open else {
        // What made the verdict, told again.
        if closed.is_some_and(|closed| closed.said.contains(said)) {
            return Ok(Weighed::Repeated);
        }
        return refused("closed", format!("{} is decided already", said.intent));
    };
    if answer == Answer::Approve && open.yes.contains_key(&approver.name) {
        return Ok(Weighed::Repeated);
    }
    let (early, late) = (now.wall.since(said.at), said.at.since(now.wall));
    if early.max(late) > limits::ANSWER_AGE {
        let text = format!(
            "the answer was signed at {}, and {} is too far from that",
            moment(said.at),
            moment(now.wall)
        );
        return refused("replayed", text);
    }
    Ok(if open.is_over(now) { Weighed::TooLate(open) } else { Weighed::Counts(open) })
}

/// What a stranger calls himself, short enough to be repeated.
pub(super) fn tame(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(limits::APPROVER_BYTES).collect()
}

/// The answer with what the state will be.
fn counted(state: &State, said: &Said, repeated: bool) -> Decided {
    match query::approval(state, said.intent) {
        Some(approval) => Decision::reply(Reply::Counted { approval: Box::new(approval), repeated }),
        None => Decision::refuse(Refusal::new("not_found", "it is gone")),
    }
}

/// The events, with an answer made of the state after them.
fn after(state: &State, said: &Said, events: Vec<Recorded<Event>>) -> Decided {
    let mut next = state.clone();
    events.iter().for_each(|event| next.take(event.event()));
    events.into_iter().fold(counted(&next, said, false), Decision::record)
}

fn denied(state: &State, now: Now, said: &Said, open: &Open) -> Decided {
    let text = said.reason.clone().unwrap_or_else(|| format!("{} said no", said.approver));
    let verdict = (Word::Denied, vec![said.approver.clone()], vec![Reason::new("approval.denied", text)]);
    after(state, said, vec![resolved(open, verdict, (&said.approver, now))])
}

fn yes(state: &State, now: Now, said: &Said, open: &Open) -> Decided {
    let mut by: Vec<String> = open.yes.keys().cloned().collect();
    by.push(said.approver.clone());
    let (have, needed) = (by.len(), open.quorum());
    let text = format!("{} said yes: {have} of {needed}", said.approver);
    let mut why = Why::because("approval.yes", text);
    if let Some(reason) = &said.reason {
        why = why.and("approval.reason", reason);
    }
    let place = said.intent.to_string();
    let mut events = vec![record(
        Event::Yes { said: said.clone() },
        place,
        format!("signature of {}", said.approver),
        why,
    )];
    if have >= needed {
        let text = format!("{} said yes, as many as it takes", by.join(" and "));
        let mut reasons = vec![Reason::new("approval.approved", text)];
        let said = open.yes.values().chain([said]);
        reasons.extend(said.filter_map(|said| Some(Reason::new("approval.reason", said.reason.clone()?))));
        events.push(resolved(open, (Word::Approved, by, reasons), ("quorum", now)));
    }
    after(state, said, events)
}

pub(super) fn enrollable(state: &State, approver: &str, public_key: &str) -> Result<(), Refusal> {
    if !is_approver(approver) {
        let most = limits::APPROVER_BYTES;
        let text =
            format!("an approver's name has 1 to {most} lower-case letters, digits, and any of `.-_@`");
        return Err(Refusal::new("bad_name", text));
    }
    let key: Result<VerifierKey, _> = public_key.parse();
    let key = key.map_err(|e| Refusal::new("bad_key", format!("the public key: {e}")))?;
    if key.algorithm() != Algorithm::Ed25519 || key.name() != approver {
        let text = format!("the key is to be an Ed25519 key called `{approver}`");
        return Err(Refusal::new("bad_key", text));
    }
    if let Some(known) = state.approvers.get(approver) {
        let text = if known.public_key == public_key {
            format!("{approver} is enrolled already")
        } else {
            format!("{approver} is enrolled with another key: dismiss it first")
        };
        return Err(Refusal::new("enrolled", text));
    }
    let same = |text: &str| text.rsplit('+').next().map(str::to_owned);
    if let Some(other) = state.approvers.values().find(|one| same(&one.public_key) == same(public_key)) {
        let text = format!("this key is {}'s: each person has one of his own", other.name);
        return Err(Refusal::new("bad_key", text));
    }
    if state.approvers.len() >= limits::APPROVERS {
        let text = format!("there are {} approvers, and no more are taken", limits::APPROVERS);
        return Err(Refusal::new("full", text));
    }
    Ok(())
}

/// Takes the first approver's key, at the word of whoever sits at the machine: somebody has to be first. Every later one is an intent.
pub(super) fn enroll_first(
    state: &State,
    now: Now,
    (approver, public_key): (&str, &str),
    by: &str,
) -> Decided {
    if let Err(refusal) = label(by).and_then(|()| enrollable(state, approver, public_key)) {
        return Decision::refuse(refusal);
    }
    if !state.approvers.is_empty() {
        let text =
            "there are approvers already: a later one is enrolled by an intent that one of them approves";
        return Decision::refuse(Refusal::new("wrong_state", text));
    }
    let why = Why::because(
        "approver.first",
        format!("{approver} is the first approver, taken at the word of the operator ({by})"),
    );
    let (name, public_key, by) = (approver.to_owned(), public_key.to_owned(), by.to_owned());
    let first =
        Approver { name: name.clone(), public_key: public_key.clone(), by: by.clone(), since: now.wall };
    let event = Event::Enrolled { approver: name, public_key, by, at: now.wall };
    Decision::reply(Reply::Enrolled { approver: first }).record(record(event, approver, "operator", why))
}
