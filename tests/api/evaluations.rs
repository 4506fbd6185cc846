//! AuthZEN: one question, several, and for whom may be asked.

use serde_json::{Value, json};

use crate::{
    caller::{token, told, up},
    client::{get, post_as, url},
    instance::until,
};

const ONE: &str = "/access/v1/evaluation";
const SEVERAL: &str = "/access/v1/evaluations";

fn question(action: &str) -> Value {
    json!({"subject": {"type": "remote", "id": "ci"}, "action": {"name": action},
        "resource": {"type": "service", "id": "web"}, "context": {"time": "2026-01-01T00:00:00Z"}})
}

#[test]
fn questions_are_decided_like_intents() {
    let instance = up();
    let ci = token(&instance, "ci", &["--scope", "evaluate", "--ttl", "1h", "--rate", "1000"]);
    let ask = |token: &str, path: &str, body: &Value| post_as(&instance, token, path, &[], &body.to_string());
    let allowed = ask(&ci, ONE, &question("query_knowledge"));
    let said = allowed.json();
    assert_eq!((allowed.status, &said["decision"]), (200, &json!(true)), "{allowed:?}");
    assert_eq!(said["context"]["policies"], json!(["test.everyday"]), "{said}");
    let denied = ask(&ci, ONE, &question("change_charter")).json();
    assert_eq!(denied["decision"], false, "{denied}");
    assert!(denied["context"]["reason_user"]["en"].as_str().unwrap().contains("no policy"), "{denied}");
    // A person's word counts for the same question, which is one ticket however often it is asked.
    let waits = ask(&ci, ONE, &question("deploy_model")).json();
    let again = ask(&ci, ONE, &question("deploy_model")).json();
    let ticket = waits["context"]["id"].as_str().unwrap();
    assert_eq!(
        (&waits["decision"], &waits["context"]["outcome"], &again["context"]["id"]),
        (&json!(false), &json!("waits_for_approval"), &json!(ticket)),
        "{waits} {again}"
    );
    until("governance has the case", || {
        (instance.grace(&["approvals", "show", ticket]).code == Some(0)).then_some(())
    });
    told(&instance, &["approvals", "approve", ticket, "--as", "ann"]);
    until("the answer is known", || {
        let answer = ask(&ci, ONE, &question("deploy_model")).json();
        (answer["decision"] == true && answer["context"]["id"] == ticket).then_some(())
    });

    let batch = |semantic: &str| {
        let mut batch = question("query_knowledge");
        batch["evaluations"] = json!([{}, {"action": {"name": "change_charter"}}, {"subject": {"type": "remote", "id": "eve"}},
            {"action": {"name": "modify_config"}}]);
        batch["options"] = json!({"evaluations_semantic": semantic});
        let answer = ask(&ci, SEVERAL, &batch);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["evaluations"].as_array().unwrap().clone()
    };
    let decisions = |answers: &[Value]| answers.iter().map(|one| one["decision"] == true).collect::<Vec<_>>();
    let all = batch("execute_all");
    assert_eq!(decisions(&all), [true, false, false, true], "{all:?}");
    assert_eq!(all[2]["context"]["error"]["status"], 403, "{all:?}");
    assert_eq!(decisions(&batch("deny_on_first_deny")), [true, false]);
    assert_eq!(decisions(&batch("permit_on_first_permit")), [true]);
    let alone = ask(&ci, SEVERAL, &question("query_knowledge"));
    assert_eq!(alone.json()["decision"], true, "without `evaluations` it is one question: {alone:?}");

    let bad = [
        (ONE, json!({}), 400),
        (ONE, json!({"subject": {"type": "remote", "id": "ci"}, "action": {"name": "x"}}), 400),
        (SEVERAL, json!({"evaluations": [], "options": {"evaluations_semantic": "some"}}), 400),
        // Without questions it is one, and without a subject none.
        (SEVERAL, json!({}), 400),
        (SEVERAL, json!({"evaluations": []}), 400),
        (SEVERAL, json!({"evaluations": [[null, null]]}), 400),
        (SEVERAL, json!([[null, null]]), 400),
        (
            ONE,
            json!({"subject": ["remote", "ci"], "action": {"name": "x"}, "resource": {"type": "a", "id": "b"}}),
            400,
        ),
    ];
    for (path, body, status) in bad {
        assert_eq!(ask(&ci, path, &body).status, status, "{path} {body}");
    }
    let mut unknown = question("query_knowledge");
    unknown["subject"]["attributes"] = json!({});
    assert_eq!(ask(&ci, ONE, &unknown).status, 400, "what is not understood is not passed over");
    let mut other = question("query_knowledge");
    other["subject"]["id"] = "eve".into();
    assert_eq!(ask(&ci, ONE, &other).json()["code"], "missing_scope");
    let pep = token(&instance, "pep", &["--scope", "evaluate", "--scope", "evaluate:others", "--ttl", "1h"]);
    let for_eve = ask(&pep, ONE, &other).json();
    assert_eq!(for_eve["decision"], true, "{for_eve}");
    for (kind, id) in [("operator", "root"), ("kernel", "governance"), ("remote", "a.b"), ("remote", "*")] {
        other["subject"] = json!({"type": kind, "id": id});
        let no = ask(&pep, ONE, &other);
        let said = no.json();
        assert_eq!((no.status, &said["decision"]), (200, &json!(false)), "{kind} {id}: {no:?}");
        assert!(said["context"]["reason_user"]["en"].is_string(), "{said}");
    }
    let many: Vec<Value> = vec![json!({}); 101];
    let mut batch = question("query_knowledge");
    batch["evaluations"] = many.into();
    assert_eq!(ask(&ci, SEVERAL, &batch).status, 413);

    let found = get(&instance, "/.well-known/authzen-configuration").json();
    assert_eq!(found["access_evaluation_endpoint"], format!("{}{ONE}", url(&instance)));
    instance.down();
}

