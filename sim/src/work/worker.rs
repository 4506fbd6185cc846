//! Workers: lease, run, have the effect, answer; die, stand still past their leases, and answer late.

use std::{collections::BTreeMap, time::Duration};

use grace_orchestration::htm::{
    self, Granted, Json, TaskId,
    command::{Ask as LeaseAsk, Grants, Lease, TaskAnswer, Verdict},
    event::Offer,
};
use grace_types::{
    chance::Entropy,
    event::Event as CloudEvent,
    time::{Clock, Monotonic},
};
use serde_json::json;

use super::{
    Job, Purpose, Todo, World,
    net::{Ask, Node, Told},
    note, perform,
};

const PATIENCE: Duration = Duration::from_millis(500);
/// Longer than the desk keeps an ask.
const LEASE_PATIENCE: Duration = Duration::from_millis(3500);
const BEAT: Duration = Duration::from_millis(1500);
const SLOTS: usize = 2;

pub(super) struct Worker {
    pub(super) name: String,
    up: bool,
    pub(super) stopped_until: Monotonic,
    registered: bool,
    /// The number of its request for tasks, and whether it waits for the answer.
    request: u64,
    asking: bool,
    /// What it runs, by lease.
    tasks: BTreeMap<(TaskId, u64), Run>,
}

/// A task that it runs.
struct Run {
    lease: Lease,
    /// How it ended, once it has.
    ended: Option<TaskAnswer>,
}

impl Worker {
    pub(super) fn new(number: usize) -> Self {
        Self {
            name: format!("worker-{number}"),
            up: false,
            stopped_until: Monotonic::ZERO,
            registered: false,
            request: 0,
            asking: false,
            tasks: BTreeMap::new(),
        }
    }

    pub(super) fn busy(&self) -> usize {
        self.tasks.len()
    }
}

impl World {
    pub(super) fn start_worker(&mut self, worker: usize) {
        if self.workers[worker].up {
            return;
        }
        let fresh = Worker::new(worker);
        let request = self.workers[worker].request;
        self.workers[worker] = Worker { up: true, request: request + 1000, ..fresh };
        note!(self, "worker-{worker} starts");
        self.register(worker);
        self.todo(Node::Worker(worker), BEAT, Todo::Beat);
    }

    pub(super) fn kill_worker(&mut self, worker: usize) {
        if !self.workers[worker].up {
            return;
        }
        self.workers[worker].up = false;
        self.workers[worker].tasks.clear();
        self.workers[worker].stopped_until = Monotonic::ZERO;
        self.forget(Node::Worker(worker));
        self.counts.dead_workers += 1;
        note!(self, "worker-{worker} dies");
        // Whoever supervises it may say so.
        if self.chance(500) {
            let (worker, reason) = (self.workers[worker].name.clone(), "killed".to_owned());
            self.hint(Node::Operator, Node::Htm, Ask::Work(htm::Command::Lost { worker, reason }));
        }
        let wait = Duration::from_millis(50 + self.entropy.below(4000));
        self.later(wait, Job::Start(Node::Worker(worker)));
    }

    fn ask_htm(&mut self, worker: usize, command: htm::Command, purpose: Purpose, patience: Duration) {
        self.ask(Node::Worker(worker), Node::Htm, Ask::Work(command), purpose, patience);
    }

    fn register(&mut self, worker: usize) {
        self.workers[worker].registered = false;
        let offer = Offer {
            name: self.workers[worker].name.clone(),
            incarnation: self.life(Node::Worker(worker)).to_string(),
            kinds: vec!["touch".to_owned(), "announce".to_owned()],
            labels: Vec::new(),
            slots: u32::try_from(SLOTS).unwrap_or(1),
        };
        self.ask_htm(worker, htm::Command::Register(offer), Purpose::Register, PATIENCE);
    }

