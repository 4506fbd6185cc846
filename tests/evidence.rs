//! Evidence between real processes: journals shipped over a real broker to sinks, while both sides are killed and stopped, and their clock
//! is set forward and back.
#![allow(clippy::unwrap_used, reason = "tests")]

mod instance;

#[path = "evidence/away.rs"]
mod away;
#[path = "evidence/bench.rs"]
mod bench;
#[path = "evidence/clock.rs"]
mod clock;
#[path = "evidence/held.rs"]
mod held;
#[path = "evidence/kills.rs"]
mod kills;
#[path = "evidence/lag.rs"]
mod lag;
#[path = "evidence/narratives.rs"]
mod narratives;
#[path = "evidence/nights.rs"]
mod nights;
#[path = "evidence/programs.rs"]
mod programs;
#[path = "evidence/steps.rs"]
mod steps;
#[path = "evidence/whole.rs"]
mod whole;
#[path = "evidence/witness.rs"]
mod witness;
