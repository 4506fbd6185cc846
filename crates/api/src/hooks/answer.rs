//! A verdict in the words of each agent: JSON for standard output, a line for standard error, and the exit status.
//!
//! | Agent | A no | A question | No objection |
//! |---|---|---|---|
//! | Claude Code | nested JSON, status 0: at the top level the decision would be ignored | nested `ask` | `{}`: `allow` would skip its own prompt |
//! | Codex | status 2 with a reason on standard error: without one the call runs | as a no: it refuses `ask` and then runs the call | `{}` |
//! | Gemini CLI | JSON and status 2: either denies | as a no | `{}` |
//! | Cursor | JSON, status 0 | `ask` before shell and MCP calls, else as a no | `{}` |
//!
//! A no to what could not be read has status 2 everywhere. Over HTTP there is the JSON alone, which denies by itself in each of them.
//!
//! Sources: the hook references of Claude Code, Codex, Gemini CLI and Cursor.

use serde_json::{Value, json};

use super::{agent::Agent, call::Call};
use crate::limits;

/// What Grace says to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing stands against it; the agent's own rules hold.
    NoObjection,
    /// The agent's user is to be asked.
    Ask(String),
    /// It must not happen.
    Deny(String),
}

/// What the hook's process says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// For standard output, or the body of an HTTP response: one line of JSON.
    pub stdout: String,
    /// For standard error; empty when there is nothing to say.
    pub stderr: String,
    /// The exit status.
    pub exit: u8,
}

/// What is said about an input that could not be read (`event` is unknown then) or a call.
#[must_use]
pub fn answer(agent: Agent, call: Option<&Call>, verdict: &Verdict) -> Answer {
    let event = call.map(|call| call.event);
    let attended = call.is_some_and(|call| call.attended);
    match verdict {
        Verdict::NoObjection => nothing(),
        Verdict::Ask(reason) if attended && can_ask(agent, event) => ask(agent, &shown(reason)),
        Verdict::Ask(reason) | Verdict::Deny(reason) => deny(agent, event, &shown(reason)),
    }
}

/// What is said about an event that is passed over.
#[must_use]
pub fn nothing() -> Answer {
    Answer { stdout: "{}\n".to_owned(), stderr: String::new(), exit: 0 }
}

/// Whether a question would be put to somebody, and not be taken for a yes.
fn can_ask(agent: Agent, event: Option<&str>) -> bool {
    match agent {
        Agent::ClaudeCode => true,
        Agent::Codex | Agent::Gemini => false,
        Agent::Cursor => matches!(event, Some("beforeShellExecution" | "beforeMCPExecution")),
    }
}

fn ask(agent: Agent, reason: &str) -> Answer {
    let body = match agent {
        Agent::Cursor => cursor("ask", reason),
        Agent::ClaudeCode | Agent::Codex | Agent::Gemini => nested("ask", reason),
    };
    Answer { stdout: format!("{body}\n"), stderr: String::new(), exit: 0 }
}

fn deny(agent: Agent, event: Option<&str>, reason: &str) -> Answer {
    let (body, exit) = match agent {
        // Where it is not known which event it was, status 2 blocks whatever it was; the nested name might be the wrong one.
        Agent::ClaudeCode => (nested("deny", reason), if event.is_some() { 0 } else { 2 }),
        Agent::Codex => (nested("deny", reason), 2),
        Agent::Gemini => (json!({"decision": "deny", "reason": reason}), 2),
        Agent::Cursor => (cursor("deny", reason), if event.is_some() { 0 } else { 2 }),
    };
    Answer { stdout: format!("{body}\n"), stderr: format!("{reason}\n"), exit }
}

fn nested(decision: &str, reason: &str) -> Value {
    json!({"hookSpecificOutput": {
        "hookEventName": "PreToolUse",
        "permissionDecision": decision,
        "permissionDecisionReason": reason,
    }})
}

fn cursor(permission: &str, reason: &str) -> Value {
    json!({"permission": permission, "user_message": reason, "agent_message": reason})
}

/// A reason as it can be shown: never empty, one line, bounded, no control characters.
fn shown(reason: &str) -> String {
    let text: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.trim();
    let mut end = text.len().min(limits::HOOK_REASON_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    if text.is_empty() { "Grace: denied".to_owned() } else { format!("Grace: {text}") }
}
