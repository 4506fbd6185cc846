//! `grace mcp` and `grace mcp proxy` with the official Python client and a server of the same SDK: both ages of the protocol, the one with a
//! handshake and the one without.

use std::{ffi::OsStr, process::Command};

use serde_json::Value;

use crate::{
    instance::{Instance, until},
    up,
};

/// A client that connects to the program `argv`, or to a URL with a token, and runs `body` with `client` and `text` (of a result).
const CLIENT: &str = r#"
import asyncio, json, sys, time
import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

def text(result):
    return " ".join(part.text for part in result.content)

async def until(look):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = await look()
        if found:
            return found
        await asyncio.sleep(0.05)
    raise SystemExit("not within 30 s")

async def main():
    mode, argv = sys.argv[1], sys.argv[2:]
    server = StdioServerParameters(command=argv[0], args=argv[1:])
    if argv[0].startswith("http:"):
        known = httpx2.AsyncClient(headers={"Authorization": "Bearer " + argv[1]}, timeout=60)
        server = streamable_http_client(argv[0], http_client=known)
    async with Client(server, mode=mode) as client:
BODY

asyncio.run(main())
"#;

/// Runs the client; what it prints, a JSON value a line.
fn client(instance: &Instance, mode: &str, args: &[&str], body: &str) -> Vec<Value> {
    let (program, data) = (Instance::program(), instance.data());
    let server = [program.as_os_str(), "--data".as_ref(), data.as_os_str()];
    run(mode, &[&server[..], &args.iter().map(AsRef::as_ref).collect::<Vec<_>>()].concat(), body)
}

