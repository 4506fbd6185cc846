//! What the scheduler knows: each schedule with its next occurrence, and the deliveries of those that fired.
//!
//! Schedules stand in two orders of due moments, one for each clock, so that the next one is found without looking at the others
//! and a firing costs the logarithm of their number. A lane is there only while it holds something.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use grace_types::time::Now;
use serde::{Deserialize, Serialize};

use super::{
    message::{Event, Origin},
    occurrence::{Next, Nominal},
    schedule::{Overlap, Schedule},
};
use crate::{
    delivery::{
        action::Work,
        breaker::Breaker,
        happening::Happening,
        overview::Totals,
        step::{End, Lanes, Step},
    },
    limits,
    steady::Steady,
};

/// See the module's page. The orders are made again from the schedules when a snapshot is read.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct State {
    pub(super) steady: Steady,
    pub(super) schedules: BTreeMap<Arc<str>, Entry>,
    pub(super) lanes: Lanes,
    pub(super) totals: Totals,
    pub(super) late: Late,
    /// The greatest generation of a schedule that is no more: one that comes under its name has keys of its own.
    pub(super) past_generation: u32,
    #[serde(skip)]
    pub(super) by_wall: BTreeSet<(u64, Arc<str>)>,
    #[serde(skip)]
    pub(super) by_steady: BTreeSet<(u64, Arc<str>)>,
    /// Those whose held occurrence may fire.
    #[serde(skip)]
    pub(super) freed: BTreeSet<Arc<str>>,
}

#[derive(Deserialize)]
struct Stored {
    steady: Steady,
    schedules: BTreeMap<Arc<str>, Entry>,
    lanes: Lanes,
    #[serde(default)]
    totals: Totals,
    #[serde(default)]
    late: Late,
    #[serde(default)]
    past_generation: u32,
}

/// What did not happen when it was due, since the journal was begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// Firings more than [`limits::FIRING_LATE_MS`] late.
    pub fired: u64,
    /// Occurrences that were so late that they did nothing.
    pub misfired: u64,
}

/// A schedule and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) schedule: Arc<Schedule>,
    pub(super) generation: u32,
    /// Whether the manifest declares it.
    #[serde(default)]
    pub(super) declared: bool,
    /// When it was put, on the steady line.
    pub(super) base_ms: u64,
    pub(super) next: Option<Next>,
    #[serde(default)]
    pub(super) paused: bool,
    /// The last occurrence by the wall clock that is over: what a replacement must not fire again.
    #[serde(default)]
    pub(super) past_ms: u64,
    /// How often it was asked for by hand.
    #[serde(default)]
    pub(super) asked: u64,
    #[serde(default)]
    pub(super) fired: u64,
    #[serde(default)]
    pub(super) misfired: u64,
    #[serde(default)]
    pub(super) skipped: u64,
    /// The last firing, by the wall clock.
    #[serde(default)]
    pub(super) last_ms: Option<u64>,
    /// The firing that runs, where overlap matters.
    #[serde(default)]
    pub(super) running: Option<String>,
    #[serde(default)]
    pub(super) held: Option<Nominal>,
}

impl From<Stored> for State {
    fn from(stored: Stored) -> Self {
        let Stored { steady, schedules, lanes, totals, late, past_generation } = stored;
        let mut state = Self { steady, schedules, lanes, totals, late, past_generation, ..Self::default() };
        let names: Vec<Arc<str>> = state.schedules.keys().cloned().collect();
        for name in names {
            state.enlist(&name);
        }
        state
    }
}

impl State {
    /// When something happens without being asked, milliseconds from now; `None` for never. The wall clock can be set: look again at
    /// least every second.
    #[must_use]
    pub fn next_ms(&self, now: Now) -> Option<u64> {
        let from = |due: Option<u64>, clock_ms: u64| due.map(|due| due.saturating_sub(clock_ms));
        let at_ms = self.steady.at(now);
        let due = [
            (!self.freed.is_empty()).then_some(0),
            from(self.by_wall.first().map(|(due, _)| *due), now.wall.as_millis()),
            from(self.by_steady.first().map(|(due, _)| *due), at_ms),
            from(self.lanes.next_ms(), at_ms),
        ];
        due.into_iter().flatten().min()
    }

