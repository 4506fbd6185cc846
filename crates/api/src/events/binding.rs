//! CloudEvents 1.0 over HTTP: a request in one of the three content modes → events as they go to the bus.
//!
//! | Mode | Content-Type | Attributes | Data |
//! |---|---|---|---|
//! | structured | `application/cloudevents+json` | members | `data`, or `data_base64` |
//! | batch | `application/cloudevents-batch+json` | an array of the above | |
//! | binary | of the data: JSON | `ce-…` headers, percent-encoded | the body |
//!
//! What Grace wants beyond the standard: data are JSON; `type` can be a subject on the bus (no blanks, no `*` and `>`); `source` is not
//! one of Grace's own (`/grace/…`), since an event from there is what Grace itself says. An `id` of somebody else's form becomes one of
//! Grace's that is made of source and id, so that the same event has the same id each time; the sender's own goes along as
//! `originalid`. `time` is now where it is missing. `hlc` is set here.
//!
//! Sources: CloudEvents 1.0.2, its HTTP protocol binding and its JSON format.

use axum::http::{HeaderMap, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use grace_bus::Headers;
use grace_types::{
    event::Event,
    id::EventId,
    limits::{EVENT_ATTRIBUTE_BYTES, EVENT_DATA_BYTES},
    time::{Hlc, Timestamp},
    trace::TraceContext,
};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::json::{self, Elements, Members};
use crate::{limits, problem::Problem};

/// How a request holds events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Attributes in headers, data in the body.
    Binary,
    /// One event in the body.
    Structured,
    /// Several.
    Batch,
}

/// An event on its way to the bus.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outgoing {
    /// As its sender called it.
    pub(crate) id: String,
    /// Its attributes; the data are left out.
    pub(crate) event: Event,
    /// Attributes that Grace does not know.
    pub(crate) more: Vec<(String, String)>,
    /// JSON.
    pub(crate) data: Bytes,
}

impl Outgoing {
    /// The NATS headers.
    pub(crate) fn headers(&self) -> Headers {
        let known = self.event.to_headers().into_iter().map(|(name, value)| (name.to_owned(), value));
        known.chain(self.more.iter().map(|(name, value)| (format!("ce-{name}"), value.clone()))).collect()
    }

    /// What names it among all events: of source and id.
    pub(crate) fn key(&self) -> String {
        format!("{:032x}", name_of(&self.event.source, &self.id))
    }
}

fn name_of(source: &str, id: &str) -> u128 {
    // Neither holds the byte between them.
    let digest = Sha256::new().chain_update(source).chain_update([0]).chain_update(id).finalize();
    let mut head = [0; 16];
    head.copy_from_slice(&digest[..16]);
    u128::from_be_bytes(head)
}

/// How the request holds events, by its content type.
pub(crate) fn mode(headers: &HeaderMap) -> Result<Mode, Problem> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(Mode::Binary) };
    let text = given.to_str().map_err(|_| Problem::malformed("the Content-Type is not text"))?;
    let kind = media_type(text)?;
    match kind.as_str() {
        "application/cloudevents+json" => Ok(Mode::Structured),
        "application/cloudevents-batch+json" => Ok(Mode::Batch),
        kind if is_json(kind) && !kind.starts_with("application/cloudevents") => Ok(Mode::Binary),
        _ => Err(Problem::unsupported(format!(
            "`{}` is not taken: send application/cloudevents+json, application/cloudevents-batch+json, or JSON data with ce- headers",
            kind.escape_debug()
        ))),
    }
}

/// The media type in lower case; the only charset there is, is UTF-8.
fn media_type(text: &str) -> Result<String, Problem> {
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let charset =
        parts.filter_map(|part| part.split_once('=')).find(|(n, _)| n.eq_ignore_ascii_case("charset"));
    match charset {
        Some((_, value)) if !value.trim_matches('"').eq_ignore_ascii_case("utf-8") => Err(
            Problem::unsupported(format!("the charset {} is not taken: JSON is UTF-8", value.escape_debug())),
        ),
        _ => Ok(kind),
    }
}

fn is_json(kind: &str) -> bool {
    matches!(kind, "application/json" | "text/json")
        || kind.split_once('/').is_some_and(|(_, k)| k.ends_with("+json"))
}

/// The time and the clock of now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) wall: Timestamp,
    pub(crate) hlc: Hlc,
}

