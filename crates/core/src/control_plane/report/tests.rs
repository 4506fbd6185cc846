//! The report's committed JSON Schema is the one that the types give (`UPDATE_GOLDEN=1` rewrites it), and reports have its shape.

use std::path::Path;

use grace_types::{
    chance::SeededEntropy,
    id::{BootId, IncarnationId},
    time::{Monotonic, Now, Timestamp},
};
use serde_json::{Value, json};

use super::*;
use crate::{
    control_plane::kernel_specs,
    status,
    supervisor::{Event, Plan},
};

#[test]
fn the_committed_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/status.schema.json");
    let actual = serde_json::to_string_pretty(&status::json_schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(&path, &actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} is not current; run again with UPDATE_GOLDEN=1 if the change is wanted.\nactual:\n{actual}",
        path.display()
    );
}

/// What of `value` is not as `schema` says; understands what the schema of the status uses, and nothing else.
fn faults(value: &Value, schema: &Value, root: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let target =
            root.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name} is nowhere"));
        return faults(value, target, root, at, found);
    }
    for choice in ["oneOf", "anyOf"] {
        let Some(options) = schema.get(choice).and_then(Value::as_array) else { continue };
        let fits = |option: &&Value| {
            let mut against = Vec::new();
            faults(value, option, root, at, &mut against);
            against.is_empty()
        };
        if options.iter().filter(fits).count() != 1 {
            found.push(format!("{at}: {value} is none of {options:?}"));
        }
    }
    let is = |word: &str| match word {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("a type that this check does not know: {other}"),
    };
    let wanted = schema.get("type");
    let types = wanted.and_then(Value::as_array).map_or_else(|| wanted.into_iter().collect(), Vec::from_iter);
    let wrong_type = !types.is_empty() && !types.iter().any(|t| is(t.as_str().unwrap()));
    let wrong_word = schema.get("const").is_some_and(|word| word != value)
        || schema.get("enum").and_then(Value::as_array).is_some_and(|words| !words.contains(value));
    if wrong_type || wrong_word {
        found.push(format!("{at}: {value} is not {schema}"));
    }
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            found.push(format!("{at}: no {name}"));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    if let (Some(properties), Some(object)) = (properties, value.as_object()) {
        for (name, inner) in object {
            match properties.get(name) {
                Some(schema) => faults(inner, schema, root, &format!("{at}.{name}"), found),
                None => found.push(format!("{at}: {name} is not in the schema")),
            }
        }
    }
    if let (Some(schema), Some(items)) = (schema.get("items"), value.as_array()) {
        for (n, item) in items.iter().enumerate() {
            faults(item, schema, root, &format!("{at}[{n}]"), found);
        }
    }
}

fn check(report: &Value) -> Vec<String> {
    let schema = status::json_schema();
    let mut found = Vec::new();
    faults(report, &schema, &schema, "status", &mut found);
    found
}

#[test]
fn a_report_has_the_shape_of_the_schema() {
    let now = Now { wall: Timestamp::from_nanos(1_764_000_000_000_000_000), mono: Monotonic::from_nanos(1) };
    let mut state = State::new(Plan::new(kernel_specs(Path::new("grace"))));
    let incarnation = IncarnationId::new(now.wall, &mut SeededEntropy::new(1));
    let component = "message_bus".to_owned();
    let started =
        Event::Started { component: component.clone(), incarnation, pid: 7, start_ticks: 1, at: now.mono };
    let events = [
        Event::Booted { boot: BootId::from_bits(1), components: 2 },
        Event::StartDecided { component: component.clone(), incarnation },
        started,
        Event::BecameReady { component: component.clone(), incarnation, after: std::time::Duration::ZERO },
        Event::LifeLineMuted {
            component: component.clone(),
            incarnation,
            until: Monotonic::from_nanos(500_000_001),
        },
    ];
    for event in events {
        state.evolve(&event, "a test asks", now);
    }
    let volatile = Volatile {
        said: BTreeMap::from([(component.clone(), "serving".to_owned())]),
        dropped: BTreeMap::from([(component.clone(), 3)]),
        health: BTreeMap::from([(component.clone(), 0.5)]),
        warnings: vec!["a warning".to_owned()],
        ..Volatile::default()
    };
    let report = report(&state, &volatile, &BTreeMap::from([(component, 0.25)]), now.mono);
    let shown = serde_json::to_value(&report).unwrap();
    assert_eq!(check(&shown), Vec::<String>::new());
    let bus = shown["components"].as_array().unwrap().iter().find(|c| c["name"] == "message_bus").unwrap();
    assert_eq!(
        (&bus["state"], &bus["message"], &bus["heartbeat_age_seconds"]),
        (
            &json!("ready"),
            &json!("an injected fault mutes its life line for 0.5 s at most; serving"),
            &json!(0.25)
        )
    );
    assert_eq!(bus["muted"], json!({"seconds_left": 0.5, "dropped": 3}));
    assert_eq!(serde_json::from_value::<Status>(shown.clone()).unwrap(), report, "and is read back");

    let broken = |change: fn(&mut Value)| {
        let mut report = shown.clone();
        change(&mut report);
        check(&report)
    };
    assert!(!broken(|r| r["state"] = json!("well")).is_empty());
    assert!(!broken(|r| r["components"][0]["pid"] = json!("7")).is_empty());
    assert!(!broken(|r| _ = r.as_object_mut().unwrap().remove("since")).is_empty());
}
