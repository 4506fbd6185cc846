//! `/v1/openapi.json`: the interface described in OpenAPI 3.1. Committed as `schemas/openapi.json`.
//!
//! Schemas are generated from the types that are read and written, as all of Grace's schemas are; what stands around them is the table below.
//! OpenAPI 3.1 takes JSON Schema 2020-12 as it is, so that one generator does for both.

use std::sync::LazyLock;

use axum::{http::header, response::IntoResponse};
use grace_types::intent::IntentId;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    authzen::{Answers, Evaluated, Evaluation, Evaluations},
    bearer::Scope,
    hooks::agent::Agent,
    intents::{
        Page, Wanted,
        view::{Intent, Intents},
    },
    limits,
    narratives::{Narratives, Search},
    people::{Approval, Approvals, Reviews, SignedWord, Which},
};

/// `GET /v1/openapi.json`.
pub(crate) async fn serve() -> impl IntoResponse {
    static TEXT: LazyLock<String> = LazyLock::new(text);
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str())
}

/// The document, as it is committed.
#[must_use]
pub fn text() -> String {
    // Cannot fail: a `Value` has a text.
    serde_json::to_string_pretty(&document()).unwrap_or_default() + "\n"
}

/// A resource and what can be done with it.
struct Operation {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    about: &'static str,
    scope: Option<Scope>,
    query: Option<fn(&mut SchemaGenerator) -> Schema>,
    body: Option<fn(&mut SchemaGenerator) -> Schema>,
    answers: Vec<(u16, &'static str, Answered)>,
    /// Problems of whoever has no token, the wrong one, or too many requests.
    bearer: &'static [u16],
    problems: &'static [u16],
}

/// What an answer holds.
enum Answered {
    Json(fn(&mut SchemaGenerator) -> Schema),
    Text(&'static str),
    Events,
    Nothing,
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Inline, for the parameters of a query.
fn inline<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

const BODY: [u16; 5] = [400, 408, 413, 415, 422];

fn get(path: &'static str, id: &'static str, about: &'static str, scope: Option<Scope>) -> Operation {
    let (answers, bearer): (_, &[u16]) =
        (Vec::new(), if scope.is_some() { &[401, 403, 429, 503] } else { &[] });
    Operation {
        method: "get",
        path,
        id,
        about,
        scope,
        query: None,
        body: None,
        answers,
        bearer,
        problems: &[],
    }
}

fn post(path: &'static str, id: &'static str, about: &'static str, scope: Scope) -> Operation {
    Operation { method: "post", ..get(path, id, about, Some(scope)) }
}

impl Operation {
    fn says<T: JsonSchema>(mut self, status: u16, about: &'static str) -> Self {
        self.answers.push((status, about, Answered::Json(schema::<T>)));
        self
    }

    fn tells(mut self, status: u16, about: &'static str, kind: &'static str) -> Self {
        self.answers.push((status, about, Answered::Text(kind)));
        self
    }

    fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(inline::<T>);
        self
    }

    fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(schema::<T>);
        self
    }

