//! The 5W1H of one recorded decision, in a form to be stored, searched and read by people.
//!
//! [`Narrative::read`] makes one from a journal record's JSON alone, so whoever stores narratives knows no kernel's types, and
//! all of them can be made again from the journals. [`Raw`] is the same for whoever stores many: it borrows from the record.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::value::RawValue;

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
enum Stored<'a> {
    #[serde(borrow)]
    Event(Box<Entry<'a>>),
    Answer(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Entry<'a> {
    id: EventId,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    time: Timestamp,
    #[serde(default)]
    hlc: Hlc,
    #[serde(borrow)]
    who: Cow<'a, str>,
    correlation: CorrelationId,
    #[serde(default)]
    causation: Option<EventId>,
    #[serde(borrow)]
    record: Record<'a>,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
    #[serde(borrow)]
    why: &'a RawValue,
    #[serde(borrow)]
    how: Cow<'a, str>,
    #[serde(rename = "where", borrow)]
    place: Cow<'a, str>,
}

/// A narrative that borrows from its record: its reasons and its event are JSON as the component wrote it.
#[derive(Debug, Clone)]
pub struct Raw<'a> {
    /// See [`Narrative::id`], and so on.
    pub id: EventId,
    /// The wall clock's.
    pub time: Timestamp,
    /// The hybrid clock's.
    pub hlc: Hlc,
    /// The actor.
    pub who: Cow<'a, str>,
    /// The event's type.
    pub what: Cow<'a, str>,
    /// The component or resource.
    pub place: Cow<'a, str>,
    /// The reasons, read: at least one.
    pub reasons: Vec<RawReason<'a>>,
    /// The reasons as a JSON list.
    pub why: &'a str,
    /// The mechanism.
    pub how: Cow<'a, str>,
    /// What it belongs to.
    pub correlation: CorrelationId,
    /// Its cause.
    pub causation: Option<EventId>,
    /// What happened, as JSON. Of its form no more is known than that it is one JSON value: a text in it may be no Unicode.
    pub event: &'a str,
}

/// A [`Reason`] that borrows from its record.
#[derive(Debug, Clone, Deserialize)]
pub struct RawReason<'a> {
    /// See [`Reason::code`].
    #[serde(borrow)]
    pub code: Cow<'a, str>,
    /// See [`Reason::text`].
    #[serde(borrow)]
    pub text: Cow<'a, str>,
}

impl<'a> Raw<'a> {
    /// As [`Narrative::read`], without copies.
    ///
    /// # Errors
    /// The same, but for what is wrong within the event's JSON.
    pub fn read(record: &'a [u8]) -> Result<Option<Self>, NotNarrated> {
        // Checked at once: text by text it costs several times as much.
        let record = std::str::from_utf8(record).map_err(serde_json::Error::custom)?;
        let entry = match serde_json::from_str::<Stored<'a>>(record)? {
            Stored::Event(entry) => *entry,
            Stored::Answer(_) => return Ok(None),
        };
        let why = entry.record.why.get();
        let reasons: Vec<RawReason<'a>> = serde_json::from_str(why)?;
        if reasons.is_empty() {
            return Err(serde_json::Error::custom(crate::reason::NoReason).into());
        }
        Ok(Some(Self {
            id: entry.id,
            time: entry.time,
            hlc: entry.hlc,
            who: entry.who,
            what: entry.kind,
            place: entry.record.place,
            reasons,
            why,
            how: entry.record.how,
            correlation: entry.correlation,
            causation: entry.causation,
            event: entry.record.event.get(),
        }))
    }
}

impl Narrative {
    /// Makes the narrative of a journal record. `None` for a record that only settles what was answered under a key: nothing
    /// was decided there.
    ///
    /// # Errors
    /// The record is not of the form that every component's journal has.
    pub fn read(record: &[u8]) -> Result<Option<Self>, NotNarrated> {
        let Some(raw) = Raw::read(record)? else { return Ok(None) };
        let reason = |r: RawReason<'_>| Reason { code: r.code.into_owned(), text: r.text.into_owned() };
        Ok(Some(Self {
            id: raw.id,
            time: raw.time,
            hlc: raw.hlc,
            who: raw.who.into_owned(),
            what: raw.what.into_owned(),
            place: raw.place.into_owned(),
            why: raw.reasons.into_iter().map(reason).collect(),
            how: raw.how.into_owned(),
            correlation: raw.correlation,
            causation: raw.causation,
            event: serde_json::from_str(raw.event)?,
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
