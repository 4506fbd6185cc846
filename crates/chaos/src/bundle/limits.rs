//! Every bound of a bundle, with its reason and what happens when it is reached.

/// A bundle's file. A run of three minutes makes some hundreds of kilobytes; a longer file is refused unread.
pub const BUNDLE_BYTES: usize = 128 << 20;

/// All files together, unpacked. More is refused by reader and writer: a small file may unpack to any size.
pub const FILES_BYTES: usize = 384 << 20;

/// Files: two for each of [`LOG_ENTRIES`], and the rest. More are refused.
pub const FILES: usize = 50_000;

/// A file's name: what fits a plain tar header. A longer one is refused.
pub const NAME_BYTES: usize = 100;

/// Base-2 logarithm of the window that the decompressor may be made to keep: 8 MiB, as zstd itself recommends for
/// decoders.
pub const WINDOW_LOG: u32 = 23;

/// Entries of the log that are put into a bundle, each with its proof. Of more, the first and the last are kept, and the bundle says
/// which are not: they can still be proved from the log itself.
pub const LOG_ENTRIES: u64 = 20_000;

/// Faults that a check of a bundle names. It goes on counting.
pub const FAULTS: usize = 100;
