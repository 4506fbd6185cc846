//! The host on journals that fail, the host's thread, and the process shell on its life line.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its functions too")]

#[path = "kernel/bus.rs"]
mod bus;
#[path = "kernel/evidence.rs"]
mod evidence;
#[path = "kernel/host.rs"]
mod host;
#[path = "kernel/process.rs"]
mod process;
#[path = "kernel/tally.rs"]
mod tally;
#[path = "kernel/thread.rs"]
mod thread;
