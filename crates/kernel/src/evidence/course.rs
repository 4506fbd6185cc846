//! What a shipper does next with one journal and one sink: a state machine without IO.
//!
//! ```text
//!          ┌────────────────── nothing waits: from time to time ──────────────────┐
//!          ▼                                                                      │
//! ask where the sink stands ─ next ─► send records from there ─ next ─► send ─ next ─► …
//!          ▲                                     │
//!          └── wait, longer each time ◄── no answer, an error, or nothing of it taken
//! ```
//!
//! The sink is the one that knows: `next` comes from its replies alone, and after anything unexpected it is asked again. Batches
//! under way are then forgotten; if they arrive after all, the sink skips what it has. So nothing is kept in memory for a sink that is away
//! but numbers, whatever waits in the journal.

use std::{collections::VecDeque, fmt, time::Duration};

use grace_types::time::{Monotonic, Timestamp};

use crate::limits;

/// Names a request that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send an empty batch, and report what became of it under this ticket.
    Ask(Ticket),
    /// Read records from here on and hand them to [`Course::sent`], or to [`Course::unreadable`] why not.
    Send {
        /// The first record.
        from: u64,
    },
    /// Nothing before this time, unless something is reported.
    Wait {
        /// Until when.
        until: Monotonic,
    },
}

/// A batch as the course needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The first record.
    pub first: u64,
    /// The one after the last.
    pub end: u64,
    /// Whether more would not have fitted.
    pub full: bool,
    /// Whether the process that decides had to wait for a processor lately. See [`Course::sent`].
    pub contended: bool,
    /// When it was read, which for what another sink was sent too may be a while ago: the two go on together.
    pub read: Monotonic,
    /// When the first record was decided, where it says so.
    pub first_time: Option<Timestamp>,
    /// When the last record was decided, where it says so.
    pub last_time: Option<Timestamp>,
}

/// Why nothing of a journal is shipped to a sink any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// The sink holds records that the journal does not.
    SinkAhead {
        /// What the sink needs next.
        next: u64,
        /// The journal's last record.
        last: u64,
    },
    /// The records that the sink needs cannot be read.
    Unreadable {
        /// The first of them.
        from: u64,
        /// Why.
        detail: String,
    },
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SinkAhead { next, last } => write!(
                f,
                "it holds records up to {} and the journal ends at {last}: the journal was rolled back or lost records. \
                 Nothing more of this journal is shipped there",
                next - 1
            ),
            Self::Unreadable { from, detail } => {
                write!(
                    f,
                    "record {from} cannot be shipped: {detail}. Nothing more of this journal is shipped there"
                )
            }
        }
    }
}

/// What people must be told, once each time it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The sink has taken nothing for a while.
    Away {
        /// What the last try said.
        detail: String,
    },
    /// It takes records again.
    Back {
        /// How long it was away.
        after: Duration,
        /// Records that wait.
        waiting: u64,
    },
    /// The sink has lost records that it had acknowledged. They are sent again.
    Rewound {
        /// What it needed next before.
        had: u64,
        /// What it needs next now.
        next: u64,
    },
    /// See [`Halt`].
    Halted(Halt),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away { detail } => write!(f, "it takes nothing ({detail}); records wait in the journal"),
            Self::Back { after, waiting } => {
                write!(f, "it takes records again after {:.1} s; {waiting} wait", after.as_secs_f64())
            }
            Self::Rewound { had, next } => write!(
                f,
                "it lost records {next} to {} after it had acknowledged them; they are sent again",
                had - 1
            ),
            Self::Halted(halt) => halt.fmt(f),
        }
    }
}

/// How a sink is doing, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It answers; what was written is there or on its way.
    Shipping,
    /// It does not answer, or takes nothing; records wait.
    Away,
    /// See [`Halt`].
    Halted,
}

/// What is known of a sink, for the metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// In one word.
    pub standing: Standing,
    /// What the sink needs next; `None` until it has answered once.
    pub next: Option<u64>,
    /// The journal's last record.
    pub last: u64,
    /// From the newest acknowledged record's decision to its acknowledgement.
    pub lag: Option<Duration>,
    /// When the oldest record that waits was decided, as far as it was read.
    pub oldest: Option<Timestamp>,
    /// How often the sink had lost records.
    pub rewinds: u64,
    /// Why nothing is shipped any more.
    pub halted: Option<String>,
}

