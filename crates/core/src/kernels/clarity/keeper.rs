//! The thread that owns the database, and may block in it.
//!
//! It takes what waits (one batch, if it was idle), puts it in with one sync, answers, and takes what has come in the meantime: the busier,
//! the larger the group. The log is looked at between groups.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use grace_bus::Message;
use grace_kernel::{
    evidence::wire::{self, Batch, Position, WireError},
    process::{KernelError, tell},
};
use grace_store::{
    StoreError,
    narrative::{self, NarrativeDb},
};
use grace_types::time::Clock;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    Command, database,
    follow::{Contradiction, Follower, Look},
    journals, limits,
};
use crate::instance::Instance;

/// What the keeper is to do.
pub(super) enum Work {
    /// Take these records in, and answer there.
    Batch(Batch, String),
    Command(Command, String),
}

/// What the keeper has to say.
pub(super) enum Said {
    /// The database is open.
    Opened(String),
    Answer(Message),
    /// The log is not what was seen.
    Contradicted(Contradiction),
    /// The log is what was seen, again.
    Reconciled,
}

#[derive(Default)]
struct Inbox {
    work: VecDeque<Work>,
    bytes: usize,
    look: bool,
    stop: bool,
}

/// What the thread and the loop share.
#[derive(Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    wake: Condvar,
    /// Odd while the thread works, even while it waits; another number after every step.
    pulse: AtomicU64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        // The inbox is whole between any two statements.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self) {
        self.pulse.fetch_add(2, Ordering::AcqRel);
    }
}

/// The keeper as the loop sees it.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), StoreError>>>,
    seen: u64,
}

impl Keeper {
    /// Starts the thread. It says [`Said::Opened`] when it takes work in; its end shows as the end of what it says.
    pub(super) fn start(
        data: PathBuf,
        clock: Arc<dyn Clock>,
        said: mpsc::Sender<Said>,
    ) -> Result<Self, KernelError> {
        let shared = Arc::new(Shared::default());
        // At work from the beginning: opening may hang, too.
        shared.pulse.store(1, Ordering::Release);
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || {
                let db = open(&database(&data), &*clock)?;
                let follower = Follower::of(&data);
                let _ = said.blocking_send(Said::Opened("telling".to_owned()));
                Thread { shared: for_thread, db, follower, data, clock, said, contradicted: None }.run()
            })
            .map_err(|source| KernelError::System { what: "the keeper's thread", source })?;
        Ok(Self { shared, thread: Some(thread), seen: 0 })
    }

    /// Hands work over; false when too much waits.
    pub(super) fn hand(&self, work: Work) -> bool {
        let mut inbox = self.shared.lock();
        let bytes = size(&work);
        let full = inbox.work.len() >= limits::WAITING || inbox.bytes + bytes > limits::WAITING_BYTES;
        if inbox.stop || (full && !inbox.work.is_empty()) {
            return false;
        }
        inbox.bytes += bytes;
        inbox.work.push_back(work);
        self.shared.wake.notify_one();
        true
    }

    /// Has the log looked at.
    pub(super) fn look(&self) {
        self.shared.lock().look = true;
        self.shared.wake.notify_one();
    }

    /// Takes nothing more; what waits is still done.
    pub(super) fn stop(&self) {
        self.shared.lock().stop = true;
        self.shared.wake.notify_one();
    }

    /// Whether the thread has moved since the last call, or waits for work.
    pub(super) fn is_alive(&mut self) -> bool {
        let pulse = self.shared.pulse.load(Ordering::Acquire);
        let moved = pulse.is_multiple_of(2) || pulse != self.seen;
        self.seen = pulse;
        moved
    }

    /// Why it ended. Call it when it has nothing more to say.
    pub(super) fn ended(mut self) -> Result<(), KernelError> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(done)) => done.map_err(KernelError::Open),
            Some(Err(_)) | None => Err(KernelError::HostGone),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

fn size(work: &Work) -> usize {
    match work {
        Work::Batch(batch, _) => batch.size_bytes(),
        Work::Command(..) => 0,
    }
}

