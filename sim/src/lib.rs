//! Deterministic simulation of deciders.
//!
//! Two worlds, each moved by one seed, step by step, with everything going wrong that a bad day brings:
//!
//! | World | What runs on the production host | What is asked at the end |
//! |---|---|---|
//! | [`world`] | a sample decider, [`bank`], on memory journals, over the in-memory bus | [`check`]: what every kernel promises |
//! | [`work`] | the four deciders of Layer 2 together, with workers, sources and an operator | what the layer promises |
//!
//! In the first, disks lose power in the middle of a sync, replicas take over from one that still runs, messages are dropped,
//! doubled, delayed and out of order; nothing acknowledged may be lost, nothing applied twice under one key, nothing leave a host
//! before it was written, and every state must be what its journal says. The second adds partitions, a wall clock that steps,
//! and workers that die or stand still; see its page.
//!
//! The same seed gives the same history, byte for byte: no thread, no clock, no hash map's order is involved.

pub mod bank;
pub mod check;
mod history;
pub mod work;
pub mod world;

pub use history::Report;
pub use world::{Options, run};
