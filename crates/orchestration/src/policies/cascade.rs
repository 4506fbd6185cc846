//! What policies caused, remembered so that chains that do not end are found and stopped.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
};

use grace_types::{
    event::Event as CloudEvent,
    id::{CorrelationId, EventId},
};
use serde::{Deserialize, Serialize};

use crate::limits;

/// Why a chain was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Stop {
    /// Too many causes lie before the event.
    Depth {
        /// How many.
        hops: u32,
    },
    /// Policies set off too much because of one root event.
    FanOut {
        /// How much.
        count: u32,
    },
    /// The policy is in the chain already.
    Cycle {
        /// The policies of the chain, oldest first, the one that was stopped last.
        chain: Vec<String>,
    },
}

impl Stop {
    /// For queries.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Depth { .. } => "cascade.depth",
            Self::FanOut { .. } => "cascade.fan_out",
            Self::Cycle { .. } => "cascade.cycle",
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Depth { hops } => {
                write!(
                    f,
                    "{hops} causes lie before the event, and a chain may have {}",
                    limits::CASCADE_DEPTH
                )
            }
            Self::FanOut { count } => {
                let most = limits::CASCADE_FAN_OUT;
                write!(f, "{count} things were set off because of one root event, and {most} may be")
            }
            Self::Cycle { chain } => write!(f, "a loop: {}", chain.join(" → ")),
        }
    }
}

/// What is remembered. Part of the state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(super) struct Cascades {
    /// By event that a policy published.
    links: HashMap<EventId, Link>,
    /// Oldest first.
    link_order: VecDeque<EventId>,
    /// By what events belong to.
    roots: HashMap<u128, Root>,
    root_order: VecDeque<u128>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    links: Vec<(EventId, Link)>,
    roots: Vec<(CorrelationId, Root)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Link {
    policy: String,
    /// The event that set it off.
    parent: EventId,
    /// How many causes lie before what was published.
    #[serde(default)]
    hops: u32,
    at_ms: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Root {
    count: u32,
    /// The fewest hops at which each policy fired.
    fired: BTreeMap<String, u32>,
    at_ms: u64,
}

impl From<Stored> for Cascades {
    fn from(stored: Stored) -> Self {
        Self {
            link_order: stored.links.iter().map(|(id, _)| *id).collect(),
            links: stored.links.into_iter().collect(),
            root_order: stored.roots.iter().map(|(id, _)| id.as_bits()).collect(),
            roots: stored.roots.into_iter().map(|(id, root)| (id.as_bits(), root)).collect(),
        }
    }
}

impl From<Cascades> for Stored {
    fn from(cascades: Cascades) -> Self {
        let link = |id: &EventId| Some((*id, cascades.links.get(id)?.clone()));
        let root = |id: &u128| Some((CorrelationId::from_bits(*id), cascades.roots.get(id)?.clone()));
        Self {
            links: cascades.link_order.iter().filter_map(link).collect(),
            roots: cascades.root_order.iter().filter_map(root).collect(),
        }
    }
}

/// What an event belongs to: its correlation, or, for one without, itself.
pub(super) fn root_of(event: &CloudEvent) -> CorrelationId {
    event.correlationid.unwrap_or_else(|| CorrelationId::from_bits(event.id.as_bits()))
}

impl Cascades {
    /// How many causes lie before an event, as far as it is remembered: whatever its sender says, what a policy published, or what came of
    /// that, stands where it stands in its chain.
    pub(super) fn depth(&self, event: &CloudEvent) -> u32 {
        let hops = |id: EventId| self.links.get(&id).map(|link| link.hops);
        let cause = || event.causationid.and_then(hops).map(|hops| hops.saturating_add(1));
        hops(event.id).or_else(cause).unwrap_or(0)
    }

    /// Whether a policy's acting on an event must be stopped. `more` is what this decision has set off for the same root so far,
    /// `again` how often the policy may come again in one chain.
    pub(super) fn judge(&self, policy: &str, again: u32, event: &CloudEvent, more: u32) -> Option<Stop> {
        if event.hops >= limits::CASCADE_DEPTH {
            return Some(Stop::Depth { hops: event.hops });
        }
        let root = self.roots.get(&root_of(event).as_bits());
        let count = root.map_or(0, |root| root.count).saturating_add(more);
        if count >= limits::CASCADE_FAN_OUT {
            return Some(Stop::FanOut { count });
        }
        let mut chain = self.chain(event);
        let seen = chain.iter().filter(|one| *one == policy).count();
        if seen > usize::try_from(again).unwrap_or(usize::MAX) {
            chain.push(policy.to_owned());
            return Some(Stop::Cycle { chain });
        }
        None
    }

    /// The policies that led to an event, oldest first.
    fn chain(&self, event: &CloudEvent) -> Vec<String> {
        let known = |id: &EventId| self.links.contains_key(id);
        let start = Some(event.id).filter(known).or_else(|| event.causationid.filter(known));
        let Some(start) = start else {
            // Others lie between: those that fired nearer to the root.
            let root = self.roots.get(&root_of(event).as_bits());
            let fired = root.into_iter().flat_map(|root| &root.fired);
            let mut before: Vec<_> = fired.filter(|(_, hops)| **hops < event.hops).collect();
            before.sort_by_key(|(_, hops)| **hops);
            return before.into_iter().map(|(policy, _)| policy.clone()).collect();
        };
        let each = std::iter::successors(self.links.get(&start), |link| self.links.get(&link.parent));
        let most = usize::try_from(limits::CASCADE_DEPTH).unwrap_or(usize::MAX) * 2;
        let mut chain: Vec<String> = each.take(most).map(|link| link.policy.clone()).collect();
        chain.reverse();
        chain
    }

    /// A policy fired and published `made`, or submitted as many intents as are in `count` beyond those.
    pub(super) fn fired(
        &mut self,
        policy: &str,
        cause: (EventId, CorrelationId, u32),
        made: &[EventId],
        count: u32,
        at_ms: u64,
    ) {
        let (parent, root, hops) = cause;
        let key = root.as_bits();
        if !self.roots.contains_key(&key) {
            self.root_order.push_back(key);
        }
        let root = self.roots.entry(key).or_default();
        root.at_ms = at_ms;
        root.count = root.count.saturating_add(count);
        let fewest = root.fired.entry(policy.to_owned()).or_insert(hops);
        *fewest = hops.min(*fewest);
        for id in made {
            let link = Link { policy: policy.to_owned(), parent, hops: hops.saturating_add(1), at_ms };
            if self.links.insert(*id, link).is_none() {
                self.link_order.push_back(*id);
            }
        }
        self.forget(at_ms);
    }

    fn forget(&mut self, at_ms: u64) {
        let old = |then: u64| then.saturating_add(limits::CASCADE_FOR_MS) <= at_ms;
        while let Some(id) = self.link_order.front() {
            let is_old = self.links.get(id).is_none_or(|link| old(link.at_ms));
            if !is_old && self.link_order.len() <= limits::CASCADE_LINKS {
                break;
            }
            self.links.remove(id);
            self.link_order.pop_front();
        }
        while let Some(key) = self.root_order.front().copied() {
            let is_old = self.roots.get(&key).is_none_or(|root| old(root.at_ms));
            if !is_old && self.root_order.len() <= limits::CASCADE_LINKS {
                break;
            }
            self.roots.remove(&key);
            self.root_order.pop_front();
        }
    }
}
