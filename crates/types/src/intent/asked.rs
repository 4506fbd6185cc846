//! What is asked of the cortex, and what it answers: the one form in which everybody speaks to it.
//!
//! ```text
//! an operator                ─ grace.cmd.cortex ──────────────┐
//! everybody else ─ grace.intent.<kind of actor>.<its name> ───┴─► {"command": {"submit": {"intents": [Asked]}}}
//!                                                  ◄─ {"done": {"submitted": {"results": [Answered]}}}
//! ```
//!
//! Who asks is known from the subject, which only the holder of its credential may publish on; what an operator calls itself is a label.
//! The answer leaves when the decision is durable; with the header [`super::WAIT_HEADER`] it waits for the task manager to take what is
//! allowed, two seconds at most.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::{IntentId, Json, Origin, Priority, Refused};
use crate::{reason::Reason, time::Timestamp};

/// The subject on which an actor asks for intents, by its kind in lower case and its name.
#[must_use]
pub fn intent_subject(kind: &str, name: &str) -> String {
    format!("grace.intent.{kind}.{name}")
}

/// The subject on which the kernel `governance` speaks to the cortex. Nobody else may publish there.
pub const GOVERN_SUBJECT: &str = "grace.cortex.govern";

/// The subject on which the cortex tells the kernel `governance` what people owe. Nobody else may publish there.
pub const OWE_SUBJECT: &str = "grace.governance.owe";

/// An intent that somebody asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Its type's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who asks: an operator's label. On the road of others it is what the asker calls itself within its own name, and no policy sees it.
    pub actor: String,
    /// What is asked for; `null` when not given.
    #[serde(default)]
    pub payload: Json,
    /// Idempotency key: the same key of the same actor gives the same intent and the same decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How urgent it is; the type's when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// When it counts as late, milliseconds from when it is handed on; the type's when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// When it may begin, milliseconds from when it is handed on; at once when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// What it is about, for policies; `instance` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What matters besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circumstances: Option<Circumstances>,
    /// What caused it. Who approved it, tier and score are the cortex's to say; what is said of them here is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<Origin>>,
    /// Only a decision is wanted: the asker acts on it, and nothing is handed on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_decide: bool,
}

/// What matters beside who and what.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Circumstances {
    /// People outside would notice.
    pub user_facing: bool,
    /// It is about an emergency.
    pub emergency: bool,
    /// How much revenue depends on it, 0.0 to 1.0.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub revenue_impact: f64,
}

/// What became of something that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    /// It was decided, and the decision is durable.
    Decided(Box<Decision>),
    /// It was not even decided.
    Refused(Refused),
}

/// A decision on an intent. What it was decided on reads as if it stood here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "Read")]
pub struct Decision {
    /// The intent's name, from now on.
    pub id: IntentId,
    /// The idempotency key under which it was asked for.
    pub key: Option<String>,
    /// Allowed, denied, or what is waited for.
    pub outcome: Outcome,
    /// When what waits has waited too long.
    pub expires: Option<Timestamp>,
    /// It was decided before, under the same key.
    pub repeated: bool,
    /// What it is at.
    pub state: DecisionState,
    /// SHA-256 over what was asked for, lowercase hex: what an approval is bound to.
    pub digest: String,
    /// When it was decided.
    pub since: Timestamp,
    /// What voters said of it, where it was put to the vote and is asked for by itself.
    pub ballots: Vec<BallotView>,
    /// What it was decided on.
    pub grounds: Shared,
}

/// [`Grounds`] that many decisions may have. Whoever changes them has a copy first.
#[derive(Debug, Clone)]
pub struct Shared(Arc<Grounds>);

impl Shared {
    /// To be taken apart.
    #[must_use]
    pub fn into_inner(self) -> Grounds {
        Arc::unwrap_or_clone(self.0)
    }
}

impl From<Grounds> for Shared {
    fn from(grounds: Grounds) -> Self {
        Self(Arc::new(grounds))
    }
}

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Deref for Shared {
    type Target = Grounds;

    fn deref(&self) -> &Grounds {
        &self.0
    }
}

impl DerefMut for Shared {
    fn deref_mut(&mut self) -> &mut Grounds {
        let grounds = Arc::make_mut(&mut self.0);
        grounds.told = Told::default();
        grounds
    }
}

