//! The health monitor's rounds: ask the control plane, measure, publish, and hand the readings to the decider.

use std::{collections::BTreeMap, io, sync::Arc};

use grace_bus::{Bus, Message};
use grace_kernel::{
    Envelope, HostError, Outcome,
    process::{boot, serve::Shell, tell, thread::Commands},
};
use grace_types::{
    manifest::{AlertRule, Manifest},
    time::{Clock, Timestamp},
};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{
    alerts,
    decider::{Command, HealthMonitor},
    sample::{Sampler, StatusView, usage},
    score::{Factor, Reading, score},
};
use crate::{instance::Instance, limits, procfs, status::ComponentState};

/// Where the control plane tells its status.
pub(super) const STATUS: &str = "grace.control_plane.status";
/// Where each round is published.
pub(super) const TELEMETRY: &str = "grace.telemetry.health_monitor";

/// One round, as it is published.
#[derive(Debug, Serialize)]
struct Telemetry<'a> {
    time: Timestamp,
    /// By component.
    scores: BTreeMap<&'a str, f64>,
    /// By component.
    components: BTreeMap<&'a str, Measured<'a>>,
    /// Share of the last 10 seconds in which something waited for the resource, in percent.
    pressure_percent: BTreeMap<&'static str, f64>,
}

#[derive(Debug, Serialize)]
struct Measured<'a> {
    health: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    factors: Vec<Factor>,
    #[serde(flatten)]
    reading: &'a Reading,
}

/// The shell around the decider.
pub(super) struct Monitor {
    instance: Instance,
    bus: Option<Bus>,
    clock: Arc<dyn Clock>,
    /// Rises when the manifest is to be read again.
    reloads: watch::Sender<u64>,
}

impl Monitor {
    pub(super) fn new(instance: Instance, bus: Option<Bus>, clock: Arc<dyn Clock>) -> Self {
        Self { instance, bus, clock, reloads: watch::Sender::new(0) }
    }
}

impl Shell<HealthMonitor> for Monitor {
    fn start(&mut self, commands: &Commands<HealthMonitor>) {
        let rounds = Rounds {
            instance: self.instance.clone(),
            bus: self.bus.clone(),
            clock: Arc::clone(&self.clock),
            commands: commands.clone(),
            sampler: Sampler::default(),
            trouble: None,
        };
        tokio::spawn(rounds.run(self.reloads.subscribe()));
    }

    fn perform(&mut self, _commands: &Commands<HealthMonitor>, (): ()) {}

    fn reload(&mut self, _commands: &Commands<HealthMonitor>) {
        self.reloads.send_modify(|n| *n += 1);
    }
}

struct Rounds {
    instance: Instance,
    bus: Option<Bus>,
    clock: Arc<dyn Clock>,
    commands: Commands<HealthMonitor>,
    sampler: Sampler,
    /// Why the last round is not on record. Said once.
    trouble: Option<HostError>,
}

impl Rounds {
    /// Goes on until the kernel ends.
    async fn run(mut self, mut reloads: watch::Receiver<u64>) {
        self.configure().await;
        let mut rounds = interval(limits::HEALTH_ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                reload = reloads.changed() => match reload {
                    Ok(()) => self.configure().await,
                    Err(_) => return,
                },
                _ = rounds.tick() => {
                    if self.round().await {
                        rounds.reset_after(limits::HEALTH_ROUND_STARTING);
                    }
                }
            }
        }
    }

    /// Puts the manifest's rules in force. One that cannot be read changes nothing.
    async fn configure(&mut self) {
        let read = || -> io::Result<Manifest> {
            Ok(serde_json::from_slice(&std::fs::read(self.instance.manifest())?)?)
        };
        let manifest = match read() {
            Ok(manifest) => manifest,
            Err(e) => {
                return tell(&format!(
                    "{}: {e}; the rules stay as they were",
                    self.instance.manifest().display()
                ));
            }
        };
        self.sampler = Sampler::new(&manifest);
        self.ask(Command::Configure { boot: boot(), rules: rules(&manifest) }).await;
    }

    /// Whether something is starting, and the next round is wanted soon.
    async fn round(&mut self) -> bool {
        let Some(bus) = self.bus.clone() else { return false };
        // Without the bus or the control plane there is nothing to say about anybody: the round is left out.
        let asked = bus.request(Message::new(STATUS, Vec::new()), limits::STATUS_TIMEOUT).await;
        let Some(status) = asked.ok().and_then(|m| serde_json::from_slice::<StatusView>(&m.payload).ok())
        else {
            return false;
        };
        let now = self.clock.now();
        let readings = self.sampler.round(&status, now.mono, usage);
        let starting = readings.values().any(|reading| reading.state == ComponentState::Starting);
        if let Ok(body) = serde_json::to_vec(&telemetry(now.wall, &readings)) {
            // Lost with the connection: the next round says it again.
            let _ = bus.publish(Message::new(TELEMETRY, body)).await;
        }
        self.ask(Command::Observe { readings }).await;
        starting
    }

    async fn ask(&mut self, command: Command) {
        let trouble = match self.commands.ask(Envelope::new(command)).await {
            Ok(Outcome::Done(_)) => None,
            Ok(Outcome::Refused(refusal)) => return tell(&refusal.to_string()),
            Err(error) => Some(error),
        };
        if self.trouble == trouble {
            return;
        }
        match &trouble {
            Some(error) => tell(&format!("the rounds are not on record: {error}")),
            None => tell("the rounds are on record again"),
        }
        self.trouble = trouble;
    }
}

/// The built-in rules and the manifest's, which take the place of built-in ones of the same name.
fn rules(manifest: &Manifest) -> Vec<AlertRule> {
    let named = |name: &str| manifest.alerts.iter().any(|rule| rule.name == name);
    let built_in = alerts::built_in().into_iter().filter(|rule| !named(&rule.name));
    built_in.chain(manifest.alerts.iter().cloned()).collect()
}

fn telemetry(time: Timestamp, readings: &BTreeMap<String, Reading>) -> Telemetry<'_> {
    let components: BTreeMap<&str, Measured<'_>> = readings
        .iter()
        .map(|(name, reading)| {
            let score = score(reading);
            (name.as_str(), Measured { health: score.value, factors: score.factors, reading })
        })
        .collect();
    let pressure =
        [("cpu", procfs::Resource::Cpu), ("memory", procfs::Resource::Memory), ("io", procfs::Resource::Io)];
    Telemetry {
        time,
        scores: components.iter().map(|(name, measured)| (*name, measured.health)).collect(),
        components,
        pressure_percent: pressure
            .into_iter()
            .filter_map(|(name, resource)| Some((name, procfs::pressure(resource).ok()?.some.avg10_percent)))
            .collect(),
    }
}
