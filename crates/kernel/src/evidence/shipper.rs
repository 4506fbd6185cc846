//! The shell around a [`Course`]: sends batches of what was read, waits for replies.
//!
//! One task for each sink, so that one that is away holds the other up in nothing; what they share is the reading. What was read and not
//! acknowledged is let go of and read again: the journal is the buffer, and what one sink holds of the memory is at most the batches under way to
//! it.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use grace_bus::{Bus, BusError, Message};
use grace_store::{Seq, StoreError};
use grace_types::{
    chance::{Entropy, OsEntropy},
    evidence::Source,
    time::{Clock, Monotonic},
};
use tokio::{sync::watch, task::JoinSet};

use super::{
    Sink,
    course::{Course, Notice, Progress, Sent, Step, Ticket},
    reading::{Part, Reading},
    wire::{self, BatchWriter, Joined, Position, WireError, read_reply},
};
use crate::{limits, process::tell};

/// What becomes of a request.
type Reply = (Ticket, Result<Position, Trouble>);

/// Why a request came to nothing.
struct Trouble {
    detail: String,
    /// The largest message that the bus takes, where the request was larger.
    limit_bytes: Option<usize>,
}

impl From<WireError> for Trouble {
    fn from(e: WireError) -> Self {
        Self { detail: format!("{}: {}", e.code, e.message), limit_bytes: None }
    }
}

impl From<BusError> for Trouble {
    fn from(e: BusError) -> Self {
        let limit_bytes = match e {
            BusError::TooLarge { limit_bytes, .. } => Some(limit_bytes),
            _ => None,
        };
        Self { detail: e.to_string(), limit_bytes }
    }
}

/// One journal's way to one sink.
pub(super) struct Shipper {
    pub(super) sink: Sink,
    pub(super) reading: Arc<Reading>,
    pub(super) bus: Bus,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: OsEntropy,
    /// The newest durable record, from whoever writes the journal.
    pub(super) written: watch::Receiver<Seq>,
    /// Least time between two batches.
    pub(super) gather: Duration,
    pub(super) progress: watch::Sender<Option<(Source, Progress)>>,
    /// Whether the process ends.
    pub(super) end: watch::Receiver<bool>,
}

impl Shipper {
    /// Ships until the process ends and the course is over. A journal that takes the place of another begins a course of its own.
    pub(super) async fn run(mut self) {
        loop {
            let (source, last) = self.opened().await;
            let mut leg = Leg {
                course: Course::new(last).gathering(self.gather),
                source,
                flights: JoinSet::new(),
                most_bytes: usize::MAX,
                troubled: false,
            };
            if leg.run(&mut self).await.is_break() {
                return;
            }
        }
    }

    /// The journal, once there is one that can be read.
    async fn opened(&self) -> (Source, u64) {
        let (mut told, mut wait) = (false, limits::EVIDENCE_RETRY_FIRST);
        loop {
            match self.reading.begin().await {
                Ok(begun) => return begun,
                // Its writer is about to make it.
                Err(StoreError::Missing { .. }) => {}
                Err(e) if !told => {
                    told = true;
                    self.tell(&format!("the journal cannot be read: {e}"));
                }
                Err(_) => {}
            }
            sleep(wait).await;
            wait = (wait * 2).min(limits::EVIDENCE_RETRY_LONGEST);
        }
    }

    fn tell(&self, what: &str) {
        tell(&format!("evidence for {}: {what}", self.sink.name()));
    }

    /// Sends a request, and holds on to the part that it carries until its reply is there.
    fn send(&self, flights: &mut JoinSet<Reply>, ticket: Ticket, message: Message, part: Option<Arc<Part>>) {
        let bus = self.bus.clone();
        flights.spawn(async move {
            let _part = part;
            let reply = match bus.request(message, limits::EVIDENCE_REPLY).await {
                Ok(message) => read_reply(&message.payload).map_err(Trouble::from),
                Err(e) => Err(e.into()),
            };
            (ticket, reply)
        });
    }
}

/// One journal, for as long as it is the component's.
struct Leg {
    course: Course,
    source: Source,
    flights: JoinSet<Reply>,
    /// The largest message that the bus takes, as far as is known.
    most_bytes: usize,
    /// Whether the last read failed.
    troubled: bool,
}

/// The journal is another one now.
struct Over;

impl Leg {
    /// Breaks when the process ends and nothing more is to be done.
    async fn run(&mut self, shipper: &mut Shipper) -> ControlFlow<()> {
        loop {
            let now = shipper.clock.now().mono;
            if *shipper.end.borrow_and_update() {
                self.course.end(now);
            }
            self.show(shipper);
            if self.course.is_over() {
                return ControlFlow::Break(());
            }
            let done = match self.course.next(now) {
                Step::Ask(ticket) => {
                    // What was under way before is forgotten.
                    self.flights = JoinSet::new();
                    let ask = BatchWriter::new(self.source.clone(), 1).into_message(shipper.sink);
                    shipper.send(&mut self.flights, ticket, ask, None);
                    Ok(())
                }
                Step::Send { from } => self.load(shipper, from).await,
                Step::Wait { until } => self.wait(shipper, now, until).await,
            };
            if done.is_err() {
                return ControlFlow::Continue(());
            }
        }
    }

