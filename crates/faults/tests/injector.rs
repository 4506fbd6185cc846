//! The injector with real processes: every kind bites with proof and is undone, whoever dies, and nobody else is touched.
//!
//! Here it runs as a thread of the test, over pipes; as a process of its own, and with a real control plane, it is tested end to
//! end by the workspace's tests.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "injector/bench.rs"]
mod bench;
#[path = "injector/ends.rs"]
mod ends;
#[path = "injector/faults.rs"]
mod faults;
#[path = "injector/refusals.rs"]
mod refusals;
