//! The parts of Layer 1 that stand on their own, against the real system: pipes, sockets, processes and `/proc`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "parts/kernels.rs"]
mod kernels;
#[path = "parts/log_kill.rs"]
mod log_kill;
#[path = "parts/log_writes.rs"]
mod log_writes;
#[path = "parts/notify.rs"]
mod notify;
#[path = "parts/output.rs"]
mod output;
#[path = "parts/probe.rs"]
mod probe;
#[path = "parts/procfs.rs"]
mod procfs;
#[path = "parts/wait.rs"]
mod wait;
