//! Every bound of this crate, with the reason for its number and what happens when it is reached.

use std::time::Duration;

/// Files that a manifest includes. With their largest size they stay below 64 MiB, which is held while they are read; further ones are a
/// fault of the manifest.
pub const INCLUDED: usize = 64;

/// Names that a pattern of `include` may mean while it is followed, folders included: a pattern such as `/*/*` must not walk a disk. More
/// are a fault of the manifest.
pub const LISTED: usize = 1000;

/// Types of intents in one task manager. More are refused when they are defined.
pub const TYPES: usize = 1000;

/// A name of an intent type, a task, a kind of task or a label: it becomes a word of a subject. 63 is the bound of a DNS label.
pub const NAME_BYTES: usize = 63;

/// Tasks in one plan, compensations included. A task's place in its plan is a 16-bit number; nobody reads a plan of more. A plan
/// with more is refused.
pub const PLAN_TASKS: usize = 256;

/// How deep sequences and parallels stand inside each other. The reader recurses; people write three.
pub const PLAN_DEPTH: usize = 16;

/// Dependencies in one plan after sequences are spelled out: a sequence of two parallels of 64 has 4,096. Each costs a step when
/// a task succeeds. A plan with more is refused; a task between the two parallels makes it small.
pub const PLAN_DEPENDENCIES: usize = 8192;

/// The definition of one type, as JSON. Larger ones are refused.
pub const DEFINITION_BYTES: usize = 64 << 10;

/// Parts of a payload schema. More are refused.
pub const SCHEMA_NODES: usize = 2000;

/// How deep a payload's values are checked, `$ref` included. It recurses; a payload that goes deeper is refused.
pub const SCHEMA_DEPTH: usize = 64;

/// Steps of one check of a payload: `anyOf` inside `anyOf` multiplies them. A payload that needs more is refused.
pub const SCHEMA_STEPS: usize = 200_000;

/// Violations told about one payload. Nobody reads more at a time; the rest is counted as one more.
pub const VIOLATIONS: usize = 50;

/// An intent's payload as JSON. It is kept in memory and in the journal until the intent is forgotten; larger things belong in a
/// file whose path is the payload. Larger ones are refused.
pub const PAYLOAD_BYTES: usize = 256 << 10;

/// A task's input after its expressions are evaluated. A task with a larger one fails for good.
pub const INPUT_BYTES: usize = 256 << 10;

/// What a worker may answer about one task. A larger answer is refused, and the worker may answer again with a smaller one.
pub const OUTPUT_BYTES: usize = 64 << 10;

/// Why a task failed, in characters. The rest is cut.
pub const REASON_CHARS: usize = 1000;

/// An idempotency key of an intent, an actor's name, a concurrency key. Longer ones are refused.
pub const KEY_BYTES: usize = 128;

/// Attempts that a plan may give a task.
pub const ATTEMPTS: u16 = 100;

/// Attempts that ended because the worker was lost, before the task is a dead letter: a task that kills its workers must not take
/// all of them for ever, and a task that is merely unlucky while half of the workers die each second gets through.
pub const LOSSES: u16 = 32;

/// Longest timeout, delay, back-off and deadline, milliseconds: 31 days.
pub const LONGEST_MS: u64 = 31 * 86_400_000;

/// Hints that wait to be given: as many as two batches have. Further ones are not given; nobody relies on them.
pub const HINTS: usize = 2048;

/// How long what was submitted waits, while no worker waits for a task, for a worker who says something: they share a sync.
pub const SUBMIT_GATHER: Duration = Duration::from_millis(1);

/// Intents, leases or answers in one command: enough to share a sync among, few enough that no one waits long behind it. A larger
/// batch is refused.
pub const BATCH: usize = 1024;

/// Outputs in one `tasks_done` event, bytes, below the host's bound on an entry. Workers that say more at the same time share several.
pub const EVENT_PAYLOAD_BYTES: usize = 256 << 10;

/// Intents in one `submitted` event, bytes. A batch of more makes several events: what is larger than an entry of the tamper-evident log
/// (65,535 bytes) is kept there in a file of its own, which costs more than the records.
pub const SUBMITTED_BYTES: usize = 48 << 10;

