//! The HTTP interface of a running instance: health, metrics, and events from outside.
#![allow(clippy::unwrap_used, reason = "tests")]

mod instance;

#[path = "api/client.rs"]
mod client;
#[path = "api/events.rs"]
mod events;
#[path = "api/health.rs"]
mod health;
#[path = "api/metrics.rs"]
mod metrics;
#[path = "api/place.rs"]
mod place;
#[path = "api/trace.rs"]
mod trace;
