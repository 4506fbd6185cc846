//! The codec of journal records and snapshots: JSON, so that a person and any tool can read a journal.
//!
//! A record is `{"event": …}` or `{"answer": …}` ([`Stored`]). An [`Entry`] is one event with its 5W1H, its place among
//! causes, and, on the last event of a command that had an idempotency key, the key and the outcome. A command with a key
//! that changed nothing leaves an [`Answer`](Stored::Answer): without it, a copy of the command that the network
//! delivers late could be applied after its sender was told no. Whatever does not know the decider's types reads records as
//! JSON.

use grace_types::{
    event::Event,
    id::{CorrelationId, EventId},
    reason::Account,
    time::{Hlc, Timestamp},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    decider::{Decider, OutcomeOf, Recorded},
    keys::{Fingerprint, Keys},
};

/// One journal record.
#[derive(Serialize, Deserialize)]
#[serde(bound = "", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "nearly all records are events")]
pub enum Stored<D: Decider> {
    /// An event.
    Event(Entry<D>),
    /// The outcome of a command with a key that recorded no event.
    Answer(Settled<D>),
}

/// A command with a key that was answered without an event.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Settled<D: Decider> {
    /// When it was decided.
    pub time: Timestamp,
    /// Its place in the order of causes and effects.
    pub hlc: Hlc,
    /// Who asked, where the sender said so; otherwise the component itself.
    pub who: String,
    /// The key and the outcome.
    pub answered: Answered<D>,
}

/// One event.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Entry<D: Decider> {
    /// Unique.
    pub id: EventId,
    /// `dev.grace.<component>.<what>.v1`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was decided.
    pub time: Timestamp,
    /// Its place in the order of causes and effects.
    pub hlc: Hlc,
    /// Who asked, where the sender said so; otherwise the component itself.
    pub who: String,
    /// What it belongs to.
    pub correlation: CorrelationId,
    /// The event that caused the command, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<EventId>,
    /// How many causes lie before it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hops: u32,
    /// W3C Trace Context of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The event, why, how, and where.
    pub record: Recorded<D::Event>,
    /// The same as it was written into the journal a moment ago, for whoever passes it on; nothing where it was read from one.
    #[serde(skip)]
    pub(crate) written: Option<Box<[u8]>>,
    /// Set on the last event of a command that had a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answered<D>>,
}

/// What was answered to a command with an idempotency key.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Answered<D: Decider> {
    /// The key.
    pub key: String,
    /// Of the command.
    pub fingerprint: Fingerprint,
    /// The answer.
    pub outcome: OutcomeOf<D>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl<D: Decider> Stored<D> {
    /// Reads a journal record.
    ///
    /// # Errors
    /// When the bytes are no record of `D`'s.
    pub fn from_json(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }

    /// [`Self::from_json`] of what was just written; keeps what is to be passed on.
    pub(crate) fn read_back(bytes: &[u8]) -> serde_json::Result<Self> {
        let mut read = Self::from_json(bytes)?;
        if let Self::Event(entry) = &mut read {
            entry.written = entry.record_in(bytes).map(Into::into);
        }
        Ok(read)
    }

    /// The key and the outcome, where the record settles a command that had a key.
    #[must_use]
    pub const fn answered(&self) -> Option<&Answered<D>> {
        match self {
            Self::Event(entry) => entry.answered.as_ref(),
            Self::Answer(settled) => Some(&settled.answered),
        }
    }
}

impl<D: Decider> Entry<D> {
    /// The 5W1H of the decision.
    #[must_use]
    pub fn account(&self) -> Account {
        Account {
            who: self.who.clone(),
            what: self.kind.clone(),
            when: self.time,
            place: self.record.place().to_owned(),
            why: self.record.why().clone(),
            how: self.record.how().to_owned(),
            correlation: Some(self.correlation),
            causation: self.causation,
        }
    }

    /// The envelope under which the event is published by `component`; its data are the record (event, why, how, where).
    ///
    /// # Errors
    /// When the event cannot be written as JSON.
    pub fn to_event(&self, component: &str) -> serde_json::Result<Event> {
        Ok(self.event(component, serde_json::to_value(&self.record)?))
    }

    /// The record as JSON.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn body(&mut self) -> serde_json::Result<Vec<u8>> {
        match self.written.take() {
            Some(written) => Ok(written.into_vec()),
            None => serde_json::to_vec(&self.record),
        }
    }

    /// Where the record is in `{"event": entry}`. Before it there are texts and numbers only, in which this name cannot be: a quote within a
    /// text has a backslash before it. Behind it there is nothing but what was answered, if anything was.
    fn record_in<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        if self.answered.is_some() {
            return None;
        }
        let name = b",\"record\":";
        let start = bytes.windows(name.len()).position(|at| at == name)? + name.len();
        bytes.get(start..)?.strip_suffix(b"}}")
    }

    /// That envelope's headers, for a message whose body is [`Self::body`]: so it is written once, without a tree of values on the way.
    #[must_use]
    pub fn headers(&self, component: &str) -> Vec<(&'static str, String)> {
        self.event(component, Value::Null).to_headers()
    }

    fn event(&self, component: &str, data: Value) -> Event {
        Event {
            id: self.id,
            source: format!("/grace/{component}"),
            kind: self.kind.clone(),
            subject: Some(self.record.place().to_owned()).filter(|place| !place.is_empty()),
            time: self.time,
            correlationid: Some(self.correlation),
            causationid: self.causation,
            traceparent: self.traceparent.clone(),
            hops: self.hops,
            hlc: self.hlc,
            data,
        }
    }
}

/// Everything a host knows: what a snapshot holds.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Kept<D: Decider> {
    /// Version of this form; another one is not read, and the journal is replayed instead.
    format: u32,
    pub(crate) hlc: Hlc,
    pub(crate) state: D::State,
    pub(crate) keys: Keys,
}

const FORMAT: u32 = 1;

impl<D: Decider> Default for Kept<D> {
    fn default() -> Self {
        Self { format: FORMAT, hlc: Hlc::default(), state: D::State::default(), keys: Keys::default() }
    }
}

impl<D: Decider> Kept<D> {
    /// Takes a record in, whether it was just decided or comes from a journal.
    pub(crate) fn evolve(&mut self, record: &Stored<D>) -> serde_json::Result<()> {
        let hlc = match record {
            Stored::Event(entry) => {
                D::evolve(&mut self.state, entry.record.event());
                entry.hlc
            }
            Stored::Answer(settled) => settled.hlc,
        };
        self.hlc = self.hlc.max(hlc);
        if let Some(answered) = record.answered() {
            let outcome = serde_json::to_string(&answered.outcome)?;
            self.keys.insert(&answered.key, answered.fingerprint, &outcome);
        }
        Ok(())
    }

    pub(crate) fn from_snapshot(bytes: &[u8]) -> Result<Self, String> {
        let kept: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if kept.format == FORMAT { Ok(kept) } else { Err(format!("its format is {}", kept.format)) }
    }
}
