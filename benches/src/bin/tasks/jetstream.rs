//! A NATS JetStream work queue in files with a sync for each write (`sync_interval: always`), over Grace's own NATS client: publish with
//! an acknowledgement, pull as many as a worker has slots, and acknowledge with a confirmation (`+ACK` as a request), the next pull
//! right behind it.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use grace_bus::{
    Bus, Message, Subscription,
    client::native::{self, NativeOptions, Target},
};
use tokio::{runtime::Runtime, sync::Notify};

use super::{
    BODY_BYTES, PACE, PACED, PATIENCE, Queue, Run, SENDERS, WORKERS,
    server::{Server, free_port},
};

const REQUEST: Duration = Duration::from_secs(5);
const SUBJECT: &str = "bench.tasks";
const NEXT: &str = "$JS.API.CONSUMER.MSG.NEXT.BENCH.workers";

pub(super) struct JetStream {
    pub(super) server: PathBuf,
}

struct Running {
    port: u16,
    tasks: usize,
    next: AtomicUsize,
    done: AtomicUsize,
    last: Mutex<Instant>,
    /// When each was sent, and how long it took.
    sent: Mutex<Vec<Option<Instant>>>,
    took: Mutex<Vec<f64>>,
    over: Notify,
}

impl Queue for JetStream {
    fn throughput(&self, run: Run) -> Result<f64, String> {
        let (_server, running) = self.start(run.tasks)?;
        let workers = Workers::start(&running, run.workers, run.slots);
        let begun = Instant::now();
        let sending = Arc::clone(&running);
        std::thread::spawn(move || {
            runtime().block_on(async {
                let bus = connect(sending.port).await;
                let senders: Vec<_> = (0..SENDERS)
                    .map(|_| {
                        let (running, bus) = (Arc::clone(&sending), bus.clone());
                        tokio::spawn(async move {
                            loop {
                                let number = running.next.fetch_add(1, Ordering::Relaxed);
                                if number >= running.tasks {
                                    break;
                                }
                                publish(&bus, number).await;
                            }
                        })
                    })
                    .collect();
                for sender in senders {
                    sender.await.unwrap();
                }
            });
        })
        .join()
        .expect("the senders are done");
        workers.join().expect("every task is done");
        let last = *running.last.lock().unwrap();
        Ok(run.tasks as f64 / (last - begun).as_secs_f64())
    }

    fn latency(&self) -> Result<Vec<f64>, String> {
        let (_server, running) = self.start(PACED)?;
        let workers = Workers::start(&running, WORKERS, 1);
        let sending = Arc::clone(&running);
        runtime().block_on(async move {
            let bus = connect(sending.port).await;
            let begun = Instant::now();
            let mut on_way = Vec::new();
            for number in 0..PACED {
                let due = Duration::from_secs_f64(number as f64 / PACE as f64);
                tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
                sending.sent.lock().unwrap()[number] = Some(Instant::now());
                let bus = bus.clone();
                on_way.push(tokio::spawn(async move { publish(&bus, number).await }));
            }
            for one in on_way {
                one.await.unwrap();
            }
        });
        workers.join().expect("every task is done");
        let took = running.took.lock().unwrap().clone();
        Ok(took)
    }
}

