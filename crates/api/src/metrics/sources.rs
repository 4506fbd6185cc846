//! Metrics out of what others publish as telemetry. Each form has only the fields that are shown; further ones may come.

use std::collections::BTreeMap;

use grace_types::time::Monotonic;
use serde::Deserialize;
use serde_json::Value;

use super::text::{Kind, Text};
use crate::telemetry::Telemetry;

/// `grace.telemetry.health_monitor`.
#[derive(Deserialize)]
struct Health {
    components: BTreeMap<String, Measured>,
    #[serde(default)]
    pressure_percent: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Measured {
    cpu_cores: Option<f64>,
    memory_bytes: Option<f64>,
}

/// `grace.telemetry.evidence.<component>`.
#[derive(Deserialize)]
struct Evidence {
    component: String,
    sinks: BTreeMap<String, Sink>,
}

#[derive(Deserialize)]
struct Sink {
    waiting: Option<f64>,
    lag_seconds: Option<f64>,
    oldest_waiting_seconds: Option<f64>,
    rewinds: f64,
}

/// `grace.telemetry.layer2`.
#[derive(Deserialize)]
struct Layer2 {
    #[serde(default)]
    components: BTreeMap<String, Part>,
    #[serde(flatten)]
    numbers: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Part {
    health: Option<f64>,
    ready: Option<bool>,
}

type Named = (&'static str, &'static str, Kind, &'static str);

/// Field, family, kind, help.
const LAYER2: [Named; 11] = [
    ("htm_queue_depth", "grace_layer2_queue_depth", Kind::Gauge, "Tasks that wait for a worker."),
    ("htm_running", "grace_layer2_running_tasks", Kind::Gauge, "Tasks that workers run."),
    ("htm_delayed", "grace_layer2_delayed_tasks", Kind::Gauge, "Tasks whose time has not come."),
    ("htm_dead", "grace_layer2_dead_tasks", Kind::Gauge, "Dead letters of the task manager."),
    ("workers", "grace_layer2_workers", Kind::Gauge, "Workers that are registered."),
    (
        "trigger_subscriptions",
        "grace_layer2_trigger_subscriptions",
        Kind::Gauge,
        "Subscriptions of the trigger mesh.",
    ),
    ("trigger_firings", "grace_layer2_trigger_firings_total", Kind::Counter, "Firings of subscriptions."),
    ("policy_firings", "grace_layer2_policy_firings_total", Kind::Counter, "Firings of event policies."),
    (
        "scheduler_dispatches",
        "grace_layer2_scheduler_dispatches_total",
        Kind::Counter,
        "Firings of schedules.",
    ),
    ("dispatches", "grace_layer2_dispatches_total", Kind::Counter, "Tasks given to workers."),
    (
        "sla_breaches",
        "grace_layer2_sla_breaches_total",
        Kind::Counter,
        "Deadlines missed, schedules late, deliveries given up.",
    ),
];

/// Field, family, kind, help.
const BUS: [Named; 16] = [
    ("subscriptions", "grace_bus_subscriptions", Kind::Gauge, "Subscriptions."),
    ("open_connections", "grace_bus_open_connections", Kind::Gauge, "Connections."),
    ("buffered_bytes", "grace_bus_buffered_bytes", Kind::Gauge, "Bytes in the buffers of all connections."),
    ("connections", "grace_bus_connections_total", Kind::Counter, "Connections accepted."),
    (
        "refused",
        "grace_bus_connections_refused_total",
        Kind::Counter,
        "Connections refused for want of room.",
    ),
    ("messages_in", "grace_bus_messages_in_total", Kind::Counter, "Messages from clients."),
    ("bytes_in", "grace_bus_bytes_in_total", Kind::Counter, "Bytes from clients."),
    ("messages_out", "grace_bus_messages_out_total", Kind::Counter, "Messages delivered."),
    ("no_responders", "grace_bus_no_responders_total", Kind::Counter, "Requests that nobody heard."),
    (
        "permission_violations",
        "grace_bus_permission_violations_total",
        Kind::Counter,
        "Attempts at what is not allowed.",
    ),
    (
        "authorization_violations",
        "grace_bus_authorization_violations_total",
        Kind::Counter,
        "Failed sign-ins.",
    ),
    (
        "slow_consumers",
        "grace_bus_slow_consumers_total",
        Kind::Counter,
        "Connections cut off because they did not read.",
    ),
    (
        "memory_pressure",
        "grace_bus_memory_pressure_total",
        Kind::Counter,
        "Connections cut off because all buffers were full.",
    ),
    (
        "stale_connections",
        "grace_bus_stale_connections_total",
        Kind::Counter,
        "Connections that did not answer PINGs.",
    ),
    (
        "protocol_errors",
        "grace_bus_protocol_errors_total",
        Kind::Counter,
        "Connections closed for breaking the protocol.",
    ),
    (
        "events_dropped",
        "grace_bus_events_dropped_total",
        Kind::Counter,
        "Events of the broker that nobody took in time.",
    ),
];

pub(super) fn write(text: &mut Text, telemetry: &Telemetry, now: Monotonic) {
    if let Some(health) = telemetry.of::<Health>("health_monitor", now) {
        self::health(text, &health);
    }
    let evidence = telemetry.under::<Evidence>("evidence.", now);
    if !evidence.is_empty() {
        self::evidence(text, &evidence);
    }
    if let Some(layer2) = telemetry.of::<Layer2>("layer2", now) {
        numbers(text, &LAYER2, &layer2.numbers);
        alerts(text, &layer2.numbers);
        parts(text, &layer2.components);
    }
    if let Some(bus) = telemetry.of::<BTreeMap<String, Value>>("message_bus", now) {
        numbers(text, &BUS, &bus);
    }
    text.family("grace_telemetry_age_seconds", Kind::Gauge, "Time since telemetry was last heard.");
    for (subject, age) in telemetry.ages(now) {
        text.sample(&[("source", &subject)], age);
    }
}

fn health(text: &mut Text, health: &Health) {
    text.family("grace_component_cpu_cores", Kind::Gauge, "CPU that a component and its children use.");
    for (component, measured) in &health.components {
        if let Some(cores) = measured.cpu_cores {
            text.sample(&[("component", component)], cores);
        }
    }
    let help = "Resident memory of a component and its children.";
    text.family("grace_component_memory_bytes", Kind::Gauge, help);
    for (component, measured) in &health.components {
        if let Some(bytes) = measured.memory_bytes {
            text.sample(&[("component", component)], bytes);
        }
    }
    let help = "Share of the last ten seconds in which something waited for the resource.";
    text.family("grace_host_pressure_ratio", Kind::Gauge, help);
    for (resource, percent) in &health.pressure_percent {
        text.sample(&[("resource", resource)], percent / 100.0);
    }
}

fn evidence(text: &mut Text, all: &[Evidence]) {
    type Read = fn(&Sink) -> Option<f64>;
    let families: [(&'static str, Kind, &str, Read); 4] = [
        ("grace_evidence_waiting_records", Kind::Gauge, "Records that a sink has not acknowledged.", |s| {
            s.waiting
        }),
        (
            "grace_evidence_lag_seconds",
            Kind::Gauge,
            "From the decision of the newest acknowledged record to its acknowledgement.",
            |s| s.lag_seconds,
        ),
        (
            "grace_evidence_oldest_waiting_seconds",
            Kind::Gauge,
            "Age of the oldest record that is not acknowledged.",
            |s| s.oldest_waiting_seconds,
        ),
        ("grace_evidence_rewinds_total", Kind::Counter, "Times that a sink had lost records.", |s| {
            Some(s.rewinds)
        }),
    ];
    for (name, kind, help, read) in families {
        text.family(name, kind, help);
        for Evidence { component, sinks } in all {
            for (sink, value) in sinks.iter().filter_map(|(name, sink)| Some((name, read(sink)?))) {
                text.sample(&[("component", component), ("sink", sink)], value);
            }
        }
    }
}

fn numbers(text: &mut Text, families: &[Named], numbers: &BTreeMap<String, Value>) {
    for (field, name, kind, help) in families {
        if let Some(value) = numbers.get(*field).and_then(Value::as_f64) {
            text.single(name, *kind, help, value);
        }
    }
}

/// Alerts that stand, one sample for each severity that the watchdog tells of.
fn alerts(text: &mut Text, numbers: &BTreeMap<String, Value>) {
    text.family("grace_layer2_alerts", Kind::Gauge, "Alerts that stand.");
    for (severity, field) in [("warning", "alerts_warning"), ("critical", "alerts_critical")] {
        if let Some(count) = numbers.get(field).and_then(Value::as_f64) {
            text.sample(&[("severity", severity)], count);
        }
    }
}

fn parts(text: &mut Text, parts: &BTreeMap<String, Part>) {
    text.family("grace_layer2_health_ratio", Kind::Gauge, "How well a part of Layer 2 is, from 0 to 1.");
    for (name, part) in parts {
        if let Some(health) = part.health {
            text.sample(&[("component", name)], health);
        }
    }
    text.family("grace_layer2_ready", Kind::Gauge, "Whether a part of Layer 2 does its work.");
    for (name, part) in parts {
        if let Some(ready) = part.ready {
            text.sample(&[("component", name)], super::flag(ready));
        }
    }
}

#[cfg(test)]
mod tests {
    use grace_bus::Message;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_published_is_shown_and_what_is_unknown_is_left_out() {
        let telemetry = Telemetry::default();
        let say = |subject: &str, value: Value| {
            telemetry
                .hear(Message::new(format!("grace.telemetry.{subject}"), value.to_string()), Monotonic::ZERO);
        };
        say(
            "layer2",
            json!({"htm_queue_depth": 7, "dispatches": 12, "alerts_critical": 2, "new_field": 1, "workers": "many", "time": "…",
                   "components": {"htm": {"health": 0.5, "ready": true, "more": []}}}),
        );
        say("message_bus", json!({"open_connections": 3, "connections": 9, "violations": [{"user": "x"}]}));
        say(
            "evidence.htm",
            json!({"component": "htm", "sinks": {"clarity": {"waiting": null, "lag_seconds": 0.5,
                   "oldest_waiting_seconds": null, "rewinds": 2}}}),
        );
        say("health_monitor", json!({"components": {"web": {"memory_bytes": 5, "health": 1.0}}}));
        let mut text = Text::default();
        write(&mut text, &telemetry, Monotonic::ZERO);
        let text = text.finish();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "grace_component_memory_bytes{component=\"web\"} 5",
                "grace_evidence_lag_seconds{component=\"htm\",sink=\"clarity\"} 0.5",
                "grace_evidence_rewinds_total{component=\"htm\",sink=\"clarity\"} 2",
                "grace_layer2_queue_depth 7",
                "grace_layer2_dispatches_total 12",
                "grace_layer2_alerts{severity=\"critical\"} 2",
                "grace_layer2_health_ratio{component=\"htm\"} 0.5",
                "grace_layer2_ready{component=\"htm\"} 1",
                "grace_bus_open_connections 3",
                "grace_bus_connections_total 9",
                "grace_telemetry_age_seconds{source=\"evidence.htm\"} 0",
                "grace_telemetry_age_seconds{source=\"health_monitor\"} 0",
                "grace_telemetry_age_seconds{source=\"layer2\"} 0",
                "grace_telemetry_age_seconds{source=\"message_bus\"} 0",
            ]
        );
    }
}
