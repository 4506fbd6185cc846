//! The bounds of the narratives' kernel, each with its reason and what happens when it is reached.

use std::time::Duration;

/// Batches and commands that wait for the keeper. Each component has one batch under way, so this is more components than one machine
/// runs; a further one is answered `busy` and sent again.
pub const WAITING: usize = 1024;

/// Bytes of batches that wait; as above. Small, since the kernel is to stay under 4 MiB and the journals are the buffer. One batch is always
/// taken, however large.
pub const WAITING_BYTES: usize = 2 << 20;

/// Bytes of batches that one transaction takes. More wait for the next.
pub const GROUP_BYTES: usize = 1 << 20;

/// Messages between the bus and the loop. When it is full, the subscription's own bound holds.
pub const HEARD: usize = 64;

/// What the keeper says and the loop has not taken yet. When it is full, the keeper waits.
pub const SAID: usize = 1024;

/// Bundles of the log that are read in one step, 256 entries each; between two steps batches have their turn.
pub const BUNDLES_A_STEP: u64 = 16;

/// How often the log is looked at when no checkpoint is announced.
pub const LOOK: Duration = Duration::from_secs(5);

/// The log's public key, as a file. A longer one is none.
pub const KEY_FILE_BYTES: usize = 4096;

/// Journals that a rebuild reads. More than one machine's components ever begin; the rest is reported as lost.
pub const JOURNALS: usize = 4096;

/// Intents of a type that are looked at when one is put to the vote: what is older tells little of what is now.
pub const HISTORY: usize = 20;
