//! The emergency protocol: declared when the loss of what is critical is more than a restart mends, resolved, recorded.

use std::fs::File;

use grace_core::{
    status::{ComponentState, InstanceState},
    supervisor::Event,
};
use rustix::process::Signal;

use crate::instance::{Instance, component, is, kill};

#[test]
fn two_critical_components_down_at_once_are_an_emergency_until_both_are_ready() {
    let instance = Instance::of(
        "
  vital:
    command: [PUPPET, until=FOLDER/gate, notify=READY=1, wait]
    readiness_probe: {notify: true}
    critical: true
",
    );
    File::create(instance.file("gate")).unwrap();
    instance.up();
    std::fs::remove_file(instance.file("gate")).unwrap();
    let before = instance.status();
    let pid = |name: &str| component(&before, name).pid;
    kill(pid("vital").unwrap(), Signal::KILL);
    // It is not ready until its gate is open.
    instance.until_component("vital", "was restarted", |c| c.pid.is_some() && c.pid != pid("vital"));
    kill(pid("message_bus").unwrap(), Signal::KILL);
    instance.until("the emergency is shown", |s| s.state == InstanceState::Emergency);
    File::create(instance.file("gate")).unwrap();
    instance.all_ready();
    let declared = instance.recorded(1, |event| match event {
        Event::EmergencyDeclared { down, .. } => Some(down.clone()),
        _ => None,
    });
    assert_eq!(declared[0].0, ["message_bus", "vital"]);
    assert!(declared[0].1.contains("critical components down at once: message_bus, vital"), "{declared:?}");
    let resolved =
        instance.recorded(1, |event| matches!(event, Event::EmergencyResolved { .. }).then_some(()));
    assert_eq!(resolved.len(), 1);
    assert!(resolved[0].1.contains("every critical component is ready"), "{resolved:?}");
    instance.down();
}

#[test]
fn a_critical_program_beyond_its_restarts_has_everything_it_needs_restarted() {
    let instance = Instance::of(
        "
  needed: {command: [PUPPET, wait]}
  vital:
    command: [sh, -c, 'test ! -e FOLDER/broken && exec PUPPET wait']
    depends_on: [needed]
    critical: true
    availability: {intensity: 1, backoff: 10ms}
  other: {command: [PUPPET, wait]}
",
    );
    instance.up();
    let before = instance.status();
    File::create(instance.file("broken")).unwrap();
    kill(component(&before, "vital").pid.unwrap(), Signal::KILL);
    let declared = instance.recorded(1, |event| match event {
        Event::EmergencyDeclared { restart, .. } => Some(restart.clone()),
        _ => None,
    });
    assert_eq!(declared[0].0, ["needed", "vital"]);
    assert!(declared[0].1.contains("1 restarts in 60.0 s are used up"), "{declared:?}");
    std::fs::remove_file(instance.file("broken")).unwrap();
    let after = instance.all_ready();
    assert!(component(&after, "needed").pid != component(&before, "needed").pid);
    assert_eq!(component(&after, "other").pid, component(&before, "other").pid);
    instance.recorded(1, |event| matches!(event, Event::EmergencyResolved { .. }).then_some(()));
    instance.down();
}

#[test]
fn a_kernel_that_is_not_critical_degrades_the_instance_and_an_operator_brings_it_back() {
    let instance = Instance::of("  web: {command: [PUPPET, wait]}\n");
    instance.up();
    // Its fourth end within a minute.
    for _ in 0..4 {
        let c = instance
            .until_component("clarity", "runs", |c| c.pid.is_some() || is(c, ComponentState::Degraded));
        if let Some(pid) = c.pid {
            kill(pid, Signal::KILL);
            instance.until_component("clarity", "ended", |c| c.pid != Some(pid));
        }
    }
    let c = instance.until_component("clarity", "is given up on", |c| is(c, ComponentState::Degraded));
    assert!(c.message.as_deref().unwrap_or_default().contains("3 restarts in 60.0 s are used up"), "{c:?}");
    let status = instance.status();
    assert_eq!((status.state, component(&status, "web").ready), (InstanceState::Degraded, true));
    assert_eq!(instance.grace(&["restart", "clarity"]).code, Some(0));
    instance.all_ready();
    instance.down();
}
