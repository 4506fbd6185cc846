//! A call put to the cortex, as the agent whose hook it is.

use grace_bus::Bus;
use grace_types::{intent::Json, time::Clock};

use super::{
    answer::Verdict,
    call::Call,
    mapping::{Meaning, Unreachable},
};
use crate::{
    decision::{self, Patience, Question, Word},
    limits,
};

/// A person is not waited for: where the agent can ask its user it does, and elsewhere the answer is the ticket.
const PATIENCE: Patience =
    Patience { answer: limits::HOOK_ANSWER, vote: limits::HOOK_VOTE, approval: std::time::Duration::ZERO };

/// What Grace says to a call that means this.
pub async fn ask(bus: &Bus, clock: &dyn Clock, call: &Call, meaning: &Meaning) -> Verdict {
    let question = Question {
        agent: call.agent.name().to_owned(),
        kind: meaning.intent.clone(),
        target: meaning.target.clone(),
        payload: Json::of(&call.payload()),
        same: format!("hook-{}", call.digest(meaning)),
    };
    match decision::ask(bus, clock, &question, &PATIENCE).await {
        Word::Allowed => Verdict::NoObjection,
        Word::WaitsForPerson(_, text) => Verdict::Ask(text),
        Word::WaitsForVote(_, text) | Word::Denied(text) => Verdict::Deny(text),
        Word::Away(why) => away(meaning.unreachable, &why),
    }
}

/// What is said while Grace cannot be reached.
#[must_use]
pub fn away(rule: Unreachable, why: &str) -> Verdict {
    match rule {
        Unreachable::Deny => {
            Verdict::Deny(format!("{why}; nothing is done without its word. `grace status`"))
        }
        Unreachable::Ask => Verdict::Ask(format!("{why}, so nobody has judged this")),
    }
}
