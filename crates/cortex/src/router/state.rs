//! Everything that the cortex knows, and how it moves. Events move it; nothing else does.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, OnceLock},
};

use grace_types::{
    intent::{Era, IntentId, Json, Origin, Submission},
    reason::Reason,
    time::{Now, Timestamp},
};
use serde::{Deserialize, Serialize, Serializer};

use super::{
    event::{Clocks, Event, What},
    votes,
};
use crate::{
    case::{Case, Generation, Grant, Owed},
    change,
    command::{Asked, Decision, DecisionState, Outcome},
    limits,
    request::{Actor, INSTANCE, Request},
    rules::Rules,
    tier::Tier,
    unified::{Poll, Voter},
};

/// See the module's page.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Whose ids these are; `None` before the first start.
    pub(super) era: Option<Era>,
    pub(super) next: u64,
    /// The newest time that was seen: a clock that is set back makes nothing live longer.
    pub(super) at: Timestamp,
    /// Both clocks, as they stood in this boot.
    pub(super) clocks: Option<Clocks>,
    pub(super) declared: BTreeSet<String>,
    /// What Grace brings along where none was adopted.
    pub(super) generation: Option<Generation>,
    pub(super) grants: BTreeMap<String, Grant>,
    /// Governance's, of what is in force: what has a lower one was so before.
    pub(super) revision: u64,
    /// The last one that was refused: told again and again, it is on record once.
    pub(super) refused: Option<u64>,
    /// Those that are not over, and the newest of the others.
    pub(super) intents: BTreeMap<IntentId, Box<Kept>>,
    /// Those that are over, in the order in which that came.
    over: VecDeque<IntentId>,
    /// Those that wait for people or a vote.
    pub(super) waiting: BTreeSet<IntentId>,
    /// Those of them that wait for a vote.
    #[serde(default)]
    pub(super) voting: BTreeSet<IntentId>,
    /// Whose public keys are known, by name.
    #[serde(default)]
    pub(super) voters: BTreeMap<String, Voter>,
    /// Those that the task manager has not taken yet.
    pub(super) handing: BTreeSet<IntentId>,
    /// What governance does not have yet.
    pub(super) cases: BTreeSet<(IntentId, Owed)>,
    /// Those that governance is to carry out, or is carrying out.
    #[serde(default)]
    pub(super) changing: BTreeSet<IntentId>,
    /// Bytes of the payloads that are held for those three.
    pub(super) held_bytes: usize,
    pub(super) keys: BTreeMap<String, Keyed>,
    /// In the order in which they came.
    key_order: VecDeque<String>,
    pub(super) counts: Counts,
    /// Made from generation and types when it is first needed.
    #[serde(skip)]
    rules: OnceLock<Result<Rules, String>>,
}

/// An intent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) decision: Decision,
    /// Who approved it, where people did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    approved_by: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// What was asked for, as long as somebody has to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<Box<Held>>,
    /// What it was put to the vote as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) poll: Option<Box<Poll>>,
    /// SHA-256 of the ballots that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) refused: Vec<String>,
}

/// By whom and what. Those that were asked for alike share what is the same in all of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Whole")]
struct Held {
    actor: Arc<Actor>,
    /// Without key and payload.
    same: Arc<Asked>,
    key: Option<String>,
    payload: Json,
}

/// As it is kept in snapshots.
#[derive(Serialize, Deserialize)]
struct Whole {
    actor: Actor,
    asked: Asked,
}

impl From<Whole> for Held {
    fn from(Whole { actor, mut asked }: Whole) -> Self {
        let (key, payload) = (asked.key.take(), std::mem::take(&mut asked.payload));
        Self { actor: Arc::new(actor), same: Arc::new(asked), key, payload }
    }
}

impl Serialize for Held {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Whole { actor: (*self.actor).clone(), asked: self.asked() }.serialize(to)
    }
}

impl Held {
    /// Whether governance is to do something once it is allowed.
    fn is_change(&self) -> bool {
        change::is_of_change(&self.same) && change::is_named(&self.asked())
    }

    /// All that was asked for.
    fn asked(&self) -> Asked {
        Asked { key: self.key.clone(), payload: self.payload.clone(), ..(*self.same).clone() }
    }
}

