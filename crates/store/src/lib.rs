//! Journals: the durable memory of every kernel.
//!
//! A [`Journal`] appends a batch of records and syncs it before it returns (law 4: acknowledged means durable),
//! replays from a sequence number, keeps snapshots with digests, and refuses writers with a stale epoch. A [`JournalReader`]
//! reads what is durable in a journal that another handle or process may be writing.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`journal`] | the traits, their records and errors |
//! | [`mod@file`] | the engine for real files |
//! | [`memory`] | its twin for tests and the simulator: a disk that loses, tears and damages on command |
//! | [`narrative`] | the narratives of all components, to be searched |
//! | [`limits`] | every bound, with its reason |

mod chain;
pub mod file;
pub mod journal;
pub mod limits;
pub mod memory;
pub mod narrative;

pub use journal::*;
