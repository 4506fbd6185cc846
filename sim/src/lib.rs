//! Deterministic simulation of deciders.
//!
//! Several hosts run the sample decider [`bank`] on memory journals, and tellers ask them over the in-memory bus. The
//! [`world`] moves all of them one small step at a time, in an order that a seed chooses, and does to them what a bad day
//! does: lost power in the middle of a sync, full disks, replicas that take over from one that still runs, messages dropped, doubled,
//! delayed and out of order. Then the [`check`] asks what every kernel promises: nothing acknowledged is lost, nothing
//! is applied twice under one key, nothing left a host before it was written, and every state is what its journal says.
//!
//! The same seed gives the same history, byte for byte: no thread, no clock, no hash map's order is involved.

pub mod bank;
pub mod check;
mod history;
pub mod world;

pub use world::{Options, Report, run};