/// What is known by an idempotency key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Keyed {
    pub(super) intent: IntentId,
    /// Of what was asked for.
    pub(super) digest: String,
    /// What became of it, once the intent itself is forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) became: Option<(Outcome, DecisionState)>,
}

/// Since the first start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) decided: u64,
    pub(super) allowed: u64,
    pub(super) denied: u64,
}

/// A key of one actor, as it is kept: actors do not share keys.
pub(super) fn key_of(actor: &Actor, key: &str) -> String {
    format!("{}:{}:{}{key}", actor.kind.word(), actor.name.len(), actor.name)
}

/// The question that policies and charter answer.
pub(crate) fn request(actor: &Actor, asked: &Asked) -> Request {
    Request {
        actor: actor.clone(),
        kind: asked.kind.clone(),
        target: asked.target.clone().unwrap_or_else(|| INSTANCE.to_owned()),
        circumstances: asked.circumstances.clone().unwrap_or_default(),
    }
}

impl State {
    /// The own time: by whichever clock is further.
    pub(super) fn time(&self, now: Now) -> Timestamp {
        let other = self.clocks.as_ref().map(|clocks| clocks.now(now.mono));
        self.wall(now).max(other.unwrap_or_default())
    }

    /// The own time by the wall clock alone.
    pub(super) fn wall(&self, now: Now) -> Timestamp {
        self.at.max(now.wall)
    }

    pub(super) fn rules(&self) -> Result<&Rules, &str> {
        let read = || Rules::read(self.generation.as_ref(), &self.declared);
        self.rules.get_or_init(read).as_ref().map_err(String::as_str)
    }

    /// The number of the generation in force.
    pub(super) fn number(&self) -> u64 {
        self.generation.as_ref().map_or(0, |generation| generation.number)
    }

    /// Whether it was allowed in an emergency.
    pub(super) fn is_emergency(&self, id: IntentId) -> bool {
        self.intents.get(&id).is_some_and(|kept| kept.decision.is_emergency())
    }

    /// The emergency grant that is live for this actor, by its name.
    pub(super) fn grant(&self, actor: &Actor, at: Timestamp) -> Option<String> {
        self.grants.values().find(|grant| grant.covers(actor, at)).map(|grant| grant.id.clone())
    }

    /// The question about an intent that waits.
    pub(super) fn asked_again(&self, id: IntentId) -> Option<Request> {
        let held = self.intents.get(&id)?.held.as_deref()?;
        Some(request(&held.actor, &held.same))
    }

    /// What the task manager is to take, under the intent's own name as the key.
    pub(super) fn submission(&self, id: IntentId) -> Option<Submission> {
        let kept = self.intents.get(&id)?;
        let Held { actor, same: asked, payload, .. } = kept.held.as_deref()?;
        let decision = &kept.decision;
        let given = asked.origin.as_deref().cloned().unwrap_or_default();
        let reasons = given.reasons.into_iter().take(limits::REASONS).chain(decision.reasons.iter().cloned());
        let said = |code: &str| decision.reasons.iter().rev().find(|reason| reason.code == code);
        let by = match (kept.approved_by.as_slice(), said("vote.majority")) {
            ([], Some(vote)) => format!("unified logic: {}", vote.text),
            ([], None) => format!("policy {}", decision.policies.join(", ")),
            (people, _) => people.join(", "),
        };
        let origin = Origin {
            approved_by: Some(by),
            tier: decision.tier.map(|tier| tier.to_string()),
            score: Some(decision.score),
            reasons: reasons.collect(),
            ..given
        };
        Some(Submission {
            id: Some(id),
            kind: asked.kind.clone(),
            actor: actor.name.clone(),
            payload: payload.clone(),
            key: Some(id.to_string()),
            priority: asked.priority,
            deadline_ms: asked.deadline_ms,
            delay_ms: asked.delay_ms,
            origin: Some(Arc::new(origin)),
            origin_as_before: false,
        })
    }

    /// What governance is told.
    pub(super) fn case(&self, id: IntentId, owed: Owed) -> Option<Case> {
        let kept = self.intents.get(&id)?;
        let Held { actor, same: asked, payload, .. } = kept.held.as_deref()?;
        let decision = &kept.decision;
        Some(Case {
            intent: id,
            owed,
            digest: decision.digest.clone(),
            actor: (**actor).clone(),
            kind: asked.kind.clone(),
            target: request(actor, asked).target,
            payload: payload.clone(),
            tier: decision.tier.and_then(|tier| Tier::try_from(tier).ok()).unwrap_or(Tier::Approval),
            quorum: decision.quorum,
            reasons: decision.reasons.clone(),
            since: decision.since,
            until: if owed == Owed::Approval { decision.expires } else { None },
        })
    }

