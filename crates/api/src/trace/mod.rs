//! Spans along the road, sent by OTLP where the manifest names a receiver (`telemetry: {otlp: …}`).
//!
//! ```text
//! event arrives ─► span `event` ──────────┐
//! grace.event.htm.submitted ─► `intent` ──┼─► a bounded queue ─► a thread of its own ─► POST <otlp>/v1/traces
//! grace.event.htm.{dispatched, …} ─► `task` ┘   (full: dropped and counted)
//! ```
//!
//! The context goes along in headers: event (`traceparent`) → trigger mesh → intent (its origin) → task → worker, where a program finds
//! it in `TRACEPARENT`. The ids of spans are made of what they are spans of ([`grace_types::trace`]), so that a program's own spans are
//! children of its task's.
//!
//! Best effort on purpose: spans are for looking, the log is for proof. Nothing waits for the receiver; what was under way when this
//! process was replaced has no span. An intent's span is the moment at which it was taken: the task manager records no end of an intent,
//! it follows from its tasks'.

mod follow;
mod otlp;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
    mpsc::{SyncSender, sync_channel},
};

use grace_types::{chance::Entropy, time::Timestamp, trace::TraceContext};

pub(crate) use self::follow::{SUBJECTS, follow};
use crate::limits;

/// Something that took from then to then.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) context: TraceContext,
    /// The id of the span above, if there is one.
    pub(crate) parent: Option<String>,
    /// Few different ones.
    pub(crate) name: &'static str,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) attributes: Vec<(&'static str, String)>,
    /// What went wrong.
    pub(crate) error: Option<String>,
}

/// The way to the receiver. Clones share it.
#[derive(Clone)]
pub struct Tracer {
    queue: SyncSender<Span>,
    counts: Arc<Counts>,
    entropy: Arc<Mutex<Box<dyn Entropy>>>,
}

/// What became of spans.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) exported: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

impl Tracer {
    /// Sends spans to the OTLP receiver at `base`, on a thread of its own.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(base: &str, entropy: Box<dyn Entropy>) -> std::io::Result<Self> {
        let (queue, spans) = sync_channel(limits::SPANS_WAITING);
        let counts = Arc::<Counts>::default();
        otlp::start(format!("{base}/v1/traces"), spans, Arc::clone(&counts))?;
        Ok(Self { queue, counts, entropy: Arc::new(Mutex::new(entropy)) })
    }

    /// A new trace.
    pub(crate) fn root(&self) -> TraceContext {
        TraceContext::root(&mut **self.entropy.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands a span over, if its trace is to be reported. Never waits.
    pub(crate) fn report(&self, span: Span) {
        if span.context.is_sampled() && self.queue.try_send(span).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }
}
