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
//! The protocol itself is the official SDK's, and this module is the only one that knows it. An agent sees its own intents; that it
//! approves or denies nothing is not a rule but the lack of a tool, and of a credential.

use std::{borrow::Cow, sync::Arc};

use grace_cortex::{
    command::{Answered, Asked, Command, DecisionState, Query, Reply},
    request::{Actor, ActorKind},
};
use grace_kernel::{Envelope, Outcome};
use grace_types::{
    chance::{Entropy as _, OsEntropy},
    intent::{IntentId, Json},
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
use crate::{intents::view::Intent, limits, road::Road};

/// What is on record, as the process that serves it reads it.
pub trait Evidence: Send + Sync + 'static {
    /// Narratives that fit, the newest first, as an array.
    ///
    /// # Errors
    /// They cannot be read, in words for a model.
    fn narratives(&self, wanted: &Wanted) -> Result<Value, String>;

    /// What led to `id`, and what it led to.
    ///
    /// # Errors
    /// Nothing was told of it, or it cannot be read.
    fn why(&self, id: &str) -> Result<Value, String>;
}

/// Which narratives.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Who decided or asked, exactly.
    pub actor: Option<String>,
    /// What it concerns, exactly.
    pub about: Option<String>,
    /// What was done, or its beginning.
    pub action: Option<String>,
    /// Words in reasons, names and particulars.
    pub text: Option<String>,
    /// Not before: `1h` ago, or a time.
    pub since: Option<String>,
    /// At most so many.
    #[serde(default = "some")]
    pub limit: usize,
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

/// See the module's page.
pub struct Server<E> {
    /// The way to the cortex.
    pub line: Line,
    /// The agent's name.
    pub agent: String,
    /// What is on record.
    pub evidence: Arc<E>,
}

/// Serves on standard input and output until the client is gone.
///
/// # Errors
/// The client does not speak the protocol, or the connection fails.
pub async fn serve<E: Evidence>(server: Server<E>) -> Result<(), String> {
    let running = server.serve(stdio()).await.map_err(|e| e.to_string())?;
    running.waiting().await.map(drop).map_err(|e| e.to_string())
}

impl<E: Evidence> ServerHandler for Server<E> {
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
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if !tools().iter().any(|tool| tool.name == request.name) {
            return Err(ErrorData::invalid_params(format!("there is no tool {}", request.name), None));
        }
        let result = match self.call(&request.name, request.arguments.unwrap_or_default()).await {
            Ok(value) => CallToolResult::structured(value),
            Err(why) => CallToolResult::error(vec![ContentBlock::text(format!("Grace: {why}"))]),
        };
        Ok(result.into())
    }
}

impl<E: Evidence> Server<E> {
    async fn call(&self, tool: &str, arguments: Map<String, Value>) -> Result<Value, String> {
        match tool {
            "submit_intent" => self.submit(read(arguments)?).await,
            "intent_status" => self.status(&read::<One>(arguments)?.id).await,
            "list_approvals" => {
                let Nothing {} = read(arguments)?;
                self.waiting().await
            }
            "query_narratives" => {
                let mut wanted: Wanted = read(arguments)?;
                wanted.limit = wanted.limit.min(limits::MCP_NARRATIVES);
                let evidence = Arc::clone(&self.evidence);
                let told = tokio::task::spawn_blocking(move || evidence.narratives(&wanted)).await;
                told.map_err(|e| e.to_string())?.map(|told| json!({ "narratives": told }))
            }
            _ => {
                let (evidence, One { id }) = (Arc::clone(&self.evidence), read(arguments)?);
                let told = tokio::task::spawn_blocking(move || evidence.why(&id)).await;
                told.map_err(|e| e.to_string())?
            }
        }
    }

    fn actor(&self) -> Actor {
        Actor { kind: ActorKind::Agent, name: self.agent.clone() }
    }

    async fn submit(&self, submit: Submit) -> Result<Value, String> {
        let asked = Asked {
            kind: submit.kind,
            actor: self.agent.clone(),
            payload: Json::of(&submit.payload),
            key: submit.key,
            target: submit.target,
            ..Asked::default()
        };
        let envelope = Envelope::new(Command::Submit { intents: vec![asked] });
        let key = format!("mcp-{:032x}", OsEntropy.next_u128());
        let said = Road::new(self.line.bus()?).order(&self.actor(), &envelope, &key).await;
        match said.map_err(|problem| problem.detail().to_owned())? {
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

    async fn look(&self, query: Query) -> Result<Reply, String> {
        let said = Road::new(self.line.bus()?).look(&self.actor(), query).await;
        match said.map_err(|problem| problem.detail().to_owned())? {
            Outcome::Done(reply) => Ok(reply),
            Outcome::Refused(refusal) => Err(refusal.message),
        }
    }

    async fn status(&self, id: &str) -> Result<Value, String> {
        let id: IntentId = id.parse().map_err(|_| "an intent's id looks like int_3xq7k-42".to_owned())?;
        match self.look(Query::Intent(id)).await? {
            Reply::Intent(decision) => Ok(json!(Intent::of(*decision, None))),
            _ => Err(odd()),
        }
    }

    async fn waiting(&self) -> Result<Value, String> {
        let query = Query::Intents {
            state: Some(DecisionState::Waiting),
            limit: limits::MCP_NARRATIVES,
            before: None,
            actor: None,
        };
        match self.look(query).await? {
            Reply::Intents { intents, more } => {
                let waiting: Vec<Intent> = intents.into_iter().map(|one| Intent::of(one, None)).collect();
                Ok(json!({ "approvals": waiting, "more": more }))
            }
            _ => Err(odd()),
        }
    }
}

fn odd() -> String {
    "the cortex answered something else than was asked".to_owned()
}

fn read<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(arguments)).map_err(|e| format!("the arguments: {e}"))
}

fn tools() -> Vec<Tool> {
    let text = |what: &str| json!({"type": "string", "description": what});
    let looks = || ToolAnnotations::new().read_only(true).open_world(false);
    let tool = |name: &'static str,
                what: &'static str,
                properties: Value,
                required: Value,
                says: ToolAnnotations| {
        let schema = json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        });
        let schema = schema.as_object().cloned().unwrap_or_default();
        Tool::new(Cow::Borrowed(name), Cow::Borrowed(what), Arc::new(schema)).annotate(says)
    };
    vec![
        tool(
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
            "intent_status",
            "What became of an intent that you asked for.",
            json!({"id": text("Such as int_3xq7k-42")}),
            json!(["id"]),
            looks(),
        ),
        tool(
            "list_approvals",
            "Intents of yours that wait for somebody to decide.",
            json!({}),
            json!([]),
            looks(),
        ),
        tool(
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
            "why",
            "What led to something and what it led to: the causes and effects of an event, an intent, a task or a component.",
            json!({"id": text("An event's, an intent's or a task's id, or a component's name")}),
            json!(["id"]),
            looks(),
        ),
    ]
}
