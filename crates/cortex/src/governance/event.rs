//! What happens in governance.

use grace_types::{intent::IntentId, time::Timestamp};
use serde::{Deserialize, Serialize};

use super::binding::Said;
use crate::{
    case::{Carried, Case, Generation, Grant, Verdict},
    request::Actor,
};

/// How a grant came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Its time was over.
    Expired,
    /// Somebody ended it.
    ByHand,
    /// The emergency is over.
    EmergencyOver,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The kernel was started on another boot, with another key, or for another manifest.
    Began {
        /// The machine's boot.
        boot: String,
        /// Types of intents that the manifest declares.
        declared: Vec<String>,
        /// Its public key.
        instance: String,
    },
    /// People owe an approval.
    Asked {
        /// For what.
        case: Box<Case>,
        /// Until when on the clock that does not jump, in this boot.
        mono_until_ms: Option<u64>,
    },
    /// One of the yeses that it takes.
    Yes {
        /// The answer.
        said: Said,
    },
    /// A case is closed.
    Resolved {
        /// How.
        verdict: Verdict,
        /// When.
        at: Timestamp,
    },
    /// An answer was not taken.
    NotTaken {
        /// The answer.
        said: Said,
        /// Why.
        code: String,
    },
    /// An approver's key was taken.
    Enrolled {
        /// Whose.
        approver: String,
        /// The key.
        public_key: String,
        /// Who asked for it.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// An approver was let go; what he said of open cases counts no more.
    Dismissed {
        /// Who.
        approver: String,
    },
    /// The cortex has taken verdicts, or has no use for them.
    Told {
        /// Of which intents.
        intents: Vec<IntentId>,
        /// Why it has none.
        refused: Option<String>,
    },
    /// Somebody has to look at an intent that was allowed.
    ReviewOwed {
        /// Which.
        case: Box<Case>,
    },
    /// Somebody looked.
    Reviewed {
        /// At which intent.
        intent: IntentId,
        /// Whether something is wrong with it.
        flagged: bool,
        /// Who.
        by: String,
        /// What he has to say.
        note: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// An emergency was declared: leave to act in it begins.
    EmergencyBegun {
        /// The leave.
        grant: Grant,
        /// Until when on the clock that does not jump, in this boot.
        mono_until_ms: u64,
    },
    /// An intent was allowed under a grant.
    EmergencyUsed {
        /// Which.
        intent: IntentId,
        /// Whose.
        actor: Actor,
        /// The intent's type.
        #[serde(rename = "type", default)]
        kind: String,
        /// What it is about.
        #[serde(default)]
        target: String,
        /// The grant that gave the leave, as the decision names it; records of before do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<String>,
    },
    /// The leave is over.
    EmergencyEnded {
        /// Which.
        grant: String,
        /// How.
        end: End,
        /// By whom.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// What Grace brings along: in force where nothing else was.
    Brought {
        /// Policies and charter.
        generation: Generation,
        /// When.
        at: Timestamp,
    },
    /// Another generation is on its way to the cortex; the old one decides until it is confirmed.
    Approved {
        /// The generation.
        generation: Generation,
        /// Who asked for it, and why.
        by: String,
        /// Why.
        reason: String,
        /// Who said yes.
        approved_by: Vec<String>,
        /// When.
        at: Timestamp,
        /// The intent that it carries out, to be told what came of it.
        carries: Carried,
    },
    /// An intent that changes governance has taken effect, or cannot.
    CarriedOut {
        /// What is told to the cortex.
        result: Carried,
    },
    /// The cortex has on record what came of these intents.
    ResultsTold {
        /// Which.
        intents: Vec<IntentId>,
    },
    /// The cortex decides by it.
    Adopted {
        /// Its number.
        number: u64,
        /// When.
        at: Timestamp,
    },
    /// It is not used, and the old one stays.
    Refused {
        /// Its number.
        number: u64,
        /// Why.
        reason: String,
    },
    /// The cortex has the grants as they were at this revision.
    GrantsTaken {
        /// Which revision.
        revision: u64,
    },
}
