//! What is done with each message between a client and a server of the Model Context Protocol.
//!
//! - What goes to the server is written anew from what was read, so that the server cannot read something else in it than was judged here:
//!   an object with two `method`s has one afterwards. Batches are refused; no version of the protocol that is in use has them.
//! - A tool is called only once the server has listed it. What it says of a tool there (annotations) is the server's own word: it may make a
//!   call look worse than the rules say, never better. What was said once stays said.
//! - Only what is said counts: a server that says nothing of a tool leaves it to the rules, and not to the protocol's defaults (destructive, open
//!   world). Under these each call of the many tools without annotations would wait for a person; docs/mcp.md says how to have it so.
//!
//! Sources: the specification's revisions 2025-06-18, 2025-11-25 and 2026-07-28, transports (stdio) and tools.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::{events::json, limits};

/// JSON-RPC 2.0.
const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const INVALID_PARAMS: i64 = -32602;

/// The types of intents that a tool's annotations add to what the rules say.
const DESTRUCTIVE: &str = "delete_data";
const OPEN_WORLD: &str = "use_network";

/// Our own requests to the server, apart from the client's.
const OWN: &str = "grace-";

/// A tool that a client calls.
#[derive(Debug, Clone, PartialEq)]
pub struct Called {
    /// The request's id.
    pub id: Value,
    /// Its name.
    pub tool: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// The whole request, as it is for the server.
    pub line: String,
    /// What the client sends along with each of its requests, for a request of our own in its place.
    pub meta: Option<Value>,
}

/// What is done with a message of the client's.
#[derive(Debug, Clone, PartialEq)]
pub enum FromClient {
    /// It goes to the server.
    Pass(String),
    /// It is judged first.
    Judge(Box<Called>),
    /// The client is answered, and the server hears nothing.
    Answer(String),
    /// The client does not wait any more for what it asked under this id; it goes to the server, too.
    Cancelled(Value, String),
    /// Nothing.
    Drop,
}

/// What is done with a message of the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromServer {
    /// It goes to the client as it came.
    Pass,
    /// It answers a request of our own.
    Own {
        /// There is another page of the list.
        more: bool,
    },
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Gate {
    /// Requests for lists of tools that have no answer yet, by id as text.
    lists: BTreeSet<String>,
    /// What each tool that was listed adds.
    tools: BTreeMap<String, BTreeSet<&'static str>>,
    /// Where the next page of our own list begins.
    cursor: Option<Value>,
    asked: u64,
}

impl Gate {
    /// A line of the client's.
    pub fn hear_client(&mut self, line: &[u8]) -> FromClient {
        if line.trim_ascii().is_empty() {
            return FromClient::Drop;
        }
        let message = match read(line) {
            Ok(message) => message,
            Err((code, why)) => return FromClient::Answer(refusal(&Value::Null, code, &why)),
        };
        let id = message.get("id").cloned();
        let whole = format!("{}\n", Value::Object(message.clone()));
        match (message.get("method").and_then(Value::as_str), id) {
            (Some("tools/call"), Some(id)) if is_id(&id) => call(&message, id, whole),
            // Nobody would hear what became of it.
            (Some("tools/call"), _) => FromClient::Drop,
            (Some("tools/list"), Some(id)) => {
                if self.lists.len() < limits::MCP_LISTS {
                    self.lists.insert(id.to_string());
                }
                FromClient::Pass(whole)
            }
            (Some("notifications/cancelled"), _) => {
                let of = message.get("params").and_then(|params| params.get("requestId")).cloned();
                of.map_or_else(
                    || FromClient::Pass(whole.clone()),
                    |of| FromClient::Cancelled(of, whole.clone()),
                )
            }
            (None, _) if message.contains_key("method") => {
                FromClient::Answer(refusal(&Value::Null, INVALID_REQUEST, "`method` is no text"))
            }
            _ => FromClient::Pass(whole),
        }
    }

    /// A line of the server's.
    pub fn hear_server(&mut self, line: &[u8]) -> FromServer {
        let Ok(mut message) = read(line) else { return FromServer::Pass };
        let Some(id) = message.get("id").map(Value::to_string) else { return FromServer::Pass };
        if message.contains_key("method") || !self.lists.remove(&id) {
            return FromServer::Pass;
        }
        let result = message.remove("result").unwrap_or_default();
        for tool in result["tools"].as_array().into_iter().flatten() {
            self.learn(tool);
        }
        if !id.starts_with(&format!("\"{OWN}")) {
            return FromServer::Pass;
        }
        self.cursor = result.get("nextCursor").filter(|cursor| cursor.is_string()).cloned();
        FromServer::Own { more: self.cursor.is_some() }
    }

