//! Runs to their judgement.

use std::path::Path;

use serde_json::Value;

use super::{PROGRAMS, failed, scenario, told, write};
use crate::instance::{Instance, until};

#[test]
fn the_critical_kernels_are_killed_and_everything_comes_back() {
    let instance = Instance::of("");
    instance.up();
    let ran = instance.grace(&["chaos", "run", "dirt-critical-kernel-kill", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let told = told(&ran);
    assert_eq!((&told["scenario"], &told["passed"]), (&"dirt-critical-kernel-kill".into(), &true.into()));
    let targets: Vec<_> = told["faults"].as_array().unwrap().iter().map(|f| f["target"].clone()).collect();
    for target in ["message_bus", "immutable_log", "health_monitor", "governance"] {
        assert!(targets.contains(&target.into()), "{targets:?}");
    }
    for (key, field) in
        [("faults", "bit"), ("faults", "undone"), ("safeguards", "fired"), ("verifications", "ok")]
    {
        assert_eq!(failed(&told, key, field), [&Value::Null; 0], "{key}");
    }
    // All are killed at one time; one may be back, after some ten milliseconds, before the runner looks at how many are down.
    let critical = instance.status().components.iter().filter(|c| c.critical).count() as u64;
    let seen_down = told["down_at_once"].as_u64().unwrap();
    assert!((2..=critical).contains(&seen_down), "an emergency takes two: {told}");
    let declared = instance
        .records_of("control_plane")
        .iter()
        .any(|record| record["event"]["type"] == "dev.grace.control_plane.emergency_declared.v1");
    assert!(declared, "the emergency protocol is on record");
    assert!(told["recovery_seconds"].as_f64().is_some_and(|seconds| seconds < 180.0), "{told}");
    let bundle = told["bundle"].as_str().unwrap();
    let run = told["run"].as_str().unwrap();
    assert!(Path::new(bundle).starts_with(instance.data().join("runs").join(run)));
    assert_eq!(told["warnings"], serde_json::json!([]));
    assert_transitions_are_dumped(&instance.data().join("runs").join(run).join("dumps"));
    instance.down();
    // With nothing running any more.
    let verified = instance.grace(&["verify", bundle]);
    assert_eq!(verified.code, Some(0), "{verified}");
}

/// Each transition of the run has a dump that is named after it, and the status in it shows it.
fn assert_transitions_are_dumped(folder: &Path) {
    let mut dumps = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let dump: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let cause = dump["cause"].as_str().unwrap().to_owned();
        dumps.push((cause, dump["status"].clone()));
    }
    let causes: Vec<&str> = dumps.iter().map(|(cause, _)| cause.as_str()).collect();
    let of = |what: &str| {
        let found = dumps.iter().find(|(cause, _)| cause.split("; ").any(|one| one.starts_with(what)));
        &found.unwrap_or_else(|| panic!("no dump of {what}: {causes:?}")).1
    };
    for number in 1..=4 {
        of(&format!("fault {number} bit"));
        of(&format!("fault {number} over"));
    }
    for what in
        ["phase: faults", "phase: judged", "detected: exited ", "detected: emergency_declared", "recovered"]
    {
        of(what);
    }
    assert_eq!(of("level: emergency")["state"], "emergency");
    let component = |status: &Value, name: &str| {
        let all = status["components"].as_array().unwrap();
        all.iter().find(|component| component["name"] == name).unwrap().clone()
    };
    for kernel in ["message_bus", "immutable_log", "health_monitor"] {
        let down = component(of(&format!("down: {kernel}")), kernel);
        assert_eq!((&down["critical"], &down["ready"]), (&true.into(), &false.into()), "{down}");
        let back = component(of(&format!("back: {kernel}")), kernel);
        assert_eq!(back["ready"], true, "{back}");
    }
}

#[test]
fn a_safeguard_that_does_not_fire_fails_the_run() {
    let instance = Instance::of(PROGRAMS);
    instance.up();
    let rest = "faults: [{type: kill, target: quiet}]\nsafeguards: [auto_restart, kernel_watchdog, nothing_like_it]\n\
                verifications: [{name: v, check: 'log.nothing == 0'}]\n";
    write(&instance, "unmet", &scenario("unmet", rest));
    let ran = instance.grace(&["chaos", "run", "unmet", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    let told = told(&ran);
    assert_eq!(told["passed"], false);
    let idle: Vec<_> = failed(&told, "safeguards", "fired").iter().map(|s| s["name"].clone()).collect();
    assert_eq!(idle, ["kernel_watchdog", "nothing_like_it"]);
    let reasons = told["reasons"].to_string();
    assert!(reasons.contains("there is no safeguard `nothing_like_it`"), "{reasons}");
    assert!(reasons.contains("v: it cannot be evaluated: No such key: nothing"), "{reasons}");
    let quiet = instance.ready("quiet");
    assert_eq!(quiet.restarts, 1);
    let run = told["run"].as_str().unwrap().to_owned();
    // What was decided is in the tamper-evident log by now, as the seal proves.
    assert_eq!(told["warnings"], serde_json::json!([]));
    let told = until("the run is told among the narratives", || {
        let told = instance.grace(&["narratives", "--actor", "chaos", "--action", "fault_bitten", "--json"]);
        assert_eq!(told.code, Some(0), "{told}");
        Some(told.out).filter(|told| !told.is_empty())
    });
    assert!(told.contains("the process has ended") && told.contains("\"where\":\"quiet\""), "{told}");
    let why = until("the run is told by its id, to its judgement", || {
        let ran = instance.grace(&["why", &run, "--json"]);
        let why = serde_json::from_str::<Value>(&ran.out).ok()?;
        ran.out.contains("dev.grace.chaos.judged.v1").then_some(why)
    });
    let story = why["narratives"].as_array().unwrap();
    let asked = story.iter().find(|told| told["id"] == why["asked"]).unwrap();
    assert_eq!(asked["what"], "dev.grace.chaos.run_started.v1", "{why}");
    instance.down();
}

#[test]
fn a_stop_condition_ends_the_run_and_undoes_everything() {
    let instance = Instance::of(PROGRAMS);
    instance.up();
    let rest = "faults:\n  - {type: mute, target: beating, duration: 10m}\n  - {type: kill, target: quiet, at: 500ms}\n\
                stop_conditions: [{name: too many restarts, check: components.quiet.restarts > 0}]\n\
                verifications: [{name: v, check: 'true'}]\n";
    write(&instance, "stopped", &scenario("stopped", rest));
    let ran = instance.grace(&["chaos", "run", "stopped", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    let reasons = told(&ran)["reasons"].to_string();
    assert!(reasons.contains("too many restarts: components.quiet.restarts is 1"), "{reasons}");
    assert_eq!(failed(&told(&ran), "faults", "undone"), [&Value::Null; 0], "{ran}");
    assert_eq!(instance.component("beating").muted, None);
    instance.down();
}

#[test]
fn a_scenario_without_faults_is_a_check_of_the_steady_state() {
    let instance = Instance::of(PROGRAMS);
    instance.up();
    let rest = |check: &str| format!("steady_state: [{{name: s, within: 0s, check: {check}}}]\n");
    write(&instance, "steady", &scenario("steady", &rest("components.quiet.ready")));
    write(&instance, "unsteady", &scenario("unsteady", &rest("components.quiet.restarts > 5")));
    let ran = instance.grace(&["chaos", "run", "steady", "unsteady"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.out.contains("passed: 0 faults took effect"), "{ran}");
    assert!(
        ran.out.contains("not steady before anything was attacked: s: components.quiet.restarts is 0"),
        "{ran}"
    );
    // Each decision has its reasons, in the journal of the runs.
    let journal = instance.records_of("chaos");
    let kinds: Vec<_> = journal.iter().map(|record| record["event"]["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.first(), Some(&"dev.grace.chaos.run_started.v1"));
    assert_eq!(kinds.iter().filter(|kind| **kind == "dev.grace.chaos.judged.v1").count(), 2);
    instance.down();
}
