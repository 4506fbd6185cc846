//! How the control plane's decisions get into its journal, without ever making it wait.
//!
//! Law 3's one exception: a dead process is restarted first and recorded at the same time. A decision therefore goes, in this
//! order, to the guardian (which keeps it in memory, so that it survives the control plane), to the journal's thread
//! (which appends whatever waits as one synced batch), and into effect. When the batch is synced the guardian is told to let
//! go of it. While the journal cannot be written (a full disk), records wait in both places, bounded, the thread tries
//! again, and `status` carries a warning.
//!
//! A journal that turns out damaged is set aside under another name, for people to look at, and a new one is begun: it would
//! take no more records, or take them and never give them back.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

use grace_kernel::Recorded;
use grace_store::{
    Journal, Seq, StoreError,
    file::{EXTENSION, FileJournal},
};
use grace_types::{
    id::{BootId, CorrelationId, EventId},
    time::{Clock, Hlc, Monotonic, Now, SystemClock, Timestamp},
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::Happening;
use crate::{
    limits,
    supervisor::{Event, Plan, State},
};

/// One decision as the journal holds it: a kernel's journal entry (see [`grace_kernel`]'s), and what a take-over needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Names the event.
    pub id: EventId,
    /// `dev.grace.control_plane.<what>.v1`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was decided.
    pub time: Timestamp,
    /// The control plane's hybrid logical clock.
    pub hlc: Hlc,
    /// Who decided.
    pub who: String,
    /// The incident or operation that it belongs to.
    pub correlation: CorrelationId,
    /// The decision before it in the same story.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<EventId>,
    /// The event, why, how, and where.
    pub record: Recorded<Event>,
    /// Which boot it belongs to.
    pub boot: BootId,
    /// Ascending within the boot, from 1, without gaps.
    pub number: u64,
    /// Monotonic time, which the state's deadlines are counted in.
    pub mono: Monotonic,
}

/// A journal record, in the form of every kernel's: `{"event": …}` (see `grace_kernel`'s `Stored`).
#[derive(Debug, Serialize, Deserialize)]
struct Stored<E> {
    event: E,
}

impl Entry {
    /// As the journal holds it.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub(super) fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&Stored { event: self })
    }

    /// From what the journal holds.
    ///
    /// # Errors
    /// It is no entry of a control plane.
    pub fn from_json(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice::<Stored<Self>>(json).map(|stored| stored.event)
    }
}

/// What a new control plane finds of its predecessor's decisions.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The state that follows from them.
    pub state: State,
    /// The last entry's number.
    pub number: u64,
    /// The last entry's clock.
    pub hlc: Hlc,
    /// Entries of the guardian's tail that are not in the journal yet.
    pub unwritten: Vec<(u64, String)>,
    /// What went wrong, for `status`.
    pub warnings: Vec<String>,
}

/// A snapshot of the state, so that a take-over replays little.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    boot: Option<BootId>,
    number: u64,
    hlc: Hlc,
    state: State,
}

/// Entries between two snapshots: some milliseconds of replay.
const SNAPSHOT_EVERY: u64 = 1000;
/// Between two attempts at a journal that cannot be written.
const RETRY: Duration = Duration::from_millis(500);

/// Rebuilds the state of the boot under way from the journal and from what the guardian kept. What the journal holds of other
/// boots is history: a control plane that dies before its first decision is on record must not leave its successor with the
/// end of the boot before.
///
/// Availability first: a journal that cannot be read costs history, not supervision. What could not be read is said in
/// the warnings, and the processes themselves are found by looking.
#[must_use]
pub fn recover(path: &PathBuf, plan: &Plan, boot: BootId, tail: Vec<(u64, String)>) -> Recovered {
    let mut recovered = Recovered { state: State::new(plan.clone()), ..Recovered::default() };
    if let Err(error) = replay(path, plan, boot, &mut recovered) {
        recovered.warnings.push(format!("the control plane's journal cannot be read: {error}"));
    }
    for (number, json) in tail {
        match Entry::from_json(json.as_bytes()) {
            Ok(entry) if recovered.knows(&entry) => {}
            Ok(entry) => {
                recovered.apply(&entry);
                recovered.unwritten.push((number, json));
            }
            Err(error) => {
                recovered.warnings.push(format!("a decision kept by the guardian cannot be read: {error}"));
            }
        }
    }
    recovered
}

