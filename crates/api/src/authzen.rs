//! AuthZEN: whether something is allowed, in the words of the OpenID Authorization API 1.0 (<https://openid.net/specs/authorization-api-1_0.html>).
//!
//! ```text
//! subject {type, id}   ─► who asks: the token's kind and name, or another's with the scope `evaluate:others`; nobody else is permitted anything
//! action {name}        ─► the type of intent
//! resource {type, id}  ─► what it is about: the id is the target, as in every other intent; the type is on record
//! context, properties  ─► on record; no policy sees what the caller says of itself
//! ```
//!
//! A question is an intent of which only the decision is wanted, so that it is decided by the same policies and is on record like any other.
//! `decision` is true for what is allowed now. What waits for a person is not: its `context` names the ticket, and the same question asked
//! again gets the person's answer ([`crate::decision`] says for how long).
//!
//! Any text is a well-formed type, id or name to the standard, and what nothing permits is answered with `decision: false` and the reason. For
//! a subject that is neither an agent nor a remote actor, no policy can be asked: that no is no intent, and has no id.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, uri::Authority},
    middleware::Next as Rest,
    response::Response,
};
use futures_util::future::join_all;
use grace_cortex::{
    case::sha256,
    command::{Asked, Decision, Grounds, Outcome},
    request::{Actor, ActorKind},
};
use grace_types::{
    chance::{Entropy as _, OsEntropy},
    intent::Json as Document,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    api::Api,
    bearer::{Caller, Scope, record::is_actor},
    body::{self, Object},
    decision::{Next, next},
    intents, limits,
    problem::Problem,
};

/// Properties, of which this implementation keeps a record and nothing more.
type Properties = Map<String, Value>;

/// Who wants to do something, or to what.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entity {
    /// Of a subject `agent` or `remote`, and nothing is permitted to any other; of a resource it is put on record.
    #[serde(rename = "type")]
    kind: String,
    /// Of a subject its name, of a resource the target of the intent.
    id: String,
    /// Put on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    properties: Option<Properties>,
}

/// What it wants to do.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// A type of intent.
    name: String,
    /// Put on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    properties: Option<Properties>,
}

/// A question.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Who.
    subject: Object<Entity>,
    /// What.
    action: Object<Action>,
    /// To what.
    resource: Object<Entity>,
    /// Put on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    context: Option<Properties>,
}

/// A part of a question; what is not given is what stands around the questions.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Who.
    #[serde(default, deserialize_with = "body::given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Entity")]
    subject: Option<Object<Entity>>,
    /// What.
    #[serde(default, deserialize_with = "body::given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Action")]
    action: Option<Object<Action>>,
    /// To what.
    #[serde(default, deserialize_with = "body::given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Entity")]
    resource: Option<Object<Entity>>,
    /// Put on record.
    #[serde(default)]
    context: Option<Properties>,
}

/// Which questions are answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Semantic {
    /// All of them.
    #[default]
    ExecuteAll,
    /// In order, up to the first that is denied.
    DenyOnFirstDeny,
    /// In order, up to the first that is allowed.
    PermitOnFirstPermit,
}

/// How questions are answered. Others than this one are the caller's own: the standard leaves room for them.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Options {
    /// All when not given.
    #[serde(default)]
    evaluations_semantic: Semantic,
}

/// Questions. Without `evaluations`, or with none in it, it is one question, answered as one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [
    {"required": ["subject", "action", "resource"]},
    {"required": ["evaluations"], "properties": {"evaluations": {"minItems": 1}}},
]))]
pub struct Evaluations {
    /// For questions that do not say.
    #[serde(default, deserialize_with = "body::given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Entity")]
    subject: Option<Object<Entity>>,
    /// For questions that do not say.
    #[serde(default, deserialize_with = "body::given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Action")]
    action: Option<Object<Action>>,
    /// For questions that do not say.
    #[serde(default, deserialize_with = "body::given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Entity")]
    resource: Option<Object<Entity>>,
    /// For questions that do not say.
    #[serde(default)]
    context: Option<Properties>,
    /// At most 100.
    #[serde(default)]
    #[schemars(length(max = limits::EVALUATIONS))]
    evaluations: Vec<Object<Part>>,
    /// How they are answered.
    #[serde(default)]
    options: Object<Options>,
}

