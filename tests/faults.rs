//! Bad input and faults: what Grace reports, what goes on, and that nothing acknowledged is lost.
#![allow(clippy::unwrap_used, reason = "tests")]

mod instance;

#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/injected.rs"]
mod injected;
#[path = "faults/input.rs"]
mod input;
#[path = "faults/places.rs"]
mod places;
#[path = "faults/programs.rs"]
mod programs;
#[path = "faults/starts.rs"]
mod starts;
