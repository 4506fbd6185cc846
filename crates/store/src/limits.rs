//! The bounds of a journal, each with its reason and what happens when it is reached.

/// One record: sixteen times the largest event payload, so that an event always fits with its reasons and the records
/// of a batch fit in memory. A larger one is refused.
pub const RECORD_BYTES: usize = 16 << 20;

/// One snapshot: it is held in memory as a whole, and a kernel whose state nears a quarter of a gigabyte needs another design. A larger one
/// is refused.
pub const SNAPSHOT_BYTES: usize = 256 << 20;

/// Snapshots kept: if the newest is damaged, an older one with a longer replay does. The oldest beyond it is dropped.
pub const SNAPSHOTS_KEPT: u32 = 4;

/// Bytes that a reader reads at a time: few where little has been written since, more the longer it reads on. A record larger than that is read
/// all the same.
pub const READER_PIECE_BYTES: (usize, usize) = (16 << 10, 128 << 10);

/// Times that a reader opens a journal which is being replaced at that moment, before it gives up and reports that.
pub const REOPENINGS: u32 = 5;

/// Bytes of a journal's segments: the first is small, since most journals stay short, and each is twice as large as the one before, up to where
/// beginning one no longer costs anything that could be measured. A batch larger than a segment makes it longer.
pub const SEGMENT_BYTES: (u64, u64) = (64 << 10, 4 << 20);

/// Part of the room that is left on the device which the next segment may take beforehand: with less left it is smaller.
pub const SEGMENT_PART_OF_ROOM: u64 = 64;

/// Bytes of zeros that are written and synced at a time where a segment is made ahead. Syncs of records wait for the device behind them: for a
/// millisecond, where a segment in one piece would take dozens.
pub const ZEROS_BYTES: usize = 256 << 10;

/// Memory for a batch that is kept from one append to the next; that of a larger batch is given back.
pub const BATCH_KEPT_BYTES: usize = 1 << 20;

/// Times that a writer looks whether another one, which holds the lock only while it appends, has let go of it, a millisecond apart. One that was
/// stopped there is waited for this long; then the call fails.
pub const LOCK_TRIES: u32 = 5000;

/// Page cache of a narrative database, KiB: room for the inner pages of its indexes at a million rows, in a kernel that is to stay under 4 MiB.
pub const NARRATIVE_CACHE_KIB: i32 = 2048;

/// Bytes of a page of a narrative database. A narrative of work has some three thousand bytes: twice the usual page wastes less behind it and is
/// written with fewer calls, which takes 7 % off what it costs to take one in; still larger ones make what a small commit writes larger than
/// they save. A database that was made with other pages keeps them.
pub const NARRATIVE_PAGE_BYTES: i32 = 8 << 10;

/// Pages in a narrative database's log before they are folded into the file: 16 MiB. A row touches a dozen pages, which the next rows touch
/// again: the longer the log, the fewer times each is written. Past it a commit takes longer, and readers that are in the way put it off.
pub const NARRATIVE_LOG_PAGES: i32 = 2000;

/// Text of one narrative that is searched. Past it the end of its event is not found by its words; it is stored and shown all the same.
pub const NARRATIVE_TEXT_BYTES: usize = 64 << 10;

/// A search as a person types it. What lies behind is passed over.
pub const NARRATIVE_SEARCH_BYTES: usize = 1024;

/// Words (actors, types, places) that a writer remembers the numbers of; past it, it begins again.
pub const NARRATIVE_WORDS: usize = 4096;

/// Types that an action may mean for the index to be asked for each; past it, all rows are looked at in order.
pub const NARRATIVE_TYPES: usize = 1024;

/// Narratives in one page. A larger page is cut, and the next one goes on from there.
pub const NARRATIVE_PAGE: usize = 10_000;

/// Causes that are walked up from one event. A longer chain is shown from its end.
pub const NARRATIVE_CAUSES: usize = 1000;

/// Bytes of records that a rebuild reads at a time.
pub const REBUILD_BYTES: usize = 1 << 20;
