//! Governance's decisions: where each command goes, and what is over by now.

use std::time::Duration;

use grace_kernel::{Decider, Decision, Recorded};
use grace_types::{
    intent::IntentId,
    reason::{Reason, Why},
    time::{Now, Timestamp},
};

use super::{
    approvals, binding, changes,
    command::{Command, HandOver, Refusal, Reply},
    emergency,
    event::Event,
    generations, query,
    state::State,
};
use crate::{
    case::{Case, Generation, Owed, Verdict, Word},
    charter, limits, policy,
    tier::Tier,
};

/// The decider.
#[derive(Debug)]
pub enum Governance {}

pub(super) type Decided = Decision<Governance>;

impl Decider for Governance {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;
    type Refusal = Refusal;
    /// The cortex is to be told something: whoever performs it asks with [`Command::HandOver`] what.
    type Effect = ();

    fn decide(state: &State, now: Now, command: &Command) -> Decided {
        match command {
            Command::Begin { boot, declared, instance } => {
                let (boot, declared, instance) = (boot.clone(), declared.clone(), instance.clone());
                begin(state, now, Event::Began { boot, declared, instance })
            }
            Command::Tick => tick(state, now),
            Command::Emergency { declared, reason } => emergency::seen(state, now, *declared, reason),
            Command::Owe { cases } => owe(state, now, cases),
            Command::Approve(said) => approvals::answer(state, now, said, binding::Answer::Approve),
            Command::Deny(said) => approvals::answer(state, now, said, binding::Answer::Deny),
            Command::EnrollFirst { approver, public_key, by } => {
                approvals::enroll_first(state, now, (approver, public_key), by)
            }
            Command::Accept { review, by, note } => {
                reviewed(state, now, *review, (false, by, note.as_deref()))
            }
            Command::Flag { review, by, note } => reviewed(state, now, *review, (true, by, Some(note))),
            Command::BeginEmergency { reason, for_ms, actor, by } => {
                emergency::begin(state, now, (reason, *for_ms), actor.as_ref(), by)
            }
            Command::EndEmergency { grant, by } => emergency::end(state, now, grant, by),
            Command::Told { intents, refused } => told(state, intents, refused.as_deref()),
            Command::ResultsTold { intents } => results_told(state, intents),
            Command::Adopted { number, revision, refused } => {
                generations::confirmed(state, now, (*number, *revision), refused.as_deref())
            }
            Command::HandOver => hand_over(state),
            Command::Query(query) => query::answer(state, query),
        }
    }

    fn decide_in_reserve(state: &State, now: Now, command: &Command) -> Decided {
        match command {
            Command::Tick => emergency::over(state, now).fold(Decision::reply(Reply::Done), Decision::record),
            other => Self::decide(state, now, other),
        }
    }

    fn is_for_emergency(_state: &State, event: &Recorded<Event>, those: &[Recorded<Event>]) -> bool {
        match event.event() {
            // Without its start nothing is decided here at all.
            Event::Began { .. } | Event::Brought { .. } => true,
            Event::EmergencyBegun { .. } | Event::EmergencyUsed { .. } | Event::EmergencyEnded { .. } => true,
            Event::ReviewOwed { case } => case.tier == Tier::Emergency,
            Event::GrantsTaken { .. } => true,
            // The cortex takes policies and grants together.
            Event::Adopted { .. } | Event::CarriedOut { .. } => {
                those.iter().any(|one| matches!(one.event(), Event::GrantsTaken { .. }))
            }
            Event::Asked { .. }
            | Event::Yes { .. }
            | Event::Resolved { .. }
            | Event::NotTaken { .. }
            | Event::Enrolled { .. }
            | Event::Dismissed { .. }
            | Event::Told { .. }
            | Event::Reviewed { .. }
            | Event::Approved { .. }
            | Event::Refused { .. }
            | Event::ResultsTold { .. } => false,
        }
    }

    fn evolve(state: &mut State, event: &Event) {
        state.take(event);
    }

    fn effects(_state: &State, event: &Recorded<Event>) -> Vec<()> {
        match event.event() {
            Event::Resolved { .. }
            | Event::EmergencyBegun { .. }
            | Event::EmergencyEnded { .. }
            | Event::Brought { .. }
            | Event::Approved { .. }
            | Event::CarriedOut { .. }
            | Event::Refused { .. } => vec![()],
            _ => Vec::new(),
        }
    }

    fn outstanding(_state: &State) -> Vec<()> {
        vec![()]
    }

