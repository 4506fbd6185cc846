//! The network between the parts: requests and their answers, dropped, doubled, late, out of order, or cut off between two.
//!
//! Whoever asks gives the call a number and waits for its answer for a time; a late or second answer finds nobody who waits.

use std::{fmt, time::Duration};

use grace_orchestration::{
    htm::{self, Granted, TaskId},
    policies, scheduler, triggers,
};
use grace_types::{chance::Entropy, event::Event as CloudEvent, time::Clock};

use super::{Job, Purpose, World, note};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    Mesh,
    Policies,
    Htm,
    Scheduler,
    Worker(usize),
    Source(usize),
    Operator,
    Resource,
}

/// The kernels.
pub(super) const KERNELS: [Node; 4] = [Node::Mesh, Node::Policies, Node::Htm, Node::Scheduler];

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mesh => f.write_str("mesh"),
            Self::Policies => f.write_str("policies"),
            Self::Htm => f.write_str("htm"),
            Self::Scheduler => f.write_str("scheduler"),
            Self::Worker(n) => write!(f, "worker-{n}"),
            Self::Source(n) => write!(f, "source-{n}"),
            Self::Operator => f.write_str("operator"),
            Self::Resource => f.write_str("resource"),
        }
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    /// Events at the front door, which is the mesh's.
    Events(Vec<CloudEvent>),
    /// The same events, from the front door to the policies.
    Observe(Vec<CloudEvent>),
    Work(htm::Command),
    /// A task's effect outside, under its fencing token.
    Effect(Granted),
    /// A worker need not go on.
    Stop(Granted),
    Mesh(triggers::Command),
    Policy(policies::Command),
    Schedule(scheduler::Command),
}

/// What is answered.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// It is durable, or done.
    Taken,
    /// Not now.
    Busy(String),
    /// Never.
    Refused(String),
    Work(htm::Reply),
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    Ask(Ask),
    Told(Told),
}

/// One message.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) from: Node,
    pub(super) to: Node,
    pub(super) call: u64,
    pub(super) body: Body,
}

impl Letter {
    /// In a few words.
    fn words(&self) -> String {
        let (name, detail) = match &self.body {
            Body::Ask(Ask::Events(events)) => ("events", events[0].id.to_string()),
            Body::Ask(Ask::Observe(events)) => ("observe", events[0].id.to_string()),
            Body::Ask(Ask::Work(command)) => ("work", command_words(command)),
            Body::Ask(Ask::Effect(granted)) => ("effect", format!("{} {}", granted.task, granted.token)),
            Body::Ask(Ask::Stop(granted)) => ("stop", granted.task.to_string()),
            Body::Ask(Ask::Mesh(_) | Ask::Policy(_) | Ask::Schedule(_)) => ("command", String::new()),
            Body::Told(Told::Taken) => ("taken", String::new()),
            Body::Told(Told::Busy(_)) => ("busy", String::new()),
            Body::Told(Told::Refused(_)) => ("refused", String::new()),
            Body::Told(Told::Work(_)) => ("answer", String::new()),
        };
        format!("{} -> {} #{} {name} {detail}", self.from, self.to, self.call)
    }
}

fn command_words(command: &htm::Command) -> String {
    let of = |task: &TaskId, token: u64| format!("{task} {token}");
    match command {
        htm::Command::Submit { intents } => intents[0].key.clone().unwrap_or_default(),
        htm::Command::Answer { answers, .. } => of(&answers[0].task, answers[0].token),
        htm::Command::Lease { asks } => format!("lease {}", asks[0].request.as_deref().unwrap_or_default()),
        _ => String::new(),
    }
}

/// What the network does to messages, in thousandths.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weather {
    pub(super) drop: u64,
    pub(super) duplicate: u64,
    pub(super) reorder: u64,
}