/// What is the same in every decision on what one actor asks for alike: who, of which type, and the judgement. Many decisions share it.
#[derive(Debug, Clone, PartialEq)]
pub struct Grounds {
    /// The intent's type.
    pub kind: String,
    /// Who asked.
    pub actor: String,
    /// What kind of actor that is, such as `operator`.
    pub actor_kind: String,
    /// The tier, 0 to 4, where a policy permits it.
    pub tier: Option<u8>,
    /// How many different people have to say yes, where it waits for people.
    pub quorum: u8,
    /// How much it matters, 0.0 to 1.0.
    pub score: f64,
    /// The policies that determined it, by name.
    pub policies: Vec<String>,
    /// Why.
    pub reasons: Vec<Reason>,
    /// What may be done next.
    pub advice: Vec<String>,
    /// Whether somebody has to look at it afterwards.
    pub review: bool,
    /// Whether it goes to the task manager once it is allowed, which knows more of it then.
    pub planned: bool,
    /// Nothing, at first.
    pub told: Told,
}

/// The longest of [`Grounds`] as they are written, once somebody has written them: of decisions that share them each is written.
#[derive(Debug, Default)]
pub struct Told(OnceLock<Option<[Box<RawValue>; 3]>>);

/// A copy is made to be changed.
impl Clone for Told {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// It follows from the rest.
impl PartialEq for Told {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Grounds {
    fn told(&self) -> Option<[&RawValue; 3]> {
        let write = || {
            let policies = to_raw_value(&self.policies).ok()?;
            Some([policies, to_raw_value(&self.reasons).ok()?, to_raw_value(&self.advice).ok()?])
        };
        self.told.0.get_or_init(write).as_ref().map(|told| told.each_ref().map(|one| &**one))
    }
}

impl Decision {
    /// The same decision on another intent, which differs in this alone and is not repeated.
    #[must_use]
    pub fn alike(&self, id: IntentId, key: Option<String>, digest: String) -> Self {
        let Self { outcome, expires, state, since, ref grounds, .. } = *self;
        let (ballots, grounds) = (Vec::new(), grounds.clone());
        Self { id, key, outcome, expires, repeated: false, state, digest, since, ballots, grounds }
    }

    /// Whether it was allowed in an emergency, under a grant that was live.
    #[must_use]
    pub fn is_emergency(&self) -> bool {
        self.outcome == Outcome::Allowed && self.tier == Some(super::EMERGENCY_TIER)
    }
}

impl Deref for Decision {
    type Target = Grounds;

    fn deref(&self) -> &Grounds {
        &self.grounds
    }
}

impl DerefMut for Decision {
    fn deref_mut(&mut self) -> &mut Grounds {
        &mut self.grounds
    }
}

/// A decision as it is read.
#[derive(Deserialize)]
struct Read {
    id: IntentId,
    #[serde(rename = "type")]
    kind: String,
    actor: String,
    actor_kind: String,
    #[serde(default)]
    key: Option<String>,
    outcome: Outcome,
    tier: Option<u8>,
    #[serde(default = "one")]
    quorum: u8,
    score: f64,
    policies: Vec<String>,
    reasons: Vec<Reason>,
    advice: Vec<String>,
    review: bool,
    expires: Option<Timestamp>,
    repeated: bool,
    state: DecisionState,
    digest: String,
    since: Timestamp,
    planned: bool,
    #[serde(default)]
    ballots: Vec<BallotView>,
}

impl From<Read> for Decision {
    fn from(read: Read) -> Self {
        let Read { id, key, outcome, expires, repeated, state, digest, since, ballots, .. } = read;
        let Read { kind, actor, actor_kind, tier, quorum, score, policies, reasons, advice, .. } = read;
        let Read { review, planned, .. } = read;
        let told = Told::default();
        let grounds = Grounds {
            kind,
            actor,
            actor_kind,
            tier,
            quorum,
            score,
            policies,
            reasons,
            advice,
            review,
            planned,
            told,
        };
        Self { id, key, outcome, expires, repeated, state, digest, since, ballots, grounds: grounds.into() }
    }
}

/// A decision as it is written; the longest of its parts may be already.
#[derive(Serialize)]
struct Written<'a, P, R> {
    id: IntentId,
    #[serde(rename = "type")]
    kind: &'a str,
    actor: &'a str,
    actor_kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    outcome: Outcome,
    tier: Option<u8>,
    #[serde(skip_serializing_if = "is_one")]
    quorum: u8,
    score: f64,
    policies: P,
    reasons: R,
    advice: P,
    review: bool,
    expires: Option<Timestamp>,
    repeated: bool,
    state: DecisionState,
    digest: &'a str,
    since: Timestamp,
    planned: bool,
    #[serde(skip_serializing_if = "<[BallotView]>::is_empty")]
    ballots: &'a [BallotView],
}

impl Serialize for Decision {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // What nobody else shares is written once or twice.
        let shared = Arc::strong_count(&self.grounds.0) > 1;
        match shared.then(|| self.grounds.told()).flatten() {
            Some([policies, reasons, advice]) => self.written(policies, reasons, advice).serialize(to),
            None => self.written(&self.policies, &self.reasons, &self.advice).serialize(to),
        }
    }
}

