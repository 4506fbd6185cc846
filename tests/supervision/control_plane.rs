//! Death of the control plane: nothing that lived is restarted, nothing is missed, nothing is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    time::Duration,
};

use grace_core::{
    status::{ComponentState, Status},
    supervisor::{Event, Exit},
};
use grace_types::time::{Clock as _, SystemClock};
use rustix::process::Signal;

use crate::instance::{Instance, component, holds, kill, state_of, until};

/// Kills the control plane; the status of the next one.
fn replace(instance: &Instance) -> Status {
    let before = instance.status();
    kill(before.control_plane_pid, Signal::KILL);
    instance.until("a new control plane answers", |s| s.control_plane_pid != before.control_plane_pid)
}

fn identities(status: &Status) -> Vec<(String, Option<u32>, u32)> {
    status.components.iter().map(|c| (c.name.clone(), c.pid, c.restarts)).collect()
}

#[test]
fn a_dead_control_plane_is_replaced_and_nothing_that_lives_is_restarted() {
    let instance = Instance::of(
        "
  counter: {command: [PUPPET, count=1]}
  beating:
    command: [PUPPET, notify=READY=1, beat=100]
    readiness_probe: {notify: true}
    watchdog: {interval: 1s}
  starting:
    command: [PUPPET, until=FOLDER/ready, notify=READY=1, wait]
    readiness_probe: {notify: true}
  once: {command: [PUPPET, exit=0], availability: {restart: 'no'}}
  paused: {command: [PUPPET, wait]}
  ends: {command: [PUPPET, until=FOLDER/end, exit=7], availability: {restart: on_failure}}
",
    );
    assert_eq!(instance.try_up(&["--timeout", "0.5"]).code, Some(1));
    for name in ["counter", "beating", "ends", "health_monitor", "paused"] {
        instance.ready(name);
    }
    assert_eq!(instance.grace(&["pause", "paused"]).code, Some(0));
    let before = instance.until_component("once", "has ended", |c| c.state == ComponentState::Stopped);
    assert_eq!(before.restarts, 0);
    let before = instance.status();
    let after = replace(&instance);
    assert_eq!(after.control_plane_restarts, 1);
    assert_eq!(identities(&before), identities(&after));
    for (b, a) in before.components.iter().zip(&after.components) {
        assert_eq!((b.state, b.ready), (a.state, a.ready), "{}", b.name);
    }
    // What was under way goes on: the watchdog, the start, the pause.
    File::create(instance.file("ready")).unwrap();
    instance.ready("starting");
    let beating = component(&after, "beating").pid;
    kill(beating.unwrap(), Signal::STOP);
    instance.until_component("beating", "was restarted", |c| c.ready && c.pid != beating);
    assert_eq!(instance.grace(&["resume", "paused"]).code, Some(0));
    assert_eq!(instance.ready("paused").restarts, 0);

    // Output goes on being captured, once and in order. What the control plane had read and not yet written went with it, and nothing else: the
    // numbers have one gap at most.
    let last = instance.printed("counter").len();
    holds("more is captured", || instance.printed("counter").len() > last + 10);
    let numbers: Vec<u64> = instance.printed("counter").iter().map(|l| l.parse().unwrap()).collect();
    assert!(numbers[0] == 1 && numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    let gaps = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1);
    assert!(gaps.count() <= 1, "{numbers:?}");

    // An adopted process that ends is seen with its real status.
    File::create(instance.file("end")).unwrap();
    instance.until_component("ends", "was restarted", |c| c.restarts > 0);
    assert_eq!(first_exit(&instance, "ends"), Exit::Status(7));
    std::fs::remove_file(instance.file("end")).unwrap();
    instance.assert_no_zombies();
    instance.down();
}

fn first_exit(instance: &Instance, name: &str) -> Exit {
    let exits = instance.recorded(1, |event| match event {
        Event::Exited { component, exit, .. } if component == name => Some(*exit),
        _ => None,
    });
    exits[0].0
}

