//! The settings with which an agent runs `grace hook`: added to those that are there, of which none is lost.
//!
//! | Agent | File, below the project's folder or the user's home | Its hooks |
//! |---|---|---|
//! | Claude Code | `.claude/settings.json` | `PreToolUse`, all tools, a timeout in seconds |
//! | Codex | `.codex/hooks.json` | the same |
//! | Gemini CLI | `.gemini/settings.json` | `BeforeTool`, a timeout in milliseconds |
//! | Cursor | `.cursor/hooks.json` | one list a kind of call, `failClosed` |
//!
//! Claude Code can post to a URL instead of running a command; the others run commands only.
//!
//! The command ends in `|| exit 2`: to all of them that status is a no, and any other (such as 127, where the program is gone) would let
//! the call pass.
//!
//! Sources: the hook references of Claude Code, Codex, Gemini CLI and Cursor.

use serde_json::{Map, Value, json};

use super::{agent::Agent, call::events};
use crate::limits;

/// Where the settings are, below the project's folder or the user's home.
#[must_use]
pub const fn file(agent: Agent) -> &'static str {
    match agent {
        Agent::ClaudeCode => ".claude/settings.json",
        Agent::Codex => ".codex/hooks.json",
        Agent::Gemini => ".gemini/settings.json",
        Agent::Cursor => ".cursor/hooks.json",
    }
}

/// How an agent is to reach Grace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// It runs a command: this is the command line up to `hook`.
    Command(String),
    /// It posts to the interface at this URL, with the token in [`TOKEN_VARIABLE`].
    Http(String),
}

/// The environment variable from which an agent takes its token: so it stands in no file that is shared.
pub const TOKEN_VARIABLE: &str = "GRACE_TOKEN";

/// What is to be done besides.
#[must_use]
pub const fn besides(agent: Agent, way: &Way) -> Option<&'static str> {
    match agent {
        _ if matches!(way, Way::Http(_)) => Some(
            "have its token in GRACE_TOKEN: `grace token create --actor NAME --kind agent --scope hooks --ttl 30d`. \
             Claude Code before 2.1.295 goes on where nobody answers at that address",
        ),
        Agent::Codex => Some("Codex runs a new hook only once you trust it: `/hooks` there"),
        Agent::ClaudeCode | Agent::Gemini | Agent::Cursor => None,
    }
}

/// The settings with the hook in them; those in `current` stay as they are, but for an older entry of Grace's own.
///
/// # Errors
/// What is there is not understood, or the agent cannot go this way, and nothing is to be written.
pub fn merged(agent: Agent, current: Option<&str>, way: &Way) -> Result<String, String> {
    let entry = entry(agent, way)?;
    let mut settings = match current.filter(|text| !text.trim().is_empty()) {
        Some(text) => serde_json::from_str(text).map_err(|e| format!("it is no JSON: {e}"))?,
        None => Value::Object(Map::new()),
    };
    let top = settings.as_object_mut().ok_or("it is no JSON object")?;
    if agent == Agent::Cursor {
        match top.entry("version").or_insert_with(|| json!(1)) {
            version if *version == json!(1) => {}
            other => return Err(format!("`version` is {other}; only 1 is known")),
        }
    }
    let hooks = top.entry("hooks").or_insert_with(|| Value::Object(Map::new()));
    let hooks = hooks.as_object_mut().ok_or("`hooks` is no object")?;
    for event in events(agent) {
        let list = hooks.entry(*event).or_insert_with(|| json!([]));
        let list = list.as_array_mut().ok_or_else(|| format!("`hooks.{event}` is no list"))?;
        match list.iter_mut().find(|one| is_own(agent, one)) {
            Some(own) => *own = entry.clone(),
            None => list.push(entry.clone()),
        }
    }
    Ok(format!("{settings:#}\n"))
}

fn entry(agent: Agent, way: &Way) -> Result<Value, String> {
    let seconds = limits::HOOK_TIMEOUT.as_secs();
    let command = match way {
        Way::Command(program) => format!("{program} hook {agent} || exit 2"),
        Way::Http(base) if agent == Agent::ClaudeCode => {
            let hook = json!({
                "type": "http",
                "url": format!("{}/v1/hooks/{agent}", address(base)?),
                "headers": {"Authorization": format!("Bearer ${TOKEN_VARIABLE}")},
                "allowedEnvVars": [TOKEN_VARIABLE],
                "timeout": seconds,
                // What else would let the call pass: nobody there, no answer in time, an answer that is none.
                "onFailure": "block",
            });
            return Ok(json!({"matcher": "*", "hooks": [hook]}));
        }
        Way::Http(_) => {
            return Err(format!("{agent} runs commands only and has no hooks over HTTP: leave out --http"));
        }
    };
    Ok(match agent {
        Agent::ClaudeCode | Agent::Codex => {
            json!({"matcher": "*", "hooks": [{"type": "command", "command": command, "timeout": seconds}]})
        }
        Agent::Gemini => json!({"matcher": "*", "hooks": [
            {"name": "grace", "type": "command", "command": command, "timeout": seconds * 1000}]}),
        Agent::Cursor => json!({"command": command, "timeout": seconds, "failClosed": true}),
    })
}

/// A URL up to its path.
fn address(url: &str) -> Result<&str, String> {
    let base = url.trim_end_matches('/');
    let host = base.strip_prefix("http://").or_else(|| base.strip_prefix("https://"));
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    match host.filter(|host| !host.is_empty() && host.chars().all(plain)) {
        Some(_) => Ok(base),
        None => Err("the address is one such as http://127.0.0.1:4280, without a path".to_owned()),
    }
}

