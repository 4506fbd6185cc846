//! Death of the guardian or of the foreground: everything ends in order, and nothing is in the way of the next `grace up`.

use grace_core::{
    status::{InstanceState, Status},
    supervisor::Event,
};
use rustix::process::Signal;

use crate::instance::{Instance, holds, kill, state_of};

const PROGRAMS: &str = "
  base: {command: [PUPPET, stamp=FOLDER/stamps, notify=READY=1, wait], readiness_probe: {notify: true}}
  middle: {command: [PUPPET, stamp=FOLDER/stamps, notify=READY=1, wait], readiness_probe: {notify: true}, depends_on: [base]}
  top: {command: [PUPPET, stamp=FOLDER/stamps, notify=READY=1, wait], readiness_probe: {notify: true}, depends_on: [middle]}
  stubborn: {command: [PUPPET, ignore-term, notify=READY=1, wait], readiness_probe: {notify: true}, shutdown: {timeout: 200ms}}
";

/// The programs in the order in which they were asked to end.
fn order_of_ends(instance: &Instance) -> Vec<String> {
    let stamps = std::fs::read_to_string(instance.file("stamps")).unwrap_or_default();
    let mut stamps: Vec<&str> = stamps.lines().collect();
    stamps.sort_unstable();
    stamps.iter().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
}

fn assert_ended_in_order(instance: &Instance) {
    instance.assert_gone();
    assert_eq!(order_of_ends(instance), ["top", "middle", "base"]);
}

#[test]
fn down_stops_dependents_first_and_kills_what_ignores_it() {
    let instance = Instance::of(PROGRAMS);
    instance.up();
    instance.down();
    assert_ended_in_order(&instance);
    let killed = instance.journal().pick(|event| match event {
        Event::KillDecided { component, .. } => Some(component.clone()),
        _ => None,
    });
    assert_eq!(killed.len(), 1, "{killed:?}");
    assert!(killed[0].0 == "stubborn" && killed[0].1.contains("did not end within 200 ms"), "{killed:?}");
    // And again on the same data.
    instance.up();
    instance.down();
}

#[test]
fn when_the_guardian_dies_everything_ends_in_order() {
    let instance = Instance::of(PROGRAMS);
    instance.up();
    kill(instance.status().guardian_pid, Signal::KILL);
    assert_ended_in_order(&instance);
    instance.up();
    instance.all_ready();
    instance.down();
}

#[test]
fn a_stopped_guardian_is_woken() {
    let instance = Instance::of("  web: {command: [PUPPET, wait]}\n");
    instance.up();
    let before = instance.status();
    kill(before.guardian_pid, Signal::STOP);
    holds("it is stopped", || state_of(before.guardian_pid) == Some('T'));
    holds("it goes on", || state_of(before.guardian_pid) != Some('T'));
    let after = instance.until("it is said", |s| s.warnings.iter().any(|w| w.contains("sent SIGCONT")));
    assert_eq!(pids(&before), pids(&after));
    instance.down();
}

fn pids(status: &Status) -> Vec<Option<u32>> {
    let own = [Some(status.guardian_pid), Some(status.control_plane_pid)];
    own.into_iter().chain(status.components.iter().map(|c| c.pid)).collect()
}

#[test]
fn after_guardian_and_control_plane_died_at_once_the_next_up_ends_what_is_left_and_boots() {
    let instance = Instance::of(
        "
  web: {command: [PUPPET, ignore-term, wait]}
  other: {command: [PUPPET, wait]}
",
    );
    instance.up();
    let before = instance.status();
    // The guardian cannot start a new control plane, nor the control plane stop anything.
    kill(before.guardian_pid, Signal::STOP);
    kill(before.control_plane_pid, Signal::KILL);
    kill(before.guardian_pid, Signal::KILL);
    // It holds the lock for as long as it takes to end.
    let ended = |pid| state_of(pid).is_none_or(|state| state == 'Z');
    holds("both have ended", || ended(before.guardian_pid) && ended(before.control_plane_pid));
    let ran = instance.grace(&["status"]);
    assert_eq!(ran.code, Some(3), "{ran}");
    let web = crate::instance::component(&before, "web").pid.unwrap();
    assert!(state_of(web).is_some_and(|state| state != 'Z'), "the fault bit: it runs with nobody above it");
    instance.up();
    for c in &before.components {
        holds("the old process is gone", || state_of(c.pid.unwrap()).is_none_or(|state| state == 'Z'));
    }
    let after = instance.all_ready();
    assert!(after.components.iter().all(|c| c.restarts == 0), "{after:#?}");
    instance.down();
}

#[test]
fn an_interrupt_in_the_foreground_stops_everything_in_order() {
    let mut instance = Instance::of(PROGRAMS);
    let front = instance.up_in_front();
    instance.all_ready();
    kill(front, Signal::INT);
    assert_eq!(instance.front_ended(), Some(0), "{}", instance.front_output());
    assert_ended_in_order(&instance);
    let said = instance.front_output();
    assert!(said.contains("everything is ready") && said.ends_with("everything has stopped\n"), "{said}");
}

#[test]
fn when_the_foreground_is_killed_the_tree_ends() {
    let mut instance = Instance::of(PROGRAMS);
    let front = instance.up_in_front();
    assert_eq!(instance.all_ready().state, InstanceState::Running);
    kill(front, Signal::KILL);
    assert_eq!(instance.front_ended(), None);
    assert_ended_in_order(&instance);
    // A guardian that dies under a foreground is told by it.
    std::fs::remove_file(instance.file("stamps")).unwrap();
    instance.up_in_front();
    kill(instance.all_ready().guardian_pid, Signal::KILL);
    assert_eq!(instance.front_ended(), Some(1));
    assert!(instance.front_output().contains("error[guardian_died]"), "{}", instance.front_output());
    assert_ended_in_order(&instance);
}

#[test]
fn each_process_in_turn_is_stopped_and_all_are_ready_again() {
    let instance = Instance::of(
        "
  plain: {command: [PUPPET, wait]}
  beating:
    command: [PUPPET, notify=READY=1, beat=100]
    readiness_probe: {notify: true}
    watchdog: {interval: 1s}
",
    );
    instance.up();
    let names: Vec<String> = instance.status().components.iter().map(|c| c.name.clone()).collect();
    for name in names {
        let before = instance.ready(&name);
        kill(before.pid.unwrap(), Signal::STOP);
        let after = instance.until_component(&name, "was replaced", |c| c.ready && c.pid != before.pid);
        assert_eq!(after.restarts, before.restarts + 1, "{after:?}");
        instance.all_ready();
    }
    let before = instance.status();
    kill(before.control_plane_pid, Signal::STOP);
    instance.until("it was replaced", |s| s.control_plane_pid != before.control_plane_pid);
    kill(before.guardian_pid, Signal::STOP);
    holds("it is stopped", || state_of(before.guardian_pid) == Some('T'));
    holds("it goes on", || state_of(before.guardian_pid) != Some('T'));
    let after = instance.all_ready();
    assert_eq!(pids(&before)[2..], pids(&after)[2..]);
    instance.assert_no_zombies();
    instance.down();
}
