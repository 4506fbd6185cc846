//! What people ask for: pause, resume, restart; and what is refused.

use std::time::Duration;

use grace_core::status::ComponentState;
use grace_types::time::{Clock as _, SystemClock};
use rustix::process::Signal;

use crate::instance::{Instance, component, holds, kill, state_of};

#[test]
fn pause_holds_a_program_without_its_watchdog_and_resume_lets_it_go_on() {
    let instance = Instance::of(
        "
  beating:
    command: [PUPPET, notify=READY=1, beat=100]
    readiness_probe: {notify: true}
    watchdog: {interval: 500ms}
  other: {command: [PUPPET, wait]}
",
    );
    instance.up();
    let before = instance.component("beating");
    let pid = before.pid.unwrap();
    let ran = instance.grace(&["pause", "beating"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "beating is paused\n"), "{ran}");
    holds("it is stopped", || state_of(pid) == Some('T'));
    assert_eq!(instance.component("beating").state, ComponentState::Paused);
    // Four intervals of its watchdog.
    let since = instance.component("beating").since;
    holds("two seconds pass", || SystemClock.now().wall.since(since) > Duration::from_secs(2));
    let paused = instance.component("beating");
    assert_eq!((paused.state, paused.restarts, paused.pid), (ComponentState::Paused, 0, Some(pid)));

    let ran = instance.grace(&["pause", "beating"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.err.contains("error[wrong_state]"), "{ran}");
    let ran = instance.grace(&["resume", "beating"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "beating goes on\n"), "{ran}");
    let after = instance.ready("beating");
    assert_eq!((after.restarts, after.pid), (0, Some(pid)));
    // Its watchdog is on again.
    kill(pid, Signal::STOP);
    instance.until_component("beating", "was restarted", |c| c.ready && c.pid != Some(pid));
    // A paused program can be stopped.
    assert_eq!(instance.grace(&["pause", "other"]).code, Some(0));
    instance.down();
}

#[test]
fn a_restart_gives_a_fresh_process_and_replicas_are_components_of_their_own() {
    let instance = Instance::of(
        "
  worker:
    command: [sh, -c, 'echo replica $GRACE_REPLICA of $GRACE_COMPONENT; exec PUPPET wait']
    replicas: 3
  client: {command: [PUPPET, wait], depends_on: [worker]}
",
    );
    instance.up();
    let before = instance.status();
    for n in 1..=3 {
        let name = format!("worker-{n}");
        holds("its line is captured", || instance.printed(&name) == [format!("replica {n} of {name}")]);
    }
    let ran = instance.grace(&["restart", "worker-2"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let pid = component(&before, "worker-2").pid;
    instance.until_component("worker-2", "has a new process", |c| c.ready && c.pid != pid);
    let after = instance.status();
    for c in before.components.iter().filter(|c| c.name != "worker-2") {
        assert_eq!(component(&after, &c.name).pid, c.pid, "{}", c.name);
    }
    let ran = instance.grace(&["restart", "worker"]);
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.err.contains("error[not_found]"), "{ran}");
    instance.assert_no_zombies();
    instance.down();
}
