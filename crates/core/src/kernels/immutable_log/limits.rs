//! The bounds of the log's kernel, each with its reason and what happens when it is reached.

use std::time::Duration;

use grace_kernel::limits::EVIDENCE_BATCH_BYTES;

/// Bytes of entries in one frame, past which it takes no further batch: at this size the sync is a small part of the cost. The
/// rest waits for the next frame.
pub const FRAME_BYTES: usize = 4 << 20;

/// A frame as it is read: the last batch may lie past [`FRAME_BYTES`], with what makes its records entries. A header that
/// states more is damaged.
pub const FRAME_MOST_BYTES: usize = FRAME_BYTES + 4 * EVIDENCE_BATCH_BYTES + (4 << 20);

/// Bytes of entries that are acknowledged and not yet in the public files. Past it senders wait for the publisher; if it cannot
/// write, they are told `not_durable`. It is held in memory, and written anew after a crash: with a frame more and its tiles it is
/// to be less than [`grace_log::limits::UNSEALED_BYTES`]. The larger, the fewer and larger the publications. Small
/// in this crate's tests.
pub const UNPUBLISHED_BYTES: usize = if cfg!(test) { 1 << 20 } else { 32 << 20 };

/// Each of the two pending segments, written in advance: overwriting blocks that are there costs half of what new ones do, and no
/// change of the file's metadata. Past it a segment grows while neither can be begun anew. Small in this crate's tests, so that a
/// few entries fill it.
pub const SEGMENT_BYTES: u64 = if cfg!(test) { 4 << 10 } else { 1 << 20 };

/// Batches that wait for the sealer. When it is full, a batch from the bus is answered `busy`, and a caller in the same process
/// waits.
pub const BATCHES_WAITING: usize = 4096;

/// Bytes of batches that wait for the sealer; as above.
pub const BATCHES_WAITING_BYTES: usize = 8 << 20;

/// Journals that the log knows. A component gets a new one only when its journal was set aside, so a thousand components could do
/// that thirty times. A batch of a further one is refused.
pub const SOURCES: usize = 32_768;

/// Entries between two snapshots of the cursors: a start reads as many entries, which takes some tens of milliseconds.
pub const SNAPSHOT_ENTRIES: u64 = 65_536;

/// The snapshot of the cursors: [`SOURCES`] of the longest names. A longer file is damaged.
pub const SNAPSHOT_BYTES: usize = 4 << 20;

/// A key's file.
pub const KEY_FILE_BYTES: usize = 4096;

/// From the end of a publication to the next one: its half a dozen syncs hold up those of the frames and of every journal on the same
/// disk, and what waits for one goes into one. After a longer rest the public files are brought up at once.
pub const PUBLISH_PAUSE: Duration = Duration::from_millis(200);

/// Bytes of entries that are published without a pause. Each publication replaces half a dozen partial files, and what was removed lately makes
/// new files dear (ext4 passes over such inodes one by one): so not before there are some 50 full bundles to write as well. Less
/// than [`UNPUBLISHED_BYTES`], so that nobody who waits for room waits for a pause.
pub const PUBLISH_BYTES: usize = UNPUBLISHED_BYTES / 4;

/// Before a publication that failed is tried again. Room on a disk comes back at no particular time, and trying costs a few writes.
pub const PUBLISH_RETRY: Duration = Duration::from_millis(250);

/// The longest that the sealer waits for more batches before it seals, however slow the disk is. It is all that an entry ever waits
/// for anything but the disk: for the frame before its own, and where too much is unpublished, for the public files.
pub const GATHER: Duration = Duration::from_millis(1);

/// Between two announcements of a checkpoint on the bus. The last one is always announced.
pub const ANNOUNCE: Duration = Duration::from_millis(200);

/// A buffer larger than this is given back after use, so that one burst does not stay in memory.
pub const KEPT_BUFFER_BYTES: usize = 256 << 10;
