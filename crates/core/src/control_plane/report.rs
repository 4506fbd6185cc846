//! The supervisor's state as `grace status` shows it.

use std::collections::BTreeMap;

use grace_types::{manifest::ComponentKind, time::Monotonic};

use crate::{
    status::{ComponentState, ComponentStatus, InstanceState, MutedLifeLine, Status},
    supervisor::{Component, Phase, State, decider::waiting_for},
};

/// What the state does not hold: it changes without a decision.
#[derive(Debug, Clone, Default)]
pub(super) struct Volatile {
    /// The guardian's process.
    pub(super) guardian_pid: u32,
    /// Where the broker listens.
    pub(super) bus_address: String,
    /// What each component last said of itself (`STATUS=`).
    pub(super) said: BTreeMap<String, String>,
    /// Datagrams dropped of components whose life line is muted.
    pub(super) dropped: BTreeMap<String, u64>,
    /// Health scores as the health monitor last published them.
    pub(super) health: BTreeMap<String, f64>,
    /// What is wrong with the control plane itself.
    pub(super) warnings: Vec<String>,
}

/// The report.
#[must_use]
pub(super) fn report(
    state: &State,
    volatile: &Volatile,
    heartbeat_ages: &BTreeMap<String, f64>,
    now: Monotonic,
) -> Status {
    let mut components: Vec<ComponentStatus> = state
        .plan
        .specs()
        .filter_map(|spec| {
            let component = state.components.get(&spec.name)?;
            let shown = component.shown();
            let message = match &component.phase {
                Phase::Waiting => {
                    let reason = waiting_for(state, &spec.name).unwrap_or_else(|| component.reason.clone());
                    after_trouble(reason, component)
                }
                Phase::Running { run, paused: false } if run.ready => {
                    volatile.said.get(&spec.name).cloned().unwrap_or_default()
                }
                _ => after_trouble(component.reason.clone(), component),
            };
            let muted = component.phase.run().and_then(|run| run.muted_until).map(|until| MutedLifeLine {
                seconds_left: until.since(now).as_secs_f64(),
                dropped: volatile.dropped.get(&spec.name).copied().unwrap_or_default(),
            });
            let message = muted.map_or(message.clone(), |muted| not_heard(muted, &message));
            Some(ComponentStatus {
                name: spec.name.clone(),
                layer: spec.kind.layer(),
                kind: spec.kind,
                state: shown,
                pid: component.phase.run().map(|r| r.pid),
                restarts: component.restarts,
                health: volatile.health.get(&spec.name).copied(),
                since: component.since,
                ready: component.is_ready() && shown == ComponentState::Ready,
                critical: spec.critical,
                succeeded: match component.phase {
                    Phase::Completed { exit } => Some(exit.is_success()),
                    _ => None,
                },
                muted,
                heartbeat_age_seconds: heartbeat_ages.get(&spec.name).copied(),
                message: Some(message).filter(|m| !m.is_empty()),
            })
        })
        .collect();
    components.sort_by_key(|c| (c.kind == ComponentKind::Process, c.layer, c.name.clone()));
    Status {
        state: instance_state(state),
        guardian_pid: volatile.guardian_pid,
        control_plane_pid: std::process::id(),
        control_plane_restarts: state.take_overs,
        bus_address: volatile.bus_address.clone(),
        since: state.since,
        warnings: volatile.warnings.clone(),
        components,
    }
}

/// That nobody need wonder why its heartbeats are missing.
fn not_heard(muted: MutedLifeLine, message: &str) -> String {
    let seconds = muted.seconds_left;
    let text = format!("an injected fault mutes its life line for {seconds:.1} s at most");
    if message.is_empty() { text } else { format!("{text}; {message}") }
}

/// What a component does now, and what went wrong before, until it is ready again.
fn after_trouble(now: String, component: &Component) -> String {
    if component.trouble.is_empty() || now.contains(&component.trouble) {
        return now;
    }
    format!("{now}; before that, {}", component.trouble)
}

fn instance_state(state: &State) -> InstanceState {
    let bad = |c: &Component| {
        matches!(c.shown(), ComponentState::Failed | ComponentState::Degraded)
            || (c.seen_ready && c.shown() == ComponentState::Restarting)
    };
    if state.shutdown {
        InstanceState::Stopping
    } else if state.emergency.is_some() {
        InstanceState::Emergency
    } else if state.components.values().any(bad) {
        InstanceState::Degraded
    } else {
        InstanceState::Running
    }
}

#[cfg(test)]
mod tests;
