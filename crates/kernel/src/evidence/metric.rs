//! What is published about a component's shipping, on `grace.telemetry.evidence.<component>`:
//!
//! ```json
//! {"time": "…", "component": "health_monitor", "journal": "18a5c3d2e4f60718", "sinks": {"immutable_log":
//!   {"standing": "shipping", "next": 42, "last": 43, "waiting": 2, "lag_seconds": 0.03, "oldest_waiting_seconds": 0.01, "rewinds": 0}}}
//! ```
//!
//! `lag_seconds` lies between the newest acknowledged record's decision and its acknowledgement, which for the log is its seal.
//! `oldest_waiting_seconds` is the age of the oldest record that is not acknowledged: the one that rises while a sink is away. Both
//! compare readings of this machine's wall clock.

use std::{collections::BTreeMap, sync::Arc};

use grace_bus::{Bus, Message};
use grace_types::{
    evidence::{JournalId, Source},
    time::{Clock, Timestamp},
};
use serde::Serialize;
use tokio::time::{error::Elapsed, timeout};

use super::{
    Shown, Sink,
    course::{Progress, Standing},
    shipper::sleep,
};
use crate::limits;

/// Where the metric of `component` is published.
#[must_use]
pub fn subject(component: &str) -> String {
    format!("grace.telemetry.evidence.{component}")
}

#[derive(Serialize)]
struct Metric<'a> {
    time: Timestamp,
    component: &'a str,
    journal: JournalId,
    sinks: BTreeMap<&'static str, SinkMetric>,
}

#[derive(Serialize)]
struct SinkMetric {
    standing: Standing,
    /// `null` until the sink has answered once.
    next: Option<u64>,
    last: u64,
    waiting: Option<u64>,
    lag_seconds: Option<f64>,
    oldest_waiting_seconds: Option<f64>,
    rewinds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    halted: Option<String>,
}

impl SinkMetric {
    fn of(progress: Progress, now: Timestamp) -> Self {
        Self {
            standing: progress.standing,
            next: progress.next,
            last: progress.last,
            waiting: progress.waiting(),
            lag_seconds: progress.lag.map(|lag| lag.as_secs_f64()),
            oldest_waiting_seconds: progress.oldest.map(|time| now.since(time).as_secs_f64()),
            rewinds: progress.rewinds,
            halted: progress.halted,
        }
    }
}

/// Publishes every [`limits::EVIDENCE_METRIC`], and soon after records begin to wait, are all there, or a sink goes away or comes back.
pub(super) async fn publish(component: String, bus: Bus, clock: Arc<dyn Clock>, mut shown: Vec<Shown>) {
    loop {
        publish_once(&component, &bus, &*clock, &mut shown).await;
        // What changes all the time must not fill the bus.
        sleep(limits::EVIDENCE_METRIC_LEAST).await;
        let rest = limits::EVIDENCE_METRIC - limits::EVIDENCE_METRIC_LEAST;
        let _: Result<(), Elapsed> = timeout(rest, changed(&mut shown)).await;
    }
}

async fn changed(shown: &mut [Shown]) {
    match shown {
        [log, clarity] => {
            tokio::select! { _ = log.changed() => {}, _ = clarity.changed() => {} }
        }
        _ => std::future::pending().await,
    }
}

async fn publish_once(component: &str, bus: &Bus, clock: &dyn Clock, shown: &mut [Shown]) {
    let now = clock.now().wall;
    let mut of: Option<Source> = None;
    let mut sinks = BTreeMap::new();
    for (sink, shown) in Sink::ALL.iter().zip(shown) {
        let Some((source, progress)) = shown.borrow_and_update().clone() else { continue };
        sinks.insert(sink.name(), SinkMetric::of(progress, now));
        of = Some(source);
    }
    let Some(Source { journal, .. }) = of.filter(|_| *bus.connected().borrow()) else { return };
    let metric = Metric { time: now, component, journal, sinks };
    if let Ok(body) = serde_json::to_vec(&metric) {
        // Lost with the connection: the next round says it again.
        let _ = bus.publish(Message::new(subject(component), body)).await;
    }
}
