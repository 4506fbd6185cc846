//! The kernel that hosts the broker.
//!
//! ```text
//! sockets from the guardian (LISTEN_FDS) ─► broker ─► events ─► grace.event.message_bus.{permission_violation,…}
//! run/bus-auth.json (again on SIGHUP)    ─►   │
//! grace.cmd.message_bus                  ─► queries; mappings ─► run/bus-mappings.json, then the broker
//! ```
//!
//! The sockets belong to the guardian, so a client that connects while the broker restarts waits and is not refused.
//! The broker keeps no journal: messages are not durable on the bus, and the users come from the control plane. Only the
//! subject mappings outlive the process, in a small file that is synced before they are acknowledged.
//!
//! Subjects: takes commands on `grace.cmd.message_bus` (see [`service`]); publishes `grace.event.message_bus.>` and, every few
//! seconds, its counters on `grace.telemetry.message_bus`, from within, which needs no permission. Its end is a lame duck: clients
//! are told, and go to the next broker by themselves.

mod events;
mod mappings;
pub mod service;
mod sockets;

use std::{io, path::Path, time::Duration};

use grace_bus::{
    Bus, BusError, Message,
    auth::AuthTable,
    broker::BrokerConfig,
    shell::{BrokerCommand, Listeners, ServeConfig, ServeError, serve},
};
use grace_kernel::process::{Context, Environment, KernelError, life::Signal, tell};
use grace_types::manifest::{ComponentKind, Manifest, Permissions};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinError,
    time::{MissedTickBehavior, interval},
};

use self::service::Broker;
use super::BuiltIn;
use crate::{instance::Instance, limits};

/// What the control plane must know.
pub const BUILT_IN: BuiltIn = BuiltIn {
    name: NAME,
    kind: ComponentKind::Kernel,
    critical: true,
    depends_on: &[],
    watchdog: Duration::from_secs(2),
    permissions,
    stateful: false,
    run,
};

const NAME: &str = "message_bus";
const COMMANDS: &str = "grace.cmd.message_bus";

fn permissions() -> Permissions {
    Permissions::only(["grace.event.message_bus.>"], [COMMANDS, "_INBOX.message_bus.>"])
}

fn run(environment: Environment) -> Result<(), KernelError> {
    let listeners = sockets::passed(|name| std::env::var(name).ok(), std::process::id())
        .map_err(|source| KernelError::System { what: "the listening sockets", source })?;
    open_files();
    grace_kernel::process::run(environment, async |context| main(context, listeners).await)
}

/// Raises the bound of open files as far as it may be raised: each connection is one. This process starts no program, so nobody inherits
/// a bound that is larger than what it was made for.
fn open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tell(&format!("the bound of open files stays as it is: {error}"));
    }
}

/// Serves until it is told to stop. The context's bus is a client of this very broker.
///
/// # Errors
/// The users, the manifest or the sockets cannot be used.
pub async fn main(mut context: Context, listeners: Listeners) -> Result<(), KernelError> {
    let instance = Instance::at(&context.environment.data);
    let config = configuration(&instance)?;
    let (commands, inbox) = mpsc::channel(limits::BROKER_COMMANDS);
    let (outbox, mut events) = mpsc::channel(limits::BROKER_EVENTS);
    let mut serving = tokio::spawn(serve(config, listeners, inbox, outbox, std::future::pending()));
    let broker = Broker::new(commands, mappings::path(&instance));
    // The answer comes from the loop that accepts; without one, the broker's end says why.
    if broker.statistics().await.is_none() {
        return ended((&mut serving).await);
    }
    let mut queries = queries(context.bus.clone());
    let mut announcer = events::Announcer::default();
    let mut telemetry = interval(limits::BROKER_TELEMETRY);
    telemetry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    context.life.ready("serving");
    loop {
        tokio::select! {
            biased;
            signal = context.life.next() => match signal {
                Signal::Beat => context.life.beat(),
                Signal::Reload => context.life.status(reload(&instance, &broker).await),
                Signal::Stop(_) => {
                    context.life.stopping();
                    broker.order(BrokerCommand::LameDuck).await;
                }
            },
            done = &mut serving => return ended(done),
            // Before the events: a client that floods the broker with violations must not keep its operator from asking.
            Some(query) = queries.recv() => {
                if let Some(reply) = query.reply {
                    let payload = broker.answer(&query.payload).await;
                    broker.order(service::publish(reply, payload)).await;
                }
            }
            _ = telemetry.tick() => broker.tell_telemetry().await,
            Some(event) = events.recv() => {
                let now = context.clock.now();
                if let Some(order) = announcer.announce(&event, now, &mut *context.entropy) {
                    broker.order(order).await;
                }
            }
        }
    }
}

fn configuration(instance: &Instance) -> Result<ServeConfig, KernelError> {
    let system = |what| move |source| KernelError::System { what, source };
    let users: AuthTable = read(&instance.bus_auth()).map_err(system("the users of the bus"))?;
    let manifest: Manifest = read(&instance.manifest()).map_err(system("the manifest"))?;
    let mut config = ServeConfig::for_users(users);
    config.broker = BrokerConfig {
        max_payload_bytes: manifest.bus.max_payload_bytes,
        max_connections: manifest.bus.max_connections,
        max_pending_bytes: manifest.bus.max_pending_bytes,
        lame_duck: limits::BUS_LAME_DUCK,
        ..BrokerConfig::default()
    };
    // Without its mappings the bus still carries everything, to where it was sent; without the bus nothing is carried.
    config.mappings = mappings::load(&mappings::path(instance)).unwrap_or_else(|error| {
        tell(&format!("the subject mappings are passed over: {error}"));
        Vec::new()
    });
    Ok(config)
}

/// Puts the users in the file in force; what came of it, for the status line. A table that is refused changes nothing.
async fn reload(instance: &Instance, broker: &Broker) -> String {
    let refused = |error: String| {
        tell(&format!("the new users of the bus are refused: {error}"));
        format!("serving the former users: {error}")
    };
    let users: AuthTable = match read(&instance.bus_auth()) {
        Ok(users) => users,
        Err(error) => return refused(error.to_string()),
    };
    let (answer, done) = oneshot::channel();
    broker.order(BrokerCommand::SetUsers(users, answer)).await;
    match done.await {
        Ok(Ok(())) => "serving".to_owned(),
        Ok(Err(error)) => refused(error.to_string()),
        Err(_) => "stopping".to_owned(),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let wrong = |error: String| io::Error::other(format!("{}: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))
}

/// What is asked of the kernel over the bus, from when the client is connected on.
fn queries(bus: Option<Bus>) -> mpsc::Receiver<Message> {
    let (sender, receiver) = mpsc::channel(limits::BROKER_QUERIES);
    if let Some(bus) = bus {
        tokio::spawn(async move {
            let mut connected = bus.connected();
            let mut subscription = loop {
                match bus.subscribe(COMMANDS, Some(NAME)).await {
                    Ok(subscription) => break subscription,
                    Err(BusError::NotConnected | BusError::Timeout { .. })
                        if connected.changed().await.is_ok() => {}
                    Err(error) => return tell(&format!("no queries are answered: {error}")),
                }
            };
            while let Some(message) = subscription.next().await {
                if sender.send(message).await.is_err() {
                    return;
                }
            }
        });
    }
    receiver
}

fn ended(done: Result<Result<(), ServeError>, JoinError>) -> Result<(), KernelError> {
    let broken = |error: String| KernelError::System { what: "the broker", source: io::Error::other(error) };
    match done {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(broken(error.to_string())),
        Err(error) => Err(broken(error.to_string())),
    }
}
