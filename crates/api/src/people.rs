//! `/v1/approvals` and `/v1/reviews`: what waits for people, and what they said.
//!
//! A yes or a no is what an approver has signed with his own key, elsewhere; this interface hands it in and signs nothing. So a token with the
//! scope `approvals:decide` approves nothing by itself.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
};
use grace_cortex::{
    case::{Case, Word},
    governance::{
        Command, Query, Refusal, Reply,
        binding::{Answer, Said as Signed},
        command::ApprovalView,
        state::Looked,
    },
};
use grace_kernel::Outcome as Said;
use grace_types::{
    intent::{IntentId, Json as Document},
    reason::Reason,
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    api::Api,
    bearer::{Caller, Scope},
    body, limits,
    params::{Id, Params},
    problem::Problem,
};

/// What somebody has to look at.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// Which intent.
    intent: IntentId,
    /// Its type.
    #[serde(rename = "type")]
    kind: String,
    /// Who asked. He cannot approve it himself.
    actor: String,
    /// What kind of actor that is.
    actor_kind: &'static str,
    /// What it is about.
    target: String,
    /// What was asked for.
    payload: Document,
    /// Its tier.
    tier: u8,
    /// Why it is owed.
    reasons: Vec<Reason>,
    /// When it was decided that it is owed.
    since: Timestamp,
}

impl From<Case> for Shown {
    fn from(case: Case) -> Self {
        Self {
            intent: case.intent,
            kind: case.kind,
            actor_kind: case.actor.kind.word(),
            actor: case.actor.name,
            target: case.target,
            payload: case.payload,
            tier: case.tier.number(),
            reasons: case.reasons,
            since: case.since,
        }
    }
}

/// An approval that is owed, or what became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Approval {
    #[serde(flatten)]
    case: Shown,
    /// How many different people have to say yes.
    quorum: u8,
    /// When a yes comes too late.
    until: Option<Timestamp>,
    /// `approved`, `denied` or `expired`; `null` while it waits.
    word: Option<&'static str>,
    /// Who said yes so far, or made the verdict.
    by: Vec<String>,
    /// Approvers who could still say yes.
    may: Vec<String>,
    /// When it was closed.
    closed: Option<Timestamp>,
    /// SHA-256 over what was asked for: an approver signs it.
    digest: String,
    /// The public key of this instance's governance: an approver signs it, too.
    instance: String,
}

impl From<ApprovalView> for Approval {
    fn from(view: ApprovalView) -> Self {
        let ApprovalView { case, word, by, may, closed, instance, .. } = view;
        let word = word.map(|word| match word {
            Word::Approved => "approved",
            Word::Denied => "denied",
            Word::Expired => "expired",
        });
        let (quorum, until, digest) = (case.quorum, case.until, case.digest.clone());
        Self { case: case.into(), quorum, until, word, by, may, closed, digest, instance }
    }
}

/// A page of approvals.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Approvals {
    /// Those that wait, the longest first; or those that are closed, the latest first.
    approvals: Vec<Approval>,
    /// What `after` is for the next page; `null` when this is the last one.
    next: Option<IntentId>,
}

/// A review that is owed, or what came of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Review {
    #[serde(flatten)]
    case: Shown,
    /// Whether something is wrong with it; `null` while nobody has looked.
    flagged: Option<bool>,
    /// Who looked.
    by: Option<String>,
    /// What he has to say.
    note: Option<String>,
    /// When.
    at: Option<Timestamp>,
}

impl From<Looked> for Review {
    fn from(looked: Looked) -> Self {
        let Looked { case, flagged, by, note, at } = looked;
        Self { case: case.into(), flagged, by, note, at }
    }
}

/// A page of reviews.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Reviews {
    /// Those that are owed; or those that were looked at, the latest first.
    reviews: Vec<Review>,
    /// What `after` is for the next page; `null` when this is the last one.
    next: Option<IntentId>,
}

/// Which page.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// What is over instead of what waits.
    #[serde(default)]
    closed: bool,
    /// The `next` of the page before.
    #[serde(default)]
    after: Option<IntentId>,
}

/// What an approver has signed: `grace approvals approve ID --as NAME --case FILE` prints it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedWord {
    /// The digest of what the approver saw.
    digest: String,
    /// Who.
    approver: String,
    /// When, by the approver's clock.
    at: Timestamp,
    /// Why, in his words.
    #[serde(default)]
    reason: Option<String>,
    /// The line of a signed note over all of it.
    signature: String,
}

