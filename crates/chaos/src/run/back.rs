//! The part of a run that waits for the bus, on a thread of its own: telemetry, the load, and the shipping of the run's own journal.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use grace_bus::{
    Bus,
    client::native::{self, NativeOptions, Target},
};
use grace_kernel::evidence::{self, Shippers};
use grace_store::Seq;
use grace_types::{
    id::RunId,
    time::{Clock, Timestamp},
};
use tokio::sync::{mpsc, watch};

use super::{BusLogin, load, load::Tally};
use crate::{limits, record::TelemetryRecord, scenario::LogWriters};

/// What is kept as evidence, whatever the scenario asks for.
const STREAM: [&str; 2] = ["grace.event.>", "grace.telemetry.>"];
/// How long the sinks are waited for at the end. What is not shipped then is shipped by the next run.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A message that was heard.
pub(super) struct Heard {
    /// When.
    pub(super) at: Timestamp,
    /// On which subject.
    pub(super) subject: String,
    /// What.
    pub(super) payload: Vec<u8>,
}

enum Order {
    StartLoad,
    StopLoad(SyncSender<()>),
    End,
}

/// See the module's page. Dropping it ends it without waiting for the sinks.
pub(super) struct Back {
    orders: mpsc::UnboundedSender<Order>,
    thread: Option<JoinHandle<()>>,
    /// What was heard and not taken yet.
    pub(super) heard: Receiver<Heard>,
    /// Messages that were dropped because nobody took them in time.
    dropped: Arc<AtomicU64>,
    counts: Vec<(String, Arc<AtomicU64>)>,
    /// What the load does.
    pub(super) tally: Tally,
    written: watch::Sender<Seq>,
}

/// What the thread needs.
pub(super) struct Setup {
    /// How to reach the bus.
    pub(super) login: BusLogin,
    /// The run.
    pub(super) run: RunId,
    /// Its load.
    pub(super) load: Vec<LogWriters>,
    /// The subjects that are counted.
    pub(super) telemetry: Vec<String>,
    /// The run's own journal.
    pub(super) journal: std::path::PathBuf,
    /// The component that it is the journal of.
    pub(super) component: &'static str,
    /// The machine's clock.
    pub(super) clock: Arc<dyn Clock>,
}

impl Back {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no more threads or descriptors.
    pub(super) fn start(setup: Setup) -> std::io::Result<Self> {
        let (orders, taken) = mpsc::unbounded_channel();
        let (say, heard) = sync_channel(limits::HEARD_MESSAGES);
        let (written, newest) = watch::channel(Seq(0));
        let counts: Vec<_> =
            setup.telemetry.iter().map(|subject| (subject.clone(), Arc::new(AtomicU64::new(0)))).collect();
        let (tally, dropped) = (Tally::default(), Arc::new(AtomicU64::new(0)));
        let worker = Worker {
            setup,
            say,
            dropped: Arc::clone(&dropped),
            counts: counts.clone(),
            tally: tally.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name("chaos-bus".to_owned())
            .spawn(move || runtime.block_on(worker.run(taken, newest)))?;
        Ok(Self { orders, thread: Some(thread), heard, dropped, counts, tally, written })
    }

    /// Starts the load.
    pub(super) fn start_load(&self) {
        let _ = self.orders.send(Order::StartLoad);
    }

    /// Stops the load, and waits until no writer is at work any more, for a bounded time.
    pub(super) fn stop_load(&self) {
        let (done, wait) = sync_channel(1);
        if self.orders.send(Order::StopLoad(done)).is_ok() {
            let _ = wait.recv_timeout(limits::GATHER_PATIENCE);
        }
    }

    /// Tells the shippers that the journal holds records up to `last`.
    pub(super) fn written(&self, last: Seq) {
        self.written.send_replace(last);
    }

    /// What was counted on the subjects.
    #[must_use]
    pub(super) fn telemetry(&self) -> Vec<TelemetryRecord> {
        let record = |(subject, count): &(String, Arc<AtomicU64>)| TelemetryRecord {
            subject: subject.clone(),
            messages: count.load(Ordering::Relaxed),
        };
        self.counts.iter().map(record).collect()
    }

    /// Messages that could not be kept.
    #[must_use]
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Ends the thread once the journal is shipped, or the sinks do not answer.
    pub(super) fn finish(mut self) {
        let _ = self.orders.send(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    setup: Setup,
    say: SyncSender<Heard>,
    dropped: Arc<AtomicU64>,
    counts: Vec<(String, Arc<AtomicU64>)>,
    tally: Tally,
}

impl Worker {
    async fn run(self, mut orders: mpsc::UnboundedReceiver<Order>, newest: watch::Receiver<Seq>) {
        let BusLogin { socket, user, password } = self.setup.login.clone();
        let options = NativeOptions::new(Target::Unix(socket), user, password, self.setup.component);
        let bus = native::connect(options);
        let clock = &self.setup.clock;
        let open = evidence::file(self.setup.journal.clone());
        // A run records some events a second, and waits for its seal.
        let at_once = Duration::ZERO;
        let mut shippers = Shippers::gathering(self.setup.component, &open, &bus, clock, &newest, at_once);
        for subject in STREAM {
            tokio::spawn(listen(bus.clone(), subject.to_owned(), self.keeper()));
        }
        for (subject, count) in self.counts.clone() {
            let counter = move |_: &str, _: &[u8]| {
                count.fetch_add(1, Ordering::Relaxed);
            };
            tokio::spawn(listen(bus.clone(), subject, counter));
        }
        let (stop, stopped) = watch::channel(false);
        let mut load = None;
        while let Some(order) = orders.recv().await {
            match order {
                Order::StartLoad if load.is_none() => {
                    let Setup { load: groups, run, .. } = &self.setup;
                    load = Some(load::start(groups, *run, &bus, clock, &self.tally, &stopped));
                }
                Order::StartLoad => {}
                Order::StopLoad(done) => {
                    stop.send_replace(true);
                    if let Some(load) = &mut load {
                        while load.join_next().await.is_some() {}
                    }
                    let _ = done.send(());
                }
                Order::End => {
                    shippers.finish(LAST_WORDS).await;
                    return;
                }
            }
        }
    }

    /// Hands on what is heard, as long as somebody takes it.
    fn keeper(&self) -> impl FnMut(&str, &[u8]) + Send + 'static {
        let (say, dropped, clock) =
            (self.say.clone(), Arc::clone(&self.dropped), Arc::clone(&self.setup.clock));
        move |subject, payload| {
            let payload = payload[..payload.len().min(limits::HEARD_BYTES)].to_vec();
            let heard = Heard { at: clock.now().wall, subject: subject.to_owned(), payload };
            if say.try_send(heard).is_err() {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Listens for as long as the run goes on, whatever happens to the bus.
async fn listen(bus: Bus, subject: String, mut hear: impl FnMut(&str, &[u8]) + Send + 'static) {
    // Fails only where the operator may not listen: then nothing is heard, and that is what is told.
    let Ok(mut subscription) = bus.subscribe(&subject, None).await else { return };
    while let Some(message) = subscription.next().await {
        hear(&message.subject, &message.payload);
    }
}
