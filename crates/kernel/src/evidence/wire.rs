//! Batches of records and their replies as bus messages.
//!
//! A batch is a request on `grace.evidence.<sink>.<component>` with the headers `Grace-Journal` (16 hexadecimal digits) and
//! `Grace-First` (the sequence number of the first record, decimal). Its body holds the records, each as its length (u32,
//! little-endian) and its bytes. An empty body asks where the sink stands. The broker lets a component publish only under
//! its own name: that, and not the message, says who the source is.
//!
//! The reply is JSON, one of
//!
//! ```json
//! {"next": 13}    {"error": {"code": "busy", "message": "…"}}
//! ```
//!
//! `next` says that every record of this source before it is durable in the sink. A batch must begin at or before `next`: records
//! before it are duplicates and are skipped, and of a batch that begins after it nothing is taken. Other fields may be added.
//!
//! Nothing here looks into a record, and nothing is copied when a batch is read.

use bytes::Bytes;
use grace_bus::{Headers, Message};
use grace_types::evidence::{JournalId, Source};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use crate::process::wire::WireError;

use super::Sink;
use crate::{limits, process::wire::error};

/// Which journal the records are from.
pub const JOURNAL: &str = "Grace-Journal";
/// The sequence number of the first record.
pub const FIRST: &str = "Grace-First";

/// Bytes before each record.
const LENGTH: usize = size_of::<u32>();

/// The subject on which `sink` takes the records of `component`.
#[must_use]
pub fn evidence_subject(sink: Sink, component: &str) -> String {
    format!("grace.evidence.{}.{component}", sink.name())
}

/// The pattern to which `sink` subscribes. A component's name may hold dots, so it can be several words of the subject.
#[must_use]
pub fn evidence_pattern(sink: Sink) -> String {
    format!("grace.evidence.{}.>", sink.name())
}

/// The component, by the subject on which its batch came in.
#[must_use]
pub fn component_of(sink: Sink, subject: &str) -> Option<&str> {
    subject.strip_prefix("grace.evidence.")?.strip_prefix(sink.name())?.strip_prefix('.')
}

/// What became of a record that was to join a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// It is in.
    Yes,
    /// The batch is full: the record begins the next one.
    Full,
    /// No batch takes it: it is empty, or larger than [`limits::EVIDENCE_RECORD_BYTES`].
    Never,
}

/// A batch in the making.
#[derive(Debug, Clone)]
pub struct BatchWriter {
    source: Source,
    first: u64,
    count: u64,
    body: Vec<u8>,
    /// Where the last record lies in `body`.
    newest: usize,
    most: usize,
}

impl BatchWriter {
    /// A batch of records of `source`, the first of which is `first`. As it is, it asks where the sink stands.
    #[must_use]
    pub const fn new(source: Source, first: u64) -> Self {
        let most = limits::EVIDENCE_BATCH_BYTES;
        Self { source, first, count: 0, body: Vec::new(), newest: 0, most }
    }

    /// The same for a bus that takes messages of `bytes` and no larger ones.
    #[must_use]
    pub fn within(mut self, bytes: usize) -> Self {
        self.most = self.most.min(bytes.saturating_sub(limits::EVIDENCE_HEAD_BYTES));
        self
    }

    /// Adds the next record. One that is larger than a batch is meant to be makes a batch of its own.
    pub fn join(&mut self, record: &[u8]) -> Joined {
        let length = match u32::try_from(record.len()) {
            Ok(length) if (1..=limits::EVIDENCE_RECORD_BYTES).contains(&record.len()) => length,
            _ => return Joined::Never,
        };
        let after = self.body.len() + LENGTH + record.len();
        let full = after > self.most || self.count >= limits::EVIDENCE_BATCH_RECORDS as u64;
        if full && self.count > 0 {
            return Joined::Full;
        }
        self.newest = self.body.len();
        self.body.extend_from_slice(&length.to_le_bytes());
        self.body.extend_from_slice(record);
        self.count += 1;
        Joined::Yes
    }

    /// The sequence number of the first record.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The number of records.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The first record.
    #[must_use]
    pub fn oldest(&self) -> Option<&[u8]> {
        split(&self.body)
    }

    /// The last record.
    #[must_use]
    pub fn newest(&self) -> Option<&[u8]> {
        split(&self.body[self.newest..])
    }

    /// The request to `sink`.
    #[must_use]
    pub fn into_message(self, sink: Sink) -> Message {
        let Self { source, first, body, .. } = self;
        message(sink, &source, first, body.into())
    }

    /// The body of the request, whichever sink it goes to.
    #[must_use]
    pub fn into_body(self) -> Bytes {
        self.body.into()
    }
}

/// The request to `sink` with a body of records of `source`, the first of which is `first`.
#[must_use]
pub fn message(sink: Sink, source: &Source, first: u64, body: Bytes) -> Message {
    let headers: Headers =
        [(JOURNAL, source.journal.to_string()), (FIRST, first.to_string())].into_iter().collect();
    Message::new(evidence_subject(sink, &source.component), body).with_headers(headers)
}