/// Inputs in the answer to one lease, bytes: below what the bus takes in one message. The rest waits for the next lease.
pub const LEASE_BYTES: usize = 512 << 10;

/// Workers known at a time. Another one is refused until one leaves or is lost.
pub const WORKERS: usize = 1024;

/// Slots of one worker. More are refused.
pub const SLOTS: u32 = 10_000;

/// Kinds, and labels, that one worker may offer. More are refused.
pub const OFFERS: usize = 64;

/// Tasks that are not over, blocked and delayed ones included: at half a kilobyte each they fit in memory. Every submission past
/// it is refused, whatever its priority.
pub const TASKS: usize = 1 << 20;

/// Waiting tasks at which a warning is recorded. See [`BACKLOG_CRITICAL`].
pub const BACKLOG_WARNING: u64 = 1000;

/// Waiting tasks at which the backlog is critical and intents of low priority are refused, with the reason. The level falls again
/// at four fifths of a threshold, so that it does not flap.
pub const BACKLOG_CRITICAL: u64 = 5000;

/// Waiting tasks at which intents of normal priority are refused too. High and critical ones are taken up to [`TASKS`].
pub const BACKLOG_NORMAL: u64 = 500_000;

/// Intents that are over and can still be shown, by number and by bytes of payloads and outputs. The oldest is forgotten first; its
/// records stay in the journal.
pub const ENDED: usize = 4096;
/// See [`ENDED`].
pub const ENDED_BYTES: usize = 8 << 20;

/// Intents with a dead letter that are kept for a retry, counted apart so that successes do not push them out; and the bytes that
/// they hold. The oldest is forgotten first.
pub const DEAD_LETTERS: usize = 10_000;
/// See [`DEAD_LETTERS`].
pub const DEAD_LETTERS_BYTES: usize = 64 << 20;

/// Idempotency keys of intents that were forgotten: some ten seconds at the full rate, weeks at a usual one. The oldest is forgotten
/// first; an intent that comes again after that is taken anew.
pub const PAST_KEYS: usize = 1 << 18;

/// Timers handled in one tick. The reply says when there are more.
pub const TICK: usize = 1024;

/// A worker that has not spoken for this long is lost and its tasks go to others: three missed signs of life, as with a process's
/// watchdog. It is told to speak three times as often.
pub const WORKER_SILENCE_MS: u64 = 15_000;

/// How long a lease outlives its task's timeout: the worker ends the task at its timeout and needs a moment to say so.
pub const LEASE_GRACE_MS: u64 = 5000;

/// A worker's refused answers are recorded once in this time. It hears the reason each time; a worker that repeats itself must not
/// fill the journal.
pub const REFUSALS_EVERY_MS: u64 = 1000;

/// Rows in one answer to a query. More are cut, and the answer says so.
pub const ROWS: usize = 1000;

// Expressions.

/// A CEL expression. The parser's work grows with it; past this it is refused.
pub const EXPRESSION_BYTES: usize = 4096;

/// Brackets and choices (`?:`) inside each other in a CEL expression: the parser recurses for each, through a dozen functions.
/// Deeper ones are refused before they are parsed.
pub const EXPRESSION_NESTING: usize = 24;

/// Dots, `[`, `in` and operators but `&&` and `||` in a CEL expression: each can make the tree one level deeper, and the parser and
/// the evaluator recurse. The stack of a thread takes twice as many. More are refused.
pub const EXPRESSION_CHAIN: usize = 300;

/// Loops (`all`, `exists`, `map`, `filter`) inside loops of a CEL expression. Deeper ones are refused: what they would do is never
/// meant, and [`EXPRESSION_WORK`] would cut most of them short.
pub const EXPRESSION_LOOPS: usize = 2;

/// Steps of one evaluation: nodes evaluated in loops, values passed, 64 bytes of text each. A loop over the largest event's ten
/// thousand entries takes two thirds of it. Past it the evaluation fails.
pub const EXPRESSION_WORK: u64 = 300_000;

/// A text with `${ CEL }` in it. Larger ones are refused.
pub const TEMPLATE_BYTES: usize = 64 << 10;

