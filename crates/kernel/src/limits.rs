//! The bounds of a kernel's host, each with its reason and what happens when it is reached.

use std::time::Duration;

/// Commands decided for one sync. More would only add latency: at this size the sync is a small part of the cost. The
/// rest waits for the next batch.
pub const BATCH_COMMANDS: usize = 1024;

/// Bytes appended in one sync, past which a batch takes no further command.
pub const BATCH_BYTES: usize = 4 << 20;

/// The longest that a batch waits for commands that are expected at once, however slow the disk is.
pub const GATHER: Duration = Duration::from_millis(1);

/// Commands that wait for the host. When it is full, a command from the bus is answered `busy`, and a caller in the
/// same process waits.
pub const COMMANDS_WAITING: usize = 4096;

/// Batches that the host has made durable and the process shell has not handled yet. When it is full, the host waits.
pub const RELEASES_WAITING: usize = 64;

/// Answers that wait to be handed to the bus. When it is full, which takes a bus that is gone or stuck, further ones are dropped and counted:
/// who waits for one asks again under the same key.
pub const ANSWERS_WAITING: usize = 8192;

/// Batches of events that wait to be handed to the bus. Further ones are dropped and counted; they stay in the journal.
pub const EVENTS_WAITING: usize = 256;

/// One journal entry: an event of the largest size with its reasons, so that it can be shipped whole. A decision with a
/// larger one is refused.
pub const ENTRY_BYTES: usize = EVIDENCE_RECORD_BYTES;

/// The body of a batch of evidence: half of what the bus takes by default, less where it takes less. It costs a sync of the sink for
/// some 1,500 records of the usual 300 bytes. Further records wait for the next batch.
pub const EVIDENCE_BATCH_BYTES: usize = 512 << 10;

/// Records in a batch of evidence, so that many small ones cannot make a sink's bookkeeping large. A larger batch is refused.
pub const EVIDENCE_BATCH_RECORDS: usize = 8192;

/// One record in a batch: what a NATS server takes in one message by default, the embedded one too, less
/// [`EVIDENCE_HEAD_BYTES`]. A larger one is never shipped; none can be made, since [`ENTRY_BYTES`] is this.
pub const EVIDENCE_RECORD_BYTES: usize = (1 << 20) - EVIDENCE_HEAD_BYTES;

/// Room for the headers of a batch and the length of a record.
pub const EVIDENCE_HEAD_BYTES: usize = 1024;

/// Batches under way to one sink: while it syncs one, the next is on its way. More would only make the sink's queue longer.
pub const EVIDENCE_FLIGHTS: usize = 2;

/// Least time between two batches to one sink, unless the first was full: records of this long share a batch and a sync of the
/// sink's, which holds up the syncs of every journal on the same disk. It is half of the 200 ms within which the log seals; what comes
/// after a rest is sent at once.
pub const EVIDENCE_GATHER: Duration = Duration::from_millis(100);

/// Evidence that is this old no longer lets the decisions of its process go first where processors are short. So long may a burst run at nearly
/// the speed that it has without evidence; then the two share what there is, and whoever looks for what happened just now waits for
/// seconds, not for the end of the load.
pub const EVIDENCE_LATE: Duration = Duration::from_secs(5);

/// Of the time since it was last asked, what the threads of a process have waited for a processor, all together, past which processors are
/// short. Less is what any two threads that wake each other cost.
pub const EVIDENCE_CONTENDED: f64 = 0.1;

/// The least time over which that is measured; until then the last answer holds.
pub const EVIDENCE_CONTENDED_OVER: Duration = Duration::from_millis(20);

/// By how much the keepers of evidence are nicer than those who decide: a third of the weight, so that a thread of theirs gets a quarter of a
/// processor that it shares with one that decides all the time. With twice as much the decisions gain nothing more.
pub const EVIDENCE_NICE: i32 = 5;

/// The turns of who decides, and of who carries messages: the shortest that the scheduler knows. What they do takes a tenth of a millisecond, and
/// the next one on the way waits for it.
pub const SHORT_TURN: Duration = Duration::from_micros(100);

/// The turns of the keepers of evidence: the longest that the scheduler knows. Whoever wakes up, with the usual turns or with short ones, runs at
/// once, and does not wait until a keeper has got through its batch.
pub const LONG_TURN: Duration = Duration::from_millis(100);

/// How long a sink may take for a batch, seal and sync included: five times the log's 200 ms. Past it the batch counts as lost, as
/// when the sink was killed with it, and the sink is asked where it stands; one that was only slow skips what comes twice.
pub const EVIDENCE_REPLY: Duration = Duration::from_secs(1);

