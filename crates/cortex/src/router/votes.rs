//! Votes: who may vote, whose ballots count, and what a vote comes to.
//!
//! ```text
//! decided: waits for a vote ─► told to the voters ─► ballots, each on record ─► counted ─► allowed or denied
//!                                                       end of its time ─────────┘
//! ```
//!
//! From whom a key or a ballot comes is known from the subject. What can change nothing any more is settled at once; ballots that come
//! before the end of its time are still put on record, so that whoever asks later sees what everybody said.

use grace_kernel::{
    Decision as Decided, Recorded,
    vote::{Ballot, Proposal},
};
use grace_types::{
    intent::IntentId,
    reason::{Reason, Why},
    time::Timestamp,
};

use super::{
    Router,
    answers::still_bearable,
    because,
    event::{Event, What},
    recorded, refusal,
    state::State,
};
use crate::{
    case::sha256,
    command::{Outcome, Reply},
    limits,
    unified::{self, NotCounted, Poll, Standing},
};

/// What is put to the vote of an intent that was asked for.
pub(super) fn proposal(state: &State, id: IntentId) -> Option<Proposal> {
    let (decision, question) = (&state.intents.get(&id)?.decision, state.asked_again(id)?);
    Some(Proposal {
        intent: id,
        digest: decision.digest.clone(),
        kind: question.kind,
        actor: question.actor.name,
        actor_kind: question.actor.kind.word().to_owned(),
        target: question.target,
        circumstances: question.circumstances,
        since: decision.since,
        until: decision.expires?,
    })
}

/// A voter says its public key.
pub(super) fn known(state: &State, at: Timestamp, name: &str, key: &str) -> Decided<Router> {
    let voter = match unified::voter(name, key) {
        Ok(voter) => voter,
        Err(e) => return Decided::refuse(refusal("not_a_voter", e.to_string())),
    };
    let why = match state.voters.get(name) {
        Some(known) if known.key == voter.key => return Decided::reply(Reply::Noted),
        Some(known) => {
            Why::because("voter.changed", format!("{name} has another key now; it had {}", known.key))
        }
        None => Why::because("voter.known", format!("{name} said its key where nobody else may speak")),
    };
    let what = What::VoterKnown { name: name.to_owned(), voter };
    let how = "the subject that the broker keeps for it";
    Decided::reply(Reply::Noted).record(recorded(at, what, name, how, why))
}

/// A voter says yes, no, or nothing.
pub(super) fn ballot(state: &State, at: Timestamp, from: &str, note: &str) -> Decided<Router> {
    let Some(intent) = Ballot::claims(note) else {
        return Decided::refuse(refusal("bad_request", "not a ballot: its second line is `intent ID`"));
    };
    let kept = state.intents.get(&intent);
    let Some((kept, poll)) = kept.and_then(|kept| Some((kept, kept.poll.as_deref()?))) else {
        return Decided::refuse(refusal("unknown_vote", format!("there is no vote on {intent}")));
    };
    let ballot = match poll.check(note, from, at) {
        Ok(Some(ballot)) => ballot,
        Ok(None) => return Decided::reply(Reply::Noted),
        Err(wrong) => return refused(at, kept.refused.as_slice(), (intent, from, note), &wrong),
    };
    let said = ballot.reasons.iter().map(|reason| Reason::new(reason.code.clone(), reason.text.clone()));
    let mut why = vec![Reason::new(format!("vote.{}", ballot.vote), format!("{from} says {}", ballot.vote))];
    why.extend(said);
    let cast = What::BallotCast { intent, voter: from.to_owned(), vote: ballot.vote, note: note.to_owned() };
    let how = "signed with the key that is known of this voter";
    let decision =
        Decided::reply(Reply::Noted).record(recorded(at, cast, intent.to_string(), how, because(&why)));
    if !state.voting.contains(&intent) {
        return decision;
    }
    let mut poll = poll.clone();
    poll.add(ballot.voter, note.to_owned());
    match counted(state, at, intent, &poll) {
        Some(counted) => decision.record(counted),
        None => decision,
    }
}

/// What does not count is on record once, and so many times for one vote.
fn refused(
    at: Timestamp,
    before: &[String],
    (intent, from, note): (IntentId, &str, &str),
    wrong: &NotCounted,
) -> Decided<Router> {
    let decision = Decided::refuse(refusal("ballot_refused", wrong.to_string()));
    let digest = sha256(note.as_bytes());
    let late = matches!(wrong, NotCounted::Over(_));
    if late || before.len() >= limits::BALLOTS_REFUSED || before.contains(&digest) {
        return decision;
    }
    let why = Why::because(wrong.code(), format!("a ballot of {from} does not count: {wrong}"));
    let what = What::BallotRefused { intent, from: from.to_owned(), digest };
    decision.record(recorded(at, what, intent.to_string(), "checked before it is counted", why))
}

/// The end of a vote, if it has come.
pub(super) fn counted(
    state: &State,
    at: Timestamp,
    intent: IntentId,
    poll: &Poll,
) -> Option<Recorded<Event>> {
    let count = poll.count(at);
    let mut reasons = count.reasons;
    let outcome = match count.standing {
        Standing::Open => return None,
        Standing::Carried => still_bearable(state, at, intent, &mut reasons),
        Standing::Lost => Outcome::Denied,
    };
    let over = at >= poll.proposal.until;
    let how = if over { "counted at the end of its time" } else { "counted, since nothing can change it" };
    let why = because(&reasons);
    let what = What::VoteCounted { intent, standing: count.standing, outcome, reasons };
    Some(recorded(at, what, intent.to_string(), how, why))
}
