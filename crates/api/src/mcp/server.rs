//! Grace as a server of the Model Context Protocol: what an agent may ask of it.
//!
//! | Tool | What it does |
//! |---|---|
//! | `submit_intent` | asks for an intent, as this agent; it is decided like any other |
//! | `intent_status` | what became of one that this agent asked for |
//! | `list_approvals` | what this agent asked for and waits for a person |
//! | `query_narratives` | who did what, when, where, why and how |
//! | `why` | what led to something, and what it led to |
//!
//! Over HTTP a token's scopes say which of them are open. The protocol itself is the official SDK's, and this module and `http` are the only
//! ones that know it. An agent sees its own intents; that it
//! approves or denies nothing is not a rule but the lack of a tool, and of a credential.

use std::{borrow::Cow, sync::Arc};

use axum::http::request::Parts;
use grace_cortex::{
    command::{Answered, Asked, Command, DecisionState, Query, Reply},
    request::{Actor, ActorKind},
};
use grace_kernel::{Envelope, Outcome};
use grace_store::narrative::{self, Order};
use grace_types::{
    chance::{Entropy as _, OsEntropy},
    intent::{IntentId, Json},
    manifest::units,
    time::{Clock as _, SystemClock, Timestamp},
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler, ServiceExt as _,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
    },
    service::RequestContext,
    transport::stdio,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::line::Line;
use crate::{
    bearer::{Caller, Scope},
    intents::view::Intent,
    limits,
    narratives::{Reader, object, story::story},
    problem::Problem,
    road::Road,
};

/// Which narratives: what `tools` says of each.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    actor: Option<String>,
    about: Option<String>,
    action: Option<String>,
    text: Option<String>,
    since: Option<String>,
    #[serde(default = "some")]
    limit: usize,
}

impl Wanted {
    fn query(self, now: Timestamp) -> Result<narrative::Query, String> {
        if self.text.as_ref().is_some_and(|text| !narrative::Query::has_words(text)) {
            return Err("`text`: there is no word to look for".to_owned());
        }
        let since = |text: &String| match units::duration(text) {
            Ok(ago) => Ok(now.minus(ago)),
            Err(_) => {
                text.parse().map_err(|_| "`since`: a time such as `1h` or `2d` ago, or 2026-11-23T08:15:30Z")
            }
        };
        let since = self.since.as_ref().map(since).transpose()?;
        Ok(narrative::Query {
            source: None,
            actor: self.actor,
            place: self.about,
            action: self.action,
            text: self.text,
            correlation: None,
            since,
            until: None,
            order: Order::NewestFirst,
            after: None,
            limit: self.limit.min(limits::MCP_NARRATIVES),
        })
    }
}

