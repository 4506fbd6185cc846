//! What is kept of a token, and the text that its owner shows.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use grace_cortex::{case::sha256, request::ActorKind};
use grace_types::{chance::Entropy, time::Timestamp};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::limits;

/// Bytes of chance in a secret.
const SECRET_BYTES: usize = 32;
/// What every token's name begins with: a text that is found in a log or a repository can be told for what it is.
const PREFIX: &str = "tok_";

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Ask for intents.
    #[serde(rename = "intents:submit")]
    IntentsSubmit,
    /// Look at the intents that it asked for.
    #[serde(rename = "intents:read")]
    IntentsRead,
    /// Look at what waits for people.
    #[serde(rename = "approvals:read")]
    ApprovalsRead,
    /// Hand in what an approver has signed.
    #[serde(rename = "approvals:decide")]
    ApprovalsDecide,
    /// Look at what is to be looked at.
    #[serde(rename = "reviews:read")]
    ReviewsRead,
    /// Read everything that was told.
    #[serde(rename = "narratives:read")]
    NarrativesRead,
    /// Ask whether something is allowed.
    #[serde(rename = "evaluate")]
    Evaluate,
    /// Ask that for other subjects than its own.
    #[serde(rename = "evaluate:others")]
    EvaluateOthers,
    /// Have the tool calls of a coding agent decided.
    #[serde(rename = "hooks")]
    Hooks,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::IntentsSubmit,
        Self::IntentsRead,
        Self::ApprovalsRead,
        Self::ApprovalsDecide,
        Self::ReviewsRead,
        Self::NarrativesRead,
        Self::Evaluate,
        Self::EvaluateOthers,
        Self::Hooks,
    ];

    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::IntentsSubmit => "intents:submit",
            Self::IntentsRead => "intents:read",
            Self::ApprovalsRead => "approvals:read",
            Self::ApprovalsDecide => "approvals:decide",
            Self::ReviewsRead => "reviews:read",
            Self::NarrativesRead => "narratives:read",
            Self::Evaluate => "evaluate",
            Self::EvaluateOthers => "evaluate:others",
            Self::Hooks => "hooks",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().copied().find(|scope| scope.word() == text);
        known.ok_or_else(|| {
            let words = Self::ALL.map(Self::word);
            format!("no scope; there are {}", words.join(", "))
        })
    }
}

/// What kind of actor a token speaks for. An operator has no token: he is known by his place at this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A coding agent.
    Agent,
    /// Anybody else.
    Remote,
}

impl From<Kind> for ActorKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Agent => Self::Agent,
            Kind::Remote => Self::Remote,
        }
    }
}

/// What is kept of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its name, which is no secret: `tok_4f9a2c1b`.
    pub id: String,
    /// For whom it speaks.
    pub actor: String,
    /// What kind of actor that is.
    pub kind: Kind,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// Requests in a second.
    pub per_second: u32,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends by itself.
    pub expires: Timestamp,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
    /// SHA-256 of the secret, lowercase hex.
    pub secret_sha256: String,
}

/// What a token is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It can be used.
    Live,
    /// Its time is over.
    Expired,
    /// Somebody revoked it.
    Revoked,
}

impl Standing {
    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Record {
    /// A new token: what is kept of it, and the text that is shown once.
    #[must_use]
    pub fn make(
        (actor, kind): (&str, Kind),
        (mut scopes, per_second): (Vec<Scope>, u32),
        (created, expires): (Timestamp, Timestamp),
        entropy: &mut dyn Entropy,
    ) -> (Self, String) {
        let mut secret = [0; SECRET_BYTES];
        entropy.fill(&mut secret);
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let mut name = [0; 4];
        entropy.fill(&mut name);
        let id = format!("{PREFIX}{:08x}", u32::from_le_bytes(name));
        scopes.sort_unstable();
        scopes.dedup();
        let text = format!("{id}.{secret}");
        let secret_sha256 = sha256(secret.as_bytes());
        let actor = actor.to_owned();
        (Self { id, actor, kind, scopes, per_second, created, expires, revoked: None, secret_sha256 }, text)
    }

    /// Whether the secret is this token's. Takes the same time however much of a wrong one is right.
    #[must_use]
    pub fn is_secret(&self, secret: &str) -> bool {
        bool::from(sha256(secret.as_bytes()).as_bytes().ct_eq(self.secret_sha256.as_bytes()))
    }

    /// What it is at.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        if self.revoked.is_some() {
            Standing::Revoked
        } else if now >= self.expires {
            Standing::Expired
        } else {
            Standing::Live
        }
    }
}

/// Name and secret of a token's text.
#[must_use]
pub fn parts(text: &str) -> Option<(&str, &str)> {
    text.split_once('.').filter(|(id, secret)| id.starts_with(PREFIX) && !secret.is_empty())
}

/// Whether a text can be an actor's name: one word of a subject on the bus.
#[must_use]
pub fn is_actor(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    !name.is_empty() && name.len() <= limits::ACTOR_BYTES && name.chars().all(inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use grace_types::chance::SeededEntropy;

    use super::*;

    fn made(seed: u64) -> (Record, String) {
        let end = Timestamp::EPOCH.plus(Duration::from_secs(10));
        let scopes = vec![Scope::Hooks, Scope::Evaluate, Scope::Hooks];
        let rate = (scopes, 5);
        Record::make(("ci", Kind::Remote), rate, (Timestamp::EPOCH, end), &mut SeededEntropy::new(seed))
    }

    #[test]
    fn only_the_whole_secret_is_the_tokens() {
        let ((record, text), (_, other)) = (made(1), made(2));
        let (id, secret) = parts(&text).unwrap();
        assert_eq!((id, secret.len()), (record.id.as_str(), 43));
        assert!(record.is_secret(secret));
        for wrong in ["", &secret[1..], &secret[..42], parts(&other).unwrap().1, &format!("{secret} ")] {
            assert!(!record.is_secret(wrong), "{wrong}");
        }
        assert!(!serde_json::to_string(&record).unwrap().contains(secret), "only the digest is kept");
        assert_eq!(record.scopes, [Scope::Evaluate, Scope::Hooks]);
    }

    #[test]
    fn a_token_ends_by_time_or_by_hand() {
        let (mut record, _) = made(1);
        let at = |seconds| Timestamp::EPOCH.plus(Duration::from_secs(seconds));
        assert_eq!(record.standing(at(9)), Standing::Live);
        assert_eq!(record.standing(at(10)), Standing::Expired);
        record.revoked = Some(at(3));
        assert_eq!(record.standing(at(4)), Standing::Revoked);
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for scope in Scope::ALL {
            assert_eq!(scope.word().parse(), Ok(scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.word());
        }
        assert!("intents".parse::<Scope>().unwrap_err().contains("intents:submit"));
        for bad in ["", "a.b", "a b", "A", "*", ">", "ü", &"a".repeat(64)] {
            assert!(!is_actor(bad), "{bad}");
        }
        assert!(is_actor("claude-code_1"));
        for bad in ["", "tok_1", "tok_1.", "x.y", ".y"] {
            assert!(parts(bad).is_none(), "{bad}");
        }
    }
}
