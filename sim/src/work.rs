//! The world of Layer 2: the four deciders together, on the production host, with everything around them made up.
//!
//! ```text
//! sources ─ events ─► mesh (front door) ─► policies        scheduler
//!    ▲ until taken      │ deliveries         │ deliveries     │ deliveries
//!    └──────────────────┴── publish ◄────────┴── submit ──► htm ◄── operator
//!                                                            ▲ leases, answers
//!                                              resource ◄─ workers ─ publish ─► front door
//! ```
//!
//! Time is an agenda: the next thing that happens is the earliest in it. Chance (one seed) says how long things take and what goes
//! wrong: messages lost, doubled, late and out of order ([`net`]); parts that cannot reach each other for a while; processes that lose
//! their memory and what their disk had not synced, at any moment and in the middle of a write; disks that are full; damaged
//! snapshots; workers that die, or are stopped past their leases and go on as if nothing had been; a wall clock that steps by up
//! to five minutes ([`faults`]). Then the faults stop, the schedules are paused after a while, and the layer must come to rest
//! in bounded time. [`check`] reads the journals and what the others heard.
//!
//! What is made up here stands for the shells: the front door, performers of deliveries, the desk where workers wait. They are as small
//! as they can be and keep the same promises; what is under test is the deciders.

mod check;
mod desk;
mod faults;
mod kernel;
mod kernels;
mod net;
mod operator;
mod perform;
mod report;
mod resource;
mod rest;
mod setup;
mod source;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use grace_orchestration::{
    delivery::step::Report as Attempt,
    htm::{Granted, Htm, TaskId},
    policies::EventPolicies,
    scheduler::Scheduler,
    triggers::TriggerMesh,
};
use grace_types::{
    chance::{Entropy, SeededEntropy},
    id::EventId,
    time::{Clock, ManualClock, Monotonic, Timestamp},
};

use crate::history::{History, Report};
use desk::Waiting;
use kernel::Kernel;
use net::{KERNELS, Letter, Node, Weather};
use operator::Operator;
pub use report::{Counts, Mistake, Options};
use resource::Resource;
use source::Source;
use worker::Worker;

/// Workers, and sources of events.
const WORKERS: usize = 3;
const SOURCES: usize = 2;
/// How long a healed layer goes on with its schedules, so that what is late can be told from what is lost.
const AFTERMATH: Duration = Duration::from_secs(4);
/// How long it may take to come to rest then. Four breakers in a row, retries and lost workers fit in.
const REST: Duration = Duration::from_secs(90);

/// Why somebody waits for an answer.
#[derive(Debug, Clone)]
enum Purpose {
    /// The front door: the answer to whoever brought the events.
    Front(Node, u64),
    /// A performer: the owner and key of the delivery.
    Perform(String, String),
    /// The scheduler: whether the intent of this firing has ended.
    Ended(String),
    /// A source: which of its batches.
    Batch(u64),
    /// The operator: which of the submissions.
    Submission(usize),
    /// The operator: the answer does not matter, or says what to do next.
    Deed,
    Register,
    Lease,
    Beat,
    /// A worker: the effect of a task, and the answer about it.
    Effect(TaskId, u64),
    Answer(TaskId, u64),
}

/// What a part does later of its own accord.
#[derive(Debug, Clone)]
enum Todo {
    Tick,
    /// Workers' asks again.
    Lease,
    /// A report that was not durable.
    Settle(Attempt),
    /// Which firings have ended.
    AskForEnds,
    Register,
    Beat,
    /// A task's time is over.
    Work(TaskId, u64),
    /// Says again how a task ended.
    Answer(TaskId, u64),
    Batch(u64),
    Submission(usize),
    /// Something new.
    Act,
}

/// Something in the agenda.
enum Job {
    Deliver(Box<Letter>),
    Timeout(Node, u64),
    Commit(Node, u64),
    Start(Node),
    /// Of this life of the part.
    Todo(Node, u64, Todo),
    Fault,
}

/// How far the run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Faults,
    Healed,
    Draining,
}

