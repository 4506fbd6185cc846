//! What Grace does for programs that start, hang, die and end: the whole binary with real processes.

mod instance;

#[path = "supervision/operators.rs"]
mod operators;
#[path = "supervision/readiness.rs"]
mod readiness;
#[path = "supervision/restarts.rs"]
mod restarts;
