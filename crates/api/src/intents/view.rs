//! Intents as they are shown over HTTP. Fields may be added, not renamed.

use grace_cortex::command::{Decision, Grounds};
use grace_orchestration::htm::view::{IntentState, IntentView, TaskView};
use grace_types::{
    intent::{IntentId, asked::BallotView},
    reason::Reason,
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::Serialize;

/// What is known of an intent.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Intent {
    /// Its name.
    pub id: IntentId,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who asked.
    pub actor: String,
    /// What kind of actor that is.
    pub actor_kind: String,
    /// `allowed`, `waiting` or `denied`.
    pub decision: &'static str,
    /// `waiting`, `running`, `succeeded`, `failed`, `cancelled` or `denied`.
    pub state: &'static str,
    /// Its tier, 0 to 4; `null` where no policy permits it.
    pub tier: Option<u8>,
    /// How many different people have to say yes, where it waits for people.
    pub quorum: u8,
    /// How much it matters, 0.0 to 1.0.
    pub score: f64,
    /// The policies that determined the decision.
    pub policies: Vec<String>,
    /// Why it was decided so.
    pub reasons: Vec<Reason>,
    /// What may be done next.
    pub advice: Vec<String>,
    /// Whether somebody has to look at it afterwards.
    pub review: bool,
    /// When what waits has waited too long.
    pub expires: Option<Timestamp>,
    /// It was decided before, under the same key.
    pub repeated: bool,
    /// The key under which it counts once.
    pub key: Option<String>,
    /// SHA-256 over what was asked for: what an approval is bound to.
    pub digest: String,
    /// When it was decided.
    pub since: Timestamp,
    /// Why it failed or was cancelled.
    pub why: Option<String>,
    /// What voters said of it, where it was put to the vote (tier 3; open until `expires` as long as it waits); in a list they are left out.
    pub ballots: Vec<BallotView>,
    /// Its tasks, where it has some; in a list they are left out.
    pub tasks: Vec<TaskView>,
}

/// A page of intents.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Intents {
    /// Newest first.
    pub intents: Vec<Intent>,
    /// What `before` is for the next page; `null` when this is the last one.
    pub next: Option<IntentId>,
}

impl Intent {
    /// What was decided, with what came of it.
    pub(crate) fn of(decision: Decision, work: Option<IntentView>) -> Self {
        let state = match &work {
            // Its tasks go on: those that take effects back.
            Some(work) if work.state == IntentState::Compensating => "running",
            Some(work) => work.state.word(),
            None => decision.state.word(),
        };
        let (why, tasks) = work.map(|work| (work.reason, work.tasks)).unwrap_or_default();
        let Decision { id, key, outcome, expires, repeated, digest, since, ballots, grounds, .. } = decision;
        let Grounds {
            kind, actor, actor_kind, tier, quorum, score, policies, reasons, advice, review, ..
        } = grounds.into_inner();
        Self {
            id,
            kind,
            actor,
            actor_kind,
            decision: outcome.word(),
            state,
            tier,
            quorum,
            score,
            policies,
            reasons,
            advice,
            review,
            expires,
            repeated,
            key,
            digest,
            since,
            why,
            ballots,
            tasks,
        }
    }

    /// Whether nothing more will become of it.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.state, "waiting" | "running")
    }
}
