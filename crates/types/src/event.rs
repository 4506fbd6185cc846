//! The envelope of every event: CloudEvents 1.0, NATS protocol binding.
//!
//! In binary mode each attribute travels as a NATS header `ce-<name>` and the payload is the data itself; this
//! module turns an [`Event`] into header pairs and back ([`Event::to_headers`], [`Event::from_headers`]).
//! Extension attributes: `correlationid`, `causationid`, `traceparent` (W3C Trace Context), `hops` (how many
//! causes lie before this event, for the cascade detector) and `hlc` (the sender's hybrid logical clock).

use serde::{Deserialize, Serialize};

use crate::{
    id::{CorrelationId, EventId},
    limits,
    time::{Hlc, Timestamp},
};

/// One event: what happened, where, when, and what caused it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// With `source`, the key for removing duplicates.
    pub id: EventId,
    /// The component that speaks, as a URI reference: `/grace/message_bus`.
    pub source: String,
    /// `dev.grace.<component>.<what>.v1`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the event is about: a component, a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it happened.
    pub time: Timestamp,
    /// What this event belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlationid: Option<CorrelationId>,
    /// The event that caused this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causationid: Option<EventId>,
    /// W3C Trace Context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// How many causes lie before this event. 0 for a root event.
    #[serde(default)]
    pub hops: u32,
    /// The sender's hybrid logical clock.
    pub hlc: Hlc,
    /// The payload, JSON.
    #[serde(default)]
    pub data: serde_json::Value,
}

/// Why a message is not an event. Each names the attribute at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A required attribute is not there.
    #[error("the CloudEvents attribute `{0}` is missing")]
    Missing(&'static str),
    /// An attribute has a value that it may not have.
    #[error("the CloudEvents attribute `{name}` is not valid: {reason}")]
    Invalid {
        /// Which attribute.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The payload is too large or not JSON.
    #[error("the event's data is not valid: {0}")]
    Data(String),
}

impl Event {
    /// The event's attributes as NATS header pairs (binary content mode); the payload goes in the message's body.
    #[must_use]
    pub fn to_headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", self.id.to_string()),
            ("ce-source", self.source.clone()),
            ("ce-type", self.kind.clone()),
            ("ce-time", self.time.to_string()),
            ("ce-hlc", self.hlc.to_string()),
            ("ce-hops", self.hops.to_string()),
            ("content-type", "application/json".to_owned()),
        ];
        let optional = [
            ("ce-subject", self.subject.clone()),
            ("ce-correlationid", self.correlationid.map(|id| id.to_string())),
            ("ce-causationid", self.causationid.map(|id| id.to_string())),
            ("ce-traceparent", self.traceparent.clone()),
        ];
        headers.extend(optional.into_iter().filter_map(|(name, value)| value.map(|v| (name, v))));
        headers
    }

    /// Reads an event from a message's headers (found by lower-case name) and body.
    ///
    /// # Errors
    /// [`EventError`] names the attribute that is missing or malformed, or says what is wrong with the body.
    pub fn from_headers<'h>(
        header: impl Fn(&str) -> Option<&'h str>,
        body: &[u8],
    ) -> Result<Self, EventError> {
        let need = |name: &'static str| {
            let value = header(&format!("ce-{name}")).ok_or(EventError::Missing(name))?;
            bounded(name, value)
        };
        let optional =
            |name: &'static str| header(&format!("ce-{name}")).map(|value| bounded(name, value)).transpose();
        let version = need("specversion")?;
        if version != "1.0" {
            let reason = format!("expected 1.0, got `{version}`");
            return Err(EventError::Invalid { name: "specversion", reason });
        }
        if body.len() > limits::EVENT_DATA_BYTES {
            return Err(EventError::Data(format!(
                "{} bytes; at most {} are accepted",
                body.len(),
                limits::EVENT_DATA_BYTES
            )));
        }
        let data = if body.is_empty() {
            serde_json::Value::Null
        } else {
            serde_json::from_slice(body).map_err(|e| EventError::Data(e.to_string()))?
        };
        Ok(Self {
            id: parse("id", need("id")?)?,
            source: need("source")?.to_owned(),
            kind: need("type")?.to_owned(),
            subject: optional("subject")?.map(str::to_owned),
            time: parse("time", need("time")?)?,
            correlationid: optional("correlationid")?.map(|v| parse("correlationid", v)).transpose()?,
            causationid: optional("causationid")?.map(|v| parse("causationid", v)).transpose()?,
            traceparent: optional("traceparent")?.map(str::to_owned),
            hops: optional("hops")?.map_or(Ok(0), |v| parse("hops", v))?,
            hlc: optional("hlc")?.map_or(Ok(Hlc::default()), |v| parse("hlc", v))?,
            data,
        })
    }
}

fn bounded<'v>(name: &'static str, value: &'v str) -> Result<&'v str, EventError> {
    if value.is_empty() || value.len() > limits::EVENT_ATTRIBUTE_BYTES {
        let reason = format!("length {} is outside 1..={}", value.len(), limits::EVENT_ATTRIBUTE_BYTES);
        return Err(EventError::Invalid { name, reason });
    }
    Ok(value)
}

fn parse<T>(name: &'static str, value: &str) -> Result<T, EventError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    value.parse().map_err(|e: T::Err| EventError::Invalid { name, reason: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::SeededEntropy;

    fn sample() -> Event {
        let mut entropy = SeededEntropy::new(9);
        let now = Timestamp::from_nanos(1_764_000_000_000_000_000);
        Event {
            id: EventId::new(now, &mut entropy),
            source: "/grace/message_bus".into(),
            kind: "dev.grace.message_bus.permission_violation.v1".into(),
            subject: Some("web".into()),
            time: now,
            correlationid: Some(CorrelationId::new(now, &mut entropy)),
            causationid: None,
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            hops: 3,
            hlc: Hlc::default().tick(now),
            data: serde_json::json!({"subject": "secret.>"}),
        }
    }

    fn read(headers: &[(&'static str, String)], body: &[u8]) -> Result<Event, EventError> {
        Event::from_headers(|n| headers.iter().find(|(h, _)| *h == n).map(|(_, v)| v.as_str()), body)
    }

    #[test]
    fn an_event_survives_the_wire() {
        let event = sample();
        let body = serde_json::to_vec(&event.data).unwrap();
        assert_eq!(read(&event.to_headers(), &body), Ok(event));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let event = sample();
        for (name, _) in event.to_headers() {
            let mut headers = event.to_headers();
            headers.retain(|(h, _)| *h != name);
            let optional =
                ["ce-subject", "ce-correlationid", "ce-traceparent", "ce-hops", "ce-hlc", "content-type"];
            match read(&headers, b"{}") {
                Ok(_) => assert!(optional.contains(&name), "{name} should be required"),
                Err(e) => assert_eq!(e, EventError::Missing(name.strip_prefix("ce-").unwrap())),
            }
        }
        let headers = event.to_headers();
        assert!(matches!(read(&headers, b"{"), Err(EventError::Data(_))));
        assert!(matches!(
            read(&headers, &vec![b'1'; limits::EVENT_DATA_BYTES + 1]),
            Err(EventError::Data(_))
        ));
    }
}
