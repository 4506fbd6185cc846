//! The narrative database: what goes in, what is found, and what a crash, damage or a rebuild leaves.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its functions too")]

#[path = "narrative/ingest.rs"]
mod ingest;
#[path = "narrative/query.rs"]
mod query;
#[path = "narrative/rebuild.rs"]
mod rebuild;

use grace_store::{
    StoreError,
    narrative::{Batch, NarrativeDb},
};
use grace_types::{
    evidence::{JournalId, Source},
    id::{CorrelationId, EventId},
    time::{Hlc, Timestamp},
};
use serde_json::json;

fn source(name: &str) -> Source {
    Source::new(name, JournalId(7)).unwrap()
}

fn millis(n: u64) -> Timestamp {
    Timestamp::from_nanos(n * 1_000_000)
}

/// What a test says of an event; the rest does not matter.
#[derive(Debug, Clone)]
struct Event {
    id: u128,
    at: u64,
    who: &'static str,
    action: &'static str,
    place: &'static str,
    why: String,
    correlation: u128,
    causation: Option<u128>,
}

impl Event {
    fn new(id: u128, at: u64) -> Self {
        Self {
            id,
            at,
            who: "control_plane",
            action: "started",
            place: "web",
            why: format!("reason number {id}"),
            correlation: 1,
            causation: None,
        }
    }

    /// As a component's journal holds it.
    fn record(&self) -> Vec<u8> {
        let event = json!({"event": {
            "id": EventId::from_bits(self.id), "type": format!("dev.grace.{}.{}.v1", self.who, self.action),
            "time": millis(self.at), "hlc": Hlc { millis: self.at, counter: 0 }, "who": self.who,
            "correlation": CorrelationId::from_bits(self.correlation),
            "causation": self.causation.map(EventId::from_bits),
            "record": {"event": {"event": self.action, "pid": self.id as u64}, "why": [{"code": "a.b", "text": self.why}],
                       "how": "restart policy", "where": self.place},
        }});
        event.to_string().into_bytes()
    }
}

fn ingest(db: &mut NarrativeDb, source: &Source, first: u64, records: &[Vec<u8>]) -> Result<u64, StoreError> {
    let batch = Batch { source, first, records: records.iter().map(Vec::as_slice).collect() };
    db.ingest(&[batch]).map(|nexts| nexts[0])
}