const fn some() -> usize {
    20
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Submit {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    payload: Value,
    target: Option<String>,
    key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Whose client it is.
#[derive(Debug, Clone)]
pub enum Who {
    /// An agent that started it on this machine: every tool is open to it.
    Agent(String),
    /// Whoever's token the request shows.
    Token,
}

/// Who calls a tool.
struct Asker {
    actor: Actor,
    /// The token's scopes, where there is one.
    caller: Option<Caller>,
}

impl Asker {
    fn has(&self, scope: Scope) -> bool {
        self.caller.as_ref().is_none_or(|caller| caller.has(scope))
    }
}

/// See the module's page.
pub struct Server {
    /// The way to the cortex.
    pub line: Line,
    /// Whose client it is.
    pub who: Who,
    /// What is on record.
    pub narratives: Reader,
}

/// Serves on standard input and output until the client is gone.
///
/// # Errors
/// The client does not speak the protocol, or the connection fails.
pub async fn serve(server: Server) -> Result<(), String> {
    let running = server.serve(stdio()).await.map_err(|e| e.to_string())?;
    running.waiting().await.map(drop).map_err(|e| e.to_string())
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build()).with_instructions(
            "Ask for intents here instead of acting yourself. What waits for a person has a ticket: look at it with intent_status, and \
             do not ask for the same again.",
        );
        info.server_info = Implementation::new("grace", env!("CARGO_PKG_VERSION"));
        info
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let asker = self.asker(&context)?;
        let open = tools().into_iter().filter(|(scope, _)| asker.has(*scope)).map(|(_, tool)| tool);
        Ok(ListToolsResult::with_all_items(open.collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let asker = self.asker(&context)?;
        let Some((scope, _)) = tools().into_iter().find(|(_, tool)| tool.name == request.name) else {
            return Err(ErrorData::invalid_params(format!("there is no tool {}", request.name), None));
        };
        let done = if asker.has(scope) {
            self.call(&asker.actor, &request.name, request.arguments.unwrap_or_default()).await
        } else {
            Err(format!("the token does not have the scope `{scope}`"))
        };
        let result = match done {
            Ok(value) => CallToolResult::structured(value),
            Err(why) => CallToolResult::error(vec![ContentBlock::text(format!("Grace: {why}"))]),
        };
        Ok(result.into())
    }
}

impl Server {
    fn asker(&self, context: &RequestContext<RoleServer>) -> Result<Asker, ErrorData> {
        match &self.who {
            Who::Agent(name) => {
                let actor = Actor { kind: ActorKind::Agent, name: name.clone() };
                Ok(Asker { actor, caller: None })
            }
            Who::Token => {
                let caller =
                    context.extensions.get::<Parts>().and_then(|parts| parts.extensions.get::<Caller>());
                let caller = caller
                    .cloned()
                    .ok_or_else(|| ErrorData::internal_error("who asks is not known", None))?;
                Ok(Asker { actor: caller.actor.clone(), caller: Some(caller) })
            }
        }
    }

    async fn call(&self, actor: &Actor, tool: &str, arguments: Map<String, Value>) -> Result<Value, String> {
        match tool {
            "submit_intent" => self.submit(actor, read(arguments)?).await,
            "intent_status" => self.status(actor, &read::<One>(arguments)?.id).await,
            "list_approvals" => {
                let Nothing {} = read(arguments)?;
                self.waiting(actor).await
            }
            "query_narratives" => {
                let query = read::<Wanted>(arguments)?.query(SystemClock.now().wall)?;
                let page = self.narratives.read(move |db| db.find(&query)).await.map_err(told)?;
                let told: Vec<Value> = page.told.iter().map(object).collect();
                Ok(json!({ "narratives": told }))
            }
            _ => {
                let One { id } = read(arguments)?;
                let found = self.narratives.read(move |db| story(db, &id)).await.map_err(told)?;
                let none = "nothing was told of it; what happened just now may be told in a moment";
                found.map(|story| story.object()).ok_or_else(|| none.to_owned())
            }
        }
    }

    async fn submit(&self, actor: &Actor, submit: Submit) -> Result<Value, String> {
        let asked = Asked {
            kind: submit.kind,
            actor: actor.name.clone(),
            payload: Json::of(&submit.payload),
            key: submit.key,
            target: submit.target,
            ..Asked::default()
        };
        let envelope = Envelope::new(Command::Submit { intents: vec![asked] });
        let key = format!("mcp-{:032x}", OsEntropy.next_u128());
        let said = Road::new(self.line.bus()?).order(actor, &envelope, &key).await;
        match said.map_err(told)? {
            Outcome::Done(Reply::Submitted { results }) => match results.into_iter().next() {
                Some(Answered::Decided(decision)) => Ok(json!(Intent::of(*decision, None))),
                Some(Answered::Refused(refused)) => {
                    let violations: Vec<String> =
                        refused.violations.iter().map(ToString::to_string).collect();
                    Err([vec![refused.message], violations].concat().join("; "))
                }
                None => Err(odd()),
            },
            Outcome::Refused(refusal) => Err(refusal.message),
            Outcome::Done(_) => Err(odd()),
        }
    }

    async fn look(&self, actor: &Actor, query: Query) -> Result<Reply, String> {
        let said = Road::new(self.line.bus()?).look(actor, query).await;
        match said.map_err(told)? {
            Outcome::Done(reply) => Ok(reply),
            Outcome::Refused(refusal) => Err(refusal.message),
        }
    }

    async fn status(&self, actor: &Actor, id: &str) -> Result<Value, String> {
        let id: IntentId = id.parse().map_err(|_| "an intent's id looks like int_3xq7k-42".to_owned())?;
        match self.look(actor, Query::Intent(id)).await? {
            Reply::Intent(decision) => Ok(json!(Intent::of(*decision, None))),
            _ => Err(odd()),
        }
    }

    async fn waiting(&self, actor: &Actor) -> Result<Value, String> {
        let query = Query::Intents {
            state: Some(DecisionState::Waiting),
            limit: limits::MCP_NARRATIVES,
            before: None,
            actor: None,
        };
        match self.look(actor, query).await? {
            Reply::Intents { intents, more } => {
                let waiting: Vec<Intent> = intents.into_iter().map(|one| Intent::of(one, None)).collect();
                Ok(json!({ "approvals": waiting, "more": more }))
            }
            _ => Err(odd()),
        }
    }
}

/// A problem in words for a model.
#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn told(problem: Problem) -> String {
    problem.detail().to_owned()
}

fn odd() -> String {
    "the cortex answered something else than was asked".to_owned()
}

fn read<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(arguments)).map_err(|e| format!("the arguments: {e}"))
}