    fn refuses(mut self, problems: &'static [u16]) -> Self {
        self.problems = problems;
        self
    }
}

fn operations() -> Vec<Operation> {
    use Scope::{ApprovalsDecide, ApprovalsRead, IntentsRead, IntentsSubmit, NarrativesRead, ReviewsRead};
    let mut followed = get(
        "/v1/intents/{id}/events",
        "followIntent",
        "What becomes of an intent, as server-sent events named `progress` and, the last one, `end`; each holds the whole intent. \
         A client that comes again says `Last-Event-ID`.",
        Some(IntentsRead),
    )
    .refuses(&[404, 410]);
    followed.answers.push((200, "Events until the intent is over.", Answered::Events));
    followed.answers.push((204, "The client has the last event already.", Answered::Nothing));
    // Whatever goes wrong is a no in the agent's dialect.
    let hook = Operation {
        bearer: &[],
        ..post(
            "/v1/hooks/{agent}",
            "decideToolCall",
            "A coding agent's hook: its JSON, and the answer in its dialect. Every no has status 200, a wrong token's included, since \
             agents take any other for a hook that failed and go on. Who asks is known from the token.",
            Scope::Hooks,
        )
    }
    .says::<Map<String, Value>>(200, "What the agent is told; `{}` is no objection.")
    .refuses(&[404]);
    let events = Operation {
        scope: None,
        bearer: &[401, 429, 503],
        ..post(
            "/v1/events",
            "sendEvents",
            "CloudEvents 1.0 from outside, one or a batch: once answered with 202 they are durable. In binary mode the attributes are `ce-` \
             headers and the body is the data, of any type. Needs the instance's own token (`keys/api.token`), not one of `grace token`.",
            Scope::Hooks,
        )
    }
    .says::<Map<String, Value>>(202, "All are durable: `accepted`, and the `id` of each with the `event` that it became.")
    .refuses(&[400, 408, 413, 415]);
    vec![
        get("/livez", "live", "Whether this interface answers.", None).tells(200, "It does.", "text/plain"),
        get("/readyz", "ready", "Whether every part of Grace is ready; `?verbose` names them.", None)
            .tells(200, "All are.", "text/plain")
            .tells(503, "These are not.", "text/plain"),
        get("/metrics", "metrics", "Metrics for Prometheus.", None).tells(200, "All of them.", "text/plain"),
        get("/v1/openapi.json", "openapi", "This document.", None).says::<Map<String, Value>>(200, "This."),
        get("/v1/intents", "listIntents", "The caller's own intents, newest first.", Some(IntentsRead))
            .query::<Page>()
            .says::<Intents>(200, "A page.")
            .refuses(&[400]),
        post(
            "/v1/intents",
            "submitIntent",
            "Asks for an intent. Who asks is known from the token. What is denied is a problem with `decision_id`.",
            IntentsSubmit,
        )
        .body::<Wanted>()
        .says::<Intent>(201, "Allowed.")
        .says::<Intent>(202, "It waits for people, or for a vote.")
        .says::<Intent>(200, "Decided before, under the same key.")
        .refuses(&BODY),
        get("/v1/intents/{id}", "showIntent", "One of the caller's own intents.", Some(IntentsRead))
            .says::<Intent>(200, "What is known of it.")
            .refuses(&[404, 410]),
        followed,
        hook,
        events,
        get("/v1/approvals", "listApprovals", "What waits for people, or what they said.", Some(ApprovalsRead))
            .query::<Which>()
            .says::<Approvals>(200, "A page.")
            .refuses(&[400]),
        get("/v1/approvals/{id}", "showApproval", "One, with all that an approver signs.", Some(ApprovalsRead))
            .says::<Approval>(200, "It.")
            .refuses(&[404]),
        post("/v1/approvals/{id}/approve", "approve", "Hands in a yes that an approver has signed.", ApprovalsDecide)
            .body::<SignedWord>()
            .says::<Approval>(200, "It counts, once.")
            .refuses(&[400, 404, 408, 409, 413, 415, 422]),
        post("/v1/approvals/{id}/deny", "deny", "Hands in a no that an approver has signed.", ApprovalsDecide)
            .body::<SignedWord>()
            .says::<Approval>(200, "It counts, once.")
            .refuses(&[400, 404, 408, 409, 413, 415, 422]),
        get("/v1/reviews", "listReviews", "What ran and is to be looked at, or what came of that.", Some(ReviewsRead))
            .query::<Which>()
            .says::<Reviews>(200, "A page.")
            .refuses(&[400]),
        get("/v1/narratives", "narratives", "Who did what, when, where, why and how.", Some(NarrativesRead))
            .query::<Search>()
            .says::<Narratives>(200, "A page, the latest first.")
            .refuses(&[400]),
        get(
            "/v1/narratives/why/{id}",
            "why",
            "What led to an event, an intent, a task, a chaos run or a component's latest, and what it led to.",
            Some(NarrativesRead),
        )
        .says::<Map<String, Value>>(200, "The story.")
        .refuses(&[404]),
        post("/access/v1/evaluation", "evaluate", "AuthZEN: whether something is allowed.", Scope::Evaluate)
            .body::<Evaluation>()
            .says::<Evaluated>(200, "The answer.")
            .refuses(&BODY),
        post("/access/v1/evaluations", "evaluateAll", "AuthZEN: the same for several.", Scope::Evaluate)
            .body::<Evaluations>()
            .says::<Answers>(200, "The answers.")
            .refuses(&BODY),
        get("/.well-known/authzen-configuration", "authzenConfiguration", "AuthZEN: where to ask.", None)
            .says::<Map<String, Value>>(200, "The endpoints.")
            .refuses(&[400]),
    ]
}

fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .into_generator();
    let mut paths = Map::new();
    for operation in operations() {
        let described = described(&operation, &mut generator);
        paths.entry(operation.path).or_insert_with(|| json!({}))[operation.method] = described;
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Grace",
            "version": "1",
            "description": "Asking for intents, and looking at what was decided and why. Every error is a Problem; docs/errors.md lists the codes.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token of `grace token create`."},
                "events": {"type": "http", "scheme": "bearer", "description": "The instance's own, in `keys/api.token`."},
            },
            "schemas": schemas,
        },
    })
}