struct Thread {
    shared: Arc<Shared>,
    db: NarrativeDb,
    follower: Follower,
    data: PathBuf,
    clock: Arc<dyn Clock>,
    said: mpsc::Sender<Said>,
    contradicted: Option<Contradiction>,
}

impl Thread {
    fn run(mut self) -> Result<(), StoreError> {
        loop {
            let mut inbox = self.shared.lock();
            if inbox.work.is_empty() && !inbox.look {
                if inbox.stop {
                    return Ok(());
                }
                // Even: it waits.
                self.shared.pulse.fetch_add(1, Ordering::AcqRel);
                while inbox.work.is_empty() && !inbox.look && !inbox.stop {
                    inbox = self.shared.wake.wait(inbox).unwrap_or_else(PoisonError::into_inner);
                }
                self.shared.pulse.fetch_add(1, Ordering::AcqRel);
                continue;
            }
            let look = std::mem::take(&mut inbox.look) && !inbox.stop;
            let mut batches = Vec::new();
            let mut command = None;
            let mut bytes = 0;
            while let Some(work) = inbox.work.pop_front() {
                inbox.bytes -= size(&work);
                bytes += size(&work);
                match work {
                    Work::Batch(batch, reply) => batches.push((batch, reply)),
                    Work::Command(what, reply) => {
                        command = Some((what, reply));
                        break;
                    }
                }
                if bytes >= limits::GROUP_BYTES {
                    break;
                }
            }
            drop(inbox);
            self.take(&batches)?;
            self.shared.step();
            if let Some((command, reply)) = command {
                self.obey(&command, reply)?;
                self.shared.step();
            }
            if look {
                self.look()?;
                self.shared.step();
            }
        }
    }

    /// Takes a group of batches in with one sync, and answers each.
    fn take(&mut self, batches: &[(Batch, String)]) -> Result<(), StoreError> {
        if batches.is_empty() {
            return Ok(());
        }
        let group: Vec<narrative::Batch<'_>> = batches
            .iter()
            .map(|(batch, _)| narrative::Batch {
                source: &batch.source,
                first: batch.first,
                records: batch.records().map(|(_, record)| record).collect(),
            })
            .collect();
        let taken = self.db.ingest(&group);
        match &taken {
            Ok(nexts) => {
                for ((_, reply), next) in batches.iter().zip(nexts) {
                    self.answer(reply.clone(), wire::reply(&Ok(Position::new(*next))));
                }
            }
            Err(error) => {
                let refused = WireError { code: "not_durable".to_owned(), message: error.to_string() };
                let body = wire::reply(&Err(refused));
                for (_, reply) in batches {
                    self.answer(reply.clone(), body.clone());
                }
            }
        }
        self.mend(taken.map(drop))
    }

    /// Goes on after a failure of the database: a full or busy disk passes, and a damaged file is set aside.
    fn mend(&mut self, done: Result<(), StoreError>) -> Result<(), StoreError> {
        match done {
            Ok(()) => Ok(()),
            Err(error @ StoreError::Corrupt { .. }) => {
                let aside = aside(self.db.path(), &error, &*self.clock);
                self.db.begin_anew(&aside)
            }
            Err(error) => {
                tell(&error.to_string());
                Ok(())
            }
        }
    }

    fn look(&mut self) -> Result<(), StoreError> {
        let look = self.follower.look(&mut self.db);
        match look {
            Ok(Look::Contradicted(contradiction)) => {
                if self.contradicted.as_ref() != Some(&contradiction) {
                    tell(&format!("the log contradicts what was seen: {contradiction}"));
                    self.contradicted = Some(contradiction.clone());
                    self.say(Said::Contradicted(contradiction));
                }
                Ok(())
            }
            Ok(done) => {
                if done != Look::Nothing && self.contradicted.take().is_some() {
                    tell("the log is what was seen, again");
                    self.say(Said::Reconciled);
                }
                if done == Look::More {
                    self.shared.lock().look = true;
                }
                Ok(())
            }
            Err(error) => self.mend(Err(error)),
        }
    }