    fn show(&mut self, shipper: &Shipper) {
        for notice in self.course.take_notices() {
            let whose = match notice {
                Notice::Halted(_) | Notice::Rewound { .. } => format!(" (journal {})", self.source.journal),
                Notice::Away { .. } | Notice::Back { .. } => String::new(),
            };
            shipper.tell(&format!("{notice}{whose}"));
        }
        let progress = self.course.progress();
        shipper.progress.send_if_modified(|shown| {
            let state = |shown: &Option<(Source, Progress)>| {
                shown.as_ref().map(|(_, progress)| (progress.standing, progress.waiting() == Some(0)))
            };
            let before = state(shown);
            *shown = Some((self.source.clone(), progress));
            before != state(shown)
        });
    }

    /// Sends the records from `from` on.
    async fn load(&mut self, shipper: &Shipper, from: u64) -> Result<(), Over> {
        let part = match shipper.reading.part(&self.source, from, self.most_bytes).await {
            Ok(part) => part,
            Err(e) => return self.unread(shipper, from, &e),
        };
        let now = shipper.clock.now();
        match part.loaded() {
            Some(loaded) if loaded.count > 0 => {
                let (first_time, last_time) = loaded.times;
                let sent = Sent {
                    first: from,
                    end: from + loaded.count,
                    full: loaded.stopped.is_some(),
                    contended: loaded.contended,
                    read: loaded.read,
                    first_time,
                    last_time,
                };
                let ticket = self.course.sent(now.mono, now.wall, sent);
                let message = wire::message(shipper.sink, &self.source, from, loaded.body.clone());
                shipper.send(&mut self.flights, ticket, message, Some(part));
                self.troubled = false;
            }
            Some(loaded) if loaded.stopped == Some(Joined::Never) => {
                let most = limits::EVIDENCE_RECORD_BYTES;
                self.course.unreadable(from, format!("it is empty or has more than {most} bytes"));
            }
            // What was said to be written was in another journal's file.
            _ => self.course.none_from(from),
        }
        Ok(())
    }

    fn unread(&mut self, shipper: &Shipper, from: u64, error: &StoreError) -> Result<(), Over> {
        match error {
            StoreError::Replaced { .. } => return Err(Over),
            StoreError::Corrupt { .. } | StoreError::Range { .. } => {
                self.course.unreadable(from, error.to_string());
            }
            _ => {
                if !std::mem::replace(&mut self.troubled, true) {
                    shipper.tell(&format!("the journal cannot be read; it is tried again: {error}"));
                }
                self.course.hold(shipper.clock.now().mono.plus(limits::EVIDENCE_RETRY_LONGEST));
            }
        }
        Ok(())
    }

    /// Waits for whatever comes first: a reply, a record, the time.
    async fn wait(&mut self, shipper: &mut Shipper, now: Monotonic, until: Monotonic) -> Result<(), Over> {
        if let Some(oldest) = self.course.unknown_age() {
            self.age(shipper, oldest).await;
            return Ok(());
        }
        let waits = until.since(now).min(limits::EVIDENCE_POLL);
        // While something waits to be sent, more of it changes nothing.
        let idle = self.course.is_sent();
        tokio::select! {
            Some(landed) = self.flights.join_next() => match landed {
                Ok((ticket, Ok(position))) => self.replied(shipper, ticket, position.next).await,
                Ok((ticket, Err(trouble))) => {
                    self.most_bytes = trouble.limit_bytes.unwrap_or(self.most_bytes);
                    let chance = shipper.entropy.next_u64();
                    self.course.failed(shipper.clock.now().mono, ticket, &trouble.detail, chance);
                    Ok(())
                }
                // Only a runtime that ends ends a request.
                Err(_) => Err(Over),
            },
            Ok(()) = shipper.written.changed(), if idle => {
                self.course.written(shipper.written.borrow_and_update().0);
                Ok(())
            }
            Ok(()) = shipper.end.changed() => {
                self.course.written(shipper.written.borrow_and_update().0);
                Ok(())
            }
            () = sleep(waits) => {
                self.course.written(shipper.written.borrow_and_update().0);
                if idle { self.poll(shipper).await } else { Ok(()) }
            }
        }
    }

    async fn replied(&mut self, shipper: &Shipper, ticket: Ticket, next: u64) -> Result<(), Over> {
        let mut last = shipper.written.borrow().0;
        if next > last + 1 {
            last = match shipper.reading.last(self.source.journal).await {
                Ok(last) => last,
                Err(StoreError::Replaced { .. }) => return Err(Over),
                Err(e) => {
                    let chance = 0;
                    let detail = format!("the journal cannot be read: {e}");
                    self.course.failed(shipper.clock.now().mono, ticket, &detail, chance);
                    return Ok(());
                }
            };
        }
        let now = shipper.clock.now();
        self.course.replied(now.mono, now.wall, ticket, next, last);
        Ok(())
    }

    /// Looks whether there is more than the writer said: it may be another process, or one that says nothing.
    async fn poll(&mut self, shipper: &Shipper) -> Result<(), Over> {
        match shipper.reading.last(self.source.journal).await {
            Ok(last) => self.course.written(last),
            Err(StoreError::Replaced { .. }) => return Err(Over),
            Err(e) if !std::mem::replace(&mut self.troubled, true) => {
                shipper.tell(&format!("the journal cannot be read; it is tried again: {e}"));
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// Finds out when the oldest record that waits was decided.
    async fn age(&mut self, shipper: &Shipper, oldest: u64) {
        let time = shipper.reading.time_of(self.source.journal, oldest).await;
        self.course.aged(oldest, time.ok().flatten());
    }
}

#[expect(clippy::disallowed_methods, reason = "a shell's own timer")]
pub(super) async fn sleep(wait: Duration) {
    tokio::time::sleep(wait).await;
}
