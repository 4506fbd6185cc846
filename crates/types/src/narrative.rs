//! The 5W1H of one recorded decision, in a form to be stored, searched and read by people.
//!
//! [`Narrative::read`] makes one from a journal record's JSON alone, so whoever stores narratives knows no kernel's types, and
//! all of them can be made again from the journals.

use serde::{Deserialize, Serialize};

use crate::{
    id::{CorrelationId, EventId},
    reason::Reason,
    time::{Hlc, Timestamp},
};

/// One decision: who, what, when, where, why and how, and its place among causes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Narrative {
    /// The event's id.
    pub id: EventId,
    /// When it was decided, by the wall clock of who decided.
    pub time: Timestamp,
    /// Its place in the order of causes and effects, whatever the wall clocks said.
    pub hlc: Hlc,
    /// The actor: the component or person that decided or asked.
    pub who: String,
    /// The event's type: `dev.grace.control_plane.started.v1`.
    pub what: String,
    /// The component or resource that it concerns; empty for the instance as a whole.
    #[serde(rename = "where")]
    pub place: String,
    /// The argument, first step to last. Never empty.
    pub why: Vec<Reason>,
    /// The rule, algorithm or setting that chose.
    pub how: String,
    /// What it belongs to.
    pub correlation: CorrelationId,
    /// The event that caused it, if one did.
    pub causation: Option<EventId>,
    /// What happened, with its particulars, as the component recorded it.
    pub event: serde_json::Value,
}

/// Why a record has no narrative that can be told.
#[derive(Debug, thiserror::Error)]
#[error("not a record of a decision: {0}")]
pub struct NotNarrated(#[from] serde_json::Error);

/// The part of every component's journal record that is the same for all.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stored {
    Event(Box<Entry>),
    Answer(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Entry {
    id: EventId,
    #[serde(rename = "type")]
    kind: String,
    time: Timestamp,
    #[serde(default)]
    hlc: Hlc,
    who: String,
    correlation: CorrelationId,
    #[serde(default)]
    causation: Option<EventId>,
    record: Record,
}

#[derive(Deserialize)]
struct Record {
    event: serde_json::Value,
    why: crate::reason::Why,
    how: String,
    #[serde(rename = "where")]
    place: String,
}

impl Narrative {
    /// Makes the narrative of a journal record. `None` for a record that only settles what was answered under a key: nothing
    /// was decided there.
    ///
    /// # Errors
    /// The record is not of the form that every component's journal has.
    pub fn read(record: &[u8]) -> Result<Option<Self>, NotNarrated> {
        let entry = match serde_json::from_slice::<Stored>(record)? {
            Stored::Event(entry) => *entry,
            Stored::Answer(_) => return Ok(None),
        };
        Ok(Some(Self {
            id: entry.id,
            time: entry.time,
            hlc: entry.hlc,
            who: entry.who,
            what: entry.kind,
            place: entry.record.place,
            why: entry.record.why.into(),
            how: entry.record.how,
            correlation: entry.correlation,
            causation: entry.causation,
            event: entry.record.event,
        }))
    }

    /// The action in one word: see [`action_of`].
    #[must_use]
    pub fn action(&self) -> &str {
        action_of(&self.what)
    }
}

/// The action in one word: `started` of the type `dev.grace.control_plane.started.v1`. The whole type where it has another form.
#[must_use]
pub fn action_of(what: &str) -> &str {
    let mut parts = what.rsplit('.');
    match (parts.next(), parts.next()) {
        (Some(version), Some(action)) if version.starts_with('v') => action,
        _ => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"event":{"id":"evt_01JDC5M3Q8V5S0A6T4ZK2H9XWB","type":"dev.grace.control_plane.started.v1",
        "time":"2026-11-23T15:00:00.5Z","hlc":"HLC","who":"control_plane","correlation":"cor_01JDC5M3Q8V5S0A6T4ZK2H9XWB",
        "boot":"x","number":7,"record":{"event":{"event":"started","pid":7},"why":[{"code":"a.b","text":"because"}],
        "how":"restart policy","where":"web"}}}"#;

    #[test]
    fn a_record_tells_its_story() {
        let hlc = serde_json::to_string(&Hlc::default()).unwrap();
        let record = RECORD.replace("\"HLC\"", &hlc);
        let told = Narrative::read(record.as_bytes()).unwrap().unwrap();
        assert_eq!(
            (told.who.as_str(), told.place.as_str(), told.action()),
            ("control_plane", "web", "started")
        );
        assert_eq!(told.why[0].text, "because");
        assert_eq!(told.event["pid"], 7);
        let again = serde_json::to_string(&told).unwrap();
        assert_eq!(serde_json::from_str::<Narrative>(&again).unwrap(), told);
    }

    #[test]
    fn an_answer_has_none_and_what_gives_no_reason_is_refused() {
        assert!(Narrative::read(br#"{"answer":{"key":"k"}}"#).unwrap().is_none());
        let hlc = serde_json::to_string(&Hlc::default()).unwrap();
        let record = RECORD.replace("\"HLC\"", &hlc).replace(r#"[{"code":"a.b","text":"because"}]"#, "[]");
        assert!(Narrative::read(record.as_bytes()).is_err());
        assert!(Narrative::read(b"{}").is_err());
    }
}
