//! Evidence between real processes: journals shipped over a real broker to sinks, while both sides are killed and stopped.
#![allow(clippy::unwrap_used, reason = "tests")]

mod instance;

#[path = "evidence/away.rs"]
mod away;
#[path = "evidence/bench.rs"]
mod bench;
#[path = "evidence/held.rs"]
mod held;
#[path = "evidence/kills.rs"]
mod kills;
#[path = "evidence/narratives.rs"]
mod narratives;
#[path = "evidence/programs.rs"]
mod programs;
#[path = "evidence/whole.rs"]
mod whole;
#[path = "evidence/witness.rs"]
mod witness;
