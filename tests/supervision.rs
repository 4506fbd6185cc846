//! What Grace does for programs that start, hang, die and end: the whole binary with real processes.
#![allow(clippy::unwrap_used, reason = "tests")]

mod instance;

#[path = "supervision/bus.rs"]
mod bus;
#[path = "supervision/commands.rs"]
mod commands;
#[path = "supervision/control_plane.rs"]
mod control_plane;
#[path = "supervision/emergency.rs"]
mod emergency;
#[path = "supervision/guardian.rs"]
mod guardian;
#[path = "supervision/operators.rs"]
mod operators;
#[path = "supervision/output.rs"]
mod output;
#[path = "supervision/readiness.rs"]
mod readiness;
#[path = "supervision/restarts.rs"]
mod restarts;
#[path = "supervision/surroundings.rs"]
mod surroundings;
