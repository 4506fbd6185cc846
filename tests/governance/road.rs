//! From a key to a yes that is still there after a kill, and what is refused on the way.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use grace_bus::Message;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::instance::{Instance, durable::connect_as, kill, until};

fn up() -> Instance {
    let instance = Instance::of("").with_people();
    instance.up();
    instance
}

/// The code with which `grace` refuses.
fn refused(instance: &Instance, args: &[&str]) -> String {
    let ran = instance.grace(&[&["--json"], args].concat());
    assert!(matches!(ran.code, Some(1 | 2)), "{args:?}: {ran}");
    let error: Value = serde_json::from_str(ran.err.trim()).unwrap();
    error["error"]["code"].as_str().unwrap().to_owned()
}

/// Says what people owe, with the cortex's own credential, until it is taken.
fn owe(instance: &Instance, case: &Value) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let bus = runtime.block_on(async { connect_as(instance, "cortex") });
    let body = json!({"command": {"owe": {"cases": [case]}}}).to_string().into_bytes();
    until("governance takes what is owed", || {
        let message = Message::new("grace.governance.owe", body.clone());
        let answer = runtime.block_on(bus.request(message, Duration::from_secs(2))).ok()?;
        let answer: Value = serde_json::from_slice(&answer.payload).ok()?;
        answer.get("done").map(|_| ())
    });
}

fn case(id: &str, owed: &str, actor: &str, quorum: u8, until: &str) -> Value {
    json!({"intent": id, "owed": owed, "digest": "ab".repeat(32),
        "actor": {"kind": "operator", "name": actor}, "type": "deploy_model", "target": "web", "payload": {"n": 1},
        "tier": 0, "quorum": quorum, "reasons": [{"code": "tier", "text": "tier 0"}],
        "since": "2026-01-01T00:00:00Z", "until": until})
}

