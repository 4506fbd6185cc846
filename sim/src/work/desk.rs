//! The desk at which workers wait for tasks, as the task manager's shell keeps one: the asks of all that wait go into one command.

use std::time::Duration;

use grace_kernel::{Answer, Outcome};
use grace_orchestration::htm::{
    self, Htm,
    command::{Ask as LeaseAsk, Grants},
};
use grace_types::time::Monotonic;

use super::{
    Todo, World,
    kernel::To,
    net::{Node, Told},
};

/// How long an ask for tasks waits.
const LEASE_WAIT: Duration = Duration::from_secs(3);

/// A worker's ask that waits for a task.
pub(super) struct Waiting {
    ask: LeaseAsk,
    reply: (Node, u64),
    until: Monotonic,
}

impl World {
    pub(super) fn wait_at_desk(&mut self, asks: Vec<LeaseAsk>, reply: (Node, u64)) {
        let until = self.clock_mono().plus(LEASE_WAIT);
        for ask in asks {
            self.desk.insert(ask.worker.clone(), Waiting { ask, reply, until });
        }
        self.todo(Node::Htm, LEASE_WAIT, Todo::Lease);
        self.lease();
    }

    /// Asks for everybody who waits, unless that is under way.
    pub(super) fn lease(&mut self) {
        if let Some((_, again)) = &mut self.leasing {
            *again = true;
            return;
        }
        if self.desk.is_empty() {
            return;
        }
        let waiting: Vec<Waiting> = std::mem::take(&mut self.desk).into_values().collect();
        let asks = waiting.iter().map(|one| one.ask.clone()).collect();
        self.leasing = Some((waiting, false));
        self.take_htm(htm::Command::Lease { asks }, To::Lease);
    }

    pub(super) fn leased(&mut self, answer: Answer<Htm>) {
        let Some((waiting, again)) = self.leasing.take() else { return };
        let (grants, wake_ms) = match answer {
            Ok(Outcome::Done(htm::Reply::Leased { grants, wake_ms })) => (grants, wake_ms),
            _ => (Vec::new(), None),
        };
        if let Some(wake_ms) = wake_ms {
            self.todo(Node::Htm, Duration::from_millis(wake_ms.max(1)), Todo::Lease);
        }
        let now = self.clock_mono();
        for one in waiting {
            let grant = grants.iter().find(|grant| grant.worker == one.ask.worker);
            let given = grant.is_some_and(|grant| !grant.tasks.is_empty() || grant.refused.is_some());
            if !given && one.until > now && !self.desk.contains_key(&one.ask.worker) {
                self.desk.insert(one.ask.worker.clone(), one);
                continue;
            }
            let nothing = Grants { worker: one.ask.worker, tasks: Vec::new(), refused: None };
            let grants = vec![grant.cloned().unwrap_or(nothing)];
            let reply = htm::Reply::Leased { grants, wake_ms: None };
            self.tell(Node::Htm, one.reply.0, one.reply.1, Told::Work(reply));
        }
        if again {
            self.lease();
        }
    }
}
