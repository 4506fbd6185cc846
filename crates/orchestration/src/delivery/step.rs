//! The steps that lanes take: parts of the events of the decider that holds them, how they are decided, and what they change.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use grace_types::{
    chance::{Entropy as _, SeededEntropy},
    event::Event,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{
    action::Work,
    breaker::{Breaker, Change},
    lane::{DeadLetter, Delivery, Lane, Settings},
};
use crate::limits;

/// One step of one lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// A delivery was taken in.
    Queued {
        /// Whose.
        owner: String,
        /// Which.
        delivery: Delivery,
        /// Whether it begins at once.
        start: bool,
    },
    /// Deliveries that waited begin.
    Started {
        /// Whose.
        owner: String,
        /// Which.
        keys: Vec<String>,
        /// Whether it is the breaker's trial.
        trial: bool,
    },
    /// An attempt ended.
    Settled {
        /// Whose.
        owner: String,
        /// Which.
        key: String,
        /// How.
        end: End,
    },
    /// A delivery could not even be taken in, and stands among the dead letters.
    Dead {
        /// Whose.
        owner: String,
        /// Which.
        delivery: Delivery,
        /// Why.
        reason: String,
        /// When.
        time: Timestamp,
    },
    /// A breaker opened, tries, or closed.
    Breaker {
        /// Whose.
        owner: String,
        /// What changed.
        change: Change,
    },
    /// Dead letters wait again.
    Requeued {
        /// Whose.
        owner: String,
        /// Which.
        keys: Vec<String>,
    },
    /// Dead letters were thrown away by an operator.
    Discarded {
        /// Whose.
        owner: String,
        /// Which.
        keys: Vec<String>,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    /// It is done.
    Done,
    /// It failed and is tried again.
    Retry {
        /// When, steady milliseconds.
        due_ms: u64,
        /// Why it failed.
        reason: String,
    },
    /// It failed and is given up.
    Dead {
        /// Why.
        reason: String,
        /// Whether it failed for what is in it, which says nothing about the road.
        lasting: bool,
        /// When.
        time: Timestamp,
    },
}

/// What became of an attempt, as its performer reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whose.
    pub owner: String,
    /// Which.
    pub key: String,
    /// Why it failed; `None` when it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Whether trying again is of no use: an intent was refused for what is in it.
    #[serde(default)]
    pub lasting: bool,
}

/// What is to be performed outside. At least once; the key makes it once.
#[derive(Debug, Clone, PartialEq)]
pub struct Perform {
    /// Whose.
    pub owner: String,
    /// What, with its key.
    pub delivery: Delivery,
}

/// Lanes by owner. Part of a decider's state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Lane>", into = "BTreeMap<String, Lane>")]
pub struct Lanes {
    lanes: BTreeMap<String, Lane>,
    /// When each lane that waits may go on. Made from the lanes.
    ready: BTreeSet<(u64, String)>,
    readiness: HashMap<String, u64>,
    bytes: u64,
}

impl From<BTreeMap<String, Lane>> for Lanes {
    fn from(lanes: BTreeMap<String, Lane>) -> Self {
        let bytes = lanes.values().map(|lane| lane.bytes).sum();
        let mut made = Self { lanes, bytes, ..Self::default() };
        let owners: Vec<String> = made.lanes.keys().cloned().collect();
        for owner in owners {
            made.refresh(&owner);
        }
        made
    }
}

impl From<Lanes> for BTreeMap<String, Lane> {
    fn from(lanes: Lanes) -> Self {
        lanes.lanes
    }
}

impl Lanes {
    /// The owner's lane.
    #[must_use]
    pub fn get(&self, owner: &str) -> Option<&Lane> {
        self.lanes.get(owner)
    }

