//! What was asked for on a real instance, judged again from the files of its log.

use serde_json::Value;

use crate::instance::{Instance, until};

const MANIFEST: &str = r#"bus: {port: 0}
intents:
  quick: {plan: {task: {kind: wait, for: 1ms}}}
"#;

fn report(instance: &Instance, more: &[&str]) -> Value {
    instance.told(&[&["governance", "replay"], more].concat()).remove(0)
}

/// Every tier, allowed and denied, with and without a grant, under different circumstances: and then what another set would have said.
#[test]
fn what_was_in_force_gives_no_difference_and_another_set_exactly_those_it_changes() {
    let instance = Instance::of("").with_people();
    instance.write_manifest(MANIFEST);
    instance.up();
    let submit = |kind: &str, more: &[&str]| {
        let args = [&["--json", "intent", "submit", kind, "--actor", "ann"], more].concat();
        let ran = instance.grace(&args);
        let shown: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran}"));
        shown["id"].as_str().unwrap().to_owned()
    };
    let payload = ["--payload", r#"{"charter": "say yes"}"#];
    for kind in ["quick", "nobody_knows", "query_knowledge", "self_improve", "emergency_recovery"] {
        submit(kind, &payload);
    }
    let pressing = submit("modify_config", &["--user-facing", "--revenue-impact", "0.5"]);
    let plain = submit("modify_config", &[]);
    submit("read_secrets", &[]);
    let begun = instance.told(&["emergency", "begin", "--reason", "disk", "--for", "15m"]).remove(0);
    let granted = until("the cortex knows of the emergency", || {
        let id = submit("emergency_recovery", &[]);
        (instance.told(&["intent", "show", &id])[0]["decision"] == "allowed").then_some(id)
    });
    instance.told(&["emergency", "end", begun["id"].as_str().unwrap()]);
    until("the cortex knows of its end", || {
        let id = submit("critical_incident", &[]);
        (instance.told(&["intent", "show", &id])[0]["decision"] == "denied").then_some(())
    });
    let last = submit("generate_summary", &[]);
    until("the log has the last of them", || {
        let tail = instance.grace(&["--json", "log", "tail", "-n", "400"]);
        tail.out.lines().any(|line| line.contains(&last) && line.contains("\"decided\"")).then_some(())
    });
    let same = report(&instance, &[]);
    assert!(same["intents"].as_u64().unwrap() >= 11, "{same}");
    assert_eq!((&same["different"], &same["only_score"]), (&0.into(), &0.into()), "{same}");
    assert_eq!((&same["groups"], &same["not_replayed"]), (&serde_json::json!([]), &serde_json::json!({})));

    let shown = instance.told(&["governance", "show"]).remove(0);
    let policies = shown["generation"]["policies"].as_str().unwrap();
    let changed = policies
        .replace("@id(\"operator.change\")\n@tier(\"1\")", "@id(\"operator.change\")\n@tier(\"3\")")
        + "\n@id(\"no.pressing\") forbid (principal, action == Action::\"modify_config\", resource) when { context.user_facing };\n";
    assert!(changed.contains("@id(\"operator.change\")\n@tier(\"3\")"), "{changed}");
    let file = instance.file("new.cedar");
    std::fs::write(&file, changed).unwrap();
    let new = ["--policies", file.to_str().unwrap()];
    let other = report(&instance, &new);
    assert_eq!((&other["different"], &other["only_score"]), (&2.into(), &0.into()), "{other}");
    let groups = other["groups"].as_array().unwrap();
    let to = |id: &str| {
        let of = |group: &&Value| group["intents"][0]["id"] == id;
        groups.iter().find(of).unwrap_or_else(|| panic!("{id}: {other}"))["after"]["outcome"].clone()
    };
    assert_eq!((to(&pressing), to(&plain)), ("denied".into(), "waits_for_vote".into()));
    let differs = instance.told(&[&["governance", "diff"], new.as_slice()].concat()).remove(0);
    assert_eq!(differs["policies"].as_array().unwrap().len(), 2, "{differs}");
    instance.down();

    // From the files alone, and by what was last in force.
    let still = report(&instance, &[]);
    assert_eq!((&still["different"], &still["only_score"]), (&0.into(), &0.into()), "{still}");
    assert!(still["by"].as_str().unwrap().contains("the last in force"), "{still}");
    let shown = instance.grace(&[&["governance", "replay"], new.as_slice()].concat());
    assert!(shown.out.contains("1 × modify_config of operator: 1 allowed, review → 3 vote"), "{shown}");
    let none = report(&instance, &["--until", "2026-01-01T00:00:00Z"]);
    assert_eq!(none["intents"], 0, "{none}");
    assert!(!granted.is_empty());
}
