//! The watchdog of Layer 2: what it tells of a boot and of each look, which alerts it raises and clears, and that its own death
//! changes nothing of them.

use std::time::Duration;

use grace_core::status::ComponentState;
use rustix::process::Signal;
use serde_json::Value;

use crate::instance::{Instance, durable::connect, holds, is, kill, until};

/// Looks often, and knows work that ends when a file is there.
fn instance(workers: u32) -> Instance {
    let instance = Instance::of("");
    let plan = vec![
        "{task: {kind: exec, command: [sh, -c, 'while ! test -e FOLDER/go; do sleep 0.05; done'], timeout: 2m}}";
        30
    ];
    instance.write_manifest(&format!(
        "bus: {{port: 0}}
workers: {workers}
layer2: {{interval: 200ms, queue_warning: 10, queue_critical: 20}}
intents:
  hold: {{plan: {{parallel: [{}]}}}}
",
        plan.join(", ")
    ));
    instance
}

/// What it recorded under this name, oldest first.
fn recorded(instance: &Instance, what: &str) -> Vec<Value> {
    let kind = format!("dev.grace.layer2_watchdog.{what}.v1");
    let records = instance.records_of("layer2_watchdog").into_iter().map(|record| record["event"].clone());
    records.filter(|record| record["type"] == kind.as_str()).collect()
}

/// `rule/component` of the alerts that were raised or cleared.
fn alerts(instance: &Instance, what: &str) -> Vec<String> {
    let alert = |record: &Value| {
        let alert = &record["record"]["event"]["alert"];
        format!("{}/{}", alert["rule"].as_str().unwrap(), alert["component"].as_str().unwrap())
    };
    recorded(instance, what).iter().map(alert).collect()
}

fn until_alert(instance: &Instance, what: &str, alert: &str) {
    holds(&format!("{what} {alert}"), || alerts(instance, what).iter().any(|one| one == alert));
}

fn telemetry(instance: &Instance) -> Value {
    until("a look is recorded", || recorded(instance, "telemetry").pop())["record"]["event"]["telemetry"]
        .clone()
}

fn note(instance: &Instance) -> String {
    instance.component("layer2_watchdog").message.unwrap_or_default()
}

#[test]
fn a_queue_above_its_threshold_is_told_of_and_cleared_when_it_has_drained() {
    let instance = instance(1);
    instance.up();
    let verdict = until("the verdict is recorded", || recorded(&instance, "layer2_ready").pop());
    let took = verdict["record"]["event"]["took_ms"].as_object().unwrap().clone();
    for name in ["htm", "trigger_mesh", "event_policy", "scheduler", "layer2_watchdog", "task_worker-1"] {
        assert!(took[name].as_u64().unwrap() < 30_000, "{name}: {took:?}");
    }
    assert!(alerts(&instance, "alert_raised").is_empty(), "a boot raises none");

    let ran = instance.grace(&["intent", "submit", "hold", "--actor", "ann"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    until_alert(&instance, "alert_raised", "queue_warning/htm");
    until_alert(&instance, "alert_raised", "queue_critical/htm");
    assert_eq!(telemetry(&instance)["htm_queue_depth"], 26, "one worker runs four of thirty");
    holds("the status says so", || note(&instance).starts_with("critical: 26 tasks wait"));

    // The watchdog dies: what is raised stays raised, once.
    let pid = instance.component("layer2_watchdog").pid.unwrap();
    let looks = recorded(&instance, "telemetry").len();
    kill(pid, Signal::KILL);
    holds("it looks again", || recorded(&instance, "telemetry").len() > looks + 3);
    assert_ne!(instance.component("layer2_watchdog").pid, Some(pid));

    std::fs::write(instance.file("go"), "").unwrap();
    until_alert(&instance, "alert_cleared", "queue_critical/htm");
    until_alert(&instance, "alert_cleared", "queue_warning/htm");
    let raised = alerts(&instance, "alert_raised");
    for alert in ["queue_warning/htm", "queue_critical/htm"] {
        assert_eq!(raised.iter().filter(|one| *one == alert).count(), 1, "{raised:?}");
    }
    assert_eq!(recorded(&instance, "layer2_ready").len(), 1, "one verdict for each boot");
    holds("all of it is dispatched", || telemetry(&instance)["dispatches"] == 30);

    // The narratives have it, with the reasons.
    let told = until("the narratives have it", || {
        let ran = instance.grace(&[
            "narratives",
            "--json",
            "--actor",
            "layer2_watchdog",
            "--action",
            "alert_raised",
        ]);
        ran.out.contains("layer2.queue_critical").then_some(ran.out)
    });
    assert!(told.contains("tasks wait for a worker, more than 20"), "{told}");
    instance.down();
}

#[test]
fn without_any_worker_it_is_critical_until_one_is_back() {
    let instance = instance(1);
    instance.up();
    let worker = "task_worker-1";
    until("the verdict is recorded", || recorded(&instance, "layer2_ready").pop());
    assert_eq!(instance.grace(&["pause", worker]).code, Some(0));
    instance.until_component(worker, "is paused", |c| is(c, ComponentState::Paused));
    until_alert(&instance, "alert_raised", &format!("not_ready/{worker}"));
    // The task manager misses three signs of life first.
    until_alert(&instance, "alert_raised", "no_workers/htm");
    let now = telemetry(&instance);
    assert_eq!((&now["workers"], &now["components"]["htm"]["health"]), (&0.into(), &0.3.into()));
    assert_eq!(instance.grace(&["resume", worker]).code, Some(0));
    until_alert(&instance, "alert_cleared", "no_workers/htm");
    until_alert(&instance, "alert_cleared", &format!("not_ready/{worker}"));
    instance.down();
}

#[test]
fn a_paused_component_is_noticed_and_the_others_are_asked_without_a_trace() {
    let instance = instance(1);
    instance.up();
    until("the verdict is recorded", || recorded(&instance, "layer2_ready").pop());
    let asked = ["trigger_mesh", "event_policy"];
    let records = || asked.map(|name| instance.records_of(name).len());
    let (before, looks) = (records(), recorded(&instance, "telemetry").len());

    assert_eq!(instance.grace(&["pause", "scheduler"]).code, Some(0));
    until_alert(&instance, "alert_raised", "not_ready/scheduler");
    let health = telemetry(&instance)["components"]["scheduler"].clone();
    assert_eq!((&health["ready"], &health["health"]), (&false.into(), &0.0.into()));
    assert_eq!(instance.grace(&["resume", "scheduler"]).code, Some(0));
    until_alert(&instance, "alert_cleared", "not_ready/scheduler");
    assert_eq!(alerts(&instance, "alert_raised"), ["not_ready/scheduler"], "that it is silent is explained");
    assert!(recorded(&instance, "telemetry").len() > looks + 3);
    assert_eq!(records(), before, "being asked is not on record");

    // Each look is on the bus, for whoever reads it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let heard = runtime.block_on(async {
        let bus = connect(&instance);
        let mut looks = bus.subscribe("grace.telemetry.layer2", None).await.unwrap();
        tokio::time::timeout(Duration::from_secs(30), looks.next()).await.unwrap().unwrap()
    });
    let heard: Value = serde_json::from_slice(&heard.payload).unwrap();
    for total in ["dispatches", "trigger_firings", "policy_firings", "scheduler_dispatches", "sla_breaches"] {
        assert!(heard[total].is_u64(), "{total}: {heard}");
    }
    assert_eq!(heard["components"]["htm"]["ready"], true);
    instance.down();
}
