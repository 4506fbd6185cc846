//! The twin of the engine for files for tests and the simulator.
//!
//! [`Disk`] is what survives: clones share it, and it outlives the handles on it. [`MemoryJournal`] is what a process
//! holds. The disk keeps an append-only log of bytes and remembers how much of it was synced, so that a power cut
//! loses or tears what was not, and recovery has to parse what is left, as it would from a real disk. It fails, crashes and flips
//! bits on command ([`Fault`]), never by itself.
//!
//! Deliberately not here: chance. What a power cut leaves is chosen by the caller's [`Entropy`].

mod log;
mod reader;

use std::{
    collections::{BTreeMap, VecDeque},
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use grace_types::{chance::Entropy, evidence::JournalId};

use crate::{
    Digest, Epoch, Journal, Record, Seq, SnapshotInfo, StoreError, StoreSnapshot, chain, journal::check_size,
    limits,
};
use log::Chained;
pub use reader::MemoryReader;

/// The name of the twin's "file" in errors.
const PATH: &str = "memory";

/// What goes wrong with the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The device is full; nothing is written.
    Full,
    /// An I/O error; nothing is written.
    Io,
    /// An I/O error is reported although the write is durable.
    IoAfterSync,
    /// The process and the power go after the write, before the sync: see [`Disk::power_on`].
    CrashBeforeSync,
    /// They go after the sync, before the writer hears of it.
    CrashAfterSync,
}

/// A disk that survives its users.
#[derive(Debug, Clone)]
pub struct Disk {
    platter: Arc<Mutex<Platter>>,
}

#[derive(Debug)]
struct Platter {
    id: JournalId,
    room: Option<u64>,
    log: Vec<u8>,
    synced_bytes: usize,
    /// Where the log begins: what was truncated, and the chain's digest there.
    base: Chained,
    epoch: u64,
    /// What was acknowledged last.
    acknowledged: Chained,
    snapshots: BTreeMap<u64, StoredSnapshot>,
    faults: VecDeque<Fault>,
    /// Handles of an earlier life are dead.
    life: u64,
    off: bool,
    lies: bool,
}

impl Platter {
    fn new(id: JournalId) -> Self {
        Self {
            id,
            room: None,
            log: Vec::new(),
            synced_bytes: 0,
            base: Chained::default(),
            epoch: 0,
            acknowledged: Chained::default(),
            snapshots: BTreeMap::new(),
            faults: VecDeque::new(),
            life: 0,
            off: false,
            lies: false,
        }
    }
}

#[derive(Debug, Clone)]
struct StoredSnapshot {
    state: Vec<u8>,
    info: SnapshotInfo,
    chain: Digest,
}

impl Default for Disk {
    fn default() -> Self {
        Self::with_id(JournalId(1))
    }
}

impl Disk {
    /// An empty disk, whose journal is the first.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty disk, whose journal is `id`.
    #[must_use]
    pub fn with_id(id: JournalId) -> Self {
        Self { platter: Arc::new(Mutex::new(Platter::new(id))) }
    }

    /// Sets the journal aside and begins `id` in its place; every writer's handle is dead.
    pub fn begin_anew(&self, id: JournalId) {
        let mut platter = self.lock();
        let life = platter.life + 1;
        *platter = Platter { life, ..Platter::new(id) };
    }

