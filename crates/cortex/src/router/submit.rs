//! Deciding what is asked for: each by itself.
//!
//! A key that is known gives the decision that it gave before, before anything else is looked at.

use std::collections::HashMap;

use grace_kernel::{Decision as Decided, HostError, Room};
use grace_types::{
    intent::{DISK_RESERVE, IntentId, Json, Refused},
    reason::Reason,
    time::Timestamp,
    yaml::suggest,
};
use sha2::{Digest as _, Sha256};

use super::{
    Router, bad_request, because,
    event::{Alike, What},
    recorded,
    state::{State, key_of, request},
};
use crate::{
    case::hex,
    change,
    command::{Answered, Arrived, Asked, Decision, DecisionState, Grounds, Outcome, Refusal, Reply, Told},
    judge::{Judgement, Standing, judge},
    limits,
    request::{Actor, INSTANCE, Request},
    tier::Tier,
};

/// SHA-256 over what is asked for and by whom, lowercase hex. What caused it and its key are no part of it.
///
/// The payload comes last: of many that are asked for alike the rest is the same.
struct Digest {
    head: Sha256,
    /// The payload as it is digested; kept for its memory.
    tail: Vec<u8>,
}

impl Digest {
    fn of(actor: &Actor, asked: &Asked, request: &Request) -> Self {
        let of = (
            (actor, &asked.kind, &request.target, &request.circumstances),
            (asked.priority, asked.deadline_ms, asked.delay_ms, asked.only_decide),
        );
        // Cannot fail: texts and numbers. It goes on behind the last of the two.
        let mut head = serde_json::to_vec(&of).unwrap_or_default();
        head.pop();
        head.push(b',');
        Self { head: Sha256::new_with_prefix(&head), tail: Vec::new() }
    }

    fn of_payload(&mut self, payload: &str) -> String {
        self.tail.clear();
        // Into memory.
        let _ = serde_json::to_writer(&mut self.tail, payload);
        self.tail.push(b']');
        hex(&self.head.clone().chain_update(&self.tail).finalize())
    }
}

fn refused(code: &str, message: impl Into<String>) -> Answered {
    Answered::Refused(Refused::new(code, message))
}

/// What one or several ask alike, and what is the answer to each of them.
struct Question<'s> {
    actor: &'s Actor,
    /// The first of them.
    asked: &'s Asked,
    request: Request,
    /// Why it is none.
    fault: Option<String>,
    digest: Digest,
    /// What was decided on those of them that change nothing of governance.
    decided: Option<Decision>,
}

impl<'s> Question<'s> {
    fn new(actor: &'s Actor, asked: &'s Asked) -> Self {
        let request = request(actor, asked);
        let (fault, digest) = (request.fault(), Digest::of(actor, asked, &request));
        Self { actor, asked, request, fault, digest, decided: None }
    }

    /// Whether the answer to it is the answer to this as well: what caused it and what its asker calls itself change nothing.
    fn is_of(&self, actor: &Actor, asked: &Asked) -> bool {
        let Asked { kind, priority, deadline_ms, delay_ms, target, circumstances, only_decide, .. } =
            self.asked;
        (self.actor, kind, target) == (actor, &asked.kind, &asked.target)
            && circumstances == &asked.circumstances
            && (priority, deadline_ms) == (&asked.priority, &asked.deadline_ms)
            && (delay_ms, only_decide) == (&asked.delay_ms, &asked.only_decide)
    }
}

/// What a batch has decided so far.
struct Batch<'s> {
    state: &'s State,
    at: Timestamp,
    on_record: Room,
    events: Vec<What>,
    /// How many it has decided.
    decided: u64,
    /// Bytes of what goes into the last of the events.
    bytes_of_last: usize,
    /// The last question: of many that come together most are the same.
    last: Option<Question<'s>>,
    /// Which of the events decided what was asked for under a key, and as the how manieth of it.
    keys: HashMap<String, (usize, usize)>,
    /// Added to what is open.
    open: usize,
    votes: usize,
    bytes: usize,
}

