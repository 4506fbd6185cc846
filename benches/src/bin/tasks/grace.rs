//! Grace's own task manager, driven over the bus as users' own senders and workers do it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use grace_benches::{
    instance::{Instance, connect, runtime},
    usage::Usage,
};
use grace_bus::{Bus, Message};
use grace_core::instance::Instance as Place;
use grace_cortex::{
    command::{Answered, Asked},
    router::{self, Router},
};
use grace_kernel::{Envelope, Outcome, process::wire};
use grace_orchestration::htm::{
    Command, Htm, IntentId, Json, Reply,
    command::{Ask, Lease, TaskAnswer, Turn, Verdict},
    desk::work_subject,
    event::Offer,
    shell,
};
use grace_types::intent::{Priority, WAIT_HEADER};
use tokio::sync::Notify;

use super::{BODY_BYTES, BULK, PACE, PACED, PATIENCE, Queue, Run, SENDERS, WORKERS};

const MANIFEST: &str = "bus: {port: 0}\nprocesses: {}\nworkers: 0\nintents:\n  noop:\n    \
    payload: {type: object, required: [body], properties: {body: {type: string}}}\n    \
    plan: {task: {kind: noop, input: {body: '${payload.body}'}}}\n  parked:\n    \
    payload: {type: object, required: [body], properties: {body: {type: string}}}\n    \
    plan: {task: {kind: parked, input: {body: '${payload.body}'}}}\n";

/// How long a lease waits at the task manager, milliseconds.
const WAIT_MS: u64 = 1000;

pub(super) struct Grace {
    /// Tasks that wait all the while, of a kind that no worker takes.
    pub(super) waiting: usize,
}

impl Queue for Grace {
    fn takes_many(&self) -> bool {
        true
    }

    fn throughput(&self, run: Run) -> Result<f64, String> {
        let instance = Instance::up(MANIFEST);
        if self.waiting > 0 {
            runtime().block_on(park(&instance, self.waiting));
            instance.settle(shell::NAME);
        }
        let load = Arc::new(Load::new(&instance, run.tasks));
        let workers = Workers::start(&load, run.workers, run.slots);
        let before = Usage::so_far(&instance);
        let begun = Instant::now();
        let sender = Arc::clone(&load);
        let sending = std::thread::spawn(move || runtime().block_on(send_all(sender, run.bulk)));
        workers.finish();
        sending.join().expect("the senders are done");
        let last = *load.last.lock().unwrap();
        let settled = instance.settle(shell::NAME);
        eprintln!("  the narratives have all {} records after another {:.1?}", settled.records, settled.took);
        eprintln!("  {}", Usage::so_far(&instance).told(&before, run.tasks));
        Ok(run.tasks as f64 / (last - begun).as_secs_f64())
    }

    fn latency(&self) -> Result<Vec<f64>, String> {
        let instance = Instance::up(MANIFEST);
        let load = Arc::new(Load::new(&instance, PACED));
        let workers = Workers::start(&load, WORKERS, 1);
        let sender = Arc::clone(&load);
        let sending = std::thread::spawn(move || runtime().block_on(send_paced(sender)));
        workers.finish();
        let sent = sending.join().expect("the sender is done");
        let done = load.done.lock().unwrap();
        Ok(sent.into_iter().map(|(id, begun)| (done[&id] - begun).as_secs_f64() * 1e3).collect())
    }
}

/// What senders and workers share.
struct Load {
    place: Place,
    tasks: usize,
    sent: AtomicUsize,
    answered: AtomicUsize,
    /// When the last result was acknowledged.
    last: Mutex<Instant>,
    /// When each was.
    done: Mutex<HashMap<IntentId, Instant>>,
    over: Notify,
}

impl Load {
    fn new(instance: &Instance, tasks: usize) -> Self {
        Self {
            place: instance.place(),
            tasks,
            sent: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            last: Mutex::new(Instant::now()),
            done: Mutex::default(),
            over: Notify::new(),
        }
    }