/// What a template or a mapping gives, as JSON: half of the host's bound on an entry, so that a delivery with it can be recorded. Past
/// it, it gives nothing and fails.
pub const RENDERED_BYTES: usize = 512 << 10;

/// Characters of an evaluation's failure that are told. The library's errors quote whole values.
pub const DETAIL_CHARS: usize = 400;

/// Faults reported about one document of templates. Past it the rest is dropped: nobody reads more in one go.
pub const FAULTS: usize = 50;

// Deliveries of triggers and event policies.

/// Deliveries that may wait in one lane. At about a kilobyte each they fit in memory.
pub const LANE_QUEUE: u32 = 100_000;

/// Deliveries of one lane under way at a time. More do not begin until some have ended.
pub const LANE_FLIGHTS: u32 = 4096;

/// Dead letters of one lane. When they are full too, what would become one is not acknowledged, so that its sender keeps it; others
/// that want the same event have it all the same.
pub const LANE_DEAD_LETTERS: usize = 10_000;

/// Deliveries begun in one decision. The rest begins with the next.
pub const STARTS: usize = 512;

/// `count` and `burst` of a rate: more than the bus carries.
pub const RATE_COUNT: u32 = 1_000_000;

/// Type and subject of an event to be published, bytes: a subject of the bus is made of them.
pub const SUBJECT_BYTES: usize = 255;

/// Work of all lanes of one kernel, dead letters included, bytes. When it is full, events are not acknowledged, so that their
/// senders keep them.
pub const DELIVERY_BYTES: u64 = 256 << 20;

/// Work of one lane, dead letters included, bytes: a quarter of [`DELIVERY_BYTES`], so that one that is slow leaves room for others. When it
/// is full, it is as when its dead letters are.
pub const LANE_BYTES: u64 = DELIVERY_BYTES / 4;

/// Work in one recorded event, bytes. More is recorded as several events, each below the host's bound on an entry.
pub const RECORD_BYTES: usize = 256 << 10;

// Triggers and event policies.

/// Subscriptions of one trigger mesh. More are refused.
pub const SUBSCRIPTIONS: usize = 10_000;

/// Event types that one subscription or policy names. More are refused.
pub const PATTERNS: usize = 64;

/// Events in one command: enough to share a sync among. A larger batch is refused.
pub const EVENTS: usize = 1024;

/// Events that are remembered so that a copy is known as one. The oldest is forgotten first; a copy that comes later than that is
/// taken for a new event.
pub const SEEN: usize = 200_000;

/// How long an event is remembered at most. A sender that retries does so within minutes.
pub const SEEN_FOR_MS: u64 = 600_000;

/// A filter that cannot be evaluated, or a chain that is stopped, is recorded once in this time for each subscription, so that it does
/// not fill the journal.
pub const FAILURES_EVERY_MS: u64 = 60_000;

// Schedules.

/// Schedules. At under a kilobyte each they fit in memory. More are refused.
pub const SCHEDULES: usize = 200_000;

/// A cron pattern. The longest that makes sense lists every minute of an hour.
pub const CRON_BYTES: usize = 256;

/// Fixed times of the day in one cron pattern that are looked at one by one in a night when the clocks change: every minute of a
/// day. A pattern with more is taken for one that follows elapsed time.
pub const CRON_TIMES: usize = 1440;

/// Cron patterns that a thread keeps parsed, at some ten kilobytes each. When there are more, all are forgotten and parsed again.
pub const CRON_KNOWN: usize = 1024;

/// The last moment that is computed, milliseconds since 1970: the year 2200. Later occurrences do not exist.
pub const LAST_MS: u64 = 7_258_118_400_000;

/// The shortest time between two occurrences of `every`, milliseconds. A shorter one is refused: it would be the journal's load.
pub const SHORTEST_EVERY_MS: u64 = 1000;

/// The longest jitter and grace, milliseconds: a day.
pub const LONGEST_LATE_MS: u64 = 86_400_000;

/// Late occurrences of one schedule that are counted one by one. What lies between the last of them and the present is recorded as
/// "more": a schedule of every second after a year away has millions, and nobody needs their number.
pub const MISFIRES_COUNTED: usize = 1000;

