//! Every bound of the bus, with its reason and what happens when it is reached.
//!
//! The defaults suit one machine; [`crate::broker::BrokerConfig`] can move those that a user may want to move.

use std::time::Duration;

/// A protocol line (operation and arguments, CONNECT's JSON included). nats-server's own default. A longer line is
/// answered with `-ERR 'maximum control line exceeded'` and the connection is closed.
pub const CONTROL_LINE_BYTES: usize = 4096;

/// Headers and payload of one message: nats-server's default of 1 MiB, plus room for an event's headers beside
/// [`grace_types::limits::EVENT_DATA_BYTES`] of data. A larger message closes its connection with
/// `-ERR 'Maximum Payload Violation'`, since what follows on the wire cannot be told from the payload.
pub const MAX_PAYLOAD_BYTES: usize = (1 << 20) + (64 << 10);

/// A subject. Grace's own are under 100 bytes; four times that leaves room for a user's. A longer one is refused
/// with `-ERR 'Invalid Subject'`; the connection stays.
pub const SUBJECT_BYTES: usize = 512;

/// Tokens in a subject: bounds the depth of the subscription trie. Refused as above.
pub const SUBJECT_TOKENS: usize = 32;

/// A subscription id. nats clients send small decimal numbers. A longer one is a protocol error.
pub const SID_BYTES: usize = 23;

/// Connections. A kernel process has one, a worker one: ten times a large installation on one machine. One more is
/// answered with `-ERR 'maximum connections exceeded'` and closed.
pub const CONNECTIONS: usize = 4096;

/// Subscriptions of one connection. One more closes the connection with `-ERR 'maximum subscriptions exceeded'`.
pub const SUBSCRIPTIONS_PER_CONNECTION: usize = 4096;

/// What the subscriptions of one connection, and of all together, may cost in memory by the estimate in
/// [`crate::broker`]: a long subject of many tokens costs 25 KiB of trie nodes, so their number alone bounds nothing.
/// One more is refused with the same error.
pub const SUBSCRIPTION_MEMORY_PER_CONNECTION: usize = 16 << 20;
/// See [`SUBSCRIPTION_MEMORY_PER_CONNECTION`].
pub const SUBSCRIPTION_MEMORY: usize = 64 << 20;

/// Bytes waiting for one connection to read them: 100,000 small messages. A connection over it is a slow consumer:
/// it is told so and cut off.
pub const PENDING_BYTES: usize = 16 << 20;

/// Bytes waiting in all connections' buffers, in and out, together. Past it the connection that holds the most is
/// cut off at once, whoever sent the byte too many: one reader's sloth must not cost another its connection.
pub const BUFFERED_BYTES: usize = 64 << 20;

/// Output made in one call of `receive` before it returns to let the shell write: keeps the memory that fan-out takes
/// within one batch far below [`PENDING_BYTES`], so that nobody is cut off for what had no chance to be written.
pub const OUTPUT_PER_CALL_BYTES: usize = 1 << 20;

/// What one read takes from a socket. One buffer a thread, shared by all connections.
pub const READ_BUFFER_BYTES: usize = 256 << 10;

/// Spare output buffers kept for reuse, and the largest that is kept. Others go back to the allocator.
pub const SPARE_BUFFERS: usize = 16;
/// See [`SPARE_BUFFERS`].
pub const SPARE_BUFFER_BYTES: usize = 1 << 20;

/// Slots in the cache from a literal subject to its subscriptions. A colliding subject takes the slot over.
pub const MATCH_CACHE_SLOTS: usize = 4096;
/// Recipients that one slot keeps; a subject with more is looked up each time.
pub const MATCH_CACHE_RECIPIENTS: usize = 128;
/// Slots in one connection's cache of publish decisions. A colliding subject takes the slot over.
pub const DECISION_CACHE_SLOTS: usize = 64;

/// Users in an authorization table. A larger table is refused whole.
pub const USERS: usize = 4096;
/// Patterns in one user's allow or deny list. A table with more is refused whole.
pub const RULES_PER_LIST: usize = 1024;
/// A user name or password. A longer one never matches.
pub const CREDENTIAL_BYTES: usize = 1024;

/// Open permissions to answer, per connection (see [`crate::auth::AllowResponses`]). The oldest gives way: its
/// answer is then refused, as if it came late.
pub const RESPONSE_GRANTS: usize = 4096;

/// (User, subject) pairs whose permission violations are counted apart. Further pairs count under the user with
/// the subject `*`, and past that in the total only.
pub const VIOLATION_PAIRS: usize = 1024;

/// Events that wait for the shell to take them. Further ones are dropped and counted: the broker never waits.
pub const EVENTS: usize = 1024;

/// Subject mappings and destinations of one. A larger set is refused whole.
pub const MAPPINGS: usize = 256;
/// See [`MAPPINGS`].
pub const DESTINATIONS: usize = 32;

/// A connection must have signed in within this (nats-server: 2 s). Else `-ERR 'Authentication Timeout'`.
pub const AUTH_TIMEOUT: Duration = Duration::from_secs(2);

/// A silent connection is sent a PING after this (nats-server: 2 min; a shorter one finds dead peers sooner and
/// costs nothing on one machine).
pub const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Unanswered PINGs after which a connection is stale and closed (nats-server's default).
pub const PINGS_OUT: u32 = 2;

/// How long a closing connection may take to read what is left for it, its error included.
pub const LINGER: Duration = Duration::from_secs(2);

/// From the lame-duck notice until the connections that are left are closed.
pub const LAME_DUCK: Duration = Duration::from_secs(10);

/// Bytes a client keeps while it is disconnected or the broker does not read. Connected, `publish` waits for room;
/// disconnected, it fails with [`crate::BusError::NotConnected`].
pub const CLIENT_PENDING_BYTES: usize = 8 << 20;

/// Messages that wait in one subscription of a client. Further ones are dropped and counted.
pub const SUBSCRIPTION_MESSAGES: usize = 8192;

/// Requests of one client that wait for an answer. Further ones fail with [`crate::BusError::NotConnected`].
pub const CLIENT_REQUESTS: usize = 16384;

/// Subscriptions of one client: what the broker takes from one connection, less the inbox. Further ones fail with
/// [`crate::BusError::Closed`].
pub const CLIENT_SUBSCRIPTIONS: usize = SUBSCRIPTIONS_PER_CONNECTION - 1;

/// First and longest wait between a client's attempts to connect; a random half is added.
pub const RECONNECT_FIRST: Duration = Duration::from_millis(10);
/// See [`RECONNECT_FIRST`].
pub const RECONNECT_LONGEST: Duration = Duration::from_secs(2);

/// First and longest wait between the tries of `request_until`; a random half is added.
pub const RETRY_FIRST: Duration = Duration::from_millis(20);
/// See [`RETRY_FIRST`].
pub const RETRY_LONGEST: Duration = Duration::from_secs(1);
/// How long one try of `request_until` waits for its answer.
pub const RETRY_ATTEMPT: Duration = Duration::from_secs(2);

/// Messages under way in a memory net. Further ones are dropped and counted.
pub const MEMORY_IN_FLIGHT: usize = 1 << 16;
