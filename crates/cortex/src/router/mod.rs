//! The router of intents: everything that somebody wants done is decided here before anything of it is done.
//!
//! ```text
//! asked ─► judged ─┬─ allowed ─┬─ its type has a plan ─► handed on to the task manager until it says yes or no
//!                  │           └─ it has none ─► a decision, on which whoever asked acts
//!                  ├─ waits ─┬─ a case for governance ─► resolved, or expired, which is a no
//!                  │         └─ a vote of unified logic ─► counted at once when it is settled, or at its end
//!                  └─ denied
//! ```
//!
//! A pure decider: commands in ([`crate::command`]), events out ([`event`]), and the state moves by events alone (`state`). What it rests on:
//!
//! - An intent is named and on disk before its answer leaves, and before the task manager hears of it. What is not taken there yet stays
//!   in the state and is handed on again after a restart, under its own name as the key: nothing is lost, and nothing runs twice.
//! - What is owed to governance stays in the state until governance has it on disk.
//! - An approval counts for the digest of exactly what was asked for, before its end, and only while the policies in force would still
//!   let it be asked for.
//! - A vote's ballots are on record as they were signed, with the keys of those who could vote: whoever has the records can count again.
//! - Policies are put in force when they read and check; else the old ones stay, and the refusal is on record.
//! - Time never goes back, and goes on as fast as either clock does: a wall clock that is set back prolongs nothing.
//!
//! Not here: talking to the task manager and to governance (`shell`, `intake`, `road`), and to voters (`polls`).

mod answers;
pub mod event;
mod intake;
mod polls;
mod query;
mod road;
pub mod shell;
mod state;
mod submit;
#[cfg(test)]
mod tests;
mod votes;

use grace_kernel::{Decider, Decision, Recorded, Room, vote::Proposal};
use grace_types::{
    intent::{IntentId, Json, Submission},
    reason::{Reason, Why},
    time::{Now, Timestamp},
};

use self::event::{Alike, What};
pub(crate) use self::state::request;
pub use self::{event::Event, state::State};
use crate::{
    case::{Case, Owed},
    command::{Command, Refusal, Reply},
};

/// The decider.
#[derive(Debug)]
pub enum Router {}

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// The task manager is to take this, until it says yes or no.
    HandOn(Box<Submission>),
    /// Governance is to hold this, until it has it on disk.
    Tell(Box<Case>),
    /// The voters are to hear of this until it is decided.
    Propose(Box<Proposal>),
    /// An intent that waited is decided: a hint for whoever waits for it.
    Resolved(IntentId),
}

impl Decider for Router {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;
    type Refusal = Refusal;
    type Effect = Effect;

    fn decide(state: &State, now: Now, command: &Command) -> Decision<Self> {
        decide(state, now, command, Room::Enough).unwrap_or_else(Decision::refuse)
    }

    fn decide_in_reserve(state: &State, now: Now, command: &Command) -> Decision<Self> {
        decide(state, now, command, Room::Reserve).unwrap_or_else(Decision::refuse)
    }

    fn is_for_emergency(state: &State, event: &Recorded<Event>, those: &[Recorded<Event>]) -> bool {
        match &event.event().what {
            // Without its start nothing is decided here at all.
            What::Configured { .. } => true,
            What::GrantsChanged { .. } | What::GrantsEnded { .. } => true,
            // Policies and grants come together.
            What::GenerationAdopted { .. } => {
                those.iter().any(|one| matches!(one.event().what, What::GrantsChanged { .. }))
            }
            What::Decided { decision, .. } => decision.is_emergency(),
            What::HandedOn { intents } => intents.iter().all(|id| state.is_emergency(*id)),
            What::Refused { intent, .. } | What::Carried { intent, .. } => state.is_emergency(*intent),
            What::CasesTold { cases } => cases.iter().all(|(id, _)| state.is_emergency(*id)),
            What::ClockAhead { .. }
            | What::Resolved { .. }
            | What::Expired { .. }
            | What::VoterKnown { .. }
            | What::BallotCast { .. }
            | What::BallotRefused { .. }
            | What::VoteCounted { .. }
            | What::GenerationRefused { .. }
            | What::InForceRefused { .. } => false,
        }
    }

    fn evolve(state: &mut State, event: &Event) {
        state.take(event);
    }

    fn effects(state: &State, record: &Recorded<Event>) -> Vec<Effect> {
        match &record.event().what {
            What::Decided { decision, also, .. } => {
                let mut effects = of_intent(state, decision.id);
                if !also.is_empty() {
                    effects.extend(of_alike(state, decision.id, also));
                }
                effects
            }
            What::Resolved { intent, .. }
            | What::Carried { intent, .. }
            | What::Expired { intent, .. }
            | What::VoteCounted { intent, .. } => {
                let mut effects = vec![Effect::Resolved(*intent)];
                effects.extend(of_intent(state, *intent));
                effects
            }
            _ => Vec::new(),
        }
    }

