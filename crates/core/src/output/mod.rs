//! What the components print: captured, kept within bounds, and read again.
//!
//! ```text
//! stdout, stderr ──► collector (its own thread) ──► lines ──► log_file ──► logs/NAME.log, .1, .2 …
//!                          │                          └─────► recent (last lines, for reports)
//!                          └─► notices: ready line seen, run's output closed, output lost
//! logs/NAME.log… ──► read ──► `grace logs NAME [-f]`, with everything else down
//! ```
//!
//! The pipes belong to the guardian, so that they outlive the control plane; the [`collector`] reads copies of their
//! descriptors. A line that is half written when the control plane dies is lost with it, and so is what it has read and not yet written: whole
//! lines are written before the next read. The child never waits for the disk to have room: what cannot be written is counted, said and dropped.
//!
//! Not here: creating the pipes and handing them over (spawning), and deciding what a failure report says.

pub mod collector;
pub mod lines;
mod log_file;
pub mod read;
pub mod recent;
pub mod rotation;
mod worker;

pub use collector::{Attachment, Busy, Collector, Notice};
pub use read::read;
