//! How an intent goes on when one of its tasks does.
//!
//! ```text
//! running ─ last task succeeded ───────────────────────────────► over: succeeded
//!    └ a task failed for good, or somebody cancelled it
//!         ─► unwinding: what waits is cancelled, what runs is awaited
//!              ─► compensating: what succeeded is taken back, last first, one by one ─► over: failed or cancelled
//! ```
//!
//! What runs is awaited, since it may succeed: then it has had its effect, which is taken back too. A compensation that fails for
//! good is a dead letter, and the next one is run all the same.

use std::sync::Arc;

use super::{
    IntentId, TaskId,
    event::Next,
    index::Timer,
    state::{Course, Ending, PastKey, Stage, State},
};
use crate::{intent::Json, limits};

impl State {
    /// Whether another attempt at this task is wanted.
    pub(super) fn is_wanted(&self, id: TaskId) -> bool {
        self.intents.get(&id.intent).is_some_and(|intent| match intent.course {
            Course::Running => true,
            Course::Compensating(_) => usize::from(id.index) >= intent.pin.definition.forward,
            Course::Unwinding(_) | Course::Over(_) => false,
        })
    }

    pub(super) fn succeeded(&mut self, id: TaskId, output: Option<Json>) {
        let Some((intent, at)) = self.task_mut(id) else { return };
        let order = intent.done;
        intent.done += 1;
        intent.tasks[at].output = output;
        intent.tasks[at].reason = None;
        let running = intent.course == Course::Running;
        let definition = Arc::clone(&intent.pin.definition);
        intent.open -= u16::from(at < definition.forward);
        self.set_stage(id, Stage::Succeeded(order));
        if running {
            for next in definition.tasks.get(at).iter().flat_map(|spec| &spec.before) {
                let next = id.intent.task(*next);
                match self.task(next).map(|(_, task)| task.stage) {
                    Some(Stage::Blocked(missing @ 2..)) => self.set_stage(next, Stage::Blocked(missing - 1)),
                    Some(Stage::Blocked(_)) => self.set_waiting_last(next),
                    _ => {}
                }
            }
        }
        self.proceed(id.intent);
    }