    /// What the device says of its free space from now on; at first it does not say.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.lock().room = bytes;
    }

    /// Makes the next write (append, snapshot or truncation) that has no fault yet go wrong; several queue up.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.push_back(fault);
    }

    /// Drops the faults that have not struck yet.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// Faults that have not struck yet.
    #[must_use]
    pub fn pending_faults(&self) -> usize {
        self.lock().faults.len()
    }

    /// From now on the disk says that it has synced and has not: the next power cut takes what was acknowledged, without a
    /// trace. No journal can stand this; it is there to prove that a checker notices.
    pub fn lie_about_syncs(&self) {
        self.lock().lies = true;
    }

    /// Whether a crash fault has struck and the power is still off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.lock().off
    }

    /// Cuts the power, if it is still on, and brings it back. Every handle opened before is dead. Of what was written but
    /// not synced, a part remains that `entropy` chooses: nothing, all, a prefix, or all but a block in the middle.
    pub fn power_on(&self, entropy: &mut dyn Entropy) {
        let mut platter = self.lock();
        let start = platter.synced_bytes;
        let unsynced = platter.log.len() - start;
        if unsynced > 0 {
            match entropy.below(4) {
                0 => platter.log.truncate(start),
                1 => {}
                2 => {
                    let keep = entropy.below(unsynced as u64 + 1);
                    platter.log.truncate(start + usize::try_from(keep).unwrap_or(0));
                }
                _ => {
                    let hole = start + usize::try_from(entropy.below(unsynced as u64)).unwrap_or(0);
                    let end = platter.log.len().min(hole + 64);
                    platter.log[hole..end].fill(0);
                }
            }
        }
        platter.life += 1;
        platter.off = false;
    }

    /// Length of the log, for choosing a bit to flip.
    #[must_use]
    pub fn log_bytes(&self) -> usize {
        self.lock().log.len()
    }

    /// Flips one bit of the log; bits past its end do not exist.
    pub fn flip_log_bit(&self, bit: usize) {
        if let Some(byte) = self.lock().log.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// Flips one bit of the snapshot at `seq`, if there is one.
    pub fn flip_snapshot_bit(&self, seq: Seq, bit: usize) {
        if let Some(byte) =
            self.lock().snapshots.get_mut(&seq.0).and_then(|stored| stored.state.get_mut(bit / 8))
        {
            *byte ^= 1 << (bit % 8);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Platter> {
        // No code that holds the lock can leave the platter half changed.
        self.platter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Platter {
    fn scan(&self) -> Result<Chained, StoreError> {
        log::scan(&self.log, self.base, &mut |_, _| ControlFlow::Continue(()))
            .map(|scan| scan.head)
            .map_err(|(seq, detail)| corrupt(format_args!("record {}", seq.0), detail))
    }

    /// What the next fault does to a write whose unsynced bytes `land` puts on the platter.
    fn write(&mut self, land: impl FnOnce(&mut Self)) -> Result<(), StoreError> {
        let fault = self.faults.pop_front();
        match fault {
            Some(Fault::Full) => return Err(StoreError::Full { path: PATH.to_owned() }),
            Some(Fault::Io) => return Err(io("input/output error")),
            _ => land(self),
        }
        match fault {
            Some(Fault::CrashBeforeSync) => {
                self.off = true;
                Err(io("the power went before the sync"))
            }
            Some(Fault::CrashAfterSync) => {
                self.synced_bytes = self.log.len();
                self.off = true;
                Err(io("the power went after the sync"))
            }
            Some(Fault::IoAfterSync) => {
                self.synced_bytes = self.log.len();
                Err(io("input/output error after the sync"))
            }
            _ => {
                if !self.lies {
                    self.synced_bytes = self.log.len();
                }
                Ok(())
            }
        }
    }

    fn chain_before(&self, from: Seq) -> Result<Chained, StoreError> {
        let before = Seq(from.0.saturating_sub(1));
        if before < self.base.seq {
            let detail = format!("records up to {} have been truncated", self.base.seq.0);
            return Err(StoreError::Range { seq: from, detail });
        }
        if before == self.base.seq {
            return Ok(self.base);
        }
        let mut found = None;
        log::scan(&self.log, self.base, &mut |record, digest| {
            if record.seq == before {
                found = Some(Chained { seq: before, digest });
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
        .map_err(|(seq, detail)| corrupt(format_args!("record {}", seq.0), detail))?;
        found.ok_or_else(|| corrupt(format_args!("record {}", before.0), "missing".to_owned()))
    }

    fn put_snapshot(&mut self, seq: Seq, chain: Digest, state: &[u8]) -> Result<SnapshotInfo, StoreError> {
        check_size("a snapshot", state.len(), limits::SNAPSHOT_BYTES)?;
        let info = SnapshotInfo { seq, digest: chain::digest(state), size_bytes: state.len() as u64 };
        if self.faults.front() == Some(&Fault::CrashBeforeSync) {
            // One transaction: before its sync, nothing of it is there.
            return self.write(|_| {}).map(|()| info);
        }
        let stored = StoredSnapshot { state: state.to_vec(), info: info.clone(), chain };
        self.write(|p| {
            p.snapshots.insert(seq.0, stored);
            while p.snapshots.len() > limits::SNAPSHOTS_KEPT as usize {
                p.snapshots.pop_first();
            }
        })?;
        Ok(info)
    }

    fn read_snapshot(&self, seq: Seq) -> Result<Vec<u8>, StoreError> {
        let Some(stored) = self.snapshots.get(&seq.0) else {
            return Err(StoreError::Range { seq, detail: "there is no snapshot at it".to_owned() });
        };
        if chain::digest(&stored.state) != stored.info.digest {
            return Err(corrupt(format_args!("snapshot {}", seq.0), "its digest does not match".to_owned()));
        }
        if self.chain_before(Seq(seq.0 + 1))?.digest != stored.chain {
            let detail = "the records before it are not those that it was made from".to_owned();
            return Err(corrupt(format_args!("snapshot {}", seq.0), detail));
        }
        Ok(stored.state.clone())
    }
}

/// A journal on a [`Disk`]. It dies with the disk's power.
#[derive(Debug)]
pub struct MemoryJournal {
    disk: Disk,
    id: JournalId,
    life: u64,
    epoch: Epoch,
    head: Chained,
    stale: bool,
}

impl MemoryJournal {
    /// Opens the journal on `disk` and takes the next epoch: handles opened earlier are fenced. An unsynced batch that
    /// the last power cut left incomplete is dropped as a whole.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the log is damaged or ends before what was acknowledged; [`StoreError::Io`] while
    /// the power is off.
    pub fn open(disk: &Disk) -> Result<Self, StoreError> {
        let mut platter = disk.lock();
        if platter.off {
            return Err(io("the power is off"));
        }
        let scan = log::scan(&platter.log, platter.base, &mut |_, _| ControlFlow::Continue(()))
            .map_err(|(seq, detail)| corrupt(format_args!("record {}", seq.0), detail))?;
        if scan.head.seq < platter.acknowledged.seq {
            let detail = format!(
                "it does not check out, but records up to {} were acknowledged",
                platter.acknowledged.seq.0
            );
            return Err(corrupt(format_args!("record {}", scan.head.seq.0 + 1), detail));
        }
        platter.log.truncate(scan.bytes);
        platter.synced_bytes = scan.bytes;
        platter.epoch += 1;
        let (id, life, epoch) = (platter.id, platter.life, Epoch(platter.epoch));
        drop(platter);
        Ok(Self { disk: disk.clone(), id, life, epoch, head: scan.head, stale: false })
    }

    /// The disk, if this handle still has power.
    fn alive(&self) -> Result<MutexGuard<'_, Platter>, StoreError> {
        alive(&self.disk, self.life)
    }

    /// The disk, if this handle may write.
    fn writable(&self) -> Result<MutexGuard<'_, Platter>, StoreError> {
        let platter = self.alive()?;
        if platter.epoch != self.epoch.0 {
            return Err(StoreError::Fenced { ours: self.epoch, current: Epoch(platter.epoch) });
        }
        Ok(platter)
    }

    fn refresh(&mut self) -> Result<(), StoreError> {
        if self.stale {
            let head = self.alive()?.scan()?;
            self.head = head;
            self.stale = false;
        }
        Ok(())
    }
}

/// The disk, if it has had power all the while since that life began.
fn alive(disk: &Disk, life: u64) -> Result<MutexGuard<'_, Platter>, StoreError> {
    let platter = disk.lock();
    if platter.off || platter.life != life {
        return Err(io("the power went while this journal was open"));
    }
    Ok(platter)
}

impl Journal for MemoryJournal {
    fn append(&mut self, batch: &[&[u8]]) -> Result<Seq, StoreError> {
        self.refresh()?;
        let first = Seq(self.head.seq.0 + 1);
        if batch.is_empty() {
            return self.writable().map(|_| first);
        }
        batch.iter().try_for_each(|payload| check_size("a record", payload.len(), limits::RECORD_BYTES))?;
        let mut platter = self.writable()?;
        let (bytes, head) = log::encode(batch, self.head);
        let written = platter.write(|p| p.log.extend_from_slice(&bytes));
        if written.is_ok() && !platter.lies {
            platter.acknowledged = head;
        }
        drop(platter);
        match written {
            Ok(()) => {
                self.head = head;
                Ok(first)
            }
            Err(e) => {
                self.stale = true;
                // If even this fails, the next call tries again before it does anything.
                let _ = self.refresh();
                Err(e)
            }
        }
    }

    fn replay(
        &mut self,
        from: Seq,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.refresh()?;
        let head = self.head;
        let platter = self.alive()?;
        platter.chain_before(Seq(from.0.clamp(1, head.seq.0 + 1)))?;
        let mut stopped = false;
        let scan = log::scan(&platter.log, platter.base, &mut |record, _| {
            if record.seq >= from && visit(record).is_break() {
                stopped = true;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
        .map_err(|(seq, detail)| corrupt(format_args!("record {}", seq.0), detail))?;
        if !stopped && scan.head.seq < head.seq {
            let what = format!("record {}", scan.head.seq.0 + 1);
            return Err(corrupt(what, format!("it does not check out; records go up to {}", head.seq.0)));
        }
        Ok(())
    }

    fn last(&self) -> Seq {
        self.head.seq
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn begin_snapshot(&mut self, seq: Seq) -> Result<StoreSnapshot, StoreError> {
        self.refresh()?;
        let head = self.head;
        let platter = self.writable()?;
        if seq > head.seq || seq < platter.base.seq {
            let detail = format!("the journal holds {} to {}", platter.base.seq.0 + 1, head.seq.0);
            return Err(StoreError::Range { seq, detail });
        }
        let chain = platter.chain_before(Seq(seq.0 + 1))?.digest;
        let (disk, life) = (self.disk.clone(), self.life);
        Ok(Box::new(move |state| alive(&disk, life)?.put_snapshot(seq, chain, state)))
    }

    fn snapshots(&mut self) -> Result<Vec<SnapshotInfo>, StoreError> {
        Ok(self.alive()?.snapshots.values().map(|stored| stored.info.clone()).collect())
    }

    fn restore(&mut self, seq: Seq) -> Result<Vec<u8>, StoreError> {
        self.alive()?.read_snapshot(seq)
    }

    fn truncate(&mut self, seq: Seq) -> Result<(), StoreError> {
        self.refresh()?;
        let mut platter = self.writable()?;
        if seq <= platter.base.seq {
            return Ok(());
        }
        let Some(cover) = platter.snapshots.range(seq.0..).next().map(|(s, _)| Seq(*s)) else {
            return Err(StoreError::Range { seq, detail: "no snapshot covers it".to_owned() });
        };
        platter.read_snapshot(cover)?;
        let base = platter.chain_before(Seq(seq.0 + 1))?;
        let mut rest: Vec<Vec<u8>> = Vec::new();
        log::scan(&platter.log, platter.base, &mut |record, _| {
            if record.seq > seq {
                rest.push(record.payload.to_vec());
            }
            ControlFlow::Continue(())
        })
        .map_err(|(seq, detail)| corrupt(format_args!("record {}", seq.0), detail))?;
        if platter.faults.front() == Some(&Fault::CrashBeforeSync) {
            return platter.write(|_| {});
        }
        platter.write(|p| {
            let rest: Vec<&[u8]> = rest.iter().map(Vec::as_slice).collect();
            p.log = if rest.is_empty() { Vec::new() } else { log::encode(&rest, base).0 };
            p.base = base;
            p.snapshots = p.snapshots.split_off(&seq.0);
        })
    }

    fn id(&self) -> JournalId {
        self.id
    }

    fn room(&self) -> Option<u64> {
        self.disk.lock().room
    }
}

fn corrupt(what: impl std::fmt::Display, detail: String) -> StoreError {
    StoreError::Corrupt { what: format!("{what} of {PATH}"), detail }
}

fn io(detail: &str) -> StoreError {
    StoreError::Io { path: PATH.to_owned(), detail: detail.to_owned() }
}
