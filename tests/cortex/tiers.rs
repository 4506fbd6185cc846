//! What each tier says at the command line, and which roads are closed.

use serde_json::{Value, json};

use crate::{
    instance::{Instance, Ran, until},
    line::Line,
};

/// A type that only waits a moment, and a schedule that wants it.
pub(crate) const MANIFEST: &str = r#"bus: {port: 0}
intents:
  quick:
    payload: {type: object, required: [n], properties: {n: {type: integer, minimum: 0}}}
    plan:
      task: {kind: wait, for: 1ms}
"#;

pub(crate) fn up(more: &str) -> Instance {
    let instance = Instance::of("");
    instance.write_manifest(&format!("{MANIFEST}{more}"));
    instance.up();
    instance
}

fn submit(instance: &Instance, kind: &str, more: &[&str]) -> (Ran, Value) {
    let args = [&["--json", "intent", "submit", kind, "--actor", "ann"], more].concat();
    let ran = instance.grace(&args);
    let shown = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran}"));
    (ran, shown)
}

#[test]
fn each_tier_is_told_with_its_reasons_and_its_status() {
    let instance = up("");
    let expected = [
        ("quick", Some(0), 2, "allowed"),
        ("query_knowledge", Some(0), 2, "allowed"),
        ("modify_config", Some(0), 1, "allowed"),
        ("change_charter", Some(0), 0, "waiting"),
        ("self_improve", Some(0), 3, "waiting"),
        ("emergency_recovery", Some(1), 4, "denied"),
    ];
    for (kind, code, tier, decision) in expected {
        let (ran, shown) = submit(&instance, kind, &["--payload", r#"{"n": 1}"#]);
        assert_eq!((ran.code, &shown["tier"]), (code, &tier.into()), "{kind}: {ran}");
        assert_eq!(shown["decision"], decision, "{kind}: {ran}");
        assert!(shown["reasons"].as_array().unwrap().len() >= 3, "{kind}: {ran}");
        let id = shown["id"].as_str().unwrap();
        let again = instance.grace(&["--json", "intent", "show", id]);
        let again: Value = serde_json::from_str(&again.out).unwrap();
        assert_eq!((&again["id"], &again["score"]), (&shown["id"], &shown["score"]), "{again}");
        until("the decision is told", || {
            let ran = instance.grace(&["why", id]);
            (ran.code == Some(0) && ran.out.contains("cortex")).then_some(())
        });
    }
    let waiting = instance.grace(&["intent", "list", "--state", "waiting"]);
    assert!(waiting.out.contains("change_charter"), "{waiting}");
    let denied = instance.grace(&["intent", "list", "--state", "denied"]);
    assert_eq!(denied.out.lines().count(), 1, "{denied}");
    let pressing = submit(&instance, "generate_summary", &["--user-facing", "--revenue-impact", "0.5"]).1;
    let plain = submit(&instance, "generate_summary", &[]).1;
    assert!(pressing["score"].as_f64() > plain["score"].as_f64(), "{pressing}\n{plain}");
    instance.down();
}

#[test]
fn the_task_manager_takes_nothing_from_anybody_but_the_cortex() {
    let instance = up("");
    let line = Line::to(&instance);
    let intents = json!({"submit": {"intents": [{"type": "quick", "actor": "ann", "payload": {"n": 1}}]}});
    let refused = line.ask("grace.cmd.htm", &intents);
    assert!(refused["error"]["message"].as_str().unwrap().contains("grace.cmd.cortex"), "{refused}");
    // The broker drops it: the next answer on the same connection comes after it.
    line.tell("grace.htm.submit", &intents);
    line.tell("grace.cortex.govern", &json!({"adopt": {"grants": []}}));
    let overview = line.ask("grace.cmd.htm", &json!({"query": "overview"}));
    assert_eq!(overview["done"]["overview"]["totals"]["succeeded"], 0, "{overview}");
    // What the cortex tells itself, nobody else may.
    for command in [json!("tick"), json!({"settle": {"results": []}}), json!({"decide": {"intents": []}})] {
        let refused = line.ask("grace.cmd.cortex", &command);
        assert_eq!(refused["error"]["code"], "bad_request", "{refused}");
    }
    // On the road of others an operator is nobody.
    let asked = line.ask("grace.intent.agent.claude", &intents);
    let decided = &asked["done"]["submitted"]["results"][0]["decided"];
    assert_eq!((&decided["outcome"], &decided["actor"]), (&"denied".into(), &"claude".into()), "{asked}");
    instance.down();
    assert!(!instance.records_of("htm").iter().any(|record| record.to_string().contains("\"ann\"")));
}

#[test]
fn a_schedule_asks_the_cortex_as_automation() {
    let instance = up(r#"schedules:
  tick: {when: {every: 1s}, action: {submit: {intent: quick, payload: {n: 1}}}}
"#);
    let line = Line::to(&instance);
    let of_tick = || {
        let answer = line.ask("grace.cmd.cortex", &json!({"query": {"intents": {"limit": 10}}}));
        let intents = answer["done"]["intents"]["intents"].as_array().unwrap().clone();
        intents.into_iter().find(|one| one["state"] == "running")
    };
    let decided = until("it is decided", of_tick);
    assert_eq!((&decided["actor_kind"], &decided["actor"]), (&"automation".into(), &"schedule:tick".into()));
    assert_eq!(decided["policies"], json!(["automation.declared"]));
    instance.down();
}