/// The one event of a request in binary mode.
pub(crate) fn binary(headers: &HeaderMap, body: Bytes, moment: Moment) -> Result<Outgoing, Problem> {
    let mut attributes = Attributes::default();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        let text = value.to_str().ok().and_then(percent_decoded).ok_or_else(|| {
            Problem::malformed(format!("the header ce-{name} is not percent-encoded UTF-8"))
        })?;
        attributes.put(name, text).map_err(Problem::malformed)?;
    }
    if attributes.0.is_empty() {
        return Err(Problem::malformed(
            "there is no CloudEvent: neither ce- headers (ce-specversion, ce-id, ce-source, ce-type) nor the content type application/cloudevents+json",
        ));
    }
    // The standard's own header for traces means the same as the attribute.
    if !attributes.0.iter().any(|(name, _)| name == "traceparent")
        && let Some(trace) = headers.get("traceparent").and_then(|value| value.to_str().ok())
        && trace.parse::<TraceContext>().is_ok()
    {
        attributes.put("traceparent", trace.to_owned()).map_err(Problem::malformed)?;
    }
    let data = Data::Json(body);
    outgoing(attributes, data, moment)
}

/// The one event of a request in structured mode.
pub(crate) fn structured(body: &Bytes, moment: Moment) -> Result<Outgoing, Problem> {
    json::shallow(body).map_err(|e| Problem::malformed(format!("the body: {e}")))?;
    let members = serde_json::from_slice(body).map_err(|e| Problem::malformed(format!("the body: {e}")))?;
    of_members(body, members, moment)
}

/// The events of a request in batch mode.
pub(crate) fn batch(body: &Bytes, moment: Moment) -> Result<Vec<Result<Outgoing, Problem>>, Problem> {
    json::shallow(body).map_err(|e| Problem::malformed(format!("the body: {e}")))?;
    let Elements(events) =
        serde_json::from_slice(body).map_err(|e| Problem::malformed(format!("the body: {e}")))?;
    if events.len() > limits::BATCH_EVENTS {
        return Err(Problem::too_large(format!("more than {} events in one batch", limits::BATCH_EVENTS)));
    }
    let read = |raw: &RawValue| {
        let members = serde_json::from_str(raw.get()).map_err(|e| Problem::malformed(e.to_string()))?;
        of_members(body, members, moment)
    };
    Ok(events.into_iter().map(read).collect())
}

enum Data {
    None,
    Json(Bytes),
}

fn of_members(body: &Bytes, Members(members): Members<'_>, moment: Moment) -> Result<Outgoing, Problem> {
    let mut attributes = Attributes::default();
    let mut data = Data::None;
    for (name, raw) in members {
        match name.as_str() {
            "data" | "data_base64" if matches!(data, Data::Json(_)) => {
                return Err(Problem::malformed("an event has either `data` or `data_base64`"));
            }
            "data" => data = Data::Json(body.slice_ref(raw.get().as_bytes())),
            "data_base64" => {
                let text: String = serde_json::from_str(raw.get())
                    .map_err(|_| Problem::malformed("`data_base64` is not a text"))?;
                let decoded = STANDARD
                    .decode(text)
                    .map_err(|e| Problem::malformed(format!("`data_base64` is not base 64: {e}")))?;
                data = Data::Json(decoded.into());
            }
            _ => {
                if let Some(text) = attribute_text(&name, raw).map_err(Problem::malformed)? {
                    attributes.put(&name, text).map_err(Problem::malformed)?;
                }
            }
        }
    }
    outgoing(attributes, data, moment)
}

/// The value of a member as an attribute has it; `None` for null, which is as good as absent.
fn attribute_text(name: &str, raw: &RawValue) -> Result<Option<String>, String> {
    let wrong = |what: &str| Err(format!("the attribute `{}` is {what}", name.escape_debug()));
    match raw.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw.get()).map(Some).map_err(|e| e.to_string()),
        Some(b'n') => Ok(None),
        Some(b'{' | b'[') => wrong("no text, number or truth value"),
        // Required ones are texts; the standard has integers and truth values for the rest.
        _ if matches!(name, "id" | "source" | "type" | "specversion") => wrong("no text"),
        _ if raw.get().contains(['.', 'e', 'E']) && !matches!(raw.get(), "true" | "false") => {
            wrong("not a whole number")
        }
        _ => Ok(Some(raw.get().to_owned())),
    }
}

/// Names and values, as they came.
#[derive(Default)]
struct Attributes(Vec<(String, String)>);

