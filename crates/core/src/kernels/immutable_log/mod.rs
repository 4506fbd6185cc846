//! The kernel that keeps the tamper-evident log.
#![expect(dead_code, reason = "in the making")]
mod cursors;
pub mod disk;
mod frame;
mod intake;
mod keys;
mod known;
pub mod limits;
mod open;
mod pending;
mod publish;
mod sealer;
#[cfg(test)]
mod tests;
pub mod writer;

pub use keys::{KeyFileError, verifier_key};
pub use open::OpenError;

/// The public files of the log, relative to the data folder.
pub const LOG: &str = "log";
/// Records that lie beside the log, in its folder.
pub const BLOBS: &str = "blobs";
/// What is sealed and not yet in the public files, and what the kernel remembers.
pub const PENDING: &str = "log-pending";
/// The log's secret key.
pub const SECRET_KEY: &str = "keys/immutable_log.key";
/// Its public half.
pub const PUBLIC_KEY: &str = "keys/immutable_log.vkey";
const CHECKPOINT: &str = "log/checkpoint";
const CURSORS: &str = "log-pending/cursors";
const KNOWN: &str = "log-pending/known";
