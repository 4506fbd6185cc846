//! The host's core: decide, evolve, append, sync, and only then answer.
//!
//! ```text
//! take(command) ─ decide ─ evolve ─┐  (up to a batch)
//! take(command) ─ decide ─ evolve ─┴─ commit: append + sync ─ ok ──── answers, effects, events
//!                                                           └ error ─ state dropped and reloaded, every answer an error
//! ```
//!
//! The core holds no thread, timer or channel, and reads no clock: the simulator calls it step by step on a memory journal, the process
//! shell calls it from a thread that may block. Within a batch, later commands see the effect of earlier ones that are
//! not durable yet; no one outside can, since nothing is released before the sync.

use std::ops::ControlFlow;

use grace_store::{Journal, Seq, SnapshotInfo, StoreError, StoreSnapshot};
use grace_types::{
    chance::Entropy,
    id::{CorrelationId, EventId},
    time::Now,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    ask::{Answer, Envelope, HostError, LoadError, Released},
    decider::{Decider, OutcomeOf, Recorded},
    entry::{Answered, Entry, Kept, Settled, Stored},
    keys::Fingerprint,
    limits,
};

/// What is known of an idempotency key.
enum Key<D: Decider> {
    Fresh(String, Fingerprint),
    Applied(OutcomeOf<D>),
}

fn unrecordable(e: &serde_json::Error) -> HostError {
    HostError::Unrecordable { detail: e.to_string() }
}

/// A copy by way of its JSON, which is what a retry after a restart gets as well.
fn through_json<V: Serialize + DeserializeOwned>(value: &V) -> Result<V, HostError> {
    let json = serde_json::to_vec(value).map_err(|e| unrecordable(&e))?;
    serde_json::from_slice(&json).map_err(|e| unrecordable(&e))
}

/// What the batch under way will release.
struct Batch<D: Decider, T> {
    bytes: Vec<u8>,
    /// Where each record ends in `bytes`.
    ends: Vec<usize>,
    answers: Vec<(T, Answer<D>)>,
    /// One for each of `ends`.
    records: Vec<Stored<D>>,
    effects: Vec<D::Effect>,
}

impl<D: Decider, T> Default for Batch<D, T> {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            answers: Vec::new(),
            records: Vec::new(),
            effects: Vec::new(),
        }
    }
}

/// What decides when the next snapshot is due.
#[derive(Clone, Copy, Default)]
struct LastSnapshot {
    at: Seq,
    size_bytes: u64,
    /// Appended since.
    since_bytes: u64,
}

/// A snapshot that is not stored yet.
pub struct PendingSnapshot {
    state: Vec<u8>,
    store: StoreSnapshot,
}

impl PendingSnapshot {
    /// Stores it; may block.
    ///
    /// # Errors
    /// The store's. The journal is as good as before.
    pub fn store(self) -> Result<SnapshotInfo, StoreError> {
        (self.store)(&self.state)
    }
}

/// A decider with its state, between a journal and the world. `T` says where an answer goes.
pub struct Host<D: Decider, T> {
    component: String,
    kept: Kept<D>,
    /// The last record that `kept` contains and that is durable.
    durable: Seq,
    snapshot: LastSnapshot,
    batch: Batch<D, T>,
    /// Set while the state could not be reloaded after a failure.
    broken: Option<HostError>,
    /// Whether only emergencies may be recorded.
    reserve: bool,
    notices: Vec<String>,
}

impl<D: Decider, T> Host<D, T> {
    /// Builds the state from the newest good snapshot and the records after it. A snapshot that is damaged or not understood
    /// is passed over for an older one and a longer replay, with a notice ([`Host::take_notices`]).
    ///
    /// # Errors
    /// [`LoadError`] when records are damaged or not this decider's: no state is built from part of a journal.
    pub fn load(component: impl Into<String>, journal: &mut dyn Journal) -> Result<Self, LoadError> {
        let mut host = Self {
            component: component.into(),
            kept: Kept::default(),
            durable: Seq(0),
            snapshot: LastSnapshot::default(),
            batch: Batch::default(),
            broken: None,
            reserve: false,
            notices: Vec::new(),
        };
        host.reload(journal)?;
        Ok(host)
    }

    /// The decider's state. While a batch is under way it contains decisions that are not durable yet.
    pub const fn state(&self) -> &D::State {
        &self.kept.state
    }

    /// The last record that is durable and in the state.
    pub const fn durable(&self) -> Seq {
        self.durable
    }

