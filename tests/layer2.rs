//! Layer 2 end to end, on real processes: events and what they set off, schedules, and what watches it all.
#![allow(clippy::unwrap_used, reason = "tests")]

mod instance;

#[path = "layer2/bench.rs"]
mod bench;
#[path = "layer2/events.rs"]
mod events;
#[path = "layer2/loops.rs"]
mod loops;
#[path = "layer2/schedules.rs"]
mod schedules;
#[path = "layer2/storm.rs"]
mod storm;
#[path = "layer2/watchdog.rs"]
mod watchdog;