impl Progress {
    /// Records that wait; `None` until the sink has answered once.
    #[must_use]
    pub fn waiting(&self) -> Option<u64> {
        self.next.map(|next| (self.last + 1).saturating_sub(next))
    }
}

#[derive(Debug)]
struct Flight {
    ticket: Ticket,
    begun: Monotonic,
    sent: Sent,
}

/// A request that is over.
#[derive(Debug)]
enum Landed {
    Asked { begun: Monotonic },
    Batch(Flight),
}

#[derive(Debug)]
enum Phase {
    /// Where the sink stands is to be asked at this time.
    Unknown {
        ask_at: Monotonic,
    },
    /// It was asked.
    Asking {
        ticket: Ticket,
        begun: Monotonic,
    },
    /// It stands at `next`; everything before `sent` is under way.
    Open {
        sent: u64,
        flights: VecDeque<Flight>,
        send_at: Monotonic,
        ask_at: Monotonic,
    },
    Halted,
}

/// See the module's page. All sequence numbers begin at 1; `next` and ends lie one after the last.
#[derive(Debug)]
pub struct Course {
    phase: Phase,
    /// Least time between two batches.
    gather: Duration,
    /// The journal's last record.
    last: u64,
    /// The sink's own word, newest.
    next: Option<u64>,
    /// The furthest that it is known to have stood.
    furthest: u64,
    /// The latest request when that became known: only the reply to a later one can show that the sink lost something.
    known_at: u64,
    tickets: u64,
    /// Failures since the sink last took a record.
    failures: u32,
    away_since: Option<Monotonic>,
    told_away: bool,
    lag: Option<Duration>,
    oldest: Option<(u64, Option<Timestamp>)>,
    rewinds: u64,
    halted: Option<Halt>,
    ending: bool,
    notices: Vec<Notice>,
}

impl Course {
    /// A course for a journal whose last record is `last`.
    #[must_use]
    pub const fn new(last: u64) -> Self {
        Self {
            phase: Phase::Unknown { ask_at: Monotonic::ZERO },
            gather: limits::EVIDENCE_GATHER,
            last,
            next: None,
            furthest: 1,
            tickets: 0,
            known_at: 0,
            failures: 0,
            away_since: None,
            told_away: false,
            lag: None,
            oldest: None,
            rewinds: 0,
            halted: None,
            ending: false,
            notices: Vec::new(),
        }
    }

    /// The same, with another least time between two batches than [`limits::EVIDENCE_GATHER`].
    #[must_use]
    pub const fn gathering(mut self, gather: Duration) -> Self {
        self.gather = gather;
        self
    }