    pub(super) fn failed(&mut self, id: TaskId, reason: &str, next: Next) {
        self.base.totals.attempts_failed += 1;
        let wanted = self.is_wanted(id);
        let Some((intent, at)) = self.task_mut(id) else { return };
        let Stage::Leased { worker, .. } = intent.tasks[at].stage else {
            // An input that cannot be made fails before there is a lease.
            if intent.tasks[at].stage == Stage::Waiting {
                intent.tasks[at].reason = Some(reason.into());
                self.dead(id, reason);
            }
            return;
        };
        intent.tasks[at].reason = Some(reason.into());
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.failed += 1;
        }
        match next {
            Next::Dead => self.dead(id, reason),
            Next::Retry { due } if wanted => self.set_stage(id, Stage::Delayed(due)),
            Next::Retry { .. } => {
                self.set_stage(id, Stage::Cancelled);
                self.proceed(id.intent);
            }
        }
    }

    fn dead(&mut self, id: TaskId, reason: &str) {
        self.set_stage(id, Stage::Dead);
        let name =
            self.task(id).and_then(|(intent, _)| intent.spec(id.index)).map(|spec| Arc::clone(&spec.name));
        let reason = format!("{} failed for good: {reason}", name.as_deref().unwrap_or_default());
        self.unwind(id.intent, Ending::Failed, &reason);
        self.proceed(id.intent);
    }

    /// The intent is to end so. What waits is cancelled.
    pub(super) fn unwind(&mut self, id: IntentId, ending: Ending, reason: &str) {
        let Some(intent) = self.intents.get_mut(&id) else { return };
        if intent.course != Course::Running {
            return;
        }
        intent.course = Course::Unwinding(ending);
        intent.reason = Some(reason.into());
        let tasks = (0..).zip(&intent.tasks);
        let open: Vec<u16> = tasks
            .filter(|(_, task)| task.stage.is_open() && !matches!(task.stage, Stage::Leased { .. }))
            .map(|(n, _)| n)
            .collect();
        for n in open {
            self.set_stage(id.task(n), Stage::Cancelled);
        }
        self.proceed(id);
    }

    /// Takes the intent's next step, if nothing of it is under way.
    pub(super) fn proceed(&mut self, id: IntentId) {
        let Some(intent) = self.intents.get_mut(&id) else { return };
        match intent.course {
            Course::Running if intent.open == 0 => self.end(id, Ending::Succeeded),
            Course::Unwinding(ending) if intent.leased == 0 => {
                intent.course = Course::Compensating(ending);
                self.compensate(id, ending);
            }
            Course::Compensating(ending) => self.compensate(id, ending),
            _ => {}
        }
    }

    /// Takes back what succeeded last of what is not taken back; ends the intent if there is nothing.
    fn compensate(&mut self, id: IntentId, ending: Ending) {
        let Some(intent) = self.intents.get(&id) else { return };
        let specs = &intent.pin.definition.tasks[..intent.pin.definition.forward];
        if intent.tasks[specs.len()..].iter().any(|task| task.stage.is_open()) {
            return;
        }
        let last = intent.tasks.iter().zip(specs).filter_map(|(task, spec)| {
            let Stage::Succeeded(order) = task.stage else { return None };
            let undo = spec.compensation?;
            let dormant = intent.tasks.get(usize::from(undo))?.stage == Stage::Dormant;
            dormant.then_some((order, undo))
        });
        match last.max() {
            Some((_, undo)) => self.set_waiting_last(id.task(undo)),
            None => self.end(id, ending),
        }
    }

    fn end(&mut self, id: IntentId, ending: Ending) {
        let Some(intent) = self.intents.get_mut(&id) else { return };
        intent.course = Course::Over(ending);
        self.base.ended += 1;
        intent.ended = self.base.ended;
        let total = match ending {
            Ending::Succeeded => &mut self.base.totals.succeeded,
            Ending::Failed => &mut self.base.totals.failed,
            Ending::Cancelled => &mut self.base.totals.cancelled,
        };
        *total += 1;
        if let Some(deadline) = intent.deadline {
            self.index.timers.remove(&(deadline, Timer::Deadline(id)));
        }
        self.index.emergencies.remove(&id);
        self.index.file(id, intent);
        self.index.just_ended.push((id, ending));
        self.forget_oldest();
    }

    fn forget_oldest(&mut self) {
        while let Some(id) = self.index.past_bounds() {
            let Some(intent) = self.intents.get(&id) else { return };
            self.index.unfile(intent);
            self.forget(id);
        }
    }

    /// Forgets an intent that is over and no more among its like; its key is remembered for a while.
    fn forget(&mut self, id: IntentId) {
        let Some(intent) = self.intents.remove(&id) else { return };
        if let Some(key) = &intent.key {
            self.past.push_back(PastKey(Arc::clone(key), id, intent.fingerprint()));
            if self.past.len() > limits::PAST_KEYS
                && let Some(PastKey(oldest, ..)) = self.past.pop_front()
            {
                self.index.keys.remove(&oldest);
            }
        }
        let number = intent.pin.number;
        if let Some(uses) = self.index.uses.get_mut(&number) {
            *uses -= 1;
            if *uses == 0 {
                self.index.uses.remove(&number);
                let in_force =
                    self.types.get(&intent.pin.definition.name).is_some_and(|t| t.definition == number);
                if !in_force {
                    self.definitions.remove(&number);
                }
            }
        }
    }

    /// A dead letter gets another chance; so do the tasks that were cancelled because of it.
    pub(super) fn requeued(&mut self, id: TaskId) {
        let Some(intent) = self.intents.get_mut(&id.intent) else { return };
        self.index.unfile(intent);
        if intent.is_emergency() {
            self.index.emergencies.insert(id.intent);
        }
        intent.course = Course::Running;
        intent.reason = None;
        intent.ended = 0;
        if let Some(deadline) = intent.deadline.filter(|_| !intent.late) {
            self.index.timers.insert((deadline, Timer::Deadline(id.intent)));
        }
        let definition = Arc::clone(&intent.pin.definition);
        let mut missing: Vec<u16> = definition.tasks.iter().map(|spec| spec.missing).collect();
        for (task, spec) in intent.tasks.iter().zip(&definition.tasks) {
            if matches!(task.stage, Stage::Succeeded(_)) {
                spec.before.iter().for_each(|next| missing[usize::from(*next)] -= 1);
            }
        }
        for (n, missing) in (0..).zip(&missing[..definition.forward]) {
            let next = id.intent.task(n);
            let Some((intent, at)) = self.task_mut(next) else { return };
            let task = &mut intent.tasks[at];
            if matches!(task.stage, Stage::Succeeded(_)) {
                continue;
            }
            (task.attempts, task.losses) = (0, 0);
            if *missing > 0 {
                self.set_stage(next, Stage::Blocked(*missing));
            } else {
                self.set_waiting_last(next);
            }
        }
    }
}
