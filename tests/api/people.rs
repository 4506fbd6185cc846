//! Approvals, reviews and narratives over HTTP: an approver's word is taken from whoever hands it in, and from nobody else's mouth.

use serde_json::{Value, json};

use crate::{
    caller::{token, told, up},
    client::{Answer, get_as, post_as},
    instance::{Instance, until},
};

const ALL: [&str; 16] = [
    "--scope",
    "intents:submit",
    "--scope",
    "intents:read",
    "--scope",
    "approvals:read",
    "--scope",
    "approvals:decide",
    "--scope",
    "reviews:read",
    "--scope",
    "narratives:read",
    "--ttl",
    "1h",
    "--rate",
    "1000",
];

fn code(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.kind, "application/problem+json", "{answer:?}");
    (answer.status, answer.json()["code"].as_str().unwrap().to_owned())
}

/// The id of an intent that `kind` makes.
fn submitted(instance: &Instance, token: &str, kind: &str) -> String {
    let answer = post_as(instance, token, "/v1/intents", &[], &json!({"type": kind}).to_string());
    answer.json()["id"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// An approval, as soon as governance has it.
fn approval(instance: &Instance, token: &str, id: &str) -> Value {
    until("governance has the case", || {
        let answer = get_as(instance, token, &format!("/v1/approvals/{id}"), &[]);
        (answer.status == 200).then(|| answer.json())
    })
}

/// What `ann` signs of a case, out of a file alone.
fn signed(instance: &Instance, word: &str, case: &Value) -> String {
    let path = instance.file("case.json");
    std::fs::write(&path, case.to_string()).unwrap();
    let id = case["intent"].as_str().unwrap();
    let path = path.to_string_lossy().into_owned();
    let args = ["approvals", word, id, "--as", "ann", "--case", &path, "--reason", "seen"];
    told(instance, &args).to_string()
}

#[test]
fn a_signed_yes_is_handed_in_and_nothing_else_counts() {
    let instance = up();
    let ci = token(&instance, "ci", &ALL);
    let id = submitted(&instance, &ci, "deploy_model");
    let case = approval(&instance, &ci, &id);
    assert_eq!(
        json!([case["actor"], case["actor_kind"], case["tier"], case["payload"], case["may"], case["word"]]),
        json!(["ci", "remote", 0, null, ["ann"], null]),
        "{case}"
    );
    let waiting = get_as(&instance, &ci, "/v1/approvals", &[]).json();
    assert!(waiting["approvals"].as_array().unwrap().iter().any(|one| one["intent"] == id.as_str()));
    let hand_in = |word: &str, id: &str, body: &str| {
        post_as(&instance, &ci, &format!("/v1/approvals/{id}/{word}"), &[], body)
    };
    let yes = signed(&instance, "approve", &case);
    let mut other: Value = serde_json::from_str(&yes).unwrap();
    other["reason"] = "not what was signed".into();
    assert_eq!(code(&hand_in("approve", &id, &other.to_string())), (403, "forged".to_owned()));
    assert_eq!(code(&hand_in("deny", &id, &yes)), (403, "forged".to_owned()), "a yes is no no");
    other["approver"] = "bob".into();
    assert_eq!(code(&hand_in("approve", &id, &other.to_string())), (403, "unknown_approver".to_owned()));
    let second = submitted(&instance, &ci, "deploy_model");
    let second_case = approval(&instance, &ci, &second);
    assert_eq!(code(&hand_in("approve", &second, &yes)), (403, "forged".to_owned()), "of another case");
    other["approver"] = "ann".into();
    other["digest"] = "0".repeat(64).into();
    assert_eq!(code(&hand_in("approve", &id, &other.to_string())).0, 409, "of something else");
    assert_eq!(code(&hand_in("approve", &id, r#"{"approver": "ann"}"#)).0, 400);
    let reader = token(&instance, "reader", &["--scope", "approvals:read", "--ttl", "1h"]);
    let unscoped = post_as(&instance, &reader, &format!("/v1/approvals/{id}/approve"), &[], &yes);
    assert_eq!(code(&unscoped), (403, "missing_scope".to_owned()));
    assert_eq!(approval(&instance, &ci, &id)["word"], Value::Null, "none of these counted");

    assert_eq!(hand_in("approve", &id, &yes).json()["word"], "approved");
    until("the cortex has the verdict", || {
        let shown = get_as(&instance, &ci, &format!("/v1/intents/{id}"), &[]).json();
        (shown["decision"] == "allowed").then_some(())
    });
    let no = hand_in("deny", &second, &signed(&instance, "deny", &second_case));
    assert_eq!((no.status, &no.json()["word"]), (200, &json!("denied")), "{no:?}");
    let closed = get_as(&instance, &ci, "/v1/approvals?closed=true", &[]).json();
    assert!(closed["approvals"].as_array().unwrap().len() >= 2, "{closed}");
    // Nobody approves what he asked for himself.
    let ann = token(&instance, "ann", &ALL);
    let own = submitted(&instance, &ann, "deploy_model");
    let own_case = approval(&instance, &ann, &own);
    let own_yes = signed(&instance, "approve", &own_case);
    let refused = post_as(&instance, &ann, &format!("/v1/approvals/{own}/approve"), &[], &own_yes);
    assert_eq!(code(&refused), (403, "own_intent".to_owned()));
    instance.down();
}

#[test]
fn reviews_and_narratives_are_read() {
    let instance = up();
    let ci = token(&instance, "ci", &ALL);
    let id = submitted(&instance, &ci, "modify_config");
    let review = until("a review is owed", || {
        let page = get_as(&instance, &ci, "/v1/reviews", &[]).json();
        page["reviews"].as_array().unwrap().iter().find(|one| one["intent"] == id.as_str()).cloned()
    });
    assert_eq!((&review["actor"], &review["flagged"]), (&json!("ci"), &Value::Null), "{review}");
    told(&instance, &["reviews", "accept", &id]);
    let done = get_as(&instance, &ci, "/v1/reviews?closed=true", &[]).json();
    assert_eq!(done["reviews"][0]["flagged"], false, "{done}");

    // What governance says of it may be known before what the cortex said.
    until("it is told from its beginning", || {
        let story = get_as(&instance, &ci, &format!("/v1/narratives/why/{id}"), &[]);
        let told = |story: Value| story["narratives"][0]["why"].to_string();
        (story.status == 200 && told(story.json()).contains("Remote ci asks for modify_config")).then_some(())
    });
    let found = get_as(&instance, &ci, &format!("/v1/narratives?about={id}&limit=1"), &[]).json();
    assert_eq!(found["narratives"].as_array().unwrap().len(), 1, "{found}");
    let page = get_as(&instance, &ci, "/v1/narratives?limit=2", &[]).json();
    let next =
        get_as(&instance, &ci, &format!("/v1/narratives?after={}", page["next"].as_str().unwrap()), &[]);
    assert_ne!(next.json()["narratives"][0]["id"], page["narratives"][1]["id"], "{next:?}");
    for (path, status) in [
        ("/v1/narratives/why/int_00000-1", 404),
        ("/v1/narratives/why/%ff", 404),
        ("/v1/narratives?text=--", 400),
        ("/v1/narratives?since=yesterday", 400),
        ("/v1/narratives?after=x", 400),
        ("/v1/narratives?limit=1000", 400),
        ("/v1/approvals/int_00000-1", 404),
        ("/v1/approvals?after=x", 400),
    ] {
        assert_eq!(code(&get_as(&instance, &ci, path, &[])).0, status, "{path}");
    }
    let bare = token(&instance, "bare", &["--scope", "intents:read", "--ttl", "1h"]);
    for path in ["/v1/approvals", "/v1/reviews", "/v1/narratives", "/v1/narratives/why/clarity"] {
        assert_eq!(code(&get_as(&instance, &bare, path, &[])), (403, "missing_scope".to_owned()), "{path}");
    }
    instance.down();
}
