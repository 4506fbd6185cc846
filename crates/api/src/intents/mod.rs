//! `/v1/intents`: asking for intents, and looking at those that one asked for.
//!
//! ```text
//! POST /v1/intents ─► token: who asks ─► grace.intent.<kind>.<name> ─► the cortex decides, on disk ─► 201, 202, or a problem
//! GET  /v1/intents, /v1/intents/{id} ─► the cortex: what was decided ─► the task manager: what came of it
//! GET  /v1/intents/{id}/events ─► the same, again and again, until it is over
//! ```
//!
//! Who asks is known from the token and nothing else; a body that says so is refused. A caller sees its own intents. What is denied is a
//! problem with `decision_id`: whoever does not look at anything but the status does not go on by mistake.

pub(crate) mod progress;
pub mod view;

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use grace_cortex::command::{
    Answered, Asked, Circumstances, Command, Decision, DecisionState, Outcome, Query, Refusal, Reply,
};
use grace_cortex::{limits::NAME_BYTES, request::Actor};
use grace_kernel::{Envelope, Outcome as Said};
use grace_orchestration::htm;
use grace_types::{
    chance::{Entropy as _, OsEntropy},
    intent::{DISK_RESERVE, IntentId, Json as Document, Priority, Refused},
    trace::TraceContext,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

pub(crate) use self::progress::follow;
use self::view::{Intent, Intents};
use crate::{
    api::Api,
    bearer::{Caller, Scope},
    body::{self, Object},
    limits,
    params::{Id, Params},
    problem::Problem,
};

/// The header of the key under which an intent counts once.
const KEY: &str = "idempotency-key";

/// An intent that is asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Its type.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = NAME_BYTES))]
    kind: String,
    /// What is asked for; `null` when not given.
    #[serde(default)]
    payload: Document,
    /// What it is about, for policies; `instance` when not given.
    #[serde(default)]
    #[schemars(length(min = 1, max = NAME_BYTES))]
    target: Option<String>,
    /// How urgent it is; the type's when not given.
    #[serde(default)]
    priority: Option<Priority>,
    /// When it counts as late, milliseconds from when it is handed on.
    #[serde(default)]
    #[schemars(range(max = u64::MAX))]
    deadline_ms: Option<u64>,
    /// When it may begin, milliseconds from when it is handed on.
    #[serde(default)]
    #[schemars(range(max = u64::MAX))]
    delay_ms: Option<u64>,
    /// What matters besides.
    #[serde(default)]
    circumstances: Option<Object<Circumstances>>,
    /// Only a decision is wanted, on which the caller acts: nothing runs.
    #[serde(default)]
    only_decide: bool,
}

/// `POST /v1/intents`.
pub(crate) async fn submit(
    State(api): State<Arc<Api>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let fit = caller.needs(Scope::IntentsSubmit).and_then(|()| key(&head.headers));
    let key = match fit {
        Ok(key) => key,
        Err(problem) => {
            body::refuse(&head.headers, body).await;
            return Err(problem);
        }
    };
    let wanted: Wanted = body::json(&api, &head.headers, body, limits::INTENT_BODY_BYTES).await?;
    let asked = Asked {
        kind: wanted.kind,
        actor: caller.actor.name.clone(),
        payload: wanted.payload,
        priority: wanted.priority,
        deadline_ms: wanted.deadline_ms,
        delay_ms: wanted.delay_ms,
        target: wanted.target,
        circumstances: wanted.circumstances.map(|Object(it)| it),
        only_decide: wanted.only_decide,
        ..Asked::default()
    };
    let decision = decide(&api, &caller.actor, asked, key, &head.headers).await?;
    answer(&api, decision).await
}

/// The caller's own key; `None` where it has none.
fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(KEY) else { return Ok(None) };
    // The draft of the header's standard has it in quotes; most clients leave them out.
    let text = value.to_str().unwrap_or_default().trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let most = grace_cortex::limits::KEY_BYTES;
    if text.is_empty() || text.len() > most || !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Err(Problem::malformed(format!("Idempotency-Key has 1 to {most} visible ASCII characters")));
    }
    Ok(Some(text.to_owned()))
}

/// Has an intent decided for an actor.
///
/// # Errors
/// It was not decided, and why.
pub(crate) async fn decide(
    api: &Api,
    actor: &Actor,
    asked: Asked,
    key: Option<String>,
    headers: &HeaderMap,
) -> Result<Decision, Problem> {
    let key = key.unwrap_or_else(|| format!("http-{:032x}", OsEntropy.next_u128()));
    let mut envelope = Envelope::new(Command::Submit { intents: vec![asked] });
    let trace = headers.get("traceparent").and_then(|value| value.to_str().ok());
    envelope.traceparent = trace.and_then(|text| text.parse::<TraceContext>().ok()).map(|it| it.to_string());
    let said = api.road.order(actor, &envelope, &key).await?;
    match said {
        Said::Done(Reply::Submitted { results }) => match results.into_iter().next() {
            Some(Answered::Decided(decision)) => Ok(*decision),
            Some(Answered::Refused(refused)) => Err(undecided(refused)),
            None => Err(odd()),
        },
        Said::Done(_) => Err(odd()),
        Said::Refused(refusal) => Err(refused(&refusal)),
    }
}

