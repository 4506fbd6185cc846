//! HTTP requests as tasks: one request, an answer that is expected or not, a bounded body.
//!
//! Beside what the plan sets, the request says who it is for: `Grace-Token` is its fencing token, which only grows, so that whoever answers
//! can refuse what comes late, and which no plan can set. `Idempotency-Key` is the task, the same over all its attempts, and `traceparent`
//! the trace where there is one; these a plan may set otherwise.
//!
//! The client blocks, on a thread of its own, and ends by itself with the task's time: a task that was stopped meanwhile is answered for
//! already. Redirects are not followed: the plan names who is asked. A redirect that was not expected and a wrong request (status 300 to
//! 499, but 408 and 429) would be the same again; anything else may be tried again. Neither headers nor the URL stand in what is told of a failure, since both may hold secrets.

use std::{collections::BTreeMap, io::Read as _, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};

use super::run::Failed;
use crate::{htm::command::Lease, intent::Expect, limits};

/// What the plan says.
#[derive(Debug, Deserialize)]
pub(super) struct Http {
    url: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
    #[serde(default)]
    expect: Expect,
}

/// Asks, within the task's time.
pub(super) async fn run(lease: &Lease, input: Http) -> Result<Value, Failed> {
    let within = Duration::from_millis(lease.timeout_ms);
    let expect = input.expect.clone();
    let request = request(lease, input)?;
    let asked = tokio::task::spawn_blocking(move || ask(request, within));
    let answer = asked.await.map_err(|e| Failed::again(format!("the request was not made: {e}")))??;
    judge(answer, &expect)
}

fn request(lease: &Lease, input: Http) -> Result<ureq::http::Request<Vec<u8>>, Failed> {
    let uri: ureq::http::Uri = input.url.parse().map_err(|_| Failed::for_good("`url` is no URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(Failed::for_good("`url` begins with http:// or https://"));
    }
    let method = input.method.as_deref().unwrap_or("GET");
    let (body, media) = match input.body {
        Value::Null => (Vec::new(), None),
        Value::String(text) => (text.into_bytes(), Some("text/plain; charset=utf-8")),
        other => (other.to_string().into_bytes(), Some("application/json")),
    };
    let own = [
        ("idempotency-key", Some(lease.task.to_string())),
        ("traceparent", lease.trace().map(|trace| trace.to_string())),
        ("content-type", media.map(str::to_owned)),
    ];
    let mut request = ureq::http::Request::builder().method(method).uri(uri);
    request = request.header("grace-token", lease.token.to_string());
    for (name, value) in input.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("grace-token")) {
        request = request.header(name, value);
    }
    let is_set = |name: &str| input.headers.keys().any(|key| key.eq_ignore_ascii_case(name));
    for (name, value) in own {
        if let Some(value) = value.filter(|_| !is_set(name)) {
            request = request.header(name, value);
        }
    }
    // What it says of a header's value may hold the value.
    request.body(body).map_err(|_| Failed::for_good("`method` or a header cannot be sent as it is"))
}

/// An answer as it came.
struct Answer {
    status: u16,
    media: Option<String>,
    body: Vec<u8>,
    cut: bool,
}

fn ask(request: ureq::http::Request<Vec<u8>>, within: Duration) -> Result<Answer, Failed> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(within))
        .http_status_as_error(false)
        .max_redirects(0)
        .allow_non_standard_methods(true)
        .build();
    let failed = |e: &ureq::Error| Failed::again(format!("no answer: {}", told(e)));
    let response = ureq::Agent::new_with_config(config).run(request).map_err(|e| failed(&e))?;
    let status = response.status().as_u16();
    let media =
        response.headers().get("content-type").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    let most = limits::HTTP_BODY_BYTES;
    let read = response.into_body().into_reader().take(most + 1).read_to_end(&mut body);
    read.map_err(|e| Failed::again(format!("the answer broke off: {e}")))?;
    let cut = body.len() as u64 > most;
    body.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    Ok(Answer { status, media, body, cut })
}

/// What went wrong, without the address.
fn told(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(e) => e.to_string(),
        ureq::Error::Timeout(_) => "it took too long".to_owned(),
        ureq::Error::HostNotFound => "the host is not known".to_owned(),
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::BadUri(_) => "the URL cannot be asked".to_owned(),
        other => other.to_string(),
    }
}

fn judge(answer: Answer, expect: &Expect) -> Result<Value, Failed> {
    let Answer { status, media, body: bytes, cut } = answer;
    let text = String::from_utf8_lossy(&bytes);
    let fits =
        if expect.status.is_empty() { (200..300).contains(&status) } else { expect.status.contains(&status) };
    if !fits {
        let lasting = (300..500).contains(&status) && !matches!(status, 408 | 429);
        let why = format!("status {status} is not what was expected");
        return Err(if lasting { Failed::for_good(why) } else { Failed::again(why) });
    }
    if let Some(part) = &expect.body_contains
        && !text.contains(part.as_str())
    {
        return Err(Failed::again(format!(
            "the body of the answer (status {status}) does not hold what was expected"
        )));
    }
    let is_json = media.as_deref().is_some_and(|media| media.contains("json")) && !cut;
    let json = if is_json { serde_json::from_slice(&bytes).ok() } else { None };
    let body = json.unwrap_or_else(|| Value::String(text.into_owned()));
    // As JSON, control characters take six bytes each.
    let (body, cut) = if body.to_string().len() <= limits::OUTPUT_BYTES - 256 {
        (body, cut)
    } else {
        let kept = String::from_utf8_lossy(&bytes).chars().take(limits::OUTPUT_BYTES / 8).collect();
        (Value::String(kept), true)
    };
    Ok(json!({"status": status, "body": body, "truncated": cut}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, media: &str, body: &str) -> Answer {
        Answer { status, media: Some(media.to_owned()), body: body.as_bytes().to_vec(), cut: false }
    }

    #[test]
    fn an_answer_is_taken_or_refused_for_good_or_for_now() {
        let any = Expect::default();
        let done = judge(answer(201, "application/json; charset=utf-8", r#"{"id": 7}"#), &any);
        assert_eq!(done.ok(), Some(json!({"status": 201, "body": {"id": 7}, "truncated": false})));
        let text = judge(answer(200, "text/plain", "[1]"), &any);
        assert_eq!(text.ok(), Some(json!({"status": 200, "body": "[1]", "truncated": false})));
        for (status, retry) in
            [(404, false), (400, false), (408, true), (429, true), (500, true), (302, false), (304, false)]
        {
            let failed = judge(answer(status, "text/plain", ""), &any).unwrap_err();
            assert_eq!(failed.retry, retry, "{status}");
        }
        let expect = Expect { status: vec![404], body_contains: Some("gone".into()) };
        assert!(judge(answer(404, "text/plain", "it is gone"), &expect).is_ok());
        assert!(judge(answer(404, "text/plain", "here"), &expect).is_err());
        assert!(judge(answer(200, "text/plain", "gone"), &expect).is_err());
    }
}