#[test]
fn people_say_yes_with_their_keys_and_it_outlives_a_kill() {
    let instance = up();
    instance.told(&["approvals", "enroll", "ann"]);
    let key = instance.file("config/grace/approvers/ann.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let later = instance.told(&["approvals", "enroll", "bob"]).remove(0);
    let later = later["id"].as_str().unwrap();
    assert_eq!(refused(&instance, &["approvals", "approve", later, "--as", "bob"]), "unknown_approver");
    instance.told(&["approvals", "approve", later, "--as", "ann"]);
    until("bob is enrolled", || (instance.told(&["approvals", "approvers"]).len() == 2).then_some(()));

    let far = "2200-01-01T00:00:00Z";
    owe(&instance, &case("int_00009-1", "approval", "eve", 2, far));
    owe(&instance, &case("int_00009-2", "approval", "ann", 1, far));
    owe(&instance, &case("int_00009-3", "approval", "eve", 1, "2026-01-01T00:00:01Z"));
    owe(&instance, &case("int_00009-4", "review", "eve", 1, far));
    let first = instance.told(&["approvals", "approve", "int_00009-1", "--as", "ann"]).remove(0);
    assert_eq!(first["word"], Value::Null, "one of two");
    let governance = instance.ready("governance").pid;
    kill(governance.unwrap(), Signal::KILL);
    instance.until_component("governance", "is ready again", |c| c.ready && c.pid != governance);
    instance.told(&["approvals", "approve", "int_00009-1", "--as", "ann"]);
    let second = instance.told(&["approvals", "approve", "int_00009-1", "--as", "bob"]).remove(0);
    assert_eq!(second["word"], "approved");
    assert_eq!(refused(&instance, &["approvals", "approve", "int_00009-2", "--as", "ann"]), "own_intent");
    let no = instance.told(&["approvals", "deny", "int_00009-2", "--as", "bob", "--reason", "not now"]);
    assert_eq!(no[0]["word"], "denied");
    until("nobody said anything in time", || {
        let late = instance.told(&["approvals", "show", "int_00009-3"]).remove(0);
        (late["word"] == "expired").then_some(())
    });
    instance.told(&["reviews", "flag", "int_00009-4", "--note", "why?"]);
    assert_eq!(refused(&instance, &["reviews", "accept", "int_00009-4"]), "wrong_state");
    instance.down();
}

#[test]
fn an_emergency_ends_and_policies_that_lock_everybody_out_are_refused() {
    let instance = up();
    let begun = instance.told(&["emergency", "begin", "--reason", "disk", "--for", "15m"]).remove(0);
    instance.told(&["emergency", "end", begun["id"].as_str().unwrap()]);
    assert_eq!(refused(&instance, &["emergency", "begin", "--reason", "disk", "--for", "5h"]), "bad_request");

    instance.told(&["approvals", "enroll", "ann"]);
    let broken = instance.file("new.cedar");
    let path = broken.to_string_lossy().into_owned();
    std::fs::write(&broken, "@id(\"a\") @tier(\"2\")\npermit (principal, action").unwrap();
    let lint = instance.grace(&["governance", "lint", &path]);
    assert_eq!(lint.code, Some(2), "{lint}");
    assert!(lint.err.contains("new.cedar:2:"), "{lint}");
    // What can never take effect, by itself or because of another policy.
    let default = include_str!("../../policies/default.cedar");
    let both = "@id(\"both\") @tier(\"2\") permit (principal is Operator, action, resource) when { principal is Agent };";
    let all = "@id(\"no.risk\") forbid (principal is Agent, action in [Action::\"execute_sandbox\", Action::\"call_tool\"], resource);";
    for (more, words) in [(both, "both: its scope"), (all, "agent.tools: it can never take effect: all that")]
    {
        let contradicting = instance.file("contradicting.cedar");
        std::fs::write(&contradicting, format!("{default}\n{more}\n")).unwrap();
        let lint = instance.grace(&["governance", "lint", &contradicting.to_string_lossy()]);
        assert_eq!(lint.code, Some(2), "{lint}");
        assert!(lint.err.contains("contradicting.cedar:") && lint.err.contains(words), "{lint}");
    }
    std::fs::write(&broken, "@id(\"a\") forbid (principal, action, resource);").unwrap();
    let propose = ["governance", "propose", "--policies", &path, "--reason", "none"];
    let ran = instance.grace(&propose);
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.err.contains("no person could change the policies any more"), "{ran}");
    std::fs::write(&broken, "@id(\"a\") @tier(\"2\")\npermit (principal, action").unwrap();
    let ran = instance.grace(&propose);
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.err.contains("new.cedar:2:") && ran.err.contains("error[bad_policies]"), "{ran}");
    assert!(instance.told(&["intent", "list"]).is_empty(), "nothing is asked for");
    assert_eq!(instance.told(&["governance", "history"]).len(), 1);
    instance.down();
}

#[test]
fn what_the_cortex_lets_wait_runs_once_somebody_else_says_yes() {
    let instance = up();
    instance.told(&["approvals", "enroll", "ann"]);
    let submit = |actor: &str, kind: &str| {
        let ran = instance.grace(&["--json", "intent", "submit", kind, "--actor", actor]);
        let shown: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran}"));
        shown["id"].as_str().unwrap().to_owned()
    };
    let (own, others) = (submit("ann", "change_charter"), submit("eve", "change_charter"));
    let reviewed = submit("eve", "modify_config");
    for id in [&own, &others] {
        until("governance has the case", || {
            (instance.grace(&["approvals", "show", id]).code == Some(0)).then_some(())
        });
    }
    assert_eq!(refused(&instance, &["approvals", "approve", &own, "--as", "ann"]), "own_intent");
    instance.told(&["approvals", "approve", &others, "--as", "ann"]);
    until("the cortex has the verdict", || {
        let shown = instance.told(&["intent", "show", &others]).remove(0);
        (shown["decision"] == "allowed").then_some(())
    });
    until("a review is owed", || {
        (instance.grace(&["reviews", "accept", &reviewed]).code == Some(0)).then_some(())
    });
    instance.down();
}