impl Attributes {
    fn put(&mut self, name: &str, value: String) -> Result<(), String> {
        let shown = name.chars().take(64).collect::<String>();
        let shown = shown.escape_debug();
        let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if name.is_empty() || name.len() > limits::ATTRIBUTE_NAME_BYTES || !name.bytes().all(sound) {
            return Err(format!("`{shown}` is not the name of an attribute: a-z and 0-9"));
        }
        if value.is_empty() || value.len() > EVENT_ATTRIBUTE_BYTES {
            let length = value.len();
            return Err(format!(
                "the attribute `{shown}` has {length} bytes, not 1 to {EVENT_ATTRIBUTE_BYTES}"
            ));
        }
        if value.chars().any(char::is_control) {
            return Err(format!("the attribute `{shown}` has control characters"));
        }
        if self.0.iter().any(|(known, _)| known == name) {
            return Err(format!("the attribute `{shown}` stands twice"));
        }
        if self.0.len() >= limits::EXTENSIONS {
            return Err(format!("more than {} attributes", limits::EXTENSIONS));
        }
        self.0.push((name.to_owned(), value));
        Ok(())
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn need(&mut self, name: &'static str) -> Result<String, Problem> {
        self.take(name)
            .ok_or_else(|| Problem::malformed(format!("the CloudEvents attribute `{name}` is missing")))
    }

    fn parsed<T>(&mut self, name: &'static str) -> Result<Option<T>, Problem>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let parse = |text: String| text.parse().map_err(|e: T::Err| invalid(name, &e.to_string()));
        self.take(name).map(parse).transpose()
    }
}

fn invalid(name: &str, reason: &str) -> Problem {
    Problem::malformed(format!("the CloudEvents attribute `{name}` is not valid: {reason}"))
}

fn outgoing(mut attributes: Attributes, data: Data, moment: Moment) -> Result<Outgoing, Problem> {
    let version = attributes.need("specversion")?;
    if version != "1.0" {
        return Err(invalid("specversion", &format!("expected 1.0, found `{}`", version.escape_debug())));
    }
    let (id, source, kind) = (attributes.need("id")?, attributes.need("source")?, attributes.need("type")?);
    if source == "/grace" || source.starts_with("/grace/") {
        return Err(invalid("source", "`/grace/…` is what Grace's own components say"));
    }
    let word =
        |word: &str| !word.is_empty() && !word.contains(['*', '>']) && !word.contains(char::is_whitespace);
    if !kind.split('.').all(word) {
        return Err(invalid("type", "it has blanks, `*`, `>`, or dots with nothing between them"));
    }
    if let Some(content) = attributes.take("datacontenttype")
        && !is_json(&media_type(&content)?)
    {
        let shown = content.escape_debug();
        return Err(Problem::unsupported(format!("data of the type `{shown}` are not taken: data are JSON")));
    }
    let trace: Option<TraceContext> = attributes.parsed("traceparent")?;
    attributes.take("hlc");
    attributes.take("originalid");
    let own: Option<EventId> = id.parse().ok();
    let event = Event {
        id: own.unwrap_or_else(|| EventId::from_bits(name_of(&source, &id))),
        source,
        kind,
        subject: attributes.take("subject"),
        time: attributes.parsed("time")?.unwrap_or(moment.wall),
        correlationid: attributes.parsed("correlationid")?,
        causationid: attributes.parsed("causationid")?,
        traceparent: trace.map(|trace| trace.to_string()),
        hops: attributes.parsed("hops")?.unwrap_or_default(),
        hlc: moment.hlc,
        data: serde_json::Value::Null,
    };
    let mut more = attributes.0;
    if own.is_none() {
        more.push(("originalid".to_owned(), id.clone()));
    }
    Ok(Outgoing { id, event, more, data: checked(data)? })
}

fn checked(data: Data) -> Result<Bytes, Problem> {
    let Data::Json(data) = data else { return Ok(Bytes::new()) };
    if data.len() > EVENT_DATA_BYTES {
        return Err(Problem::too_large(format!("{} bytes of data; at most {EVENT_DATA_BYTES}", data.len())));
    }
    if !data.is_empty() {
        json::check(&data).map_err(|e| Problem::malformed(format!("the data are not JSON: {e}")))?;
    }
    Ok(data)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'%' {
            let digits = rest.get(..2)?;
            let digit = |b: u8| char::from(b).to_digit(16);
            bytes.push(u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}
