//! What the event policy engine knows.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use grace_types::id::EventId;
use serde::{Deserialize, Serialize};

use super::{
    cascade::Cascades,
    compiled::Compiled,
    message::{Event, Observed},
    policy::Policy,
    window::Counts,
};
use crate::{
    delivery::{
        action::Work,
        breaker::Breaker,
        overview::Totals,
        step::{Lanes, Step},
    },
    limits,
    pattern::Index,
    seen::Memory,
    steady::Steady,
};

/// Priority, highest first, then name.
pub(super) type Order = (Reverse<i32>, Arc<str>);

/// See the module's page. What is compiled is made again from the policies when a snapshot is read.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct State {
    pub(super) steady: Steady,
    pub(super) policies: BTreeMap<String, Entry>,
    pub(super) lanes: Lanes,
    pub(super) memory: Memory,
    pub(super) cascades: Cascades,
    pub(super) totals: Totals,
    #[serde(skip)]
    pub(super) compiled: HashMap<Arc<str>, Compiled>,
    #[serde(skip)]
    pub(super) index: Index<Order>,
}

#[derive(Deserialize)]
struct Stored {
    steady: Steady,
    policies: BTreeMap<String, Entry>,
    lanes: Lanes,
    memory: Memory,
    cascades: Cascades,
    #[serde(default)]
    totals: Totals,
}

/// A policy and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) policy: Policy,
    #[serde(default)]
    pub(super) fired: u64,
    #[serde(default)]
    pub(super) stopped: u64,
    #[serde(default)]
    pub(super) counts: Counts,
    /// Whether it rests because its chain was stopped.
    #[serde(default)]
    pub(super) guard: Breaker,
    /// When it was tried last, steady milliseconds.
    #[serde(default)]
    pub(super) trial_ms: u64,
    /// When a failure or a rest was recorded last, steady milliseconds.
    #[serde(default)]
    pub(super) told_ms: Option<u64>,
}

impl From<Stored> for State {
    fn from(stored: Stored) -> Self {
        let Stored { steady, policies, lanes, memory, cascades, totals } = stored;
        let mut state = Self { steady, lanes, memory, cascades, totals, ..Self::default() };
        for (name, entry) in policies {
            state.compile(&name, &entry.policy);
            state.policies.insert(name, entry);
        }
        state
    }
}

