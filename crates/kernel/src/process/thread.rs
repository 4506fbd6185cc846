//! The host on a thread of its own, which may block in a sync.
//!
//! Commands come in over a bounded channel. The thread takes what is there (one command, if it was idle), commits, and
//! takes what has come in the meantime: the busier, the larger the batch. All that a commit releases goes to the process's loop in one
//! piece, answers to who asked included: the loop is woken up once for a batch, and so are those who wait on its thread.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use grace_store::{Journal, Seq, StoreError};
use grace_types::{chance::Entropy, time::Clock};
use tokio::sync::{mpsc, oneshot, watch};

use super::{KernelError, later, reserve::Reserve, turns};
use crate::{Answer, Decider, Entry, Envelope, Host, HostError, limits};

/// Where an answer goes.
enum To<D: Decider> {
    Caller(oneshot::Sender<Answer<D>>),
    /// Out with the rest of the batch, under this name.
    Released(String),
    Nobody,
}

/// What waits in the queue.
enum Item<D: Decider> {
    Command(Envelope<D::Command>, To<D>),
    /// Nothing after this is taken.
    Stop,
}

/// The way in: clones share the queue.
pub struct Commands<D: Decider> {
    queue: mpsc::Sender<Item<D>>,
}

impl<D: Decider> Clone for Commands<D> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<D: Decider> Commands<D> {
    /// Asks, waits while the queue is full, and returns when the decision is durable.
    ///
    /// # Errors
    /// See [`HostError`]. A refusal is no error.
    pub async fn ask(&self, envelope: Envelope<D::Command>) -> Answer<D> {
        let (to, answer) = oneshot::channel();
        self.queue.send(Item::Command(envelope, To::Caller(to))).await.map_err(|_| HostError::Stopping)?;
        answer.await.unwrap_or(Err(HostError::Stopping))
    }

    /// Asks until the decision is durable, however long the journal cannot be written, with this long between two tries.
    ///
    /// # Errors
    /// [`HostError::Stopping`] and no other.
    pub async fn insist(&self, command: D::Command, again: Duration) -> Result<(), HostError>
    where
        D::Command: Clone,
    {
        loop {
            match self.ask(Envelope::new(command.clone())).await {
                Ok(_) => return Ok(()),
                Err(HostError::Stopping) => return Err(HostError::Stopping),
                Err(_) => later(again).await,
            }
        }
    }

    /// [`Self::ask`] from a thread outside the runtime.
    ///
    /// # Errors
    /// As for [`Commands::ask`].
    pub fn ask_blocking(&self, envelope: Envelope<D::Command>) -> Answer<D> {
        let (to, answer) = oneshot::channel();
        self.queue.blocking_send(Item::Command(envelope, To::Caller(to))).map_err(|_| HostError::Stopping)?;
        answer.blocking_recv().unwrap_or(Err(HostError::Stopping))
    }

    /// Hands a command over without waiting. With `reply` its answer comes out in [`Release::replies`] under that name.
    ///
    /// # Errors
    /// [`HostError::Busy`] when the queue is full.
    pub fn tell(&self, envelope: Envelope<D::Command>, reply: Option<String>) -> Result<(), HostError> {
        let to = reply.map_or(To::Nobody, To::Released);
        self.queue.try_send(Item::Command(envelope, to)).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => HostError::Busy,
            mpsc::error::TrySendError::Closed(_) => HostError::Stopping,
        })
    }

    /// Lets the host finish what is in the queue, and end. Whoever asks afterwards is answered [`HostError::Stopping`].
    pub async fn stop(&self) {
        // A host that is gone has stopped.
        let _ = self.queue.send(Item::Stop).await;
    }
}

/// What the host lets out, batch by batch.
pub struct Release<D: Decider> {
    /// Those who asked and wait, and their answers.
    callers: Vec<(oneshot::Sender<Answer<D>>, Answer<D>)>,
    /// The newest durable record.
    durable: Seq,
    /// What is durable now.
    pub entries: Vec<(Seq, Entry<D>)>,
    /// What is to be done now.
    pub effects: Vec<D::Effect>,
    /// Answers to commands that were handed over with a name.
    pub replies: Vec<(String, Answer<D>)>,
    /// What went wrong or was passed over, one sentence each. The host goes on.
    pub notices: Vec<String>,
    /// Whether the disk is almost full, so that only emergencies are put on record.
    pub in_reserve: bool,
}

impl<D: Decider> Default for Release<D> {
    fn default() -> Self {
        Self {
            callers: Vec::new(),
            durable: Seq(0),
            entries: Vec::new(),
            effects: Vec::new(),
            replies: Vec::new(),
            notices: Vec::new(),
            in_reserve: false,
        }
    }
}

impl<D: Decider> Release<D> {
    /// Whether it has nothing to say but what is durable.
    const fn is_empty(&self) -> bool {
        let Self { callers, entries, effects, replies, notices, .. } = self;
        callers.is_empty()
            && entries.is_empty()
            && effects.is_empty()
            && replies.is_empty()
            && notices.is_empty()
    }
}

