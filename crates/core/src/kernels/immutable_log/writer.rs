//! The log as a library: batches in, seals out. Three threads, each of which waits for one thing.
//!
//! ```text
//! append ─► inbox ─► sealer ─ frame ─► syncer ─ one fdatasync ─► answers
//!                      ▲ hashes           └─ publication ─► publisher ─► public files, each synced
//!                      └────────── done ──────────┴──────────────┘
//! ```
//!
//! The sealer takes batches into the open frame while the last one is synced, and seals as soon as it is: group commit, where nobody
//! waits for a timer. A frame that could not be written is kept and written again before anything else; who waited for
//! it is told `not_durable`, and finds its records there when it sends them again. The publisher gets one plan at a time that
//! covers all since the last: however fast entries come, a full bundle is written once.

use std::{
    collections::VecDeque,
    io, mem,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use grace_kernel::evidence::wire::Batch;
use grace_log::{checkpoint::Checkpoint, note::VerifierKey};
use grace_types::{chance::Entropy, time::Clock};
use tokio::sync::{oneshot, watch};

use super::{
    LOCK,
    disk::{Disk, real::RealDisk},
    limits::{BATCHES_WAITING, BATCHES_WAITING_BYTES},
    open::{OpenError, Opened, open},
    publish::{Publication, Publisher},
    sealer::{Job, Sealer},
    workers::{Publishing, Syncer},
};

/// What a sender learns when all of its batch is sealed and synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// Every record of the source before it is in the log.
    pub next: u64,
    /// The place in the log of the first record of the batch that was new, if one was.
    pub index: Option<u64>,
    /// Entries in the log.
    pub size: u64,
}

/// Why a batch is not sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSealed {
    /// The disk is full or broken. Some of the batch may be there all the same; send it again.
    #[error("the entries could not be made durable: {detail}")]
    NotDurable {
        /// What the disk said.
        detail: String,
    },
    /// Too much waits.
    #[error("too many batches are waiting; try again later")]
    Busy,
    /// The log is about to end.
    #[error("the log is stopping")]
    Stopping,
    /// It never will be.
    #[error("{detail}")]
    Refused {
        /// Why.
        detail: String,
    },
}

impl NotSealed {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotDurable { .. } => "not_durable",
            Self::Busy => "busy",
            Self::Stopping => "stopping",
            Self::Refused { .. } => "log_full",
        }
    }
}

/// What a sender gets.
pub type Answer = Result<Sealed, NotSealed>;
/// Where it gets it. If the log ends without an answer, nothing is said about the batch.
pub type Answered = oneshot::Receiver<Answer>;
pub(super) type To = oneshot::Sender<Answer>;

/// The newest checkpoint in the public files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The signed note, as in the file.
    pub note: String,
}

/// A batch that waits.
pub(super) struct Waiting {
    pub(super) batch: Batch,
    pub(super) to: To,
}

impl Waiting {
    /// What it counts for; never nothing.
    fn bytes(&self) -> usize {
        self.batch.size_bytes() + 64
    }
}

/// What the threads tell the sealer.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) batches: VecDeque<Waiting>,
    bytes: usize,
    /// A frame is durable, or could not be made so.
    pub(super) synced: Option<Synced>,
    /// The publication is done.
    pub(super) published: bool,
    /// It could not be done to the end. Nothing may be published after it: what it lacks is not in any later plan.
    pub(super) given_up: bool,
    /// What the publisher meets, for as long as it does.
    pub(super) publishing_fails: Option<String>,
    /// Nothing more is taken in.
    pub(super) stop: bool,
}

/// A job that is done; its frame's buffer may be used again.
pub(super) enum Synced {
    Done { spare: Vec<u8> },
    Failed { job: Box<Job>, detail: String },
}

/// Whether a thread moves. Odd while it works.
#[derive(Debug, Default)]
pub(super) struct Pulse(AtomicU64);

impl Pulse {
    pub(super) fn working(&self) {
        self.0.fetch_or(1, Ordering::AcqRel);
    }

    pub(super) fn step(&self) {
        self.0.fetch_add(2, Ordering::AcqRel);
    }

