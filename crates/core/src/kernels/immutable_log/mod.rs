//! The kernel that keeps the tamper-evident log: what every journal says, sealed into a Merkle tree that strangers can check.
//!
//! ```text
//! grace.evidence.immutable_log.<component> ─► intake ─► frame ─► log-pending/, one sync ─► answer {"next", "index", "size"}
//!                                                         └────► log/: bundles, tiles, checkpoint ─► grace.log.checkpoint
//! grace.cmd.immutable_log ─► the newest checkpoint
//! ```
//!
//! A batch is answered when it is sealed (the log's key has signed the root over it) and synced. The public files follow some
//! milliseconds later. Whoever reads them needs no running Grace: [`Folder`] is the log's folder, [`verifier_key`] the key, and
//! [`remembered`] what the kernel knows beside them.
//!
//! | Module | What it holds |
//! |---|---|
//! | `intake` | pure: duplicates out, records into entries, entries into the open frame |
//! | `documents` | pure: whether a record is JSON, without memory for each |
//! | `cursors` | which records the log holds |
//! | `frame`, `pending` | what one sync makes durable, and where |
//! | `publish` | the public files |
//! | `known` | what was sealed and published last |
//! | `open`, `replay` | start: recovery, and what is refused |
//! | [`writer`], `sealer`, `workers` | the log as a library, and its threads |
//! | [`disk`] | all IO, with a twin that crashes |
//! | `keys` | the log's key |
//! | `shell` | the bus and the life line |
//! | `view` | what it says in votes |
//! | [`limits`] | every bound, with its reason |
//!
//! It keeps no journal of its own: the log is one (`docs/decisions/0008-the-log-is-its-own-journal.md`).

mod cursors;
pub mod disk;
mod documents;
mod frame;
mod intake;
mod keys;
mod known;
pub mod limits;
mod open;
mod pending;
mod publish;
mod replay;
mod sealer;
mod shell;
#[cfg(test)]
mod tests;
mod view;
mod workers;
pub mod writer;

use std::{path::Path, time::Duration};

use grace_kernel::process::{Environment, KernelError, voter};
use grace_log::checkpoint::Checkpoint;
use grace_types::manifest::{ComponentKind, Permissions};

use super::BuiltIn;

pub use disk::real::{Folder, RealDisk};
pub use keys::{KeyFileError, verifier_key};
pub use open::OpenError;
pub use writer::{LogWriter, Running};

/// What the control plane must know.
pub const BUILT_IN: BuiltIn = BuiltIn {
    name: NAME,
    kind: ComponentKind::Kernel,
    critical: true,
    depends_on: &["message_bus"],
    watchdog: Duration::from_secs(2),
    permissions,
    stateful: true,
    run,
};

const NAME: &str = "immutable_log";
/// Where each new checkpoint of the public files is announced: the signed note.
pub const CHECKPOINTS: &str = "grace.log.checkpoint";

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
const LOCK: &str = "log-pending/lock";
const CHECKPOINT: &str = "log/checkpoint";
const CURSORS: &str = "log-pending/cursors";
const KNOWN: &str = "log-pending/known";

fn permissions() -> Permissions {
    let own = Permissions::only(
        [CHECKPOINTS],
        ["grace.cmd.immutable_log", "grace.evidence.immutable_log.>", "_INBOX.immutable_log.>"],
    );
    voter::permitted(own, NAME)
}

fn run(environment: Environment) -> Result<(), KernelError> {
    grace_kernel::process::run_behind(environment, shell::main)
}

/// What the kernel of the instance in `data` remembers of its log beside the public files: checkpoints of which each must still be a
/// part of the log. To be given to [`grace_log::verify::verify`]; they are not signed, and `origin` is the key's name.
///
/// # Errors
/// A file is there and cannot be read, or is damaged.
pub fn remembered(data: &Path, origin: &str) -> Result<Vec<Checkpoint>, OpenError> {
    open::remembered(&RealDisk::at(data), origin)
}