fn replay(path: &PathBuf, plan: &Plan, boot: BootId, recovered: &mut Recovered) -> Result<(), StoreError> {
    let mut journal = FileJournal::open(path, SystemClock.now().wall)?;
    let mut from = Seq(1);
    if let Some(newest) = journal.snapshots()?.last() {
        let bytes = journal.restore(newest.seq)?;
        if let Some(snapshot) =
            serde_json::from_slice::<Snapshot>(&bytes).ok().filter(|s| s.boot == Some(boot))
        {
            recovered.state = State { plan: plan.clone(), ..snapshot.state };
            recovered.number = snapshot.number;
            recovered.hlc = snapshot.hlc;
        }
        from = Seq(newest.seq.0 + 1);
    }
    journal.replay(from, &mut |record| {
        match Entry::from_json(record.payload) {
            Ok(entry) if entry.boot != boot || recovered.knows(&entry) => {}
            Ok(entry) => recovered.apply(&entry),
            Err(error) => recovered.warnings.push(format!("record {} of the journal: {error}", record.seq.0)),
        }
        ControlFlow::Continue(())
    })
}

impl Recovered {
    /// Whether the entry was applied already: a batch whose sync failed half-way may stand in the journal twice.
    fn knows(&self, entry: &Entry) -> bool {
        self.state.boot == Some(entry.boot) && entry.number <= self.number
    }

    fn apply(&mut self, entry: &Entry) {
        let now = Now { wall: entry.time, mono: entry.mono };
        self.state.evolve(entry.record.event(), &entry.record.why().to_string(), now);
        self.number = entry.number;
        self.hlc = self.hlc.max(entry.hlc);
    }
}

/// What the journal's thread is asked to do.
enum Ask {
    Append { number: u64, json: String },
    Snapshot { bytes: Vec<u8> },
}

/// The handle of the journal's thread.
pub struct Recorder {
    asks: Option<SyncSender<Ask>>,
    thread: Option<JoinHandle<()>>,
    since_snapshot: u64,
    /// The newest durable record.
    pub written: watch::Receiver<Seq>,
    /// Records that could not even be queued.
    pub dropped: u64,
}

impl Recorder {
    /// Starts the thread, which opens the journal.
    ///
    /// # Errors
    /// Out of threads.
    pub(super) fn start(path: PathBuf, happenings: mpsc::Sender<Happening>) -> std::io::Result<Self> {
        let (asks, inbox) = sync_channel(limits::RECORDER_PENDING);
        let (newest, written) = watch::channel(Seq(0));
        let worker =
            Worker { path, happenings, newest, journal: None, sound: false, waiting: VecDeque::new() };
        let worker = move || worker.run(&inbox);
        let thread = std::thread::Builder::new().name("grace-journal".into()).spawn(worker)?;
        Ok(Self { asks: Some(asks), thread: Some(thread), since_snapshot: 0, written, dropped: 0 })
    }

    /// Hands over one entry; never waits.
    pub fn append(&mut self, number: u64, json: String) {
        self.since_snapshot += 1;
        self.ask(Ask::Append { number, json });
    }

    /// Hands over a snapshot when one is due.
    pub fn snapshot_if_due(&mut self, state: &State, number: u64, hlc: Hlc) {
        if self.since_snapshot < SNAPSHOT_EVERY {
            return;
        }
        self.since_snapshot = 0;
        let snapshot = Snapshot { boot: state.boot, number, hlc, state: state.clone() };
        if let Ok(bytes) = serde_json::to_vec(&snapshot) {
            self.ask(Ask::Snapshot { bytes });
        }
    }