/// An answer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Evaluated {
    /// Whether it is allowed now.
    decision: bool,
    /// Why, and under which intent it is on record; or the error.
    context: Value,
}

/// Answers, in the order of the questions.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Answers {
    /// To one question.
    One(Evaluated),
    /// To several.
    Several {
        /// As many as were answered.
        evaluations: Vec<Evaluated>,
    },
}

impl Evaluated {
    fn of(decision: &Decision) -> Self {
        let Decision { id, outcome, expires, .. } = decision;
        let Grounds { tier, score, policies, reasons, advice, .. } = &**decision;
        let context = json!({
            "id": id,
            "outcome": outcome,
            "tier": tier,
            "score": score,
            "policies": policies,
            "reasons": reasons,
            "reason_user": {"en": intents::sentence(decision)},
            "advice": advice,
            "expires": expires,
        });
        Self { decision: *outcome == Outcome::Allowed, context }
    }

    fn error(problem: &Problem) -> Self {
        let (status, message) = (problem.status().as_u16(), problem.detail());
        let error = json!({"status": status, "code": problem.code(), "message": message});
        Self { decision: false, context: json!({"error": error, "reason_user": {"en": message}}) }
    }

    /// To somebody of whom no policy can speak.
    fn unknown(why: &str) -> Self {
        let context = json!({
            "outcome": Outcome::Denied,
            "reasons": [{"code": "subject.unknown", "text": why}],
            "reason_user": {"en": why},
        });
        Self { decision: false, context }
    }
}

/// `POST /access/v1/evaluation`.
pub(crate) async fn evaluation(
    State(api): State<Arc<Api>>,
    caller: Caller,
    request: Request,
) -> Result<Json<Evaluated>, Problem> {
    let (headers, question) = taken::<Evaluation>(&api, &caller, request).await?;
    evaluate(&api, &caller, question, &headers).await.map(Json)
}

/// `POST /access/v1/evaluations`.
pub(crate) async fn evaluations(
    State(api): State<Arc<Api>>,
    caller: Caller,
    request: Request,
) -> Result<Json<Answers>, Problem> {
    let (headers, batch) = taken::<Evaluations>(&api, &caller, request).await?;
    let Evaluations { subject, action, resource, context, evaluations, options } = batch;
    let around = Part { subject, action, resource, context };
    if evaluations.is_empty() {
        let question = around.over(&Part::default())?;
        return evaluate(&api, &caller, question, &headers).await.map(|one| Json(Answers::One(one)));
    }
    if evaluations.len() > limits::EVALUATIONS {
        let detail = format!("{} evaluations; at most {} are taken", evaluations.len(), limits::EVALUATIONS);
        return Err(Problem::too_large(detail));
    }
    // The first is paid for.
    api.spend(&caller, evaluations.len() - 1)?;
    let one = async |Object(part): &Object<Part>| match part.over(&around) {
        Ok(question) => match evaluate(&api, &caller, question, &headers).await {
            Ok(evaluated) => evaluated,
            Err(problem) => Evaluated::error(&problem),
        },
        Err(problem) => Evaluated::error(&problem),
    };
    let answers = match options.0.evaluations_semantic {
        Semantic::ExecuteAll => join_all(evaluations.iter().map(one)).await,
        semantic => {
            let last = semantic == Semantic::PermitOnFirstPermit;
            let mut answers = Vec::new();
            for part in &evaluations {
                let answer = one(part).await;
                let enough = answer.decision == last;
                answers.push(answer);
                if enough {
                    break;
                }
            }
            answers
        }
    };
    Ok(Json(Answers::Several { evaluations: answers }))
}