    fn acknowledged(&self, answers: &[Lease]) {
        let now = Instant::now();
        if self.tasks == PACED {
            let mut done = self.done.lock().unwrap();
            done.extend(answers.iter().map(|lease| (lease.intent, now)));
        }
        *self.last.lock().unwrap() = now;
        if self.answered.fetch_add(answers.len(), Ordering::Relaxed) + answers.len() >= self.tasks {
            self.over.notify_waiters();
            self.over.notify_one();
        }
    }
}

/// Asks the task manager, until it answers.
async fn ask(bus: &Bus, subject: Option<String>, command: Command, wait_ms: u64) -> Reply {
    let mut message = wire::command(shell::NAME, &Envelope::new(command)).unwrap();
    if let Some(subject) = subject {
        message.subject = subject;
    }
    message.headers.append(WAIT_HEADER, wait_ms.to_string());
    let patience = Duration::from_millis(wait_ms) + Duration::from_secs(5);
    loop {
        match bus.request(message.clone(), patience).await {
            Ok(Message { payload, .. }) => match wire::read_answer::<Htm>(&payload) {
                Ok(Outcome::Done(reply)) => return reply,
                Ok(Outcome::Refused(refusal)) => panic!("{refusal}"),
                Err(e) if e.code == "busy" => {}
                Err(e) => panic!("{}: {}", e.code, e.message),
            },
            Err(e) => eprintln!("asked again: {e}"),
        }
    }
}

