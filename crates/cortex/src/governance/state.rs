//! What governance knows.

use std::collections::{BTreeMap, VecDeque};

use grace_types::{
    intent::IntentId,
    time::{Now, Timestamp},
};
use serde::{Deserialize, Serialize};

use super::{
    binding::{Said, same_person},
    event::{End, Event},
};
use crate::{
    case::{Carried, Case, Generation, Grant, Verdict, Word},
    limits,
};

/// Somebody who may approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approver {
    /// The name.
    pub name: String,
    /// `NAME+ID+BASE64`.
    pub public_key: String,
    /// Who asked for the enrolment.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
}

/// An approval that is waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// For what.
    pub case: Case,
    /// Until when on the clock that does not jump, in this boot.
    pub mono_until_ms: Option<u64>,
    /// Who said yes.
    pub yes: BTreeMap<String, Said>,
}

impl Open {
    /// Whether its time is over.
    #[must_use]
    pub fn is_over(&self, now: Now) -> bool {
        self.case.until.is_some_and(|until| is_over(now, until, self.mono_until_ms))
    }

    /// How many different people it takes.
    #[must_use]
    pub fn quorum(&self) -> usize {
        usize::from(self.case.quorum.max(1))
    }
}

/// Whichever clock is there first: the one may have been set back, the other does not outlive a boot.
pub(super) fn is_over(now: Now, until: Timestamp, mono_until_ms: Option<u64>) -> bool {
    now.wall >= until || mono_until_ms.is_some_and(|until| now.mono.as_nanos() / 1_000_000 >= until)
}

/// An approval that is closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    /// For what.
    pub case: Case,
    /// How.
    pub verdict: Verdict,
    /// When.
    pub at: Timestamp,
    /// The answers that made it.
    pub said: Vec<Said>,
}

/// A review, owed or done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Looked {
    /// At what.
    pub case: Case,
    /// Whether something is wrong with it; not looked at when not given.
    pub flagged: Option<bool>,
    /// Who looked.
    pub by: Option<String>,
    /// What he has to say.
    pub note: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
}

/// Leave to act in an emergency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// The leave.
    pub grant: Grant,
    /// Until when on the clock that does not jump, in this boot.
    pub mono_until_ms: Option<u64>,
    /// Intents that were allowed under it, as far as reviews are owed for them.
    pub uses: u64,
}

/// Leave that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The leave.
    pub grant: Grant,
    /// How it ended.
    pub end: End,
    /// By whom.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Intents that were allowed under it.
    pub uses: u64,
}

/// What became of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The cortex has not confirmed it yet.
    OnItsWay,
    /// The cortex decides by it.
    InForce,
    /// It did.
    Replaced,
    /// It never did.
    Refused(String),
}

/// A generation with its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Policies and charter.
    pub generation: Generation,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Who said yes.
    pub approved_by: Vec<String>,
    /// Since when it is known.
    pub since: Timestamp,
    /// What became of it.
    pub fate: Fate,
    /// The intent that it carries out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carries: Option<Carried>,
}

/// See the module's page.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The machine's boot.
    pub boot: String,
    /// Its public key; empty before its first start.
    pub instance: String,
    /// Types of intents that the manifest declares.
    pub declared: Vec<String>,
    /// Who may approve.
    pub approvers: BTreeMap<String, Approver>,
    /// Approvals that are waited for.
    pub open: BTreeMap<IntentId, Open>,
    /// The latest that are closed, the oldest first.
    pub closed: VecDeque<Closed>,
    /// Verdicts that the cortex has not taken yet.
    pub untold: BTreeMap<IntentId, Verdict>,
    /// What came of intents that change governance, as far as the cortex has not taken it yet.
    #[serde(default)]
    pub results: BTreeMap<IntentId, Carried>,
    /// The latest intents that were carried out or could not be, the oldest first.
    #[serde(default)]
    pub carried: VecDeque<IntentId>,
    /// Reviews that are owed.
    pub reviews: BTreeMap<IntentId, Looked>,
    /// The latest that were done, the oldest first.
    pub reviewed: VecDeque<Looked>,
    /// How many emergencies were declared.
    pub emergencies: u64,
    /// Leave that is live.
    pub grants: BTreeMap<String, Live>,
    /// The latest that is over, the oldest first.
    pub ended: VecDeque<Ended>,
    /// The oldest first.
    pub generations: VecDeque<Kept>,
    /// The number of the one in force.
    pub in_force: u64,
    /// The one on its way to the cortex.
    pub on_its_way: Option<u64>,
    /// The highest number so far.
    pub last: u64,
    /// Rises with each change of what the cortex is to have; signed with it.
    pub revision: u64,
    /// What it has.
    pub taken: u64,
}

