//! Who may connect, and what they may publish and subscribe to.
//!
//! [`AuthTable`] is the data (it travels as JSON from the control plane); [`Authority`] is the same, checked and
//! compiled. Nothing is allowed that no rule allows; a deny wins over every allow. Passwords are kept as SHA-256
//! digests: they are random 128-bit tokens made at each boot, so a slow password hash would buy nothing. Digests are
//! compared in constant time, and an unknown name costs the same work as a wrong password.
//!
//! Deliberately not here: sessions, revocation and the counting of violations ([`crate::broker`]).

use std::{collections::HashMap, sync::Arc, time::Duration};

use base64::Engine as _;
use grace_types::{
    manifest::{Permissions, SubjectRules},
    time::Monotonic,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    limits::{CREDENTIAL_BYTES, DECISION_CACHE_SLOTS, RESPONSE_GRANTS, RULES_PER_LIST, USERS},
    protocol::info::ConnectOptions,
    subject::{self, SubjectError},
};

/// Everyone who may connect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthTable {
    /// Names are unique.
    pub users: Vec<User>,
}

/// One user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// What it signs in with, and what violations are counted under.
    pub name: String,
    /// How it proves who it is.
    pub credential: Credential,
    /// What it may publish and subscribe to.
    pub permissions: Permissions,
    /// Whether a request that it receives lets it answer. On if absent; `null` turns it off.
    #[serde(default = "AllowResponses::on")]
    pub allow_responses: Option<AllowResponses>,
}

/// How a user proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// SHA-256 of the password, in hexadecimal.
    PasswordSha256(String),
    /// A public user nkey (`U…`): the client signs the server's nonce.
    Nkey(String),
}

impl Credential {
    /// The credential for a password.
    #[must_use]
    pub fn of_password(password: &str) -> Self {
        Self::PasswordSha256(Sha256::digest(password.as_bytes()).iter().map(|b| format!("{b:02x}")).collect())
    }
}

/// A received message with a reply subject lets the receiver publish there, whatever its rules say: at most `max`
/// messages, for `expires_ms` milliseconds. Semantics and defaults (1, two minutes) are nats-server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowResponses {
    /// Messages per reply subject.
    pub max: u32,
    /// Milliseconds from the receipt of the request.
    pub expires_ms: u64,
}

impl AllowResponses {
    /// The defaults.
    pub const DEFAULT: Self = Self { max: 1, expires_ms: 120_000 };

    #[expect(clippy::unnecessary_wraps, reason = "the default of an optional field")]
    fn on() -> Option<Self> {
        Some(Self::DEFAULT)
    }
}

/// Why a table is refused. Nothing of a refused table takes effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Two users of one name or one nkey.
    #[error("user `{0}` is there twice")]
    DuplicateUser(String),
    /// A bound of [`crate::limits`] is exceeded.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// A digest that is not 64 hexadecimal digits, or an nkey that is not a public user key.
    #[error("user `{0}` has a malformed credential")]
    BadCredential(String),
    /// A rule that is not a subject pattern.
    #[error("user `{user}`: `{pattern}` is not a subject pattern: {reason}")]
    BadPattern {
        /// Whose.
        user: String,
        /// The rule.
        pattern: String,
        /// What is wrong with it.
        reason: SubjectError,
    },
}

/// A checked table.
#[derive(Debug, Default)]
pub struct Authority {
    by_name: HashMap<String, Arc<Account>>,
    by_nkey: HashMap<String, Arc<Account>>,
}

/// A checked user.
#[derive(Debug)]
pub struct Account {
    /// Its name.
    pub name: String,
    credential: CheckedCredential,
    publish: Rules,
    subscribe: Rules,
    /// See [`AllowResponses`].
    pub allow_responses: Option<AllowResponses>,
}

#[derive(Debug, PartialEq, Eq)]
enum CheckedCredential {
    Password([u8; 32]),
    Nkey(String),
}

#[derive(Debug)]
struct Rules {
    allow: Vec<Box<[u8]>>,
    deny: Vec<Box<[u8]>>,
}

/// What a user may do with a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not subscribe.
    Denied,
    /// Subscribe and receive all of it.
    Allowed,
    /// Subscribe, but some of what it matches is denied: each message must be asked about.
    Filtered,
}

