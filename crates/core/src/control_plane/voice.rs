//! What the control plane says on the bus: its decisions as events, its status to whoever asks, and its journal as evidence. Best
//! effort: nothing of supervision depends on the bus, since the bus may be what died; the journal has everything, and what the
//! sinks of evidence have not, they get later: the end of a boot at the beginning of the next.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use grace_bus::{
    Bus, Headers, Message,
    client::native::{self, NativeOptions, Target},
};
use grace_kernel::evidence::{self, Shippers};
use grace_store::Seq;
use grace_types::{
    event::Event,
    time::{Clock, SystemClock},
};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use super::{
    Happening,
    credentials::{CONTROL_PLANE, Credentials},
    recorder::Entry,
};
use crate::{instance::Instance, limits, status::Status};

/// Where the status is asked for.
pub(super) const STATUS_SUBJECT: &str = "grace.control_plane.status";
/// Where the health monitor publishes its scores.
pub(super) const HEALTH_SUBJECT: &str = "grace.telemetry.health_monitor";

/// The handle of the task that talks to the bus.
pub(super) struct Voice {
    outgoing: mpsc::Sender<Message>,
    bus: Bus,
    /// For the journal, and for those that were set aside in this life.
    shippers: Vec<Shippers>,
}

/// The part of the health monitor's telemetry that `status` shows.
#[derive(Debug, Deserialize)]
struct Health {
    scores: BTreeMap<String, f64>,
}

impl Voice {
    /// Starts talking as soon as there is a broker, and again after each of its deaths.
    pub(super) fn start(
        instance: &Instance,
        credentials: &Credentials,
        happened: mpsc::Sender<Happening>,
    ) -> Self {
        let (outgoing, queue) = mpsc::channel(limits::VOICE_PENDING);
        let bus = native::connect(NativeOptions::new(
            Target::Unix(instance.bus_socket()),
            CONTROL_PLANE,
            credentials.password(CONTROL_PLANE),
            CONTROL_PLANE,
        ));
        tokio::task::spawn_local(speak(bus.clone(), queue));
        tokio::task::spawn_local(listen(bus.clone(), STATUS_SUBJECT, happened.clone(), |message| {
            Some(Happening::StatusAsked { reply: message.reply? })
        }));
        tokio::task::spawn_local(listen(bus.clone(), HEALTH_SUBJECT, happened, |message| {
            let health: Health = serde_json::from_slice(&message.payload).ok()?;
            Some(Happening::Health { scores: health.scores })
        }));
        Self { outgoing, bus, shippers: Vec::new() }
    }

    /// Ships the journal at `path`, of which `written` is the newest durable record.
    pub(super) fn ship(&mut self, path: PathBuf, written: &watch::Receiver<Seq>) {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let open = evidence::file(path);
        self.shippers.push(Shippers::start(CONTROL_PLANE, &open, &self.bus, &clock, written));
    }

    /// Ships what can be read of a journal that was set aside, for as long as this control plane lives.
    pub(super) fn ship_rest(&mut self, path: PathBuf) {
        if self.shippers.len() <= limits::JOURNALS_SET_ASIDE {
            self.ship(path, &watch::channel(Seq(0)).1);
        }
    }

    /// Publishes a decision. Dropped when too many wait for a bus that is not there.
    pub(super) fn say(&self, entry: &Entry) {
        let Ok(data) = serde_json::to_value(&entry.record) else { return };
        let event = Event {
            id: entry.id,
            source: "/grace/control_plane".to_owned(),
            kind: entry.kind.clone(),
            subject: Some(entry.record.place().to_owned()),
            time: entry.time,
            correlationid: Some(entry.correlation),
            causationid: entry.causation,
            traceparent: None,
            hops: 0,
            hlc: entry.hlc,
            data,
        };
        let subject = format!("grace.event.control_plane.{}", entry.record.event().name());
        let headers: Headers = event.to_headers().into_iter().collect();
        let Ok(body) = serde_json::to_vec(&event.data) else { return };
        let _ = self.outgoing.try_send(Message::new(subject, body).with_headers(headers));
    }

    /// Answers a request for the status.
    pub(super) fn answer(&self, reply: String, status: &Status) {
        if let Ok(body) = serde_json::to_vec(status) {
            let _ = self.outgoing.try_send(Message::new(reply, body));
        }
    }
}

async fn speak(bus: Bus, mut queue: mpsc::Receiver<Message>) {
    while let Some(message) = queue.recv().await {
        // Not connected, and the client's own queue is full: the oldest news is the first to go.
        let _ = bus.publish(message).await;
    }
}

async fn listen(
    bus: Bus,
    subject: &'static str,
    happened: mpsc::Sender<Happening>,
    read: impl Fn(Message) -> Option<Happening>,
) {
    let Ok(mut messages) = bus.subscribe(subject, None).await else { return };
    while let Some(message) = messages.next().await {
        if let Some(happening) = read(message)
            && happened.send(happening).await.is_err()
        {
            return;
        }
    }
}
