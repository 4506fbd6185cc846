//! Journals: the durable memory of every kernel.
//!
//! A [`Journal`] appends a batch of records and syncs it before it returns (law 4: acknowledged means durable),
//! replays from a sequence number, keeps snapshots with digests, and refuses writers with a stale epoch.

pub mod journal;

pub use journal::*;