    /// All, by owner.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Lane)> {
        self.lanes.iter()
    }

    /// Gives the owner a lane, or its lane other settings.
    pub fn configure(&mut self, owner: &str, settings: &Settings) {
        self.lanes.entry(owner.to_owned()).or_default().settings = settings.clone();
        self.refresh(owner);
    }

    /// Takes the owner's lane away, with everything in it.
    pub fn remove(&mut self, owner: &str) {
        let bytes = self.lanes.remove(owner).map_or(0, |lane| lane.bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.refresh(owner);
    }

    /// Bytes of all work, dead letters included.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When a lane may go on next, steady milliseconds; 0 for at once.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.ready.first().map(|(ready, _)| *ready)
    }

    /// Everything under way: what is performed again after a restart.
    #[must_use]
    pub fn under_way(&self) -> Vec<Perform> {
        let each = |(owner, lane): (&String, &Lane)| {
            let flying = lane.flying.values();
            flying
                .map(|delivery| Perform { owner: owner.clone(), delivery: delivery.clone() })
                .collect::<Vec<_>>()
        };
        self.lanes.iter().flat_map(each).collect()
    }

    /// What a step that was recorded asks to be performed.
    #[must_use]
    pub fn performs(&self, step: &Step) -> Vec<Perform> {
        let of = |owner: &str, key: &str| {
            let delivery = self.lanes.get(owner)?.flying.get(key)?.clone();
            Some(Perform { owner: owner.to_owned(), delivery })
        };
        match step {
            Step::Queued { owner, delivery, start: true } => of(owner, &delivery.key).into_iter().collect(),
            Step::Started { owner, keys, .. } => keys.iter().filter_map(|key| of(owner, key)).collect(),
            _ => Vec::new(),
        }
    }

    /// The steps by which lanes that may go on do, at most `most` deliveries.
    #[must_use]
    pub fn start(&self, at_ms: u64, most: usize) -> Vec<Step> {
        let (mut steps, mut left) = (Vec::new(), most);
        for (_, owner) in self.ready.iter().take_while(|(ready, _)| *ready <= at_ms) {
            let Some(lane) = self.lanes.get(owner) else { continue };
            let (room, trial) = lane.room(at_ms);
            let due = lane.later.range(..=(at_ms, u64::MAX)).map(|(_, delivery)| delivery);
            let keys: Vec<String> =
                due.chain(&lane.waiting).take(room.min(left)).map(|delivery| delivery.key.clone()).collect();
            if keys.is_empty() {
                continue;
            }
            left -= keys.len();
            if trial && matches!(lane.breaker, Breaker::Open { .. }) {
                steps.push(Step::Breaker { owner: owner.clone(), change: Change::HalfOpened });
            }
            steps.push(Step::Started { owner: owner.clone(), keys, trial });
            if left == 0 {
                break;
            }
        }
        steps
    }

    /// The steps that reports of attempts lead to. Reports about what is not under way are ignored: they are repeats.
    #[must_use]
    pub fn settle(&self, reports: &[Report], at_ms: u64, time: Timestamp, chance: u64) -> Vec<Step> {
        let mut entropy = SeededEntropy::new(chance);
        let (mut steps, mut breakers) = (Vec::new(), HashMap::<&str, Breaker>::new());
        let mut settled = BTreeSet::new();
        for report in reports {
            let Some(lane) = self.lanes.get(&report.owner) else { continue };
            let Some(delivery) = lane.flying.get(&report.key) else { continue };
            if !settled.insert((&report.owner, &report.key)) {
                continue;
            }
            let end = match &report.failed {
                None => End::Done,
                Some(reason) if report.lasting => End::Dead { reason: reason.clone(), lasting: true, time },
                Some(reason) if delivery.attempts >= lane.settings.retry.attempts => {
                    let reason = format!("{} attempts failed, the last one: {reason}", delivery.attempts);
                    End::Dead { reason, lasting: false, time }
                }
                Some(reason) => End::Retry {
                    due_ms: lane.retry_ms(delivery.attempts, at_ms, entropy.next_u64()),
                    reason: reason.clone(),
                },
            };
            let failed = report.failed.as_deref().filter(|_| !report.lasting);
            steps.push(Step::Settled { owner: report.owner.clone(), key: report.key.clone(), end });
            let breaker = breakers.entry(&report.owner).or_insert_with(|| lane.breaker.clone());
            let change = breaker.judge(&lane.settings.breaker, failed, at_ms);
            breaker.note(failed.is_some());
            if let Some(change) = change {
                breaker.change(&change);
                steps.push(Step::Breaker { owner: report.owner.clone(), change });
            }
        }
        steps
    }

    /// The steps by which dead letters wait again: those of `keys`, or all, oldest first, as far as the queue has room. `render`
    /// makes the work of those that could not be rendered; those that it gives nothing for stay where they are.
    #[must_use]
    pub fn requeue(
        &self,
        owner: &str,
        keys: Option<&[String]>,
        render: impl Fn(&Event) -> Option<Work>,
    ) -> Vec<Step> {
        let Some(lane) = self.lanes.get(owner) else { return Vec::new() };
        let room = usize::try_from(lane.settings.queue).unwrap_or(usize::MAX).saturating_sub(lane.depth());
        let chosen = chosen(lane, keys).take(room.min(limits::STARTS));
        let (mut ready, mut steps) = (Vec::new(), Vec::new());
        for delivery in chosen {
            let Work::Unrendered { event } = &delivery.work else {
                ready.push(delivery.key.clone());
                continue;
            };
            if let Some(work) = render(event) {
                let (owner, keys) = (owner.to_owned(), vec![delivery.key.clone()]);
                steps.push(Step::Discarded { owner: owner.clone(), keys });
                steps.push(Step::Queued {
                    owner,
                    delivery: Delivery { work, ..delivery.clone() },
                    start: false,
                });
            }
        }
        if !ready.is_empty() {
            steps.push(Step::Requeued { owner: owner.to_owned(), keys: ready });
        }
        steps
    }

    /// The step by which dead letters are thrown away: those of `keys`, or all.
    #[must_use]
    pub fn discard(&self, owner: &str, keys: Option<&[String]>) -> Option<Step> {
        let keys: Vec<String> =
            chosen(self.lanes.get(owner)?, keys).map(|letter| letter.key.clone()).collect();
        (!keys.is_empty()).then(|| Step::Discarded { owner: owner.to_owned(), keys })
    }

    /// Takes a step that was recorded at `at_ms`.
    pub fn apply(&mut self, step: &Step, at_ms: u64) {
        let owner = match step {
            Step::Queued { owner, .. }
            | Step::Started { owner, .. }
            | Step::Settled { owner, .. }
            | Step::Dead { owner, .. }
            | Step::Breaker { owner, .. }
            | Step::Requeued { owner, .. }
            | Step::Discarded { owner, .. } => owner,
        };
        if let Some(lane) = self.lanes.get_mut(owner) {
            let before = lane.bytes;
            take(lane, step, at_ms);
            self.bytes = self.bytes.saturating_sub(before).saturating_add(lane.bytes);
            self.refresh(owner);
        }
    }

    fn refresh(&mut self, owner: &str) {
        let ready = self.lanes.get(owner).and_then(Lane::ready_ms);
        let before = match ready {
            Some(ready) => self.readiness.insert(owner.to_owned(), ready),
            None => self.readiness.remove(owner),
        };
        if before == ready {
            return;
        }
        if let Some(before) = before {
            self.ready.remove(&(before, owner.to_owned()));
        }
        if let Some(ready) = ready {
            self.ready.insert((ready, owner.to_owned()));
        }
    }
}