    fn ask(&mut self, ask: Ask) {
        let Some(asks) = &self.asks else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = asks.try_send(ask) {
            self.dropped += 1;
        }
    }

    /// Waits until everything is written, or cannot be.
    pub fn finish(mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    path: PathBuf,
    happenings: mpsc::Sender<Happening>,
    newest: watch::Sender<Seq>,
    journal: Option<FileJournal>,
    /// Whether everything in the journal was read once and found sound.
    sound: bool,
    waiting: VecDeque<(u64, String)>,
}

impl Worker {
    fn run(mut self, inbox: &Receiver<Ask>) {
        loop {
            let next = if self.waiting.is_empty() {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(RETRY)
            };
            let mut snapshot = None;
            let ended = match next {
                Ok(ask) => {
                    self.queue(ask, &mut snapshot);
                    while self.waiting.len() < limits::RECORDER_BATCH && snapshot.is_none() {
                        let Ok(ask) = inbox.try_recv() else { break };
                        self.queue(ask, &mut snapshot);
                    }
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            match self.write(snapshot) {
                Ok(()) => {}
                Err(error) => {
                    self.journal = None;
                    let _ = self.happenings.try_send(Happening::NotWritten { detail: error.to_string() });
                }
            }
            if ended {
                return;
            }
        }
    }

    fn queue(&mut self, ask: Ask, snapshot: &mut Option<Vec<u8>>) {
        match ask {
            Ask::Append { number, json } => {
                if self.waiting.len() >= limits::RECORDER_PENDING {
                    self.waiting.pop_front();
                }
                self.waiting.push_back((number, json));
            }
            Ask::Snapshot { bytes } => *snapshot = Some(bytes),
        }
    }

    /// Opens the journal; one that is damaged is set aside first.
    fn open(&mut self) -> Result<FileJournal, StoreError> {
        let now = SystemClock.now().wall;
        match FileJournal::open(&self.path, now).and_then(|journal| self.check(journal)) {
            Err(StoreError::Corrupt { what, detail }) => {
                // The new journal's numbers begin at 1 again.
                self.newest.send_replace(Seq(0));
                let aside = self.path.with_extension(format!("damaged-{}.{EXTENSION}", now.as_millis()));
                if let Err(error) = std::fs::rename(&self.path, &aside) {
                    let path = self.path.display().to_string();
                    let detail = format!("it is damaged ({detail}) and cannot be set aside: {error}");
                    return Err(StoreError::Io { path, detail });
                }
                let detail = format!(
                    "the journal of the control plane was damaged ({what}: {detail}); it is kept as {}, and a new one begins",
                    aside.display()
                );
                let _ = self.happenings.try_send(Happening::SetAside { detail, path: aside });
                FileJournal::open(&self.path, now)
            }
            other => other,
        }
    }

    /// Reads everything once: damage in the middle of the file does not show when it is opened, but to whoever takes over.
    fn check(&mut self, mut journal: FileJournal) -> Result<FileJournal, StoreError> {
        if !self.sound {
            journal.replay(Seq(1), &mut |_| ControlFlow::Continue(()))?;
            self.sound = true;
        }
        Ok(journal)
    }

    fn write(&mut self, snapshot: Option<Vec<u8>>) -> Result<(), StoreError> {
        let journal = match self.journal.take() {
            Some(journal) => journal,
            None => self.open()?,
        };
        let journal = self.journal.insert(journal);
        if let Some((upto, _)) = self.waiting.back() {
            let batch: Vec<&[u8]> = self.waiting.iter().map(|(_, json)| json.as_bytes()).collect();
            journal.append(&batch)?;
            self.newest.send_replace(journal.last());
            let upto = *upto;
            self.waiting.clear();
            let _ = self.happenings.try_send(Happening::Written { upto });
        }
        if let Some(bytes) = snapshot {
            let last = journal.last();
            journal.snapshot(last, &bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