impl JetStream {
    fn start(&self, tasks: usize) -> Result<(Server, Arc<Running>), String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let (port, store, file) = (free_port(), folder.path().join("js"), folder.path().join("server.conf"));
        let settings = format!(
            "port: {port}\nhost: \"127.0.0.1\"\njetstream {{ store_dir: \"{}\", sync_interval: always }}\n",
            store.display()
        );
        fs::write(&file, settings).map_err(|e| e.to_string())?;
        let server = Server::start(Command::new(&self.server).arg("-c").arg(&file), folder, port)?;
        runtime().block_on(async {
            let bus = connect(port).await;
            let stream = serde_json::json!({"name": "BENCH", "subjects": [SUBJECT], "retention": "workqueue",
                "storage": "file", "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "num_replicas": 1});
            api(&bus, "$JS.API.STREAM.CREATE.BENCH", &stream).await?;
            let consumer = serde_json::json!({"stream_name": "BENCH", "config": {"durable_name": "workers",
                "ack_policy": "explicit", "deliver_policy": "all", "max_ack_pending": 20_000}});
            api(&bus, "$JS.API.CONSUMER.DURABLE.CREATE.BENCH.workers", &consumer).await
        })?;
        let running = Running {
            port,
            tasks,
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            last: Mutex::new(Instant::now()),
            sent: Mutex::new(vec![None; tasks]),
            took: Mutex::default(),
            over: Notify::new(),
        };
        Ok((server, Arc::new(running)))
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn connect(port: u16) -> Bus {
    let target = Target::Tcp(format!("127.0.0.1:{port}"));
    let bus = native::connect(NativeOptions::new(target, "bench", "bench", "bench"));
    bus.connected().wait_for(|connected| *connected).await.unwrap();
    bus
}

async fn api(bus: &Bus, subject: &str, request: &serde_json::Value) -> Result<(), String> {
    let message = Message::new(subject, request.to_string());
    let answer = bus.request(message, REQUEST).await.map_err(|e| e.to_string())?;
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).map_err(|e| e.to_string())?;
    answer.get("error").map_or(Ok(()), |error| Err(format!("{subject}: {error}")))
}

async fn publish(bus: &Bus, number: usize) {
    let answer = bus.request(Message::new(SUBJECT, format!("{number:0BODY_BYTES$}")), REQUEST).await.unwrap();
    assert!(!answer.payload.windows(5).any(|word| word == b"error"), "{answer:?}");
}

struct Workers;

impl Workers {
    /// Returns when all are connected.
    fn start(running: &Arc<Running>, count: usize, slots: usize) -> std::thread::JoinHandle<()> {
        let (ready, connected) = std::sync::mpsc::channel();
        let running = Arc::clone(running);
        let thread = std::thread::spawn(move || {
            runtime().block_on(async {
                let bus = connect(running.port).await;
                for n in 0..count {
                    let (running, bus, ready) = (Arc::clone(&running), bus.clone(), ready.clone());
                    tokio::spawn(work(running, bus, format!("bench.worker.{n}"), slots, ready));
                }
                let over = tokio::time::timeout(PATIENCE, running.over.notified()).await;
                assert!(over.is_ok(), "{} tasks are done", running.done.load(Ordering::Relaxed));
            });
        });
        for _ in 0..count {
            connected.recv().expect("a worker connects");
        }
        thread
    }
}

async fn work(
    running: Arc<Running>,
    bus: Bus,
    inbox: String,
    slots: usize,
    ready: std::sync::mpsc::Sender<()>,
) {
    let mut tasks = bus.subscribe(&inbox, None).await.unwrap();
    ready.send(()).unwrap();
    let pull = serde_json::json!({"batch": slots, "expires": 1_000_000_000_u64}).to_string();
    let ask = || {
        let mut message = Message::new(NEXT, pull.clone());
        message.reply = Some(inbox.clone());
        bus.publish(message)
    };
    ask().await.unwrap();
    loop {
        let mut had = vec![next(&mut tasks, &ask).await];
        while had.len() < slots {
            let Some(more) = tasks.try_next() else { break };
            had.extend((!more.payload.is_empty()).then_some(more));
        }
        let acknowledged = had.into_iter().map(|task| {
            let (bus, running) = (bus.clone(), Arc::clone(&running));
            tokio::spawn(async move {
                let number: usize = std::str::from_utf8(&task.payload).unwrap().parse().unwrap();
                bus.request(Message::new(task.reply.unwrap(), "+ACK"), REQUEST).await.unwrap();
                let now = Instant::now();
                if let Some(sent) = running.sent.lock().unwrap()[number] {
                    running.took.lock().unwrap().push((now - sent).as_secs_f64() * 1e3);
                }
                *running.last.lock().unwrap() = now;
                if running.done.fetch_add(1, Ordering::Relaxed) + 1 == running.tasks {
                    running.over.notify_one();
                }
            })
        });
        let acknowledged: Vec<_> = acknowledged.collect();
        tokio::task::yield_now().await;
        ask().await.unwrap();
        for one in acknowledged {
            one.await.unwrap();
        }
    }
}

/// The next task; what comes without a body says that a pull is over.
async fn next<F: Future<Output = Result<(), grace_bus::BusError>>>(
    tasks: &mut Subscription,
    ask: &impl Fn() -> F,
) -> Message {
    loop {
        let message = tasks.next().await.expect("the connection stays");
        if !message.payload.is_empty() {
            return message;
        }
        ask().await.unwrap();
    }
}
