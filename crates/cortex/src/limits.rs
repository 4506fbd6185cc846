//! The bounds of Layer 3, each with its reason and what happens when it is reached.

use std::time::Duration;

/// One text of policies. Larger ones are refused before they are parsed.
pub const POLICY_TEXT_BYTES: usize = 1 << 20;

/// Policies in force. Each that can apply to a request is evaluated for it; more are refused.
pub const POLICIES: usize = 2000;

/// Cases that are tried, for all policies of a set together, to find those that can never take effect: less than a second. What is left over
/// is taken to be able to.
pub const POLICY_TRIES: usize = 100_000;

/// A charter's text. Larger ones are refused before they are parsed.
pub const CHARTER_BYTES: usize = 256 << 10;

/// Names in a request: an actor's, a type's, a target's. Longer ones are refused: they would be kept in every record.
pub const NAME_BYTES: usize = 128;

/// Errors of one text that are told. Nobody reads more at a time.
pub const FAULTS: usize = 50;

/// Intents in one command, as many as the task manager takes. A larger batch is refused.
pub const BATCH: usize = 1024;

/// Rows of an answer to a query.
pub const ROWS: usize = 1000;

/// Bytes of intents that are put on record together: all of their names lie within the text of a narrative that is searched. What comes behind
/// has a record of its own.
pub const ALIKE_BYTES: usize = 32 << 10;

/// What an intent takes there beside its payload and its key: its name and its digest.
pub const ALIKE_LEAST_BYTES: usize = 160;

/// Voters of unified logic, at most: a ballot each is read whenever a vote is counted.
pub const VOTERS: usize = 64;
/// Fewer may not decide anything: with less than five views, three that err the same way are a majority.
pub const LEAST_VOTERS: usize = 5;
/// Voters that have to say yes or no.
pub const QUORUM: usize = 3;
/// How long a vote is open. Voters answer within a second; one that was killed is back within a few, on a busy machine within ten.
pub const VOTE_WAIT: Duration = Duration::from_secs(20);
/// Votes under way at a time: each is told to every voter every second. A further intent that takes a vote is refused as `overloaded`.
pub const VOTES: usize = 500;
/// Between two tellings of what is open.
pub const VOTE_TOLD: Duration = Duration::from_secs(1);
/// Ballots of one vote that are refused on record. A further one is refused without.
pub const BALLOTS_REFUSED: usize = 16;
/// Weight of one voter, at most: sums stay far from any overflow.
pub const VOTE_WEIGHT: u32 = 1000;

/// Intents that wait for people, those that the task manager has not taken yet, and cases that governance does not have yet: so many of
/// each. Further intents are refused as `overloaded` rather than decided and lost sight of.
pub const OPEN: usize = 10_000;

/// Bytes of the payloads that are held for those. Further intents are refused as `overloaded`.
pub const HELD_BYTES: usize = 128 << 20;

/// Intents that are over and can still be asked about, the newest of them. What is older is told by `grace why`.
pub const DECIDED: usize = 4096;

/// Idempotency keys that are known, the newest of them, as many as the task manager knows. An older one is decided anew.
pub const KEYS: usize = 1 << 18;

/// An idempotency key. A longer one is refused.
pub const KEY_BYTES: usize = 128;

/// A payload, as much as the task manager takes. A larger one is refused.
pub const PAYLOAD_BYTES: usize = 256 << 10;

/// Reasons that somebody else may add to a record. More are cut.
pub const REASONS: usize = 8;

/// Characters of a reason that comes from elsewhere. What is longer is cut.
pub const REASON_CHARS: usize = 4000;

/// Emergency grants that are live at a time. More are refused.
pub const GRANTS: usize = 100;

/// How long an intent waits for people. After that it is denied: what was wanted a day ago is to be wanted again.
pub const APPROVAL_WAIT: Duration = Duration::from_secs(86_400);

/// Requests that wait for a flight. When it is full, a further one is answered `busy`.
pub const REQUESTS: usize = 4096;

/// Flights of the intake that are under way at a time: one is gathered, one is decided, one syncs, one is on its way
/// back. More would only make the batches smaller.
pub const FLIGHTS: usize = 4;

/// Requests to the task manager that are under way at a time.
pub const HAND_FLIGHTS: usize = 4;

/// Bytes of intents or cases in one request, half of what the bus takes by default; a single larger one goes by itself.
pub const REQUEST_BYTES: usize = 512 << 10;

/// What an intent or a case weighs in a request beside its payload: names, reasons, and what the bus adds.
pub const SUBMISSION_BYTES: usize = 2048;

/// Cases in one request to governance.
pub const CASES: usize = 256;