impl Part {
    /// The question, with what stands around it.
    fn over(&self, around: &Self) -> Result<Evaluation, Problem> {
        let missing = |what: &str| Problem::malformed(format!("`{what}` is given neither here nor around"));
        let either = |own: &Option<Properties>, other: &Option<Properties>| own.clone().or(other.clone());
        Ok(Evaluation {
            subject: self.subject.clone().or(around.subject.clone()).ok_or_else(|| missing("subject"))?,
            action: self.action.clone().or(around.action.clone()).ok_or_else(|| missing("action"))?,
            resource: self.resource.clone().or(around.resource.clone()).ok_or_else(|| missing("resource"))?,
            context: either(&self.context, &around.context),
        })
    }
}

async fn taken<T: serde::de::DeserializeOwned>(
    api: &Api,
    caller: &Caller,
    request: Request,
) -> Result<(HeaderMap, T), Problem> {
    let (head, body) = request.into_parts();
    if let Err(problem) = caller.needs(Scope::Evaluate) {
        body::refuse(&head.headers, body).await;
        return Err(problem);
    }
    let read = body::json(api, &head.headers, body, limits::EVALUATIONS_BODY_BYTES).await?;
    Ok((head.headers, read))
}

/// For whom is asked; or why nobody can be.
fn actor(Entity { kind, id, .. }: &Entity) -> Result<Actor, String> {
    let kind =
        match kind.as_str() {
            "agent" => ActorKind::Agent,
            "remote" => ActorKind::Remote,
            _ => return Err(
                "nothing is permitted to subjects of this type: those known here are `agent` and `remote`"
                    .into(),
            ),
        };
    if !is_actor(id) {
        return Err(
            "nobody has this `subject.id`: it has lower-case letters, digits, `-` and `_`, at most 63".into(),
        );
    }
    Ok(Actor { kind, name: id.clone() })
}

async fn evaluate(
    api: &Api,
    caller: &Caller,
    question: Evaluation,
    headers: &HeaderMap,
) -> Result<Evaluated, Problem> {
    let actor = match actor(&question.subject.0) {
        Ok(actor) => actor,
        Err(why) => return Ok(Evaluated::unknown(&why)),
    };
    if actor != caller.actor {
        caller.needs(Scope::EvaluateOthers)?;
    }
    let payload = Document::of(&json!(question));
    // Exactly the same, asked again: what a person has said of it holds for a while, and nobody is asked twice.
    let same = format!("authzen-{}", sha256(payload.text().as_bytes()));
    let asked = Asked {
        kind: question.action.0.name,
        actor: actor.name.clone(),
        payload,
        target: Some(question.resource.0.id),
        only_decide: true,
        ..Asked::default()
    };
    let mut key = same.clone();
    for _ in 0..limits::ANSWERS_FOLLOWED {
        let decision = match intents::decide(api, &actor, asked.clone(), Some(key), headers).await {
            Ok(decision) => decision,
            // There is no such type, or none for such a target: that is the answer, and no fault of the question's form.
            Err(problem) if problem.status() == StatusCode::UNPROCESSABLE_ENTITY => {
                return Ok(Evaluated::error(&problem));
            }
            Err(problem) => return Err(problem),
        };
        match next(&decision, &same, api.clock.now().wall, OsEntropy.next_u128()) {
            Next::Anew(other) => key = other,
            Next::Say(_) | Next::Wait => return Ok(Evaluated::of(&decision)),
        }
    }
    let detail = "the same was asked for too often; ask again later";
    Err(Problem::unavailable("unavailable", detail, limits::RETRY_AFTER))
}

/// `GET /.well-known/authzen-configuration`: where the questions go, at the name under which it was asked.
pub(crate) async fn configuration(headers: HeaderMap) -> Result<Json<Value>, Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let host = host.ok_or_else(|| Problem::malformed("the Host header must name this interface"))?;
    let base = format!("http://{host}");
    Ok(Json(json!({
        "policy_decision_point": base,
        "access_evaluation_endpoint": format!("{base}/access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{base}/access/v1/evaluations"),
    })))
}

/// Gives a request's `X-Request-ID` back with its answer.
pub(crate) async fn echo(request: Request, rest: Rest) -> Response {
    const NAME: &str = "x-request-id";
    let id: Option<HeaderValue> = request.headers().get(NAME).cloned();
    let mut response = rest.run(request).await;
    if let Some(id) = id {
        response.headers_mut().insert(NAME, id);
    }
    response
}
