//! A policy that asks for two people: one is not enough however often he says so, and whoever asks is none of them.

use serde_json::Value;

use crate::instance::{Instance, until};

const POLICIES: &str = r#"
@id("test.two") @tier("0") @quorum("2")
permit (principal is Operator, action == Action::"deploy_model", resource);
"#;

/// An instance with the approvers ann, bob and cleo, and these policies beside those that Grace brings along.
fn up() -> Instance {
    let instance = Instance::of("").with_people();
    instance.up();
    instance.told(&["approvals", "enroll", "ann"]);
    for later in ["bob", "cleo"] {
        let waits = instance.told(&["approvals", "enroll", later]).remove(0);
        instance.told(&["approvals", "approve", waits["id"].as_str().unwrap(), "--as", "ann"]);
        until("it is enrolled", || {
            let all = instance.told(&["approvals", "approvers"]);
            all.iter().any(|one| one["name"] == later).then_some(())
        });
    }
    let brought = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/default.cedar");
    let path = instance.file("policies.cedar");
    std::fs::write(&path, std::fs::read_to_string(brought).unwrap() + POLICIES).unwrap();
    let path = path.to_string_lossy().into_owned();
    let waits =
        instance.told(&["governance", "propose", "--policies", &path, "--reason", "four eyes"]).remove(0);
    instance.told(&["approvals", "approve", waits["id"].as_str().unwrap(), "--as", "ann"]);
    until("the policies are in force", || {
        let newest = instance.told(&["governance", "history"]).remove(0);
        (newest["number"] == 1 && newest["state"] == "in_force").then_some(())
    });
    instance
}

#[test]
fn two_different_people_have_to_say_yes() {
    let instance = up();
    let submit = ["--json", "intent", "submit", "deploy_model", "--target", "web", "--actor", "cleo"];
    let ran = instance.grace(&submit);
    let asked: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran}"));
    assert_eq!((&asked["decision"], &asked["tier"]), (&"waiting".into(), &0.into()), "{asked}");
    let id = asked["id"].as_str().unwrap();
    let shown = || instance.grace(&["approvals", "show", id]).out;
    until("governance has the case", || shown().contains("(0 of 2 given)").then_some(()));
    assert!(shown().contains("2 different people have to say yes"), "{}", shown());
    let say = |name: &str| instance.grace(&["approvals", "approve", id, "--as", name]);
    let own = say("cleo");
    assert!(own.code != Some(0) && own.err.contains("own_intent"), "{own}");
    // The same person twice is one.
    for _ in 0..2 {
        say("ann");
        let listed = instance.grace(&["approvals", "list"]).out;
        assert!(listed.contains("1 of 2"), "{listed}");
        assert!(shown().contains("ann (1 of 2 given)"), "{}", shown());
    }
    let waits = instance.told(&["intent", "show", id]).remove(0);
    assert_eq!(waits["decision"], "waiting", "{waits}");
    let last = say("bob");
    assert_eq!(last.code, Some(0), "{last}");
    let allowed = until("it is allowed", || {
        let shown = instance.told(&["intent", "show", id]).remove(0);
        (shown["decision"] == "allowed").then_some(shown)
    });
    let reasons = allowed["reasons"].to_string();
    assert!(reasons.contains("ann and bob approved"), "{reasons}");
    instance.down();
}
