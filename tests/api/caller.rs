//! An instance whose policies let remote actors and agents ask for something, and tokens to ask with.

use serde_json::Value;

use crate::instance::{Instance, until};

/// What the operator's policies say here beside those that Grace brings along.
const POLICIES: &str = r#"
@id("test.declared") @tier("2")
permit (principal is Remote, action in Action::"declared", resource);
@id("test.everyday") @tier("2")
permit (principal, action == Action::"query_knowledge", resource) when { principal is Remote || principal is Agent };
@id("test.reviewed") @tier("1")
permit (principal is Remote, action == Action::"modify_config", resource);
@id("test.approved") @tier("0")
permit (principal is Remote, action == Action::"deploy_model", resource);
@id("test.voted") @tier("3")
permit (principal is Remote, action == Action::"optimize_system", resource);
"#;

const MANIFEST: &str = r#"bus: {port: 0}
intents:
  quick:
    payload: {type: object, required: [n], properties: {n: {type: integer, minimum: 0}}}
    plan:
      task: {kind: wait, for: 1ms}
  slow:
    payload: {type: object}
    plan:
      sequence:
        - task: {kind: wait, for: 300ms}
        - task: {kind: wait, for: 700ms}
"#;

/// One line of JSON that `grace` prints.
pub(crate) fn told(instance: &Instance, args: &[&str]) -> Value {
    instance.told(args).into_iter().next().unwrap_or_default()
}

/// An instance that runs, with these policies in force.
pub(crate) fn up() -> Instance {
    let instance = Instance::of("").with_people();
    instance.write_manifest(MANIFEST);
    instance.up();
    let brought = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/default.cedar");
    let path = instance.file("policies.cedar");
    std::fs::write(&path, std::fs::read_to_string(brought).unwrap() + POLICIES).unwrap();
    let path = path.to_string_lossy().into_owned();
    told(&instance, &["approvals", "enroll", "ann"]);
    let propose = ["governance", "propose", "--policies", &path, "--reason", "a test", "--actor", "bob"];
    let waits = told(&instance, &propose);
    let id = waits["id"].as_str().unwrap();
    told(&instance, &["approvals", "approve", id, "--as", "ann"]);
    until("the policies are in force", || {
        let shown = told(&instance, &["governance", "history"]);
        (shown["number"] == 1 && shown["state"] == "in_force").then_some(())
    });
    instance
}

/// The text of a new token.
pub(crate) fn token(instance: &Instance, actor: &str, more: &[&str]) -> String {
    let args = [&["token", "create", "--actor", actor], more].concat();
    told(instance, &args)["token"].as_str().unwrap().to_owned()
}