    fn learn(&mut self, tool: &Value) {
        let Some(name) = tool["name"].as_str().filter(|name| name.len() <= limits::HOOK_NAME_BYTES) else {
            return;
        };
        if !self.tools.contains_key(name) && self.tools.len() >= limits::MCP_TOOLS {
            return;
        }
        let adds = self.tools.entry(name.to_owned()).or_default();
        let says = |hint: &str| tool["annotations"][hint] == json!(true);
        adds.extend(says("destructiveHint").then_some(DESTRUCTIVE));
        adds.extend(says("openWorldHint").then_some(OPEN_WORLD));
    }

    /// The types of intents that a tool's annotations add; `None` while the server has not listed it.
    #[must_use]
    pub fn adds(&self, tool: &str) -> Option<Vec<&'static str>> {
        self.tools.get(tool).map(|adds| adds.iter().copied().collect())
    }

    /// A request for the list of tools, or its next page, in the client's place.
    pub fn ask_for_tools(&mut self, meta: Option<&Value>) -> String {
        self.asked += 1;
        let id = json!(format!("{OWN}{}", self.asked));
        self.lists.insert(id.to_string());
        let mut params = Map::new();
        params.extend(self.cursor.take().map(|cursor| ("cursor".to_owned(), cursor)));
        params.extend(meta.map(|meta| ("_meta".to_owned(), meta.clone())));
        let message = json!({"jsonrpc": "2.0", "id": id, "method": "tools/list", "params": params});
        format!("{message}\n")
    }
}

fn read(line: &[u8]) -> Result<Map<String, Value>, (i64, String)> {
    json::shallow(line).map_err(|why| (PARSE_ERROR, why))?;
    match serde_json::from_slice(line) {
        Ok(Value::Object(message)) => Ok(message),
        Ok(Value::Array(_)) => Err((INVALID_REQUEST, "batches are not taken: one message a line".to_owned())),
        Ok(_) => Err((INVALID_REQUEST, "a message is an object".to_owned())),
        Err(e) => Err((PARSE_ERROR, e.to_string())),
    }
}

/// What the protocol allows as one, and none of our own.
fn is_id(id: &Value) -> bool {
    id.is_number() || id.as_str().is_some_and(|id| !id.starts_with(OWN))
}

fn call(message: &Map<String, Value>, id: Value, line: String) -> FromClient {
    let params = message.get("params").unwrap_or(&Value::Null);
    let refuse = |why: &str| FromClient::Answer(refusal(&id, INVALID_PARAMS, why));
    let Some(tool) = params["name"].as_str().filter(|name| !name.is_empty()) else {
        return refuse("`params.name` has to name the tool");
    };
    if tool.len() > limits::HOOK_NAME_BYTES {
        return refuse("the tool's name is too long");
    }
    let arguments = match params.get("arguments") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(arguments)) => arguments.clone(),
        Some(_) => return refuse("`params.arguments` has to be an object"),
    };
    let meta = params.get("_meta").cloned();
    FromClient::Judge(Box::new(Called { id, tool: tool.to_owned(), arguments, line, meta }))
}

fn refusal(id: &Value, code: i64, why: &str) -> String {
    let message =
        json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": format!("Grace: {why}")}});
    format!("{message}\n")
}