    /// What was passed over while loading, one sentence each. Each is told once.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// While `on`, it is decided by [`Decider::decide_in_reserve`], and a decision that would put anything on record that does not belong
    /// to an emergency is dropped as a whole: its command is refused with [`HostError::DiskReserve`]. Questions, and what was decided before
    /// under the same key, are answered.
    pub const fn keep_reserve(&mut self, on: bool) {
        self.reserve = on;
    }

    /// What the state still waits for: to be done after a start.
    pub fn outstanding(&self) -> Vec<D::Effect> {
        D::outstanding(&self.kept.state)
    }

    /// Whether the batch must be committed before another command is taken.
    pub fn is_full(&self) -> bool {
        self.batch.answers.len() >= limits::BATCH_COMMANDS || self.batch.bytes.len() >= limits::BATCH_BYTES
    }

    /// Whether no command waits for a commit.
    pub fn is_idle(&self) -> bool {
        self.batch.answers.is_empty()
    }

    /// Decides one command as part of the batch. Its answer comes out of [`Host::commit`].
    pub fn take(&mut self, now: Now, entropy: &mut dyn Entropy, envelope: Envelope<D::Command>, to: T) {
        let answer = match &self.broken {
            Some(error) => Err(error.clone()),
            None => self.decide(now, entropy, envelope),
        };
        self.batch.answers.push((to, answer));
    }

    fn decide(
        &mut self,
        now: Now,
        entropy: &mut dyn Entropy,
        mut envelope: Envelope<D::Command>,
    ) -> Answer<D> {
        let key = match envelope.key.take() {
            None => None,
            Some(key) => match self.check_key(key, &envelope.command)? {
                Key::Fresh(key, fingerprint) => Some((key, fingerprint)),
                Key::Applied(outcome) => return Ok(outcome),
            },
        };
        let decide = if self.reserve { D::decide_in_reserve } else { D::decide };
        let decision = decide(&self.kept.state, now, &envelope.command);
        let answered = match key {
            None if decision.events.is_empty() => return Ok(decision.outcome),
            _ if self.reserve && !self.is_for_emergency(&decision.events) => {
                return Err(HostError::DiskReserve);
            }
            None => None,
            Some((key, fingerprint)) => {
                Some(Answered { key, fingerprint, outcome: through_json(&decision.outcome)? })
            }
        };
        let mark = (self.batch.bytes.len(), self.batch.records.len());
        if let Err(e) = self.record(now, entropy, envelope, decision.events, answered) {
            self.batch.bytes.truncate(mark.0);
            self.batch.ends.truncate(mark.1);
            self.batch.records.truncate(mark.1);
            return Err(e);
        }
        // Only now, with all of it known to be recordable, may the state move.
        for record in &self.batch.records[mark.1..] {
            self.kept.evolve(record).map_err(|e| unrecordable(&e))?;
            if let Stored::Event(entry) = record {
                self.batch.effects.extend(D::effects(&self.kept.state, &entry.record));
            }
        }
        Ok(decision.outcome)
    }

    fn is_for_emergency(&self, events: &[Recorded<D::Event>]) -> bool {
        let belongs = |event| D::is_for_emergency(&self.kept.state, event, events);
        !events.is_empty() && events.iter().all(belongs)
    }

    fn check_key(&self, key: String, command: &D::Command) -> Result<Key<D>, HostError> {
        if key.is_empty() || key.len() > limits::KEY_BYTES {
            return Err(HostError::BadKey { length: key.len() });
        }
        let json = serde_json::to_vec(command).map_err(|e| unrecordable(&e))?;
        let fingerprint = Fingerprint::of(&json);
        match self.kept.keys.get(&key) {
            Some((known, outcome)) if known == fingerprint => {
                serde_json::from_str(outcome).map(Key::Applied).map_err(|e| unrecordable(&e))
            }
            Some(_) => Err(HostError::KeyReused { key }),
            None => Ok(Key::Fresh(key, fingerprint)),
        }
    }

    /// Adds the records of one decision to the batch.
    fn record(
        &mut self,
        now: Now,
        entropy: &mut dyn Entropy,
        envelope: Envelope<D::Command>,
        events: Vec<Recorded<D::Event>>,
        mut answered: Option<Answered<D>>,
    ) -> Result<(), HostError> {
        let mut hlc = self.kept.hlc.observe(envelope.hlc, now.wall);
        let who = envelope.who.unwrap_or_else(|| self.component.clone());
        let Some(last) = events.len().checked_sub(1) else {
            let settled = answered.map(|answered| Settled { time: now.wall, hlc, who, answered });
            return settled.map_or(Ok(()), |settled| self.encode(&Stored::Answer(settled)));
        };
        let correlation = envelope.correlation.unwrap_or_else(|| CorrelationId::new(now.wall, entropy));
        for (n, record) in events.into_iter().enumerate() {
            let entry = Entry::<D> {
                id: EventId::new(now.wall, entropy),
                kind: format!("dev.grace.{}.{}.v1", self.component, D::what(record.event())),
                time: now.wall,
                hlc,
                who: who.clone(),
                correlation,
                causation: envelope.causation,
                hops: envelope.hops,
                traceparent: envelope.traceparent.clone(),
                record,
                written: None,
                answered: if n == last { answered.take() } else { None },
            };
            hlc = hlc.tick(now.wall);
            self.encode(&Stored::Event(entry))?;
        }
        Ok(())
    }

