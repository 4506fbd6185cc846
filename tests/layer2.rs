//! Layer 2 end to end, on real processes: what watches it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod instance;

#[path = "layer2/watchdog.rs"]
mod watchdog;
