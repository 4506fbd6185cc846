//! The broker as clients that are not ours see it: async-nats and Python's nats-py.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "conformance/async_nats.rs"]
mod async_nats_client;
#[path = "conformance/nats_py.rs"]
mod nats_py;

mod fixture;
