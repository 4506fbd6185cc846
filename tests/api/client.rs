//! Requests to the interface of an instance.

use std::time::Duration;

use serde_json::Value;

use crate::instance::{Instance, until};

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// Where the interface listens.
pub(crate) fn url(instance: &Instance) -> String {
    until("the address is written", || std::fs::read_to_string(instance.place().api_url()).ok())
        .trim_end()
        .to_owned()
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build();
    ureq::Agent::new_with_config(config)
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (kind, retry_after) = (header("content-type").unwrap_or_default(), header("retry-after"));
    Answer {
        status: response.status().as_u16(),
        kind,
        retry_after: retry_after.and_then(|text| text.parse().ok()),
        body: response.body_mut().read_to_string().unwrap(),
    }
}

/// GET, if anybody answers.
pub(crate) fn try_get(instance: &Instance, path: &str) -> Option<Answer> {
    agent().get(format!("{}{path}", url(instance))).call().ok().map(answer)
}

/// GET.
pub(crate) fn get(instance: &Instance, path: &str) -> Answer {
    try_get(instance, path).unwrap()
}

/// GET of what this token may see.
pub(crate) fn get_as(instance: &Instance, token: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = agent().get(format!("{}{path}", url(instance)));
    for (name, value) in [("authorization", bearer(token).as_str())].iter().chain(headers) {
        request = request.header(*name, *value);
    }
    answer(request.call().unwrap())
}

/// POST of JSON with this token.
pub(crate) fn post_as(
    instance: &Instance,
    token: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = agent().post(format!("{}{path}", url(instance)));
    let own = [("authorization", bearer(token)), ("content-type", "application/json".to_owned())];
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    for (name, value) in own.chain(headers.iter().copied()) {
        request = request.header(name, value);
    }
    answer(request.send(body.as_bytes()).unwrap())
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// POST of events with the instance's token.
pub(crate) fn post(instance: &Instance, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let token = std::fs::read_to_string(instance.place().api_token()).unwrap();
    let bearer = format!("Bearer {}", token.trim_end());
    let mut all = vec![("authorization", bearer.as_str())];
    all.extend(headers);
    post_as_it_is(instance, &all, body)
}

/// POST of events with these headers alone.
pub(crate) fn post_as_it_is(instance: &Instance, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut request = agent().post(format!("{}/v1/events", url(instance)));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(request.send(body).unwrap())
}
