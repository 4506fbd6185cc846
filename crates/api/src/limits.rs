//! Every bound of this crate, with the reason for its number and what happens when it is reached (law 6).

use std::time::Duration;

use grace_types::limits::EVENT_DATA_BYTES;

use crate::problem::Problem;

/// Connections at one time. Scrapers and a few senders with several connections each; a further one waits in the listen queue
/// until another ends.
pub const CONNECTIONS: usize = 256;

/// A request's headers, in bytes: all attributes of a CloudEvent at their usual lengths. Larger ones are answered with status 431.
pub const HEAD_BYTES: usize = 16 << 10;

/// Header fields of one request. More are answered with status 431.
pub const HEADERS: usize = 100;

/// From the first byte of a request (or the last answer, on a connection that is kept) to the end of its headers. Whoever takes
/// longer is cut off, so that slow senders cannot hold all connections.
pub const HEAD_TIME: Duration = Duration::from_secs(20);

/// How long the body of a request may take to arrive. 1 MiB in ten seconds is a slow modem; past it the answer is status 408.
pub const BODY_TIME: Duration = Duration::from_secs(10);

/// The body of a request with one event: the largest data that an event has, and room for its attributes around it. A larger one is
/// answered with status 413.
pub const EVENT_BODY_BYTES: usize = EVENT_DATA_BYTES + (64 << 10);

/// The body of a request with a batch. A larger one is answered with status 413.
pub const BATCH_BODY_BYTES: usize = 4 << 20;

/// Events in one batch: what the bus takes at once without a queue to speak of. A longer one is answered with status 413.
pub const BATCH_EVENTS: usize = 256;

/// Bytes of bodies that are held at one time, of all requests together. When there is no room the answer is status 503.
pub const BODIES_BYTES: usize = 16 << 20;

/// Of a body that is refused, so much is read and thrown away before the answer, and for so long, so that its sender is still there
/// to read it. One that is larger or slower is cut off.
pub const DRAINED_BYTES: usize = 8 << 20;
/// See [`DRAINED_BYTES`].
pub const DRAINED_TIME: Duration = Duration::from_secs(2);

/// Nesting of JSON in a body. Events of real systems have about ten; the bound protects whoever recurses over them later. Deeper ones
/// are answered with status 400.
pub const JSON_DEPTH: usize = 64;

/// Attributes of one event beyond those that Grace knows. More are answered with status 400.
pub const EXTENSIONS: usize = 32;

/// The name of an attribute. CloudEvents recommends at most 20; a longer one than this is answered with status 400.
pub const ATTRIBUTE_NAME_BYTES: usize = 64;

/// Events on their way to the front door at one time; further ones of the same and other requests wait for their turn, within
/// [`DURABLE_TIME`]. A fraction of what a subscription on the bus holds, so that none is dropped there.
pub const IN_FLIGHT: usize = 256;

/// How long an event may take until it is durable. A front door that is restarted is back within a second or two, and the event is
/// sent again meanwhile; past it the answer is status 503.
pub const DURABLE_TIME: Duration = Duration::from_secs(5);

/// What `Retry-After` says where nothing better is known: a restart of the front door is over by then.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Requests with a wrong token in a second, of one peer, that are answered with 401; further ones get 429. Guessing 256 bits is hopeless at any
/// rate: this keeps the log and the processor free.
pub const WRONG_TOKENS_PER_SECOND: u32 = 20;

/// How long the control plane may take to tell its status before it counts as out of reach.
pub const STATUS_TIME: Duration = Duration::from_secs(1);

/// A status of this age is good enough: probes and scrapers, however many, cost the control plane four questions a second.
pub const STATUS_FRESH: Duration = Duration::from_millis(250);

/// An answer of the control plane: a thousand components at a kilobyte each, four times over. A longer one is not read.
pub const STATUS_BYTES: u64 = 4 << 20;

/// Subjects of telemetry whose last message is kept. There are two for each of Grace's components; further ones are left out.
pub const TELEMETRY_SUBJECTS: usize = 256;

/// One message of telemetry: the readings of some thousand components. A larger one is left out.
pub const TELEMETRY_BYTES: usize = 1 << 20;

/// Telemetry that is older than this is not shown: its sender is away, and what it said may be true no longer. Four of the longest
/// rounds (15 s).
pub const TELEMETRY_AGE: Duration = Duration::from_secs(60);