impl Decision {
    fn written<P, R>(&self, policies: P, reasons: R, advice: P) -> Written<'_, P, R> {
        Written {
            id: self.id,
            kind: &self.kind,
            actor: &self.actor,
            actor_kind: &self.actor_kind,
            key: self.key.as_deref(),
            outcome: self.outcome,
            tier: self.tier,
            quorum: self.quorum,
            score: self.score,
            policies,
            reasons,
            advice,
            review: self.review,
            expires: self.expires,
            repeated: self.repeated,
            state: self.state,
            digest: &self.digest,
            since: self.since,
            planned: self.planned,
            ballots: &self.ballots,
        }
    }
}

const fn one() -> u8 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands in a reference")]
const fn is_one(number: &u8) -> bool {
    *number == 1
}

/// A voter's ballot, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BallotView {
    /// Who.
    pub voter: String,
    /// `yes`, `no` or `abstain`.
    pub vote: String,
    /// How much it weighs.
    pub weight: u32,
    /// Whether its no settles it.
    pub veto: bool,
    /// When, by the voter's clock.
    pub time: Timestamp,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// What becomes of what is asked for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It runs.
    Allowed,
    /// It waits for a person.
    WaitsForApproval,
    /// It waits for unified logic's vote.
    WaitsForVote,
    /// It does not run.
    Denied,
}

impl Outcome {
    /// In the words of `grace intent show`: allowed, waiting or denied.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::WaitsForApproval | Self::WaitsForVote => "waiting",
            Self::Denied => "denied",
        }
    }
}

/// What an intent is at, as far as the cortex knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionState {
    /// For people, for a vote, or for the task manager to take it.
    Waiting,
    /// The task manager has it.
    Running,
    /// It was allowed, and there is nothing to run.
    Succeeded,
    /// It was allowed, and the task manager refused it.
    Failed,
    /// It is not allowed.
    Denied,
}

impl DecisionState {
    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Denied => "denied",
        }
    }
}

/// What a component asks of the cortex, as far as those need it that do not know the cortex.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request<'a> {
    /// These are wanted.
    Submit {
        /// In the order of the results.
        intents: &'a [Asked],
    },
    /// What is there.
    Query(Look<'a>),
}

/// What is looked at.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Look<'a> {
    /// The intent that an actor asked for under a key.
    Key {
        /// Who.
        actor: ActorName<'a>,
        /// Which key.
        key: &'a str,
    },
}

/// An actor: its kind in lower case, and its name.
#[derive(Debug, Serialize)]
pub struct ActorName<'a> {
    /// Such as `automation`.
    pub kind: &'a str,
    /// Such as `schedule:nightly`.
    pub name: &'a str,
}

/// What the cortex answers to a [`Request`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// One for each intent, in their order.
    Submitted {
        /// Decided, or not even that.
        results: Vec<Answered>,
    },
    /// The intent.
    Intent(Box<Decision>),
}

/// Why the cortex, or the task manager, does not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Stable: `not_configured`, `bad_request`, `overloaded`, `unknown_intent`; of the cortex `unknown_key`, `forgotten`, `bad_generation`,
    /// `old_generation`, `old_revision`, `not_genuine`, and to voters `not_a_voter`, `unknown_vote`, `ballot_refused`; of the task manager `unknown_worker`, `unknown_task`, `unknown_type`, `over`, `not_dead`, `compensated`, `full`.
    pub code: String,
    /// One sentence for people.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