/// Everything that moves.
struct World {
    clock: ManualClock,
    entropy: SeededEntropy,
    mistake: Option<Mistake>,
    agenda: BTreeMap<(Monotonic, u64), Job>,
    last_job: u64,
    calls: BTreeMap<(Node, u64), Purpose>,
    last_call: u64,
    weather: Weather,
    /// Pairs that cannot reach each other, until when.
    cuts: BTreeMap<(Node, Node), Monotonic>,
    mesh: Kernel<TriggerMesh>,
    policies: Kernel<EventPolicies>,
    htm: Kernel<Htm>,
    scheduler: Kernel<Scheduler>,
    /// How often each part lost its memory.
    lives: BTreeMap<Node, u64>,
    /// When each kernel looks at its timers next.
    ticks: BTreeMap<Node, Monotonic>,
    desk: BTreeMap<String, Waiting>,
    /// The asks of the `lease` that is under way, and whether to ask again after it.
    leasing: Option<(Vec<Waiting>, bool)>,
    workers: Vec<Worker>,
    sources: Vec<Source>,
    operator: Operator,
    resource: Resource,
    /// Events that their senders heard to be durable.
    acknowledged: BTreeMap<EventId, (String, String, u64)>,
    /// Answers that their workers heard to be taken, and whether they were successes.
    taken: Vec<(Granted, bool)>,
    /// The largest wall clock that was seen.
    latest_wall: Timestamp,
    /// The wall clock at the start.
    start: Timestamp,
    history: History,
    counts: Counts,
    broken: BTreeSet<String>,
    step: u64,
    phase: Phase,
}

macro_rules! note {
    ($world:expr, $($arg:tt)*) => {
        $world.history.note($world.step, $world.clock.now().mono, format_args!($($arg)*))
    };
}
use note;

/// Runs one world to its end.
#[must_use]
pub fn run(options: Options) -> Report<Counts> {
    let mut world = World::new(options);
    world.begin();
    while world.step < options.steps {
        world.turn();
    }
    world.heal();
    world.turns_for(AFTERMATH);
    let mut broken = check::overdue(&mut world);
    world.drain();
    let at = world.clock.now().mono;
    while world.unrest().is_some() && world.clock.now().mono.since(at) < REST {
        world.turn();
    }
    if let Some(unrest) = world.unrest() {
        broken.push(format!("the layer does not come to rest with all faults over: {unrest}"));
    }
    broken.extend(std::mem::take(&mut world.broken));
    broken.extend(check::broken_promises(&mut world));
    let (history, digest) = world.history.finish();
    Report { history, digest, broken, counts: world.counts }
}

impl World {
    fn new(options: Options) -> Self {
        let mut entropy = SeededEntropy::new(options.seed);
        let start = setup::start(options.seed);
        let weather =
            Weather { drop: entropy.below(120), duplicate: entropy.below(120), reorder: entropy.below(120) };
        Self {
            clock: ManualClock::starting_at(start),
            entropy,
            mistake: options.mistake,
            agenda: BTreeMap::new(),
            last_job: 0,
            calls: BTreeMap::new(),
            last_call: 0,
            weather,
            cuts: BTreeMap::new(),
            mesh: Kernel::new(),
            policies: Kernel::new(),
            htm: Kernel::new(),
            scheduler: Kernel::new(),
            lives: BTreeMap::new(),
            ticks: BTreeMap::new(),
            desk: BTreeMap::new(),
            leasing: None,
            workers: (0..WORKERS).map(Worker::new).collect(),
            sources: (0..SOURCES).map(|_| Source::default()).collect(),
            operator: Operator::default(),
            resource: Resource::default(),
            acknowledged: BTreeMap::new(),
            taken: Vec::new(),
            start,
            latest_wall: start,
            history: History::default(),
            counts: Counts::default(),
            broken: BTreeSet::new(),
            step: 0,
            phase: Phase::Faults,
        }
    }

    fn begin(&mut self) {
        // A machine has been up for a while when the layer starts.
        self.clock.advance(Duration::from_secs(100));
        if self.mistake == Some(Mistake::LyingDisks) {
            for disk in [&self.mesh.disk, &self.policies.disk, &self.htm.disk, &self.scheduler.disk] {
                disk.lie_about_syncs();
            }
        }
        KERNELS.into_iter().for_each(|node| self.start(node));
        for worker in 0..WORKERS {
            self.start(Node::Worker(worker));
        }
        for source in 0..SOURCES {
            self.todo_soon(Node::Source(source), 2_000_000, Todo::Act);
        }
        self.todo_soon(Node::Operator, 3_000_000, Todo::Act);
        self.later(Duration::from_millis(500), Job::Fault);
    }