/// Whether an entry is one that was written here before, and nothing else.
fn is_own(agent: Agent, entry: &Value) -> bool {
    let own = |one: &Value| {
        let ends =
            |name: &str, ending: String| one[name].as_str().is_some_and(|text| text.ends_with(&ending));
        ends("command", format!(" hook {agent} || exit 2")) || ends("url", format!("/v1/hooks/{agent}"))
    };
    match entry["hooks"].as_array() {
        Some(hooks) => hooks.len() == 1 && own(&hooks[0]),
        None => own(entry),
    }
}

/// What changes, line by line: what is common before and after is left out but for three lines.
#[must_use]
pub fn difference(before: &str, after: &str) -> String {
    const AROUND: usize = 3;
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let most = old.len().min(new.len()) - same;
    let end = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let lines = |mark: char, lines: &[&str]| -> String {
        lines.iter().map(|line| format!("{mark} {line}\n")).collect()
    };
    let after_end = new.len() - end;
    [
        lines(' ', &new[same.saturating_sub(AROUND)..same]),
        lines('-', &old[same..old.len() - end]),
        lines('+', &new[same..after_end]),
        lines(' ', &new[after_end..new.len().min(after_end + AROUND)]),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_and_twice_is_once() {
        for agent in Agent::ALL {
            let theirs = match agent {
                Agent::Cursor => {
                    r#"{"version": 1, "hooks": {"stop": [{"command": "a"}], "preToolUse": [{"command": "b"}]}}"#
                }
                Agent::Gemini => {
                    r#"{"theme": "dark", "hooks": {"BeforeTool": [{"hooks": [{"type": "command", "command": "b"}]}]}}"#
                }
                _ => {
                    r#"{"model": "x", "hooks": {"PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": "b"}]}]}}"#
                }
            };
            let before: Value = serde_json::from_str(theirs).unwrap();
            let run = |program: &str| Way::Command(program.to_owned());
            let first = merged(agent, Some(theirs), &run("/old/grace")).unwrap();
            let after: Value = serde_json::from_str(&first).unwrap();
            for (event, list) in before["hooks"].as_object().unwrap() {
                assert!(
                    after["hooks"][event].as_array().unwrap().starts_with(list.as_array().unwrap()),
                    "{first}"
                );
            }
            assert_eq!((&before["theme"], &before["model"]), (&after["theme"], &after["model"]));
            let second = merged(agent, Some(&first), &run("/new/grace")).unwrap();
            assert_eq!(second, first.replace("/old/", "/new/"), "one entry of ours");
            assert_eq!(merged(agent, Some(&second), &run("/new/grace")).unwrap(), second);
            assert!(merged(agent, None, &run("g")).unwrap().contains(&format!("g hook {agent} || exit 2")));
        }
        for (bad, words) in [
            ("{", "no JSON"),
            ("[]", "no JSON object"),
            (r#"{"hooks": []}"#, "`hooks` is no object"),
            (r#"{"hooks": {"PreToolUse": {}}}"#, "`hooks.PreToolUse` is no list"),
        ] {
            let told = merged(Agent::Codex, Some(bad), &Way::Command("g".to_owned())).unwrap_err();
            assert!(told.contains(words), "{bad}: {told}");
        }
        let told = merged(Agent::Cursor, Some(r#"{"version": 2}"#), &Way::Command("g".to_owned()));
        assert!(told.unwrap_err().contains("only 1 is known"));
    }

    #[test]
    fn over_http_goes_who_can_and_a_failure_is_a_no() {
        let http = |url: &str| Way::Http(url.to_owned());
        let command = merged(Agent::ClaudeCode, None, &Way::Command("g".to_owned())).unwrap();
        let settings = merged(Agent::ClaudeCode, Some(&command), &http("http://127.0.0.1:4280/")).unwrap();
        let settings: Value = serde_json::from_str(&settings).unwrap();
        let own = settings["hooks"]["PreToolUse"].as_array().unwrap();
        assert_eq!(own.len(), 1, "in place of the command");
        let hook = &own[0]["hooks"][0];
        assert_eq!(hook["url"], "http://127.0.0.1:4280/v1/hooks/claude-code");
        assert_eq!((&hook["onFailure"], &hook["allowedEnvVars"]), (&json!("block"), &json!(["GRACE_TOKEN"])));
        assert_eq!(hook["headers"]["Authorization"], "Bearer $GRACE_TOKEN");
        assert!(limits::HOOK_HTTP < limits::HOOK_TIMEOUT);
        for agent in [Agent::Codex, Agent::Gemini, Agent::Cursor] {
            let told = merged(agent, None, &http("http://127.0.0.1:4280")).unwrap_err();
            assert!(told.contains("runs commands only"), "{agent}: {told}");
        }
        for bad in ["", "localhost:4280", "http://", "ftp://a", "http://a/b", "http://a b", "http://a?b"] {
            let told = merged(Agent::ClaudeCode, None, &http(bad)).unwrap_err();
            assert!(told.contains("without a path"), "{bad}: {told}");
        }
    }

    #[test]
    fn a_difference_shows_what_changes() {
        assert_eq!(difference("a\nb\nc\n", "a\nx\ny\nc\n"), "  a\n- b\n+ x\n+ y\n  c\n");
        assert_eq!(difference("", "a\n"), "+ a\n");
        assert_eq!(difference("a\na\n", "a\na\na\n"), "  a\n  a\n+ a\n");
    }
}