/// Each tool, with the scope that a token needs for it.
fn tools() -> Vec<(Scope, Tool)> {
    let text = |what: &str| json!({"type": "string", "description": what});
    let looks = || ToolAnnotations::new().read_only(true).open_world(false);
    let tool = |scope: Scope,
                name: &'static str,
                what: &'static str,
                properties: Value,
                required: Value,
                says: ToolAnnotations| {
        let schema = json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        });
        let schema = schema.as_object().cloned().unwrap_or_default();
        (scope, Tool::new(Cow::Borrowed(name), Cow::Borrowed(what), Arc::new(schema)).annotate(says))
    };
    vec![
        tool(
            Scope::IntentsSubmit,
            "submit_intent",
            "Asks for something to be done. It is decided by policy: it runs, waits for a person's approval, or is denied, with the reasons.",
            json!({
                "type": text("The type of intent"),
                "payload": {"description": "What the type asks for"},
                "target": text("What it is about, for policies"),
                "key": text("The same key gives the same intent: for trying again"),
            }),
            json!(["type"]),
            ToolAnnotations::new().read_only(false).destructive(true).open_world(true),
        ),
        tool(
            Scope::IntentsRead,
            "intent_status",
            "What became of an intent that you asked for.",
            json!({"id": text("Such as int_3xq7k-42")}),
            json!(["id"]),
            looks(),
        ),
        tool(
            Scope::IntentsRead,
            "list_approvals",
            "Intents of yours that wait for somebody to decide.",
            json!({}),
            json!([]),
            looks(),
        ),
        tool(
            Scope::NarrativesRead,
            "query_narratives",
            "Who did what, when, where, why and how, the newest first.",
            json!({
                "actor": text("Who decided or asked, exactly"),
                "about": text("The component or resource that it concerns, exactly"),
                "action": text("What was done, or the beginning of it"),
                "text": text("Words that occur in reasons, names and particulars"),
                "since": text("Not before: 1h ago, or an RFC 3339 time"),
                "limit": {"type": "integer", "minimum": 1, "maximum": limits::MCP_NARRATIVES},
            }),
            json!([]),
            looks(),
        ),
        tool(
            Scope::NarrativesRead,
            "why",
            "What led to something and what it led to: the causes and effects of an event, an intent, a task or a component.",
            json!({"id": text("An event's, an intent's or a task's id, or a component's name")}),
            json!(["id"]),
            looks(),
        ),
    ]
}