    fn ask_for_tasks(&mut self, worker: usize) {
        let one = &mut self.workers[worker];
        let free = SLOTS.saturating_sub(one.tasks.len());
        if !one.registered || one.asking || free == 0 {
            return;
        }
        one.asking = true;
        let ask = LeaseAsk {
            worker: one.name.clone(),
            max: u32::try_from(free).unwrap_or(1),
            request: Some(one.request.to_string()),
        };
        self.ask_htm(worker, htm::Command::Lease { asks: vec![ask] }, Purpose::Lease, LEASE_PATIENCE);
    }

    pub(super) fn worker_acts(&mut self, worker: usize, todo: &Todo) {
        match todo {
            Todo::Register => self.register(worker),
            Todo::Beat => {
                if self.workers[worker].registered {
                    let name = self.workers[worker].name.clone();
                    self.ask_htm(
                        worker,
                        htm::Command::Beat { worker: name, remembered: false },
                        Purpose::Beat,
                        PATIENCE,
                    );
                }
                self.todo(Node::Worker(worker), BEAT, Todo::Beat);
                self.ask_for_tasks(worker);
            }
            Todo::Work(task, token) => self.work(worker, *task, *token),
            Todo::Answer(task, token) => self.answer(worker, *task, *token),
            _ => {}
        }
    }

    fn begin_task(&mut self, worker: usize, lease: Lease) {
        let key = (lease.task, lease.token);
        if self.workers[worker].tasks.contains_key(&key) {
            return;
        }
        // Now and then one takes longer than its lease.
        let millis =
            if self.chance(60) { 1000 + self.entropy.below(2000) } else { 5 + self.entropy.below(300) };
        self.workers[worker].tasks.insert(key, Run { lease, ended: None });
        self.todo(Node::Worker(worker), Duration::from_millis(millis), Todo::Work(key.0, key.1));
    }

    /// The task is done but for its effect.
    fn work(&mut self, worker: usize, task: TaskId, token: u64) {
        let Some(run) = self.workers[worker].tasks.get(&(task, token)) else { return };
        let (kind, origin) = (run.lease.kind.to_string(), run.lease.origin.clone());
        let node = Node::Worker(worker);
        if self.chance(100) {
            let retry = if self.chance(150) { Some(false) } else { None };
            let failed = Some("it went wrong".to_owned());
            return self.ends(worker, TaskAnswer { task, token, output: None, failed, retry });
        }
        let purpose = Purpose::Effect(task, token);
        if kind == "touch" {
            return self.ask(node, Node::Resource, Ask::Effect(Granted { task, token }), purpose, PATIENCE);
        }
        let event = self.announcement(task, origin.as_deref());
        self.ask(node, Node::Mesh, Ask::Events(vec![event]), purpose, PATIENCE);
    }

    fn announcement(&self, task: TaskId, origin: Option<&htm::event::Origin>) -> CloudEvent {
        let about = u128::from(task.intent.number()) << 16 | u128::from(task.index);
        perform::announced(about, origin, self.clock.now().wall)
    }

    fn ends(&mut self, worker: usize, answer: TaskAnswer) {
        let (task, token) = (answer.task, answer.token);
        if let Some(run) = self.workers[worker].tasks.get_mut(&(task, token)) {
            run.ended = Some(answer);
            self.answer(worker, task, token);
        }
    }

    fn answer(&mut self, worker: usize, task: TaskId, token: u64) {
        let one = &self.workers[worker];
        let Some(answer) = one.tasks.get(&(task, token)).and_then(|run| run.ended.clone()) else { return };
        let (name, chance) = (one.name.clone(), self.entropy.next_u64());
        let command = htm::Command::Answer { worker: name, answers: vec![answer], chance };
        self.ask_htm(worker, command, Purpose::Answer(task, token), PATIENCE);
    }

    /// It need not go on: it drops the task, or has not heard in time.
    pub(super) fn stop_task(&mut self, worker: usize, granted: Granted) {
        if self.chance(700) {
            self.workers[worker].tasks.remove(&(granted.task, granted.token));
            self.ask_for_tasks(worker);
        }
    }

