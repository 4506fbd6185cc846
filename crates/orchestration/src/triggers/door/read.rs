//! A message, or a file, as an event. Strangers' events need not know Grace's form of ids and need not tell the time.

use std::fmt;

use grace_bus::Message;
use grace_types::{
    event::{Event, EventError},
    id::EventId,
    time::Timestamp,
};
use serde_json::{Map, Value, value::RawValue};
use sha2::{Digest as _, Sha256};

use crate::limits;

/// Media type of the structured mode.
const STRUCTURED: &str = "application/cloudevents+json";

/// What the trigger mesh and the policy engine say about themselves that others may react to.
const TELLING: [&str; 6] = [
    "breaker_opened",
    "breaker_half_opened",
    "breaker_closed",
    "cascade_stopped",
    "policy_rests",
    "policy_mended",
];

/// Why something is no event that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// It is no CloudEvent, or misses something.
    Malformed(String),
    /// Its type is not the one that its subject, or its sender, may have.
    WrongType(String),
    /// It is larger than what is kept of one.
    TooLarge(usize),
}

impl Wrong {
    /// Stable.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed_event",
            Self::WrongType(_) => "wrong_type",
            Self::TooLarge(_) => "too_large",
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) | Self::WrongType(why) => f.write_str(why),
            Self::TooLarge(size) => {
                write!(
                    f,
                    "the event has {size} bytes as JSON; at most {} are taken",
                    limits::DOOR_EVENT_BYTES
                )
            }
        }
    }
}

impl From<EventError> for Wrong {
    fn from(error: EventError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// An event, and how it is written for the policy engine.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) event: Event,
    pub(super) json: Box<RawValue>,
}

impl Written {
    /// Writes it down; once, for it is sent again where it was not taken.
    pub(super) fn of(event: Event) -> Result<Self, Wrong> {
        let json = serde_json::value::to_raw_value(&event)
            .map_err(|e| Wrong::Malformed(format!("the event cannot be written as JSON: {e}")))?;
        match json.get().len() {
            size if size > limits::DOOR_EVENT_BYTES => Err(Wrong::TooLarge(size)),
            _ => Ok(Self { event, json }),
        }
    }
}

/// The event in a message; `None` for one that nobody may react to.
pub(super) fn from_bus(message: &Message, now: Timestamp) -> Result<Option<Event>, Wrong> {
    let subject = message.subject.as_str();
    if let Some(kind) = subject.strip_prefix("events.") {
        let event = event(message, now)?;
        return fits(event, kind).map(Some);
    }
    let Some((component, what)) = subject.strip_prefix("grace.event.").and_then(|rest| rest.split_once('.'))
    else {
        return Ok(None);
    };
    if matches!(component, super::super::shell::NAME | crate::policies::shell::NAME)
        && !TELLING.contains(&what)
    {
        return Ok(None);
    }
    let event = event(message, now)?;
    let own =
        event.kind.strip_prefix("dev.grace.").is_some_and(|kind| kind.starts_with(&format!("{component}.")));
    if own {
        Ok(Some(event))
    } else {
        Err(Wrong::WrongType(format!("`{}` is no type of {component}'s", event.kind)))
    }
}

/// An event whose subject says `kind`.
fn fits(event: Event, kind: &str) -> Result<Event, Wrong> {
    if event.kind != kind {
        return Err(Wrong::WrongType(format!("its type is `{}`, its subject says `{kind}`", event.kind)));
    }
    not_ours(event)
}

fn not_ours(event: Event) -> Result<Event, Wrong> {
    if event.kind.starts_with("dev.grace.") {
        return Err(Wrong::WrongType("types that begin with `dev.grace.` are Grace's own".to_owned()));
    }
    Ok(event)
}

fn event(message: &Message, now: Timestamp) -> Result<Event, Wrong> {
    let mode = message.headers.get("content-type").unwrap_or_default();
    if mode.starts_with(STRUCTURED) {
        let value: Value = serde_json::from_slice(&message.payload)
            .map_err(|e| Wrong::Malformed(format!("the event is not JSON: {e}")))?;
        return structured(value, now);
    }
    from_attributes(|name| message.headers.get(name), &message.payload, now)
}

/// The events in the text of a file: one, or a list of them, in structured mode.
pub(super) fn from_file(text: &[u8], now: Timestamp) -> Result<Vec<Event>, Wrong> {
    let value: Value =
        serde_json::from_slice(text).map_err(|e| Wrong::Malformed(format!("it is not JSON: {e}")))?;
    let all = match value {
        Value::Array(all) => all,
        one => vec![one],
    };
    let each = all.into_iter().enumerate().map(|(n, one)| {
        structured(one, now)
            .and_then(not_ours)
            .map_err(|wrong| Wrong::Malformed(format!("event {}: {wrong}", n + 1)))
    });
    each.collect()
}

/// An event in structured mode (CloudEvents JSON format). `now` is its time where it tells none.
///
/// # Errors
/// It is no event.
pub fn structured(value: Value, now: Timestamp) -> Result<Event, Wrong> {
    let Value::Object(mut attributes) = value else {
        return Err(Wrong::Malformed("an event is a JSON object".to_owned()));
    };
    if attributes.contains_key("data_base64") {
        return Err(Wrong::Malformed("`data_base64`: an event's data is JSON here".to_owned()));
    }
    let data = attributes.remove("data").unwrap_or(Value::Null);
    let texts = texts(attributes)?;
    let body = if data.is_null() { Vec::new() } else { data.to_string().into_bytes() };
    from_attributes(
        |name| texts.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str()),
        &body,
        now,
    )
}