async fn ask(api: &Api, command: Command) -> Result<Reply, Problem> {
    match api.road.govern(command).await? {
        Said::Done(reply) => Ok(reply),
        Said::Refused(refusal) => Err(refused(refusal)),
    }
}

fn refused(Refusal { code, message, .. }: Refusal) -> Problem {
    let problem = |status, code| Problem::new(status, code, message.clone());
    match code.as_str() {
        "not_found" => problem(StatusCode::NOT_FOUND, "not_found"),
        "unknown_approver" => problem(StatusCode::FORBIDDEN, "unknown_approver"),
        "forged" => problem(StatusCode::FORBIDDEN, "forged"),
        "own_intent" => problem(StatusCode::FORBIDDEN, "own_intent"),
        "closed" => problem(StatusCode::CONFLICT, "closed"),
        "expired" => problem(StatusCode::CONFLICT, "expired"),
        "replayed" => problem(StatusCode::CONFLICT, "replayed"),
        "wrong_digest" => problem(StatusCode::CONFLICT, "wrong_digest"),
        "bad_request" => problem(StatusCode::UNPROCESSABLE_ENTITY, "refused"),
        _ => Problem::unavailable("unavailable", format!("governance: {message}"), limits::RETRY_AFTER),
    }
}

fn odd() -> Problem {
    let detail = "governance answered something else than was asked";
    Problem::unavailable("unavailable", detail, limits::RETRY_AFTER)
}

/// `GET /v1/approvals`.
pub(crate) async fn approvals(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Params(Which { closed, after }): Params<Which>,
) -> Result<Json<Approvals>, Problem> {
    caller.needs(Scope::ApprovalsRead)?;
    match ask(&api, Command::Query(Query::Approvals { closed, after })).await? {
        Reply::Approvals { rows, more } => {
            let next = rows.last().filter(|_| more).map(|row| row.case.intent);
            Ok(Json(Approvals { approvals: rows.into_iter().map(Into::into).collect(), next }))
        }
        _ => Err(odd()),
    }
}

/// `GET /v1/approvals/{id}`.
pub(crate) async fn approval(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<Approval>, Problem> {
    caller.needs(Scope::ApprovalsRead)?;
    match ask(&api, Command::Query(Query::Approval(id))).await? {
        Reply::Approval(view) => Ok(Json((*view).into())),
        _ => Err(odd()),
    }
}

/// `POST /v1/approvals/{id}/approve`.
pub(crate) async fn approve(
    api: State<Arc<Api>>,
    caller: Caller,
    id: Id,
    request: Request,
) -> Result<Json<Approval>, Problem> {
    answer(api, caller, id, request, Answer::Approve).await
}

/// `POST /v1/approvals/{id}/deny`.
pub(crate) async fn deny(
    api: State<Arc<Api>>,
    caller: Caller,
    id: Id,
    request: Request,
) -> Result<Json<Approval>, Problem> {
    answer(api, caller, id, request, Answer::Deny).await
}

async fn answer(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(intent): Id,
    request: Request,
    answer: Answer,
) -> Result<Json<Approval>, Problem> {
    let (head, body) = request.into_parts();
    if let Err(problem) = caller.needs(Scope::ApprovalsDecide) {
        body::refuse(&head.headers, body).await;
        return Err(problem);
    }
    let word: SignedWord = body::json(&api, &head.headers, body, limits::WORD_BODY_BYTES).await?;
    let SignedWord { digest, approver, at, reason, signature } = word;
    let said = Signed { intent, digest, approver, at, reason, signature };
    let command = match answer {
        Answer::Approve => Command::Approve(said),
        Answer::Deny => Command::Deny(said),
    };
    match ask(&api, command).await? {
        Reply::Counted { approval, .. } => Ok(Json((*approval).into())),
        _ => Err(odd()),
    }
}

/// `GET /v1/reviews`.
pub(crate) async fn reviews(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Params(Which { closed, after }): Params<Which>,
) -> Result<Json<Reviews>, Problem> {
    caller.needs(Scope::ReviewsRead)?;
    match ask(&api, Command::Query(Query::Reviews { closed, after })).await? {
        Reply::Reviews { rows, more } => {
            let next = rows.last().filter(|_| more).map(|row| row.case.intent);
            Ok(Json(Reviews { reviews: rows.into_iter().map(Into::into).collect(), next }))
        }
        _ => Err(odd()),
    }
}