    fn obey(&mut self, command: &Command, reply: String) -> Result<(), StoreError> {
        let done = match command {
            Command::Stand => self.stand(),
            Command::Rebuild { accept_loss } => self.rebuild(*accept_loss),
            Command::AcceptLog => {
                self.shared.lock().look = true;
                self.db.unlink().map(|()| json!({"done": null}))
            }
        };
        let (body, done) = match done {
            Ok(body) => (body, Ok(())),
            Err(error) => (json!({"error": {"code": "database", "message": error.to_string()}}), Err(error)),
        };
        self.answer(reply, body.to_string().into_bytes());
        self.mend(done)
    }

    fn stand(&self) -> Result<Value, StoreError> {
        let shared = &*self.shared;
        let step = || shared.step();
        let found = journals::open(&Instance::at(&self.data).journals(), &step)
            .map_err(|e| StoreError::Io { path: self.data.display().to_string(), detail: e.to_string() })?;
        let mut lasts: Vec<_> = found
            .journals
            .into_iter()
            .filter_map(|(source, mut reader)| Some((source, reader.last().ok()?.0)))
            .collect();
        let sources: Vec<Value> = self
            .db
            .stands()?
            .into_iter()
            .map(|stand| {
                let last = lasts.iter().position(|(source, _)| *source == stand.source);
                let waiting = last.map(|at| (lasts.swap_remove(at).1 + 1).saturating_sub(stand.next));
                json!({
                    "source": stand.source.component, "journal": stand.source.journal, "next": stand.next,
                    "waiting": waiting, "odd": stand.odd, "last_odd": stand.last_odd,
                })
            })
            .collect();
        let log =
            self.db.log_stand()?.map(|log| json!({"key": log.origin, "size": log.size, "linked": log.next}));
        Ok(json!({"done": {
            "narratives": self.db.count()?, "sources": sources, "log": log, "contradiction": self.contradicted,
        }}))
    }

    fn rebuild(&mut self, accept_loss: bool) -> Result<Value, StoreError> {
        let shared = Arc::clone(&self.shared);
        let step = move || shared.step();
        let found = journals::open(&Instance::at(&self.data).journals(), &step)
            .map_err(|e| StoreError::Io { path: self.data.display().to_string(), detail: e.to_string() })?;
        let unreadable: Vec<String> = found.unreadable.iter().map(ToString::to_string).collect();
        let rebuilt = self.db.rebuild(found.journals, accept_loss)?;
        let lost: Vec<Value> = rebuilt
            .lost
            .iter()
            .map(|lost| json!({"source": lost.source.to_string(), "had": lost.had, "has": lost.has, "detail": lost.detail}))
            .collect();
        let told = json!({
            "records": rebuilt.records, "journals": rebuilt.journals, "lost": lost, "unreadable": unreadable,
        });
        Ok(if rebuilt.done {
            json!({"done": told})
        } else {
            json!({"refused": {"code": "would_lose", "found": told},
                   "message": "the journals do not give all that was told; nothing was changed"})
        })
    }

    fn answer(&self, reply: String, body: Vec<u8>) {
        self.say(Said::Answer(Message::new(reply, body)));
    }

    fn say(&self, said: Said) {
        // The loop is gone only when the process ends.
        let _ = self.said.blocking_send(said);
    }
}

/// Opens the database; a damaged one is set aside, and what it held comes again from the journals: the senders find that everything is
/// needed, and send it.
fn open(path: &Path, clock: &dyn Clock) -> Result<NarrativeDb, StoreError> {
    match NarrativeDb::open(path) {
        Err(error @ StoreError::Corrupt { .. }) => {
            narrative::set_aside(path, &aside(path, &error, clock))?;
            NarrativeDb::open(path)
        }
        done => done,
    }
}

/// The name under which people find a damaged file.
fn aside(path: &Path, error: &StoreError, clock: &dyn Clock) -> PathBuf {
    let aside = path.with_extension(format!("damaged-{}.db", clock.now().wall.as_millis()));
    tell(&format!(
        "{error}; it is set aside as {}, and everything is told anew from the journals",
        aside.display()
    ));
    aside
}
