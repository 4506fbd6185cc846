//! What can be found from the state by rule: queues, timers, who has what. Kept up to date with every change, and built anew
//! after a snapshot was read; both ways give the same.
//!
//! Waiting tasks stand in lanes: one lane for each type and each need (kind and labels), so that a type that is paused or at its
//! cap is passed over at once, however much of it waits. In a lane, each priority is ordered by place. Of tasks that share a
//! concurrency key only as many stand in the lane as may run; the rest is parked behind them. A task that comes last or goes first costs
//! the same however many stand in its lane; anything else costs O(log n).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    IntentId, TaskId, fairness,
    line::Line,
    state::{Ending, Intent, PastKey, Pinned, Stage, State, Type},
};
use crate::{intent::Needs, limits};

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Workers by name.
    pub(super) names: BTreeMap<Arc<str>, u32>,
    /// What each worker has.
    pub(super) held: BTreeMap<u32, BTreeSet<TaskId>>,
    /// Idempotency keys, of intents that are known and of those that were forgotten.
    pub(super) keys: HashMap<Arc<str>, (IntentId, u64)>,
    /// Needs by number.
    pub(super) needs: Vec<Needs>,
    pub(super) needs_numbers: BTreeMap<Needs, u32>,
    /// Intents that have each definition.
    pub(super) uses: BTreeMap<u32, u64>,
    /// Lanes with something in them.
    pub(super) lanes: BTreeMap<(Arc<str>, u32), Lane>,
    shared: HashMap<SharedKey, Shared>,
    /// Tasks with a worker, by type.
    pub(super) running: BTreeMap<Arc<str>, u32>,
    pub(super) timers: BTreeSet<(u64, Timer)>,
    /// Intents that are over without a dead letter, and with one.
    pub(super) ended: Over,
    pub(super) dead: Over,
    /// Intents of emergencies that are not over.
    pub(super) emergencies: BTreeSet<IntentId>,
    /// Tasks that wait for a time.
    pub(super) delayed: u64,
    /// Waiting tasks by priority.
    pub(super) waiting: [u64; 4],
    /// Tasks that are not over.
    pub(super) open: u64,
    /// Intents that the last event ended.
    pub(super) just_ended: Vec<(IntentId, Ending)>,
}

/// Waiting tasks of one type with one need, by priority and place.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) queues: [Line; 4],
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.queues.iter().all(Line::is_empty)
    }
}

type Definitions = BTreeMap<u32, Arc<Pinned>>;

/// A type and a concurrency key.
type SharedKey = (Arc<str>, Arc<str>);

/// Tasks that share a concurrency key.
#[derive(Debug, Default, PartialEq)]
struct Shared {
    leased: u32,
    /// Those that stand in their lane, and those behind: by priority and place, with the lane's need.
    admitted: BTreeMap<(usize, u64), (TaskId, u32)>,
    parked: BTreeMap<(usize, u64), (TaskId, u32)>,
}

/// What is due at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A wait is over.
    Delay(TaskId),
    /// A lease ends.
    Lease(TaskId),
    /// An intent is late.
    Deadline(IntentId),
    /// A worker has been silent for too long.
    Silence(u32),
}

impl Index {
    /// The number of a need.
    pub(super) fn intern(&mut self, needs: &Needs) -> u32 {
        if let Some(number) = self.needs_numbers.get(needs) {
            return *number;
        }
        let number = u32::try_from(self.needs.len()).unwrap_or(u32::MAX);
        self.needs.push(needs.clone());
        self.needs_numbers.insert(needs.clone(), number);
        number
    }

    /// Takes note that a task is at a stage. `cap` is how many tasks with its intent's concurrency key may run.
    pub(super) fn enter(&mut self, intent: &Intent, id: TaskId, stage: Stage, cap: Option<u32>) {
        self.open += u64::from(stage.is_open());
        match stage {
            Stage::Delayed(due) => {
                self.delayed += 1;
                self.timers.insert((due, Timer::Delay(id)));
            }
            Stage::Waiting => {
                let place = Place::of(intent, id);
                self.waiting[place.rank] += 1;
                match (intent.lane_key(), cap) {
                    (Some(key), Some(cap)) => {
                        let shared = self.shared.entry(key.clone()).or_default();
                        shared.parked.insert((place.rank, place.place), (id, place.need));
                        self.settle(&key, cap);
                    }
                    _ => self.line_up(&intent.pin.definition.name, place, id),
                }
            }
            Stage::Leased { worker, until } => {
                self.timers.insert((until, Timer::Lease(id)));
                self.held.entry(worker).or_default().insert(id);
                self.running(intent, 1, cap);
            }
            _ => {}
        }
    }

