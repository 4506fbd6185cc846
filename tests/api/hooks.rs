//! Hooks of coding agents over HTTP: each answer has status 200, and whatever goes wrong is a no in the agent's dialect.

use serde_json::{Value, json};

use crate::{
    caller::{token, up},
    client::{Answer, post_as},
    instance::{Instance, until},
};

const AGENTS: [&str; 4] = ["claude-code", "codex", "gemini", "cursor"];
const HOOKS: [&str; 4] = ["--scope", "hooks", "--ttl", "1h"];

fn path(agent: &str) -> String {
    format!("/v1/hooks/{agent}")
}

fn call(agent: &str, line: &str) -> String {
    let mut call = json!({"cwd": "/home/ann/shop", "session_id": "s1", "permission_mode": "default"});
    let input = json!({ "command": line });
    let (event, tool) = match agent {
        "gemini" => ("BeforeTool", "run_shell_command"),
        "cursor" => ("beforeShellExecution", ""),
        _ => ("PreToolUse", "Bash"),
    };
    call["hook_event_name"] = event.into();
    if agent == "cursor" {
        call["command"] = line.into();
    } else {
        (call["tool_name"], call["tool_input"]) = (tool.into(), input);
    }
    call.to_string()
}

/// The agent's word for it, with the reason: `none` for no objection.
fn word(agent: &str, answer: &Answer) -> (String, String) {
    assert_eq!((answer.status, answer.kind.as_str()), (200, "application/json"), "{agent}: {answer:?}");
    let said = answer.json();
    if said == json!({}) {
        return ("none".to_owned(), String::new());
    }
    let (word, reason) = match agent {
        "gemini" => (&said["decision"], &said["reason"]),
        "cursor" => (&said["permission"], &said["user_message"]),
        _ => {
            let nested = &said["hookSpecificOutput"];
            assert_eq!(nested["hookEventName"], "PreToolUse", "{said}");
            (&nested["permissionDecision"], &nested["permissionDecisionReason"])
        }
    };
    (word.as_str().unwrap().to_owned(), reason.as_str().unwrap().to_owned())
}

#[track_caller]
fn denied(agent: &str, answer: &Answer, why: &str) {
    let (word, reason) = word(agent, answer);
    assert!(word == "deny" && reason.contains(why), "{agent}, {why}: {answer:?}");
}

#[test]
fn the_tokens_actor_asks_in_the_dialect_of_the_path() {
    let instance = up();
    let robo = token(&instance, "robo", &[&HOOKS[..], &["--kind", "agent"]].concat());
    let said = |token: &str, agent: &str, line: &str| {
        let answer = post_as(&instance, token, &path(agent), &[], &call(agent, line));
        word(agent, &answer)
    };
    for agent in AGENTS {
        assert_eq!(said(&robo, agent, "cargo test").0, "none", "{agent}");
        let expected = if matches!(agent, "claude-code" | "cursor") { "ask" } else { "deny" };
        let (word, reason) = said(&robo, agent, "git push --tags");
        assert!(word == expected && reason.contains("Ticket int_"), "{agent}: {word}, {reason}");
        assert_eq!(said(&robo, agent, "git push --tags").1, reason, "{agent}: one ticket for the same");
    }
    // Who asks is on record under the token's name, whatever the path and the body say.
    let waits = until("governance has the cases", || {
        Some(instance.told(&["approvals", "list"])).filter(|waits| waits.len() >= AGENTS.len())
    });
    let actors: Vec<&Value> = waits.iter().map(|one| &one["case"]["actor"]).collect();
    assert!(actors.iter().all(|actor| **actor == json!({"kind": "agent", "name": "robo"})), "{waits:?}");
    // What agents may, remote actors may not: these policies name them nowhere.
    let remote = token(&instance, "far", &HOOKS);
    let (word, reason) = said(&remote, "claude-code", "cargo test");
    assert!(word == "deny" && reason.contains("no policy permits it"), "{word}, {reason}");
    // What is no tool call is passed over.
    let other = post_as(&instance, &robo, &path("codex"), &[], r#"{"hook_event_name": "SomethingNew"}"#);
    assert_eq!((other.status, other.json()), (200, json!({})));
    let nobody = post_as(&instance, &robo, "/v1/hooks/somebody", &[], &call("codex", "ls"));
    assert_eq!((nobody.status, &nobody.json()["code"]), (404, &"not_found".into()), "{nobody:?}");
    instance.down();
}

#[test]
fn whatever_goes_wrong_is_a_no_with_status_200() {
    let instance = Instance::of("");
    instance.up();
    let robo = token(&instance, "robo", &[&HOOKS[..], &["--kind", "agent", "--rate", "10000"]].concat());
    let reader = token(&instance, "ci", &["--scope", "intents:read", "--ttl", "1h"]);
    let slow = token(&instance, "slow", &[&HOOKS[..], &["--kind", "agent", "--rate", "1"]].concat());
    let post = |token: &str, agent: &str, body: &str| post_as(&instance, token, &path(agent), &[], body);
    let huge = format!("{{\"hook_event_name\": \"PreToolUse\", \"x\": \"{}\"}}", "x".repeat(6 << 20));
    for agent in AGENTS {
        let ls = call(agent, "ls");
        denied(agent, &post("tok_00000000.guess", agent, &ls), "there is no such token (unauthorized)");
        denied(agent, &post("", agent, &huge), "`grace token create` makes one (unauthorized)");
        denied(agent, &post(&reader, agent, &ls), "does not have the scope `hooks`");
        for (bad, why) in [("", "is no JSON"), ("[]", "no JSON object"), ("{}", "does not name its event")] {
            denied(agent, &post(&robo, agent, bad), why);
        }
        denied(agent, &post(&robo, agent, &huge), "the body has more than 4194304 bytes");
        until("its rate is over", || {
            let (word, reason) = word(agent, &post(&slow, agent, &ls));
            (word == "deny" && reason.contains("more than 1 requests a second")).then_some(())
        });
    }
    let ls = call("codex", "ls");
    assert_eq!(instance.grace(&["pause", "cortex"]).code, Some(0));
    denied("codex", &post(&robo, "codex", &ls), "did not answer");
    assert_eq!(instance.grace(&["resume", "cortex"]).code, Some(0));
    let allowed =
        || until("it answers", || (word("codex", &post(&robo, "codex", &ls)).0 == "none").then_some(()));
    allowed();
    // Rules of the instance's own are read as they are now.
    std::fs::write(instance.place().hooks(), "rules:\n  - tool: [Bash]\n").unwrap();
    denied("codex", &post(&robo, "codex", &ls), "did you mean `tools`");
    std::fs::write(instance.place().hooks(), "defaults: false\nrules: []\n").unwrap();
    denied("codex", &post(&robo, "codex", &ls), "no rule says what Bash means");
    std::fs::remove_file(instance.place().hooks()).unwrap();
    allowed();
    instance.down();
}
