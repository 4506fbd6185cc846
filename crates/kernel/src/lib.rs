//! Deciders and the host that makes their decisions durable.
//!
//! A kernel is a [`Decider`]: pure functions. The [`Host`] runs one on a journal: decide, evolve, append, sync, and only
//! then answer. The [`process`] shell is what `grace kernel NAME` runs: the life line to the control plane, the bus,
//! and the host on a thread that may block. The simulator runs the same deciders on the same host.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`decider`] | the trait, decisions, and events that cannot be built without a reason |
//! | [`ask`] | what goes into a host and what comes out |
//! | [`entry`] | the journal record: 5W1H, causes, and the answer to a keyed command |
//! | [`host`] | the core of the host, without threads or clocks |
//! | [`evidence`] | how a journal's records reach the log and the narratives |
//! | [`private`] | files that only their owner may read |
//! | [`process`] | the shell: a process of its own |
//! | [`vote`] | what is put to the vote, and signed ballots |
//! | [`limits`] | every bound, with its reason |

// `eprintln!` panics when the log that it writes to is on a full disk: `grace_kernel::process::tell` does not.
#![warn(clippy::print_stderr)]

pub mod ask;
pub mod decider;
pub mod entry;
pub mod evidence;
pub mod host;
mod keys;
pub mod limits;
pub mod private;
pub mod process;
pub mod vote;

pub use ask::{Answer, Envelope, HostError, LoadError, Released};
pub use decider::{Decider, Decision, Outcome, OutcomeOf, Recorded, Room};
pub use entry::{Answered, Entry, Settled, Stored};
pub use host::{Host, PendingSnapshot};
pub use keys::Fingerprint;