    /// Takes note that a task is no more at a stage.
    pub(super) fn leave(&mut self, intent: &Intent, id: TaskId, stage: Stage, cap: Option<u32>) {
        self.open -= u64::from(stage.is_open());
        match stage {
            Stage::Delayed(due) => {
                self.delayed -= 1;
                self.timers.remove(&(due, Timer::Delay(id)));
            }
            Stage::Waiting => {
                let place = Place::of(intent, id);
                self.waiting[place.rank] -= 1;
                let name = &intent.pin.definition.name;
                let (Some(key), Some(cap)) = (intent.lane_key(), cap) else {
                    return self.step_out(name, place);
                };
                if let Some(shared) = self.shared.get_mut(&key)
                    && shared.parked.remove(&(place.rank, place.place)).is_none()
                {
                    shared.admitted.remove(&(place.rank, place.place));
                    self.step_out(name, place);
                }
                self.settle(&key, cap);
            }
            Stage::Leased { worker, until } => {
                self.timers.remove(&(until, Timer::Lease(id)));
                if let Some(held) = self.held.get_mut(&worker) {
                    held.remove(&id);
                    if held.is_empty() {
                        self.held.remove(&worker);
                    }
                }
                self.running(intent, -1, cap);
            }
            _ => {}
        }
    }

    fn running(&mut self, intent: &Intent, step: i32, cap: Option<u32>) {
        let name = &intent.pin.definition.name;
        let count = self.running.entry(Arc::clone(name)).or_default();
        *count = count.saturating_add_signed(step);
        if *count == 0 {
            self.running.remove(name);
        }
        if let (Some(key), Some(cap)) = (intent.lane_key(), cap) {
            let shared = self.shared.entry(key.clone()).or_default();
            shared.leased = shared.leased.saturating_add_signed(step);
            self.settle(&key, cap);
        }
    }

    /// Of the tasks that share a key, the first ones stand in their lanes: as many as may run beside those that do.
    fn settle(&mut self, key: &SharedKey, cap: u32) {
        let Some(mut shared) = self.shared.remove(key) else { return };
        let room = (cap.saturating_sub(shared.leased)) as usize;
        loop {
            let admitted = shared.admitted.len();
            let first_is_behind = matches!(
                (shared.parked.first_key_value(), shared.admitted.last_key_value()),
                (Some((first, _)), Some((last, _))) if first < last
            );
            if admitted > room || admitted == room && first_is_behind {
                let Some(((rank, place), (id, need))) = shared.admitted.pop_last() else { break };
                shared.parked.insert((rank, place), (id, need));
                self.step_out(&key.0, Place { rank, place, need });
            } else if admitted < room
                && let Some(((rank, place), (id, need))) = shared.parked.pop_first()
            {
                shared.admitted.insert((rank, place), (id, need));
                self.line_up(&key.0, Place { rank, place, need }, id);
            } else {
                break;
            }
        }
        if shared != Shared::default() {
            self.shared.insert(key.clone(), shared);
        }
    }

    fn line_up(&mut self, name: &Arc<str>, place: Place, id: TaskId) {
        let lane = self.lanes.entry((Arc::clone(name), place.need)).or_default();
        lane.queues[place.rank].insert(place.place, id);
    }

    fn step_out(&mut self, name: &Arc<str>, place: Place) {
        let lane = (Arc::clone(name), place.need);
        if let Some(found) = self.lanes.get_mut(&lane) {
            found.queues[place.rank].remove(place.place);
            if found.is_empty() {
                self.lanes.remove(&lane);
            }
        }
    }
}

/// Where a waiting task stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    rank: usize,
    place: u64,
    need: u32,
}

impl Place {
    fn of(intent: &Intent, id: TaskId) -> Self {
        let at = usize::from(id.index);
        Self {
            rank: intent.priority_of(id.index).rank(),
            place: intent.tasks.get(at).map_or(0, |task| task.place),
            need: intent.pin.needs.get(at).copied().unwrap_or(u32::MAX),
        }
    }
}

impl Stage {
    /// Whether the task is still to be done.
    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::Blocked(_) | Self::Delayed(_) | Self::Waiting | Self::Leased { .. })
    }
}

impl Intent {
    fn lane_key(&self) -> Option<SharedKey> {
        let key = self.shares.as_ref()?;
        Some((Arc::clone(&self.pin.definition.name), Arc::clone(key)))
    }
}

impl State {
    /// How many tasks with this intent's concurrency key may run.
    fn cap(types: &BTreeMap<Arc<str>, Type>, definitions: &Definitions, intent: &Intent) -> Option<u32> {
        intent.shares.as_ref()?;
        let kind = types.get(&intent.pin.definition.name)?;
        definitions.get(&kind.definition)?.definition.caps.per_key.as_ref().map(|(cap, _)| *cap)
    }

    /// Moves a task to a stage.
    pub(super) fn set_stage(&mut self, id: TaskId, stage: Stage) {
        let Self { intents, index, types, definitions, .. } = self;
        let Some(intent) = intents.get_mut(&id.intent) else { return };
        let cap = Self::cap(types, definitions, intent);
        let Some(task) = intent.tasks.get_mut(usize::from(id.index)) else { return };
        let before = task.stage;
        index.leave(intent, id, before, cap);
        intent.leased -= u16::from(matches!(before, Stage::Leased { .. }));
        intent.leased += u16::from(matches!(stage, Stage::Leased { .. }));
        intent.tasks[usize::from(id.index)].stage = stage;
        index.enter(intent, id, stage, cap);
    }