    pub(super) fn waiting(&self) {
        self.working();
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// What the threads share.
pub(super) struct Shared {
    inbox: Mutex<Inbox>,
    /// For the sealer.
    pub(super) wake: Condvar,
    /// For senders.
    room: Condvar,
    /// For a publisher that waits to try again.
    pub(super) retry: Condvar,
    /// Entries in the public files.
    pub(super) published: AtomicU64,
    pub(super) pulses: [Pulse; 3],
    pub(super) newest: watch::Sender<Published>,
    key: VerifierKey,
    pub(super) tell: fn(&str),
}

impl Shared {
    /// Of a log whose public files stand at `newest`.
    pub(super) fn new(newest: Published, key: VerifierKey, tell: fn(&str)) -> Self {
        Self {
            inbox: Mutex::default(),
            wake: Condvar::new(),
            room: Condvar::new(),
            retry: Condvar::new(),
            published: AtomicU64::new(newest.checkpoint.size),
            pulses: Default::default(),
            newest: watch::Sender::new(newest),
            key,
            tell,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inbox> {
        // Nothing panics while it holds the lock; and the inbox is whole between any two statements.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sealer begins.
    pub(super) fn work(&self) {
        self.pulses[SEALER].working();
    }

    /// Tells the sealer something.
    pub(super) fn tell_sealer(&self, change: impl FnOnce(&mut Inbox)) {
        change(&mut self.lock());
        self.wake.notify_one();
    }

    /// Waits until `ready`, but not longer than `most` where that is given; whether it was so long.
    pub(super) fn wait(&self, pulse: usize, most: Option<Duration>, ready: impl Fn(&Inbox) -> bool) -> bool {
        let (mut inbox, mut over) = (self.lock(), false);
        if !ready(&inbox) {
            self.pulses[pulse].waiting();
            while !ready(&inbox) && !over {
                (inbox, over) = match most {
                    None => (self.wake.wait(inbox).unwrap_or_else(PoisonError::into_inner), false),
                    Some(most) => {
                        let waited = self.wake.wait_timeout(inbox, most);
                        let (inbox, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                        (inbox, waited.timed_out())
                    }
                };
            }
            self.pulses[pulse].working();
        }
        self.pulses[pulse].step();
        over
    }

    /// Takes all batches that wait.
    pub(super) fn drain(&self, inbox: &mut Inbox) -> VecDeque<Waiting> {
        if !inbox.batches.is_empty() {
            inbox.bytes = 0;
            self.room.notify_all();
        }
        mem::take(&mut inbox.batches)
    }
}

/// A log that is open for appending. Clones share it.
#[derive(Clone)]
pub struct LogWriter {
    pub(super) shared: Arc<Shared>,
}

/// The threads of a log.
pub struct Running {
    shared: Arc<Shared>,
    ended: oneshot::Receiver<Result<(), String>>,
    seen: [u64; 3],
}

impl LogWriter {
    /// Opens the log of the instance in the folder `data`, or begins one. Nobody else may write there. `tell` is for sentences about
    /// what went wrong and goes on; `step` is called now and then until the log is open, as a sign that it goes on.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        data: &Path,
        entropy: &mut dyn Entropy,
        clock: Arc<dyn Clock>,
        tell: fn(&str),
        step: &dyn Fn(),
    ) -> Result<(Self, Running), OpenError> {
        let disk = RealDisk::at(data).lock(LOCK)?.ok_or(OpenError::InUse)?;
        Self::on(Arc::new(disk), entropy, clock, tell, step)
    }

    /// The same on any disk.
    ///
    /// # Errors
    /// As for [`LogWriter::open`].
    pub fn on(
        disk: Arc<dyn Disk>,
        entropy: &mut dyn Entropy,
        clock: Arc<dyn Clock>,
        tell: fn(&str),
        step: &dyn Fn(),
    ) -> Result<(Self, Running), OpenError> {
        let Opened { mut intake, pending, known, mut published, snapshot, is_new, notices } =
            open(&*disk, entropy, step)?;
        notices.iter().for_each(|notice| tell(notice));
        let mut publisher = Publisher::new(Arc::clone(&disk));
        if is_new {
            let plan = intake.plan().map_err(OpenError::Checkpoint)?;
            published = plan.checkpoint.clone();
            publisher.carry_out(&Publication { plan, snapshot: None }, step)?;
        }
        let note = published.sign(&[intake.key()]).map_err(OpenError::Checkpoint)?;
        let newest = Published { checkpoint: published, note };
        let shared = Arc::new(Shared::new(newest, intake.key().verifier().clone(), tell));
        let known = Arc::new(Mutex::new(known));
        // Of one each: the sealer has at most one frame and one publication on the way.
        let (jobs, to_sync) = mpsc::sync_channel(1);
        let (plans, to_publish) = mpsc::sync_channel(1);
        let syncer = Syncer {
            shared: Arc::clone(&shared),
            pending,
            known: Arc::clone(&known),
            plans: plans.clone(),
            failing: false,
        };
        let publishing = Publishing { shared: Arc::clone(&shared), publisher, known };
        let sealer = Sealer::new(Arc::clone(&shared), disk, intake, snapshot, clock, jobs, plans);
        let others = [
            spawn("syncer", move || syncer.run(&to_sync))?,
            spawn("publisher", move || publishing.run(&to_publish))?,
        ];
        let (end, ended) = oneshot::channel();
        spawn("sealer", move || {
            let done = sealer.run();
            // Each ends when the one before it has.
            for other in others {
                let _ = other.join();
            }
            let _ = end.send(done);
        })?;
        let running = Running { shared: Arc::clone(&shared), ended, seen: [0; 3] };
        Ok((Self { shared }, running))
    }

    /// Appends what is new of a batch. The answer comes when it is sealed and synced.
    ///
    /// # Errors
    /// [`NotSealed::Busy`] when too much waits, and [`NotSealed::Stopping`].
    pub fn append(&self, batch: Batch) -> Result<Answered, NotSealed> {
        let (to, answered) = oneshot::channel();
        let waiting = Waiting { batch, to };
        let inbox = self.shared.lock();
        if inbox.stop {
            return Err(NotSealed::Stopping);
        }
        if is_full(&inbox) {
            return Err(NotSealed::Busy);
        }
        self.push(inbox, waiting);
        Ok(answered)
    }

    /// The same for a thread that may wait for room.
    ///
    /// # Errors
    /// [`NotSealed::Stopping`].
    pub fn append_blocking(&self, batch: Batch) -> Result<Answered, NotSealed> {
        let (to, answered) = oneshot::channel();
        let mut inbox = self.shared.lock();
        while is_full(&inbox) && !inbox.stop {
            inbox = self.shared.room.wait(inbox).unwrap_or_else(PoisonError::into_inner);
        }
        if inbox.stop {
            return Err(NotSealed::Stopping);
        }
        self.push(inbox, Waiting { batch, to });
        Ok(answered)
    }

    fn push(&self, mut inbox: MutexGuard<'_, Inbox>, waiting: Waiting) {
        inbox.bytes += waiting.bytes();
        inbox.batches.push_back(waiting);
        let first = inbox.batches.len() == 1;
        drop(inbox);
        // Later ones come while the sealer is already on its way.
        if first {
            self.shared.wake.notify_one();
        }
    }

    /// The newest checkpoint in the public files, and every one from now on.
    #[must_use]
    pub fn published(&self) -> watch::Receiver<Published> {
        self.shared.newest.subscribe()
    }

    /// Batches that wait to be sealed, and what the publisher meets, if it does not get on.
    #[must_use]
    pub fn waiting(&self) -> (usize, Option<String>) {
        let inbox = self.shared.lock();
        (inbox.batches.len(), inbox.publishing_fails.clone())
    }

    /// The key with which checkpoints are checked.
    #[must_use]
    pub fn key(&self) -> &VerifierKey {
        &self.shared.key
    }

    /// Lets the log seal what waits, bring the public files up to it, and end. See [`Running::ended`].
    pub fn stop(&self) {
        self.shared.tell_sealer(|inbox| inbox.stop = true);
        self.shared.room.notify_all();
        self.shared.retry.notify_all();
    }
}

fn is_full(inbox: &Inbox) -> bool {
    inbox.batches.len() >= BATCHES_WAITING || inbox.bytes >= BATCHES_WAITING_BYTES
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

impl Running {
    /// Whether each thread has moved since the last call, or waits for something to do. One that hangs in the disk has not.
    pub fn is_alive(&mut self) -> bool {
        let mut alive = true;
        for (pulse, seen) in self.shared.pulses.iter().zip(&mut self.seen) {
            let now = pulse.0.load(Ordering::Acquire);
            alive &= now.is_multiple_of(2) || now != *seen;
            *seen = now;
        }
        alive
    }

    /// Waits for the end, which [`LogWriter::stop`] asks for. Cancel-safe.
    ///
    /// # Errors
    /// What is not sealed or not published, and why. A later start publishes what is sealed.
    pub async fn ended(&mut self) -> Result<(), String> {
        (&mut self.ended).await.unwrap_or_else(|_| Err(UNEXPECTED.to_owned()))
    }

    /// The same for a thread that may wait.
    ///
    /// # Errors
    /// As for [`Running::ended`].
    pub fn ended_blocking(self) -> Result<(), String> {
        self.ended.blocking_recv().unwrap_or_else(|_| Err(UNEXPECTED.to_owned()))
    }
}

const UNEXPECTED: &str = "the sealer has ended unexpectedly";

/// Marks the log as ended however the sealer ends, so that nobody waits for it.
pub(super) struct End(pub(super) Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let mut inbox = self.0.lock();
        inbox.stop = true;
        let left = mem::take(&mut inbox.batches);
        drop(inbox);
        self.0.room.notify_all();
        self.0.retry.notify_all();
        for waiting in left {
            let _ = waiting.to.send(Err(NotSealed::Stopping));
        }
    }
}

/// The sealer's pulse, and so on.
pub(super) const SEALER: usize = 0;
pub(super) const SYNCER: usize = 1;
pub(super) const PUBLISHER: usize = 2;