    /// Writes the record into the batch and keeps what a replay will read there: the state moves by that and by nothing
    /// else, so an event that does not survive its JSON (a NaN, a field that is skipped) is found now and not after a crash.
    fn encode(&mut self, record: &Stored<D>) -> Result<(), HostError> {
        let start = self.batch.bytes.len();
        serde_json::to_writer(&mut self.batch.bytes, record).map_err(|e| unrecordable(&e))?;
        let written = &self.batch.bytes[start..];
        if written.len() > limits::ENTRY_BYTES {
            let detail = format!("{} bytes; at most {} are accepted", written.len(), limits::ENTRY_BYTES);
            return Err(HostError::Unrecordable { detail });
        }
        let read = Stored::read_back(written).map_err(|e| unrecordable(&e))?;
        self.batch.records.push(read);
        self.batch.ends.push(self.batch.bytes.len());
        Ok(())
    }

    /// Appends the batch, syncs, and releases what waited for it. A batch without records is not written, but a fenced
    /// host does not answer queries either. After a failure the state is what the journal holds.
    pub fn commit(&mut self, journal: &mut dyn Journal) -> Released<D, T> {
        if let Some(error) = self.try_mend(journal) {
            return self.fail(&error, None);
        }
        let mut records: Vec<&[u8]> = Vec::with_capacity(self.batch.ends.len());
        let mut start = 0;
        for end in &self.batch.ends {
            records.push(&self.batch.bytes[start..*end]);
            start = *end;
        }
        let expected = Seq(self.durable.0 + records.len() as u64);
        if let Err(error) = journal.append(&records) {
            // An error may come after the batch became durable; then its events have happened, whatever the senders hear.
            let landed = journal.last() == expected && expected > self.durable;
            let reloaded = self.reload(journal);
            self.broken = reloaded.err().map(|e| HostError::NotDurable { detail: e.to_string() });
            let answer = HostError::of(&error);
            if landed {
                return self.release(expected, Some((error, answer)));
            }
            return self.fail(&answer, Some(error));
        }
        self.durable = expected;
        self.snapshot.since_bytes += start as u64;
        self.release(expected, None)
    }

    /// Tries again to load the state if that failed before.
    fn try_mend(&mut self, journal: &mut dyn Journal) -> Option<HostError> {
        self.broken.as_ref()?;
        self.broken = self.reload(journal).err().map(|e| HostError::NotDurable { detail: e.to_string() });
        // What was taken in the meantime was answered with an error already; nothing of it was decided.
        self.broken.clone()
    }

    fn release(&mut self, last: Seq, failed: Option<(StoreError, HostError)>) -> Released<D, T> {
        let batch = self.new_batch();
        let first = last.0 + 1 - batch.records.len() as u64;
        let entries = (first..)
            .map(Seq)
            .zip(batch.records)
            .filter_map(|(seq, record)| match record {
                Stored::Event(entry) => Some((seq, entry)),
                Stored::Answer(_) => None,
            })
            .collect();
        let (error, answers) = match failed {
            None => (None, batch.answers),
            Some((error, answer)) => {
                (Some(error), batch.answers.into_iter().map(|(to, _)| (to, Err(answer.clone()))).collect())
            }
        };
        Released { answers, entries, effects: batch.effects, error }
    }

    fn fail(&mut self, answer: &HostError, error: Option<StoreError>) -> Released<D, T> {
        let batch = self.new_batch();
        let answers = batch.answers.into_iter().map(|(to, _)| (to, Err(answer.clone()))).collect();
        Released { answers, entries: Vec::new(), effects: Vec::new(), error }
    }

    /// Starts the next batch with the memory of this one.
    fn new_batch(&mut self) -> Batch<D, T> {
        let mut batch = std::mem::take(&mut self.batch);
        self.batch.bytes = std::mem::take(&mut batch.bytes);
        self.batch.bytes.clear();
        self.batch.ends = std::mem::take(&mut batch.ends);
        self.batch.ends.clear();
        batch
    }