pub(super) fn decide(
    state: &State,
    at: Timestamp,
    intents: &[Arrived],
    on_record: Room,
) -> Result<Decided<Router>, Refusal> {
    if intents.is_empty() || intents.len() > limits::BATCH {
        let (most, found) = (limits::BATCH, intents.len());
        return Err(bad_request(format!("1 to {most} intents at a time; these are {found}")));
    }
    let mut batch = Batch {
        state,
        at,
        on_record,
        events: Vec::new(),
        decided: 0,
        bytes_of_last: 0,
        last: None,
        keys: HashMap::new(),
        open: 0,
        votes: 0,
        bytes: 0,
    };
    let results = intents.iter().map(|arrived| match batch.take(arrived) {
        Ok(decision) => Answered::Decided(Box::new(decision)),
        Err(refused) => refused,
    });
    let results = results.collect();
    let how = format!("policies and charter of generation {}", state.number());
    let events = batch.events.into_iter().map(|what| {
        let (place, why) = match &what {
            What::Decided { decision, also, .. } => match also.last() {
                None => (decision.id.to_string(), because(&decision.reasons)),
                Some(last) => {
                    let (first, count) = (decision.id, also.len() + 1);
                    let told = format!("all of it holds for each of {count} intents, {first} to {}", last.id);
                    ("cortex".to_owned(), because(&decision.reasons).and("intent.alike", told))
                }
            },
            _ => ("cortex".to_owned(), because(&[])),
        };
        recorded(at, what, place, &how, why)
    });
    Ok(events.fold(Decided::reply(Reply::Submitted { results }), Decided::record))
}

impl<'s> Batch<'s> {
    fn take(&mut self, arrived: &'s Arrived) -> Result<Decision, Answered> {
        let last = self.last.take().filter(|last| last.is_of(&arrived.actor, &arrived.asked));
        let mut question = last.unwrap_or_else(|| Question::new(&arrived.actor, &arrived.asked));
        let decision = self.answer(&mut question, arrived);
        self.last = Some(question);
        decision
    }