    /// Puts a task into the queue, behind what came before it and does not matter less.
    pub(super) fn set_waiting_last(&mut self, id: TaskId) {
        let order = self.base.next_place;
        if let Some((intent, at)) = self.task_mut(id) {
            let score = intent.origin.as_ref().and_then(|origin| origin.score);
            intent.tasks[at].place = fairness::place(order, score);
            self.base.next_place += 1;
            self.set_stage(id, Stage::Waiting);
        }
    }

    /// Builds the index anew.
    pub(super) fn reindex(&mut self) {
        let mut index = Index::default();
        for (number, worker) in &self.workers {
            index.names.insert(Arc::clone(&worker.name), *number);
            index
                .timers
                .insert((worker.seen + self.base.settings.worker_silence_ms, Timer::Silence(*number)));
        }
        for PastKey(key, id, fingerprint) in &self.past {
            index.keys.insert(Arc::clone(key), (*id, *fingerprint));
        }
        self.repin(&mut index);
        for (id, intent) in self.intents.iter() {
            let cap = Self::cap(&self.types, &self.definitions, intent);
            *index.uses.entry(intent.pin.number).or_default() += 1;
            if let Some(key) = &intent.key {
                index.keys.insert(Arc::clone(key), (id, intent.fingerprint()));
            }
            if intent.is_emergency() && !intent.is_over() {
                index.emergencies.insert(id);
            }
            if intent.is_over() {
                index.file(id, intent);
            } else if let Some(deadline) = intent.deadline.filter(|_| !intent.late) {
                index.timers.insert((deadline, Timer::Deadline(id)));
            }
            for (n, task) in (0..).zip(&intent.tasks) {
                index.enter(intent, id.task(n), task.stage, cap);
            }
        }
        self.index = index;
    }

    /// Numbers the needs anew.
    fn repin(&mut self, index: &mut Index) {
        let mut renewed = false;
        for pin in self.definitions.values_mut() {
            let needs: Vec<u32> = pin.definition.tasks.iter().map(|task| index.intern(&task.needs)).collect();
            if pin.needs != needs {
                // Definitions are shared with the intents that have them; the copy replaces theirs below.
                let definition = Arc::clone(&pin.definition);
                *pin = Arc::new(Pinned { number: pin.number, definition, needs });
                renewed = true;
            }
        }
        if renewed {
            for intent in self.intents.values_mut() {
                if let Some(pin) = self.definitions.get(&intent.pin.number) {
                    intent.pin = Arc::clone(pin);
                }
            }
        }
    }
}

impl Index {
    /// An intent that is over, among its like.
    pub(super) fn file(&mut self, id: IntentId, intent: &Intent) {
        let dead = intent.tasks.iter().any(|task| task.stage == Stage::Dead);
        let list = if dead { &mut self.dead } else { &mut self.ended };
        list.ids.insert(intent.ended, id);
        list.bytes += intent.bytes();
    }

    /// An intent that is no more over, or about to be forgotten.
    pub(super) fn unfile(&mut self, intent: &Intent) {
        for list in [&mut self.ended, &mut self.dead] {
            if list.ids.remove(&intent.ended).is_some() {
                list.bytes -= intent.bytes();
            }
        }
    }

    /// The oldest of those that are over, if there are too many.
    pub(super) fn past_bounds(&self) -> Option<IntentId> {
        let bounded = |list: &Over, most: usize, bytes: usize| {
            let over = list.ids.len() > most || list.bytes > bytes && list.ids.len() > 1;
            over.then(|| list.ids.first_key_value().map(|(_, id)| *id)).flatten()
        };
        bounded(&self.ended, limits::ENDED, limits::ENDED_BYTES)
            .or_else(|| bounded(&self.dead, limits::DEAD_LETTERS, limits::DEAD_LETTERS_BYTES))
    }
}

/// Intents that are over, by the order of their ends.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Over {
    pub(super) ids: BTreeMap<u64, IntentId>,
    /// What they hold.
    bytes: usize,
}

#[cfg(test)]
impl Index {
    /// Tasks that share keys, without their lanes' numbers.
    pub(super) fn shared_as_text(&self) -> String {
        let sorted: BTreeMap<_, _> = self.shared.iter().collect();
        let ids = |list: &BTreeMap<(usize, u64), (TaskId, u32)>| {
            list.iter().map(|(at, (id, _))| (*at, *id)).collect::<Vec<_>>()
        };
        let list: Vec<_> =
            sorted.iter().map(|(key, s)| (key, s.leased, ids(&s.admitted), ids(&s.parked))).collect();
        format!("{list:?}")
    }
}
