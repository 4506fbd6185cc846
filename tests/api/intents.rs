//! Intents over HTTP: decided for the token's actor, looked at, and followed to their end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    caller::{token, told, up},
    client::{Answer, get_as, post_as},
    instance::{Instance, until},
};

const INTENTS: &str = "/v1/intents";
const ALL: [&str; 8] =
    ["--scope", "intents:submit", "--scope", "intents:read", "--ttl", "1h", "--rate", "10000"];

fn post(instance: &Instance, token: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    post_as(instance, token, INTENTS, headers, &body.to_string())
}

fn code(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.kind, "application/problem+json", "{answer:?}");
    (answer.status, answer.json()["code"].as_str().unwrap().to_owned())
}

#[test]
fn an_intent_is_decided_for_the_tokens_actor_and_nobody_else() {
    let instance = up();
    let ci = token(&instance, "ci", &ALL);
    let key = [("idempotency-key", "k 1")];
    let quick = json!({"type": "quick", "payload": {"n": 1}});
    let first = post(&instance, &ci, &key, &quick);
    assert_eq!(first.status, 201, "{first:?}");
    let shown = first.json();
    let of = |what: &str| shown[what].clone();
    assert_eq!(json!([of("actor"), of("actor_kind"), of("tier")]), json!(["ci", "remote", 2]));
    assert_eq!((of("decision"), of("policies")), (json!("allowed"), json!(["test.declared"])));
    let again = post(&instance, &ci, &[("idempotency-key", "\"k 1\"")], &quick);
    assert_eq!((again.status, &again.json()["id"]), (200, &shown["id"]), "{again:?}");
    let other = json!({"type": "quick", "payload": {"n": 2}});
    assert_eq!(code(&post(&instance, &ci, &key, &other)), (422, "key_reused".to_owned()));

    let waits = post(&instance, &ci, &[], &json!({"type": "deploy_model"}));
    assert_eq!((waits.status, &waits.json()["state"]), (202, &json!("waiting")), "{waits:?}");
    let denied = post(&instance, &ci, &[], &json!({"type": "change_charter"}));
    assert_eq!(code(&denied), (403, "denied".to_owned()));
    assert!(denied.json()["decision_id"].as_str().unwrap().starts_with("int_"), "{denied:?}");
    assert_eq!(denied.json()["detail"], "no policy permits it", "{denied:?}");
    let agent = token(&instance, "claude", &[&ALL[..], &["--kind", "agent"]].concat());
    assert_eq!(code(&post(&instance, &agent, &[], &quick)).0, 403, "what remote actors may, agents may not");
    assert_eq!(post(&instance, &agent, &[], &json!({"type": "query_knowledge"})).status, 201);

    let path = format!("{INTENTS}/{}", shown["id"].as_str().unwrap());
    let done = until("it has succeeded", || {
        let answer = get_as(&instance, &ci, &path, &[]);
        Some(answer.json()).filter(|shown| shown["state"] == "succeeded")
    });
    assert_eq!(done["tasks"][0]["state"], "succeeded", "{done}");
    let namesake = token(&instance, "ci", &[&ALL[..], &["--kind", "agent"]].concat());
    for stranger in [&agent, &namesake] {
        assert_eq!(code(&get_as(&instance, stranger, &path, &[])), (404, "not_found".to_owned()));
        assert_eq!(code(&get_as(&instance, stranger, &format!("{path}/events"), &[])).0, 404);
    }
    let listed = get_as(&instance, &ci, &format!("{INTENTS}?limit=2"), &[]).json();
    assert_eq!(listed["intents"].as_array().unwrap().len(), 2, "{listed}");
    let next = listed["next"].as_str().unwrap();
    let rest = get_as(&instance, &ci, &format!("{INTENTS}?limit=2&before={next}"), &[]).json();
    assert_eq!((&rest["intents"][0]["id"], &rest["next"]), (&shown["id"], &Value::Null), "{rest}");
    let waiting = get_as(&instance, &ci, &format!("{INTENTS}?state=waiting"), &[]).json();
    assert_eq!(waiting["intents"][0]["type"], "deploy_model", "{waiting}");
    assert_eq!(get_as(&instance, &namesake, INTENTS, &[]).json()["intents"], json!([]));

    let id = shown["id"].as_str().unwrap();
    until("it is told who asked", || {
        instance.grace(&["why", id]).out.contains("Remote ci asks for quick").then_some(())
    });
    instance.down();
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let instance = up();
    let ci = token(&instance, "ci", &ALL);
    let large = json!({"type": "quick", "payload": "x".repeat(300 << 10)}).to_string();
    let payload = json!({"type": "query_knowledge", "payload": "x".repeat(260 << 10)}).to_string();
    let bad = [
        ("{not json", 400, "malformed"),
        ("{}", 400, "malformed"),
        (r#"{"type": "quick", "actor": "root", "payload": {"n": 1}}"#, 400, "malformed"),
        (r#"{"type": "quick", "origin": {}, "payload": {"n": 1}}"#, 400, "malformed"),
        (r#"{"type": "quick", "payload": {"n": -1}}"#, 422, "invalid"),
        (r#"{"type": "", "payload": {}}"#, 422, "refused"),
        (&large, 413, "too_large"),
        (&payload, 413, "too_large"),
    ];
    for (body, status, expected) in bad {
        let answer = post_as(&instance, &ci, INTENTS, &[], body);
        let shown: String = body.chars().take(80).collect();
        assert_eq!(code(&answer), (status, expected.to_owned()), "{shown}: {answer:?}");
    }
    let violated = post_as(&instance, &ci, INTENTS, &[], r#"{"type": "quick", "payload": {"n": -1}}"#);
    assert_eq!(violated.json()["violations"][0]["pointer"], "/n", "{violated:?}");
    let key = "k".repeat(129);
    for key in ["", "\u{fc}", key.as_str()] {
        let answer = post(&instance, &ci, &[("idempotency-key", key)], &json!({"type": "query_knowledge"}));
        assert_eq!(code(&answer), (400, "malformed".to_owned()), "{key}");
    }
    for (path, status) in [
        ("/v1/intents/nothing", 404),
        ("/v1/intents/int_00000-1", 404),
        ("/v1/intents/%ff", 404),
        ("/v1/intents?limit=0", 400),
        ("/v1/intents?limit=101", 400),
        ("/v1/intents?state=odd", 400),
        ("/v1/intents?actor=root", 400),
        ("/v1/intents?before=1", 400),
    ] {
        assert_eq!(code(&get_as(&instance, &ci, path, &[])).0, status, "{path}");
    }
    instance.down();
}

/// Each event of a stream: its name, its id and its data.
fn events(stream: &str) -> Vec<(String, String, Value)> {
    let field = |event: &str, name: &str| {
        let found = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_default().to_owned()
    };
    let blocks = stream.split("\n\n").filter(|block| block.contains("data: "));
    blocks
        .map(|block| {
            let data =
                serde_json::from_str(&field(block, "data")).unwrap_or_else(|e| panic!("{e}: {stream}"));
            assert_eq!(field(block, "retry"), "1000", "{stream}");
            (field(block, "event"), field(block, "id"), data)
        })
        .collect()
}

#[test]
fn what_voters_said_is_shown() {
    let instance = up();
    let ci = token(&instance, "ci", &ALL);
    let asked = post(&instance, &ci, &[], &json!({"type": "optimize_system"})).json();
    assert_eq!((&asked["tier"], &asked["ballots"]), (&json!(3), &json!([])), "{asked}");
    let path = format!("{INTENTS}/{}", asked["id"].as_str().unwrap());
    let shown = until("it is settled", || {
        let shown = get_as(&instance, &ci, &path, &[]).json();
        (shown["state"] != "waiting" && shown["ballots"].as_array().unwrap().len() >= 3).then_some(shown)
    });
    for ballot in shown["ballots"].as_array().unwrap() {
        assert!(ballot["voter"].is_string() && ballot["vote"].is_string(), "{ballot}");
        assert!(!ballot["reasons"][0]["text"].as_str().unwrap().is_empty(), "{ballot}");
    }
    instance.down();
}

#[test]
fn an_intent_is_followed_to_its_end() {
    let instance = up();
    let ci = token(&instance, "ci", &ALL);
    let follow = |id: &str, headers: &[(&str, &str)]| {
        get_as(&instance, &ci, &format!("{INTENTS}/{id}/events"), headers)
    };
    let id = post(&instance, &ci, &[], &json!({"type": "slow", "payload": {}})).json()["id"].clone();
    let stream = follow(id.as_str().unwrap(), &[]);
    assert_eq!((stream.status, stream.kind.as_str()), (200, "text/event-stream"), "{stream:?}");
    let seen = events(&stream.body);
    let (name, last, data) = seen.last().unwrap();
    assert_eq!((name.as_str(), &data["state"], &data["id"]), ("end", &json!("succeeded"), &id), "{stream:?}");
    assert_eq!(data["tasks"].as_array().unwrap().len(), 2, "{data}");
    assert!(
        seen.len() >= 2 && seen[..seen.len() - 1].iter().all(|(name, ..)| name == "progress"),
        "{seen:?}"
    );
    let over = follow(id.as_str().unwrap(), &[("last-event-id", last)]);
    assert_eq!((over.status, over.body.as_str()), (204, ""), "who has the end need not come again");
    let behind = follow(id.as_str().unwrap(), &[("last-event-id", &seen[0].1)]);
    assert_eq!(events(&behind.body).len(), 1, "{behind:?}");

    // One that waits for a person, and another that follows it meanwhile; its token is revoked before the end.
    let waits = post(&instance, &ci, &[], &json!({"type": "deploy_model"})).json()["id"].clone();
    let waits = waits.as_str().unwrap();
    let second = token(&instance, "ci", &ALL);
    let path = format!("{INTENTS}/{waits}/events");
    let (seen, cut) = std::thread::scope(|scope| {
        let first = scope.spawn(|| follow(waits, &[]));
        let cut = scope.spawn(|| get_as(&instance, &second, &path, &[]));
        until("governance has the case", || {
            (instance.grace(&["approvals", "show", waits]).code == Some(0)).then_some(())
        });
        told(&instance, &["token", "revoke", second.split('.').next().unwrap()]);
        let cut = cut.join().unwrap();
        told(&instance, &["approvals", "approve", waits, "--as", "ann"]);
        (first.join().unwrap(), cut)
    });
    assert_eq!(events(&seen.body).last().unwrap().2["decision"], "allowed", "{seen:?}");
    assert!(cut.status == 401 || events(&cut.body).iter().all(|(name, ..)| name == "progress"), "{cut:?}");
    instance.down();
}

#[test]
fn a_thousand_requests_fifty_at_a_time_are_decided_consistently() {
    const SENDERS: usize = 50;
    const EACH: usize = 20;
    let kinds =
        ["quick", "query_knowledge", "modify_config", "deploy_model", "change_charter", "nobody_knows"];
    let instance = up();
    let tokens = [token(&instance, "a", &ALL), token(&instance, "b", &ALL)];
    let send = |sender: usize| -> Vec<(String, Answer)> {
        let one = |n: usize| {
            let kind = kinds[(sender + n) % kinds.len()];
            let key = format!("{sender}-{n}");
            let body = json!({"type": kind, "payload": {"n": n}});
            let answer = post(&instance, &tokens[sender % 2], &[("idempotency-key", &key)], &body);
            (kind.to_owned(), answer)
        };
        (0..EACH).map(one).collect()
    };
    let answers: Vec<(String, Answer)> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|sender| scope.spawn(move || send(sender))).collect();
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    let (mut by_kind, mut ids) = (BTreeMap::<String, BTreeSet<String>>::new(), BTreeSet::new());
    for (kind, answer) in &answers {
        let said = answer.json();
        let id = if answer.status == 403 { &said["decision_id"] } else { &said["id"] };
        ids.insert(id.as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned());
        let said = json!([answer.status, said["tier"], said["score"], said["policies"]]);
        by_kind.entry(kind.clone()).or_default().insert(said.to_string());
    }
    assert_eq!(ids.len(), SENDERS * EACH, "each is an intent of its own");
    assert!(by_kind.len() == kinds.len() && by_kind.values().all(|said| said.len() == 1), "{by_kind:?}");
    instance.down();
    let name = |(decision, _): &(Value, Value)| decision["id"].as_str().unwrap().to_owned();
    // Not the one that put the policies in force.
    let meant = |(decision, _): &&(Value, Value)| decision["type"] != "modify_governance";
    let recorded: Vec<String> = instance.decided().iter().filter(meant).map(name).collect();
    let set: BTreeSet<String> = recorded.iter().cloned().collect();
    assert!(set.len() == recorded.len() && set == ids, "all of them are on record, each once");
}
