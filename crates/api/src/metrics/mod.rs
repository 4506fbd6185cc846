//! `/metrics`, in the Prometheus text format.
//!
//! | Where the numbers come from | Families |
//! |---|---|
//! | the control plane's status | `grace_ready`, `grace_component_{state,ready,health_ratio,restarts_total,…}` |
//! | `grace.telemetry.health_monitor` | `grace_component_{cpu_cores,memory_bytes}`, `grace_host_pressure_ratio` |
//! | `grace.telemetry.evidence.>` | `grace_evidence_…` |
//! | `grace.telemetry.layer2` | `grace_layer2_…` |
//! | `grace.telemetry.message_bus` | `grace_bus_…` |
//! | this process | `grace_http_…` |
//!
//! What is not known, or was last heard too long ago, is left out: a number that is not true any more is worse than none.
//! Labels are names of components, sinks, resources and routes: as many as the manifest has, whatever clients do.

pub(crate) mod requests;
mod sources;
mod text;

use std::sync::{Arc, atomic::Ordering};

use axum::{
    extract::State,
    http::{HeaderName, header},
};
use grace_core::status::Status;

use self::text::{Kind, Text};
use crate::{api::Api, control_plane::Asked};

/// `/metrics`.
pub async fn metrics(State(api): State<Arc<Api>>) -> ([(HeaderName, &'static str); 1], String) {
    let status = api.control_plane.status().await;
    let now = api.now();
    let mut text = Text::default();
    text.family("grace_build_info", Kind::Gauge, "Which Grace this is.");
    text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    from_status(&mut text, &status);
    sources::write(&mut text, &api.telemetry, now);
    api.requests.write(&mut text);
    if let Some(tracer) = &api.tracer {
        text.family("grace_otlp_spans_total", Kind::Counter, "Spans, by what became of them.");
        for (outcome, count) in
            [("exported", &tracer.counts().exported), ("dropped", &tracer.counts().dropped)]
        {
            text.sample(&[("outcome", outcome)], count.load(Ordering::Relaxed) as f64);
        }
    }
    ([(header::CONTENT_TYPE, text::CONTENT_TYPE)], text.finish())
}

fn flag(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}

fn from_status(text: &mut Text, status: &Asked) {
    let help = "Whether the control plane answers.";
    text.single("grace_control_plane_up", Kind::Gauge, help, flag(status.is_ok()));
    let Ok(status) = status else { return };
    let help = "Whether Grace's own components are ready, as /readyz says.";
    text.single("grace_ready", Kind::Gauge, help, flag(crate::health::is_ready(status)));
    let help = "Times that the guardian replaced the control plane since boot.";
    let restarts = f64::from(status.control_plane_restarts);
    text.single("grace_control_plane_restarts_total", Kind::Counter, help, restarts);
    let help = "When the instance booted.";
    text.single("grace_boot_time_seconds", Kind::Gauge, help, status.since.as_nanos() as f64 / 1e9);
    of_components(text, status);
}

fn of_components(text: &mut Text, status: &Status) {
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    };
    text.family("grace_component_state", Kind::Gauge, "1 for the state in which a component is.");
    for c in &status.components {
        let (layer, kind, state) =
            (c.layer.to_string(), word(serde_json::to_value(c.kind)), word(serde_json::to_value(c.state)));
        let labels = [("component", c.name.as_str()), ("layer", &layer), ("kind", &kind), ("state", &state)];
        text.sample(&labels, 1.0);
    }
    text.family("grace_component_ready", Kind::Gauge, "Whether a component is ready.");
    for c in &status.components {
        text.sample(&[("component", &c.name)], flag(c.ready));
    }
    text.family("grace_component_restarts_total", Kind::Counter, "Restarts of a component since boot.");
    for c in &status.components {
        text.sample(&[("component", &c.name)], f64::from(c.restarts));
    }
    let help = "How well a component is, from 0 to 1.";
    text.family("grace_component_health_ratio", Kind::Gauge, help);
    for c in &status.components {
        if let Some(health) = c.health {
            text.sample(&[("component", &c.name)], health);
        }
    }
    let help = "Time since a component's last sign of life, where it owes some.";
    text.family("grace_component_heartbeat_age_seconds", Kind::Gauge, help);
    for c in &status.components {
        if let Some(age) = c.heartbeat_age_seconds {
            text.sample(&[("component", &c.name)], age);
        }
    }
}