/// The result of a call that was not let through: the model reads it.
#[must_use]
pub fn held_back(id: &Value, why: &str, ticket: Option<&str>) -> String {
    let mut result = json!({
        "content": [{"type": "text", "text": format!("Grace: {why}")}], "isError": true, "resultType": "complete",
    });
    if let Some(ticket) = ticket {
        result["_meta"] = json!({"dev.grace/ticket": ticket});
    }
    format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(gate: &mut Gate, message: &Value) -> FromClient {
        gate.hear_client(message.to_string().as_bytes())
    }

    #[test]
    fn calls_are_judged_and_the_rest_passes() {
        let mut gate = Gate::default();
        for message in [
            json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}),
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            json!({"jsonrpc": "2.0", "id": "x", "result": {}}),
        ] {
            assert_eq!(client(&mut gate, &message), FromClient::Pass(format!("{message}\n")));
        }
        let message = json!({"id": 7, "method": "tools/call", "params": {"name": "rm", "arguments": {"a": 1}, "_meta": {"v": 1}}});
        let FromClient::Judge(called) = client(&mut gate, &message) else { panic!() };
        assert_eq!((called.tool.as_str(), &called.id, &called.arguments["a"]), ("rm", &json!(7), &json!(1)));
        assert_eq!(called.meta, Some(json!({"v": 1})));
        let cancelled = json!({"method": "notifications/cancelled", "params": {"requestId": 7}});
        assert!(matches!(client(&mut gate, &cancelled), FromClient::Cancelled(id, _) if id == json!(7)));
    }

    #[test]
    fn nothing_slips_by() {
        let mut gate = Gate::default();
        // The last one counts here, and is the only one that is left.
        let twice = br#"{"id":1,"method":"tools/call","method":"ping","params":{"name":"rm"}}"#;
        assert_eq!(
            gate.hear_client(twice),
            FromClient::Pass("{\"id\":1,\"method\":\"ping\",\"params\":{\"name\":\"rm\"}}\n".into())
        );
        let twice = br#"{"id":1,"method":"ping","method":"tools/call","params":{"name":"rm"}}"#;
        assert!(matches!(gate.hear_client(twice), FromClient::Judge(_)));
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(100), "]".repeat(100));
        for (line, code) in [
            ("[{\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"rm\"}}]", INVALID_REQUEST),
            ("{", PARSE_ERROR),
            (deep.as_str(), PARSE_ERROR),
            ("7", INVALID_REQUEST),
            ("{\"id\":1,\"method\":[\"tools/call\"]}", INVALID_REQUEST),
            ("{\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"\"}}", INVALID_PARAMS),
            (
                "{\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"a\",\"arguments\":[]}}",
                INVALID_PARAMS,
            ),
            ("{\"id\":1,\"method\":\"tools/call\"}", INVALID_PARAMS),
        ] {
            let FromClient::Answer(text) = gate.hear_client(line.as_bytes()) else { panic!("{line}") };
            let answer: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(answer["error"]["code"], code, "{line}");
        }
        for line in [
            "",
            "  ",
            "{\"method\":\"tools/call\",\"params\":{\"name\":\"a\"}}",
            "{\"id\":null,\"method\":\"tools/call\"}",
            "{\"id\":\"grace-1\",\"method\":\"tools/call\"}",
        ] {
            assert_eq!(gate.hear_client(line.as_bytes()), FromClient::Drop, "{line}");
        }
    }

    #[test]
    fn annotations_make_a_tool_worse_and_never_better() {
        let mut gate = Gate::default();
        assert_eq!(gate.adds("rm"), None);
        client(&mut gate, &json!({"id": 1, "method": "tools/list"}));
        let list = |rm: Value| json!({"id": 1, "result": {"tools": [{"name": "rm", "annotations": rm}, {"name": "ls"}], "nextCursor": "2"}});
        let worse = list(json!({"readOnlyHint": true, "destructiveHint": true, "openWorldHint": true}));
        // An answer that nobody asked for teaches nothing.
        assert_eq!(
            gate.hear_server(json!({"id": 2, "result": {"tools": [{"name": "a"}]}}).to_string().as_bytes()),
            FromServer::Pass
        );
        assert_eq!(gate.hear_server(worse.to_string().as_bytes()), FromServer::Pass);
        assert_eq!(
            (gate.adds("a"), gate.adds("ls")),
            (None, Some(vec![])),
            "no default of the protocol's adds anything"
        );
        assert_eq!(gate.adds("rm"), Some(vec![DESTRUCTIVE, OPEN_WORLD]));
        let own: Value = serde_json::from_str(&gate.ask_for_tools(Some(&json!({"v": 1})))).unwrap();
        assert_eq!((&own["method"], &own["params"]["_meta"]["v"]), (&json!("tools/list"), &json!(1)));
        let mut better = list(json!({"readOnlyHint": true, "destructiveHint": false}));
        better["id"] = own["id"].clone();
        assert_eq!(gate.hear_server(better.to_string().as_bytes()), FromServer::Own { more: true });
        assert_eq!(gate.adds("rm"), Some(vec![DESTRUCTIVE, OPEN_WORLD]), "what was said stays said");
        let next: Value = serde_json::from_str(&gate.ask_for_tools(None)).unwrap();
        assert_eq!(next["params"]["cursor"], "2");
    }
}
