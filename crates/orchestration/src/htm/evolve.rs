//! An event into the state. Total: an event that names what is not there changes nothing.

use std::sync::Arc;

use super::{
    TaskId,
    event::{Dispatch, DoneBy, Event, NewIntent, NewType, Next, Offer, Origin, What},
    index::Timer,
    state::{Course, Ending, Intent, Pinned, Stage, State, Task, Type, Worker},
};
use crate::{intent::Definition, limits};

impl State {
    /// Takes an event into the state.
    pub(super) fn take(&mut self, event: &Event) {
        self.index.just_ended.clear();
        let gap = event.at.saturating_sub(self.base.now);
        self.base.now = self.base.now.max(event.at);
        match &event.what {
            What::Configured { boot, offset, era, settings } => {
                if self.base.offset.is_none() {
                    self.base.era = *era;
                }
                self.base.boot.clone_from(boot);
                self.base.offset = Some(*offset);
                self.base.settings = settings.clone();
                self.forgive(gap);
            }
            What::TypesDefined { changed, retired } => self.define(changed, retired),
            What::Submitted { intents } => {
                let mut origin: Option<&Arc<Origin>> = None;
                for intent in intents {
                    origin = if intent.origin_as_before { origin } else { intent.origin.as_ref() };
                    self.submitted(intent, origin.cloned());
                }
            }
            What::WorkerJoined { number, worker } => self.joined(*number, worker),
            What::WorkerSeen { worker } => self.seen(*worker),
            What::WorkerGone { worker, lost, .. } => self.gone(*worker, *lost),
            What::Dispatched { to, fairness } => {
                self.base.fairness = *fairness;
                to.iter().for_each(|dispatch| self.dispatched(dispatch));
            }
            What::TasksDone { by } => {
                for DoneBy { worker, tasks } in by {
                    self.seen(*worker);
                    if let Some(worker) = self.workers.get_mut(worker) {
                        worker.done += tasks.len() as u64;
                    }
                    for done in tasks {
                        self.succeeded(done.task, done.output.clone());
                    }
                }
            }
            What::TaskFailed { task, reason, next, .. } => self.failed(*task, reason, *next),
            What::LeasesExtended { worker, tasks } => {
                self.seen(*worker);
                for (task, until) in tasks {
                    self.set_stage(*task, Stage::Leased { worker: *worker, until: *until });
                }
            }
            What::AnswersRefused { worker, answers } => {
                self.base.totals.answers_refused += answers.len() as u64;
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.refused = event.at;
                }
            }
            What::IntentCancelled { intent, reason } => self.unwind(*intent, Ending::Cancelled, reason),
            What::TaskRequeued { task } => self.requeued(*task),
            What::DelaysOver { tasks } => tasks.iter().for_each(|task| self.set_waiting_last(*task)),
            What::DeadlinesMissed { intents } => {
                for id in intents {
                    if let Some(intent) = self.intents.get_mut(id).filter(|intent| !intent.late) {
                        intent.late = true;
                        self.base.totals.deadlines_missed += 1;
                        self.index.timers.remove(&(intent.deadline.unwrap_or(0), Timer::Deadline(*id)));
                    }
                }
            }
            What::TypePaused { name, reason } => {
                if let Some(kind) = self.types.get_mut(name.as_str()) {
                    kind.paused = Some(reason.clone());
                }
            }
            What::TypeResumed { name } => {
                if let Some(kind) = self.types.get_mut(name.as_str()) {
                    kind.paused = None;
                }
            }
            What::BacklogChanged { level, .. } => self.base.level = *level,
            What::ReserveBegun => self.base.reserve = Some(event.at),
            What::ReserveOver => self.thaw(),
        }
    }

    /// Time in which no task manager was there does not count against workers.
    fn forgive(&mut self, gap: u64) {
        let mut held: Vec<TaskId> = self.index.held.values().flatten().copied().collect();
        // Those that stand still are forgiven all of it when they go on.
        held.retain(|task| self.base.reserve.is_none() || self.is_of_emergency(*task));
        for task in held {
            if let Some((_, Task { stage: Stage::Leased { worker, until }, .. })) = self.task(task) {
                let stage = Stage::Leased { worker: *worker, until: until.saturating_add(gap) };
                self.set_stage(task, stage);
            }
        }
        // The time of silence may have changed, too.
        self.index.timers.retain(|(_, timer)| !matches!(timer, Timer::Silence(_)));
        for (number, worker) in &mut self.workers {
            worker.seen = self.base.now;
            let due = worker.seen + self.base.settings.worker_silence_ms;
            self.index.timers.insert((due, Timer::Silence(*number)));
        }
    }

    fn define(&mut self, changed: &[NewType], retired: &[String]) {
        for name in retired {
            if let Some(kind) = self.types.get_mut(name.as_str()) {
                kind.retired = true;
            }
        }
        for NewType { number, name, source } in changed {
            self.base.next_definition = self.base.next_definition.max(*number + 1);
            // It compiled when it was recorded. Should a later version of this program refuse it, the one before stays.
            let Ok(definition) = Definition::compile(name, source.clone()) else { continue };
            let name = Arc::clone(&definition.name);
            let pin = Pinned { number: *number, definition: Arc::new(definition), needs: Vec::new() };
            self.definitions.insert(*number, Arc::new(pin));
            let fresh = Type { definition: *number, retired: false, paused: None, arrival_ns: 0 };
            let kind = self.types.entry(name).or_insert(fresh);
            kind.definition = *number;
            kind.retired = false;
        }
        let in_force: Vec<u32> = self.types.values().map(|kind| kind.definition).collect();
        let uses = &self.index.uses;
        self.definitions.retain(|number, _| uses.contains_key(number) || in_force.contains(number));
        // Caps and needs may be others now.
        self.reindex();
    }

    fn submitted(&mut self, new: &NewIntent, origin: Option<Arc<Origin>>) {
        if new.id.era() == self.base.era {
            self.base.next_intent = self.base.next_intent.max(new.id.number() + 1);
        }
        let Some(pin) = self.definitions.get(&new.definition).cloned() else { return };
        let definition = Arc::clone(&pin.definition);
        let task = |(n, spec): (usize, &crate::intent::TaskSpec)| Task {
            stage: if n < definition.forward { Stage::Blocked(spec.missing) } else { Stage::Dormant },
            place: 0,
            token: 0,
            attempts: 0,
            losses: 0,
            output: None,
            reason: None,
        };
        let intent = Intent {
            actor: self.shared_actor(&new.actor),
            key: new.key.as_deref().map(Into::into),
            payload: new.payload.clone(),
            priority: new.priority,
            submitted: self.base.now,
            deadline: new.deadline,
            late: false,
            shares: new.shares.as_deref().map(Into::into),
            origin: self.shared_origin(origin),
            course: Course::Running,
            reason: None,
            open: u16::try_from(definition.forward).unwrap_or(u16::MAX),
            leased: 0,
            done: 0,
            ended: 0,
            tasks: definition.tasks.iter().enumerate().map(task).collect(),
            pin,
        };
        if let Some(key) = &intent.key {
            self.index.keys.insert(Arc::clone(key), (new.id, intent.fingerprint()));
        }
        if let Some(deadline) = intent.deadline {
            self.index.timers.insert((deadline, Timer::Deadline(new.id)));
        }
        *self.index.uses.entry(new.definition).or_default() += 1;
        self.index.open += definition.forward as u64;
        if intent.is_emergency() {
            self.index.emergencies.insert(new.id);
        }
        self.intents.insert(new.id, intent);
        self.base.totals.submitted += 1;
        for (n, spec) in (0..).zip(&definition.tasks[..definition.forward]) {
            match new.start {
                _ if spec.missing > 0 => {}
                Some(start) => self.set_stage(new.id.task(n), Stage::Delayed(start)),
                None => self.set_waiting_last(new.id.task(n)),
            }
        }
    }

    fn joined(&mut self, number: u32, offer: &Offer) {
        if let Some((before, _)) = self.worker_named(&offer.name) {
            self.gone(before, true);
        }
        self.base.next_worker = self.base.next_worker.max(number + 1);
        let name: Arc<str> = offer.name.as_str().into();
        let worker = Worker {
            name: Arc::clone(&name),
            incarnation: offer.incarnation.clone(),
            kinds: offer.kinds.iter().map(|kind| kind.as_str().into()).collect(),
            labels: offer.labels.iter().map(|label| label.as_str().into()).collect(),
            slots: offer.slots,
            joined: self.base.now,
            seen: self.base.now,
            request: None,
            granted: Vec::new(),
            refused: 0,
            done: 0,
            failed: 0,
        };
        self.index.names.insert(name, number);
        let due = worker.seen + self.base.settings.worker_silence_ms;
        self.index.timers.insert((due, Timer::Silence(number)));
        self.workers.insert(number, worker);
    }

    fn seen(&mut self, number: u32) {
        let silence = self.base.settings.worker_silence_ms;
        if let Some(worker) = self.workers.get_mut(&number)
            && worker.seen < self.base.now
        {
            self.index.timers.remove(&(worker.seen + silence, Timer::Silence(number)));
            worker.seen = self.base.now;
            self.index.timers.insert((worker.seen + silence, Timer::Silence(number)));
        }
    }

    fn gone(&mut self, number: u32, lost: bool) {
        let held: Vec<TaskId> = self.index.held.get(&number).into_iter().flatten().copied().collect();
        for task in held {
            self.given_back(task, lost);
        }
        if let Some(worker) = self.workers.remove(&number) {
            self.index.names.remove(&worker.name);
            let due = worker.seen + self.base.settings.worker_silence_ms;
            self.index.timers.remove(&(due, Timer::Silence(number)));
        }
    }

    /// A task whose worker is gone: back to its place in the queue, unless that happened too often.
    fn given_back(&mut self, id: TaskId, lost: bool) {
        let Some((intent, at)) = self.task_mut(id) else { return };
        let task = &mut intent.tasks[at];
        if lost {
            task.losses = task.losses.saturating_add(1);
        } else {
            // A worker that left has done nothing wrong, and neither has its task: it was no attempt.
            task.attempts = task.attempts.saturating_sub(1);
        }
        task.reason = Some(if lost { "the worker was lost" } else { "the worker left" }.into());
        let too_often = task.losses >= limits::LOSSES;
        self.base.totals.leases_lost += u64::from(lost);
        if too_often {
            let reason = format!("{} workers were lost while they had it", limits::LOSSES);
            self.failed(id, &reason, Next::Dead);
        } else if self.is_wanted(id) {
            self.set_stage(id, Stage::Waiting);
        } else {
            self.set_stage(id, Stage::Cancelled);
            self.proceed(id.intent);
        }
    }

    fn dispatched(&mut self, dispatch: &Dispatch) {
        let Dispatch { worker, tasks, request, .. } = dispatch;
        for granted in tasks {
            self.granted(*worker, granted.task, granted.token);
        }
        self.seen(*worker);
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.request = request.as_deref().map(Into::into);
            worker.granted = if request.is_some() { tasks.clone() } else { Vec::new() };
        }
    }

    fn granted(&mut self, worker: u32, id: TaskId, token: u64) {
        self.base.last_token = self.base.last_token.max(token);
        self.base.totals.dispatched += 1;
        let (now, grace) = (self.base.now, self.base.settings.lease_grace_ms);
        let Some((intent, at)) = self.task_mut(id) else { return };
        let timeout = intent.pin.definition.tasks.get(at).map_or(0, |spec| spec.timeout_ms);
        let name = Arc::clone(&intent.pin.definition.name);
        let task = &mut intent.tasks[at];
        task.token = token;
        task.attempts = task.attempts.saturating_add(1);
        self.set_stage(id, Stage::Leased { worker, until: now + timeout + grace });
        self.started(&name);
    }

    /// Counts a start against its type's rate.
    fn started(&mut self, name: &Arc<str>) {
        let now = self.base.now.saturating_mul(1_000_000);
        let Some(kind) = self.types.get_mut(name) else { return };
        if let Some(rate) = self.definitions.get(&kind.definition).and_then(|pin| pin.definition.rate) {
            kind.arrival_ns = kind.arrival_ns.max(now).saturating_add(rate.interval_ns);
        }
    }

    /// One origin for all intents in a row that were approved alike.
    fn shared_origin(&self, origin: Option<Arc<Origin>>) -> Option<Arc<Origin>> {
        let last = self.intents.last().and_then(|intent| intent.origin.as_ref());
        last.filter(|last| Some(*last) == origin.as_ref()).cloned().or(origin)
    }

    /// One text for all intents of an actor who sends many in a row.
    fn shared_actor(&self, actor: &str) -> Arc<str> {
        let last = self.intents.last().map(|intent| &intent.actor);
        last.filter(|last| ***last == *actor).cloned().unwrap_or_else(|| actor.into())
    }
}
