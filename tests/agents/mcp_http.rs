//! Grace's tools over HTTP: the official Python client with a token, what its scopes open, and who is let in at all.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    instance::{Instance, until},
    mcp::{ASKS, MODES, asked, run},
    up,
};

const ALL: [&str; 6] = ["--scope", "intents:submit", "--scope", "intents:read", "--scope", "narratives:read"];

fn token(instance: &Instance, actor: &str, scopes: &[&str]) -> String {
    let args = [&["token", "create", "--kind", "agent", "--ttl", "1h", "--actor", actor], scopes].concat();
    instance.told(&args)[0]["token"].as_str().unwrap().to_owned()
}

fn url(instance: &Instance) -> String {
    let url = until("the address is written", || std::fs::read_to_string(instance.place().api_url()).ok());
    format!("{}/mcp", url.trim_end())
}

fn client(instance: &Instance, token: &str, mode: &str, body: &str) -> Vec<Value> {
    let url = url(instance);
    run(mode, &[url.as_ref(), token.as_ref()], body)
}

#[test]
fn an_agent_elsewhere_asks_with_its_token() {
    let instance = up();
    let claude = token(&instance, "claude", &ALL);
    let reader = token(&instance, "reader", &["--scope", "intents:read"]);
    let closed = r#"
print(json.dumps(sorted(tool.name for tool in (await client.list_tools()).tools)))
print((await client.call_tool("list_approvals", {})).content[0].text)
for tool, arguments in [("submit_intent", {"type": "query_knowledge"}), ("why", {"id": "cortex"}), ("query_narratives", {})]:
    told = await client.call_tool(tool, arguments)
    print(json.dumps([told.is_error, text(told)]))
"#;
    for mode in MODES {
        asked(&client(&instance, &claude, mode, ASKS), mode);
        // Another token sees its own, and has the tools that its scopes open.
        let told = client(&instance, &reader, mode, closed);
        assert_eq!(told[0], json!(["intent_status", "list_approvals"]), "{mode}");
        assert_eq!(told[1]["approvals"], json!([]), "{mode}");
        for (told, scope) in told[2..].iter().zip(["intents:submit", "narratives:read", "narratives:read"]) {
            let text = told[1].as_str().unwrap();
            assert!(told[0] == true && text.contains(&format!("the scope `{scope}`")), "{mode}: {told}");
        }
    }
    assert_eq!(instance.grace(&["pause", "cortex"]).code, Some(0));
    let away = r#"
told = await client.call_tool("submit_intent", {"type": "query_knowledge"})
print(json.dumps([told.is_error, text(told)]))
"#;
    let told = client(&instance, &claude, "auto", away);
    assert!(told[0][0] == true && told[0][1].as_str().unwrap().contains("did not answer"), "{told:?}");
    assert_eq!(instance.grace(&["resume", "cortex"]).code, Some(0));
    instance.down();
}

/// The status and the text of an answer to a message.
fn post(instance: &Instance, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let agent = ureq::Agent::new_with_config(config.timeout_global(Some(Duration::from_secs(60))).build());
    let mut request = agent.post(url(instance)).header("accept", "application/json, text/event-stream");
    request = request.header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.send(body).unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}

#[test]
fn nobody_is_let_in_by_a_page_or_without_a_token() {
    let instance = Instance::of("");
    instance.up();
    let claude = token(&instance, "claude", &ALL);
    let bearer = format!("Bearer {claude}");
    let known = ("authorization", bearer.as_str());
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).to_string();
    let list = list.as_bytes();
    let (status, text) = post(&instance, &[known], list);
    assert!(status == 200 && text.contains("submit_intent"), "{status}: {text}");
    assert_eq!(post(&instance, &[known, ("origin", "http://localhost:6274")], list).0, 200);
    for origin in ["https://evil.example", "http://localhost.evil.example", "null", "nonsense"] {
        assert_eq!(post(&instance, &[known, ("origin", origin)], list).0, 403, "{origin}");
    }
    assert_eq!(post(&instance, &[known, ("host", "evil.example")], list).0, 421);
    for (headers, status) in [(&[][..], 401), (&[("authorization", "Bearer tok_00000000.guess")][..], 401)] {
        let (said, text) = post(&instance, headers, list);
        assert!(said == status && text.contains("\"unauthorized\""), "{said}: {text}");
    }
    let huge = format!("{{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"{}\"}}", "x".repeat(4 << 20));
    assert_eq!(post(&instance, &[known], huge.as_bytes()).0, 413);
    for bad in [&b""[..], b"{", b"[]", b"\xff", b"{\"jsonrpc\": \"2.0\", \"id\": 1}"] {
        let (status, text) = post(&instance, &[known], bad);
        assert!((400..500).contains(&status), "{status}: {text}");
    }
    // No session is held: none can be asked for, taken over or ended.
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let agent = ureq::Agent::new_with_config(config);
    let stream =
        agent.get(url(&instance)).header("authorization", &bearer).header("accept", "text/event-stream");
    assert_eq!(stream.header("mcp-session-id", "x").call().unwrap().status(), 405);
    let end = agent.delete(url(&instance)).header("authorization", &bearer).header("mcp-session-id", "x");
    assert_eq!(end.call().unwrap().status(), 405);
    instance.told(&["token", "revoke", &claude]);
    assert_eq!(post(&instance, &[known], list).0, 401, "worth nothing at once");
    instance.down();
}
