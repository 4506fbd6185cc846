//! What goes into a host and what comes out: commands with their origin, answers, errors.

use grace_store::{Seq, StoreError};
use grace_types::{
    id::{CorrelationId, EventId},
    intent::DISK_RESERVE,
    time::Hlc,
};

use crate::{
    decider::{Decider, OutcomeOf},
    entry::Entry,
    limits,
};

/// A command and what is known of where it comes from.
#[derive(Debug, Clone, Default)]
pub struct Envelope<C> {
    /// What is asked.
    pub command: C,
    /// The same key asks for the same thing: it is decided once and answered the same each time. For commands that change
    /// something; a query with a key costs a sync.
    pub key: Option<String>,
    /// Who asks; the component itself where it is empty.
    pub who: Option<String>,
    /// What it belongs to; a new correlation starts where it is empty.
    pub correlation: Option<CorrelationId>,
    /// The event that caused it.
    pub causation: Option<EventId>,
    /// How many causes lie before the events to come.
    pub hops: u32,
    /// W3C Trace Context.
    pub traceparent: Option<String>,
    /// The sender's hybrid logical clock.
    pub hlc: Hlc,
}

impl<C> Envelope<C> {
    /// A command without anything else.
    pub fn new(command: C) -> Self {
        Self {
            command,
            key: None,
            who: None,
            correlation: None,
            causation: None,
            hops: 0,
            traceparent: None,
            hlc: Hlc::default(),
        }
    }

    /// The same under an idempotency key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

/// Why there is neither a reply nor a refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The journal could not be written. Whether the command was applied is open: ask again under the same key.
    #[error("the decision could not be made durable: {detail}")]
    NotDurable {
        /// What the store said.
        detail: String,
    },
    /// Another process holds this kernel's journal now.
    #[error("another process has taken over: {detail}")]
    Fenced {
        /// What the store said.
        detail: String,
    },
    /// The key was used for another command.
    #[error("the idempotency key `{key}` was used for a different command")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The key is empty or too long.
    #[error("an idempotency key has 1 to {} bytes; this one has {length}", limits::KEY_BYTES)]
    BadKey {
        /// Its length in bytes.
        length: usize,
    },
    /// The decision is too large to record, or cannot be written as JSON.
    #[error("the decision cannot be recorded: {detail}")]
    Unrecordable {
        /// What is wrong with it.
        detail: String,
    },
    /// The disk is so full that what is left is kept for emergencies. Questions are answered.
    #[error("the disk is almost full: nothing but emergencies is put on record until there is room")]
    DiskReserve,
    /// Too many commands are waiting.
    #[error("too many commands are waiting; try again later")]
    Busy,
    /// The kernel is shutting down.
    #[error("the kernel is stopping")]
    Stopping,
}

impl HostError {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotDurable { .. } => "not_durable",
            Self::Fenced { .. } => "fenced",
            Self::KeyReused { .. } => "key_reused",
            Self::BadKey { .. } => "bad_key",
            Self::Unrecordable { .. } => "unrecordable",
            Self::DiskReserve => DISK_RESERVE,
            Self::Busy => "busy",
            Self::Stopping => "stopping",
        }
    }

    pub(crate) fn of(error: &StoreError) -> Self {
        let detail = error.to_string();
        match error {
            StoreError::Fenced { .. } => Self::Fenced { detail },
            _ => Self::NotDurable { detail },
        }
    }
}

/// Why a journal cannot be turned into a state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The journal is damaged or cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record checks out but is not one of this decider's.
    #[error("record {} is not an entry of this kernel: {detail}", seq.0)]
    Entry {
        /// Its position.
        seq: Seq,
        /// What is wrong with it.
        detail: String,
    },
}

/// What a command gets in the end.
pub type Answer<D> = Result<OutcomeOf<D>, HostError>;

/// What a commit lets out. On failure the answers are errors.
pub struct Released<D: Decider, T> {
    /// In the order in which the commands were taken.
    pub answers: Vec<(T, Answer<D>)>,
    /// The events that are durable now, with their positions in the journal.
    pub entries: Vec<(Seq, Entry<D>)>,
    /// What is to be done now.
    pub effects: Vec<D::Effect>,
    /// What went wrong with the journal.
    pub error: Option<StoreError>,
}