impl Authority {
    /// Checks a table.
    ///
    /// # Errors
    /// Names the first user and field at fault.
    pub fn new(table: &AuthTable) -> Result<Self, AuthError> {
        if table.users.len() > USERS {
            return Err(AuthError::TooMany("users"));
        }
        let mut authority = Self::default();
        for user in &table.users {
            let account = Arc::new(Account::new(user)?);
            if let CheckedCredential::Nkey(key) = &account.credential
                && authority.by_nkey.insert(key.clone(), account.clone()).is_some()
            {
                return Err(AuthError::DuplicateUser(user.name.clone()));
            }
            if authority.by_name.insert(user.name.clone(), account).is_some() {
                return Err(AuthError::DuplicateUser(user.name.clone()));
            }
        }
        Ok(authority)
    }

    /// Whether INFO must carry a nonce.
    #[must_use]
    pub fn uses_nkeys(&self) -> bool {
        !self.by_nkey.is_empty()
    }

    /// The account that a CONNECT proves to be, if it proves one.
    #[must_use]
    pub fn authenticate(&self, options: &ConnectOptions, nonce: &str) -> Option<Arc<Account>> {
        if let Some(key) = &options.nkey {
            let account = self.by_nkey.get(key)?;
            return verify_nkey(key, nonce, options.sig.as_deref()?).then(|| account.clone());
        }
        let (user, pass) = (options.user.as_deref()?, options.pass.as_deref()?);
        if user.len() > CREDENTIAL_BYTES || pass.len() > CREDENTIAL_BYTES {
            return None;
        }
        let given = Sha256::digest(pass.as_bytes());
        let account = self.by_name.get(user);
        let (expected, real) = match account.map(|a| &a.credential) {
            Some(CheckedCredential::Password(digest)) => (*digest, true),
            Some(CheckedCredential::Nkey(_)) | None => ([0; 32], false),
        };
        let equal: bool = given.as_slice().ct_eq(&expected).into();
        if equal && real { account.cloned() } else { None }
    }

    /// The account that took the place of `old` in this table: same name, same credential.
    #[must_use]
    pub fn successor(&self, old: &Account) -> Option<Arc<Account>> {
        self.by_name.get(&old.name).filter(|new| new.credential == old.credential).cloned()
    }

    /// The account of that name, for backs that need no proof (the in-memory one).
    #[must_use]
    pub fn account(&self, name: &str) -> Option<Arc<Account>> {
        self.by_name.get(name).cloned()
    }
}

fn verify_nkey(key: &str, nonce: &str, signature: &str) -> bool {
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let Ok(signature) = engine.decode(signature.trim_end_matches('=')) else { return false };
    // An empty nonce would make one signature good for ever.
    !nonce.is_empty()
        && nkeys::KeyPair::from_public_key(key).is_ok_and(|k| k.verify(nonce.as_bytes(), &signature).is_ok())
}

impl Account {
    fn new(user: &User) -> Result<Self, AuthError> {
        let bad = || AuthError::BadCredential(user.name.clone());
        let credential = match &user.credential {
            Credential::PasswordSha256(hex) => CheckedCredential::Password(from_hex(hex).ok_or_else(bad)?),
            Credential::Nkey(key) => {
                let pair = nkeys::KeyPair::from_public_key(key).map_err(|_| bad())?;
                if !matches!(pair.key_pair_type(), nkeys::KeyPairType::User) {
                    return Err(bad());
                }
                CheckedCredential::Nkey(key.clone())
            }
        };
        if user.name.is_empty() || user.name.len() > CREDENTIAL_BYTES {
            return Err(bad());
        }
        Ok(Self {
            name: user.name.clone(),
            credential,
            publish: Rules::new(&user.name, &user.permissions.publish)?,
            subscribe: Rules::new(&user.name, &user.permissions.subscribe)?,
            allow_responses: user.allow_responses,
        })
    }

    /// Whether a message may be published to the literal `subject` (answers apart, see [`Grants`]).
    #[must_use]
    pub fn may_publish(&self, subject: &[u8]) -> bool {
        self.publish.allows(subject)
    }

    /// Whether a message on the literal `subject` may be received.
    #[must_use]
    pub fn may_receive(&self, subject: &[u8]) -> bool {
        self.subscribe.allows(subject)
    }

