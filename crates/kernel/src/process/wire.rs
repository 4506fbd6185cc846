//! Commands and answers as bus messages.
//!
//! A command is a request on `grace.cmd.<component>` with the body `{"command": …}`. Headers, all optional:
//! `Grace-Idempotency-Key`; `ce-correlationid`, `ce-causationid`, `ce-hops` (causes that lie before the command's events),
//! `ce-hlc`, `traceparent`. The answer, which means durable, is one of
//!
//! ```json
//! {"done": …}    {"refused": …, "message": "…"}    {"error": {"code": "busy", "message": "…"}}
//! ```

use std::time::Duration;

use grace_bus::{Headers, Message, client::IDEMPOTENCY_KEY};
use grace_types::{intent::WAIT_HEADER, limits as type_limits};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Answer, Decider, Envelope, HostError, Outcome};

/// The subject on which `component` takes commands.
#[must_use]
pub fn command_subject(component: &str) -> String {
    format!("grace.cmd.{component}")
}

/// The subject on which `component` publishes events of the kind `what`.
#[must_use]
pub fn event_subject(component: &str, what: &str) -> String {
    format!("grace.event.{component}.{what}")
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request<C> {
    command: C,
}

/// An error as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireError {
    /// Stable: those of [`HostError::code`], and `bad_request`.
    pub code: String,
    /// One sentence for people.
    pub message: String,
}

impl WireError {
    /// What was sent is not for the receiver, or not what it reads.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self { code: "bad_request".to_owned(), message: message.into() }
    }
}

impl From<HostError> for WireError {
    fn from(error: HostError) -> Self {
        Self { code: error.code().to_owned(), message: error.to_string() }
    }
}

/// An answer as it is written.
#[derive(Serialize)]
#[serde(untagged)]
enum Reply<R, F> {
    Done { done: R },
    Refused { refused: F, message: String },
    Error { error: WireError },
}

/// An answer as it is read: part by part, since an untagged enum would turn raw JSON inside into something else on the way.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow, default)]
    done: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow, default)]
    refused: Option<&'a serde_json::value::RawValue>,
    #[serde(default)]
    error: Option<WireError>,
}

/// The request that carries a command to `component`.
///
/// # Errors
/// When the command cannot be written as JSON.
pub fn command<C: Serialize>(component: &str, envelope: &Envelope<C>) -> serde_json::Result<Message> {
    let body = serde_json::to_vec(&Request { command: &envelope.command })?;
    let pairs = [
        (IDEMPOTENCY_KEY, envelope.key.clone()),
        ("ce-correlationid", envelope.correlation.map(|id| id.to_string())),
        ("ce-causationid", envelope.causation.map(|id| id.to_string())),
        ("ce-hops", (envelope.hops > 0).then(|| envelope.hops.to_string())),
        ("ce-hlc", (envelope.hlc.millis > 0).then(|| envelope.hlc.to_string())),
        ("traceparent", envelope.traceparent.clone()),
    ];
    let headers: Headers = pairs.into_iter().filter_map(|(n, v)| v.map(|v| (n, v))).collect();
    Ok(Message::new(command_subject(component), body).with_headers(headers))
}

/// Reads a command from a request.
///
/// # Errors
/// `bad_request`, with the header or the part of the body at fault.
pub fn read_command<D: Decider>(message: &Message) -> Result<Envelope<D::Command>, WireError> {
    let request: Request<D::Command> = serde_json::from_slice(&message.payload)
        .map_err(|e| WireError::bad_request(format!("the body: {e}")))?;
    let mut envelope = Envelope::new(request.command);
    envelope.key = message.headers.get(IDEMPOTENCY_KEY).map(str::to_owned);
    envelope.correlation = header(message, "ce-correlationid")?;
    envelope.causation = header(message, "ce-causationid")?;
    envelope.hops = header(message, "ce-hops")?.unwrap_or_default();
    envelope.hlc = header(message, "ce-hlc")?.unwrap_or_default();
    envelope.traceparent = header(message, "traceparent")?;
    Ok(envelope)
}

/// How long whoever asks lets the answer wait, as the header [`WAIT_HEADER`] says; `most` at most, and not at all where it says nothing.
#[must_use]
pub fn patience(message: &Message, most: Duration) -> Duration {
    let asked = message.headers.get(WAIT_HEADER).and_then(|text| text.parse().ok()).unwrap_or(0);
    Duration::from_millis(asked).min(most)
}

fn header<V>(message: &Message, name: &str) -> Result<Option<V>, WireError>
where
    V: std::str::FromStr,
    V::Err: std::fmt::Display,
{
    let Some(value) = message.headers.get(name) else { return Ok(None) };
    if value.len() > type_limits::EVENT_ATTRIBUTE_BYTES {
        return Err(WireError::bad_request(format!("the header {name} has {} bytes", value.len())));
    }
    value.parse().map(Some).map_err(|e| WireError::bad_request(format!("the header {name}: {e}")))
}

/// What an answer begins with: a decision with its reasons has about so many bytes.
const ANSWER_BYTES: usize = 1024;

/// The body of an answer.
#[must_use]
pub fn answer<D: Decider>(answer: &Answer<D>) -> Vec<u8> {
    let reply = match answer {
        Ok(Outcome::Done(done)) => Reply::Done { done },
        Ok(Outcome::Refused(refused)) => Reply::Refused { refused, message: refused.to_string() },
        Err(e) => return error(&e.clone().into()),
    };
    // Most fit, so that they need not move as they grow.
    let mut body = Vec::with_capacity(ANSWER_BYTES);
    match serde_json::to_writer(&mut body, &reply) {
        Ok(()) => body,
        Err(e) => error(&HostError::Unrecordable { detail: e.to_string() }.into()),
    }
}

/// The body of an answer that is an error.
#[must_use]
pub fn error(error: &WireError) -> Vec<u8> {
    // Two strings always have a JSON form.
    serde_json::to_vec(&Reply::<(), ()>::Error { error: error.clone() }).unwrap_or_default()
}

/// Reads an answer.
///
/// # Errors
/// The error that was answered, or `bad_request` when the body is no answer of `D`'s.
pub fn read_answer<D: Decider>(body: &[u8]) -> Result<Outcome<D::Reply, D::Refusal>, WireError> {
    read_reply(body)
}

/// Reads an answer of a decider whose types are not known here, as far as the asker needs it.
///
/// # Errors
/// The error that was answered, or `bad_request` when the body is no such answer.
pub fn read_reply<R: DeserializeOwned, F: DeserializeOwned>(body: &[u8]) -> Result<Outcome<R, F>, WireError> {
    let wrong = |e: serde_json::Error| WireError::bad_request(format!("the answer: {e}"));
    let parts: Parts<'_> = serde_json::from_slice(body).map_err(wrong)?;
    match parts {
        Parts { done: Some(done), .. } => serde_json::from_str(done.get()).map(Outcome::Done).map_err(wrong),
        Parts { refused: Some(refused), .. } => {
            serde_json::from_str(refused.get()).map(Outcome::Refused).map_err(wrong)
        }
        Parts { error: Some(error), .. } => Err(error),
        _ => Err(WireError::bad_request(
            "the answer holds neither of `done`, `refused` and `error`".to_owned(),
        )),
    }
}