    fn what(event: &Event) -> &'static str {
        match event {
            Event::Began { .. } => "governance_began",
            Event::Asked { .. } => "approval_asked",
            Event::Yes { .. } => "approval_given",
            Event::Resolved { verdict, .. } => match verdict.word {
                Word::Approved => "approved",
                Word::Denied => "denied",
                Word::Expired => "expired",
            },
            Event::NotTaken { .. } => "approval_refused",
            Event::Enrolled { .. } => "approver_enrolled",
            Event::Dismissed { .. } => "approver_dismissed",
            Event::Told { refused: None, .. } => "verdicts_taken",
            Event::Told { refused: Some(_), .. } => "verdicts_refused",
            Event::ReviewOwed { .. } => "review_owed",
            Event::Reviewed { flagged: false, .. } => "review_closed",
            Event::Reviewed { flagged: true, .. } => "review_flagged",
            Event::EmergencyBegun { .. } => "emergency_begun",
            Event::EmergencyUsed { .. } => "emergency_used",
            Event::EmergencyEnded { .. } => "emergency_ended",
            Event::Brought { .. } => "generation_brought",
            Event::Approved { .. } => "generation_approved",
            Event::Adopted { .. } => "generation_adopted",
            Event::Refused { .. } => "generation_refused",
            Event::CarriedOut { result } if result.failed.is_none() => "change_done",
            Event::CarriedOut { .. } => "change_failed",
            Event::ResultsTold { .. } => "changes_told",
            Event::GrantsTaken { .. } => "grants_taken",
        }
    }
}

/// An event with who did it and why.
pub(super) fn record(
    event: Event,
    place: impl Into<String>,
    by: impl Into<String>,
    why: Why,
) -> Recorded<Event> {
    Recorded::new(event, place, by, why)
}

/// `Err` is the refusal that it is not a text that can be put on record.
pub(super) fn words(what: &str, text: &str) -> Result<(), Refusal> {
    match text.len() {
        0 => Err(Refusal::new("bad_request", format!("`{what}` is empty"))),
        n if n > limits::WORDS_BYTES => Err(Refusal::new(
            "bad_request",
            format!("`{what}` has {n} bytes; at most {} are taken", limits::WORDS_BYTES),
        )),
        _ => Ok(()),
    }
}

/// `Err` where `by` names nobody.
pub(super) fn label(by: &str) -> Result<(), Refusal> {
    if by.trim().is_empty() || by.len() > limits::NAME_BYTES || by.chars().any(char::is_control) {
        let most = limits::NAME_BYTES;
        let text = format!("who asks has a name of 1 to {most} bytes without control characters");
        return Err(Refusal::new("bad_request", text));
    }
    Ok(())
}

pub(super) fn millis_after(now: Now, wait: Duration) -> u64 {
    now.mono.plus(wait).as_nanos() / 1_000_000
}

fn begin(state: &State, now: Now, event: Event) -> Decided {
    let mut decision = Decision::reply(Reply::Done);
    let Event::Began { boot, declared, instance } = &event else { return decision };
    if *boot != state.boot || *declared != state.declared || *instance != state.instance {
        let mut why = Why::because("governance.began", "governance was started");
        if !state.instance.is_empty() && *instance != state.instance {
            why = why.and(
                "governance.new_key",
                "its key is another one than before: answers that were signed for the old one are not taken",
            );
        }
        decision = decision.record(record(event, "governance", "start", why));
    }
    let latest = state.generations.back();
    let brought = |text: &Generation| text.policies == policy::DEFAULT && text.charter == charter::DEFAULT;
    let holds = match latest {
        None => false,
        // Somebody's own stays; what Grace brought along follows Grace.
        Some(kept) => {
            kept.by != "grace" || brought(&kept.generation) || state.in_force != kept.generation.number
        }
    };
    if !holds {
        let number = latest.map_or(0, |_| state.last + 1);
        let (policies, charter) = (policy::DEFAULT.to_owned(), charter::DEFAULT.to_owned());
        let generation = Generation { number, policies, charter };
        let text =
            "these policies and this charter come with Grace, and nobody has put others in their place";
        let why = Why::because("generation.brought", text);
        let event = Event::Brought { generation, at: now.wall };
        decision = decision.record(record(event, format!("generation {number}"), "start", why));
    }
    decision
}

/// What is over by now.
fn tick(state: &State, now: Now) -> Decided {
    let over = state.open.values().filter(|open| open.is_over(now)).take(limits::PAGE);
    let expired = over.map(|open| approvals::expired(open, now));
    let ended = emergency::over(state, now);
    expired.chain(ended).fold(Decision::reply(Reply::Done), Decision::record)
}

/// What the cortex says that people owe. All of it is taken, or nothing.
fn owe(state: &State, now: Now, cases: &[Case]) -> Decided {
    let mut decision = Decision::reply(Reply::Done);
    let mut new: Vec<(IntentId, Owed)> = Vec::new();
    let mut changing: Option<State> = None;
    for case in cases {
        let known = match case.owed {
            Owed::Change => {
                // Each stands on what those before it have changed.
                let so_far = changing.get_or_insert_with(|| state.clone());
                if !changes::is_known(so_far, case) {
                    new.push((case.intent, case.owed));
                    for event in changes::carry_out(so_far, now, case) {
                        so_far.take(event.event());
                        decision = decision.record(event);
                    }
                }
                continue;
            }
            Owed::Approval => state
                .open
                .get(&case.intent)
                .map(|open| &open.case)
                .or_else(|| state.closed(case.intent).map(|closed| &closed.case)),
            Owed::Review => state.reviews.get(&case.intent).map(|owed| &owed.case).or_else(|| {
                state.reviewed.iter().map(|done| &done.case).find(|done| done.intent == case.intent)
            }),
        };
        if let Some(known) = known {
            if known.digest != case.digest {
                let text = format!("{} is known with another digest: it is not the same intent", case.intent);
                return Decision::refuse(Refusal::new("wrong_digest", text));
            }
            continue;
        }
        if new.contains(&(case.intent, case.owed)) {
            continue;
        }
        new.push((case.intent, case.owed));
        let room = match case.owed {
            Owed::Approval => state.open.len() + state.untold.len(),
            Owed::Review | Owed::Change => state.reviews.len(),
        };
        if room + new.len() > limits::OPEN_CASES {
            let text = format!("{} cases wait for people, and no more are taken", limits::OPEN_CASES);
            return Decision::refuse(Refusal::new("full", text));
        }
        decision = match case.owed {
            Owed::Approval => decision.record(approvals::asked(case, now)),
            Owed::Review | Owed::Change => review_owed(state, decision, case),
        };
    }
    let new = new.len();
    decision.events().to_vec().into_iter().fold(Decision::reply(Reply::Owed { new }), Decision::record)
}

