//! What an approver signs, and how it is checked.
//!
//! The signature is that of a C2SP signed note ([`grace_log::note`]) over a text that nothing else in Grace is signed as, and that binds
//! everything an approval depends on: which instance, which intent, the digest of what was asked for, the word, who says it, when and why.
//! So an approval holds for exactly what the approver saw, and is worth nothing anywhere else.

use grace_log::note::{Note, Signature, SignerKey, VerifierKey};
use grace_types::{intent::IntentId, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::{case::sha256, limits};

/// What an approver may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

impl Answer {
    /// As it is signed.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
        }
    }
}

/// What an approver says of a case, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// Which intent.
    pub intent: IntentId,
    /// The digest of the case that the approver saw.
    pub digest: String,
    /// Who.
    pub approver: String,
    /// When, by the approver's clock.
    pub at: Timestamp,
    /// Why, in his words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The line of a signed note over [`Said::text`].
    pub signature: String,
}

impl Said {
    /// Says it: signed with the approver's key, for the instance whose governance has the public key `instance`.
    #[must_use]
    pub fn sign(
        (intent, digest): (IntentId, &str),
        answer: Answer,
        (at, reason): (Timestamp, Option<String>),
        key: &SignerKey,
        instance: &str,
    ) -> Self {
        let (digest, approver) = (digest.to_owned(), key.verifier().name().to_owned());
        let mut said = Self { intent, digest, approver, at, reason, signature: String::new() };
        said.signature = key.sign(&said.text(answer, instance)).to_string();
        said
    }

    /// What is signed. The reason stands in it as its digest, since it may be of several lines.
    #[must_use]
    pub fn text(&self, answer: Answer, instance: &str) -> String {
        let Self { intent, digest, approver, at, reason, .. } = self;
        let (word, reason) = (answer.word(), sha256(reason.as_deref().unwrap_or_default().as_bytes()));
        format!(
            "grace approval v1\ninstance {instance}\nintent {intent}\ndigest {digest}\nword {word}\napprover {approver}\ntime {at}\nreason {reason}\n"
        )
    }

    /// Whether it was signed by this key, as this answer, for this instance.
    #[must_use]
    pub fn is_signed(&self, answer: Answer, key: &VerifierKey, instance: &str) -> bool {
        let Some(signature) = Signature::parse(&self.signature) else { return false };
        let note = Note { text: self.text(answer, instance), signatures: vec![signature] };
        note.verify(std::slice::from_ref(key)).is_ok()
    }
}

/// Whether a text can be an approver's name. Lower case alone, so that `Ann` and `ann` are not two people.
#[must_use]
pub fn is_approver(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_@".contains(c);
    !name.is_empty() && name.len() <= limits::APPROVER_BYTES && name.chars().all(inner)
}

/// Whether an actor's name and an approver's mean the same person, as far as names can tell.
#[must_use]
pub fn same_person(actor: &str, approver: &str) -> bool {
    actor.trim().to_lowercase() == approver
}
