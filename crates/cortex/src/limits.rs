//! The bounds of Layer 3, each with its reason and what happens when it is reached.

/// One text of policies. Larger ones are refused before they are parsed.
pub const POLICY_TEXT_BYTES: usize = 1 << 20;

/// Policies in force. Each that can apply to a request is evaluated for it; more are refused.
pub const POLICIES: usize = 2000;

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

/// Voters of unified logic, at most: a ballot each is read whenever a vote is counted.
pub const VOTERS: usize = 64;
/// Fewer may not decide anything: with less than five views, three that err the same way are a majority.
pub const LEAST_VOTERS: usize = 5;
/// Voters that have to say yes or no.
pub const QUORUM: usize = 3;
/// Weight of one voter, at most: sums stay far from any overflow.
pub const VOTE_WEIGHT: u32 = 1000;