    /// Whether `pattern` may be subscribed to.
    #[must_use]
    pub fn may_subscribe(&self, pattern: &[u8]) -> Verdict {
        let Rules { allow, deny } = &self.subscribe;
        if !allow.iter().any(|a| subject::covers(a, pattern))
            || deny.iter().any(|d| subject::covers(d, pattern))
        {
            Verdict::Denied
        } else if deny.iter().any(|d| subject::overlaps(d, pattern)) {
            Verdict::Filtered
        } else {
            Verdict::Allowed
        }
    }
}

impl Rules {
    fn new(user: &str, rules: &SubjectRules) -> Result<Self, AuthError> {
        let list = |patterns: &[String]| {
            if patterns.len() > RULES_PER_LIST {
                return Err(AuthError::TooMany("rules"));
            }
            patterns
                .iter()
                .map(|pattern| match subject::validate_pattern(pattern.as_bytes()) {
                    Ok(_) => Ok(pattern.as_bytes().into()),
                    Err(reason) => {
                        Err(AuthError::BadPattern { user: user.to_owned(), pattern: pattern.clone(), reason })
                    }
                })
                .collect()
        };
        Ok(Self { allow: list(&rules.allow)?, deny: list(&rules.deny)? })
    }

    fn allows(&self, literal: &[u8]) -> bool {
        self.allow.iter().any(|a| subject::matches(a, literal))
            && !self.deny.iter().any(|d| subject::matches(d, literal))
    }
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |d: u8| char::from(d).to_digit(16).map(|d| d as u8);
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

/// What is known about publishing to a literal subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is not a literal subject.
    Invalid,
    /// The rules do not allow it.
    Denied,
    /// The rules allow it.
    Allowed,
}

/// One connection's recent publish decisions: checking a subject and walking the rules costs more than all the rest
/// of routing. Cleared when the account's rules change.
#[derive(Debug, Default)]
pub struct DecisionCache {
    slots: Vec<(Vec<u8>, Option<Decision>)>,
}

impl DecisionCache {
    /// The decision about `subject`, whose [`subject::hash`] is `hash`.
    pub fn decide(&mut self, account: &Account, subject: &[u8], hash: u64) -> Decision {
        if self.slots.is_empty() {
            self.slots.resize_with(DECISION_CACHE_SLOTS, Default::default);
        }
        let (cached, decision) = &mut self.slots[hash as usize % DECISION_CACHE_SLOTS];
        match decision {
            Some(decision) if cached == subject => *decision,
            _ => {
                let fresh = if subject::validate_literal(subject).is_err() {
                    Decision::Invalid
                } else if account.may_publish(subject) {
                    Decision::Allowed
                } else {
                    Decision::Denied
                };
                cached.clear();
                // A giant subject must not sit in the cache; it is invalid whenever it comes.
                if subject.len() <= crate::limits::SUBJECT_BYTES {
                    cached.extend_from_slice(subject);
                    *decision = Some(fresh);
                } else {
                    *decision = None;
                }
                fresh
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots = Vec::new();
    }
}

/// Open permissions to answer, of one connection.
#[derive(Debug, Default)]
pub struct Grants {
    open: HashMap<Box<[u8]>, Grant>,
    /// In order of receipt, so that the oldest gives way; may name grants that were used up since.
    order: std::collections::VecDeque<(Box<[u8]>, Monotonic)>,
}

#[derive(Debug)]
struct Grant {
    left: u32,
    until: Monotonic,
}

impl Grants {
    /// A message with this reply subject was received.
    pub fn note(&mut self, rule: AllowResponses, reply: &[u8], now: Monotonic) {
        while let Some((oldest, until)) = self.order.front()
            && (*until < now || self.order.len() >= RESPONSE_GRANTS)
        {
            if self.open.get(oldest).is_some_and(|g| g.until <= *until) {
                self.open.remove(oldest);
            }
            self.order.pop_front();
        }
        let until = now.plus(Duration::from_millis(rule.expires_ms));
        self.open.insert(reply.into(), Grant { left: rule.max, until });
        self.order.push_back((reply.into(), until));
    }

    /// Whether `subject` may be answered to now; takes one message off what is left.
    pub fn take(&mut self, subject: &[u8], now: Monotonic) -> bool {
        let Some(grant) = self.open.get_mut(subject) else { return false };
        let open = grant.until >= now && grant.left > 0;
        grant.left = grant.left.saturating_sub(1);
        if grant.left == 0 || !open {
            self.open.remove(subject);
        }
        open
    }
}

#[cfg(test)]
mod tests;