/// Spans that wait for the thread that sends them. When it is full, further ones are dropped and counted.
pub const SPANS_WAITING: usize = 2048;

/// Spans in one request to an OTLP receiver.
pub const OTLP_BATCH: usize = 512;

/// How long the first span of a request waits for others.
pub const OTLP_GATHER: Duration = Duration::from_millis(500);

/// How long an OTLP receiver may take for a request. Past it, or when it refuses, the spans are dropped and counted.
pub const OTLP_TIME: Duration = Duration::from_secs(5);

/// Intents whose trace is remembered, and tasks under way of them. The oldest is forgotten: what becomes of it has no span.
pub const TRACED: usize = 4096;

/// The body of an intent: the largest payload that is taken, and room for what stands around it. A larger one is answered with status 413.
pub const INTENT_BODY_BYTES: usize = grace_cortex::limits::PAYLOAD_BYTES + (16 << 10);

/// How long an intent may take until it is decided. The cortex is restarted within a second or two, and asked again meanwhile; past it the
/// answer is status 503, and the same key tells later what became of it.
pub const ORDER_TIME: Duration = Duration::from_secs(8);

/// How long the answer to an intent that is allowed waits for the task manager to take it. Past it the intent is on its way all the same.
pub const TAKEN_TIME: Duration = Duration::from_secs(2);

/// How long a component may take for a question, a restart included. Past it the answer is status 503.
pub const ASK_TIME: Duration = Duration::from_secs(5);

/// Between two tries to ask a component that is away.
pub const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Rows of a page, where nobody says how many.
pub const PAGE: usize = 50;
/// The most rows of a page: small enough to be made between two other requests.
pub const PAGE_MOST: usize = 100;

/// Clients that follow intents at one time: half of the connections are left to everybody else. Further ones are answered with status 503.
pub const STREAMS: usize = 128;

/// Of those so many with one token: a quarter, so that no client keeps the others from following theirs. Further ones are answered with
/// status 429.
pub const STREAMS_OF_ONE: usize = STREAMS / 4;

/// Between two looks at an intent that is followed, when no hint comes.
pub const STREAM_LOOK: Duration = Duration::from_millis(500);

/// Between two signs of life on a stream: less than what proxies wait for.
pub const STREAM_BEAT: Duration = Duration::from_secs(15);

/// How long a stream lasts at most; clients come again by themselves.
pub const STREAM_TIME: Duration = Duration::from_secs(3600);

/// After which a client whose stream broke is to come again.
pub const STREAM_RETRY: Duration = Duration::from_secs(1);

/// Bytes of the name for which a token speaks: it is one word of a subject.
pub const ACTOR_BYTES: usize = 63;

/// Tokens, those that ended lately included. More are not made.
pub const TOKENS: usize = 1000;

/// The file of all tokens: a thousand of them, with every scope.
pub const TOKENS_BYTES: u64 = 1 << 20;

/// How long a token that has ended is still listed.
pub const ENDED_TOKENS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Requests in a second with a token, where its maker does not say how many.
pub const TOKEN_PER_SECOND: u32 = 100;
/// The most that its maker can give it.
pub const TOKEN_PER_SECOND_MOST: u32 = 10_000;

/// The longest that a token may last. Whoever needs one for longer makes another in time.
pub const TOKEN_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// Peers whose wrong tokens are counted one by one. Further ones share a count.
pub const GUESSERS: usize = 1024;

/// Narratives in one answer of `grace why`, and of `/v1/narratives/why`. A story that is longer is cut, and says so: nobody reads a thousand reasons in one go.
pub const WHY_NARRATIVES: usize = 1000;

/// Narratives that are read at one time. Each opens the database; further ones wait for their turn.
pub const READERS: usize = 4;

/// The body of what an approver has signed: a reason, and some lines around it. A larger one is answered with status 413.
pub const WORD_BODY_BYTES: usize = 32 << 10;

/// The body of questions whether something is allowed. A larger one is answered with status 413.
pub const EVALUATIONS_BODY_BYTES: usize = 1 << 20;

/// Questions in one request. More are answered with status 413.
pub const EVALUATIONS: usize = 100;

/// How many rows a page has.
///
/// # Errors
/// Status 400 for none and for too many.
pub(crate) fn page(asked: Option<usize>) -> Result<usize, Problem> {
    let rows = asked.unwrap_or(PAGE);
    let fits = (1..=PAGE_MOST).contains(&rows);
    fits.then_some(rows).ok_or_else(|| Problem::malformed(format!("`limit` is from 1 to {PAGE_MOST}")))
}