fn odd() -> Problem {
    let detail = "a component answered something else than was asked";
    Problem::unavailable("unavailable", detail, limits::RETRY_AFTER)
}

/// Why something was not even decided.
fn undecided(Refused { code, message, violations }: Refused) -> Problem {
    let unprocessable = |code| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, message.clone());
    match code.as_str() {
        "too_large" => Problem::too_large(message),
        "key_reused" => unprocessable("key_reused"),
        "invalid" => unprocessable("invalid").with("violations", json!(violations)),
        DISK_RESERVE => Problem::unavailable("unavailable", message, limits::RETRY_AFTER),
        "overloaded" => Problem::unavailable("overloaded", message, limits::RETRY_AFTER),
        _ => unprocessable("refused"),
    }
}

/// Why the cortex does not tell.
fn refused(refusal: &Refusal) -> Problem {
    match refusal.code.as_str() {
        "unknown_intent" => no_such(),
        "forgotten" => Problem::new(StatusCode::GONE, "forgotten", refusal.message.as_str()),
        _ => Problem::unavailable("unavailable", refusal.message.as_str(), limits::RETRY_AFTER),
    }
}

fn no_such() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "the caller has asked for no such intent")
}

/// What was decided, in a sentence: the last reason that is no score says what became of it.
pub(crate) fn sentence(decision: &Decision) -> &str {
    let said = decision.reasons.iter().rfind(|reason| reason.code != "charter.score");
    said.map_or(decision.outcome.word(), |reason| reason.text.as_str())
}

/// What was decided, as a status: a client that looks at nothing else does the right thing.
async fn answer(api: &Api, decision: Decision) -> Result<Response, Problem> {
    let (id, outcome, repeated) = (decision.id, decision.outcome, decision.repeated);
    if outcome == Outcome::Denied {
        return Err(Problem::new(StatusCode::FORBIDDEN, "denied", sentence(&decision))
            .with("decision_id", json!(id))
            .with("tier", json!(decision.tier))
            .with("reasons", json!(decision.reasons))
            .with("advice", json!(decision.advice)));
    }
    let status = match outcome {
        _ if repeated => StatusCode::OK,
        Outcome::Allowed => StatusCode::CREATED,
        _ => StatusCode::ACCEPTED,
    };
    let shown = with_work(api, decision).await?;
    Ok((status, [(header::LOCATION, format!("/v1/intents/{id}"))], Json(shown)).into_response())
}

/// What the caller may know of an intent.
///
/// # Errors
/// It is not the caller's, or nobody can tell.
pub(crate) async fn fetch(api: &Api, caller: &Caller, id: IntentId) -> Result<Intent, Problem> {
    match api.road.look(&caller.actor, Query::Intent(id)).await? {
        Said::Done(Reply::Intent(decision)) => with_work(api, *decision).await,
        Said::Done(_) => Err(odd()),
        Said::Refused(refusal) => Err(refused(&refusal)),
    }
}

/// A decision, with what the task manager knows of it. While it does not answer, a decision says so much by itself.
async fn with_work(api: &Api, decision: Decision) -> Result<Intent, Problem> {
    if decision.outcome != Outcome::Allowed || decision.state != DecisionState::Running {
        return Ok(Intent::of(decision, None));
    }
    match api.road.work(htm::command::Query::Intent(decision.id)).await {
        Ok(Said::Done(htm::Reply::Intent(work))) => Ok(Intent::of(decision, Some(*work))),
        Ok(Said::Refused(_)) => Ok(Intent::of(decision, None)),
        Ok(Said::Done(_)) => Err(odd()),
        Err(problem) => Err(problem),
    }
}

/// `GET /v1/intents/{id}`.
pub(crate) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<Intent>, Problem> {
    caller.needs(Scope::IntentsRead)?;
    fetch(&api, &caller, id).await.map(Json)
}

/// A page of intents.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Only those at this state, as far as the cortex knows.
    #[serde(default)]
    state: Option<DecisionState>,
    /// At most so many, 1 to 100.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    limit: Option<usize>,
    /// Only older ones: the `next` of the page before.
    #[serde(default)]
    before: Option<IntentId>,
}

/// `GET /v1/intents`: the caller's own, newest first.
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Params(page): Params<Page>,
) -> Result<Json<Intents>, Problem> {
    caller.needs(Scope::IntentsRead)?;
    let Page { state, limit, before } = page;
    let limit = limits::page(limit)?;
    let query = Query::Intents { state, limit, before, actor: None };
    match api.road.look(&caller.actor, query).await? {
        Said::Done(Reply::Intents { intents, more }) => {
            let next = intents.last().filter(|_| more).map(|one| one.id);
            let intents = intents.into_iter().map(|decision| Intent::of(decision, None)).collect();
            Ok(Json(Intents { intents, next }))
        }
        Said::Done(_) => Err(odd()),
        Said::Refused(refusal) => Err(refused(&refusal)),
    }
}