/// The host as the process's loop sees it.
pub struct Hosted<D: Decider> {
    releases: mpsc::Receiver<Release<D>>,
    written: watch::Sender<Seq>,
    ended: oneshot::Receiver<Result<(), KernelError>>,
    pulse: Arc<Pulse>,
    seen: u64,
}

impl<D: Decider> Hosted<D> {
    /// What the host lets out next; with it, those who asked have their answers. So nobody gets one while this is not called. The first release
    /// comes when the state is loaded, and holds what the state still waits for. `None` when the host has ended. Loses nothing when dropped.
    pub async fn next(&mut self) -> Option<Release<D>> {
        let mut release = self.releases.recv().await?;
        for (caller, answer) in release.callers.drain(..) {
            // Who asked may have gone away; the decision stands.
            let _ = caller.send(answer);
        }
        let durable = release.durable;
        self.written.send_if_modified(|newest| std::mem::replace(newest, durable) != durable);
        Some(release)
    }

    /// The newest durable record.
    #[must_use]
    pub fn written(&self) -> watch::Receiver<Seq> {
        self.written.subscribe()
    }

    /// Whether the host's thread has moved since the last call, or waits for a command. A thread that hangs in its disk or
    /// in a decision has not.
    pub fn is_alive(&mut self) -> bool {
        let turns = self.pulse.turns.load(Ordering::Acquire);
        // Odd while it works, even while it waits.
        let moved = turns.is_multiple_of(2) || turns != self.seen;
        self.seen = turns;
        moved
    }

    /// Why it ended. Call it when there is no further release.
    ///
    /// # Errors
    /// [`KernelError::Open`], [`KernelError::Load`], [`KernelError::Host`] or [`KernelError::HostGone`].
    pub async fn ended(self) -> Result<(), KernelError> {
        self.ended.await.unwrap_or(Err(KernelError::HostGone))
    }
}

#[derive(Default)]
struct Pulse {
    turns: AtomicU64,
}

impl Pulse {
    fn turn(&self) {
        self.turns.fetch_add(1, Ordering::AcqRel);
    }
}

/// Starts the host of `component`: opens its journal, loads it, and takes commands.
///
/// # Errors
/// When the thread cannot be made. Whatever else goes wrong comes out of [`Hosted::ended`].
pub fn spawn<D, J>(
    component: String,
    open: J,
    clock: Arc<dyn Clock>,
    entropy: Box<dyn Entropy>,
) -> io::Result<(Commands<D>, Hosted<D>)>
where
    D: Decider,
    J: FnOnce() -> Result<Box<dyn Journal>, StoreError> + Send + 'static,
{
    let (queue, inbox) = mpsc::channel(limits::COMMANDS_WAITING);
    let (out, releases) = mpsc::channel(limits::RELEASES_WAITING);
    let (end, ended) = oneshot::channel();
    let written = watch::Sender::new(Seq(0));
    let pulse = Arc::new(Pulse::default());
    let shared = Arc::clone(&pulse);
    std::thread::Builder::new().name("host".to_owned()).spawn(move || {
        // Who may not say this goes on as all others do.
        let _ = turns::short();
        let done = start(component, open).and_then(|(host, journal)| {
            let (last, reserve) = (LastBatch::default(), Reserve::default());
            let (told, storing) = (Seq(0), None);
            Worker { host, journal, inbox, out, pulse: shared, clock, entropy, last, reserve, told, storing }
                .work()
        });
        let _ = end.send(done);
    })?;
    Ok((Commands { queue }, Hosted { releases, written, ended, pulse, seen: 0 }))
}

type Started<D> = (Host<D, To<D>>, Box<dyn Journal>);

fn start<D: Decider>(
    component: String,
    open: impl FnOnce() -> Result<Box<dyn Journal>, StoreError>,
) -> Result<Started<D>, KernelError> {
    let mut journal = open().map_err(KernelError::Open)?;
    let host = Host::load(component, &mut *journal).map_err(KernelError::Load)?;
    Ok((host, journal))
}

struct Worker<D: Decider> {
    host: Host<D, To<D>>,
    journal: Box<dyn Journal>,
    inbox: mpsc::Receiver<Item<D>>,
    out: mpsc::Sender<Release<D>>,
    pulse: Arc<Pulse>,
    clock: Arc<dyn Clock>,
    entropy: Box<dyn Entropy>,
    last: LastBatch,
    reserve: Reserve,
    /// The last record that the loop knows to be durable.
    told: Seq,
    /// A snapshot that is being stored.
    storing: Option<JoinHandle<Result<(), StoreError>>>,
}

/// How the last batches went.
#[derive(Default)]
struct LastBatch {
    /// Commands in the last one, and in the one before.
    commands: [usize; 2],
    took: Duration,
}

