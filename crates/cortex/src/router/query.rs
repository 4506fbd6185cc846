//! What there is, without changing anything.

use grace_kernel::Decision as Decided;
use grace_types::intent::IntentId;

use super::{
    Router, refusal,
    state::{State, key_of},
};
use crate::{
    command::{Decision, DecisionState, Query, Refusal, Reply, Standing},
    limits,
    request::Actor,
    rules::Rules,
};

pub(super) fn query(state: &State, query: &Query) -> Result<Decided<Router>, Refusal> {
    let reply = match query {
        Query::Intent(id) => Reply::Intent(Box::new(intent(state, *id)?)),
        Query::Key { actor, key } => {
            let unknown = || refusal("unknown_key", format!("{} has no intent under `{key}`", actor.name));
            let keyed = state.keys.get(&key_of(actor, key)).ok_or_else(unknown)?;
            Reply::Intent(Box::new(intent(state, keyed.intent)?))
        }
        Query::Intents { state: wanted, limit, before, actor } => {
            intents(state, (*wanted, actor.as_ref()), *limit, *before)
        }
        Query::Standing => Reply::Standing(Box::new(standing(state))),
        Query::Try(generation) => match Rules::read(Some(generation), &state.declared) {
            Ok(_) => Reply::Sound,
            Err(fault) => return Err(refusal("bad_generation", fault)),
        },
    };
    Ok(Decided::reply(reply))
}

fn intent(state: &State, id: IntentId) -> Result<Decision, Refusal> {
    if let Some(kept) = state.intents.get(&id) {
        let ballots = kept.poll.as_ref().map(|poll| poll.ballots()).unwrap_or_default();
        return Ok(Decision { ballots, ..kept.decision.clone() });
    }
    let known = state.era == Some(id.era()) && (1..state.next).contains(&id.number());
    Err(if known {
        let help = format!("{id} was decided and is over; `grace why {id}` tells of it");
        refusal("forgotten", help)
    } else {
        refusal("unknown_intent", format!("there is no intent {id}"))
    })
}

fn intents(
    state: &State,
    (wanted, actor): (Option<DecisionState>, Option<&Actor>),
    limit: usize,
    before: Option<IntentId>,
) -> Reply {
    let limit = limit.min(limits::ROWS);
    let newest = state.intents.iter().rev().map(|(_, kept)| &kept.decision);
    let mut fitting = newest
        .filter(|one| before.is_none_or(|before| one.id < before))
        .filter(|one| wanted.is_none_or(|wanted| one.state == wanted))
        .filter(|one| actor.is_none_or(|actor| actor.asked_for(one)));
    let intents = fitting.by_ref().take(limit).cloned().collect();
    Reply::Intents { intents, more: fitting.next().is_some() }
}

fn standing(state: &State) -> Standing {
    let rules = state.rules();
    let live = state.grants.values().filter(|grant| state.at < grant.until);
    Standing {
        generation: state.number(),
        policies: rules.map(|rules| rules.policies.names().collect()).unwrap_or_default(),
        fault: rules.err().map(str::to_owned),
        grants: live.map(|grant| (grant.id.clone(), grant.until)).collect(),
        decided: state.counts.decided,
        allowed: state.counts.allowed,
        denied: state.counts.denied,
        waiting: state.waiting.len() as u64,
        handing_on: state.handing.len() as u64,
        owed: state.cases.len() as u64,
    }
}
