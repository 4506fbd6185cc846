//! Evidence: how the records of a component's journal reach the sinks that keep them for strangers to check.
//!
//! ```text
//! journal ─ reader ─► shipper, one a sink ─► grace.evidence.<sink>.<component> ─► immutable_log, clarity
//! ```
//!
//! At least once, and deduplicated on arrival by source and sequence number: a sink says what it needs next, and the
//! shipper goes on from there, whichever side was away in between. The journal is the buffer, so a sink that is away costs
//! no memory and loses nothing.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`course`] | what is to be done next for one sink, without IO |
//! | [`wire`] | batches and replies as bus messages |

pub mod course;
pub mod wire;

/// Who keeps evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sink {
    /// The tamper-evident log.
    ImmutableLog,
    /// The narratives.
    Clarity,
}

impl Sink {
    /// Both.
    pub const ALL: [Self; 2] = [Self::ImmutableLog, Self::Clarity];

    /// The kernel's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ImmutableLog => "immutable_log",
            Self::Clarity => "clarity",
        }
    }
}
