//! Reading one journal for all sinks.
//!
//! Sinks that stand at the same place get the same part of it: it was read once, its chain was checked once, and its records lie in memory
//! once, for as long as they are under way to any of them. One that is away, behind or ahead reads for itself, and holds the others up in
//! nothing. It comes into step again by itself: what it reads ends where another has read up to lately, and from there on their parts are the same.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;
use grace_store::{JournalReader, Seq, StoreError};
use grace_types::{
    evidence::{JournalId, Source},
    time::{Clock, Monotonic, Timestamp},
};
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::{
    Open, Sink,
    pressure::Pressure,
    wire::{BatchWriter, Joined},
};
use crate::limits;

/// Readers that are kept open while nobody reads: for each sink one, as when each stands somewhere else.
const READERS: usize = Sink::ALL.len();

/// The readers of a component's journal, and what is under way of it. Shared by its shippers.
pub(super) struct Reading {
    component: String,
    open: Open,
    clock: Arc<dyn Clock>,
    idle: Mutex<Vec<Reader>>,
    shelf: Mutex<Shelf>,
    pressure: Mutex<Pressure>,
}

/// A reader, and the record before which it stands; 0 where that is not known. Going to another place costs it some reading.
struct Reader {
    journal: Box<dyn JournalReader>,
    next: u64,
}

/// What was read lately.
#[derive(Default)]
struct Shelf {
    /// As long as a shipper holds on to it.
    parts: VecDeque<Weak<Part>>,
    newest: Option<Newest>,
}

/// Where the newest part ends and why, and when it was read.
#[derive(Clone, Copy)]
struct Newest {
    journal: JournalId,
    end: u64,
    stopped: Option<Joined>,
    read: Monotonic,
}

/// Records of a journal, which are read when the first shipper asks for them.
pub(super) struct Part {
    source: Source,
    first: u64,
    /// The largest message that the bus takes, as far as is known.
    most_bytes: usize,
    loaded: OnceCell<Loaded>,
}

/// A part that was read, and what ended it before the journal did.
pub(super) struct Loaded {
    /// As they are sent. Empty where there is nothing to be sent.
    pub(super) body: Bytes,
    pub(super) count: u64,
    pub(super) stopped: Option<Joined>,
    /// Whether this process waits for processors; asked only where more is to be sent.
    pub(super) contended: bool,
    /// When the first and the last record were decided.
    pub(super) times: (Option<Timestamp>, Option<Timestamp>),
    /// When it was read; of one that ends where another does, when that one was.
    pub(super) read: Monotonic,
}

impl Reading {
    pub(super) fn new(component: &str, open: &Open, clock: &Arc<dyn Clock>) -> Self {
        Self {
            component: component.to_owned(),
            open: Arc::clone(open),
            clock: Arc::clone(clock),
            idle: Mutex::default(),
            shelf: Mutex::default(),
            pressure: Mutex::default(),
        }
    }

    /// Whose journal lies there now, and its last record.
    pub(super) async fn begin(self: &Arc<Self>) -> Result<(Source, u64), StoreError> {
        let this = Arc::clone(self);
        blocking(move || {
            let mut journal = (this.open)()?;
            let last = journal.last()?.0;
            let source = Source::new(&this.component, journal.id()).ok_or_else(|| StoreError::Io {
                path: this.component.clone(),
                detail: "this is not a component's name".to_owned(),
            })?;
            this.keep(Reader { journal, next: 0 });
            Ok((source, last))
        })
        .await
    }

    /// The last record of the journal.
    pub(super) async fn last(self: &Arc<Self>, journal: JournalId) -> Result<u64, StoreError> {
        self.lend(journal, None, |reader| Ok(reader.journal.last()?.0)).await
    }

    /// When that record was decided; `None` where it does not say.
    pub(super) async fn time_of(
        self: &Arc<Self>,
        journal: JournalId,
        record: u64,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.lend(journal, Some(record), move |reader| {
            let mut time = None;
            reader.journal.read(Seq(record), 1, &mut |record| {
                time = decided(record.payload);
                ControlFlow::Break(())
            })?;
            reader.next = record + 1;
            Ok(time)
        })
        .await
    }

    /// The records from `first` on. They are read once, for whoever asks while anybody holds on to the part; one that cannot be read is tried again
    /// by the next who asks.
    pub(super) async fn part(
        self: &Arc<Self>,
        source: &Source,
        first: u64,
        most_bytes: usize,
    ) -> Result<Arc<Part>, StoreError> {
        let part = self.on_shelf(source, first, most_bytes);
        let reading = Arc::clone(&part);
        part.loaded.get_or_try_init(|| self.load(reading)).await?;
        Ok(part)
    }

    fn on_shelf(&self, source: &Source, first: u64, most_bytes: usize) -> Arc<Part> {
        let mut shelf = lock(&self.shelf);
        shelf.parts.retain(|part| part.strong_count() > 0);
        let known = shelf
            .parts
            .iter()
            .filter_map(Weak::upgrade)
            .find(|part| part.source == *source && part.first == first && part.most_bytes == most_bytes);
        known.unwrap_or_else(|| {
            let part = Part { source: source.clone(), first, most_bytes, loaded: OnceCell::new() };
            let part = Arc::new(part);
            shelf.parts.push_back(Arc::downgrade(&part));
            part
        })
    }