    /// The next thing happens.
    fn turn(&mut self) {
        let Some(((due, _), job)) = self.agenda.pop_first() else {
            self.step = u64::MAX;
            return;
        };
        self.step += 1;
        let now = self.clock.now();
        self.clock.advance(due.since(now.mono));
        self.latest_wall = self.latest_wall.max(self.clock.now().wall);
        if let Some(until) = self.stopped_until(&job) {
            self.later(until.since(due) + Duration::from_millis(1), job);
            return;
        }
        match job {
            Job::Deliver(letter) => self.deliver(*letter),
            Job::Timeout(node, call) => self.timed_out(node, call),
            Job::Commit(node, life) if life == self.life(node) => self.commit(node),
            Job::Todo(node, life, todo) if life == self.life(node) => self.act(node, todo),
            Job::Commit(..) | Job::Todo(..) => {}
            Job::Start(node) => self.start(node),
            Job::Fault => self.fault(),
        }
    }

    fn turns_for(&mut self, time: Duration) {
        let end = self.clock_mono().plus(time);
        while self.clock_mono() < end && !self.agenda.is_empty() {
            self.turn();
        }
    }

    /// A worker that is stopped does nothing, and does it afterwards.
    fn stopped_until(&self, job: &Job) -> Option<Monotonic> {
        let (Job::Deliver(_) | Job::Timeout(..) | Job::Todo(..)) = job else { return None };
        let node = match job {
            Job::Deliver(letter) => letter.to,
            Job::Timeout(node, _) | Job::Todo(node, ..) => *node,
            _ => return None,
        };
        let Node::Worker(worker) = node else { return None };
        Some(self.workers[worker].stopped_until).filter(|until| *until > self.clock_mono())
    }

    fn act(&mut self, node: Node, todo: Todo) {
        match node {
            Node::Mesh | Node::Policies | Node::Htm | Node::Scheduler => self.kernel_acts(node, todo),
            Node::Worker(worker) => self.worker_acts(worker, &todo),
            Node::Source(source) => self.source_acts(source, &todo),
            Node::Operator => self.operator_acts(&todo),
            Node::Resource => {}
        }
    }

    fn start(&mut self, node: Node) {
        match node {
            Node::Worker(worker) => self.start_worker(worker),
            node => self.start_kernel(node),
        }
    }

    fn clock_mono(&self) -> Monotonic {
        self.clock.now().mono
    }

    fn life(&self, node: Node) -> u64 {
        self.lives.get(&node).copied().unwrap_or(0)
    }

    /// What the part waited for and meant to do is gone.
    fn forget(&mut self, node: Node) {
        *self.lives.entry(node).or_default() += 1;
        self.calls.retain(|(caller, _), _| *caller != node);
    }

    fn later(&mut self, wait: Duration, job: Job) {
        self.last_job += 1;
        let due = self.clock_mono().plus(wait);
        self.agenda.insert((due, self.last_job), job);
    }

    fn todo(&mut self, node: Node, wait: Duration, todo: Todo) {
        let life = self.life(node);
        self.later(wait, Job::Todo(node, life, todo));
    }

    /// Within so many microseconds.
    fn todo_soon(&mut self, node: Node, micros: u64, todo: Todo) {
        let wait = Duration::from_micros(1 + self.entropy.below(micros));
        self.todo(node, wait, todo);
    }

    /// So many times in a thousand.
    fn chance(&mut self, thousandths: u64) -> bool {
        thousandths > 0 && self.entropy.below(1000) < thousandths
    }

    fn draw(&mut self, bound: usize) -> usize {
        usize::try_from(self.entropy.below(bound as u64)).unwrap_or(0)
    }

    /// A promise that is seen to be broken while the world moves.
    fn breaks(&mut self, sentence: String) {
        note!(self, "BROKEN: {sentence}");
        self.broken.insert(sentence);
    }

    /// What is not at rest yet.
    fn unrest(&self) -> Option<String> {
        let parts = [Node::Mesh, Node::Policies, Node::Htm, Node::Scheduler];
        let kernels = parts.into_iter().find_map(|node| self.kernel_unrest(node));
        let batches = self.sources.iter().map(|source| source.batches.len()).sum::<usize>();
        let sources = (batches > 0).then(|| format!("{batches} batches of events are not acknowledged"));
        let asked = self.operator.unheard();
        let operator = (asked > 0).then(|| format!("{asked} submissions have no answer"));
        let tasks = self.workers.iter().map(Worker::busy).sum::<usize>();
        let workers = (tasks > 0).then(|| format!("workers run {tasks} tasks"));
        kernels.or(sources).or(operator).or(workers)
    }
}