    fn outstanding(state: &State) -> Vec<Effect> {
        let handing = state.handing.iter().filter_map(|id| hand_on(state, *id));
        let cases = state.cases.iter().filter_map(|(id, owed)| tell(state, *id, *owed));
        let votes = state.voting.iter().filter_map(|id| propose(state, *id));
        handing.chain(cases).chain(votes).collect()
    }

    fn what(event: &Event) -> &'static str {
        event.what.name()
    }
}

fn hand_on(state: &State, id: IntentId) -> Option<Effect> {
    state.submission(id).map(|submission| Effect::HandOn(Box::new(submission)))
}

fn tell(state: &State, id: IntentId, owed: Owed) -> Option<Effect> {
    state.case(id, owed).map(|case| Effect::Tell(Box::new(case)))
}

fn propose(state: &State, id: IntentId) -> Option<Effect> {
    let poll = state.voting.contains(&id).then(|| state.intents.get(&id)?.poll.as_ref()).flatten()?;
    Some(Effect::Propose(Box::new(poll.proposal.clone())))
}

/// What is to be done about an intent now.
fn of_intent(state: &State, id: IntentId) -> Vec<Effect> {
    let handing = state.handing.contains(&id).then(|| hand_on(state, id)).flatten();
    handing.into_iter().chain(owed(state, id)).chain(propose(state, id)).collect()
}

/// What governance is to hold of an intent.
fn owed(state: &State, id: IntentId) -> impl Iterator<Item = Effect> {
    let owed = [Owed::Approval, Owed::Review, Owed::Change].into_iter();
    let owed = owed.filter(move |owed| state.cases.contains(&(id, *owed)));
    owed.filter_map(move |owed| tell(state, id, owed))
}

/// What is to be done about intents that were allowed with another one: their submissions share what is the same in all.
fn of_alike(state: &State, first: IntentId, also: &[Alike]) -> Vec<Effect> {
    let first = state.handing.contains(&first).then(|| state.submission(first)).flatten();
    let Some(first) = first else { return also.iter().flat_map(|one| of_intent(state, one.id)).collect() };
    let same = Submission { id: None, key: None, payload: Json::default(), ..first };
    let mut effects = Vec::with_capacity(also.len());
    for one in also {
        let (id, payload) = (Some(one.id), one.payload.clone());
        let submission = Submission { id, key: Some(one.id.to_string()), payload, ..same.clone() };
        effects.push(Effect::HandOn(Box::new(submission)));
        if !state.cases.is_empty() {
            effects.extend(owed(state, one.id));
        }
    }
    effects
}

fn decide(state: &State, now: Now, command: &Command, room: Room) -> Result<Decision<Router>, Refusal> {
    if let Command::Configure { era, declared, boot } = command {
        return Ok(answers::configure(state, now, (*era, declared), boot));
    }
    let at = state.time(now);
    if state.era.is_none() {
        return Err(refusal("not_configured", "the cortex has not been configured"));
    }
    match command {
        Command::Configure { .. } => Err(bad_request("configured twice")),
        Command::Submit { .. } => {
            Err(bad_request("who asks is known from the road only: the intake says it"))
        }
        Command::Decide { intents } => submit::decide(state, at, intents, room),
        Command::Settle { results } => Ok(answers::settle(state, at, results)),
        Command::Told { cases } => Ok(answers::told(state, at, cases)),
        Command::Carried { results } => answers::carried(state, at, results),
        Command::Resolve { verdicts } => answers::resolve(state, at, verdicts),
        Command::Voter { name, key } => Ok(votes::known(state, at, name, key)),
        Command::Ballot { voter, note } => Ok(votes::ballot(state, at, voter, note)),
        Command::Adopt { in_force, key } => answers::adopt(state, at, in_force, key.as_deref()),
        Command::Tick if room == Room::Reserve => Ok(answers::grants_over(state, at)
            .into_iter()
            .fold(Decision::reply(Reply::Ticked), Decision::record)),
        Command::Tick => Ok(answers::tick(state, at, now)),
        Command::Query(query) => query::query(state, query),
    }
}

fn refusal(code: &str, message: impl Into<String>) -> Refusal {
    Refusal { code: code.to_owned(), message: message.into() }
}

fn bad_request(message: impl Into<String>) -> Refusal {
    refusal("bad_request", message)
}

/// An argument out of reasons; a judgement always has some.
fn because(reasons: &[Reason]) -> Why {
    Why::try_from(reasons.to_vec()).unwrap_or_else(|_| Why::because("intent.asked", "it was asked for"))
}

/// An event with its reasons. `how` is the rule that chose.
fn recorded(at: Timestamp, what: What, place: impl Into<String>, how: &str, why: Why) -> Recorded<Event> {
    Recorded::new(Event { at, what }, place, how, why)
}
