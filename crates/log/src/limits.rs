//! Every bound of the log, with its reason and what happens when it is reached.

/// One entry: an entry bundle prefixes each with 16 bits of length (C2SP tlog-tiles). A longer one is refused; the
/// caller stores it elsewhere and logs its digest.
pub const ENTRY_BYTES: usize = u16::MAX as usize;

/// Hashes in a full tile and entries in a full bundle: tiles of height 8.
pub const TILE_WIDTH: u64 = 256;

/// A full tile.
pub const TILE_BYTES: usize = TILE_WIDTH as usize * 32;

/// The longest entry bundle there can be. A longer file is a fault.
pub const BUNDLE_BYTES: usize = TILE_WIDTH as usize * (2 + ENTRY_BYTES);

/// Entries in a log: a thousand million a second for a century is 2⁶²; below it no shift or sum overflows. A checkpoint
/// that states more is malformed.
pub const TREE_SIZE: u64 = 1 << 62;

/// Hashes in a proof: one or two for each level of a tree of [`TREE_SIZE`]. A longer proof is refused unread.
pub const PROOF_HASHES: usize = 128;

/// Entries and tiles of one batch that wait for their seal, in bytes of full bundles: some 200,000 entries of 300 bytes.
/// Past it [`crate::append::Appender::append`] refuses until the batch is sealed, so that a caller who forgets to
/// seal meets an error and not the end of the memory.
pub const UNSEALED_BYTES: usize = 64 << 20;

/// Hashes in a consistency proof for a witness (C2SP tlog-witness). A client must not send more, and no tree needs more.
pub const WITNESS_PROOF_HASHES: usize = 63;

/// A signed note. C2SP asks verifiers to accept 16 signatures of up to 5 kB; this is twice that, and room for
/// text. A longer one is refused unread.
pub const NOTE_BYTES: usize = 256 << 10;

/// Signatures on a note: the log's, its successor's key, and many witnesses. More are refused, as each costs a search.
pub const NOTE_SIGNATURES: usize = 64;

/// A key's name, and a checkpoint's origin: schema-less URLs. A longer one is refused.
pub const NAME_BYTES: usize = 255;

/// A `.tlog-proof` file: its note, [`PROOF_HASHES`] lines of 45 bytes, and some opaque extra data. Longer is refused.
pub const PROOF_FILE_BYTES: usize = NOTE_BYTES + (64 << 10);

/// Extra data in a `.tlog-proof` file, decoded. More is refused.
pub const PROOF_EXTRA_BYTES: usize = 32 << 10;

/// Faults that one verification reports. It gives up there: a log that is all wrong would give millions, and a checkpoint can
/// state more entries than anyone could look for.
pub const FAULTS: usize = 1000;