impl State {
    /// A generation that is kept.
    #[must_use]
    pub fn generation(&self, number: u64) -> Option<&Kept> {
        self.generations.iter().find(|kept| kept.generation.number == number)
    }

    /// A closed approval.
    #[must_use]
    pub fn closed(&self, intent: IntentId) -> Option<&Closed> {
        self.closed.iter().rev().find(|closed| closed.case.intent == intent)
    }

    /// Enrolled approvers who may say yes to what this actor asks for, beside those who have.
    pub fn may<'a>(
        &'a self,
        actor: &'a str,
        yes: &'a BTreeMap<String, Said>,
    ) -> impl Iterator<Item = &'a str> {
        let names = self.approvers.keys().map(String::as_str);
        names.filter(move |name| !same_person(actor, name) && !yes.contains_key(*name))
    }

    fn fate(&mut self, number: u64, fate: Fate) {
        if let Some(kept) = self.generations.iter_mut().find(|kept| kept.generation.number == number) {
            kept.fate = fate;
        }
    }

    fn keep(&mut self, kept: Kept) {
        self.last = self.last.max(kept.generation.number);
        self.generations.push_back(kept);
        while self.generations.len() > limits::GENERATIONS {
            let spared = [Some(self.in_force), self.on_its_way];
            let old =
                self.generations.iter().position(|kept| !spared.contains(&Some(kept.generation.number)));
            let Some(old) = old else { return };
            self.generations.remove(old);
        }
    }

    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Began { boot, declared, instance } => self.began(boot, declared, instance),
            Event::Asked { case, mono_until_ms } => {
                let case = Case::clone(case);
                let open = Open { case, mono_until_ms: *mono_until_ms, yes: BTreeMap::new() };
                self.open.insert(open.case.intent, open);
            }
            Event::Yes { said } => {
                if let Some(open) = self.open.get_mut(&said.intent) {
                    open.yes.insert(said.approver.clone(), said.clone());
                }
            }
            Event::Resolved { verdict, at } => self.resolved(verdict, *at),
            Event::NotTaken { .. } => {}
            Event::Enrolled { approver, public_key, by, at } => {
                let (name, public_key, by) = (approver.clone(), public_key.clone(), by.clone());
                self.approvers.insert(name.clone(), Approver { name, public_key, by, since: *at });
            }
            Event::Dismissed { approver } => {
                self.approvers.remove(approver);
                self.open.values_mut().for_each(|open| drop(open.yes.remove(approver)));
            }
            Event::Told { intents, .. } => {
                intents.iter().for_each(|intent| drop(self.untold.remove(intent)));
            }
            Event::CarriedOut { result } => {
                self.results.insert(result.intent, result.clone());
                push(&mut self.carried, result.intent, limits::CLOSED);
            }
            Event::ResultsTold { intents } => {
                intents.iter().for_each(|intent| drop(self.results.remove(intent)));
            }
            Event::ReviewOwed { case } => {
                let case = Case::clone(case);
                let owed = Looked { case, flagged: None, by: None, note: None, at: None };
                self.reviews.insert(owed.case.intent, owed);
            }
            Event::Reviewed { intent, flagged, by, note, at } => {
                if let Some(owed) = self.reviews.remove(intent) {
                    let (by, note, at) = (Some(by.clone()), note.clone(), Some(*at));
                    let done = Looked { flagged: Some(*flagged), by, note, at, ..owed };
                    push(&mut self.reviewed, done, limits::CLOSED);
                }
            }
            Event::EmergencyBegun { .. } | Event::EmergencyUsed { .. } | Event::EmergencyEnded { .. } => {
                self.emergency(event);
            }
            Event::Brought { .. }
            | Event::Approved { .. }
            | Event::Adopted { .. }
            | Event::Refused { .. }
            | Event::GrantsTaken { .. } => self.generations(event),
        }
    }

    fn began(&mut self, boot: &str, declared: &[String], instance: &str) {
        if self.boot != boot {
            // Deadlines of another boot are counted from another beginning.
            self.open.values_mut().for_each(|open| open.mono_until_ms = None);
            self.grants.values_mut().for_each(|live| live.mono_until_ms = None);
        }
        boot.clone_into(&mut self.boot);
        instance.clone_into(&mut self.instance);
        self.declared = declared.to_vec();
    }

    fn resolved(&mut self, verdict: &Verdict, at: Timestamp) {
        let Some(open) = self.open.remove(&verdict.intent) else { return };
        let Open { case, yes, .. } = open;
        self.untold.insert(verdict.intent, verdict.clone());
        let said = if verdict.word == Word::Approved { yes.into_values().collect() } else { Vec::new() };
        push(&mut self.closed, Closed { case, verdict: verdict.clone(), at, said }, limits::CLOSED);
    }

    fn emergency(&mut self, event: &Event) {
        match event {
            Event::EmergencyBegun { grant, mono_until_ms } => {
                self.emergencies += 1;
                self.revise(grant.since);
                let live = Live { grant: grant.clone(), mono_until_ms: Some(*mono_until_ms), uses: 0 };
                self.grants.insert(grant.id.clone(), live);
            }
            Event::EmergencyUsed { grant: Some(grant), .. } => {
                if let Some(live) = self.grants.get_mut(grant) {
                    live.uses += 1;
                } else if let Some(ended) = self.ended.iter_mut().find(|ended| ended.grant.id == *grant) {
                    // It was told of after the leave was over.
                    ended.uses += 1;
                }
            }
            // A record of before, which does not say under which.
            Event::EmergencyUsed { grant: None, actor, .. } => {
                let covers =
                    |live: &&mut Live| live.grant.actor.as_ref().is_none_or(|granted| granted == actor);
                self.grants.values_mut().filter(covers).for_each(|live| live.uses += 1);
            }
            Event::EmergencyEnded { grant, end, by, at } => {
                if let Some(Live { grant, uses, .. }) = self.grants.remove(grant) {
                    self.revise(*at);
                    let ended = Ended { grant, end: *end, by: by.clone(), at: *at, uses };
                    push(&mut self.ended, ended, limits::CLOSED);
                }
            }
            _ => {}
        }
    }

    fn generations(&mut self, event: &Event) {
        match event {
            Event::Brought { generation, at } => {
                let (by, reason) = ("grace".to_owned(), "what Grace brings along".to_owned());
                let first = self.generations.is_empty();
                if first {
                    self.in_force = generation.number;
                } else {
                    self.sent(generation.number, *at);
                }
                let fate = if first { Fate::InForce } else { Fate::OnItsWay };
                let (generation, approved_by) = (generation.clone(), Vec::new());
                self.keep(Kept { generation, by, reason, approved_by, since: *at, fate, carries: None });
            }
            Event::Approved { generation, by, reason, approved_by, at, carries } => {
                self.sent(generation.number, *at);
                self.keep(Kept {
                    generation: generation.clone(),
                    by: by.clone(),
                    reason: reason.clone(),
                    approved_by: approved_by.clone(),
                    since: *at,
                    fate: Fate::OnItsWay,
                    carries: Some(carries.clone()),
                });
            }
            Event::Adopted { number, .. } => {
                self.fate(self.in_force, Fate::Replaced);
                self.fate(*number, Fate::InForce);
                self.in_force = *number;
                self.on_its_way = None;
            }
            Event::Refused { number, reason } => {
                self.fate(*number, Fate::Refused(reason.clone()));
                if self.on_its_way == Some(*number) {
                    self.on_its_way = None;
                    // The cortex is told again what holds instead.
                    self.revision += 1;
                }
            }
            Event::GrantsTaken { revision } => self.taken = *revision,
            _ => {}
        }
    }

    /// Another generation goes to the cortex.
    fn sent(&mut self, number: u64, at: Timestamp) {
        self.on_its_way = Some(number);
        self.revise(at);
    }

    /// The next revision. It is no less than the time in milliseconds, so that a journal that was set back, or begun anew, has no old one for
    /// something new, which the cortex would refuse.
    fn revise(&mut self, at: Timestamp) {
        self.revision = (self.revision + 1).max(at.as_nanos() / 1_000_000);
    }
}

fn push<T>(queue: &mut VecDeque<T>, one: T, most: usize) {
    queue.push_back(one);
    while queue.len() > most {
        queue.pop_front();
    }
}