/// First and longest wait before a sink that did not answer is asked again; it doubles each time, less a random half. So
/// shipping goes on within two seconds of its return, and a dozen components that wait for it ask six times a second.
pub const EVIDENCE_RETRY_FIRST: Duration = Duration::from_millis(50);
/// See [`EVIDENCE_RETRY_FIRST`].
pub const EVIDENCE_RETRY_LONGEST: Duration = Duration::from_secs(2);

/// A sink that has not answered for this long is said to be away. A restart takes less.
pub const EVIDENCE_AWAY: Duration = Duration::from_secs(3);

/// A sink to which there is nothing to send is asked this often where it stands: one that lost records while nothing was written is
/// found out.
pub const EVIDENCE_RECHECK: Duration = Duration::from_secs(30);

/// A journal whose writer says nothing is looked at this often.
pub const EVIDENCE_POLL: Duration = Duration::from_secs(5);

/// Between two metrics of one component's shipping; and the least, where things change.
pub const EVIDENCE_METRIC: Duration = Duration::from_secs(2);
/// See [`EVIDENCE_METRIC`].
pub const EVIDENCE_METRIC_LEAST: Duration = Duration::from_millis(500);

/// How long a component that ends goes on shipping to sinks that answer, a few times [`EVIDENCE_REPLY`]. What is left then is shipped at its
/// next start.
pub const EVIDENCE_FINISH: Duration = Duration::from_secs(3);

/// What of the disk is kept for emergencies: the records of them, the log's seals over those, and the narratives of both,
/// which are some hundred KiB for each of two dozen components, ten times over; on a small device a sixteenth of it. Below that, commands are
/// refused with [`HostError::DiskReserve`](crate::HostError::DiskReserve).
pub const DISK_RESERVE_BYTES: u64 = 64 << 20;
/// See [`DISK_RESERVE_BYTES`].
pub const DISK_RESERVE_PART: u64 = 16;

/// Least time between two looks at the room on the disk. Whoever fills it at 100 MB a second has not eaten the reserve between two.
pub const ROOM_CHECK: Duration = Duration::from_millis(250);

/// An idempotency key: room for a UUID or an id of ours with a prefix. A longer one is refused.
pub const KEY_BYTES: usize = 128;

/// Answers remembered by key: a sender that retries for a minute at the full rate of one still finds its answer. The
/// oldest is forgotten first; a retry after that is decided anew.
pub const KEYS: usize = 8192;

/// Bytes of remembered keys and answers, so that large answers cannot fill the memory. The oldest is forgotten first.
pub const KEYS_BYTES: usize = 2 << 20;

/// Events between two snapshots, at least: a replay of so many takes some ten milliseconds. With a state that is larger than a quarter of so
/// many events, it is four times as many bytes of events as the last snapshot had, of which the last three times are at most
/// [`SNAPSHOT_SLACK_BYTES`].
pub const SNAPSHOT_EVENTS: u64 = 4096;

/// How many bytes of events may lie behind the last snapshot beyond its own size: a start takes some 0.2 s longer by them. Writing a
/// state down costs as much as the decisions of so many bytes as it has, and all commands wait for that.
pub const SNAPSHOT_SLACK_BYTES: u64 = 32 << 20;

/// A kernel whose control plane and guardian are both gone for this long ends by itself. A new control plane is there
/// within a second; thirty leave room for a machine under stress.
pub const ORPHAN: Duration = Duration::from_secs(30);

/// Time between two signs of life where no watchdog asks for more.
pub const BEAT_DEFAULT: Duration = Duration::from_secs(5);

/// How long the last messages may take on their way out at shutdown; after that the process ends without them.
pub const FLUSH: Duration = Duration::from_secs(2);

/// Reasons of one ballot: a voter has one view, and a handful of facts say what it sees. Further ones are not told.
pub const BALLOT_REASONS: usize = 8;

/// Characters of a reason's code, and of its text, on a ballot: a sentence. What is longer is cut.
pub const BALLOT_LINE_CHARS: usize = 400;

/// Ballots that a voter remembers, so that a proposal that is told again gets the same note again: more than there are votes at a time.
pub const BALLOTS_KEPT: usize = 512;

/// How long whoever counts may take to put a voter's key on record, and the wait before it is told again.
pub const VOTER_KNOWN: Duration = Duration::from_secs(5);

/// See [`VOTER_KNOWN`].
pub const VOTER_KNOWN_AGAIN: Duration = Duration::from_secs(1);

/// Bytes of a ballot that are read: more than its reasons can have.
pub const BALLOT_BYTES: usize = 32 << 10;

/// Bytes of a key's file, at most; a key has about a hundred.
pub const KEY_FILE_BYTES: u64 = 4096;
