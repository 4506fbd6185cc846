//! Intents that change governance itself: what their payloads name, and nothing of what is done with it.
//!
//! ```json
//! {"policies": {"team.cedar": "…"}, "charter": "…", "over": 3, "reason": "agents may read"}
//! {"approver": "bob", "public_key": "bob+…"}
//! {"dismiss": "bob"}
//! ```
//!
//! The first is for `modify_governance` and `change_charter`, the others for `grant_permissions`. A payload of theirs that names none of this
//! is a question, which is decided, and on whose answer whoever asked acts.

use std::collections::BTreeMap;

use grace_types::intent::Json;
use serde::Deserialize;
use serde_json::Value;

use crate::command::Asked;

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
    },
    /// Let an approver go.
    Dismiss {
        /// Whom.
        approver: String,
    },
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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dismiss {
    dismiss: String,
}

const RULES: [&str; 2] = ["modify_governance", "change_charter"];
const PEOPLE: &str = "grant_permissions";

/// Whether governance is to do something once this is allowed.
#[must_use]
pub fn is_named(asked: &Asked) -> bool {
    !asked.only_decide && named(&asked.kind, &asked.payload).is_some()
}

/// What an intent of this type names; nothing where it names no change.
///
/// `Err` says what is wrong with how it is named.
#[must_use]
pub fn named(kind: &str, payload: &Json) -> Option<Result<Wanted, String>> {
    if !RULES.contains(&kind) && kind != PEOPLE {
        return None;
    }
    let Ok(Value::Object(object)) = payload.value() else { return None };
    let has = |keys: &[&str]| keys.iter().any(|key| object.contains_key(*key));
    let read = if RULES.contains(&kind) && has(&["policies", "charter"]) {
        serde_json::from_value(object.into()).map(|Rules { policies, charter, over, reason }| {
            let policies = policies.map(Texts::joined);
            Wanted::Adopt { policies, charter, over, reason }
        })
    } else if kind == PEOPLE && has(&["approver", "public_key"]) {
        serde_json::from_value(object.into())
            .map(|Enroll { approver, public_key }| Wanted::Enroll { approver, public_key })
    } else if kind == PEOPLE && has(&["dismiss"]) {
        serde_json::from_value(object.into()).map(|Dismiss { dismiss }| Wanted::Dismiss { approver: dismiss })
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