fn take(lane: &mut Lane, step: &Step, at_ms: u64) {
    match step {
        Step::Queued { delivery, start, .. } => {
            lane.bytes += delivery.work.weight() as u64;
            if *start {
                begin(lane, delivery.clone(), at_ms, false);
            } else {
                lane.waiting.push_back(delivery.clone());
            }
        }
        Step::Started { keys, trial, .. } => {
            for key in keys {
                if let Some(delivery) = take_waiting(lane, key) {
                    begin(lane, delivery, at_ms, *trial);
                }
            }
        }
        Step::Settled { key, end, .. } => {
            let Some(delivery) = lane.flying.remove(key) else { return };
            let failed = match end {
                End::Done => false,
                End::Retry { .. } => true,
                End::Dead { lasting, .. } => !lasting,
            };
            lane.breaker.note(failed);
            match end {
                End::Done => {
                    lane.bytes = lane.bytes.saturating_sub(delivery.work.weight() as u64);
                    lane.done += 1;
                }
                End::Retry { due_ms, .. } => {
                    lane.number += 1;
                    lane.later.insert((*due_ms, lane.number), delivery);
                }
                End::Dead { reason, time, .. } => {
                    lane.dead.push_back(DeadLetter { delivery, reason: reason.clone(), time: *time });
                }
            }
        }
        Step::Dead { delivery, reason, time, .. } => {
            lane.bytes += delivery.work.weight() as u64;
            lane.dead.push_back(DeadLetter {
                delivery: delivery.clone(),
                reason: reason.clone(),
                time: *time,
            });
        }
        Step::Breaker { change, .. } => lane.breaker.change(change),
        Step::Requeued { keys, .. } => {
            for mut letter in remove_dead(lane, keys) {
                letter.delivery.attempts = 0;
                lane.waiting.push_back(letter.delivery);
            }
        }
        Step::Discarded { keys, .. } => {
            for letter in remove_dead(lane, keys) {
                lane.bytes = lane.bytes.saturating_sub(letter.delivery.work.weight() as u64);
            }
        }
    }
}

fn begin(lane: &mut Lane, mut delivery: Delivery, at_ms: u64, trial: bool) {
    if let Some(rate) = &lane.settings.rate {
        lane.bucket.take(rate, at_ms, 1);
    }
    if trial {
        lane.breaker.begin_trial();
    }
    delivery.attempts += 1;
    lane.flying.insert(delivery.key.clone(), delivery);
}

