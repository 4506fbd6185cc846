//! The bounds of a journal, each with its reason and what happens when it is reached.

/// One record: sixteen times the largest event payload, so that an event always fits with its reasons and the records
/// of a batch fit in memory. A larger one is refused.
pub const RECORD_BYTES: usize = 16 << 20;

/// One snapshot. SQLite's own bound on a value is 1 GB; a kernel whose state nears a quarter of that needs another
/// design. A larger one is refused.
pub const SNAPSHOT_BYTES: usize = 256 << 20;

/// Snapshots kept: if the newest is damaged, an older one with a longer replay does. The oldest beyond it is dropped.
pub const SNAPSHOTS_KEPT: u32 = 4;

/// Page cache of a reader, KiB. It reads forward and never looks back, so little is enough; a process has a reader for each of
/// its journals and some thousand KiB in all. A record larger than it is read all the same.
pub const READER_CACHE_KIB: i32 = 128;

/// Times that a reader opens a journal which is being replaced at that moment, before it gives up and reports that.
pub const REOPENINGS: u32 = 5;

/// Pages of 4 KiB in a journal's log, and as many more each time, at which they are folded into its file: SQLite's own figure, a few
/// hundred appends.
pub const JOURNAL_LOG_PAGES: i32 = 1000;

/// Page cache of a narrative database, KiB: room for the inner pages of its indexes at a million rows, in a kernel that is to stay under 4 MiB.
pub const NARRATIVE_CACHE_KIB: i32 = 2048;

/// Pages of 4 KiB in a narrative database's log before they are folded into the file. A row touches a dozen pages, which the next rows touch
/// again: the longer the log, the fewer times each is written. Past it a commit takes longer, and readers that are in the way put it off.
pub const NARRATIVE_LOG_PAGES: i32 = 4000;

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
