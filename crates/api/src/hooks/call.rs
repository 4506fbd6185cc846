//! A hook's input, read: which tool the agent is about to use, with which arguments.
//!
//! The input is written by the agent's host, but what stands in it comes from a model: names and arguments are data, bounded, and never
//! looked at for instructions.

use grace_cortex::case::sha256;
use serde_json::{Map, Value};

use super::{
    agent::Agent,
    mapping::{Meaning, Use},
};
use crate::{events::json, limits};

/// What a hook was told.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A tool is about to be used.
    Call(Call),
    /// Something else happened. There is nothing to decide.
    PassedOver,
}

/// A tool that is about to be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Whose hook it is.
    pub agent: Agent,
    /// The event, in the agent's words.
    pub event: &'static str,
    /// The tool's name, in the agent's words.
    pub tool: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// The session, where it is told.
    pub session: Option<String>,
    /// What this very call is called, where it is told.
    pub id: Option<String>,
    /// The folder in which the agent works.
    pub folder: Option<String>,
    /// Whether a person is there who could be asked.
    pub attended: bool,
}

/// Modes of Claude Code's in which a question reaches its user.
const ATTENDED: [&str; 4] = ["default", "acceptEdits", "plan", "auto"];

/// Reads what `agent` told its hook.
///
/// # Errors
/// It is too large, too deep, no JSON, or an event about a tool that does not say which. The call is to be denied.
pub fn read(agent: Agent, input: &[u8]) -> Result<Heard, String> {
    if input.len() > limits::HOOK_BYTES {
        return Err(format!("the hook's input has more than {} bytes", limits::HOOK_BYTES));
    }
    json::shallow(input).map_err(|e| format!("the hook's input is {e}"))?;
    let input: Value =
        serde_json::from_slice(input).map_err(|e| format!("the hook's input is no JSON: {e}"))?;
    let Value::Object(mut input) = input else { return Err("the hook's input is no JSON object".to_owned()) };
    let event = text(&input, "hook_event_name")
        .ok_or("the hook's input does not name its event (`hook_event_name`)")?;
    let Some(event) = events(agent).iter().find(|known| **known == event).copied() else {
        return Ok(Heard::PassedOver);
    };
    let (tool, arguments) = match event {
        "beforeShellExecution" => ("Shell".to_owned(), only(&mut input, &["command", "cwd"], "command")?),
        "beforeReadFile" => ("Read".to_owned(), only(&mut input, &["file_path"], "file_path")?),
        _ => {
            let tool = text(&input, "tool_name").filter(|name| !name.is_empty());
            let tool = tool.ok_or("the hook's input does not name the tool (`tool_name`)")?;
            let given = input.remove("tool_input").ok_or("the hook's input has no `tool_input`")?;
            (tool, arguments(given))
        }
    };
    if tool.len() > limits::HOOK_NAME_BYTES {
        return Err(format!("the tool's name has more than {} bytes", limits::HOOK_NAME_BYTES));
    }
    let mode = text(&input, "permission_mode");
    let attended = match agent {
        Agent::ClaudeCode => mode.is_some_and(|mode| ATTENDED.contains(&mode.as_str())),
        // An editor has a window.
        Agent::Cursor => true,
        // They have no word for a question (see `answer`).
        Agent::Codex | Agent::Gemini => false,
    };
    let first = |names: &[&str]| names.iter().find_map(|name| short(&input, name));
    Ok(Heard::Call(Call {
        agent,
        event,
        tool,
        arguments,
        session: first(&["session_id", "conversation_id"]),
        id: first(&["tool_use_id"]),
        folder: first(&["cwd"]),
        attended,
    }))
}

/// The events before a tool is used.
pub(super) const fn events(agent: Agent) -> &'static [&'static str] {
    match agent {
        Agent::ClaudeCode | Agent::Codex => &["PreToolUse"],
        Agent::Gemini => &["BeforeTool"],
        Agent::Cursor => &["preToolUse", "beforeShellExecution", "beforeMCPExecution", "beforeReadFile"],
    }
}

fn text(input: &Map<String, Value>, name: &str) -> Option<String> {
    input.get(name)?.as_str().map(str::to_owned)
}

/// A name that is kept in records.
fn short(input: &Map<String, Value>, name: &str) -> Option<String> {
    text(input, name).filter(|text| !text.is_empty() && text.len() <= limits::HOOK_NAME_BYTES)
}

/// The members of these names; one of them must be there as text.
fn only(input: &mut Map<String, Value>, names: &[&str], needed: &str) -> Result<Map<String, Value>, String> {
    if text(input, needed).is_none() {
        return Err(format!("the hook's input has no `{needed}`"));
    }
    Ok(names.iter().filter_map(|name| Some(((*name).to_owned(), input.get(*name)?.clone()))).collect())
}

/// Arguments as an object. Some hosts write them as a text that holds JSON.
fn arguments(given: Value) -> Map<String, Value> {
    let given = match given {
        Value::String(text) if json::shallow(text.as_bytes()).is_ok() => {
            serde_json::from_str::<Map<String, Value>>(&text).map_or(Value::String(text), Value::Object)
        }
        given => given,
    };
    match given {
        Value::Object(arguments) => arguments,
        other => [("input".to_owned(), other)].into_iter().collect(),
    }
}

impl Call {
    /// What rules look at.
    #[must_use]
    pub fn used(&self) -> Use<'_> {
        let folder = self.folder.as_deref();
        Use { agent: Some(self.agent), tool: &self.tool, arguments: &self.arguments, folder }
    }

    /// What is put on record about it.
    #[must_use]
    pub fn payload(&self) -> Value {
        let arguments = on_record(&self.arguments);
        serde_json::json!({
            "agent": self.agent.name(),
            "tool": self.tool,
            "arguments": arguments,
            "session": self.session,
            "folder": self.folder,
        })
    }

    /// A digest of what is done in which session, and of what it means: the same for the same call again.
    #[must_use]
    pub fn digest(&self, meaning: &Meaning) -> String {
        let means = (&meaning.intent, &meaning.target);
        let whole = serde_json::json!([
            self.agent.name(),
            self.session,
            self.folder,
            self.tool,
            self.arguments,
            means
        ]);
        sha256(whole.to_string().as_bytes())
    }
}

/// Arguments as they are put on record. Long texts are told by their digest: contents of files do not belong there.
#[must_use]
pub fn on_record(arguments: &Map<String, Value>) -> Map<String, Value> {
    let mut left = limits::HOOK_PAYLOAD_BYTES;
    arguments.iter().map(|(name, value)| told(name, value, &mut left)).collect()
}

fn told(name: &str, value: &Value, left: &mut usize) -> (String, Value) {
    let written = value.to_string();
    let cost = name.len() + written.len();
    if written.len() <= limits::HOOK_ARGUMENT_BYTES && cost <= *left {
        *left -= cost;
        return (name.to_owned(), value.clone());
    }
    let digest = sha256(written.as_bytes());
    let name: String = name.chars().take(limits::HOOK_NAME_BYTES / 4).collect();
    (name, serde_json::json!({"sha256": digest, "bytes": written.len()}))
}
