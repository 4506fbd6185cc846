//! What was asked for, judged again by other policies and another charter: what would have been decided differently?
//!
//! The cortex's records hold everything that a judgement rests on: who asked for what and when, in which circumstances; and by their order which
//! emergency grants were live then, and which types the manifest declared. So replaying what was in force gives what was decided, to the
//! letter. A record that cannot be read is counted, and never passed over.
//!
//! What people and voters said afterwards is not asked again: an intent is compared as it was first decided.

use std::collections::{BTreeMap, BTreeSet};

use grace_types::{evidence::JournalId, intent::IntentId, time::Timestamp};
use serde::Serialize;

use super::matrix::Cell;
use crate::{
    case::Grant,
    change::guarded,
    command::{Asked, Decision},
    judge::{Judgement, Standing, judge},
    limits,
    request::{Actor, ActorKind},
    router::{
        event::{Event, What},
        request,
    },
    rules::Rules,
    tier::Tier,
};

/// What reads a proposed set for an instance that declares these types.
pub type Read<'a> = dyn Fn(&[String]) -> Result<Rules, String> + 'a;

/// Intents judged again.
pub struct Replay<'a> {
    read: &'a Read<'a>,
    /// Types that the manifest declares now: where the set cannot be read without them, they count as declared then.
    declared: Vec<String>,
    /// From when to when intents are compared; what was in force before is taken in all the same.
    period: (Option<Timestamp>, Option<Timestamp>),
    /// Intents of each group that are listed.
    limit: usize,
    /// By the types that were declared.
    rules: BTreeMap<Vec<String>, Result<Rules, String>>,
    journals: BTreeMap<JournalId, Then>,
    groups: BTreeMap<Key, Group>,
    report: Report,
}

/// What held at a point of a journal.
#[derive(Default)]
struct Then {
    declared: Vec<String>,
    grants: BTreeMap<String, Grant>,
}

/// What a group has in common.
type Key = (String, ActorKind, Cell, Cell);

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Intents of the period.
    pub intents: u64,
    /// Those of them that would have been decided differently.
    pub different: u64,
    /// Those of them of which only the score would have been another one.
    pub only_score: u64,
    /// The differences, those with the most intents first.
    pub groups: Vec<Group>,
    /// Intents in groups beyond those that are kept apart.
    pub in_other_groups: u64,
    /// What could not be replayed, by the reason.
    pub not_replayed: BTreeMap<String, u64>,
    /// When the first intent of the period was decided.
    pub first: Option<Timestamp>,
    /// And the last.
    pub last: Option<Timestamp>,
}

/// Intents of one type and one kind of actor that would have come to the same instead of the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who asked.
    pub actor_kind: ActorKind,
    /// What was decided.
    pub before: Cell,
    /// What would have been.
    pub after: Cell,
    /// How many.
    pub count: u64,
    /// The first of them, so many as were asked for.
    pub intents: Vec<Difference>,
}

/// One intent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Which.
    pub id: IntentId,
    /// When it was decided.
    pub time: Timestamp,
    /// Who asked.
    pub actor: String,
    /// About what.
    pub target: String,
    /// How much it mattered.
    pub score_before: f64,
    /// How much it would have.
    pub score_after: f64,
    /// The policies that determined what was decided.
    pub policies_before: Vec<String>,
    /// Those that would have.
    pub policies_after: Vec<String>,
}

impl<'a> Replay<'a> {
    /// Nothing replayed yet.
    #[must_use]
    pub fn new(
        read: &'a Read<'a>,
        declared: Vec<String>,
        period: (Option<Timestamp>, Option<Timestamp>),
        limit: usize,
    ) -> Self {
        Self {
            read,
            declared,
            period,
            limit,
            rules: BTreeMap::new(),
            journals: BTreeMap::new(),
            groups: BTreeMap::new(),
            report: Report::default(),
        }
    }