    /// Takes an event in. Pure and total.
    pub(super) fn take(&mut self, event: &Event) {
        self.at = self.at.max(event.at);
        match &event.what {
            What::ClockAhead { clocks } => self.clocks = Some(clocks.clone()),
            What::Configured { era, declared, clocks } => {
                self.era.get_or_insert(*era);
                self.clocks.clone_from(clocks);
                self.declared = declared.iter().cloned().collect();
                self.rules = OnceLock::new();
            }
            What::Decided { decision, actor, asked, also } => {
                let held = Held::from(Whole { actor: actor.clone(), asked: (**asked).clone() });
                self.decided((**decision).clone(), held.clone());
                for one in also {
                    let (key, payload) = (one.key.clone(), one.payload.clone());
                    let (actor, same) = (Arc::clone(&held.actor), Arc::clone(&held.same));
                    self.decided(one.decision(decision), Held { actor, same, key, payload });
                }
            }
            What::Resolved { intent, outcome, by, reasons, .. } => {
                if *outcome == Outcome::Allowed
                    && let Some(kept) = self.intents.get_mut(intent)
                {
                    kept.approved_by.clone_from(by);
                }
                self.resolved(*intent, *outcome, reasons);
            }
            What::Expired { intent, reasons } => self.resolved(*intent, Outcome::Denied, reasons),
            What::VoterKnown { name, voter } => self.known(name, voter),
            What::BallotCast { intent, voter, note, .. } => {
                if let Some(poll) = self.poll(*intent) {
                    poll.add(voter.clone(), note.clone());
                }
            }
            What::BallotRefused { intent, digest, .. } => {
                if let Some(kept) = self.intents.get_mut(intent) {
                    kept.refused.push(digest.clone());
                }
            }
            What::VoteCounted { intent, outcome, reasons, .. } => self.resolved(*intent, *outcome, reasons),
            What::HandedOn { intents } => {
                for intent in intents {
                    self.handed(*intent, DecisionState::Running, None);
                }
            }
            What::Carried { intent, done, reason } => self.carried(*intent, *done, reason),
            What::Refused { intent, reason } => self.handed(*intent, DecisionState::Failed, Some(reason)),
            What::CasesTold { cases } => {
                for case in cases {
                    self.cases.remove(case);
                    self.let_go(case.0);
                }
            }
            What::GenerationAdopted { generation, revision } => {
                self.generation = Some(generation.clone());
                self.revision = *revision;
                self.rules = OnceLock::new();
            }
            What::GenerationRefused { .. } => {}
            What::InForceRefused { revision } => self.refused = Some(*revision),
            What::GrantsChanged { grants, revision } => {
                self.revision = *revision;
                self.grants = grants.iter().map(|grant| (grant.id.clone(), grant.clone())).collect();
            }
            What::GrantsEnded { grants } => self.grants.retain(|id, _| !grants.contains(id)),
        }
    }

    fn decided(&mut self, decision: Decision, held: Held) {
        let id = decision.id;
        self.next = self.next.max(id.number() + 1);
        self.counts.decided += 1;
        match decision.outcome {
            Outcome::Allowed => self.counts.allowed += 1,
            Outcome::Denied => self.counts.denied += 1,
            Outcome::WaitsForApproval => {
                self.waiting.insert(id);
                self.cases.insert((id, Owed::Approval));
            }
            Outcome::WaitsForVote => {
                self.waiting.insert(id);
                self.voting.insert(id);
            }
        }
        if decision.review {
            self.cases.insert((id, Owed::Review));
        }
        if decision.outcome == Outcome::Allowed && decision.planned {
            self.handing.insert(id);
        }
        if decision.outcome == Outcome::Allowed && held.is_change() {
            self.cases.insert((id, Owed::Change));
            self.changing.insert(id);
        }
        let key = held.key.as_ref().map(|key| key_of(&held.actor, key));
        if let Some(key) = &key {
            let keyed = Keyed { intent: id, digest: decision.digest.clone(), became: None };
            self.keys.insert(key.clone(), keyed);
            self.key_order.push_back(key.clone());
            if self.key_order.len() > limits::KEYS
                && let Some(oldest) = self.key_order.pop_front()
            {
                self.keys.remove(&oldest);
            }
        }
        self.held_bytes += held.payload.len();
        let kept = Kept {
            decision,
            approved_by: Vec::new(),
            key,
            held: Some(Box::new(held)),
            poll: None,
            refused: Vec::new(),
        };
        self.intents.insert(id, Box::new(kept));
        if self.voting.contains(&id)
            && let Some(proposal) = votes::proposal(self, id)
            && let Some(kept) = self.intents.get_mut(&id)
        {
            kept.poll = Some(Box::new(Poll::open(proposal, self.voters.clone())));
        }
        self.let_go(id);
    }

