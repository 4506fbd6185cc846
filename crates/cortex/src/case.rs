//! What the cortex and the kernel `governance` tell each other: what is owed to people, what became of it, and what is in force.
//!
//! ```text
//! cortex ── Case ────────────────────────────────────► governance     an approval before, or a review after
//! cortex ◄─ Verdict ───────────────────────────────── governance      what people said, or that nobody did in time
//! cortex ◄─ InForce: Generation, emergency grants ──── governance      what it decides by, signed
//! ```
//!
//! Each travels in a request whose answer means durable, and is sent again until there is one; told twice, it counts once.

use grace_log::note::{Note, Signature, SignerKey, VerifierKey};
use grace_types::{
    intent::{IntentId, Json},
    reason::Reason,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{request::Actor, tier::Tier};

/// SHA-256, lowercase hex: how a digest is written, whatever it is over.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// What people owe an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owed {
    /// A yes before it runs.
    Approval,
    /// A look at it after it was allowed.
    Review,
    /// Nothing by people: it is allowed, and governance itself is what it changes.
    Change,
}

/// An intent that somebody has to look at. One of each kind an intent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Which intent.
    pub intent: IntentId,
    /// What is owed.
    pub owed: Owed,
    /// SHA-256 over the intent as it was asked for, lowercase hex: what an approval is bound to.
    pub digest: String,
    /// Who asked. An approver is never the one who asked.
    pub actor: Actor,
    /// The intent's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about.
    pub target: String,
    /// What was asked for, for people to read.
    pub payload: Json,
    /// Its tier.
    pub tier: Tier,
    /// How many different people have to say yes; one where no policy asks for more.
    pub quorum: u8,
    /// Why it is owed.
    pub reasons: Vec<Reason>,
    /// When the cortex decided.
    pub since: Timestamp,
    /// When an approval comes too late. A review has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What became of an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// As many people as it takes said yes.
    Approved,
    /// Somebody said no.
    Denied,
    /// Nobody said anything in time, which is a no.
    Expired,
}

/// What people said of an intent that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Which.
    pub intent: IntentId,
    /// Of what: the case's digest. A verdict over something else is not taken.
    pub digest: String,
    /// What.
    pub word: Word,
    /// Who.
    pub by: Vec<String>,
    /// Why, in their words.
    pub reasons: Vec<Reason>,
}

/// What came of an intent that changes governance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// Which.
    pub intent: IntentId,
    /// The digest of what was asked for.
    pub digest: String,
    /// Why it did not take effect; it did when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What the cortex decides by: one number for policies and charter together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// Rises by one with each change; 0 is what Grace brings along.
    pub number: u64,
    /// Policies, in Cedar.
    pub policies: String,
    /// The charter, in YAML.
    pub charter: String,
}

/// What the cortex is to decide by, all of it, as governance has it at a revision of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InForce {
    /// Rises with every change of it: what was in force before is not told again in its place.
    pub revision: u64,
    /// Policies and charter.
    pub generation: Generation,
    /// All emergency grants that are live, and no others.
    pub grants: Vec<Grant>,
    /// The line of a signed note over [`InForce::text`], by the key of this instance's governance.
    pub signature: String,
}

impl InForce {
    /// What is signed: under a first line that nothing else is signed with, the texts by their digests, the grants as JSON.
    #[must_use]
    pub fn text(&self) -> String {
        let Generation { number, policies, charter } = &self.generation;
        let (policies, charter) = (sha256(policies.as_bytes()), sha256(charter.as_bytes()));
        let grants = serde_json::to_string(&self.grants).unwrap_or_default();
        format!(
            "grace in force v1\nrevision {}\ngeneration {number}\npolicies {policies}\ncharter {charter}\ngrants {grants}\n",
            self.revision
        )
    }

    /// The same with the signature of this key.
    #[must_use]
    pub fn signed(self, key: &SignerKey) -> Self {
        let signature = key.sign(&self.text()).to_string();
        Self { signature, ..self }
    }

    /// Whether it was signed with this key as it is.
    #[must_use]
    pub fn is_signed(&self, key: &VerifierKey) -> bool {
        let Some(signature) = Signature::parse(&self.signature) else { return false };
        let note = Note { text: self.text(), signatures: vec![signature] };
        note.verify(std::slice::from_ref(key)).is_ok()
    }
}

impl Grant {
    /// Whether it is leave for this actor at this time.
    #[must_use]
    pub fn covers(&self, actor: &Actor, at: Timestamp) -> bool {
        self.since <= at && at < self.until && self.actor.as_ref().is_none_or(|of| of == actor)
    }
}

/// Leave to act in an emergency, for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Its name.
    pub id: String,
    /// For whom; everybody whom a policy lets ask when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// Who declared the emergency: a person, or the control plane.
    pub by: String,
    /// Why.
    pub reason: String,
    /// From when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
}
