//! What `grace status` reports. The JSON form is stable: fields may be added, never renamed. Its JSON Schema,
//! `schemas/status.schema.json`, is generated from these types.

use grace_types::{manifest::ComponentKind, time::Timestamp};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Serialize};

/// The JSON Schema (draft 2020-12) of a [`Status`] as it is written.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<Status>().to_value()
}

/// The whole instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "Grace status")]
pub struct Status {
    /// Of the instance as a whole.
    pub state: InstanceState,
    /// The guardian's process.
    pub guardian_pid: u32,
    /// The control plane's process.
    pub control_plane_pid: u32,
    /// Times that the control plane was restarted by the guardian since boot.
    pub control_plane_restarts: u32,
    /// Where the broker listens for NATS clients: `127.0.0.1:4222`.
    pub bus_address: String,
    /// When the instance booted.
    pub since: Timestamp,
    /// What is wrong with the control plane itself, such as a journal that cannot be written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// One entry a component, kernels first, then by name.
    pub components: Vec<ComponentStatus>,
}

/// Of the instance as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// Everything that should run is ready, or on its way there for the first time.
    Running,
    /// Something failed or is degraded.
    Degraded,
    /// The emergency protocol is under way.
    Emergency,
    /// Shutting down.
    Stopping,
}

/// One component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComponentStatus {
    /// Unique.
    pub name: String,
    /// 1, 2, 3, or 0 for the user's own.
    pub layer: u8,
    /// What it is.
    pub kind: ComponentKind,
    /// What it is doing.
    pub state: ComponentState,
    /// Its process, while it has one.
    pub pid: Option<u32>,
    /// Restarts since boot.
    pub restarts: u32,
    /// 0.0 to 1.0; `null` until it has been measured.
    pub health: Option<f64>,
    /// When it entered this state.
    pub since: Timestamp,
    /// Whether it is ready now.
    pub ready: bool,
    /// Whether its loss is an emergency.
    pub critical: bool,
    /// Seconds since its last heartbeat, while it owes heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_age_seconds: Option<f64>,
    /// While an injected fault keeps its life line from being heard: it may be taken for hung though it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted: Option<MutedLifeLine>,
    /// Once it has ended for good: whether it ended with status 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<bool>,
    /// Why it is in this state, or what it last said of itself (`STATUS=`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A life line that is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MutedLifeLine {
    /// Seconds until it is heard again, at the latest.
    pub seconds_left: f64,
    /// Datagrams dropped so far; counted anew by a new control plane.
    pub dropped: u64,
}

/// What a component is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComponentState {
    /// Waiting for its dependencies, or started and not ready yet.
    Starting,
    /// Ready.
    Ready,
    /// Stopped in place by an operator (SIGSTOP).
    Paused,
    /// Its process ended, or is being ended; a new one follows.
    Restarting,
    /// A kernel that ran out of restarts; the instance goes on without it.
    Degraded,
    /// A user's program that ran out of restarts or cannot be started.
    Failed,
    /// Its process is being ended, and no new one follows.
    Stopping,
    /// Ended, and not to be restarted.
    Stopped,
}
