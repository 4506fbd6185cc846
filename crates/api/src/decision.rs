//! Asking the cortex about what an agent is about to do by itself: a decision only, on which the agent then acts.
//!
//! ```text
//! question ─► grace.intent.<kind>.<name>, under a key of exactly this ─► decision ─┬─ decided now ─► word
//!                 ▲                                                               ├─ waits ─► hint or a second ─► looked at again
//!                 └──────────── under another key ◄── an old answer ◄─────────────┘
//! ```
//!
//! Rules for repeats, so that nobody is asked the same twice, and no old yes outlives the rules that it was given under:
//!
//! - What waits for a person is asked for under one key by everything that asks for exactly the same: however often an agent tries,
//!   there is one ticket.
//! - What a person said counts for exactly the same for [`limits::ANSWER_HOLDS`] from when it was first asked for. Then it is asked anew.
//! - What was decided without a person is decided anew each time, by the policies in force then.
//!
//! Fails closed: no answer is no yes.

use std::time::Duration;

use grace_bus::{Bus, BusError, Message, Subscription};
use grace_cortex::request::Actor;
use grace_kernel::{Envelope, Outcome as Said, process::wire};
use grace_types::{
    chance::{Entropy as _, OsEntropy},
    intent::{
        DISK_RESERVE, IntentId, Json,
        asked::{
            ActorName, Answered, Asked, Decision, Look, Outcome, Refusal, Reply, Request, intent_subject,
        },
    },
    time::{Clock, Timestamp},
};

use crate::limits;

/// What an agent is about to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Who asks.
    pub actor: Actor,
    /// The type of intent that it is.
    pub kind: String,
    /// What it is about.
    pub target: String,
    /// What is put on record.
    pub payload: Json,
    /// A digest of it: the same for the same again.
    pub same: String,
}

/// What is said to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// It may be done.
    Allowed,
    /// A person has to decide, under this ticket. What to do meanwhile.
    WaitsForPerson(IntentId, String),
    /// It is put to the vote, under this ticket. What to do meanwhile.
    WaitsForVote(IntentId, String),
    /// It may not be done, and why.
    Denied(String),
    /// Nobody said anything, and why.
    Away(String),
}

/// How long is waited.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For an answer at all.
    pub answer: Duration,
    /// For a vote.
    pub vote: Duration,
    /// For a person.
    pub approval: Duration,
}

/// What is to be done about a decision.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Say(Word),
    /// Somebody will decide.
    Wait,
    /// It is too old to count: the same is asked for under another key.
    Anew(String),
}

/// Asks. Returns within the answer's patience and the wait's.
pub async fn ask(bus: &Bus, clock: &dyn Clock, question: &Question, patience: &Patience) -> Word {
    let mut key = question.same.clone();
    for _ in 0..limits::ANSWERS_FOLLOWED {
        let decision = match submit(bus, question, &key, patience.answer).await {
            Ok(decision) => decision,
            Err(word) => return word,
        };
        match next(&decision, &question.same, clock.now().wall, OsEntropy.next_u128()) {
            Next::Say(word) => return word,
            Next::Wait => return wait(bus, clock, question, &decision, patience).await,
            Next::Anew(other) => key = other,
        }
    }
    Word::Denied("the same was asked for too often; wait, or ask for something else".to_owned())
}

/// What is to be done about a decision that was asked for under the key `same`, or one that followed from it.
pub(crate) fn next(decision: &Decision, same: &str, now: Timestamp, chance: u128) -> Next {
    // Tiers 0 and 3: somebody decides, or has decided.
    let by_others = matches!(decision.tier, Some(0 | 3));
    match decision.outcome {
        Outcome::WaitsForApproval | Outcome::WaitsForVote => Next::Wait,
        _ if !decision.repeated => Next::Say(word(decision)),
        _ if !by_others => Next::Anew(format!("{same}-{chance:032x}")),
        _ if now.since(decision.since) >= limits::ANSWER_HOLDS => {
            Next::Anew(format!("{same}-{}", decision.id))
        }
        _ => Next::Say(word(decision)),
    }
}

/// A decision in words for an agent.
fn word(decision: &Decision) -> Word {
    let (id, kind) = (&decision.id, &decision.kind);
    let advice = decision.advice.iter().map(|advice| format!("; {advice}")).collect::<String>();
    match decision.outcome {
        Outcome::Allowed => Word::Allowed,
        Outcome::WaitsForApproval => Word::WaitsForPerson(
            *id,
            format!(
                "{kind} needs a person's approval{advice}. Ticket {id}: `grace approvals approve {id}`, then try the same again"
            ),
        ),
        Outcome::WaitsForVote => Word::WaitsForVote(
            *id,
            format!("{kind} is put to the vote{advice}. Ticket {id}: try the same again later"),
        ),
        Outcome::Denied => {
            // The last reason that is no score says what became of it.
            let why = decision.reasons.iter().rfind(|reason| reason.code != "charter.score");
            let why = why.map_or("it was denied", |reason| reason.text.as_str());
            Word::Denied(format!("{kind}: {why}{advice}. `grace why {id}` tells more"))
        }
    }
}

