//! What the cortex can be asked, and what it answers: the JSON that travels.
//!
//! ```json
//! {"submit": {"intents": [{"type": "resize_image", "actor": "ann", "payload": {"path": "in.png"}, "key": "k1"}]}}
//!     → {"submitted": {"results": [{"decided": {"id": "int_3xq7k-42", "outcome": "allowed", "tier": 2, "score": 0.35, …}}]}}
//! {"query": {"intent": "int_3xq7k-42"}}
//!     → {"intent": {…}}
//! ```
//!
//! | Subject | Who may publish | Commands |
//! |---|---|---|
//! | `grace.cmd.cortex` | an operator | `submit` as actor kind operator, `query` |
//! | `grace.intent.<kind>.<name>` | whoever holds that name's credential | `submit` as that actor, `query` |
//! | `grace.cortex.govern` | the kernel `governance` | `resolve`, `adopt`, `carried`, `query` |
//!
//! A hint is published on `grace.cortex.decided.<id>` when an intent that waited is decided; who waits listens there and asks again each
//! second, since a hint may be lost. What the cortex tells itself (`Decide`, `Settle`, …) is taken from no subject.

pub use grace_types::intent::asked::{
    Answered, Asked, Circumstances, Decision, DecisionState, GOVERN_SUBJECT, Grounds, Outcome, Refusal, Told,
};
use grace_types::{
    intent::{Era, IntentId, Refused, Submitted},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{
    case::{Carried, Generation, InForce, Owed, Verdict},
    request::Actor,
};

/// Where it is said that an intent that waited is decided.
#[must_use]
pub fn decided_subject(intent: &str) -> String {
    format!("grace.cortex.decided.{intent}")
}

/// What it can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// A cortex has started. The first command after every start.
    Configure {
        /// Random bits; only the first ever count.
        era: Era,
        /// The types that the manifest declares: those that the task manager has plans for.
        declared: Vec<String>,
        /// The machine's boot; empty where it is not known.
        boot: String,
    },
    /// Intents that somebody asks for.
    Submit {
        /// At most [`crate::limits::BATCH`].
        intents: Vec<Asked>,
    },
    /// The same, with what the intake found out about each; it makes this out of `submit`.
    Decide {
        /// At most [`crate::limits::BATCH`].
        intents: Vec<Arrived>,
    },
    /// What the task manager said to what was handed on.
    Settle {
        /// One for each.
        results: Vec<(IntentId, Submitted)>,
    },
    /// Governance has these cases on disk.
    Told {
        /// Which.
        cases: Vec<(IntentId, Owed)>,
    },
    /// What people said of intents that wait.
    Resolve {
        /// At most [`crate::limits::BATCH`].
        verdicts: Vec<Verdict>,
    },
    /// What came of intents that change governance, which says so.
    Carried {
        /// At most [`crate::limits::BATCH`].
        results: Vec<Carried>,
    },
    /// A voter says its public key. The intake makes this out of what comes on the voter's own subject.
    Voter {
        /// Whose subject it was.
        name: String,
        /// C2SP signed-note, `NAME+ID+BASE64`.
        key: String,
    },
    /// A voter's ballot, in the same way.
    Ballot {
        /// Whose subject it was.
        voter: String,
        /// A signed note ([`grace_kernel::vote`]).
        note: String,
    },
    /// Decide by these from now on.
    Adopt {
        /// All that it decides by.
        in_force: Box<InForce>,
        /// Governance's public key, `NAME+ID+BASE64`, with which it is checked. The intake reads it from the instance's files; what a
        /// message says of it is dropped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Time has passed.
    Tick,
    /// What there is. Changes nothing.
    Query(Query),
}

/// An intent that somebody asks for, with who that is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arrived {
    /// Who asks, from the road on which it came.
    pub actor: Actor,
    /// What.
    pub asked: Asked,
    /// Why the task manager would not take it, where it was asked and said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong: Option<Refused>,
    /// Approvers beside whoever asks, where it changes governance, which said so.
    #[serde(default)]
    pub others: usize,
}

/// What can be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// One intent.
    Intent(IntentId),
    /// The intent that this actor asked for under this key.
    Key {
        /// Who.
        actor: Actor,
        /// Which key.
        key: String,
    },
    /// Intents, newest first.
    Intents {
        /// Only those at this state.
        #[serde(default)]
        state: Option<DecisionState>,
        /// At most so many, and at most [`crate::limits::ROWS`].
        limit: usize,
        /// Only older ones, for the next page.
        #[serde(default)]
        before: Option<IntentId>,
        /// Only those of this actor. Whoever is no operator gets its own, whatever stands here.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actor: Option<Actor>,
    },
    /// What it decides by, and counts.
    Standing,
    /// What is wrong with these policies and this charter; nothing is adopted.
    Try(Box<Generation>),
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is in force.
    Configured,
    /// One for each intent, in their order.
    Submitted {
        /// Decided, or not even that.
        results: Vec<Answered>,
    },
    /// It is known.
    Noted,
    /// One for each verdict, in their order.
    Resolved {
        /// Taken, or why not.
        results: Vec<Taken>,
    },
    /// It is in force.
    Adopted {
        /// Which generation.
        generation: u64,
    },
    /// What was due is done.
    Ticked,
    /// One intent.
    Intent(Box<Decision>),
    /// Intents.
    Intents {
        /// Newest first.
        intents: Vec<Decision>,
        /// There are more.
        more: bool,
    },
    /// What it decides by.
    Standing(Box<Standing>),
    /// It could be adopted.
    Sound,
}

/// What became of a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken {
    /// It counts, now or since it was given first.
    Taken,
    /// It does not count, and never will.
    Refused {
        /// Stable: `unknown_intent`, `wrong_digest`, `not_waiting`.
        code: String,
        /// One sentence for people.
        message: String,
    },
}

/// What it decides by, and how much there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The generation in force.
    pub generation: u64,
    /// Its policies, by name.
    pub policies: Vec<String>,
    /// Why nothing can be decided, where that is so.
    pub fault: Option<String>,
    /// Live emergency grants, by name, with their ends.
    pub grants: Vec<(String, Timestamp)>,
    /// Intents decided since the first start.
    pub decided: u64,
    /// Of them allowed at once.
    pub allowed: u64,
    /// Of them denied at once.
    pub denied: u64,
    /// Those that wait for people or a vote.
    pub waiting: u64,
    /// Those that the task manager has not taken yet.
    pub handing_on: u64,
    /// Cases that governance does not have yet.
    pub owed: u64,
}