    pub(super) fn worker_answered(&mut self, worker: usize, purpose: Purpose, told: Told) {
        if let Told::Refused(code) = &told
            && matches!(code.as_str(), "unknown_worker")
        {
            // A task of an earlier registration is another worker's by now; its answer is given all the same, and refused.
            self.register(worker);
        }
        match (purpose, told) {
            (Purpose::Register, Told::Work(htm::Reply::Registered { .. })) => {
                self.workers[worker].registered = true;
                self.ask_for_tasks(worker);
            }
            (Purpose::Register, _) => self.todo(Node::Worker(worker), PATIENCE, Todo::Register),
            (Purpose::Lease, Told::Work(htm::Reply::Leased { grants, .. })) => {
                self.workers[worker].asking = false;
                self.workers[worker].request += 1;
                grants.into_iter().for_each(|grant| self.granted(worker, grant));
                self.ask_for_tasks(worker);
            }
            (Purpose::Lease, _) => self.workers[worker].asking = false,
            (Purpose::Beat, Told::Work(htm::Reply::Beaten { stop, .. })) => {
                stop.into_iter().for_each(|granted| self.stop_task(worker, granted));
            }
            (Purpose::Effect(task, token), Told::Taken) => self.had_effect(worker, task, token),
            (Purpose::Effect(task, token), Told::Refused(_)) => {
                // Another one has the task.
                self.workers[worker].tasks.remove(&(task, token));
                self.ask_for_tasks(worker);
            }
            (Purpose::Effect(task, token), _) => {
                self.todo(Node::Worker(worker), Duration::from_millis(100), Todo::Work(task, token));
            }
            (Purpose::Answer(task, token), Told::Work(htm::Reply::Answered { verdicts })) => {
                let taken = matches!(verdicts.first(), Some(Verdict::Taken));
                self.answered_for(worker, task, token, taken);
            }
            (Purpose::Answer(task, token), _) => {
                self.todo(Node::Worker(worker), Duration::from_millis(200), Todo::Answer(task, token));
            }
            _ => {}
        }
    }

    fn granted(&mut self, worker: usize, grant: Grants) {
        if grant.refused.is_some_and(|why| why.starts_with("unknown_worker")) {
            self.register(worker);
        }
        grant.tasks.into_iter().for_each(|lease| self.begin_task(worker, lease));
    }

    fn had_effect(&mut self, worker: usize, task: TaskId, token: u64) {
        let Some(run) = self.workers[worker].tasks.get(&(task, token)) else { return };
        if &*run.lease.kind == "announce" {
            let origin = run.lease.origin.clone();
            let event = self.announcement(task, origin.as_deref());
            self.is_durable(&event);
        }
        let output = Some(Json::of(&json!({"by": worker})));
        self.ends(worker, TaskAnswer { task, token, output, failed: None, retry: None });
    }

    fn answered_for(&mut self, worker: usize, task: TaskId, token: u64, taken: bool) {
        let run = self.workers[worker].tasks.remove(&(task, token));
        if let Some(answer) = run.and_then(|run| run.ended) {
            if taken {
                let done = answer.failed.is_none();
                self.taken.push((Granted { task, token }, done));
            } else {
                self.counts.stale_answers += 1;
            }
        }
        self.ask_for_tasks(worker);
    }

    pub(super) fn worker_unanswered(&mut self, worker: usize, purpose: &Purpose) {
        match *purpose {
            Purpose::Register => self.register(worker),
            Purpose::Lease => {
                self.workers[worker].asking = false;
                self.ask_for_tasks(worker);
            }
            Purpose::Effect(task, token) => {
                self.todo_soon(Node::Worker(worker), 50_000, Todo::Work(task, token));
            }
            Purpose::Answer(task, token) => self.answer(worker, task, token),
            _ => {}
        }
    }
}