    /// The steady line of time.
    #[must_use]
    pub const fn steady(&self) -> &Steady {
        &self.steady
    }

    /// The lanes of schedules that have something to deliver or to show.
    #[must_use]
    pub const fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// The firings that run, of schedules where overlap matters, by name: whoever knows whether they have ended says so after a
    /// restart.
    pub fn running(&self) -> impl Iterator<Item = (&str, &str)> {
        self.schedules.iter().filter_map(|(name, entry)| Some((&**name, entry.running.as_deref()?)))
    }

    /// Changes a schedule and its place in the orders.
    fn change(&mut self, name: &str, change: impl FnOnce(&mut Entry)) {
        let Some((name, _)) = self.schedules.get_key_value(name) else { return };
        let name = Arc::clone(name);
        self.delist(&name);
        if let Some(entry) = self.schedules.get_mut(&name) {
            change(entry);
        }
        self.enlist(&name);
    }

    fn delist(&mut self, name: &Arc<str>) {
        let Some(entry) = self.schedules.get(name) else { return };
        if let Some(next) = entry.next {
            let order = if entry.schedule.is_wall() { &mut self.by_wall } else { &mut self.by_steady };
            order.remove(&(next.due_ms, Arc::clone(name)));
        }
        self.freed.remove(name);
    }

