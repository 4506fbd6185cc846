//! The kernel governance end to end, on real processes: keys, signed approvals, emergencies, and generations.
#![allow(clippy::unwrap_used, reason = "tests")]

mod instance;

#[path = "governance/changes.rs"]
mod changes;
#[path = "governance/grants.rs"]
mod grants;
#[path = "governance/replay.rs"]
mod replay;
#[path = "governance/road.rs"]
mod road;