/// The standard's own examples, of sections 6 and 7: nothing here is permitted to a `user`.
#[test]
fn what_the_standard_shows_is_well_formed_and_denied() {
    let instance = up();
    let pep = token(&instance, "pep", &["--scope", "evaluate", "--ttl", "1h"]);
    let ask = |path: &str, body: &Value| {
        let answer = post_as(&instance, &pep, path, &[], &body.to_string());
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
        answer.json()
    };
    let denied = |said: &Value| {
        assert_eq!(said["decision"], false, "{said}");
        assert!(
            said["context"]["reason_user"]["en"].as_str().unwrap().contains("nothing is permitted"),
            "{said}"
        );
    };
    let alice = json!({"type": "user", "id": "alice@acmecorp.com"});
    let document = |id: &str| json!({"type": "document", "id": id});
    let time = json!({"time": "2024-05-31T15:22-07:00"});
    denied(&ask(
        ONE,
        &json!({"subject": alice, "resource": {"type": "todo", "id": "1"}, "action": {"name": "can_read"},
            "context": {"time": "1985-10-26T01:22-07:00"}}),
    ));
    denied(&ask(
        ONE,
        &json!({"subject": {"type": "user", "id": "alice@acmecorp.com",
                "properties": {"department": "Sales", "ip_address": "172.217.22.14"}},
            "resource": {"type": "book", "id": "123", "properties": {"library_record": {"title": "AuthZEN in Action"}}},
            "action": {"name": "extend-loan", "properties": {"period": "2W"}}}),
    ));
    let several = [
        json!({"evaluations": [
            {"subject": alice, "action": {"name": "can_read"}, "resource": document("boxcarring.md"), "context": time},
            {"subject": alice, "action": {"name": "can_read"}, "resource": document("subject-search.md"), "context": time},
            {"subject": alice, "action": {"name": "can_read"}, "resource": document("resource-search.md"), "context": time}]}),
        json!({"subject": alice, "context": time, "action": {"name": "can_read"}, "evaluations": [
            {"resource": document("boxcarring.md")},
            {"resource": document("subject-search.md")},
            {"action": {"name": "can_edit"}, "resource": document("resource-search.md")}],
            "options": {"evaluations_semantic": "execute_all", "another_option": "value"}}),
    ];
    for body in several {
        let said = ask(SEVERAL, &body);
        let answers = said["evaluations"].as_array().unwrap();
        assert_eq!(answers.len(), 3, "{said}");
        answers.iter().for_each(denied);
    }
    // An action that nobody knows, about the token's own actor.
    let own = ask(
        ONE,
        &json!({"subject": {"type": "remote", "id": "pep"}, "action": {"name": ""}, "resource": document("")}),
    );
    assert_eq!(own["decision"], false, "{own}");
    assert!(own["context"]["reason_user"]["en"].is_string(), "{own}");
    instance.down();
}
