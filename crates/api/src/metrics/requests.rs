//! This interface's own requests and events, counted.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::Next,
    response::Response,
};

use super::text::{Kind, Text};
use crate::api::Api;

/// Upper bounds of the buckets of a duration, in seconds: from an answer out of memory to the longest wait there is.
const BOUNDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// What is counted. Labels are bounded: methods and routes are from a list, whatever a client sends.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    counts: Mutex<BTreeMap<(&'static str, String, u16), u64>>,
    durations: Mutex<BTreeMap<String, Durations>>,
    pub(crate) events: Events,
}

/// What became of events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) durable: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) unavailable: AtomicU64,
}

#[derive(Debug, Default)]
struct Durations {
    /// How many were within each bound, and not within the one before.
    within: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

/// Counts a request and how long its answer took to begin.
pub(crate) async fn count(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let began = api.now();
    let method = method(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    api.requests.add(method, route, response.status().as_u16(), api.now().since(began));
    response
}

const fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

impl Requests {
    fn add(&self, method: &'static str, route: String, status: u16, took: Duration) {
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = durations.entry(route.clone()).or_default();
        if let Some(n) = BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound) {
            seen.within[n] += 1;
        }
        seen.count += 1;
        seen.sum += took;
        drop(durations);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((method, route, status)).or_default() += 1;
    }

    pub(super) fn write(&self, text: &mut Text) {
        text.family("grace_http_requests_total", Kind::Counter, "Requests answered.");
        for ((method, route, status), count) in &*self.counts.lock().unwrap_or_else(PoisonError::into_inner) {
            let status = status.to_string();
            text.sample(&[("method", method), ("route", route), ("status", &status)], *count as f64);
        }
        let help = "From a request's headers to its answer's.";
        text.family("grace_http_request_duration_seconds", Kind::Histogram, help);
        for (route, seen) in &*self.durations.lock().unwrap_or_else(PoisonError::into_inner) {
            let mut within = 0;
            for (bound, count) in BOUNDS.iter().zip(seen.within) {
                within += count;
                text.sample_of("_bucket", &[("route", route), ("le", &bound.to_string())], within as f64);
            }
            text.sample_of("_bucket", &[("route", route), ("le", "+Inf")], seen.count as f64);
            text.sample_of("_sum", &[("route", route)], seen.sum.as_secs_f64());
            text.sample_of("_count", &[("route", route)], seen.count as f64);
        }
        text.family("grace_http_events_total", Kind::Counter, "Events sent here, by what became of them.");
        let Events { durable, refused, unavailable } = &self.events;
        for (outcome, count) in [("durable", durable), ("refused", refused), ("unavailable", unavailable)] {
            text.sample(&[("outcome", outcome)], count.load(Ordering::Relaxed) as f64);
        }
    }
}