impl World {
    /// Asks, and waits for an answer for so long.
    pub(super) fn ask(&mut self, from: Node, to: Node, ask: Ask, purpose: Purpose, patience: Duration) {
        self.last_call += 1;
        let call = self.last_call;
        self.calls.insert((from, call), purpose);
        self.later(patience, Job::Timeout(from, call));
        self.send(Letter { from, to, call, body: Body::Ask(ask) });
    }

    /// Says something that needs no answer.
    pub(super) fn hint(&mut self, from: Node, to: Node, ask: Ask) {
        self.last_call += 1;
        let call = self.last_call;
        self.send(Letter { from, to, call, body: Body::Ask(ask) });
    }

    pub(super) fn tell(&mut self, from: Node, to: Node, call: u64, told: Told) {
        self.send(Letter { from, to, call, body: Body::Told(told) });
    }

    fn send(&mut self, letter: Letter) {
        let (a, b) = (letter.from.min(letter.to), letter.from.max(letter.to));
        if self.cuts.get(&(a, b)).is_some_and(|until| *until > self.clock_mono()) {
            self.counts.cut_off += 1;
            return;
        }
        if self.chance(self.weather.drop) {
            self.counts.dropped += 1;
            note!(self, "lost: {}", letter.words());
            return;
        }
        if self.chance(self.weather.duplicate) {
            self.counts.duplicated += 1;
            self.post(letter.clone());
        }
        self.post(letter);
    }

    fn post(&mut self, letter: Letter) {
        let mut delay = 50 + self.entropy.below(2000);
        if self.chance(self.weather.reorder) {
            self.counts.reordered += 1;
            delay += self.entropy.below(1_200_000);
        }
        self.later(Duration::from_micros(delay), Job::Deliver(Box::new(letter)));
    }

    /// A message arrives.
    pub(super) fn deliver(&mut self, letter: Letter) {
        note!(self, "{}", letter.words());
        let Letter { from, to, call, body } = letter;
        match body {
            Body::Ask(ask) => self.asked(to, ask, (from, call)),
            Body::Told(told) => {
                if let Some(purpose) = self.calls.remove(&(to, call)) {
                    self.answered(to, purpose, told);
                }
            }
        }
    }

    /// Nobody answered in time.
    pub(super) fn timed_out(&mut self, node: Node, call: u64) {
        if let Some(purpose) = self.calls.remove(&(node, call)) {
            self.counts.unanswered += 1;
            self.unanswered(node, purpose);
        }
    }

    fn asked(&mut self, to: Node, ask: Ask, reply: (Node, u64)) {
        match (to, ask) {
            (Node::Resource, Ask::Effect(granted)) => self.effect(granted, reply),
            (Node::Worker(worker), Ask::Stop(granted)) => self.stop_task(worker, granted),
            (Node::Mesh | Node::Policies | Node::Htm | Node::Scheduler, ask) => {
                self.kernel_asked(to, ask, reply);
            }
            (to, ask) => self.breaks(format!("{to} was asked {ask:?}")),
        }
    }

    fn answered(&mut self, node: Node, purpose: Purpose, told: Told) {
        match node {
            Node::Mesh | Node::Policies | Node::Htm | Node::Scheduler => {
                self.kernel_answered(node, purpose, told);
            }
            Node::Worker(worker) => self.worker_answered(worker, purpose, told),
            Node::Source(source) => self.source_answered(source, &purpose, &told),
            Node::Operator => self.operator_answered(purpose, told),
            Node::Resource => {}
        }
    }

    fn unanswered(&mut self, node: Node, purpose: Purpose) {
        match node {
            Node::Mesh | Node::Policies | Node::Htm | Node::Scheduler => {
                self.kernel_answered(node, purpose, Told::Busy("no answer in time".to_owned()));
            }
            Node::Worker(worker) => self.worker_unanswered(worker, &purpose),
            Node::Source(source) => self.source_unanswered(source, &purpose),
            Node::Operator => self.operator_unanswered(&purpose),
            Node::Resource => {}
        }
    }
}
