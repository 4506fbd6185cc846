//! Bad input and faults: what Grace reports, what goes on, and that nothing acknowledged is lost.

mod instance;

#[path = "faults/input.rs"]
mod input;
