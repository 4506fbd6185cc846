//! A call put to the cortex, for whoever asks.

use std::borrow::Borrow;

use grace_bus::Bus;
use grace_cortex::request::Actor;
use grace_types::{intent::Json, time::Clock};

use super::{
    agent::Agent,
    answer::{Answer, Verdict, answer, nothing},
    call::{Call, Heard},
    mapping::{Mapping, Meaning, Unreachable},
};
use crate::{
    decision::{self, Patience, Question, Word},
    limits,
};

/// A person is not waited for: where the agent can ask its user it does, and elsewhere the answer is the ticket.
const PATIENCE: Patience =
    Patience { answer: limits::HOOK_ANSWER, vote: limits::HOOK_VOTE, approval: std::time::Duration::ZERO };

/// What is to be asked about what was heard, by rules that are read only where they are needed.
///
/// # Errors
/// There is nothing to ask: what is said at once.
pub fn question<M: Borrow<Mapping>>(
    agent: Agent,
    heard: Result<Heard, String>,
    mapping: impl FnOnce() -> Result<M, String>,
) -> Result<(Call, Meaning), Answer> {
    let call = match heard {
        Ok(Heard::Call(call)) => call,
        Ok(Heard::PassedOver) => return Err(nothing()),
        Err(why) => return Err(answer(agent, None, &Verdict::Deny(why))),
    };
    let meaning = mapping().and_then(|mapping| {
        let meaning = mapping.borrow().meaning(call.used());
        meaning.ok_or_else(|| format!("no rule says what {} means", call.tool))
    });
    match meaning {
        Ok(meaning) => Ok((call, meaning)),
        Err(why) => Err(answer(agent, Some(&call), &Verdict::Deny(why))),
    }
}

/// What Grace says to an actor's call that means this.
pub async fn ask(bus: &Bus, clock: &dyn Clock, actor: &Actor, call: &Call, meaning: &Meaning) -> Verdict {
    let question = Question {
        actor: actor.clone(),
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
