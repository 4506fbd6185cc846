//! Commands whose answer means that they are on disk, and what the disk says of them.

use grace_bus::{
    Bus, Message,
    client::native::{self, NativeOptions, Target},
};

use super::{Instance, journal};

/// Connects as the operator, who may do everything, over the broker's Unix socket. Needs a tokio runtime.
pub(crate) fn connect(instance: &Instance) -> Bus {
    with_url(instance, &std::fs::read_to_string(instance.place().operator_url()).unwrap())
}

/// With the credential of a component, as only a process of the same user can have it.
pub(crate) fn connect_as(instance: &Instance, component: &str) -> Bus {
    let pid = instance.ready(component).pid.unwrap();
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let urls: Vec<String> =
        variables.filter_map(|one| one.strip_prefix("NATS_URL=").map(str::to_owned)).collect();
    with_url(instance, &urls[0])
}

fn with_url(instance: &Instance, url: &str) -> Bus {
    let (login, _) = url.trim().strip_prefix("nats://").unwrap().rsplit_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    native::connect(NativeOptions::new(Target::Unix(instance.place().bus_socket()), user, password, user))
}

/// A command that the health monitor answers when it is on disk.
pub(crate) fn durable_command() -> Message {
    Message::new("grace.cmd.health_monitor", r#"{"command":{"op":"configure","boot":"a test","rules":[]}}"#)
}

/// The idempotency keys of commands that the health monitor has settled, as its journal tells.
pub(crate) fn settled(instance: &Instance) -> Vec<String> {
    let records = journal::payloads(&instance.place().journal("health_monitor"));
    let records = records.iter().map(|bytes| serde_json::from_slice::<serde_json::Value>(bytes).unwrap());
    let key =
        |record: &serde_json::Value, kind: &str| Some(record[kind]["answered"]["key"].as_str()?.to_owned());
    records.filter_map(|record| key(&record, "event").or_else(|| key(&record, "answer"))).collect()
}