/// Late occurrences that `run_all` fires after one absence, oldest first. The rest is recorded and skipped.
pub const MISFIRE_RUNS: usize = 100;

/// A firing that comes later than this after its moment counts as late, milliseconds. Twenty times what firing costs at the worst on a
/// busy machine: below it nobody would call a schedule late.
pub const FIRING_LATE_MS: u64 = 1000;

/// Occurrences of one schedule that fire in one tick. The rest fires with the next, at once.
pub const FIRINGS: usize = 200;

/// Times that are computed ahead for somebody who asks.
pub const UPCOMING: usize = 1000;

// Event policies.

/// Policies. More are refused.
pub const POLICIES: usize = 1000;

/// Things that one policy does. More are refused.
pub const POLICY_ACTIONS: usize = 16;

/// Events that a window counts for one group. Past it the count stays there: a policy asks for more than some, not for how many.
pub const WINDOW_EVENTS: usize = 1000;

/// Groups of one window. When another one comes, the one that was quiet longest is forgotten.
pub const WINDOW_GROUPS: usize = 1000;

/// A group's name in bytes. An event with a longer one is not counted, and the policy does not fire.
pub const WINDOW_GROUP_BYTES: usize = 128;

/// How many causes may lie before an event that a policy or a trigger acts upon. At this depth the chain is stopped.
pub const CASCADE_DEPTH: u32 = 10;

/// How much policies may set off because of one root event. Past it the rest is stopped: five policies a level are a thousand after
/// four levels.
pub const CASCADE_FAN_OUT: u32 = 1000;

/// Links from an effect to its cause, and root events, that are remembered to find loops; for [`CASCADE_FOR_MS`] at most. The oldest
/// is forgotten first; depth still stops a loop that is slower than that.
pub const CASCADE_LINKS: usize = 50_000;
/// See [`CASCADE_LINKS`].
pub const CASCADE_FOR_MS: u64 = 600_000;

/// How long a policy rests after its chain was stopped.
pub const CASCADE_REST_MS: u64 = 60_000;

/// How long a policy that rested has to fire once without its chain being stopped again, before it counts as mended.
pub const CASCADE_TRIAL_MS: u64 = 1000;

// The processes of the trigger mesh, the policy engine and the scheduler.

/// The longest that they sleep: how late they notice that the wall clock was set.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long an answer to a delivery may take, the receiver's sync included. Past it the delivery has failed, and is tried again.
pub const DELIVERY_ANSWER: Duration = Duration::from_secs(10);
/// Between two tries of a delivery while its receiver is away: about as long as a restart takes.
pub const DELIVERY_AGAIN: Duration = Duration::from_millis(50);

/// Requests of deliveries under way at a time. Further ones wait; a request carries up to [`BATCH`] intents, or one event.
pub const REQUESTS_UNDER_WAY: usize = 64;

/// Payloads in one request of deliveries, bytes: half of what the bus takes by default.
pub const SUBMIT_BYTES: usize = 512 << 10;

/// Between two tries to put on record what became of deliveries, while the journal cannot be written.
pub const SETTLE_RETRY: Duration = Duration::from_millis(200);

/// Events that go through the front door together, in number and in bytes of their data: they share two syncs, and are half of what the
/// bus takes by default. Further ones make the next batch.
pub const DOOR_BATCH: usize = 512;
/// See [`DOOR_BATCH`].
pub const DOOR_BATCH_BYTES: usize = 512 << 10;

/// One event as JSON: half of the host's bound on an entry, since one whose action cannot be rendered is kept whole; eight times what
/// CloudEvents asks for. A larger one is refused.
pub const DOOR_EVENT_BYTES: usize = 512 << 10;

/// Events in one request to the policy engine, bytes: below what the bus takes by default. Those past it go in another one.
pub const DOOR_REQUEST_BYTES: usize = 768 << 10;

/// Batches with events that ask for no answer and could not be taken at once. They are tried again beside the road, so that nobody
/// waits behind them; past it such events are dropped at once, which is told.
pub const DOOR_WAITING: usize = 16;

