//! The kernel that knows how well everything is: a health score for each component, and alerts.
//!
//! ```text
//! grace.control_plane.status ─┐
//! /proc (CPU, memory)        ─┴► sample ─► score ─► grace.telemetry.health_monitor, every round
//!                                            └────► decider ─► journal ─► grace.event.health_monitor.{health_changed,alert_…}
//! grace.cmd.health_monitor ─────────────────────► decider: scores, alerts, component
//! ```
//!
//! | Module | What it holds |
//! |---|---|
//! | [`score`] | the formula of the health score |
//! | [`alerts`] | rules, and the steps of an alert |
//! | [`decider`] | what is worth a record |
//! | [`sample`] | readings from the status and `/proc` |
//! | `shell` | the rounds |
//! | [`view`] | what it says in votes |
//!
//! It watches and tells; it restarts nothing. It is critical all the same: while it is away nobody sees that anything else
//! fails slowly. When the bus is away its rounds are left out, and go on when the client has reconnected.

pub mod alerts;
pub mod decider;
pub mod sample;
pub mod score;
mod shell;
#[cfg(test)]
mod tests;
pub mod view;

use std::time::Duration;

use grace_kernel::process::{
    Context, Environment, KernelError,
    serve::{Storage, run_decider},
    voter::{self, Voter},
};
use grace_types::manifest::{ComponentKind, Permissions};

use self::decider::HealthMonitor;
use super::BuiltIn;
use crate::instance::Instance;

/// What the control plane must know.
pub const BUILT_IN: BuiltIn = BuiltIn {
    name: "health_monitor",
    kind: ComponentKind::Kernel,
    critical: true,
    depends_on: &["message_bus"],
    watchdog: Duration::from_secs(2),
    permissions,
    stateful: true,
    run,
};

fn permissions() -> Permissions {
    let own = Permissions::only(
        [shell::TELEMETRY, "grace.event.health_monitor.>", shell::STATUS],
        ["grace.cmd.health_monitor", "_INBOX.health_monitor.>"],
    );
    voter::permitted(own, BUILT_IN.name)
}

fn run(environment: Environment) -> Result<(), KernelError> {
    grace_kernel::process::run(environment, main)
}

/// Monitors until it is told to stop.
///
/// # Errors
/// The journal cannot be opened or replayed.
pub async fn main(context: Context) -> Result<(), KernelError> {
    let instance = Instance::at(&context.environment.data);
    let monitor = shell::Monitor::new(instance.clone(), context.bus.clone(), context.clock.clone());
    let path = instance.journal(context.component());
    if let Some((voter, bus)) = Voter::of(&context).zip(context.bus.clone()) {
        voter.start(view::StatusOfAll(bus));
    }
    let storage = Storage::file(path, context.clock.now().wall);
    run_decider::<HealthMonitor, _>(context, storage, monitor).await
}
