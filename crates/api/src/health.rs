//! `/livez`, `/readyz` and its alias `/healthz`, in the form that Kubernetes' own have: a line of text, with `?verbose` one for
//! each component.
//!
//! - **Live** is who answers: nothing else is looked at, so that a probe never restarts this process for another's fault.
//! - **Ready** is Grace when the control plane answers, is not stopping, and each of Grace's own components is ready; of the workers
//!   one is enough. The user's programs are shown and do not count: Grace does its work while one of them is down.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
};
use grace_core::status::{ComponentStatus, InstanceState, Status};
use grace_types::manifest::ComponentKind;

use crate::{api::Api, component::NAME};

/// `/livez`.
pub async fn live() -> &'static str {
    "ok\n"
}

/// `/readyz` and `/healthz`.
pub async fn ready(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let verbose = query.is_some_and(|q| q.split('&').any(|pair| pair.split('=').next() == Some("verbose")));
    match api.control_plane.status().await {
        Ok(status) => answer(&status, verbose),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("[-]control_plane: {why}\nnot ready\n")),
    }
}

/// Whether Grace is ready.
pub(crate) fn is_ready(status: &Status) -> bool {
    status.state != InstanceState::Stopping && faults(status).is_empty()
}

fn answer(status: &Status, verbose: bool) -> (StatusCode, String) {
    let faults = faults(status);
    let mut text = String::new();
    for component in &status.components {
        let at_fault = faults.contains(&component.name.as_str());
        if verbose || at_fault {
            line(&mut text, component, at_fault);
        }
    }
    if status.state == InstanceState::Stopping {
        text.push_str("[-]control_plane: stopping\n");
    } else if verbose {
        text.push_str("[+]control_plane ok\n");
    }
    if is_ready(status) {
        text.push_str(if verbose { "ready\n" } else { "ok\n" });
        return (StatusCode::OK, text);
    }
    text.push_str("not ready\n");
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

/// The components for which Grace is not ready.
fn faults(status: &Status) -> Vec<&str> {
    // Who answers is ready, whether or not the control plane has heard of it yet.
    let down = |c: &&ComponentStatus| !c.ready && c.name != NAME;
    let of = |kind: ComponentKind| status.components.iter().filter(move |c| c.kind == kind);
    let mut faults: Vec<&str> = [ComponentKind::Kernel, ComponentKind::Orchestrator, ComponentKind::Cortex]
        .into_iter()
        .flat_map(|kind| of(kind).filter(down))
        .map(|c| c.name.as_str())
        .collect();
    if of(ComponentKind::Worker).all(|c| !c.ready) {
        faults.extend(of(ComponentKind::Worker).map(|c| c.name.as_str()));
    }
    faults
}

fn line(text: &mut String, component: &ComponentStatus, at_fault: bool) {
    let ComponentStatus { name, .. } = component;
    // Writing to a string does not fail.
    let _ = if component.ready {
        writeln!(text, "[+]{name} ok")
    } else {
        let mark = if at_fault { "[-]" } else { "[ ]" };
        // A message of several lines would look like other components.
        let why = component.message.as_deref().unwrap_or_default().replace(char::is_control, " ");
        let state = serde_json::to_value(component.state).unwrap_or_default();
        writeln!(text, "{mark}{name}: {} {why}", state.as_str().unwrap_or_default())
    };
}

#[cfg(test)]
mod tests {
    use grace_core::status::ComponentState;
    use grace_types::time::Timestamp;

    use super::*;

    fn component(name: &str, kind: ComponentKind, ready: bool) -> ComponentStatus {
        ComponentStatus {
            name: name.to_owned(),
            layer: kind.layer(),
            kind,
            state: if ready { ComponentState::Ready } else { ComponentState::Restarting },
            pid: None,
            restarts: 0,
            health: None,
            since: Timestamp::EPOCH,
            ready,
            critical: false,
            heartbeat_age_seconds: None,
            muted: None,
            succeeded: None,
            message: Some("one\n[+]two".to_owned()),
        }
    }

    fn status(state: InstanceState, components: Vec<ComponentStatus>) -> Status {
        Status {
            state,
            guardian_pid: 1,
            control_plane_pid: 2,
            control_plane_restarts: 0,
            bus_address: String::new(),
            since: Timestamp::EPOCH,
            warnings: Vec::new(),
            components,
        }
    }

    #[test]
    fn what_counts_and_what_does_not() {
        use ComponentKind::{Chaos, Cortex, Kernel, Orchestrator, Process, Worker};
        let with = |kind, ready: &[bool]| {
            let all = ready.iter().enumerate().map(|(n, ready)| component(&format!("c{n}"), kind, *ready));
            answer(&status(InstanceState::Degraded, all.collect()), false).0.as_u16()
        };
        for kind in [Kernel, Orchestrator, Cortex] {
            assert_eq!((with(kind, &[true, true]), with(kind, &[true, false])), (200, 503), "{kind:?}");
        }
        assert_eq!(with(Worker, &[true, false, false]), 200, "one is enough");
        assert_eq!(with(Worker, &[false, false]), 503);
        assert_eq!(with(Process, &[false]), 200, "the user's own");
        assert_eq!(with(Chaos, &[false]), 200);
        assert_eq!(answer(&status(InstanceState::Stopping, Vec::new()), false).0.as_u16(), 503);
        let own = vec![component(NAME, Kernel, false)];
        assert_eq!(answer(&status(InstanceState::Running, own), false).0.as_u16(), 200);
    }

    #[test]
    fn each_component_is_a_line() {
        let components = vec![
            component("message_bus", ComponentKind::Kernel, true),
            component("clarity", ComponentKind::Kernel, false),
            component("web", ComponentKind::Process, false),
        ];
        let status = status(InstanceState::Degraded, components);
        assert_eq!(answer(&status, false).1, "[-]clarity: restarting one [+]two\nnot ready\n");
        assert_eq!(
            answer(&status, true).1,
            "[+]message_bus ok\n[-]clarity: restarting one [+]two\n[ ]web: restarting one [+]two\n\
             [+]control_plane ok\nnot ready\n"
        );
    }
}