/// By way of the cortex, until it answers.
async fn submit(bus: &Bus, kind: &str, body: &str, count: usize, wait_ms: u64) -> IntentId {
    let asked = Asked {
        kind: kind.into(),
        // Others are refused where hundreds of thousands wait.
        priority: Some(Priority::High),
        actor: "bench".into(),
        payload: Json::of(&serde_json::json!({ "body": body })),
        ..Asked::default()
    };
    let command = grace_cortex::command::Command::Submit { intents: vec![asked; count] };
    let mut message = wire::command(router::shell::NAME, &Envelope::new(command)).unwrap();
    message.headers.append(WAIT_HEADER, wait_ms.to_string());
    loop {
        let payload = match bus.request(message.clone(), Duration::from_secs(5)).await {
            Ok(Message { payload, .. }) => payload,
            Err(e) => {
                eprintln!("asked again: {e}");
                continue;
            }
        };
        match wire::read_answer::<Router>(&payload) {
            Ok(Outcome::Done(grace_cortex::command::Reply::Submitted { results })) => {
                assert_eq!(results.len(), count, "each intent has an answer");
                let id = |answer: &Answered| match answer {
                    Answered::Decided(decision) => decision.id,
                    Answered::Refused(refusal) => panic!("{refusal:?}"),
                };
                return results.iter().map(id).min().expect("intents were sent");
            }
            Err(e) if e.code == "busy" => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Lets so many tasks wait.
async fn park(instance: &Instance, count: usize) {
    let body = "x".repeat(BODY_BYTES);
    let bus = connect(&instance.place(), "parker").await;
    for sent in (0..count).step_by(BULK) {
        // Not faster than the task manager takes them.
        submit(&bus, "parked", &body, BULK.min(count - sent), 4000).await;
    }
}

async fn send_all(load: Arc<Load>, bulk: usize) {
    let body = "x".repeat(BODY_BYTES);
    let bus = connect(&load.place, "sender").await;
    // Many at a time go one request after the other, as peers take them.
    let senders = (0..if bulk == 1 { SENDERS } else { 1 }).map(|_| {
        let (load, bus, body) = (Arc::clone(&load), bus.clone(), body.clone());
        tokio::spawn(async move {
            loop {
                let sent = load.sent.fetch_add(bulk, Ordering::Relaxed);
                if sent >= load.tasks {
                    break;
                }
                submit(&bus, "noop", &body, bulk.min(load.tasks - sent), 0).await;
            }
        })
    });
    let senders: Vec<_> = senders.collect();
    for sender in senders {
        sender.await.unwrap();
    }
}

/// When each was sent.
async fn send_paced(load: Arc<Load>) -> Vec<(IntentId, Instant)> {
    let body = "x".repeat(BODY_BYTES);
    let bus = connect(&load.place, "sender").await;
    let mut sending = Vec::new();
    let begun = Instant::now();
    for n in 0..load.tasks {
        let due = Duration::from_secs_f64(n as f64 / PACE as f64);
        tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
        let (bus, body, sent) = (bus.clone(), body.clone(), Instant::now());
        sending.push(tokio::spawn(async move { (submit(&bus, "noop", &body, 1, 0).await, sent) }));
    }
    let mut sent = Vec::new();
    for one in sending {
        sent.push(one.await.unwrap());
    }
    sent
}

/// Workers on a thread of their own, over one connection.
struct Workers(std::thread::JoinHandle<()>);

impl Workers {
    /// Returns when all are registered.
    fn start(load: &Arc<Load>, count: usize, slots: usize) -> Self {
        let (ready, registered) = std::sync::mpsc::channel();
        let load = Arc::clone(load);
        let thread = std::thread::spawn(move || {
            runtime().block_on(async {
                let bus = connect(&load.place, "bench").await;
                for n in 1..=count {
                    let (load, bus, ready) = (Arc::clone(&load), bus.clone(), ready.clone());
                    tokio::spawn(work(load, bus, format!("bench-{n}"), slots, ready));
                }
                let over = tokio::time::timeout(PATIENCE, load.over.notified()).await;
                let answered = load.answered.load(Ordering::Relaxed);
                assert!(over.is_ok(), "{answered} of {} tasks are done", load.tasks);
            });
        });
        for _ in 0..count {
            registered.recv().expect("a worker registers");
        }
        Self(thread)
    }

    fn finish(self) {
        self.0.join().expect("every task is done");
    }
}

async fn work(load: Arc<Load>, bus: Bus, name: String, slots: usize, ready: std::sync::mpsc::Sender<()>) {
    let slots = u32::try_from(slots).unwrap();
    let offer = Offer {
        name: name.clone(),
        incarnation: "1".into(),
        kinds: vec!["noop".into()],
        labels: Vec::new(),
        slots,
    };
    ask(&bus, Some(work_subject("register", &name)), Command::Register(offer), 0).await;
    ready.send(()).unwrap();
    let (mut number, mut had) = (0, Vec::new());
    loop {
        number += 1;
        let next = Ask { worker: name.clone(), max: slots, request: Some(number.to_string()) };
        had =
            if had.is_empty() { lease(&bus, &name, next).await } else { turn(&bus, &load, had, next).await };
    }
}

/// Waits for tasks.
async fn lease(bus: &Bus, name: &str, next: Ask) -> Vec<Lease> {
    let command = Command::Lease { asks: vec![next] };
    match ask(bus, Some(work_subject("lease", name)), command, WAIT_MS).await {
        Reply::Leased { mut grants, .. } => grants.pop().map(|grant| grant.tasks).unwrap_or_default(),
        reply => panic!("{reply:?}"),
    }
}

/// Tells what was done, and takes what there is.
async fn turn(bus: &Bus, load: &Load, leases: Vec<Lease>, next: Ask) -> Vec<Lease> {
    let done = |lease: &Lease| {
        assert!(lease.input.len() > BODY_BYTES, "the worker gets what was sent");
        TaskAnswer { task: lease.task, token: lease.token, output: None, failed: None, retry: None }
    };
    let subject = work_subject("answer", &next.worker);
    let turn =
        Turn { worker: next.worker.clone(), answers: leases.iter().map(done).collect(), next: Some(next) };
    match ask(bus, Some(subject), Command::Turn { turns: vec![turn], chance: 0 }, 0).await {
        Reply::Turned { mut turns } => {
            let turned = turns.pop().expect("one turn");
            assert!(turned.verdicts.iter().all(|verdict| *verdict == Verdict::Taken), "{turned:?}");
            load.acknowledged(&leases);
            turned.tasks
        }
        reply => panic!("{reply:?}"),
    }
}
