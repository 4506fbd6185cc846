//! Chaos runs on a real instance: what they find out, how they end, and that nothing of them is left however they end.
#![allow(clippy::unwrap_used, reason = "tests")]

mod instance;

#[path = "chaos/ends.rs"]
mod ends;
#[path = "chaos/input.rs"]
mod input;
#[path = "chaos/runs.rs"]
mod runs;

use instance::{Instance, Ran};
use serde_json::Value;

/// A program that may be muted for a minute before its watchdog acts, and one that may be hit in any way.
const PROGRAMS: &str = "
  beating:
    command: [PUPPET, notify=READY=1, beat=50]
    readiness_probe: {notify: true}
    watchdog: {interval: 60s}
    availability: {intensity: 100}
  quiet:
    command: [sleep, infinity]
    availability: {intensity: 100, backoff: 20ms}
";

/// The head of a scenario.
fn scenario(id: &str, rest: &str) -> String {
    format!("id: {id}\ntitle: A test\ncategory: process\nseverity: low\n{rest}")
}

/// A scenario that mutes `beating` for as long as it may, and holds what it asks for.
fn lasting() -> String {
    scenario(
        "lasting",
        "faults: [{type: mute, target: beating, duration: 10m}]\nverifications: [{name: v, check: 'true'}]\n",
    )
}

fn write(instance: &Instance, id: &str, text: &str) {
    let folder = instance.data().join("scenarios");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{id}.yaml")), text).unwrap();
}

/// The one object that a run prints for scripts.
fn told(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran}"))
}

/// What is not so, of the list under `key`.
fn failed<'a>(told: &'a Value, key: &str, field: &str) -> Vec<&'a Value> {
    told[key].as_array().unwrap().iter().filter(|one| one[field] != true).collect()
}
