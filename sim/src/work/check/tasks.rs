//! Intents and tasks, followed from their records: who was given what under which token, and what counted.

use std::collections::{BTreeMap, BTreeSet};

use grace_kernel::{Decider, Outcome};
use grace_orchestration::htm::{
    Command, Event, Htm, IntentId, Reply, TaskId,
    command::{Query, Submitted},
    event::{Granted, NewIntent, What},
    view::IntentState,
};
use grace_types::time::Clock;

use super::World;

/// A lease that has not ended.
struct Lease {
    worker: u32,
    token: u64,
}

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) intents: BTreeMap<IntentId, NewIntent>,
    keys: BTreeSet<String>,
    /// Type and subject of each intent: no two are about the same thing.
    about: BTreeMap<(String, String), IntentId>,
    types: BTreeMap<u32, String>,
    workers: BTreeMap<String, u32>,
    leases: BTreeMap<TaskId, Lease>,
    granted: BTreeSet<(TaskId, u64)>,
    tokens: BTreeSet<u64>,
    last_tokens: BTreeMap<TaskId, u64>,
    done: BTreeSet<(TaskId, u64)>,
    failed: BTreeSet<(TaskId, u64)>,
}

impl Ledger {
    pub(super) fn has_key(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    pub(super) fn take(&mut self, event: &Event, broken: &mut Vec<String>) {
        match &event.what {
            What::TypesDefined { changed, .. } => {
                self.types.extend(changed.iter().map(|new| (new.number, new.name.clone())));
            }
            What::Submitted { intents } => intents.iter().for_each(|new| self.submitted(new, broken)),
            What::WorkerJoined { number, worker } => {
                if let Some(before) = self.workers.insert(worker.name.clone(), *number) {
                    self.leases.retain(|_, lease| lease.worker != before);
                }
            }
            What::WorkerGone { worker, name, .. } => {
                self.leases.retain(|_, lease| lease.worker != *worker);
                self.workers.remove(name);
            }
            What::Dispatched { to, .. } => {
                for (dispatch, granted) in
                    to.iter().flat_map(|one| one.tasks.iter().map(move |task| (one, task)))
                {
                    self.dispatched(dispatch.worker, *granted, broken);
                }
            }
            What::TasksDone { by } => {
                for (said, done) in by.iter().flat_map(|one| one.tasks.iter().map(move |task| (one, task))) {
                    self.ends(Some(said.worker), done.task, done.token, broken);
                    self.done.insert((done.task, done.token));
                }
            }
            What::TaskFailed { task, token, .. } if *token > 0 => {
                self.ends(None, *task, *token, broken);
                self.failed.insert((*task, *token));
            }
            _ => {}
        }
    }

    fn submitted(&mut self, new: &NewIntent, broken: &mut Vec<String>) {
        if let Some(key) = &new.key
            && !self.keys.insert(key.clone())
        {
            broken.push(format!("htm: the key {key} names two intents"));
        }
        let kind = self.types.get(&new.definition).cloned().unwrap_or_default();
        let payload = new.payload.value().unwrap_or_default();
        let about = payload["about"].as_str().unwrap_or_default().to_owned();
        if let Some(before) = self.about.insert((kind, about.clone()), new.id) {
            broken.push(format!("htm: {about} was taken twice, as {before} and as {}", new.id));
        }
        self.intents.insert(new.id, new.clone());
    }

    fn dispatched(&mut self, worker: u32, Granted { task, token }: Granted, broken: &mut Vec<String>) {
        // Tokens of one decision are given across its workers; of one task each is greater than the one before.
        let before = self.last_tokens.insert(task, token).unwrap_or(0);
        if token <= before || !self.tokens.insert(token) {
            broken.push(format!(
                "htm: {task} was given out under {token}, which is not new; before it was {before}"
            ));
        }
        self.granted.insert((task, token));
        if let Some(before) = self.leases.insert(task, Lease { worker, token }) {
            broken.push(format!(
                "htm: {task} was given out under {token} and is leased under {}",
                before.token
            ));
        }
    }

    fn ends(&mut self, worker: Option<u32>, task: TaskId, token: u64, broken: &mut Vec<String>) {
        let lease = self.leases.remove(&task);
        let holds = lease
            .as_ref()
            .is_some_and(|lease| lease.token == token && worker.is_none_or(|worker| worker == lease.worker));
        if !holds {
            let under = lease.map_or(0, |lease| lease.token);
            broken
                .push(format!("htm: {task} ended under the stale token {token}; it is leased under {under}"));
        }
    }

    /// Against what everybody heard, and what happened outside.
    pub(super) fn judge(&self, world: &World, broken: &mut Vec<String>) {
        for (submission, heard) in &world.operator.submissions {
            let (key, Some(Submitted::Accepted { id, .. })) = (&submission.key, heard) else { continue };
            if self.intents.get(id).is_none_or(|new| new.key != *key) {
                broken.push(format!("htm: the intent {id} was acknowledged and lost"));
            }
        }
        for (Granted { task, token }, done) in &world.taken {
            let on_record = if *done { &self.done } else { &self.failed };
            if !on_record.contains(&(*task, *token)) {
                broken.push(format!("htm: the answer for {task} under {token} was acknowledged and lost"));
            }
        }
        let (mut last, mut had) = (BTreeMap::new(), BTreeSet::new());
        for Granted { task, token } in &world.resource.effects {
            let before = last.insert(*task, *token).unwrap_or(0);
            if *token < before {
                broken.push(format!("{task} had an effect under the stale token {token}, after {before}"));
            }
            if !self.granted.contains(&(*task, *token)) {
                broken.push(format!("{task} had an effect under {token}, which nobody was given"));
            }
            had.insert((*task, *token));
        }
        for (task, token) in &self.done {
            let kind = self.intents.get(&task.intent).and_then(|new| self.types.get(&new.definition));
            if kind.is_some_and(|kind| kind != "announce") && !had.contains(&(*task, *token)) {
                broken.push(format!("{task} counts as done under {token}, and had no effect"));
            }
        }
        self.all_over(world, broken);
    }

    /// Every intent that was taken has come to an end.
    fn all_over(&self, world: &World, broken: &mut Vec<String>) {
        let Some(state) = world.htm.state() else { return };
        let query = Command::Query(Query::Intents { state: None, limit: 1000, before: None });
        let decision = Htm::decide(state, world.clock.now(), &query);
        let Outcome::Done(Reply::Intents { intents, more: false }) = decision.outcome() else {
            return broken.push("htm: there are more intents than one answer holds".to_owned());
        };
        let views: BTreeMap<IntentId, IntentState> =
            intents.iter().map(|view| (view.id, view.state)).collect();
        for id in self.intents.keys() {
            match views.get(id) {
                Some(IntentState::Succeeded | IntentState::Failed | IntentState::Cancelled) => {}
                other => broken.push(format!("htm: the intent {id} was taken and is {other:?} at the end")),
            }
        }
    }
}