    async fn load(self: &Arc<Self>, part: Arc<Part>) -> Result<Loaded, StoreError> {
        let now = self.clock.now().mono;
        let newest = lock(&self.shelf).newest;
        // Where another has read past this place, they meet there.
        let meets = newest.filter(|newest| newest.journal == part.source.journal && newest.end > part.first);
        let (this, journal, first) = (Arc::clone(self), part.source.journal, part.first);
        let loaded = self
            .lend(journal, Some(first), move |reader| {
                let writer = BatchWriter::new(part.source.clone(), first).within(part.most_bytes);
                let loaded = this.read(&mut *reader.journal, now, writer, meets);
                reader.next = first + loaded.as_ref().map_or(0, |loaded| loaded.count);
                loaded
            })
            .await?;
        if meets.is_none() {
            let (end, stopped) = (first + loaded.count, loaded.stopped);
            lock(&self.shelf).newest = Some(Newest { journal, end, stopped, read: now });
        }
        Ok(loaded)
    }

    fn read(
        &self,
        journal: &mut dyn JournalReader,
        now: Monotonic,
        mut writer: BatchWriter,
        meets: Option<Newest>,
    ) -> Result<Loaded, StoreError> {
        let (mut stopped, mut read) = (None, now);
        let from = Seq(writer.first());
        let done = journal.read(from, limits::EVIDENCE_BATCH_BYTES, &mut |record| match writer
            .join(record.payload)
        {
            Joined::Yes => match meets.filter(|newest| newest.end == record.seq.0 + 1) {
                Some(newest) => {
                    (stopped, read) = (newest.stopped, newest.read);
                    ControlFlow::Break(())
                }
                None => ControlFlow::Continue(()),
            },
            other => {
                stopped = Some(other);
                ControlFlow::Break(())
            }
        });
        // What was read before the trouble is sound; the next read begins at the trouble.
        if writer.count() == 0 {
            done?;
        }
        let times = (writer.oldest().and_then(decided), writer.newest().and_then(decided));
        let contended = stopped.is_some() && lock(&self.pressure).is_high(now);
        let count = writer.count();
        Ok(Loaded { body: writer.into_body(), count, stopped, contended, times, read })
    }

    /// Lends a reader of this journal to a thread that may block, if there is one the one that stands before `next`.
    async fn lend<V: Send + 'static>(
        self: &Arc<Self>,
        journal: JournalId,
        next: Option<u64>,
        work: impl FnOnce(&mut Reader) -> Result<V, StoreError> + Send + 'static,
    ) -> Result<V, StoreError> {
        let this = Arc::clone(self);
        blocking(move || {
            let mut reader = match this.take(journal, next) {
                Some(reader) => reader,
                None => this.opened(journal)?,
            };
            let done = work(&mut reader);
            if !matches!(done, Err(StoreError::Replaced { .. })) {
                this.keep(reader);
            }
            done
        })
        .await
    }

    /// A reader that nobody reads with: the one that stands there, or else, where there are enough of them, the one that was not used for longest.
    fn take(&self, journal: JournalId, next: Option<u64>) -> Option<Reader> {
        let mut idle = lock(&self.idle);
        idle.retain(|reader| reader.journal.id() == journal);
        let stands_there = |reader: &Reader| next.is_none_or(|next| reader.next == next);
        let at = idle
            .iter()
            .rposition(stands_there)
            .or_else(|| idle.iter().position(|reader| reader.next == 0))
            .or_else(|| (idle.len() >= READERS).then_some(0))?;
        Some(idle.remove(at))
    }

    fn opened(&self, journal: JournalId) -> Result<Reader, StoreError> {
        let opened = (self.open)()?;
        let now = opened.id();
        if now != journal {
            return Err(StoreError::Replaced { path: self.component.clone(), was: journal, now });
        }
        Ok(Reader { journal: opened, next: 0 })
    }

    fn keep(&self, reader: Reader) {
        let mut idle = lock(&self.idle);
        let id = reader.journal.id();
        idle.retain(|other| other.journal.id() == id && other.next != reader.next);
        if idle.len() >= READERS {
            idle.remove(0);
        }
        idle.push(reader);
    }
}

impl Part {
    /// What was read, by whoever was first.
    pub(super) fn loaded(&self) -> Option<&Loaded> {
        self.loaded.get()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in there is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When the record was decided; `None` where it does not say.
fn decided(record: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Timed {
        time: Timestamp,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Stored {
        Event(Timed),
        Answer(Timed),
    }
    match serde_json::from_slice(record).ok()? {
        Stored::Event(timed) | Stored::Answer(timed) => Some(timed.time),
    }
}

async fn blocking<V: Send + 'static>(
    work: impl FnOnce() -> Result<V, StoreError> + Send + 'static,
) -> Result<V, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| {
        Err(StoreError::Io { path: "the thread that reads".to_owned(), detail: e.to_string() })
    })
}
