//! The HTTP interface of a running instance: health, metrics, events from outside, and intents of whoever has a token.
#![allow(clippy::unwrap_used, reason = "tests")]

mod instance;

#[path = "api/caller.rs"]
mod caller;
#[path = "api/client.rs"]
mod client;
#[path = "api/collector.rs"]
mod collector;
#[path = "api/evaluations.rs"]
mod evaluations;
#[path = "api/events.rs"]
mod events;
#[path = "api/health.rs"]
mod health;
#[path = "api/hooks.rs"]
mod hooks;
#[path = "api/intents.rs"]
mod intents;
#[path = "api/metrics.rs"]
mod metrics;
#[path = "api/openapi.rs"]
mod openapi;
#[path = "api/people.rs"]
mod people;
#[path = "api/place.rs"]
mod place;
#[path = "api/storm.rs"]
mod storm;
#[path = "api/tokens.rs"]
mod tokens;
#[path = "api/trace.rs"]
mod trace;
