//! Intents before anything of them is done: the cortex as a real process, what it says to each tier, and that nothing is lost and
//! nothing runs undecided when it is killed.
#![allow(clippy::unwrap_used, reason = "tests")]

mod instance;

#[path = "cortex/kills.rs"]
mod kills;
#[path = "work/line.rs"]
#[allow(dead_code, reason = "no worker of its own here")]
mod line;
#[path = "cortex/many.rs"]
mod many;
#[path = "cortex/quorum.rs"]
mod quorum;
#[path = "cortex/tiers.rs"]
mod tiers;
#[path = "cortex/votes.rs"]
mod votes;