/// Attributes as headers.
fn texts(attributes: Map<String, Value>) -> Result<Vec<(String, String)>, Wrong> {
    let each = attributes.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| {
        let text = match value {
            Value::String(text) => text,
            Value::Number(n) => n.to_string(),
            Value::Bool(b) => b.to_string(),
            _ => {
                return Err(Wrong::Malformed(format!(
                    "the attribute `{name}` is no text, number or truth value"
                )));
            }
        };
        Ok((format!("ce-{name}"), text))
    });
    each.collect()
}

fn from_attributes<'h>(
    header: impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    now: Timestamp,
) -> Result<Event, Wrong> {
    let id = header("ce-id").filter(|id| !id.is_empty()).ok_or(EventError::Missing("id"))?;
    let source = header("ce-source").unwrap_or_default();
    let (id, time) = (id_of(id, source).to_string(), now.to_string());
    let read = |name: &str| match name {
        "ce-id" => Some(id.as_str()),
        "ce-time" => header(name).or(Some(time.as_str())),
        other => header(other),
    };
    Ok(Event::from_headers(read, body)?)
}

/// One of Grace's ids as it is; of another's id and its source half a SHA-256: the same gives the same.
fn id_of(id: &str, source: &str) -> EventId {
    id.parse().unwrap_or_else(|_| {
        let mut hash = Sha256::new();
        hash.update((source.len() as u64).to_be_bytes());
        hash.update(source.as_bytes());
        hash.update(id.as_bytes());
        let digest = hash.finalize();
        let mut half = [0u8; 16];
        half.copy_from_slice(&digest[..16]);
        EventId::from_bits(u128::from_be_bytes(half))
    })
}

#[cfg(test)]
mod tests {
    use grace_bus::Headers;
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_nanos(1_764_000_000_000_000_000);

    fn message(subject: &str, headers: &[(&str, &str)], body: &str) -> Message {
        let headers: Headers = headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        Message::new(subject, body.as_bytes().to_vec()).with_headers(headers)
    }

    const BINARY: [(&str, &str); 4] =
        [("ce-specversion", "1.0"), ("ce-id", "A-1"), ("ce-source", "/shop"), ("ce-type", "com.shop.paid")];