fn review_owed(state: &State, decision: Decided, case: &Case) -> Decided {
    let text = format!("{} of {} ran at tier {}", case.kind, case.actor.name, case.tier);
    let mut why = Why::because("review.owed", text);
    for Reason { code, text } in &case.reasons {
        why = why.and(code, text);
    }
    let owed = Event::ReviewOwed { case: Box::new(case.clone()) };
    let decision = decision.record(record(owed, case.intent.to_string(), "cortex", why));
    if case.tier != Tier::Emergency {
        return decision;
    }
    decision.record(emergency::used(state, case))
}

fn reviewed(
    state: &State,
    now: Now,
    intent: IntentId,
    (flagged, by, note): (bool, &str, Option<&str>),
) -> Decided {
    let sound = label(by).and_then(|()| note.map_or(Ok(()), |note| words("note", note)));
    if let Err(refusal) = sound {
        return Decision::refuse(refusal);
    }
    let Some(owed) = state.reviews.get(&intent) else {
        let done = state.reviewed.iter().rev().find(|done| done.case.intent == intent);
        return Decision::refuse(match done {
            Some(done) => {
                let by = done.by.as_deref().unwrap_or_default();
                Refusal::new("wrong_state", format!("{by} has looked at {intent} already"))
            }
            None => Refusal::new("not_found", format!("no review is owed for {intent}")),
        });
    };
    let (code, what) =
        if flagged { ("review.flagged", "found wrong") } else { ("review.accepted", "found right") };
    let text = format!("{} of {} was {what} by {by}", owed.case.kind, owed.case.actor.name);
    let why = Why::because(code, text);
    let why = match note {
        Some(note) => why.and("review.note", note),
        None => why,
    };
    let (by_name, note) = (by.to_owned(), note.map(str::to_owned));
    let event = Event::Reviewed { intent, flagged, by: by_name, note, at: now.wall };
    Decision::reply(Reply::Done).record(record(event, intent.to_string(), by, why))
}

fn told(state: &State, intents: &[IntentId], refused: Option<&str>) -> Decided {
    let intents: Vec<IntentId> =
        intents.iter().copied().filter(|intent| state.untold.contains_key(intent)).collect();
    if intents.is_empty() {
        return Decision::reply(Reply::Done);
    }
    let place = intents.first().map(ToString::to_string).unwrap_or_default();
    let why = match refused {
        None => Why::because("verdict.taken", format!("the cortex has {} on record", intents.len())),
        Some(reason) => Why::because("verdict.refused", format!("the cortex has no use for it: {reason}")),
    };
    let event = Event::Told { intents, refused: refused.map(str::to_owned) };
    Decision::reply(Reply::Done).record(record(event, place, "cortex", why))
}

fn results_told(state: &State, intents: &[IntentId]) -> Decided {
    let known = intents.iter().copied().filter(|intent| state.results.contains_key(intent));
    let intents: Vec<IntentId> = known.collect();
    let Some(first) = intents.first().copied() else { return Decision::reply(Reply::Done) };
    let why = Why::because("change.told", format!("the cortex has on record what came of {}", intents.len()));
    Decision::reply(Reply::Done).record(record(
        Event::ResultsTold { intents },
        first.to_string(),
        "cortex",
        why,
    ))
}

fn hand_over(state: &State) -> Decided {
    let number = state.on_its_way.unwrap_or(state.in_force);
    let Some(kept) = state.generation(number) else {
        return Decision::refuse(Refusal::new("not_found", "there is no generation yet"));
    };
    let verdicts: Vec<Verdict> = state.untold.values().take(limits::PAGE).cloned().collect();
    let grants = state.grants.values().map(|live| live.grant.clone()).collect();
    Decision::reply(Reply::HandOver(Box::new(HandOver {
        verdicts,
        results: state.results.values().take(limits::PAGE).cloned().collect(),
        generation: kept.generation.clone(),
        grants,
        revision: state.revision,
        taken: state.taken == state.revision && state.on_its_way.is_none(),
    })))
}

/// A moment as people read it.
pub(super) fn moment(at: Timestamp) -> String {
    at.to_string()
}
