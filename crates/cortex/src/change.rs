//! Intents that change governance itself: what their payloads name, and nothing of what is done with it.
//!
//! ```json
//! {"policies": {"team.cedar": "…"}, "charter": "…", "over": 3, "reason": "agents may read"}
//! {"approver": "bob", "public_key": "bob+…", "reason": "new in the team"}
//! {"dismiss": "bob", "reason": "left the team"}
//! ```
//!
//! The first is for `modify_governance`, and without `policies` for `change_charter`; the others are for `grant_permissions`. A payload of
//! theirs that names none of this is a question, which is decided, and on whose answer whoever asked acts.
//!
//! What names a change takes a person's yes, whatever tier a policy gives it, and is about the instance: policies may ask for more people where
//! a charter is changed than where an approver is enrolled, and neither the type nor the target is to be a way around that.

use std::collections::BTreeMap;

use grace_types::{intent::Json, reason::Reason};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    command::{Asked, Outcome},
    judge::Judgement,
    tier::Tier,
};

/// What governance is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Put other policies or another charter in force.
    Adopt {
        /// All policies; as they are when not given.
        policies: Option<String>,
        /// The whole charter; as it is when not given.
        charter: Option<String>,
        /// The generation that it was made over; whichever is in force when not given.
        over: Option<u64>,
        /// Why.
        reason: Option<String>,
    },
    /// Take an approver's key.
    Enroll {
        /// Whose.
        approver: String,
        /// In the form `NAME+ID+BASE64`.
        public_key: String,
        /// Why.
        reason: Option<String>,
    },
    /// Let an approver go.
    Dismiss {
        /// Whom.
        approver: String,
        /// Why.
        reason: Option<String>,
    },
}

impl Wanted {
    /// Why it is wanted, in the words of whoever asks.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Adopt { reason, .. } | Self::Enroll { reason, .. } | Self::Dismiss { reason, .. } => {
                reason.as_deref()
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(default)]
    policies: Option<Texts>,
    #[serde(default)]
    charter: Option<String>,
    #[serde(default)]
    over: Option<u64>,
    #[serde(default)]
    reason: Option<String>,
}

/// One text, or several by the names of their files.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Several(BTreeMap<String, String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enroll {
    approver: String,
    public_key: String,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dismiss {
    dismiss: String,
    #[serde(default)]
    reason: Option<String>,
}

/// The type by which policies are changed, and the charter with them.
pub const POLICIES: &str = "modify_governance";
/// The type by which the charter is changed.
pub const CHARTER: &str = "change_charter";
/// The type by which approvers are enrolled and let go.
pub const PEOPLE: &str = "grant_permissions";

/// Types of intents by which governance is changed.
pub const TYPES: [&str; 3] = [POLICIES, CHARTER, PEOPLE];

/// Whether governance is to do something once this is allowed.
#[must_use]
pub fn is_named(asked: &Asked) -> bool {
    is_of_change(asked) && named(&asked.kind, &asked.payload).is_some()
}

/// Whether it is of a type whose payloads may name something for governance to do, and more than a decision is wanted.
pub(crate) fn is_of_change(asked: &Asked) -> bool {
    !asked.only_decide && TYPES.contains(&asked.kind.as_str())
}

/// The judgement of what is asked for: what changes governance waits for a person where a policy would let it run, or put it to the vote.
#[must_use]
pub fn guarded(asked: &Asked, mut judgement: Judgement) -> Judgement {
    if matches!(judgement.outcome, Outcome::Allowed | Outcome::WaitsForVote) && is_named(asked) {
        judgement.outcome = Outcome::WaitsForApproval;
        judgement.tier = Some(Tier::Approval);
        judgement.review = false;
        let told = "what changes governance itself takes a person's yes, whatever tier a policy gives it";
        judgement.reasons.push(Reason::new("change.person", told));
    }
    judgement
}

/// What an intent of this type names; nothing where it names no change.
///
/// `Err` says what is wrong with how it is named.
#[must_use]
pub fn named(kind: &str, payload: &Json) -> Option<Result<Wanted, String>> {
    if !TYPES.contains(&kind) {
        return None;
    }
    let Ok(Value::Object(object)) = payload.value() else { return None };
    let has = |keys: &[&str]| keys.iter().any(|key| object.contains_key(*key));
    if kind == CHARTER && has(&["policies"]) {
        return Some(Err(format!("{CHARTER} changes the charter alone: other policies are for {POLICIES}")));
    }
    let read =
        if kind != PEOPLE && has(&["policies", "charter"]) {
            serde_json::from_value(object.into()).map(|Rules { policies, charter, over, reason }| {
                let policies = policies.map(Texts::joined);
                Wanted::Adopt { policies, charter, over, reason }
            })
        } else if kind == PEOPLE && has(&["approver", "public_key"]) {
            serde_json::from_value(object.into()).map(|Enroll { approver, public_key, reason }| {
                Wanted::Enroll { approver, public_key, reason }
            })
        } else if kind == PEOPLE && has(&["dismiss"]) {
            serde_json::from_value(object.into())
                .map(|Dismiss { dismiss, reason }| Wanted::Dismiss { approver: dismiss, reason })
        } else {
            return None;
        };
    Some(read.map_err(|e| format!("the payload does not say what is to change: {e}")))
}

impl Texts {
    fn joined(self) -> String {
        match self {
            Self::One(text) => text,
            Self::Several(texts) => texts.into_values().collect::<Vec<_>>().join("\n"),
        }
    }
}
