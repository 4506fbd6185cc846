//! A tamper-evident log, in the formats that strangers' tools read: C2SP tlog-tiles, tlog-checkpoint, signed-note, tlog-proof, with
//! RFC 6962 hashing.
//!
//! Entries go in at [`append`]; out come the files to write: bundles of entries, tiles of hashes, and a checkpoint in which
//! the log's key signs the root over all of them. Whoever has the key's public half can later check that an entry is there
//! ([`proof`], [`proof_file`]), that the log has only grown, and, from the files alone, that not one bit of them was
//! changed ([`verify`]).
//!
//! Nothing here does IO: files are read through [`files::Files`], and what is to be written is handed back. No clock, no
//! randomness but the [`grace_types::chance::Entropy`] that a new key is given.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`hash`] | leaves, nodes, roots |
//! | [`tile`] | which files a log has, and their paths; entries in a bundle |
//! | [`files`] | how a log's folder is read |
//! | [`append`] | the right edge of a log, and what a batch writes |
//! | [`note`] | signed notes and keys |
//! | [`checkpoint`] | checkpoints, and whose signature counts |
//! | [`proof`] | inclusion and consistency proofs |
//! | [`proof_file`] | an inclusion proof in a file |
//! | [`verify`] | the whole log, from its files alone |
//! | [`witness`] | asking a witness to cosign a checkpoint |
//! | [`limits`] | every bound, with its reason |

pub mod append;
pub mod checkpoint;
mod edge;
pub mod files;
pub mod hash;
pub mod limits;
pub mod note;
pub mod proof;
pub mod proof_file;
pub mod tile;
pub mod verify;
pub mod witness;
