//! What can happen in the cortex. Each is recorded with its reasons; the state moves by these and by nothing else.

use std::time::Duration;

use grace_kernel::vote::Vote;
use grace_types::{
    intent::{Era, IntentId, Json},
    reason::Reason,
    time::{Monotonic, Timestamp},
};
use serde::{Deserialize, Serialize};

use crate::{
    case::{Generation, Grant, Owed, Word},
    command::{Asked, Decision, Outcome},
    request::Actor,
    unified::{Standing, Voter},
};

/// Something that happened, and when by the cortex's own time, which never goes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
}

/// Where both clocks stood at a moment. The one that does not jump means something in one boot of one machine only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// The machine's boot.
    pub boot: String,
    /// The cortex's own time.
    pub at: Timestamp,
    /// The clock that does not jump.
    pub mono_ms: u64,
}

impl Clocks {
    pub(super) fn of(boot: &str, at: Timestamp, mono: Monotonic) -> Self {
        Self { boot: boot.to_owned(), at, mono_ms: mono.as_nanos() / 1_000_000 }
    }

    /// The time that it is, as far as the clock that does not jump says.
    pub(super) fn now(&self, mono: Monotonic) -> Timestamp {
        let gone_by = (mono.as_nanos() / 1_000_000).saturating_sub(self.mono_ms);
        self.at.plus(Duration::from_millis(gone_by))
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A cortex started for the first time, or other types are declared.
    Configured {
        /// Whose ids these are; the first one stays.
        era: Era,
        /// Types with a plan.
        declared: Vec<String>,
        /// Where both clocks stood; nothing where the boot is not known.
        clocks: Option<Clocks>,
    },
    /// The wall clock was set forward, or the machine slept: both clocks are read anew.
    ClockAhead {
        /// Where they stand.
        clocks: Clocks,
    },
    /// An intent was decided. It is named here for the first time.
    Decided {
        /// As it was answered.
        decision: Box<Decision>,
        /// Who asked.
        actor: Actor,
        /// What was asked for.
        asked: Box<Asked>,
        /// Those that the same was asked for at the same time and that were allowed for the same reasons.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        also: Vec<Alike>,
    },
    /// People said something of an intent that waited.
    Resolved {
        /// Which.
        intent: IntentId,
        /// What they said.
        word: Word,
        /// What becomes of it: a yes that the policies in force do not bear any more is a no.
        outcome: Outcome,
        /// Who said so.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        by: Vec<String>,
        /// Why.
        reasons: Vec<Reason>,
    },
    /// An intent waited too long, which is a no.
    Expired {
        /// Which.
        intent: IntentId,
        /// Why.
        reasons: Vec<Reason>,
    },
    /// The public key of one who may vote. Votes under way keep the key that they know.
    VoterKnown {
        /// Who.
        name: String,
        /// Its key, and what its ballot weighs.
        voter: Voter,
    },
    /// A ballot that counts.
    BallotCast {
        /// On which intent.
        intent: IntentId,
        /// Whose.
        voter: String,
        /// What it says.
        vote: Vote,
        /// As it was signed.
        note: String,
    },
    /// A ballot that does not count.
    BallotRefused {
        /// On which intent.
        intent: IntentId,
        /// From whom it came.
        from: String,
        /// SHA-256 of the note, lowercase hex.
        digest: String,
    },
    /// A vote is over.
    VoteCounted {
        /// On which intent.
        intent: IntentId,
        /// What the count says.
        standing: Standing,
        /// What becomes of it: a vote that the policies in force do not bear any more is a no.
        outcome: Outcome,
        /// Every ballot, and what decided.
        reasons: Vec<Reason>,
    },
    /// The task manager took intents.
    HandedOn {
        /// Which.
        intents: Vec<IntentId>,
    },
    /// The task manager refused an intent for good.
    Refused {
        /// Which.
        intent: IntentId,
        /// Why.
        reason: Reason,
    },
    /// An intent that changes governance has taken effect, or cannot.
    Carried {
        /// Which.
        intent: IntentId,
        /// Whether it has.
        done: bool,
        /// What came of it.
        reason: Reason,
    },
    /// Governance has cases on disk.
    CasesTold {
        /// Which.
        cases: Vec<(IntentId, Owed)>,
    },
    /// Other policies and another charter are in force.
    GenerationAdopted {
        /// Which.
        generation: Generation,
        /// At which revision of what is in force.
        revision: u64,
    },
    /// They could not be put in force; the old ones stay.
    GenerationRefused {
        /// Its number.
        number: u64,
    },
    /// These emergency grants are live, and no others.
    GrantsChanged {
        /// All of them.
        grants: Vec<Grant>,
        /// At which revision of what is in force.
        revision: u64,
    },
    /// Something was told to be in force that governance did not sign, or that was so before; it counts for nothing.
    InForceRefused {
        /// The revision that it names.
        revision: u64,
    },
    /// Emergency grants have ended.
    GrantsEnded {
        /// Their names.
        grants: Vec<String>,
    },
}

/// An intent that was decided with another one: by the same actor, of the same type, allowed for the same reasons. What differs is here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alike {
    /// Its name.
    pub id: IntentId,
    /// Its idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is asked for.
    pub payload: Json,
    /// SHA-256 over what was asked for.
    pub digest: String,
}

impl Alike {
    /// The whole decision, which is the first one's but for the names.
    #[must_use]
    pub fn decision(&self, first: &Decision) -> Decision {
        first.alike(self.id, self.key.clone(), self.digest.clone())
    }

    /// All that was asked for.
    #[must_use]
    pub fn asked(&self, first: &Asked) -> Asked {
        Asked { key: self.key.clone(), payload: self.payload.clone(), ..first.clone() }
    }
}

impl What {
    /// Its name in subjects and types.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Configured { .. } => "configured",
            Self::ClockAhead { .. } => "clock_ahead",
            Self::Decided { decision, .. } => match decision.outcome {
                Outcome::Allowed => "allowed",
                Outcome::WaitsForApproval | Outcome::WaitsForVote => "waits",
                Outcome::Denied => "denied",
            },
            Self::Resolved { .. } => "resolved",
            Self::Expired { .. } => "expired",
            Self::VoterKnown { .. } => "voter_known",
            Self::BallotCast { .. } => "ballot_cast",
            Self::BallotRefused { .. } => "ballot_refused",
            Self::VoteCounted { .. } => "vote_counted",
            Self::HandedOn { .. } => "handed_on",
            Self::Refused { .. } => "refused",
            Self::Carried { done: true, .. } => "change_done",
            Self::Carried { done: false, .. } => "change_failed",
            Self::CasesTold { .. } => "cases_told",
            Self::GenerationAdopted { .. } => "generation_adopted",
            Self::GenerationRefused { .. } => "generation_refused",
            Self::GrantsChanged { .. } => "grants_changed",
            Self::InForceRefused { .. } => "in_force_refused",
            Self::GrantsEnded { .. } => "grants_ended",
        }
    }
}
