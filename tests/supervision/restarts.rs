//! Deaths and hangs: found at once, restarted by policy, given up on beyond it.

use std::{fs::File, time::Duration};

use grace_core::{
    status::{ComponentState, InstanceState},
    supervisor::{Event, Hang},
};
use rustix::process::Signal;

use crate::instance::{Instance, free_port, is, kill};

#[test]
fn a_killed_program_and_a_killed_kernel_are_back_at_once() {
    let instance = Instance::of("  web: {command: [PUPPET, wait]}\n");
    instance.up();
    for name in ["web", "health_monitor"] {
        let before = instance.ready(name);
        kill(before.pid.unwrap(), Signal::KILL);
        let after = instance.until_component(name, "has a new process", |c| c.ready && c.pid != before.pid);
        assert_eq!((after.restarts, after.state), (1, ComponentState::Ready), "{after:?}");
        let scheduled = instance.recorded(1, |event| match event {
            Event::RestartScheduled { component, delay, .. } if component == name => Some(*delay),
            _ => None,
        });
        assert_eq!(scheduled.len(), 1, "{scheduled:?}");
        let (delay, why) = &scheduled[0];
        assert_eq!(*delay, Duration::ZERO);
        assert!(why.contains("was ended by SIGKILL"), "{why}");
    }
    instance.all_ready();
    instance.assert_no_zombies();
    instance.down();
}

#[test]
fn a_program_that_stops_beating_is_found_within_two_intervals() {
    let instance = Instance::of(
        "
  silent:
    command: [PUPPET, notify=READY=1, beat=200]
    readiness_probe: {notify: true}
    watchdog: {interval: 1s}
  steady:
    command: [PUPPET, notify=READY=1, beat=200]
    readiness_probe: {notify: true}
    watchdog: {interval: 1s}
  asking:
    command: [PUPPET, notify=READY=1, until=FOLDER/ask, notify=WATCHDOG=trigger, wait]
    readiness_probe: {notify: true}
",
    );
    instance.up();
    let before = instance.component("silent");
    kill(before.pid.unwrap(), Signal::STOP);
    let after = instance.until_component("silent", "was restarted", |c| c.ready && c.pid != before.pid);
    assert_eq!(after.restarts, 1);
    File::create(instance.file("ask")).unwrap();
    instance.until_component("asking", "was restarted", |c| c.restarts > 0);
    let hangs = instance.recorded(2, |event| match event {
        Event::HangDetected { component, hang, .. } => Some((component.clone(), hang.clone())),
        _ => None,
    });
    let ((name, hang), _) = &hangs[0];
    let Hang::Watchdog { silent } = hang else { panic!("{hangs:?}") };
    assert!(name == "silent" && *silent < Duration::from_secs(2), "{hangs:?}");
    assert!(hangs[1..].iter().all(|(found, _)| *found == ("asking".into(), Hang::Triggered)), "{hangs:?}");
    assert_eq!(instance.component("steady").restarts, 0);
    instance.down();
}

#[test]
fn a_program_that_was_stopped_and_one_that_fails_its_liveness_probe_are_restarted() {
    let port = free_port();
    let instance = Instance::of(&format!(
        "
  stopped: {{command: [PUPPET, wait]}}
  alive:
    command: [PUPPET, 'http={port}:FOLDER/alive', wait]
    liveness_probe: {{http_get: {{port: {port}}}, period: 50ms, failure_threshold: 2}}
"
    ));
    File::create(instance.file("alive")).unwrap();
    instance.up();
    let (stopped, alive) = (instance.component("stopped"), instance.component("alive"));
    kill(stopped.pid.unwrap(), Signal::STOP);
    std::fs::remove_file(instance.file("alive")).unwrap();
    let after = instance.until_component("alive", "was restarted", |c| c.restarts > 0);
    File::create(instance.file("alive")).unwrap();
    assert!(after.pid != alive.pid);
    instance.until_component("stopped", "was restarted", |c| c.ready && c.pid != stopped.pid);
    instance.ready("alive");
    let hangs = instance.recorded(2, |event| match event {
        Event::HangDetected { component, hang, .. } => Some((component.clone(), hang.clone())),
        _ => None,
    });
    let of = |name: &str| hangs.iter().find(|((n, _), _)| n == name).map(|((_, hang), _)| hang).unwrap();
    assert_eq!(of("stopped"), &Hang::Stopped);
    let Hang::Liveness { reason } = of("alive") else { panic!("{hangs:?}") };
    assert!(reason.contains("503"), "{reason}");
    instance.down();
}

#[test]
fn the_restart_policy_decides_what_an_exit_means() {
    let instance = Instance::of(
        "
  on_failure_0: {command: [PUPPET], availability: {restart: on_failure}}
  on_failure_3: {command: [PUPPET, until=FOLDER/end, exit=3], availability: {restart: on_failure}}
  no_3: {command: [PUPPET, exit=3], availability: {restart: 'no'}}
  always_0: {command: [PUPPET, until=FOLDER/end], availability: {restart: always}}
",
    );
    instance.up();
    File::create(instance.file("end")).unwrap();
    for name in ["on_failure_3", "always_0"] {
        let c = instance.until_component(name, "used up its restarts", |c| is(c, ComponentState::Failed));
        let reason = c.message.unwrap_or_default();
        assert_eq!((c.restarts, c.pid), (3, None));
        assert!(reason.contains("3 restarts in 60.0 s are used up"), "{reason}");
        let exit = if name == "always_0" { "exited with status 0" } else { "exited with status 3" };
        assert!(reason.contains(exit), "{reason}");
    }
    for (name, exit) in [("on_failure_0", "status 0"), ("no_3", "status 3")] {
        let c = instance.component(name);
        assert_eq!((c.state, c.restarts), (ComponentState::Stopped, 0), "{c:?}");
        assert!(c.message.as_deref().unwrap_or_default().contains(exit), "{c:?}");
    }
    assert_eq!(instance.status().state, InstanceState::Degraded);
    // An operator's restart begins the count anew.
    std::fs::remove_file(instance.file("end")).unwrap();
    let ran = instance.grace(&["restart", "on_failure_3"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    instance.ready("on_failure_3");
    instance.assert_no_zombies();
    instance.down();
}
