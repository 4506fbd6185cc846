//! Bad input and faults: what Grace reports, what goes on, and that nothing acknowledged is lost.
#![allow(clippy::unwrap_used, reason = "tests")]

mod instance;

#[path = "faults/input.rs"]
mod input;
