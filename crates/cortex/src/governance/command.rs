//! What governance can be asked, and what it answers.

use std::fmt;

use grace_types::{
    intent::{IntentId, Json},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{
    binding::Said,
    state::{Approver, Closed, Ended, Kept, Live, Looked},
};
use crate::{
    case::{Carried, Case, Generation, Grant, Verdict, Word},
    request::Actor,
};

/// A command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Given to itself when it starts.
    Begin {
        /// The machine's boot.
        boot: String,
        /// Types of intents that the manifest declares.
        declared: Vec<String>,
        /// Its public key.
        instance: String,
    },
    /// Given to itself: what is over by now?
    Tick,
    /// Given to itself: whether the control plane is in an emergency.
    Emergency {
        /// Whether it is.
        declared: bool,
        /// In the control plane's words.
        reason: String,
    },
    /// Of the cortex alone: what people owe.
    Owe {
        /// Each once, however often it is told.
        cases: Vec<Case>,
    },
    /// An approver says yes.
    Approve(Said),
    /// An approver says no.
    Deny(Said),
    /// Takes the first approver's key, at the word of whoever sits at the machine.
    EnrollFirst {
        /// Whose.
        approver: String,
        /// `NAME+ID+BASE64`.
        public_key: String,
        /// Who asks.
        by: String,
    },
    /// Nothing is wrong with what a review is about.
    Accept {
        /// Which.
        review: IntentId,
        /// Who looked.
        by: String,
        /// What he has to say.
        #[serde(default)]
        note: Option<String>,
    },
    /// Something is wrong with it.
    Flag {
        /// Which.
        review: IntentId,
        /// Who looked.
        by: String,
        /// What.
        note: String,
    },
    /// Declares an emergency.
    BeginEmergency {
        /// Why.
        reason: String,
        /// For how long.
        for_ms: u64,
        /// For whom; everybody whom a policy lets ask when not given.
        #[serde(default)]
        actor: Option<Actor>,
        /// Who declares it.
        by: String,
    },
    /// Ends one before its time.
    EndEmergency {
        /// Which.
        grant: String,
        /// Who ends it.
        by: String,
    },
    /// Given to itself: the cortex has taken these verdicts, or has no use for them.
    Told {
        /// Of which intents.
        intents: Vec<IntentId>,
        /// Why it has none.
        refused: Option<String>,
    },
    /// Given to itself: the cortex has on record what came of these intents.
    ResultsTold {
        /// Which.
        intents: Vec<IntentId>,
    },
    /// Given to itself: the cortex has taken this generation with these grants, or not.
    Adopted {
        /// Which.
        number: u64,
        /// Of what is in force.
        revision: u64,
        /// Why it has not.
        refused: Option<String>,
    },
    /// Given to itself: what the cortex has not taken yet.
    HandOver,
    /// A question.
    Query(Query),
}

/// A question. Lists come in pages of at most [`crate::limits::PAGE`]; `before` is the last one of the page before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// What waits, the longest first; or with `closed` what was decided, the latest first.
    Approvals {
        /// Which.
        #[serde(default)]
        closed: bool,
        /// From where.
        #[serde(default)]
        after: Option<IntentId>,
    },
    /// One, waiting or closed.
    Approval(IntentId),
    /// What is to be looked at; or with `closed` what was looked at, the latest first.
    Reviews {
        /// Which.
        #[serde(default)]
        closed: bool,
        /// From where.
        #[serde(default)]
        after: Option<IntentId>,
    },
    /// One.
    Review(IntentId),
    /// Who may approve.
    Approvers,
    /// Which leave there is to act in an emergency, and which there was.
    Emergencies,
    /// The generations that are kept, the latest first, without their texts.
    Generations,
    /// One with its texts; the one in force when not given.
    Generation(Option<u64>),
    /// Of the cortex alone: whether what an intent of this type names could be done as things are.
    Sound {
        /// The type.
        kind: String,
        /// What is asked for.
        payload: Json,
        /// Who asks.
        by: String,
    },
    /// In short.
    Standing,
}