    /// Takes the next record of a journal of the cortex in. All of them have to come, in their order, from the first on.
    pub fn take(&mut self, journal: JournalId, event: &Event) {
        let then = self.journals.entry(journal).or_default();
        match &event.what {
            What::Configured { declared, .. } => {
                let types: BTreeSet<&String> = declared.iter().collect();
                then.declared = types.into_iter().cloned().collect();
            }
            What::GrantsChanged { grants, .. } => {
                then.grants = grants.iter().map(|grant| (grant.id.clone(), grant.clone())).collect();
            }
            What::GrantsEnded { grants } => then.grants.retain(|id, _| !grants.contains(id)),
            What::Decided { decision, actor, asked, also } if self.is_meant(event.at) => {
                self.again(journal, event.at, decision, (actor, asked));
                for one in also {
                    self.again(journal, event.at, &one.decision(decision), (actor, &one.asked(asked)));
                }
            }
            _ => {}
        }
    }

    /// A record that cannot be read, and why.
    pub fn pass(&mut self, why: impl Into<String>) {
        *self.report.not_replayed.entry(why.into()).or_default() += 1;
    }

    /// What came of it.
    #[must_use]
    pub fn report(self) -> Report {
        let mut groups: Vec<Group> = self.groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        Report { groups, ..self.report }
    }

    fn is_meant(&self, at: Timestamp) -> bool {
        self.period.0.is_none_or(|since| at >= since) && self.period.1.is_none_or(|until| at <= until)
    }

    fn again(
        &mut self,
        journal: JournalId,
        at: Timestamp,
        decision: &Decision,
        (actor, asked): (&Actor, &Asked),
    ) {
        self.report.intents += 1;
        self.report.first.get_or_insert(at);
        self.report.last = Some(at);
        let Some(then) = self.journals.get(&journal) else { return };
        let grant = then.grants.values().find(|grant| grant.covers(actor, at)).map(|grant| grant.id.clone());
        let types = then.declared.clone();
        let (read, now) = (self.read, &self.declared);
        let rules = self.rules.entry(types).or_insert_with_key(|types| {
            read(types).or_else(|_| {
                let all: BTreeSet<&String> = types.iter().chain(now).collect();
                read(&all.into_iter().cloned().collect::<Vec<_>>())
            })
        });
        let judgement = match rules {
            Ok(rules) => {
                let standing = Standing { grant };
                guarded(asked, judge(&request(actor, asked), &rules.policies, &rules.charter, &standing))
            }
            Err(why) => {
                let why = format!("the set cannot be read with the types declared then: {why}");
                self.pass(why.trim_end());
                return;
            }
        };
        self.compare(at, decision, &judgement, (actor, asked));
    }

    fn compare(
        &mut self,
        time: Timestamp,
        decision: &Decision,
        judgement: &Judgement,
        (actor, asked): (&Actor, &Asked),
    ) {
        let tier = decision.tier.and_then(|tier| Tier::try_from(tier).ok());
        let (quorum, outcome, review) = (decision.quorum, decision.outcome, decision.review);
        let before = Cell { tier, quorum, outcome, review };
        let after = Cell::from(judgement);
        let other_score = (decision.score - judgement.score.value).abs() > f64::EPSILON;
        if before == after && !other_score {
            return;
        }
        *(if before == after { &mut self.report.only_score } else { &mut self.report.different }) += 1;
        let key = (asked.kind.clone(), actor.kind, before, after);
        if !self.groups.contains_key(&key) && self.groups.len() >= limits::REPLAY_GROUPS {
            self.report.in_other_groups += 1;
            return;
        }
        let group = self.groups.entry(key).or_insert_with(|| Group {
            kind: asked.kind.clone(),
            actor_kind: actor.kind,
            before,
            after,
            count: 0,
            intents: Vec::new(),
        });
        group.count += 1;
        if group.intents.len() >= self.limit {
            return;
        }
        group.intents.push(Difference {
            id: decision.id,
            time,
            actor: actor.name.clone(),
            target: request(actor, asked).target,
            score_before: decision.score,
            score_after: judgement.score.value,
            policies_before: decision.policies.clone(),
            policies_after: judgement.policies.clone(),
        });
    }
}