    fn answer(&mut self, question: &mut Question<'s>, arrived: &'s Arrived) -> Result<Decision, Answered> {
        let Arrived { actor, asked, wrong, others } = arrived;
        if let Some(fault) = &question.fault {
            return Err(refused("bad_request", fault));
        }
        if asked.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > limits::KEY_BYTES) {
            return Err(refused("bad_request", format!("`key` has 1 to {} bytes", limits::KEY_BYTES)));
        }
        if asked.payload.len() > limits::PAYLOAD_BYTES {
            let (found, most) = (asked.payload.len(), limits::PAYLOAD_BYTES);
            return Err(refused(
                "too_large",
                format!("a payload of {found} bytes; at most {most} are taken"),
            ));
        }
        // Without spaces, so that the same payload is the same text.
        let Ok(payload) = asked.payload.normal() else {
            return Err(refused("invalid", "the payload is nested too deep"));
        };
        let digest = question.digest.of_payload(payload.text());
        let key = asked.key.as_ref().map(|key| key_of(actor, key));
        if let Some(known) = key.as_ref().and_then(|key| self.repeated(key, actor, asked, &digest)) {
            return known;
        }
        if let Some(wrong) = wrong {
            return Err(Answered::Refused(wrong.clone()));
        }
        let changes = change::is_named(asked);
        if changes && question.request.target != INSTANCE {
            let text = format!("what changes governance is about the target `{INSTANCE}`: leave it out");
            return Err(refused("bad_request", text));
        }
        self.room(&payload)?;
        let decision = self.decision(question, asked, changes, digest);
        if self.on_record == Room::Reserve && !decision.is_emergency() {
            return Err(refused(DISK_RESERVE, HostError::DiskReserve.to_string()));
        }
        if decision.outcome == Outcome::WaitsForApproval && changes {
            enough(&decision, *others)?;
        }
        if decision.outcome == Outcome::WaitsForVote {
            let (open, most) = (self.state.voting.len() + self.votes, limits::VOTES);
            if open >= most {
                return Err(refused("overloaded", format!("{open} votes are under way; at most {most} may")));
            }
            self.votes += 1;
        }
        self.open += 1;
        self.bytes += payload.len();
        let place = self.note(&decision, actor, asked, payload);
        if let Some(key) = key {
            self.keys.insert(key, place);
        }
        Ok(decision)
    }

    /// Puts a decision on record, with the one before where the record says the same of both. In which event, and as the how manieth of it.
    fn note(&mut self, decision: &Decision, actor: &Actor, asked: &Asked, payload: Json) -> (usize, usize) {
        let last = self.events.len().saturating_sub(1);
        self.decided += 1;
        let weight = payload.len() + asked.key.as_ref().map_or(0, String::len) + limits::ALIKE_LEAST_BYTES;
        if let Some(What::Decided { decision: first, actor: by, asked: before, also }) =
            self.events.last_mut()
            && self.bytes_of_last + weight <= limits::ALIKE_BYTES
            && decision.outcome == Outcome::Allowed
            && by == actor
            && is_asked_alike(before, asked)
            && is_decided_alike(first, decision)
        {
            self.bytes_of_last += weight;
            let (key, digest) = (decision.key.clone(), decision.digest.clone());
            also.push(Alike { id: decision.id, key, payload, digest });
            return (last, also.len());
        }
        self.bytes_of_last = weight;
        self.events.push(What::Decided {
            decision: Box::new(decision.clone()),
            actor: actor.clone(),
            asked: Box::new(Asked { payload, ..asked.clone() }),
            also: Vec::new(),
        });
        (self.events.len() - 1, 0)
    }

    /// The decision that the key got before.
    fn repeated(
        &self,
        key: &str,
        actor: &Actor,
        asked: &Asked,
        digest: &str,
    ) -> Option<Result<Decision, Answered>> {
        let reused = |id: IntentId| {
            let key = asked.key.as_deref().unwrap_or_default();
            let message = format!("the idempotency key `{key}` was used for another intent, {id}");
            Some(Err(refused("key_reused", message)))
        };
        let again = |decision: Decision| Some(Ok(Decision { repeated: true, ..decision }));
        if let Some((event, place)) = self.keys.get(key)
            && let Some(What::Decided { decision, also, .. }) = self.events.get(*event)
        {
            let alike = place.checked_sub(1).and_then(|place| also.get(place));
            let decision = alike.map_or_else(|| (**decision).clone(), |one| one.decision(decision));
            return if decision.digest == digest { again(decision) } else { reused(decision.id) };
        }
        let keyed = self.state.keys.get(key)?;
        if keyed.digest != digest {
            return reused(keyed.intent);
        }
        if let Some(kept) = self.state.intents.get(&keyed.intent) {
            return again(kept.decision.clone());
        }
        let (outcome, state) = keyed.became.unwrap_or((Outcome::Denied, DecisionState::Denied));
        let told = format!("decided before; `grace why {}` tells why", keyed.intent);
        let grounds = Grounds {
            kind: asked.kind.clone(),
            actor: actor.name.clone(),
            actor_kind: actor.kind.word().to_owned(),
            tier: None,
            quorum: 1,
            score: 0.0,
            policies: Vec::new(),
            reasons: vec![Reason::new("intent.forgotten", told)],
            advice: Vec::new(),
            review: false,
            planned: matches!(state, DecisionState::Running | DecisionState::Failed),
            told: Told::default(),
        };
        again(Decision {
            id: keyed.intent,
            key: asked.key.clone(),
            outcome,
            expires: None,
            repeated: true,
            state,
            digest: digest.to_owned(),
            since: self.at,
            ballots: Vec::new(),
            grounds: grounds.into(),
        })
    }

    /// Whether what is decided can be held until it has been told to whoever has to know.
    fn room(&self, payload: &Json) -> Result<(), Answered> {
        let state = self.state;
        let places = [
            (state.waiting.len(), limits::OPEN, "intents wait for people or a vote"),
            (state.handing.len(), limits::OPEN, "intents wait for the task manager to take them"),
            (state.changing.len(), limits::OPEN, "changes wait for governance to carry them out"),
            (state.cases.len(), limits::OPEN, "cases wait for governance to take them"),
        ];
        for (count, most, what) in places {
            if count + self.open >= most {
                return Err(refused(
                    "overloaded",
                    format!("{} {what}; at most {most} may", count + self.open),
                ));
            }
        }
        let (bytes, most) = (state.held_bytes + self.bytes + payload.len(), limits::HELD_BYTES);
        if bytes > most {
            return Err(refused("overloaded", format!("payloads of {bytes} bytes wait; at most {most} may")));
        }
        Ok(())
    }

    fn decision(
        &self,
        question: &mut Question<'s>,
        asked: &Asked,
        changes: bool,
        digest: String,
    ) -> Decision {
        let state = self.state;
        // `next` is at least one: the first intent of an instance is 1 for people.
        let id = IntentId::new(state.era.unwrap_or_default(), state.next.max(1) + self.decided);
        if let Some(before) = question.decided.as_ref().filter(|_| !changes) {
            return before.alike(id, asked.key.clone(), digest);
        }
        let actor = question.actor;
        let judgement = change::guarded(asked, judged(state, &question.request, self.at));
        let Judgement { outcome, tier, quorum, score, review, policies, reasons, mut advice } = judgement;
        // What changes governance is governance's to do, whatever the manifest declares.
        let planned = state.declared.contains(&asked.kind) && !asked.only_decide && !changes;
        if outcome == Outcome::Allowed && !planned && !changes && !asked.only_decide {
            let known = state.declared.iter().map(String::as_str);
            let near = suggest(&asked.kind, known).map(|near| format!("; {near}")).unwrap_or_default();
            advice.push(format!(
                "the manifest declares no tasks for `{}`, so nothing runs: whoever asked acts on the decision{near}",
                asked.kind
            ));
        }
        let at = match outcome {
            Outcome::Denied => DecisionState::Denied,
            Outcome::Allowed if !planned && !changes => DecisionState::Succeeded,
            _ => DecisionState::Waiting,
        };
        let wait = match outcome {
            Outcome::WaitsForApproval => Some(limits::APPROVAL_WAIT),
            Outcome::WaitsForVote => Some(limits::VOTE_WAIT),
            Outcome::Allowed | Outcome::Denied => None,
        };
        let grounds = Grounds {
            kind: asked.kind.clone(),
            actor: actor.name.clone(),
            actor_kind: actor.kind.word().to_owned(),
            tier: tier.map(Tier::number),
            quorum,
            score: score.value,
            policies,
            reasons,
            advice,
            review,
            planned,
            told: Told::default(),
        };
        let decision = Decision {
            id,
            key: asked.key.clone(),
            outcome,
            expires: wait.map(|wait| self.at.plus(wait)),
            repeated: false,
            state: at,
            digest,
            since: self.at,
            ballots: Vec::new(),
            grounds: grounds.into(),
        };
        if !changes {
            question.decided = Some(decision.clone());
        }
        decision
    }
}

