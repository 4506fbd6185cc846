//! Evidence: how the records of a component's journal reach the sinks that keep them for strangers to check.
//!
//! ```text
//! journal ─ reading ─► shipper, one a sink ─► grace.evidence.<sink>.<component> ─► immutable_log, clarity
//!    └─ host: written up to N ─►┘  └─► grace.telemetry.evidence.<component>: where each sink stands, and how late it is
//! ```
//!
//! At least once, and deduplicated on arrival by source and sequence number: a sink says what it needs next, and the
//! shipper goes on from there, whichever side was away in between. The journal is the buffer, so a sink that is away costs
//! no memory and loses nothing.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`course`] | what is to be done next for one sink, without IO |
//! | [`metric`] | what is published about it |
//! | `pressure` | whether this process waits for processors |
//! | `reading` | the journal, read once for all sinks that stand at the same place |
//! | `shipper` | the shell around a course |
//! | [`wire`] | batches and replies as bus messages |

pub mod course;
pub mod metric;
mod pressure;
mod reading;
mod shipper;
pub mod wire;

use std::{path::PathBuf, sync::Arc, time::Duration};

use grace_bus::Bus;
use grace_store::{JournalReader, Seq, StoreError, file::FileReader};
use grace_types::{chance::OsEntropy, evidence::Source, time::Clock};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{error::Elapsed, timeout},
};

use self::{course::Progress, reading::Reading, shipper::Shipper};

/// Who keeps evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sink {
    /// The tamper-evident log.
    ImmutableLog,
    /// The narratives.
    Clarity,
}

impl Sink {
    /// Both.
    pub const ALL: [Self; 2] = [Self::ImmutableLog, Self::Clarity];

    /// The kernel's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ImmutableLog => "immutable_log",
            Self::Clarity => "clarity",
        }
    }
}

/// What a component that keeps a journal must be allowed to publish.
#[must_use]
pub fn subjects(component: &str) -> Vec<String> {
    let sinks = Sink::ALL.iter().map(|sink| wire::evidence_subject(*sink, component));
    sinks.chain([metric::subject(component)]).collect()
}

/// Opens a reader of the journal, on a thread that may block. Called again after failures, and when another journal has
/// taken the place of the one that was read.
pub type Open = Arc<dyn Fn() -> Result<Box<dyn JournalReader>, StoreError> + Send + Sync>;

/// Opens the journal in the file at `path`.
#[must_use]
pub fn file(path: PathBuf) -> Open {
    Arc::new(move || Ok(Box::new(FileReader::open(path.clone())?)))
}

type Shown = watch::Receiver<Option<(Source, Progress)>>;

/// Ships one component's journal to every sink until it is dropped.
pub struct Shippers {
    tasks: JoinSet<()>,
    /// Publishes how far they are, for as long as this lives.
    _metric: JoinSet<()>,
    shown: Vec<Shown>,
    end: watch::Sender<bool>,
}

impl Shippers {
    /// Starts shipping as `component`. `written` is the newest durable record, where the writer is at hand; the journal itself is
    /// looked at from time to time too, so a writer may also say nothing. Inside a tokio runtime only.
    #[must_use]
    pub fn start(
        component: &str,
        open: &Open,
        bus: &Bus,
        clock: &Arc<dyn Clock>,
        written: &watch::Receiver<Seq>,
    ) -> Self {
        Self::gathering(component, open, bus, clock, written, crate::limits::EVIDENCE_GATHER)
    }

    /// The same with another least time between two batches than [`crate::limits::EVIDENCE_GATHER`]: for a writer of few records that waits
    /// for them to be sealed.
    #[must_use]
    pub fn gathering(
        component: &str,
        open: &Open,
        bus: &Bus,
        clock: &Arc<dyn Clock>,
        written: &watch::Receiver<Seq>,
        gather: Duration,
    ) -> Self {
        let (mut tasks, mut metric) = (JoinSet::new(), JoinSet::new());
        let mut shown = Vec::new();
        let (end, ends) = watch::channel(false);
        let reading = Arc::new(Reading::new(component, open, clock));
        for sink in Sink::ALL {
            let (progress, show) = watch::channel(None);
            let shipper = Shipper {
                sink,
                reading: Arc::clone(&reading),
                bus: bus.clone(),
                clock: Arc::clone(clock),
                entropy: OsEntropy,
                written: written.clone(),
                gather,
                progress,
                end: ends.clone(),
            };
            tasks.spawn(shipper.run());
            shown.push(show);
        }
        metric.spawn(metric::publish(component.to_owned(), bus.clone(), Arc::clone(clock), shown.clone()));
        Self { tasks, _metric: metric, shown, end }
    }

    /// How far each sink is, once its shipper has found the journal.
    #[must_use]
    pub fn progress(&self) -> Vec<(Sink, Option<Progress>)> {
        let of = |shown: &Shown| shown.borrow().as_ref().map(|(_, progress)| progress.clone());
        Sink::ALL.into_iter().zip(self.shown.iter().map(of)).collect()
    }

    /// Ships what is written, for a bounded time: not longer than `within`, and not to a sink that does not answer when it is asked once
    /// more. What is left is shipped at the next start.
    pub async fn finish(&mut self, within: Duration) {
        self.end.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _: Result<(), Elapsed> = timeout(within, all).await;
        self.tasks.abort_all();
    }
}