/// An approval as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovalView {
    /// What is owed.
    pub case: Case,
    /// Waiting when not given.
    pub word: Option<Word>,
    /// Who said yes so far, or made the verdict.
    pub by: Vec<String>,
    /// Enrolled approvers who could still say yes.
    pub may: Vec<String>,
    /// What was said.
    pub verdict: Option<Verdict>,
    /// When it was closed.
    pub closed: Option<Timestamp>,
    /// For whom the answer has to be signed.
    pub instance: String,
}

/// A generation as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationRow {
    /// Its number.
    pub number: u64,
    /// `in_force`, `on_its_way`, `replaced` or `refused`.
    pub state: String,
    /// Who asked for it.
    pub by: String,
    /// Who said yes.
    pub approved_by: Vec<String>,
    /// Why.
    pub reason: String,
    /// Since when it is known.
    pub since: Timestamp,
    /// SHA-256 of its policies.
    pub policies: String,
    /// SHA-256 of its charter.
    pub charter: String,
    /// Why it is not used.
    pub refused: Option<String>,
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Governance's public key.
    pub instance: String,
    /// The generation in force.
    pub generation: u64,
    /// The one on its way.
    pub on_its_way: Option<u64>,
    /// How many may approve.
    pub approvers: usize,
    /// How many approvals wait.
    pub approvals: usize,
    /// How many reviews are owed.
    pub reviews: usize,
    /// Leave to act in an emergency that is live.
    pub grants: Vec<Grant>,
    /// Verdicts that the cortex has not taken yet.
    pub untold: usize,
    /// Types of intents that the manifest declares.
    pub declared: Vec<String>,
}

/// What the cortex has not taken yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HandOver {
    /// What people said.
    pub verdicts: Vec<Verdict>,
    /// What came of intents that change governance.
    pub results: Vec<Carried>,
    /// What it is to decide by.
    pub generation: Generation,
    /// Leave that is live.
    pub grants: Vec<Grant>,
    /// Of the grants and the generation.
    pub revision: u64,
    /// Whether the cortex has it.
    pub taken: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Done.
    Done,
    /// The cases are on record.
    Owed {
        /// How many of them are new.
        new: usize,
    },
    /// An answer counts.
    Counted {
        /// What is known of the case now.
        approval: Box<ApprovalView>,
        /// It was known before, and counts once.
        repeated: bool,
    },
    /// The first approver is enrolled.
    Enrolled {
        /// Who.
        approver: Approver,
    },
    /// The leave.
    Begun {
        /// Which.
        grant: Grant,
    },
    /// A page.
    Approvals {
        /// Its rows.
        rows: Vec<ApprovalView>,
        /// Whether there are more.
        more: bool,
    },
    /// One.
    Approval(Box<ApprovalView>),
    /// A page.
    Reviews {
        /// Its rows.
        rows: Vec<Looked>,
        /// Whether there are more.
        more: bool,
    },
    /// One.
    Review(Box<Looked>),
    /// All of them.
    Approvers(Vec<Approver>),
    /// All that are live, and the last that were.
    Emergencies {
        /// Live.
        live: Vec<Live>,
        /// Over, the latest first.
        ended: Vec<Ended>,
    },
    /// All that are kept.
    Generations(Vec<GenerationRow>),
    /// One.
    Generation(Box<Kept>),
    /// In short.
    Standing(Box<Standing>),
    /// It could be done.
    Sound {
        /// How many approvers are others than who asks.
        others: usize,
    },
    /// To itself.
    HandOver(Box<HandOver>),
}

impl From<&Closed> for Verdict {
    fn from(closed: &Closed) -> Self {
        closed.verdict.clone()
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Stable; `docs/errors.md` lists them.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// Every fault of a text, a line each, where it has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<String>,
}

impl Refusal {
    /// A refusal without faults.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), faults: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