    fn poll(&mut self, id: IntentId) -> Option<&mut Poll> {
        self.intents.get_mut(&id)?.poll.as_deref_mut()
    }

    fn known(&mut self, name: &str, voter: &Voter) {
        self.voters.insert(name.to_owned(), voter.clone());
        for id in self.voting.clone() {
            if let Some(poll) = self.poll(id) {
                poll.join(name, voter);
            }
        }
    }

    fn resolved(&mut self, id: IntentId, outcome: Outcome, reasons: &[Reason]) {
        self.waiting.remove(&id);
        self.voting.remove(&id);
        self.cases.remove(&(id, Owed::Approval));
        if let Some(kept) = self.intents.get_mut(&id) {
            let decision = &mut kept.decision;
            decision.outcome = outcome;
            decision.expires = None;
            decision.advice.clear();
            decision.reasons.extend(reasons.iter().cloned());
            let changes = kept.held.as_ref().is_some_and(|held| held.is_change());
            if outcome == Outcome::Allowed && changes {
                self.cases.insert((id, Owed::Change));
                self.changing.insert(id);
            }
            decision.state = match outcome {
                Outcome::Allowed if decision.planned || changes => DecisionState::Waiting,
                Outcome::Allowed => DecisionState::Succeeded,
                _ => DecisionState::Denied,
            };
            if decision.state == DecisionState::Waiting && decision.planned {
                self.handing.insert(id);
            }
        }
        self.let_go(id);
    }

    fn carried(&mut self, id: IntentId, done: bool, reason: &Reason) {
        self.changing.remove(&id);
        self.cases.remove(&(id, Owed::Change));
        if let Some(kept) = self.intents.get_mut(&id) {
            kept.decision.state = if done { DecisionState::Succeeded } else { DecisionState::Failed };
            kept.decision.reasons.push(reason.clone());
        }
        self.let_go(id);
    }

    fn handed(&mut self, id: IntentId, state: DecisionState, reason: Option<&Reason>) {
        if self.handing.remove(&id)
            && let Some(kept) = self.intents.get_mut(&id)
        {
            kept.decision.state = state;
            if let Some(reason) = reason {
                kept.decision.reasons.push(reason.clone());
            }
        }
        self.let_go(id);
    }

    /// Drops what was asked for once nobody has to be told of it any more, and forgets the oldest of those that are over.
    fn let_go(&mut self, id: IntentId) {
        let is_owed = |owed: &Owed| self.cases.contains(&(id, *owed));
        let owed = !self.cases.is_empty() && [Owed::Approval, Owed::Review, Owed::Change].iter().any(is_owed);
        if owed || self.changing.contains(&id) || self.waiting.contains(&id) || self.handing.contains(&id) {
            return;
        }
        let Some(held) = self.intents.get_mut(&id).and_then(|kept| kept.held.take()) else { return };
        self.held_bytes = self.held_bytes.saturating_sub(held.payload.len());
        self.over.push_back(id);
        if self.over.len() <= limits::DECIDED {
            return;
        }
        let Some(forgotten) = self.over.pop_front().and_then(|id| self.intents.remove(&id)) else { return };
        let keyed = forgotten.key.and_then(|key| self.keys.get_mut(&key));
        if let Some(keyed) = keyed.filter(|keyed| keyed.intent == forgotten.decision.id) {
            keyed.became = Some((forgotten.decision.outcome, forgotten.decision.state));
        }
    }
}
