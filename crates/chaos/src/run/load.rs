//! The load: writers that append records to the tamper-evident log over the bus, and keep which were acknowledged.
//!
//! Each writer is a source of its own, `chaos-load-N`, with a journal that is made for the run, and numbers its records from 1.
//! It sends one at a time and the same one again until it is acknowledged, so its acknowledged records are those up to a number,
//! and what each of them holds can be said again afterwards without having kept it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use grace_bus::Bus;
use grace_kernel::evidence::{
    Sink,
    wire::{BatchWriter, Joined, read_reply},
};
use grace_types::{
    evidence::{JournalId, Source},
    id::RunId,
    time::{Clock, Monotonic},
};
use tokio::{sync::watch, task::JoinSet};

use crate::{limits, record::LoadRecord, scenario::LogWriters};

/// How long one answer may take before the same record is sent again.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Before the same record is sent again after an error.
const RETRY: Duration = Duration::from_millis(20);

/// What one writer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// Its source.
    pub(super) source: Source,
    /// Bytes of each record.
    pub(super) size_bytes: usize,
    /// The last record that was sent.
    pub(super) sent: u64,
    /// The last record that was acknowledged, and with it all before.
    pub(super) acknowledged: u64,
}

/// What all writers did. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    writers: Vec<Written>,
    errors: u64,
    last_error: Option<String>,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each writer did so far.
    #[must_use]
    pub(super) fn writers(&self) -> Vec<Written> {
        self.lock().writers.clone()
    }

    /// All of it in figures; what was lost is not looked up yet.
    #[must_use]
    pub(super) fn record(&self) -> LoadRecord {
        let inner = self.lock();
        LoadRecord {
            sent: inner.writers.iter().map(|writer| writer.sent).sum(),
            acknowledged: inner.writers.iter().map(|writer| writer.acknowledged).sum(),
            lost: None,
            duplicated: None,
            errors: inner.errors,
            last_error: inner.last_error.clone(),
        }
    }

    fn failed(&self, error: String) {
        let mut inner = self.lock();
        inner.errors += 1;
        inner.last_error = Some(error);
    }

    fn total(&self) -> u64 {
        self.lock().writers.iter().map(|writer| writer.sent).sum()
    }
}

/// The record `number` of a writer: a JSON document of about `size_bytes`, the same each time.
#[must_use]
pub(super) fn record(run: RunId, source: &Source, number: u64, size_bytes: usize) -> Vec<u8> {
    let head = format!(
        "{{\"load\":{{\"run\":\"{run}\",\"writer\":\"{}\",\"number\":{number},\"fill\":\"",
        source.component
    );
    let tail = "\"}}";
    let fill = size_bytes.saturating_sub(head.len() + tail.len());
    let mut bytes = Vec::with_capacity(size_bytes.max(head.len() + tail.len()));
    bytes.extend_from_slice(head.as_bytes());
    // Not all the same: what is compressed on its way or on disk should not be a special case.
    bytes.extend((0..fill).map(|at| b'a' + ((at as u64).wrapping_mul(7).wrapping_add(number) % 26) as u8));
    bytes.extend_from_slice(tail.as_bytes());
    bytes
}

/// Starts the writers; they go on until `stop` says so, or their time is over.
pub(super) fn start(
    load: &[LogWriters],
    run: RunId,
    bus: &Bus,
    clock: &Arc<dyn Clock>,
    tally: &Tally,
    stop: &watch::Receiver<bool>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let now = clock.now();
    for group in load {
        for _ in 0..group.writers {
            let mut inner = tally.lock();
            let index = inner.writers.len();
            let journal = JournalId(now.wall.as_nanos().wrapping_add(index as u64));
            let source = Source { component: format!("chaos-load-{}", index + 1), journal };
            let size_bytes = group.size_bytes;
            inner.writers.push(Written { source: source.clone(), size_bytes, sent: 0, acknowledged: 0 });
            drop(inner);
            let writer = Writer {
                run,
                index,
                source,
                size_bytes,
                pause: Duration::from_secs(1) / group.rate,
                end: now.mono.plus(group.duration),
                bus: bus.clone(),
                clock: Arc::clone(clock),
                tally: tally.clone(),
            };
            tasks.spawn(writer.run(stop.clone()));
        }
    }
    tasks
}

struct Writer {
    run: RunId,
    index: usize,
    source: Source,
    size_bytes: usize,
    pause: Duration,
    end: Monotonic,
    bus: Bus,
    clock: Arc<dyn Clock>,
    tally: Tally,
}

impl Writer {
    async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut number = 1;
        let mut due = self.clock.now().mono;
        while !*stop.borrow() && self.clock.now().mono < self.end && self.tally.total() < limits::LOAD_RECORDS
        {
            self.note(|writer| writer.sent = writer.sent.max(number));
            let wait = match self.send(number).await {
                Ok(next) => {
                    // The sink says which record it needs: one that is behind has lost what it acknowledged, and gets it again.
                    self.note(|writer| {
                        writer.acknowledged = writer.acknowledged.max(next.saturating_sub(1).min(number));
                    });
                    number = next.clamp(1, number + 1);
                    due = due.plus(self.pause).max(self.clock.now().mono);
                    due.since(self.clock.now().mono)
                }
                Err(error) => {
                    self.tally.failed(error);
                    RETRY
                }
            };
            if !wait.is_zero() {
                let _ = tokio::time::timeout(wait, stop.wait_for(|stop| *stop)).await;
            }
        }
    }

    fn note(&self, change: impl FnOnce(&mut Written)) {
        if let Some(writer) = self.tally.lock().writers.get_mut(self.index) {
            change(writer);
        }
    }

    /// Sends a record; which one the log needs next.
    async fn send(&self, number: u64) -> Result<u64, String> {
        let mut batch = BatchWriter::new(self.source.clone(), number);
        let bytes = record(self.run, &self.source, number, self.size_bytes);
        if batch.join(&bytes) != Joined::Yes {
            return Err("the record is too large for a batch".to_owned());
        }
        let message = batch.into_message(Sink::ImmutableLog);
        let reply = self.bus.request(message, ANSWER_TIME).await.map_err(|error| error.to_string())?;
        let position =
            read_reply(&reply.payload).map_err(|error| format!("{}: {}", error.code, error.message))?;
        Ok(position.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_document_of_the_size_that_was_asked_for_and_the_same_each_time() {
        let source = Source { component: "chaos-load-1".into(), journal: JournalId(1) };
        for size in [1, 300, 4096] {
            let bytes = record(RunId::from_bits(1), &source, 7, size);
            assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
            assert_eq!(bytes, record(RunId::from_bits(1), &source, 7, size));
            assert!(size < 100 || bytes.len() == size);
        }
    }
}