    /// Whether enough lies behind the last snapshot for another: enough events to be worth it, and several times as many bytes as the last one
    /// had ([`limits::SNAPSHOT_SLACK_BYTES`]), so that a kernel with a large state does not spend its time on snapshots. None while the
    /// reserve is kept, which one could eat up: a longer replay is the lesser evil.
    #[must_use]
    pub fn is_snapshot_due(&self) -> bool {
        let LastSnapshot { at, size_bytes, since_bytes } = self.snapshot;
        let worth_it = size_bytes + (3 * size_bytes).min(limits::SNAPSHOT_SLACK_BYTES);
        !self.reserve && self.durable.0 >= at.0 + limits::SNAPSHOT_EVENTS && since_bytes >= worth_it
    }

    /// Stores a snapshot when one is due. Call it when the answers are out.
    ///
    /// # Errors
    /// As for [`Host::snapshot`].
    pub fn snapshot_if_due(&mut self, journal: &mut dyn Journal) -> Result<Option<SnapshotInfo>, StoreError> {
        if self.is_snapshot_due() { self.snapshot(journal).map(Some) } else { Ok(None) }
    }

    /// Stores a snapshot now. Not while a batch is under way.
    ///
    /// # Errors
    /// As for [`Host::begin_snapshot`] and [`PendingSnapshot::store`].
    pub fn snapshot(&mut self, journal: &mut dyn Journal) -> Result<SnapshotInfo, StoreError> {
        self.begin_snapshot(journal)?.store()
    }

    /// A snapshot of the state as it is now, to be stored while the host goes on. Not while a batch is under way. The next one is due after as
    /// many events again, whatever becomes of this one.
    ///
    /// # Errors
    /// The store's, and the journal is as good as before; [`StoreError::Range`] while a batch is under way.
    pub fn begin_snapshot(&mut self, journal: &mut dyn Journal) -> Result<PendingSnapshot, StoreError> {
        if !self.is_idle() || self.broken.is_some() {
            let detail = "the state holds decisions that are not durable".to_owned();
            return Err(StoreError::Range { seq: self.durable, detail });
        }
        (self.snapshot.at, self.snapshot.since_bytes) = (self.durable, 0);
        // About as large as the last one: memory that grows is copied.
        let expected = self.snapshot.size_bytes + self.snapshot.size_bytes / 4;
        let mut state = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
        serde_json::to_writer(&mut state, &self.kept).map_err(|e| StoreError::Io {
            path: self.component.clone(),
            detail: format!("the state cannot be written as JSON: {e}"),
        })?;
        self.snapshot.size_bytes = state.len() as u64;
        Ok(PendingSnapshot { state, store: journal.begin_snapshot(self.durable)? })
    }

    /// The state, keys and clock as one JSON text, for comparing two hosts.
    ///
    /// # Errors
    /// When the state cannot be written as JSON.
    pub fn fingerprint(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.kept)
    }

    fn reload(&mut self, journal: &mut dyn Journal) -> Result<(), LoadError> {
        let (mut kept, snapshot) = self.newest_snapshot(journal);
        let mut at = snapshot.at;
        self.snapshot = snapshot;
        let mut wrong = None;
        journal.replay(Seq(at.0 + 1), &mut |record| {
            self.snapshot.since_bytes += record.payload.len() as u64;
            let taken = Stored::<D>::from_json(record.payload).and_then(|e| kept.evolve(&e));
            if let Err(e) = taken {
                wrong = Some(LoadError::Entry { seq: record.seq, detail: e.to_string() });
                return ControlFlow::Break(());
            }
            at = record.seq;
            ControlFlow::Continue(())
        })?;
        if let Some(error) = wrong {
            return Err(error);
        }
        self.kept = kept;
        self.durable = at;
        Ok(())
    }

    fn newest_snapshot(&mut self, journal: &mut dyn Journal) -> (Kept<D>, LastSnapshot) {
        let infos = journal.snapshots().unwrap_or_else(|e| {
            self.notices
                .push(format!("the list of snapshots cannot be read, replaying the whole journal: {e}"));
            Vec::new()
        });
        for info in infos.iter().rev() {
            let read = journal.restore(info.seq).map_err(|e| e.to_string());
            match read.and_then(|bytes| Kept::from_snapshot(&bytes)) {
                Ok(kept) => {
                    let snapshot = LastSnapshot { at: info.seq, size_bytes: info.size_bytes, since_bytes: 0 };
                    return (kept, snapshot);
                }
                Err(e) => self.notices.push(format!("snapshot {} was passed over: {e}", info.seq.0)),
            }
        }
        (Kept::default(), LastSnapshot::default())
    }
}
