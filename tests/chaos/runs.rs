//! Runs to their judgement.

use std::path::Path;

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
    for target in ["message_bus", "immutable_log", "health_monitor", "clarity"] {
        assert!(targets.contains(&target.into()), "{targets:?}");
    }
    for (key, field) in
        [("faults", "bit"), ("faults", "undone"), ("safeguards", "fired"), ("verifications", "ok")]
    {
        assert_eq!(failed(&told, key, field), [&serde_json::Value::Null; 0], "{key}");
    }
    let critical = instance.status().components.iter().filter(|c| c.critical).count();
    assert_eq!(told["down_at_once"], critical, "they are killed at one time: {told}");
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
    instance.down();
    // With nothing running any more.
    let verified = instance.grace(&["verify", bundle]);
    assert_eq!(verified.code, Some(0), "{verified}");
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
    // What was decided is in the tamper-evident log by now, as the seal proves.
    assert_eq!(told["warnings"], serde_json::json!([]));
    let told = until("the run is told among the narratives", || {
        let told = instance.grace(&["narratives", "--actor", "chaos", "--action", "fault_bitten", "--json"]);
        assert_eq!(told.code, Some(0), "{told}");
        Some(told.out).filter(|told| !told.is_empty())
    });
    assert!(told.contains("the process has ended") && told.contains("\"where\":\"quiet\""), "{told}");
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
    assert_eq!(failed(&told(&ran), "faults", "undone"), [&serde_json::Value::Null; 0], "{ran}");
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