/// `Err` where so many others than who asks are fewer than have to say yes: it would wait for nobody.
fn enough(decision: &Decision, others: usize) -> Result<(), Answered> {
    let (by, needed) = (&decision.actor, usize::from(decision.quorum));
    if others >= needed {
        return Ok(());
    }
    let people = if needed == 1 { "a person".to_owned() } else { format!("{needed} people") };
    let text = format!(
        "{} takes {people} other than {by} to say yes, and {others} of the approvers are: enrol more first with \
         `grace approvals enroll NAME`",
        decision.kind
    );
    Err(refused("no_approver", text))
}

/// Whether two differ in nothing but what [`Alike`] holds.
fn is_asked_alike(one: &Asked, other: &Asked) -> bool {
    let Asked { kind, actor, payload: _, key: _, priority, deadline_ms, delay_ms, .. } = other;
    let Asked { target, circumstances, origin, only_decide, .. } = other;
    (kind, actor, priority, deadline_ms) == (&one.kind, &one.actor, &one.priority, &one.deadline_ms)
        && (delay_ms, target, circumstances) == (&one.delay_ms, &one.target, &one.circumstances)
        && (origin, only_decide) == (&one.origin, &one.only_decide)
}

/// The same of what was decided on two that were asked for alike: one moment, one judgement, and what became of it.
fn is_decided_alike(one: &Decision, other: &Decision) -> bool {
    let of = |d: &Decision| (d.outcome, d.state, d.since, d.expires);
    of(one) == of(other) && one.grounds == other.grounds
}

/// The judgement by what is in force. What cannot be judged is denied.
pub(super) fn judged(state: &State, question: &Request, at: Timestamp) -> Judgement {
    match state.rules() {
        Ok(rules) => {
            let standing = Standing { grant: state.grant(&question.actor, at) };
            judge(question, &rules.policies, &rules.charter, &standing)
        }
        Err(fault) => {
            let told = format!("the policies and the charter in force cannot be read: {fault}");
            Judgement {
                outcome: Outcome::Denied,
                tier: None,
                quorum: 1,
                score: crate::charter::Score { value: 0.0, terms: Vec::new() },
                review: false,
                policies: Vec::new(),
                reasons: vec![Reason::new("policy.failed", told)],
                advice: Vec::new(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{case::sha256, request::ActorKind};

    /// It is in approvals and behind keys: it must never be another one.
    #[test]
    fn a_digest_is_over_all_that_is_asked_for() {
        let actor = Actor { kind: ActorKind::Agent, name: "co\"dex".to_owned() };
        let asked = Asked { kind: "deploy".to_owned(), delay_ms: Some(5), ..Asked::default() };
        let request = request(&actor, &asked);
        let mut digest = Digest::of(&actor, &asked, &request);
        for payload in [json!({"a": "\"x\" \n"}), json!(null)] {
            let payload = Json::of(&payload);
            let of = (
                (&actor, &asked.kind, &request.target, &request.circumstances),
                (asked.priority, asked.deadline_ms, asked.delay_ms, asked.only_decide),
                payload.text(),
            );
            let whole = serde_json::to_string(&of).unwrap();
            assert_eq!(digest.of_payload(payload.text()), sha256(whole.as_bytes()), "{whole}");
        }
        let whole = r#"[[{"kind":"agent","name":"co\"dex"},"deploy","instance",{"user_facing":false,"emergency":false,"revenue_impact":0.0}],[null,null,5,false],"null"]"#;
        assert_eq!(digest.of_payload("null"), sha256(whole.as_bytes()));
    }
}