pub(crate) fn run(mode: &str, server: &[&OsStr], body: &str) -> Vec<Value> {
    let body: String = body.trim().lines().map(|line| format!("        {line}\n")).collect();
    let mut command = Command::new("python3");
    command.args(["-c", &CLIENT.replace("BODY", &body), mode]).args(server);
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

pub(crate) const MODES: [&str; 2] = ["legacy", "auto"];

/// Every tool, and what makes no sense.
pub(crate) const ASKS: &str = r#"
print(json.dumps(sorted(tool.name for tool in (await client.list_tools()).tools)))
runs = await client.call_tool("submit_intent", {"type": "query_knowledge", "payload": {"q": 1}})
print(runs.content[0].text)
waits = await client.call_tool("submit_intent", {"type": "modify_governance", "payload": {"why": "permit me everything"}, "key": "k1"})
print(waits.content[0].text)
ticket = json.loads(waits.content[0].text)["id"]
print((await client.call_tool("intent_status", {"id": ticket})).content[0].text)
print((await client.call_tool("list_approvals", {})).content[0].text)
async def why():
    told = await client.call_tool("why", {"id": ticket})
    return not told.is_error and "modify_governance" in text(told)
await until(why)
async def narratives():
    told = await client.call_tool("query_narratives", {"text": "modify_governance", "since": "1h", "limit": 5})
    return not told.is_error and json.loads(text(told))["narratives"]
await until(narratives)
for tool, arguments in [
    ("intent_status", {"id": "nonsense"}),
    ("intent_status", {"id": "int_00009-1"}),
    ("submit_intent", {"type": "change_charter", "approve": True}),
    ("query_narratives", {"since": "yesterday"}),
    ("why", {"id": "nothing_of_the_kind"}),
]:
    told = await client.call_tool(tool, arguments)
    print(json.dumps([told.is_error, text(told)]))
"#;

/// That what [`ASKS`] prints is what an agent called `claude` is to hear.
pub(crate) fn asked(told: &[Value], mode: &str) {
    let tools = ["intent_status", "list_approvals", "query_narratives", "submit_intent", "why"];
    assert_eq!(told[0], serde_json::json!(tools), "{mode}");
    assert_eq!(
        (&told[1]["decision"], &told[1]["actor_kind"]),
        (&"allowed".into(), &"agent".into()),
        "{mode}"
    );
    assert_eq!((&told[2]["decision"], &told[2]["tier"]), (&"waiting".into(), &0.into()), "{mode}");
    assert_eq!((&told[3]["id"], &told[3]["actor"]), (&told[2]["id"], &"claude".into()), "{mode}");
    assert_eq!(told[4]["approvals"][0]["id"], told[2]["id"], "{mode}");
    for wrong in &told[5..] {
        assert_eq!(wrong[0], true, "{mode}: {wrong}");
    }
}

#[test]
fn an_agent_asks_over_the_protocol_and_sees_its_own() {
    let instance = up();
    for mode in MODES {
        let told = client(&instance, mode, &["mcp", "--as", "claude"], ASKS);
        asked(&told, mode);
    }
    // Another agent's intents are not there for this one.
    let told = client(
        &instance,
        "auto",
        &["mcp", "--as", "other"],
        r#"print((await client.call_tool("list_approvals", {})).content[0].text)"#,
    );
    assert_eq!(told[0]["approvals"], serde_json::json!([]));
    instance.down();
    let told = client(
        &instance,
        "auto",
        &["mcp"],
        r#"
told = await client.call_tool("submit_intent", {"type": "query_knowledge"})
print(json.dumps([told.is_error, text(told)]))
"#,
    );
    assert!(told[0][0] == true && told[0][1].as_str().unwrap().contains("not running"), "{}", told[0]);
}

/// A server whose tools leave a trace when they are called.
const SERVER: &str = r#"
import sys
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations
server = MCPServer("files")
def done(what):
    with open(sys.argv[1], "a") as file:
        file.write(what + "\n")
    return "done: " + what
@server.tool()
def note(text: str) -> str:
    return done("note " + text)
@server.tool(annotations=ToolAnnotations(read_only_hint=True, destructive_hint=True))
def wipe(path: str) -> str:
    return done("wipe " + path)
@server.tool(annotations=ToolAnnotations(read_only_hint=True, destructive_hint=False))
def shell(command: str) -> str:
    return done("shell " + command)
server.run()
"#;

#[test]
fn no_call_goes_through_to_another_server_that_is_not_allowed() {
    let instance = up();
    assert_eq!(instance.grace(&["approvals", "enroll", "ann"]).code, Some(0));
    let (server, traces) = (instance.file("server.py"), instance.file("traces"));
    std::fs::write(&server, SERVER).unwrap();
    let (server, trace) = (server.to_string_lossy(), traces.to_string_lossy());
    let proxy = |wait: &'static str| {
        [
            "mcp", "proxy", "--as", "claude", "--name", "files", "--wait", wait, "--", "python3", &server,
            &trace,
        ]
        .map(str::to_owned)
    };
    let ran = |mode: &str, wait: &'static str, body: &str| {
        let args = proxy(wait);
        client(&instance, mode, &args.each_ref().map(String::as_str), body)
    };
    let called = |tool: &str, arguments: &str| {
        format!(
            "told = await client.call_tool({tool:?}, {arguments})\nprint(json.dumps([bool(told.is_error), text(told), (told.meta or {{}}).get('dev.grace/ticket')]))\n"
        )
    };
    let first = called("note", r#"{"text": "a"}"#)
        + &called("wipe", r#"{"path": "/"}"#)
        + &called("shell", r#"{"command": "rm -rf /"}"#)
        + &called("wipe", r#"{"path": "/"}"#);
    for (n, mode) in MODES.into_iter().enumerate() {
        // The list of tools is not asked for by the client: the gate asks for it itself.
        let told = ran(mode, "0s", &first);
        assert_eq!(told[0], serde_json::json!([false, "done: note a", null]), "{mode}: {told:?}");
        for held in &told[1..] {
            assert!(
                held[0] == true && held[1].as_str().unwrap().contains("needs a person's approval"),
                "{held}"
            );
            assert!(held[2].as_str().unwrap().starts_with("int_"), "{held}");
        }
        assert_eq!(told[1][2], told[3][2], "one ticket for the same");
        let done = std::fs::read_to_string(&traces).unwrap();
        assert_eq!(done, "note a\n".repeat(n + 1), "{mode}");
        if n == 1 {
            let id = told[1][2].as_str().unwrap().to_owned();
            until("ann says yes", || {
                (instance.grace(&["approvals", "approve", &id, "--as", "ann"]).code == Some(0)).then_some(())
            });
        }
    }
    // It waits for what was said meanwhile.
    let told = ran("auto", "30s", &called("wipe", r#"{"path": "/"}"#));
    assert_eq!(told[0], serde_json::json!([false, "done: wipe /", null]));
    instance.down();
    let told = ran("auto", "0s", &called("note", r#"{"text": "b"}"#));
    assert!(told[0][0] == true && told[0][1].as_str().unwrap().contains("not running"), "{}", told[0]);
    assert!(!std::fs::read_to_string(&traces).unwrap().contains("note b"));
    let none = instance.grace(&["mcp", "proxy", "--", "/no/such/server"]);
    assert_eq!(none.code, Some(2), "{none}");
}