impl<D: Decider> Worker<D> {
    fn work(mut self) -> Result<(), KernelError> {
        let effects = self.host.outstanding();
        self.release(Release { effects, ..Release::default() }, true);
        while let Some(item) = self.inbox.blocking_recv() {
            self.pulse.turn();
            let turned = self.turn(item);
            self.pulse.turn();
            turned?;
        }
        if let Some(storing) = self.storing.take() {
            self.stored(storing);
        }
        if self.reserve.is_on() {
            return Ok(());
        }
        // So that the next start need not replay. If it fails, it replays.
        if let Err(e) = self.host.snapshot(&mut *self.journal) {
            self.notice(format!("no snapshot at the end: {e}"));
        }
        Ok(())
    }

    /// One batch: the item given, and what else waits.
    fn turn(&mut self, item: Item<D>) -> Result<(), KernelError> {
        if let Some(notice) = self.reserve.look(self.clock.now().mono, &*self.journal) {
            self.host.keep_reserve(self.reserve.is_on());
            self.notice(notice);
        }
        self.gather(item);
        if self.host.is_idle() {
            return Ok(());
        }
        let begun = self.clock.now().mono;
        let released = self.host.commit(&mut *self.journal);
        let commands = [released.answers.len(), self.last.commands[0]];
        self.last = LastBatch { commands, took: self.clock.now().mono.since(begun) };
        let mut out = Release { entries: released.entries, effects: released.effects, ..Release::default() };
        for (to, answer) in released.answers {
            match to {
                To::Caller(caller) => out.callers.push((caller, answer)),
                To::Released(name) => out.replies.push((name, answer)),
                To::Nobody => {}
            }
        }
        let fenced = match released.error {
            Some(error @ StoreError::Fenced { .. }) => Some(HostError::Fenced { detail: error.to_string() }),
            Some(error) => {
                out.notices.push(format!("a batch was not written: {error}"));
                None
            }
            None => None,
        };
        self.release(out, false);
        if let Some(error) = fenced {
            return Err(KernelError::Host(error));
        }
        self.snapshot_if_due();
        Ok(())
    }

    /// Stores a snapshot when one is due, on a thread of its own, so that commands wait for no more than the state being written down; one at a
    /// time.
    fn snapshot_if_due(&mut self) {
        if let Some(done) = self.storing.take_if(|storing| storing.is_finished()) {
            self.stored(done);
        }
        if self.storing.is_some() || !self.host.is_snapshot_due() {
            return;
        }
        let begun = self.host.begin_snapshot(&mut *self.journal).and_then(|pending| {
            let store = move || pending.store().map(drop);
            std::thread::Builder::new().name("snapshot".to_owned()).spawn(store).map_err(|e| StoreError::Io {
                path: "a thread for a snapshot".to_owned(),
                detail: e.to_string(),
            })
        });
        match begun {
            Ok(storing) => self.storing = Some(storing),
            Err(e) => self.notice(format!("a snapshot failed: {e}")),
        }
    }

    /// Waits for it, and tells if it failed.
    fn stored(&mut self, storing: JoinHandle<Result<(), StoreError>>) {
        match storing.join() {
            Ok(Ok(())) => {}
            Ok(Err(e)) => self.notice(format!("a snapshot failed: {e}")),
            Err(_) => self.notice("a snapshot failed: its thread ended unexpectedly".to_owned()),
        }
    }

    fn notice(&mut self, notice: String) {
        self.release(Release { notices: vec![notice], ..Release::default() }, false);
    }

    /// Takes the item and what else waits. Those who got their answers from the batch before the last are about to ask again, while
    /// the others waited for the last one: they get a moment (at most a quarter of what the sync cost) to do so, or each batch would hold
    /// only the quickest of them, and every second sync would be wasted on a few.
    fn gather(&mut self, item: Item<D>) {
        let now = self.clock.now();
        let patience = (self.last.took / 4).min(limits::GATHER);
        let mut taken = 0;
        let mut next = Some(item);
        loop {
            match next {
                Some(Item::Command(envelope, to)) => {
                    taken += 1;
                    self.host.take(now, &mut *self.entropy, envelope, to);
                }
                Some(Item::Stop) => self.inbox.close(),
                None if taken < self.last.commands[1] && self.clock.now().mono.since(now.mono) < patience => {
                    std::thread::yield_now();
                }
                None => break,
            }
            if self.host.is_full() || taken >= limits::BATCH_COMMANDS {
                break;
            }
            next = self.inbox.try_recv().ok();
        }
    }

    fn release(&mut self, mut release: Release<D>, always: bool) {
        release.notices.extend(self.host.take_notices());
        release.durable = self.host.durable();
        release.in_reserve = self.reserve.is_on();
        let moved = std::mem::replace(&mut self.told, release.durable) != release.durable;
        if always || moved || !release.is_empty() {
            // A loop that is gone has ended the process's work; the inbox closes next.
            let _ = self.out.blocking_send(release);
        }
    }
}