/// How long the task manager may take to say whether it has room for an intent. After that it is decided without its word, and handed on
/// when there is room.
pub const CHECK_WAIT: Duration = Duration::from_secs(1);

/// How long an answer waits at most for the task manager to take what is allowed, where whoever asks lets it wait.
pub const HAND_WAIT: Duration = Duration::from_secs(2);

/// While it waits, it is looked at this often whether it was taken without anybody having heard.
pub const HAND_LOOK: Duration = Duration::from_millis(500);

/// How long what the task manager has taken is gathered before it is put on record that it has, unless somebody asks. Until then the cortex would
/// hand it on again after a restart, which changes nothing there.
pub const SETTLE_GATHER: Duration = Duration::from_millis(50);

/// How long an answer on a road may take before the same is sent again; at once where the task manager says that it is back.
pub const ROAD_ANSWER: Duration = Duration::from_secs(5);

/// The wait before what was not answered is sent again.
pub const ROAD_AGAIN: Duration = Duration::from_millis(200);

/// The wait before what there was no room for, or nobody to take it, is sent again.
pub const ROOM_AGAIN: Duration = Duration::from_secs(1);

/// How often it is looked whether something is due by time: waits have days, grants have minutes.
pub const TICK_EVERY: Duration = Duration::from_secs(1);

/// By how much the wall clock has to go on more than the clock that does not jump for both to be read anew: it was set, or the machine slept.
/// Between ticks they drift apart by far less.
pub const CLOCK_STEP: Duration = Duration::from_secs(1);

/// Bytes of an approver's name. It stands in every signature and in every record of an approval.
pub const APPROVER_BYTES: usize = 63;

/// People whose yes a policy may ask for. Past it, what waits would wait for ever; a parliament is not what approves a deployment.
pub const PEOPLE: u8 = 9;

/// Approvers. Each can stop everything that waits; more people than this are not asked in earnest.
pub const APPROVERS: usize = 1000;

/// Approvals that wait, those included whose verdicts the cortex has not taken, and reviews that are owed. More are refused: the cortex
/// keeps them until there is room.
pub const OPEN_CASES: usize = 10_000;

/// Closed approvals, reviews and emergencies that are still shown each. Older ones are in the narratives.
pub const CLOSED: usize = 1000;

/// Rows of a page, and verdicts in one message: with payloads of 64 KiB at most they stay far below what a message may hold.
pub const PAGE: usize = 100;

/// Bytes of the rows of a page. The row that crosses it is the last one.
pub const PAGE_BYTES: usize = 512 << 10;

/// Generations that are kept, to compare with and to go back to. The one in force is always among them.
pub const GENERATIONS: usize = 20;

/// Policies and charter of a generation together. They travel in one message of at most 1 MiB, where each line end and each quote takes two
/// bytes.
pub const GENERATION_BYTES: usize = 384 << 10;

/// How far the time in an approver's signature may lie from governance's own. An answer that was made long ago and kept is not taken; clocks
/// of two machines of one team differ by less.
pub const ANSWER_AGE: Duration = Duration::from_secs(300);

/// The longest leave to act in an emergency. Whoever needs more declares it again, awake.
pub const EMERGENCY: Duration = Duration::from_secs(4 * 3600);

/// Emergencies at a time. More are refused: they would all be checked with every intent of tier 4.
pub const EMERGENCIES: usize = 100;

/// Bytes of a reason or a note. Longer ones are refused: they stand in every record.
pub const WORDS_BYTES: usize = 4096;

/// Between two looks of governance at what is over by now and what the cortex has not taken yet.
pub const GOVERNANCE_LOOK: Duration = Duration::from_millis(500);

/// Between two questions whether the control plane is in an emergency. Its events are heard at once; this finds what was missed.
pub const EMERGENCY_LOOK: Duration = Duration::from_secs(5);

/// How long governance waits for an answer of the cortex, and of the control plane, before it asks again.
pub const GOVERNANCE_ANSWER: Duration = Duration::from_secs(5);

/// Actors and targets each that have a place of their own in the permission matrix, because a policy names them. How many are left out is told:
/// their product with everything else is asked one by one.
pub const MATRIX_NAMES: usize = 32;

/// Bytes of a file of cases, and how many it may hold: people read what fails of them.
pub const CASES_BYTES: usize = 1 << 20;
/// See [`CASES_BYTES`].
pub const CASES_WRITTEN: usize = 5000;

/// Groups of intents that a replay tells apart: nobody reads more. What differs beyond is counted.
pub const REPLAY_GROUPS: usize = 1000;

/// Bytes of the file of a public key. A longer one is none.
pub const PUBLIC_KEY_BYTES: u64 = 1024;