    /// The journal's last record is this one now.
    pub fn written(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    /// What is to be done now.
    pub fn next(&mut self, now: Monotonic) -> Step {
        let waiting = match &self.phase {
            Phase::Unknown { ask_at } if *ask_at <= now => return self.ask(now),
            Phase::Unknown { ask_at } => *ask_at,
            Phase::Asking { .. } | Phase::Halted => now.plus(limits::EVIDENCE_RECHECK),
            Phase::Open { sent, flights, send_at, ask_at } => {
                if *sent <= self.last && flights.len() < limits::EVIDENCE_FLIGHTS {
                    if *send_at <= now {
                        return Step::Send { from: *sent };
                    }
                    *send_at
                } else if !flights.is_empty() {
                    now.plus(limits::EVIDENCE_RECHECK)
                } else if *ask_at <= now {
                    return self.ask(now);
                } else {
                    *ask_at
                }
            }
        };
        Step::Wait { until: waiting }
    }

    fn ask(&mut self, now: Monotonic) -> Step {
        let ticket = self.ticket();
        self.phase = Phase::Asking { ticket, begun: now };
        Step::Ask(ticket)
    }

    const fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// The batch that [`Step::Send`] asked for is on its way.
    ///
    /// Small batches are made larger by a little patience; while much waits there is nothing to gain by it, and the next one goes at once.
    /// Not while processors are short, though: what waits is durable in the journal, so deciding comes first, and evidence goes on at a
    /// batch for each pause, until it is late ([`limits::EVIDENCE_LATE`]) and takes its full share again.
    pub fn sent(&mut self, now: Monotonic, wall: Timestamp, batch: Sent) -> Ticket {
        let ticket = self.ticket();
        let late = || batch.first_time.is_some_and(|time| wall.since(time) >= limits::EVIDENCE_LATE);
        let at_once = batch.full && (!batch.contended || late());
        if let Phase::Open { sent, flights, send_at, .. } = &mut self.phase {
            *sent = batch.end;
            *send_at = if at_once { now } else { batch.read.plus(self.gather) };
            flights.push_back(Flight { ticket, begun: now, sent: batch });
        }
        if self.next == Some(batch.first) {
            self.oldest = Some((batch.first, batch.first_time));
        }
        ticket
    }

    /// The records that [`Step::Send`] asked for are not to be had, for good.
    pub fn unreadable(&mut self, from: u64, detail: String) {
        self.halt(Halt::Unreadable { from, detail });
    }

    /// The sink's reply. `last` is the journal's last record, read after the reply came.
    pub fn replied(&mut self, now: Monotonic, wall: Timestamp, ticket: Ticket, next: u64, last: u64) {
        let Some(landed) = self.land(ticket) else { return };
        self.written(last);
        let next = if ticket.0 <= self.known_at { next.max(self.furthest) } else { next };
        if next < self.furthest {
            self.rewinds += 1;
            self.notices.push(Notice::Rewound { had: self.furthest, next });
        }
        let before = self.next.replace(next);
        // One that says where it stands and takes nothing is not back.
        if before.is_none_or(|before| next > before) || next > self.last {
            self.takes(now, next);
        }
        if next != self.furthest {
            (self.furthest, self.known_at) = (next, self.tickets);
        }
        if next > self.last + 1 {
            return self.halt(Halt::SinkAhead { next, last: self.last });
        }
        match landed {
            Landed::Asked { .. } => self.open(now, next),
            Landed::Batch(flight) if next >= flight.sent.end => {
                self.failures = 0;
                self.lag = flight.sent.last_time.map(|time| wall.since(time));
                self.acknowledged(now, next);
            }
            Landed::Batch(_) if before.is_some_and(|before| next > before) => {
                self.failures = 0;
                self.open(now, next);
            }
            // Nothing of it was taken: something before it was lost on the way, or the sink has no room.
            Landed::Batch(flight) => {
                let first = self.failures == 0;
                if !first {
                    self.troubled(now, flight.begun, "it answers, and takes nothing of what it is sent");
                }
                self.retry(now, u64::MAX / 2, first);
            }
        }
    }

    fn open(&mut self, now: Monotonic, next: u64) {
        let ask_at = now.plus(limits::EVIDENCE_RECHECK);
        self.phase = Phase::Open { sent: next, flights: VecDeque::new(), send_at: now, ask_at };
    }

    fn acknowledged(&mut self, now: Monotonic, next: u64) {
        let Phase::Open { sent, flights, ask_at, .. } = &mut self.phase else { return };
        *sent = (*sent).max(next);
        *ask_at = now.plus(limits::EVIDENCE_RECHECK);
        let oldest = flights.front().map(|flight| flight.sent).filter(|batch| batch.first == next);
        self.oldest = oldest.map(|batch| (next, batch.first_time));
    }

    /// A request came to nothing: no answer in time, no connection, or an error as the answer. `chance` spreads the tries of many
    /// shippers that fail together.
    pub fn failed(&mut self, now: Monotonic, ticket: Ticket, detail: &str, chance: u64) {
        let begun = match self.land(ticket) {
            None => return,
            Some(Landed::Asked { begun } | Landed::Batch(Flight { begun, .. })) => begun,
        };
        self.troubled(now, begun, detail);
        self.retry(now, chance, false);
    }

    /// A request that was begun then came to nothing.
    fn troubled(&mut self, now: Monotonic, begun: Monotonic, detail: &str) {
        let since = *self.away_since.get_or_insert(begun);
        if !self.told_away && now.since(since) >= limits::EVIDENCE_AWAY {
            self.told_away = true;
            self.notices.push(Notice::Away { detail: detail.to_owned() });
        }
    }

    /// Forgets what is under way, and asks the sink again: at once, or after a half to the whole of a wait that grows.
    fn retry(&mut self, now: Monotonic, chance: u64, at_once: bool) {
        let wait = limits::EVIDENCE_RETRY_FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(limits::EVIDENCE_RETRY_LONGEST);
        let part = 0.5 + (chance >> 11) as f64 / (1u64 << 54) as f64;
        self.failures = self.failures.saturating_add(1);
        let ask_at = if at_once { now } else { now.plus(wait.mul_f64(part)) };
        self.phase = Phase::Unknown { ask_at };
    }

    /// The sink has taken something, or there is nothing to be taken.
    fn takes(&mut self, now: Monotonic, next: u64) {
        if let Some(since) = self.away_since.take()
            && std::mem::take(&mut self.told_away)
        {
            let waiting = (self.last + 1).saturating_sub(next);
            self.notices.push(Notice::Back { after: now.since(since), waiting });
        }
    }

    /// The request is over. `None`: it was forgotten before.
    fn land(&mut self, ticket: Ticket) -> Option<Landed> {
        match &mut self.phase {
            Phase::Asking { ticket: asked, begun } if *asked == ticket => {
                Some(Landed::Asked { begun: *begun })
            }
            Phase::Open { flights, .. } => {
                let at = flights.iter().position(|flight| flight.ticket == ticket)?;
                flights.remove(at).map(Landed::Batch)
            }
            Phase::Asking { .. } | Phase::Unknown { .. } | Phase::Halted => None,
        }
    }

    fn halt(&mut self, halt: Halt) {
        self.phase = Phase::Halted;
        self.notices.push(Notice::Halted(halt.clone()));
        self.halted = Some(halt);
    }

    /// What people must be told now.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// The oldest record that waits, where its time is not known yet and nothing will read it soon.
    #[must_use]
    pub fn unknown_age(&self) -> Option<u64> {
        let next = self.next.filter(|next| *next <= self.last && self.away_since.is_some())?;
        self.oldest.is_none_or(|(known, _)| known != next).then_some(next)
    }

    /// When that record was decided, if it could be found out.
    pub const fn aged(&mut self, sequence: u64, time: Option<Timestamp>) {
        self.oldest = Some((sequence, time));
    }

    /// The records that [`Step::Send`] asked for cannot be had before this time.
    pub const fn hold(&mut self, until: Monotonic) {
        if let Phase::Open { send_at, .. } = &mut self.phase {
            *send_at = until;
        }
    }

    /// There is no record from `from` on, whatever was said to be written.
    pub fn none_from(&mut self, from: u64) {
        self.last = self.last.min(from.saturating_sub(1));
    }

    /// The process ends: the sink is asked now where it stands, whatever was found before and whatever is under way, and gets all that
    /// waits without a pause. See [`Course::is_over`].
    pub fn end(&mut self, now: Monotonic) {
        if std::mem::replace(&mut self.ending, true) || self.halted.is_some() {
            return;
        }
        self.gather = Duration::ZERO;
        self.away_since = None;
        self.phase = Phase::Unknown { ask_at: now };
    }

    /// Whether nothing more is to be done before the process ends: the sink has everything, or did not answer when it was asked once more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let has_all = self.progress().waiting() == Some(0);
        self.ending && (has_all || self.halted.is_some() || self.away_since.is_some())
    }

    /// Whether nothing that is written is left to be sent.
    #[must_use]
    pub const fn is_sent(&self) -> bool {
        match &self.phase {
            Phase::Open { sent, .. } => *sent > self.last,
            Phase::Unknown { .. } | Phase::Asking { .. } | Phase::Halted => false,
        }
    }

    /// For the metric.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let standing = match (&self.halted, self.away_since) {
            (Some(_), _) => Standing::Halted,
            (None, Some(_)) => Standing::Away,
            (None, None) => Standing::Shipping,
        };
        let waits = |(sequence, time): (u64, Option<Timestamp>)| {
            time.filter(|_| sequence <= self.last && self.next == Some(sequence))
        };
        Progress {
            standing,
            next: self.next,
            last: self.last,
            lag: self.lag,
            oldest: self.oldest.and_then(waits),
            rewinds: self.rewinds,
            halted: self.halted.as_ref().map(Halt::to_string),
        }
    }
}

#[cfg(test)]
mod tests;