fn take_waiting(lane: &mut Lane, key: &str) -> Option<Delivery> {
    // What begins stands at the front of one of the two.
    if lane.waiting.front().is_some_and(|delivery| delivery.key == key) {
        return lane.waiting.pop_front();
    }
    if let Some(place) = lane.later.iter().find(|(_, delivery)| delivery.key == key).map(|(place, _)| *place)
    {
        return lane.later.remove(&place);
    }
    let at = lane.waiting.iter().position(|delivery| delivery.key == key)?;
    lane.waiting.remove(at)
}

fn remove_dead(lane: &mut Lane, keys: &[String]) -> Vec<DeadLetter> {
    let keys: BTreeSet<&String> = keys.iter().collect();
    let (taken, kept) = lane.dead.drain(..).partition(|letter| keys.contains(&letter.delivery.key));
    lane.dead = kept;
    taken.into()
}

fn chosen<'l>(lane: &'l Lane, keys: Option<&'l [String]>) -> impl Iterator<Item = &'l Delivery> {
    let all = lane.dead.iter().map(|letter| &letter.delivery);
    all.filter(move |delivery| keys.is_none_or(|keys| keys.contains(&delivery.key)))
}

/// What becomes of deliveries that one decision takes in: the lanes do not change until it is recorded.
pub struct Intake<'l> {
    lanes: &'l Lanes,
    at_ms: u64,
    taken: HashMap<&'l str, Taken>,
    /// Bytes of all work that waits.
    bytes: u64,
}

#[derive(Default, Clone, Copy)]
struct Taken {
    started: usize,
    queued: usize,
    dead: usize,
    bytes: u64,
}

/// Where a delivery goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It begins at once.
    Flight,
    /// It waits.
    Queue,
    /// The queue is full: among the dead letters.
    DeadLetters,
    /// There is no room even there: it must not be taken in. Nobody else is kept from what he wants by that.
    Nowhere,
}

impl<'l> Intake<'l> {
    /// At this moment.
    #[must_use]
    pub fn new(lanes: &'l Lanes, at_ms: u64) -> Self {
        Self { lanes, at_ms, taken: HashMap::new(), bytes: lanes.bytes() }
    }

    /// Takes a delivery of the owner's in, at `time`; as a dead letter where `dead` says why it can be nothing else. `None` where there is no
    /// room.
    pub fn take(
        &mut self,
        owner: &'l str,
        delivery: Delivery,
        dead: Option<String>,
        time: Timestamp,
    ) -> Option<Step> {
        let bytes = delivery.work.weight();
        if self.bytes + bytes as u64 > limits::DELIVERY_BYTES {
            return None;
        }
        let place = self.place(owner, dead.is_some(), bytes);
        let owner = owner.to_owned();
        let step = match place {
            Place::Flight => Step::Queued { owner, delivery, start: true },
            Place::Queue => Step::Queued { owner, delivery, start: false },
            Place::DeadLetters => {
                let reason = dead.unwrap_or_else(|| "the queue is full".to_owned());
                Step::Dead { owner, delivery, reason, time }
            }
            Place::Nowhere => return None,
        };
        self.bytes += bytes as u64;
        Some(step)
    }

    /// Where the owner's next delivery of so many bytes goes; `dead` for one that can only be a dead letter.
    pub(super) fn place(&mut self, owner: &'l str, dead: bool, bytes: usize) -> Place {
        let Some(lane) = self.lanes.get(owner) else { return Place::Nowhere };
        let taken = self.taken.entry(owner).or_default();
        let all = taken.bytes + bytes as u64;
        if lane.bytes + all > limits::LANE_BYTES {
            return Place::Nowhere;
        }
        let place = taken.place(lane, dead, self.at_ms);
        if place != Place::Nowhere {
            taken.bytes = all;
        }
        place
    }
}

impl Taken {
    fn place(&mut self, lane: &Lane, dead: bool, at_ms: u64) -> Place {
        if !dead {
            let (room, trial) = lane.room(at_ms);
            if !trial && lane.depth() == 0 && self.queued == 0 && self.started < room {
                self.started += 1;
                return Place::Flight;
            }
            if lane.depth() + self.queued < usize::try_from(lane.settings.queue).unwrap_or(usize::MAX) {
                self.queued += 1;
                return Place::Queue;
            }
        }
        if lane.dead.len() + self.dead < limits::LANE_DEAD_LETTERS {
            self.dead += 1;
            return Place::DeadLetters;
        }
        Place::Nowhere
    }
}