fn described(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut described = json!({"operationId": operation.id, "summary": operation.about});
    let mut parameters = Vec::new();
    if operation.path.contains("{id}") {
        let any = operation.id == "why";
        let id = if any {
            json!({"type": "string", "minLength": 1})
        } else {
            json!(generator.subschema_for::<IntentId>())
        };
        parameters.push(json!({"name": "id", "in": "path", "required": true, "schema": id}));
    }
    if operation.path.contains("{agent}") {
        let agent = generator.subschema_for::<Agent>();
        parameters.push(json!({"name": "agent", "in": "path", "required": true, "schema": agent}));
    }
    if operation.id == "submitIntent" {
        parameters.push(json!({"name": "Idempotency-Key", "in": "header", "required": false,
            "description": "The same key of the same actor gives the same intent.",
            "schema": {"type": "string", "pattern": "^[!#-~]+$", "maxLength": grace_cortex::limits::KEY_BYTES}}));
    }
    if operation.id == "followIntent" {
        parameters.push(
            json!({"name": "Last-Event-ID", "in": "header", "required": false, "schema": {"type": "string"}}),
        );
    }
    if let Some(query) = operation.query {
        let schema = query(generator).to_value();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let schema = written(schema);
            parameters.push(json!({"name": name, "in": "query", "required": false, "schema": schema}));
        }
    }
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if let Some(body) = operation.body {
        let schema = body(generator);
        described["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    if operation.id == "decideToolCall" {
        // Whatever it is: what cannot be read as a hook of the agent's is answered with a no.
        let content = json!({"application/json": {"schema": {}}});
        described["requestBody"] = json!({"required": false, "content": content,
            "description": "What the agent's host gives its hooks: an object. Anything else is answered with a no, too."});
    }
    if operation.id == "sendEvents" {
        let event = json!({"type": "object", "required": ["specversion", "id", "source", "type"], "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "minLength": 1},
            "source": {"type": "string", "minLength": 1},
            "type": {"type": "string", "minLength": 1},
        }});
        let batch = json!({"type": "array", "items": event, "maxItems": limits::BATCH_EVENTS});
        described["requestBody"] = json!({"required": true, "content": {
            "application/cloudevents+json": {"schema": event},
            "application/cloudevents-batch+json": {"schema": batch},
        }});
        described["security"] = json!([{"events": []}]);
    }
    let mut responses = Map::new();
    for (status, about, answered) in &operation.answers {
        let content = match answered {
            Answered::Json(schema) => json!({"application/json": {"schema": schema(generator)}}),
            Answered::Text(kind) => json!({*kind: {"schema": {"type": "string"}}}),
            Answered::Events => json!({"text/event-stream": {"schema": event()}}),
            Answered::Nothing => json!({}),
        };
        responses.insert(status.to_string(), json!({"description": about, "content": content}));
    }
    let mut problems: Vec<u16> =
        operation.problems.iter().chain(operation.bearer).copied().chain([421]).collect();
    problems.sort_unstable();
    for status in problems {
        let refused = json!({"description": "A problem.",
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}});
        responses.entry(status.to_string()).or_insert(refused);
    }
    described["responses"] = responses.into();
    if let Some(scope) = operation.scope {
        described["security"] = json!([{"token": [scope.word()]}]);
    }
    described
}

/// A member that may be `null`, as a parameter of a query: that is left out instead.
fn written(schema: &Value) -> Value {
    let mut schema = schema.clone();
    let Some(members) = schema.as_object_mut() else { return schema };
    members.remove("default");
    if let Some(Value::Array(kinds)) = members.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_slice() {
            members["type"] = kind.clone();
        }
    }
    if let Some(Value::Array(any)) = members.get_mut("anyOf") {
        any.retain(|one| one["type"] != "null");
    }
    schema
}

/// A server-sent event.
fn event() -> Value {
    json!({
        "type": "object",
        "properties": {
            "event": {"enum": ["progress", "end"]},
            "id": {"type": "string"},
            "retry": {"type": "integer"},
            "data": {"type": "string", "contentMediaType": "application/json",
                "contentSchema": {"$ref": "#/components/schemas/Intent"}},
        },
    })
}

/// RFC 9457, and what Grace adds.
fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string", "description": "Stable; docs/errors.md lists all of them."},
            "detail": {"type": "string", "description": "What is wrong and what to do, for people."},
            "decision_id": {"type": "string", "description": "The intent that was denied."},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_current() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/openapi.json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, text()).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            text(),
            committed,
            "{} differs; if that is meant, run with UPDATE_GOLDEN=1",
            path.display()
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(object) => {
                    found.extend(object.get("$ref").and_then(|to| Some(to.as_str()?.to_owned())));
                    object.values().for_each(|value| references(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
