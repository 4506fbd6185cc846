//! Metrics, read by a parser that takes nothing but what the Prometheus text format allows.

use std::collections::{BTreeMap, BTreeSet};

use grace_bus::client::native::{self, NativeOptions};

use crate::{
    client::get,
    instance::{Instance, holds},
};

/// Samples by name and labels, as they are written.
type Samples = BTreeMap<String, f64>;

#[test]
fn metrics_tell_of_every_part() {
    let instance = Instance::of("  web: {command: [sleep, '600']}\n");
    instance.up();
    let wanted = [
        "grace_build_info{version=\"0.1.0\"}",
        "grace_control_plane_up",
        "grace_component_ready{component=\"web\"}",
        "grace_component_state{component=\"message_bus\",layer=\"1\",kind=\"kernel\",state=\"ready\"}",
        "grace_component_restarts_total{component=\"clarity\"}",
        "grace_component_health_ratio{component=\"web\"}",
        "grace_component_cpu_cores{component=\"web\"}",
        "grace_component_memory_bytes{component=\"api_server\"}",
        "grace_evidence_waiting_records{component=\"control_plane\",sink=\"clarity\"}",
        "grace_evidence_lag_seconds{component=\"control_plane\",sink=\"immutable_log\"}",
        "grace_bus_open_connections",
        "grace_bus_messages_in_total",
        "grace_layer2_queue_depth",
        "grace_layer2_dispatches_total",
        "grace_layer2_ready{component=\"htm\"}",
        "grace_http_requests_total{method=\"GET\",route=\"/metrics\",status=\"200\"}",
        "grace_http_request_duration_seconds_bucket{route=\"/metrics\",le=\"+Inf\"}",
        "grace_http_events_total{outcome=\"durable\"}",
    ];
    publish_layer2(&instance);
    for name in wanted {
        holds(name, || parse(&get(&instance, "/metrics").body).contains_key(name));
    }
    let answer = get(&instance, "/metrics");
    assert_eq!(answer.kind, "text/plain; version=0.0.4; charset=utf-8");
    let all = parse(&answer.body);
    assert!(all["grace_component_memory_bytes{component=\"api_server\"}"] > 1e6);
    assert_eq!(all["grace_component_ready{component=\"web\"}"], 1.0);

    // A path that a client makes up does not become a label.
    get(&instance, "/made-up");
    let after = parse(&get(&instance, "/metrics").body);
    assert!(after.contains_key("grace_http_requests_total{method=\"GET\",route=\"other\",status=\"404\"}"));
    assert!(!after.keys().any(|name| name.contains("made-up")));

    instance.grace(&["restart", "web"]);
    let restarts = "grace_component_restarts_total{component=\"web\"}";
    holds("the restart is counted", || parse(&get(&instance, "/metrics").body)[restarts] >= 1.0);
    instance.down();
}

/// What the watchdog of Layer 2 publishes, in its place.
fn publish_layer2(instance: &Instance) {
    let url = std::fs::read_to_string(instance.place().operator_url()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bus = native::connect(NativeOptions::from_url(url.trim_end(), "watchdog").unwrap());
        bus.connected().wait_for(|connected| *connected).await.unwrap();
        let body = r#"{"htm_queue_depth": 3, "dispatches": 9, "components": {"htm": {"health": 1.0, "ready": true}}}"#;
        bus.publish(grace_bus::Message::new("grace.telemetry.layer2", body)).await.unwrap();
        bus.flush().await.unwrap();
    });
}

/// Reads the text format, version 0.0.4; panics on what it does not allow.
fn parse(text: &str) -> Samples {
    assert!(text.ends_with('\n'));
    let (mut samples, mut families, mut kinds) = (Samples::new(), BTreeSet::new(), BTreeMap::new());
    let mut family = "";
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split_once(' ').unwrap().0;
            assert!(families.insert(family), "{family} begins twice");
            let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE ")).unwrap();
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", family.ends_with("_total"), "{line}");
            assert!(family.starts_with("grace_"), "{line}");
            kinds.insert(family, kind);
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let part = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} is not of {family}"));
        let parts: &[&str] =
            if kinds[family] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(parts.contains(&part), "{line}");
        labels(&series[name.len()..]);
        let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap() };
        assert!(samples.insert(series.to_owned(), value).is_none(), "{series} stands twice");
    }
    samples
}

fn labels(text: &str) {
    let Some(mut rest) = text.strip_prefix('{') else { return assert_eq!(text, "") };
    loop {
        let (name, value) = rest.split_once("=\"").unwrap();
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{text}");
        let mut escaped = false;
        let end = value.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        rest = &value[end.unwrap() + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return assert_eq!(rest, "}", "{text}"),
        }
    }
}