/// A batch as it arrived: the records lie in the message's own memory.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Whose records these are.
    pub source: Source,
    /// The sequence number of the first record, 1 or more.
    pub first: u64,
    body: Bytes,
    count: u64,
}

impl Batch {
    /// Reads a request to `sink`.
    ///
    /// # Errors
    /// `bad_batch`, with the part at fault.
    pub fn read(sink: Sink, message: &Message) -> Result<Self, WireError> {
        let component = component_of(sink, &message.subject)
            .ok_or_else(|| bad_batch(format!("`{}` is not a subject of this sink", message.subject)))?;
        let header = |name| {
            message.headers.get(name).ok_or_else(|| bad_batch(format!("the header {name} is missing")))
        };
        let journal: JournalId =
            header(JOURNAL)?.parse().map_err(|e| bad_batch(format!("the header {JOURNAL}: {e}")))?;
        let source = Source::new(component, journal)
            .ok_or_else(|| bad_batch(format!("`{component}` is not a component's name")))?;
        let first = decimal(header(FIRST)?).ok_or_else(|| {
            bad_batch(format!("the header {FIRST} is not the sequence number of a record, from 1"))
        })?;
        let body = message.payload.clone();
        let count = count(&body)?;
        if first.checked_add(count).is_none() {
            return Err(bad_batch("the sequence numbers are too large".to_owned()));
        }
        Ok(Self { source, first, body, count })
    }

    /// The number of records; 0 asks where the sink stands.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Bytes of its body, which is what it holds in memory.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.body.len()
    }

    /// The sequence number of the record after the last.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.first + self.count
    }

    /// The records with their sequence numbers.
    pub fn records(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = &*self.body;
        (self.first..).zip(std::iter::from_fn(move || {
            let record = split(rest)?;
            rest = &rest[LENGTH + record.len()..];
            Some(record)
        }))
    }
}

/// The first record of `rest`.
fn split(rest: &[u8]) -> Option<&[u8]> {
    let (length, rest) = rest.split_first_chunk::<LENGTH>()?;
    rest.get(..u32::from_le_bytes(*length) as usize)
}

/// The number of records in a body that holds records and nothing else.
fn count(body: &[u8]) -> Result<u64, WireError> {
    let mut rest = body;
    let mut count = 0;
    while !rest.is_empty() {
        let record = split(rest).ok_or_else(|| {
            bad_batch(format!("record {} is cut off: {} bytes are left", count + 1, rest.len()))
        })?;
        if record.is_empty() || record.len() > limits::EVIDENCE_RECORD_BYTES {
            let most = limits::EVIDENCE_RECORD_BYTES;
            return Err(bad_batch(format!(
                "record {} has {} bytes: 1 to {most} are accepted",
                count + 1,
                record.len()
            )));
        }
        count += 1;
        if count > limits::EVIDENCE_BATCH_RECORDS as u64 {
            return Err(bad_batch(format!("more than {} records", limits::EVIDENCE_BATCH_RECORDS)));
        }
        rest = &rest[LENGTH + record.len()..];
    }
    Ok(count)
}

/// Digits only, 1 or more: `+1` and `01` are not how we write a number.
fn decimal(text: &str) -> Option<u64> {
    let sound = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    if sound { text.parse().ok() } else { None }
}

fn bad_batch(message: String) -> WireError {
    WireError { code: "bad_batch".to_owned(), message }
}

/// Where a sink stands with a source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Position {
    /// Every record before it is durable in the sink. 1 or more.
    pub next: u64,
    /// What else the sink says.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Position {
    /// With nothing else to say.
    #[must_use]
    pub fn new(next: u64) -> Self {
        Self { next, more: Map::new() }
    }

    /// The same with a field added.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }
}

/// The body of a reply.
#[must_use]
pub fn reply(reply: &Result<Position, WireError>) -> Vec<u8> {
    match reply {
        // A number and JSON values always have a JSON form.
        Ok(position) => serde_json::to_vec(position).unwrap_or_default(),
        Err(e) => error(e),
    }
}

/// Reads a reply.
///
/// # Errors
/// The error that was replied, or `bad_reply`.
pub fn read_reply(body: &[u8]) -> Result<Position, WireError> {
    #[derive(Deserialize)]
    struct Form {
        next: Option<u64>,
        error: Option<WireError>,
        #[serde(flatten)]
        more: Map<String, Value>,
    }
    let bad = |message: String| WireError { code: "bad_reply".to_owned(), message };
    match serde_json::from_slice(body).map_err(|e| bad(e.to_string()))? {
        Form { error: Some(error), .. } => Err(error),
        Form { next: Some(next @ 1..), more, .. } => Ok(Position { next, more }),
        Form { .. } => Err(bad("neither `next`, from 1, nor `error`".to_owned())),
    }
}

#[cfg(test)]
mod tests;