    #[test]
    fn both_modes_give_the_same_event() {
        let binary =
            from_bus(&message("events.com.shop.paid", &BINARY, r#"{"n": 1}"#), NOW).unwrap().unwrap();
        let body = json!({"specversion": "1.0", "id": "A-1", "source": "/shop", "type": "com.shop.paid", "data": {"n": 1}});
        let structured = message("events.com.shop.paid", &[("content-type", STRUCTURED)], &body.to_string());
        assert_eq!(from_bus(&structured, NOW), Ok(Some(binary.clone())));
        assert_eq!((binary.time, &binary.data), (NOW, &json!({"n": 1})));
        assert_eq!(from_file(body.to_string().as_bytes(), NOW), Ok(vec![binary]));
    }

    #[test]
    fn a_strangers_id_gives_one_of_ours_with_its_source() {
        assert_eq!(id_of("A-1", "/shop"), id_of("A-1", "/shop"));
        assert_ne!(id_of("A-1", "/shop"), id_of("A-1", "/other"));
        assert_ne!(id_of("1", "/shopA-"), id_of("A-1", "/shop"));
        let own = EventId::from_bits(7);
        assert_eq!(id_of(&own.to_string(), "/shop"), own);
    }

    #[test]
    fn a_subject_says_its_type_and_nobody_speaks_for_grace() {
        let other = from_bus(&message("events.com.shop.sent", &BINARY, ""), NOW);
        assert!(matches!(other, Err(Wrong::WrongType(_))), "{other:?}");
        let mut forged = BINARY;
        forged[3].1 = "dev.grace.htm.submitted.v1";
        for subject in ["events.dev.grace.htm.submitted.v1", "grace.event.web.submitted"] {
            let read = from_bus(&message(subject, &forged, ""), NOW);
            assert!(matches!(read, Err(Wrong::WrongType(_))), "{subject}: {read:?}");
        }
        let own = from_bus(&message("grace.event.htm.submitted", &forged, ""), NOW);
        assert!(own.unwrap().is_some());
    }

    #[test]
    fn what_it_says_of_single_events_sets_nothing_off() {
        let mut own = BINARY;
        own[3].1 = "dev.grace.trigger_mesh.events_accepted.v1";
        assert_eq!(from_bus(&message("grace.event.trigger_mesh.events_accepted", &own, ""), NOW), Ok(None));
        own[3].1 = "dev.grace.trigger_mesh.breaker_opened.v1";
        assert!(
            from_bus(&message("grace.event.trigger_mesh.breaker_opened", &own, ""), NOW).unwrap().is_some()
        );
    }

    #[test]
    fn what_is_larger_as_json_than_is_kept_is_refused() {
        let mut headers = BINARY;
        headers[2].1 = "/shop";
        let read = |data: String| {
            let event = from_bus(&message("events.com.shop.paid", &headers, &data), NOW).unwrap().unwrap();
            Written::of(event).map(|written| written.json.get().len())
        };
        assert!(read(format!("\"{}\"", "x".repeat(500_000))).is_ok());
        // Short as it is sent, long as it is kept.
        let numbers = format!("[{}1e9]", "1e9,".repeat(60_000));
        assert!(matches!(read(numbers), Err(Wrong::TooLarge(size)) if size > limits::DOOR_EVENT_BYTES));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, words) in [
            ("nonsense", "not JSON"),
            ("[1]", "event 1: an event is a JSON object"),
            (r#"{"specversion": "1.0", "id": "1", "source": "/s", "type": "a"}"#, ""),
            (r#"{"specversion": "1.0", "source": "/s", "type": "a"}"#, "`id` is missing"),
            (r#"{"specversion": "0.3", "id": "1", "source": "/s", "type": "a"}"#, "specversion"),
            (r#"{"specversion": "1.0", "id": {}, "source": "/s", "type": "a"}"#, "`id` is no text"),
        ] {
            let read = from_file(body.as_bytes(), NOW);
            match words {
                "" => assert!(read.is_ok(), "{read:?}"),
                words => assert!(read.unwrap_err().to_string().contains(words), "{body}"),
            }
        }
    }
}