/// Batches of events under way at a time: while one is synced the next is on its way. Past it events wait in the subscription, which
/// holds some thousands and then drops, which is told.
pub const DOOR_FLIGHTS: usize = 8;

/// How often the door looks which of Grace's own events are wanted, besides when it is told: what nobody wants any more is heard no longer
/// than that.
pub const OWN_EVERY: Duration = Duration::from_secs(30);
/// How long what a subscription that was sent wants is heard while that is not on record: longer than a disk may take.
pub const OWN_FRESH: Duration = Duration::from_secs(60);

/// How long events that ask for no answer are tried again while they cannot be taken, and how often: longer than a restart of
/// the policy engine takes.
pub const DOOR_PATIENCE: Duration = Duration::from_secs(10);
/// See [`DOOR_PATIENCE`].
pub const DOOR_RETRY: Duration = Duration::from_millis(200);

/// Files of events that are taken in one round, and the size of one. More wait for the next round; a larger one is refused.
pub const FILES: usize = 256;
/// See [`FILES`].
pub const FILE_BYTES: u64 = 16 << 20;

/// Intents of firings whose end the scheduler waits for. It finds out about others by asking for those that run.
pub const FIRINGS_WATCHED: usize = 100_000;

/// How often the scheduler asks which firings still run: how late an end may be noticed whose hint was lost.
pub const FIRINGS_EVERY: Duration = Duration::from_secs(5);

// The task manager's process, and workers.

/// Between two tries to set a task manager up whose journal cannot be written: soon after there is room, and no load meanwhile.
pub const SET_UP_AGAIN: Duration = Duration::from_millis(500);

/// How often time passes for the task manager: how late a delay or a back-off can be over.
pub const TICK_EVERY: Duration = Duration::from_millis(100);

/// The longest that a lease waits for a task at the task manager. A worker that waits longer asks again; a worker that was lost
/// meanwhile finds out then.
pub const LEASE_WAIT: Duration = Duration::from_secs(30);

/// How long a worker of Grace's own lets its lease wait.
pub const WORKER_WAIT: Duration = Duration::from_secs(10);

/// How long a worker waits for an answer beyond that. Past it the question counts as lost: on a connection that broke unseen, since of a
/// task manager that was killed it hears as soon as another is in its place.
pub const WORKER_PATIENCE: Duration = Duration::from_secs(5);

/// Between two tries of a worker to reach the task manager.
pub const WORKER_RETRY: Duration = Duration::from_millis(100);

/// Tasks that a worker of Grace's own runs at a time. Most wait for a program or a service.
pub const WORKER_SLOTS: u32 = 4;

/// How long a worker that is told to end waits for its tasks. The control plane waits ten seconds before it kills; what is not
/// done by then goes back to the queue.
pub const WORKER_DRAIN: Duration = Duration::from_secs(6);

/// Of each stream of a program's output, what is kept when its task says nothing. The rest is dropped.
pub const EXEC_OUTPUT_BYTES: u64 = 8 << 10;

/// The most that a task may ask to keep of each stream: two of them fit into [`OUTPUT_BYTES`].
pub const EXEC_OUTPUT_MOST: u64 = 30 << 10;

/// What is kept of an HTTP answer's body. The rest is not read.
pub const HTTP_BODY_BYTES: u64 = 32 << 10;

/// How long the rest of a program's output is waited for when it has ended: a daemon that it left may hold the pipe for ever.
pub const EXEC_REST: Duration = Duration::from_secs(1);

// The watchdog of Layer 2.

/// How long each of those that a look asks may take: far above what an answer takes, far below the interval of looks.
pub const LOOK_WAIT: Duration = Duration::from_secs(2);

/// How often it is looked who is ready, until everybody was once. Nothing is recorded before the verdict.
pub const READINESS_LOOK: Duration = Duration::from_secs(1);

/// Looks after which an answer says nothing any more about how fast work goes: the watchdog was away.
pub const LOOKS_FRESH: u32 = 4;

/// Components that are watched: the most workers that a manifest may ask for, and the rest of Layer 2, with room. A status with
/// more is refused.
pub const WATCHED: usize = 256;