/// Until somebody has decided, or patience is over.
async fn wait(
    bus: &Bus,
    clock: &dyn Clock,
    question: &Question,
    decision: &Decision,
    patience: &Patience,
) -> Word {
    let time = match decision.outcome {
        Outcome::WaitsForVote => patience.vote,
        _ => patience.approval,
    };
    if time.is_zero() {
        return word(decision);
    }
    let until = clock.now().mono.plus(time);
    let mut heard = bus.subscribe(&format!("grace.cortex.decided.{}", decision.id), None).await.ok();
    let mut now = decision.clone();
    loop {
        // It may have been said before anybody listened.
        if let Some(key) = &decision.key
            && let Ok(latest) = look(bus, question, key, patience.answer).await
        {
            now = latest;
        }
        let waits = matches!(now.outcome, Outcome::WaitsForApproval | Outcome::WaitsForVote);
        let left = until.since(clock.now().mono);
        if !waits || left.is_zero() {
            return word(&now);
        }
        hint(heard.as_mut(), left.min(limits::LOOK_AGAIN)).await;
    }
}

/// Returns when a message comes, or it is time to look without one: it may have been lost with a connection.
async fn hint(heard: Option<&mut Subscription>, time: Duration) {
    let message = async {
        match heard {
            Some(heard) => drop(heard.next().await),
            None => std::future::pending().await,
        }
    };
    let _ = tokio::time::timeout(time, message).await;
}

async fn submit(bus: &Bus, question: &Question, key: &str, time: Duration) -> Result<Decision, Word> {
    let asked = Asked {
        kind: question.kind.clone(),
        actor: question.actor.name.clone(),
        payload: question.payload.clone(),
        key: Some(key.to_owned()),
        target: Some(question.target.clone()),
        only_decide: true,
        ..Asked::default()
    };
    match request(bus, question, Request::Submit { intents: &[asked] }, time).await? {
        Reply::Submitted { results } => match results.into_iter().next() {
            Some(Answered::Decided(decision)) => Ok(*decision),
            Some(Answered::Refused(refused)) if refused.code == DISK_RESERVE => {
                Err(Word::Away(refused.message))
            }
            Some(Answered::Refused(refused)) => Err(Word::Denied(refused.message)),
            None => Err(Word::Away("the cortex answered something else".to_owned())),
        },
        Reply::Intent(_) => Err(Word::Away("the cortex answered something else".to_owned())),
    }
}

async fn look(bus: &Bus, question: &Question, key: &str, time: Duration) -> Result<Decision, Word> {
    let actor = ActorName { kind: question.actor.kind.word(), name: &question.actor.name };
    match request(bus, question, Request::Query(Look::Key { actor, key }), time).await? {
        Reply::Intent(decision) => Ok(*decision),
        Reply::Submitted { .. } => Err(Word::Away("the cortex answered something else".to_owned())),
    }
}

async fn request(bus: &Bus, question: &Question, asks: Request<'_>, time: Duration) -> Result<Reply, Word> {
    let subject = intent_subject(question.actor.kind.word(), &question.actor.name);
    let message = wire::command(&subject, &Envelope::new(asks)).map_err(|e| Word::Denied(e.to_string()))?;
    let message = Message { subject, ..message };
    let answer = bus.request_until(message, &format!("{:032x}", OsEntropy.next_u128()), time).await;
    let answer = answer.map_err(|e: BusError| Word::Away(format!("the cortex did not answer: {e}")))?;
    match wire::read_reply::<Reply, Refusal>(&answer.payload) {
        Ok(Said::Done(reply)) => Ok(reply),
        Ok(Said::Refused(refusal)) => Err(Word::Denied(refusal.message)),
        Err(e) => Err(Word::Away(e.message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grace_types::{
        intent::asked::{DecisionState, Grounds, Told},
        reason::Reason,
    };

    fn decision(outcome: Outcome, tier: Option<u8>, repeated: bool) -> Decision {
        let grounds = Grounds {
            kind: "publish_package".into(),
            actor: "codex".into(),
            actor_kind: "agent".into(),
            tier,
            quorum: 1,
            score: 0.5,
            policies: vec![],
            reasons: vec![
                Reason::new("policy.none", "no policy permits it"),
                Reason::new("charter.score", "score 0.5"),
            ],
            advice: vec!["ask ann".into()],
            review: false,
            planned: false,
            told: Told::default(),
        };
        Decision {
            id: "int_3xq7k-42".parse().unwrap(),
            key: Some("k".into()),
            outcome,
            expires: None,
            repeated,
            state: DecisionState::Waiting,
            digest: String::new(),
            since: Timestamp::EPOCH,
            ballots: Vec::new(),
            grounds: grounds.into(),
        }
    }

    #[test]
    fn what_a_person_said_holds_for_a_while_and_nothing_else_does() {
        let early = Timestamp::EPOCH.plus(limits::ANSWER_HOLDS / 2);
        let late = Timestamp::EPOCH.plus(limits::ANSWER_HOLDS);
        let of = |outcome, tier, repeated, now| next(&decision(outcome, tier, repeated), "k", now, 7);
        assert_eq!(of(Outcome::Allowed, Some(2), false, early), Next::Say(Word::Allowed));
        assert_eq!(of(Outcome::Allowed, Some(0), true, early), Next::Say(Word::Allowed));
        assert_eq!(of(Outcome::Allowed, Some(0), true, late), Next::Anew("k-int_3xq7k-42".into()));
        assert_eq!(of(Outcome::WaitsForApproval, Some(0), true, late), Next::Wait);
        let denied = of(Outcome::Denied, Some(0), true, early);
        assert!(
            matches!(&denied, Next::Say(Word::Denied(why)) if why.contains("no policy permits it; ask ann")),
            "{denied:?}"
        );
        for (outcome, tier) in [(Outcome::Allowed, Some(2)), (Outcome::Denied, None)] {
            assert_eq!(of(outcome, tier, true, early), Next::Anew(format!("k-{:032x}", 7)));
        }
    }
}