impl State {
    /// When something happens without being asked: a delivery that waits may begin. Steady milliseconds, 0 for at once.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.lanes.next_ms()
    }

    /// The steady line of time.
    #[must_use]
    pub const fn steady(&self) -> &Steady {
        &self.steady
    }

    /// The lanes of all policies.
    #[must_use]
    pub const fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    fn compile(&mut self, name: &str, policy: &Policy) {
        // What was recorded was checked; should a later version refuse it, it is kept and takes no part.
        let Ok(compiled) = Compiled::of(policy) else { return };
        let key: Arc<str> = name.into();
        for pattern in &compiled.patterns {
            self.index.insert(pattern, (Reverse(policy.priority), Arc::clone(&key)));
        }
        self.compiled.insert(key, compiled);
    }

    fn forget(&mut self, name: &str) {
        let Some((key, compiled)) = self.compiled.remove_entry(name) else { return };
        let priority = self.policies.get(name).map_or(0, |entry| entry.policy.priority);
        let key = (Reverse(priority), key);
        for pattern in &compiled.patterns {
            self.index.remove(pattern, &key);
        }
    }

    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Began(began) => self.steady.began(began),
            Event::Put { name, policy } => self.put(name, policy),
            Event::Removed { name, .. } => {
                self.forget(name);
                self.policies.remove(name);
                self.lanes.remove(name);
            }
            Event::Observed { at_ms, wall_ms, events, steps } => {
                self.steady.seen(*at_ms, *wall_ms);
                for step in steps {
                    self.lanes.apply(step, *at_ms);
                }
                self.totals.count(steps);
                self.totals.fired += events.iter().map(|one| one.fired.len() as u64).sum::<u64>();
                for one in events {
                    self.observed(one, *at_ms);
                }
                self.caused(steps, *at_ms);
            }
            Event::Stopped { policy, at_ms, .. } => self.change(policy, |entry| {
                entry.stopped += 1;
                entry.told_ms = Some(*at_ms);
            }),
            Event::Guard { policy, change, at_ms } => self.change(policy, |entry| {
                entry.guard.change(change);
                if matches!(entry.guard, Breaker::HalfOpen { .. }) {
                    entry.guard.begin_trial();
                    entry.trial_ms = *at_ms;
                }
            }),
            Event::Failed { policy, at_ms, .. } | Event::Rested { policy, at_ms, .. } => {
                self.change(policy, |entry| entry.told_ms = Some(*at_ms));
            }
            Event::Delivery(happening) => {
                self.steady.seen(happening.at_ms, happening.wall_ms);
                happening.apply(&mut self.lanes);
                self.totals.count(&happening.steps);
            }
        }
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.policies.get_mut(name) {
            change(entry);
        }
    }

    fn put(&mut self, name: &str, policy: &Policy) {
        self.forget(name);
        self.compile(name, policy);
        self.lanes.configure(name, &policy.delivery);
        match self.policies.get_mut(name) {
            Some(entry) => {
                if entry.policy.window != policy.window || entry.policy.types != policy.types {
                    entry.counts = Counts::default();
                }
                // Whoever wrote it anew has looked at it.
                entry.guard = Breaker::default();
                entry.policy = policy.clone();
            }
            None => {
                let entry = Entry {
                    policy: policy.clone(),
                    fired: 0,
                    stopped: 0,
                    counts: Counts::default(),
                    guard: Breaker::default(),
                    trial_ms: 0,
                    told_ms: None,
                };
                self.policies.insert(name.to_owned(), entry);
            }
        }
    }

    fn observed(&mut self, one: &Observed, at_ms: u64) {
        self.memory.add(one.mark, &one.missed, at_ms);
        for (name, group) in &one.counted {
            if let Some(entry) = self.policies.get_mut(name) {
                let within = entry.policy.window.as_ref().map_or(0, |window| window.within.millis());
                entry.counts.add(group, at_ms, within);
            }
        }
        for (name, _) in &one.fired {
            self.change(name, |entry| entry.fired += 1);
        }
    }

    /// Remembers what was set off by what. By the deliveries alone: those of one event may stand in several records.
    fn caused(&mut self, steps: &[Step], at_ms: u64) {
        let of = |step: &Step| match step {
            Step::Queued { owner, delivery, .. } | Step::Dead { owner, delivery, .. } => {
                let cause = delivery.cause.as_ref()?;
                Some((owner.clone(), (cause.event, cause.correlation?, cause.hops)))
            }
            _ => None,
        };
        for some in steps.chunk_by(|one, next| of(one) == of(next)) {
            let Some((policy, event)) = some.first().and_then(of) else { continue };
            let publishes = |step: &Step| match step {
                Step::Queued { delivery, .. } | Step::Dead { delivery, .. }
                    if matches!(delivery.work, Work::Publish { .. }) =>
                {
                    Some(delivery.id)
                }
                _ => None,
            };
            let made: Vec<EventId> = some.iter().filter_map(publishes).collect();
            let count = u32::try_from(some.len()).unwrap_or(u32::MAX);
            self.cascades.fired(&policy, event, &made, count, at_ms);
        }
    }

    /// Whether a policy may fire as far as its guard goes, and what that changes.
    pub(super) fn guard(entry: &Entry, at_ms: u64) -> Guard {
        use crate::delivery::breaker::Permit;
        match entry.guard.permit(at_ms) {
            Permit::Yes => Guard::Open,
            Permit::Trial => Guard::Trial,
            Permit::No { until_ms: None }
                if entry.trial_ms.saturating_add(limits::CASCADE_TRIAL_MS) <= at_ms =>
            {
                Guard::Mended
            }
            Permit::No { .. } => Guard::Rests(entry.guard.reason().unwrap_or_default().to_owned()),
        }
    }
}

/// See [`State::guard`].
pub(super) enum Guard {
    /// It may fire.
    Open,
    /// It may fire, on trial.
    Trial,
    /// It may fire; its trial led to no stop.
    Mended,
    /// It may not, and why.
    Rests(String),
}