/// The guardian is stopped for the moment, so that there is no control plane when the program ends.
#[test]
fn a_program_that_ends_without_a_control_plane_is_noticed_with_its_status() {
    let instance = Instance::of(
        "
  ends: {command: [PUPPET, until=FOLDER/end, exit=9], availability: {restart: 'no'}}
  killed: {command: [PUPPET, wait]}
",
    );
    instance.up();
    let before = instance.status();
    let pid = |name: &str| component(&before, name).pid.unwrap();
    kill(before.guardian_pid, Signal::STOP);
    kill(before.control_plane_pid, Signal::KILL);
    holds("the control plane is dead", || state_of(before.control_plane_pid).is_none_or(|s| s == 'Z'));
    File::create(instance.file("end")).unwrap();
    kill(pid("killed"), Signal::TERM);
    for name in ["ends", "killed"] {
        holds("it has ended", || state_of(pid(name)).is_none_or(|s| s == 'Z'));
    }
    kill(before.guardian_pid, Signal::CONT);
    instance.until_component("ends", "has ended", |c| c.state == ComponentState::Stopped);
    instance.until_component("killed", "was restarted", |c| c.ready && c.restarts == 1);
    assert_eq!(first_exit(&instance, "ends"), Exit::Status(9));
    assert_eq!(first_exit(&instance, "killed"), Exit::Signal(15));
    instance.assert_no_zombies();
    instance.down();
}

#[test]
fn a_control_plane_that_dies_over_and_over_under_dying_programs_loses_none() {
    let crash = "command: [sh, -c, 'sleep 0.05; exit 1'], availability: {intensity: 10000, period: 1s, backoff: 10ms}";
    let instance = Instance::of(&format!(
        "
  steady: {{command: [PUPPET, count=20]}}
  crash_a: {{{crash}}}
  crash_b: {{{crash}}}
  crash_c: {{{crash}}}
"
    ));
    let _ = instance.try_up(&["--timeout", "1"]);
    let before = instance.ready("steady");
    for n in 1..=20 {
        assert_eq!(replace(&instance).control_plane_restarts, n);
        // The guardian waits longer and longer between control planes that die young. Half a dozen is enough of that.
        if n > 6 {
            let sound = SystemClock.now().mono.plus(Duration::from_secs(1));
            holds("the control plane is no longer young", || SystemClock.now().mono >= sound);
        }
    }
    // The crashing ones still are restarted, and each has one process at most.
    let status = instance.status();
    for name in ["crash_a", "crash_b", "crash_c"] {
        let before = component(&status, name).restarts;
        instance.until_component(name, "is restarted still", |c| c.restarts > before);
    }
    let after = instance.component("steady");
    assert_eq!((after.pid, after.restarts), (before.pid, 0));
    instance.assert_no_zombies();
    instance.down();
    // No decision is missing, and no component ever had two processes. One that was written twice counts once.
    let journal = instance.journal();
    let entries: BTreeMap<u64, &Event> =
        journal.entries.iter().map(|e| (e.number, e.record.event())).collect();
    assert!(entries.keys().zip(1..).all(|(found, n)| *found == n), "{:?}", entries.keys());
    let mut running = BTreeSet::new();
    for event in entries.values() {
        let (once, what, component) = match event {
            Event::Started { component, .. } => (running.insert(component), "started", component),
            Event::Exited { component, .. } => (running.remove(component), "ended", component),
            _ => continue,
        };
        let story: Vec<_> = if once {
            Vec::new()
        } else {
            entries.values().filter(|e| e.component() == Some(component)).collect()
        };
        assert!(
            once,
            "{component} was {what} twice in a row: {:#?}",
            story.iter().rev().take(8).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_stopped_control_plane_is_replaced() {
    let instance = Instance::of("  web: {command: [PUPPET, wait]}\n");
    instance.up();
    let before = instance.status();
    kill(before.control_plane_pid, Signal::STOP);
    let after = until("another control plane answers", || {
        instance.try_status().filter(|s| s.control_plane_pid != before.control_plane_pid)
    });
    assert_eq!(identities(&before), identities(&after));
    instance.assert_no_zombies();
    instance.down();
}