/// How long requests under way may take at shutdown. What is cut off has not been acknowledged.
pub const DRAIN: Duration = Duration::from_secs(2);

/// What an agent tells its hook: a whole file that is to be written stands in it. Longer input is denied.
pub const HOOK_BYTES: usize = 4 << 20;

/// A command line that is looked into. Of a longer one everything dangerous is assumed, and nothing harmless.
pub const HOOK_COMMAND_BYTES: usize = 64 << 10;

/// A tool's name, a session's and a call's: they stand in records. A longer name of a tool is denied, of the others it is left out.
pub const HOOK_NAME_BYTES: usize = 256;

/// What an intent is about, as the cortex takes it. The end of a longer text is taken, with a mark before it.
pub const HOOK_TARGET_BYTES: usize = 128;

/// An argument that is put on record as it is: a command line of the longer kind. Of a longer one its digest is.
pub const HOOK_ARGUMENT_BYTES: usize = 2 << 10;

/// All arguments of a call that are put on record as they are. Of those past it the digests are.
pub const HOOK_PAYLOAD_BYTES: usize = 8 << 10;

/// A reason that is told to an agent: it goes into a model's context, which is dear. A longer one is cut.
pub const HOOK_REASON_BYTES: usize = 1 << 10;

/// A file of rules: some thousands of them. A larger one is refused, and every call denied.
pub const HOOK_MAPPING_BYTES: usize = 256 << 10;

/// Rules in one file: each call is held against all of them.
pub const HOOK_RULES: usize = 1000;

/// What a person said to exactly the same counts for so long from when it was first asked for: a working day, so that nobody is asked the
/// same twice in one. Past it a person is asked anew.
pub const ANSWER_HOLDS: Duration = Duration::from_secs(8 * 3600);

/// Old answers to exactly the same that are passed over before it is a no: a month of days of work.
pub const ANSWERS_FOLLOWED: usize = 64;

/// While somebody is waited for, it is looked this often whether he has decided without anybody having heard.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a hook waits for Grace's answer: a broker or a cortex that is being replaced is back within a second or two. Past it the
/// answer is what the mapping says for Grace being unreachable.
pub const HOOK_ANSWER: Duration = Duration::from_secs(8);

/// How long a hook waits for a vote. The shortest time that an agent gives its hooks is 30 s.
pub const HOOK_VOTE: Duration = Duration::from_secs(15);

/// How long an answer to a hook over HTTP takes at most, its body included: less than an agent is told to give it ([`HOOK_TIMEOUT`]), since an
/// agent that has given up lets the call pass. Past it the answer is a no.
pub const HOOK_HTTP: Duration = Duration::from_secs(25);

/// How long an agent is told to give the hook: what it waits for at most, and room.
pub const HOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// Lines between a client and a server of the Model Context Protocol that wait to be looked at. When it is full, their senders wait.
pub const MCP_LINES: usize = 64;

/// A client's line: a call with a whole file in it. A longer one ends the connection.
pub const MCP_CLIENT_LINE: usize = 4 << 20;

/// A server's line: a result with pictures in it. A longer one ends the connection.
pub const MCP_SERVER_LINE: usize = 64 << 20;

/// Calls that are judged or wait for somebody at one time. A further one is held back.
pub const MCP_CALLS: usize = 64;

/// Requests for lists of tools that have no answer yet. A further one is passed on, and nothing is learnt from its answer.
pub const MCP_LISTS: usize = 64;

/// Tools of one server that are known. Further ones cannot be called.
pub const MCP_TOOLS: usize = 4096;

/// How long a server may take to list its tools when one is called that it has not listed.
pub const MCP_LIST: Duration = Duration::from_secs(10);

/// How long a server may take to end once its client is gone. Past it, it is killed.
pub const MCP_END: Duration = Duration::from_secs(5);

/// The body of a message of the Model Context Protocol over HTTP: an intent's payload, and room for what stands around it. A larger one is
/// answered with status 413.
pub const MCP_BODY_BYTES: usize = INTENT_BODY_BYTES + (16 << 10);

/// Narratives or intents in one answer to a model, whose context is dear.
pub const MCP_NARRATIVES: usize = 100;
