//! OTLP over HTTP in its JSON form (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>, the message `ExportTraceServiceRequest`).
//!
//! Our own writer: the form is one page, and the binary has an HTTP client already. The OpenTelemetry crates would bring protobuf, a
//! second client and threads of their own for the same bytes.

use std::{
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
};

use grace_kernel::process::tell;
use grace_types::time::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::{Counts, Span};
use crate::limits;

/// Starts the thread. It ends when nobody can hand over spans any more.
pub(super) fn start(url: String, spans: Receiver<Span>, counts: Arc<Counts>) -> io::Result<()> {
    std::thread::Builder::new().name("otlp".to_owned()).spawn(move || send(&url, &spans, &counts))?;
    Ok(())
}

fn send(url: &str, spans: &Receiver<Span>, counts: &Counts) {
    let config = ureq::Agent::config_builder().timeout_global(Some(limits::OTLP_TIME)).build();
    let agent = ureq::Agent::new_with_config(config);
    let mut failing = false;
    while let Some(batch) = gather(spans) {
        let count = batch.len() as u64;
        let body = request(&batch).to_string();
        let sent = agent.post(url).header("content-type", "application/json").send(body.as_bytes());
        let counter = if sent.is_ok() { &counts.exported } else { &counts.dropped };
        counter.fetch_add(count, Ordering::Relaxed);
        match &sent {
            Err(e) if !failing => tell(&format!("spans cannot be sent to {url}, and are dropped: {e}")),
            Ok(_) if failing => tell(&format!("spans are sent to {url} again")),
            _ => {}
        }
        failing = sent.is_err();
    }
}

/// The next spans: those of a short while, so that a road's spans go together. Sleeps while there are none.
fn gather(spans: &Receiver<Span>) -> Option<Vec<Span>> {
    let mut batch = vec![spans.recv().ok()?];
    let until = SystemClock.now().mono.plus(limits::OTLP_GATHER);
    while batch.len() < limits::OTLP_BATCH {
        match spans.recv_timeout(until.since(SystemClock.now().mono)) {
            Ok(span) => batch.push(span),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    Some(batch)
}

fn request(spans: &[Span]) -> Value {
    let spans: Vec<Value> = spans.iter().map(span).collect();
    let scope = json!({"name": "grace", "version": env!("CARGO_PKG_VERSION")});
    let resource = json!({"attributes": attributes(&[("service.name", "grace".to_owned())])});
    json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]})
}

/// `SPAN_KIND_INTERNAL`, `STATUS_CODE_OK`, `STATUS_CODE_ERROR`.
const INTERNAL: u8 = 1;
const OK: u8 = 1;
const ERROR: u8 = 2;

fn span(span: &Span) -> Value {
    let status = match &span.error {
        None => json!({"code": OK}),
        Some(message) => json!({"code": ERROR, "message": message}),
    };
    let mut value = json!({
        "traceId": span.context.trace_id(),
        "spanId": span.context.span_id(),
        "name": span.name,
        "kind": INTERNAL,
        // 64-bit numbers are texts in the JSON form.
        "startTimeUnixNano": span.start.as_nanos().to_string(),
        "endTimeUnixNano": span.end.as_nanos().to_string(),
        "attributes": attributes(&span.attributes),
        "status": status,
    });
    if let Some(parent) = &span.parent {
        value["parentSpanId"] = parent.as_str().into();
    }
    value
}

fn attributes(pairs: &[(&str, String)]) -> Value {
    pairs.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect()
}