    fn enlist(&mut self, name: &Arc<str>) {
        let Some(entry) = self.schedules.get(name) else { return };
        if let (Some(next), false) = (entry.next, entry.paused) {
            let order = if entry.schedule.is_wall() { &mut self.by_wall } else { &mut self.by_steady };
            order.insert((next.due_ms, Arc::clone(name)));
        }
        if entry.held.is_some() && entry.running.is_none() {
            self.freed.insert(Arc::clone(name));
        }
    }

    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Began(began) => self.steady.began(began),
            Event::Put { name, schedule, generation, next, at_ms, wall_ms, declared } => {
                self.steady.seen(*at_ms, *wall_ms);
                self.put(name, schedule, (*generation, *next, *at_ms, *declared));
            }
            Event::Removed { name } => {
                if let Some((name, _)) = self.schedules.get_key_value(name.as_str()) {
                    let name = Arc::clone(name);
                    self.delist(&name);
                    self.drop_schedule(&name);
                    self.lanes.remove(&name);
                }
            }
            Event::Paused { name } => self.change(name, |entry| entry.paused = true),
            Event::Resumed { name, next } => self.change(name, |entry| {
                entry.paused = false;
                entry.next = *next;
            }),
            Event::Fired { name, nominal, origin, late_ms, step, at_ms, wall_ms } => {
                self.totals.fired += 1;
                self.totals.count([&**step]);
                self.late.fired += u64::from(*late_ms > limits::FIRING_LATE_MS);
                self.steady.seen(*at_ms, *wall_ms);
                self.fire(name, *nominal, *origin, step, (*at_ms, *wall_ms));
            }
            Event::Misfired { name, last, count, next, .. } => {
                self.late.misfired += count;
                self.change(name, |entry| {
                    entry.misfired += count;
                    pass(entry, *last);
                    entry.next = *next;
                });
            }
            Event::Skipped { name, nominal, origin, .. } => self.change(name, |entry| {
                entry.skipped += 1;
                advance(entry, *nominal, *origin);
            }),
            Event::Held { name, nominal, next } => self.change(name, |entry| {
                entry.held = Some(*nominal);
                advance(entry, *nominal, Origin::Time { next: *next });
            }),
            Event::Ended { name, key } => self.ended(name, key),
            Event::Delivery(happening) => self.delivered(happening),
        }
    }

    fn put(
        &mut self,
        name: &str,
        schedule: &Schedule,
        (generation, next, base_ms, declared): (u32, Option<Next>, u64, bool),
    ) {
        let key: Arc<str> = name.into();
        self.delist(&key);
        let before = self.schedules.get(&key);
        let entry = Entry {
            schedule: Arc::new(schedule.clone()),
            generation,
            declared,
            base_ms,
            next,
            paused: before.is_some_and(|before| before.paused),
            past_ms: before.map_or(0, |before| before.past_ms),
            asked: before.map_or(0, |before| before.asked),
            fired: before.map_or(0, |before| before.fired),
            misfired: before.map_or(0, |before| before.misfired),
            skipped: before.map_or(0, |before| before.skipped),
            last_ms: before.and_then(|before| before.last_ms),
            running: before.and_then(|before| before.running.clone()),
            held: None,
        };
        if self.lanes.get(name).is_some() {
            self.lanes.configure(name, &schedule.delivery);
        }
        self.schedules.insert(Arc::clone(&key), entry);
        self.enlist(&key);
    }

    fn fire(
        &mut self,
        name: &str,
        nominal: Nominal,
        origin: Origin,
        step: &Step,
        (at_ms, wall_ms): (u64, u64),
    ) {
        let Some(entry) = self.schedules.get(name) else { return };
        let schedule = Arc::clone(&entry.schedule);
        if self.lanes.get(name).is_none() {
            self.lanes.configure(name, &schedule.delivery);
        }
        self.lanes.apply(step, at_ms);
        let key = match step {
            Step::Queued { delivery, .. } => Some(delivery.key.clone()),
            _ => None,
        };
        self.change(name, |entry| {
            entry.fired += 1;
            entry.last_ms = Some(wall_ms);
            if schedule.overlap != Overlap::Allow {
                entry.running = key;
            }
            advance(entry, nominal, origin);
        });
    }

    fn ended(&mut self, name: &str, key: &str) {
        self.change(name, |entry| {
            if entry.running.as_deref() == Some(key) {
                entry.running = None;
            }
        });
        self.forget_done(name);
    }

    fn delivered(&mut self, happening: &Happening) {
        self.steady.seen(happening.at_ms, happening.wall_ms);
        self.totals.count(&happening.steps);
        for step in &happening.steps {
            let over = match step {
                Step::Settled { owner, key, end: End::Dead { .. } } => Some((owner, key)),
                // An event that was published does not run; an intent that was submitted does.
                Step::Settled { owner, key, end: End::Done } => {
                    let delivery = self.lanes.get(owner).and_then(|lane| lane.flying.get(key));
                    let published = |work: &Work| !matches!(work, Work::Submit { .. });
                    delivery.is_some_and(|delivery| published(&delivery.work)).then_some((owner, key))
                }
                _ => None,
            };
            self.lanes.apply(step, happening.at_ms);
            if let Some((owner, key)) = over {
                self.ended(owner, key);
            }
        }
        for step in &happening.steps {
            if let Step::Settled { owner, .. } | Step::Discarded { owner, .. } = step {
                let is_empty = |lane: &crate::delivery::lane::Lane| {
                    lane.is_idle() && matches!(lane.breaker, Breaker::Fresh)
                };
                if self.lanes.get(owner).is_some_and(is_empty) {
                    self.lanes.remove(owner);
                }
                self.forget_done(owner);
            }
        }
    }

    /// A delay that is over and done leaves nothing behind. A `once` stays, so that giving it again does not fire it again, and so does
    /// what the manifest declares: it is declared anew at every start.
    fn forget_done(&mut self, name: &str) {
        let is_done = |entry: &Entry| {
            entry.next.is_none()
                && entry.running.is_none()
                && entry.held.is_none()
                && !entry.schedule.is_wall()
                && !entry.declared
        };
        if self.schedules.get(name).is_some_and(is_done) && self.lanes.get(name).is_none() {
            self.drop_schedule(name);
        }
    }

    fn drop_schedule(&mut self, name: &str) {
        let gone = self.schedules.remove(name).map_or(0, |entry| entry.generation);
        self.past_generation = self.past_generation.max(gone);
    }
}

/// An occurrence is over.
fn pass(entry: &mut Entry, nominal: Nominal) {
    if let Nominal::At(at) = nominal {
        entry.past_ms = entry.past_ms.max(at);
    }
}

fn advance(entry: &mut Entry, nominal: Nominal, origin: Origin) {
    match origin {
        Origin::Time { next } => {
            pass(entry, nominal);
            entry.next = next;
        }
        Origin::Held => entry.held = None,
        Origin::Asked => entry.asked += 1,
    }
}
