//! What the trigger mesh knows: the subscriptions, their lanes, and which events were taken lately.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{compiled::Compiled, subscription::Subscription};
use crate::{
    delivery::{overview::Totals, step::Lanes},
    pattern::Index,
    seen::Memory,
    steady::Steady,
};

/// See the module's page. What is compiled is made again from the subscriptions when a snapshot is read.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct State {
    pub(super) steady: Steady,
    pub(super) subscriptions: BTreeMap<String, Entry>,
    pub(super) lanes: Lanes,
    pub(super) memory: Memory,
    pub(super) totals: Totals,
    #[serde(skip)]
    pub(super) compiled: HashMap<Arc<str>, Compiled>,
    #[serde(skip)]
    pub(super) index: Index<Arc<str>>,
}

#[derive(Deserialize)]
struct Stored {
    steady: Steady,
    subscriptions: BTreeMap<String, Entry>,
    lanes: Lanes,
    memory: Memory,
    #[serde(default)]
    totals: Totals,
}

/// A subscription and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) subscription: Subscription,
    /// Whether the manifest declares it.
    #[serde(default)]
    pub(super) declared: bool,
    /// Firings.
    pub(super) fired: u64,
    /// Events that came too soon after a firing.
    pub(super) throttled: u64,
    /// The last firing, steady milliseconds.
    pub(super) fired_ms: Option<u64>,
    /// When a failure of the filter, or a chain that was stopped, was recorded last, steady milliseconds.
    pub(super) failed_ms: Option<u64>,
}

impl From<Stored> for State {
    fn from(stored: Stored) -> Self {
        let Stored { steady, subscriptions, lanes, memory, totals } = stored;
        let mut state = Self { steady, lanes, memory, totals, ..Self::default() };
        for (name, entry) in subscriptions {
            state.compile(&name, &entry.subscription);
            state.subscriptions.insert(name, entry);
        }
        state
    }
}

impl State {
    /// Puts a subscription in, or in place of the one of that name. Its lane keeps what is in it.
    pub(super) fn put(&mut self, name: &str, subscription: &Subscription, declared: bool) {
        self.forget(name);
        self.compile(name, subscription);
        self.lanes.configure(name, &subscription.delivery);
        let before = self.subscriptions.get(name);
        let entry = Entry {
            subscription: subscription.clone(),
            declared,
            fired: before.map_or(0, |before| before.fired),
            throttled: before.map_or(0, |before| before.throttled),
            fired_ms: before.and_then(|before| before.fired_ms),
            failed_ms: None,
        };
        self.subscriptions.insert(name.to_owned(), entry);
    }

    /// Takes a subscription out, with its lane.
    pub(super) fn remove(&mut self, name: &str) {
        self.forget(name);
        self.subscriptions.remove(name);
        self.lanes.remove(name);
    }

    fn compile(&mut self, name: &str, subscription: &Subscription) {
        // What was recorded was checked; should a later version refuse it, it is kept and takes no events.
        let Ok(compiled) = Compiled::of(subscription) else { return };
        let key: Arc<str> = name.into();
        for pattern in &compiled.patterns {
            self.index.insert(pattern, Arc::clone(&key));
        }
        self.compiled.insert(key, compiled);
    }

    fn forget(&mut self, name: &str) {
        if let Some((key, compiled)) = self.compiled.remove_entry(name) {
            for pattern in &compiled.patterns {
                self.index.remove(pattern, &key);
            }
        }
    }

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

    /// The lanes of all subscriptions.
    #[must_use]
    pub const fn lanes(&self) -> &Lanes {
        &self.lanes
    }
}
