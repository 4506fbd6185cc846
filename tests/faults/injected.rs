//! Faults injected on purpose, by the injector as a process of its own, into a running instance: what they do, what Grace makes of
//! them, and that nothing of them is left, whoever dies.

use std::time::Duration;

use grace_core::{
    control::{Answer, Request},
    status::ComponentStatus,
    supervisor::{Event, Hang},
};
use grace_faults::{
    BiteProof, Fault, FaultOrder, ProcessTarget, RefusalCode, UndoCause, UndoProof,
    client::{ClientError, Ended, Injector},
    journal::folder,
};
use grace_types::{
    chance::{Entropy as _, OsEntropy},
    id::FaultId,
};
use rustix::process::{Pid, Signal};

use crate::instance::{Instance, holds, kill, state_of};

const PATIENCE: Duration = Duration::from_secs(30);

/// A program that beats every 50 ms and need not for a minute.
const BEATING: &str = "
  beating:
    command: [PUPPET, notify=READY=1, beat=50]
    readiness_probe: {notify: true}
    watchdog: {interval: 60s}
";

fn injector(instance: &Instance) -> Injector {
    Injector::start(Instance::program(), instance.data()).unwrap()
}

fn target(instance: &Instance, name: &str) -> ProcessTarget {
    ProcessTarget::now(name, instance.component(name).pid.unwrap()).unwrap()
}

fn order(fault: Fault) -> FaultOrder {
    FaultOrder::new(FaultId::from_bits(OsEntropy.next_u128()), fault, Duration::from_secs(60))
}

fn mute(instance: &Instance, name: &str) -> FaultOrder {
    order(Fault::Mute { target: target(instance, name) })
}

fn stop(instance: &Instance, name: &str) -> FaultOrder {
    order(Fault::Stop { target: target(instance, name) })
}

fn records(instance: &Instance) -> usize {
    std::fs::read_dir(folder(instance.data())).map_or(0, Iterator::count)
}

/// That a component has another process than this one, is ready, heard and well, and that nothing of a fault is left.
fn assert_replaced(instance: &Instance, name: &str, before: &ProcessTarget) {
    instance.until_component(name, "is replaced", |c| {
        c.ready && c.pid.is_some_and(|pid| pid != before.pid) && c.muted.is_none()
    });
    let status = instance.all_ready();
    assert_eq!(status.warnings, Vec::<String>::new());
    assert_eq!(records(instance), 0);
}

fn cause(ended: Ended) -> UndoCause {
    match ended {
        Ended::Undone { cause, .. } => cause,
        Ended::Failed(failed) => panic!("{failed:?}"),
    }
}

/// When a component was muted and heard again, and why.
fn mutes(instance: &Instance, name: &str, at_least: usize) -> Vec<(&'static str, String)> {
    instance.recorded(at_least, |event| match event {
        Event::LifeLineMuted { component, .. } if component == name => Some("muted"),
        Event::LifeLineUnmuted { component, .. } if component == name => Some("heard"),
        _ => None,
    })
}

#[test]
fn a_muted_kernel_is_taken_for_hung_and_the_mute_ends_with_it() {
    let instance = Instance::of("");
    instance.up();
    let mut injector = injector(&instance);
    let order = mute(&instance, "health_monitor");
    let bitten = injector.inject(&order).unwrap();
    assert!(
        matches!(bitten.proof, BiteProof::Muted { dropped: 1.., heartbeat_age_ms: Some(_) }),
        "{bitten:?}"
    );
    assert_eq!(records(&instance), 1);
    let ended = injector.ended(order.id, PATIENCE).unwrap();
    assert!(
        matches!(ended, Ended::Undone { cause: UndoCause::TargetGone, proof: UndoProof::Gone, .. }),
        "{ended:?}"
    );
    assert_replaced(&instance, "health_monitor", order.fault.target());
    // The watchdog found it, and no later than at the second heartbeat that was missed.
    let kernels = grace_core::control_plane::kernel_specs(Instance::program());
    let spec = kernels.iter().find(|spec| spec.name == "health_monitor").unwrap();
    let found = instance.recorded(1, |event| match event {
        Event::HangDetected { component, hang: Hang::Watchdog { silent }, .. }
            if component == "health_monitor" =>
        {
            Some(*silent)
        }
        _ => None,
    });
    assert!(found[0].0 < 2 * spec.watchdog.unwrap(), "{found:?}");
    let mutes = mutes(&instance, "health_monitor", 2);
    assert!(mutes[0].0 == "muted" && mutes[0].1.contains("for 60.0 s at most"), "{mutes:?}");
    assert!(mutes[1].0 == "heard" && mutes[1].1.contains("has ended"), "{mutes:?}");
    assert!(injector.finish().unwrap().1);
    instance.assert_no_zombies();
    instance.down();
}

#[test]
fn stopped_and_killed_programs_are_found_and_replaced() {
    let instance =
        Instance::of("  stopped: {command: [PUPPET, wait]}\n  killed: {command: [PUPPET, wait]}\n");
    instance.up();
    let mut injector = injector(&instance);
    let own = Pid::from_raw(i32::try_from(injector.pid().unwrap()).unwrap());
    assert_eq!(rustix::process::getsid(own).ok(), own, "out of reach of the terminal");
    let stop = stop(&instance, "stopped");
    let killed = order(Fault::Kill { target: target(&instance, "killed") });
    for order in [&stop, &killed] {
        injector.order(order).unwrap();
    }
    assert_eq!(injector.bitten(&stop).unwrap().proof, BiteProof::Stopped { state: 'T' });
    assert_eq!(injector.bitten(&killed).unwrap().proof, BiteProof::Ended);
    assert_eq!(cause(injector.ended(stop.id, PATIENCE).unwrap()), UndoCause::TargetGone);
    assert_eq!(cause(injector.ended(killed.id, PATIENCE).unwrap()), UndoCause::AtOnce);
    assert_replaced(&instance, "stopped", stop.fault.target());
    assert_replaced(&instance, "killed", killed.fault.target());
    let hangs = instance.recorded(1, |event| match event {
        Event::HangDetected { component, hang: Hang::Stopped, .. } => Some(component.clone()),
        _ => None,
    });
    assert_eq!(hangs[0].0, "stopped");
    assert!(injector.finish().unwrap().1);
    instance.down();
}

#[test]
fn what_an_injector_that_was_killed_left_behind_is_undone_by_the_control_plane() {
    let instance = Instance::of(&format!("{BEATING}  other: {{command: [PUPPET, wait]}}\n"));
    instance.up();
    let mut injector = injector(&instance);
    let (muted, stopped) = (mute(&instance, "beating"), stop(&instance, "other"));
    injector.inject(&muted).unwrap();
    injector.inject(&stopped).unwrap();
    kill(injector.pid().unwrap(), Signal::KILL);
    assert!(matches!(injector.ended(muted.id, PATIENCE), Err(ClientError::Gone)));
    holds("nothing of it is left", || records(&instance) == 0);
    let heard = instance.until_component("beating", "is heard", |c| c.ready && c.muted.is_none());
    assert_eq!(
        (heard.pid, heard.restarts),
        (Some(muted.fault.target().pid), 0),
        "and nobody took it for hung"
    );
    // Whether it was let go on first, or found to be stopped.
    instance.until_component("other", "goes on", |c| c.ready && c.pid.and_then(state_of) != Some('T'));
    let undone = instance.recorded(2, |event| match event {
        Event::FaultUndone { fault, .. } => Some(*fault),
        _ => None,
    });
    for order in [&muted, &stopped] {
        let (_, why) = undone.iter().find(|(fault, _)| *fault == order.id).unwrap();
        assert!(why.starts_with("its injector has ended"), "{undone:?}");
    }
    instance.until("it is said", |status| status.warnings.iter().any(|w| w.contains("was undone here")));
    drop(injector);
    instance.down();
}

#[test]
fn a_runner_that_dies_leaves_nothing_behind() {
    let instance = Instance::of(BEATING);
    instance.up();
    let mut injector = injector(&instance);
    let pid = injector.pid().unwrap();
    let order = mute(&instance, "beating");
    injector.inject(&order).unwrap();
    // All that the injector sees of its runner's end is that the pipes are closed.
    drop(injector);
    holds("the injector has ended", || state_of(pid).is_none_or(|state| state == 'Z'));
    let after = instance.component("beating");
    assert_eq!((after.muted, after.restarts, after.pid), (None, 0, Some(order.fault.target().pid)));
    assert_eq!(records(&instance), 0);
    let mutes = mutes(&instance, "beating", 2);
    assert!(mutes[1].1.contains("was undone"), "{mutes:?}");
    instance.down();
}

#[test]
fn a_mute_outlives_the_control_plane_and_is_undone_all_the_same() {
    let instance = Instance::of(BEATING);
    instance.up();
    let mut injector = injector(&instance);
    let order = mute(&instance, "beating");
    injector.inject(&order).unwrap();
    let before = instance.status();
    kill(before.control_plane_pid, Signal::KILL);
    instance.until("another control plane keeps it muted", |status| {
        let beating = crate::instance::component(status, "beating");
        status.control_plane_pid != before.control_plane_pid && beating.muted.is_some_and(|m| m.dropped > 0)
    });
    assert_eq!(cause(injector.undo(order.id).unwrap()), UndoCause::Asked);
    let after = instance.component("beating");
    assert_eq!((after.muted, after.pid), (None, Some(order.fault.target().pid)));
    assert!(injector.finish().unwrap().1);
    instance.down();
}

#[test]
fn a_mute_is_bounded_shown_and_over_by_itself() {
    let instance = Instance::of(BEATING);
    instance.up();
    let beating = instance.component("beating");
    let pid = beating.pid.unwrap();
    let mute = |name: &str, pid, start_ticks, for_ms| {
        instance.ask(&Request::Mute { name: name.to_owned(), pid, start_ticks, for_ms }).unwrap()
    };
    for (answer, expected) in [
        (mute("beating", pid, None, 0), "bad_request"),
        (mute("beating", pid, None, 600_001), "bad_request"),
        (mute("beating", pid, None, u64::MAX), "bad_request"),
        (mute("beating", pid + 1, None, 1_000), "wrong_state"),
        (mute("beating", pid, Some(1), 1_000), "wrong_state"),
        (mute("nobody", pid, None, 1_000), "not_found"),
    ] {
        assert!(matches!(&answer, Answer::Refused { code, .. } if code == expected), "{answer:?}");
    }
    assert!(matches!(mute("beating", pid, None, 1_500), Answer::Done { .. }));
    assert!(
        matches!(mute("beating", pid, None, 1_500), Answer::Refused { code, .. } if code == "wrong_state")
    );
    let shown = |c: &ComponentStatus| c.muted.is_some_and(|m| m.dropped > 0 && m.seconds_left <= 1.5);
    let muted = instance.until_component("beating", "is shown as muted", shown);
    assert!(muted.message.unwrap().starts_with("an injected fault mutes its life line for "));
    instance.until_component("beating", "is heard again", |c| c.muted.is_none());
    let unmute = Request::Unmute { name: "beating".to_owned(), pid };
    assert!(matches!(instance.ask(&unmute), Some(Answer::Done { .. })), "which it is already");
    assert!(mutes(&instance, "beating", 2)[1].1.contains("is over"));
    instance.down();
}

#[test]
fn grace_itself_and_what_is_not_its_own_are_not_touched() {
    let instance = Instance::of("  web: {command: [PUPPET, wait]}\n");
    instance.up();
    let mut injector = injector(&instance);
    let status = instance.status();
    let mut strangers = vec![
        ProcessTarget::now("control_plane", status.control_plane_pid).unwrap(),
        ProcessTarget::now("web", status.guardian_pid).unwrap(),
        target(&instance, "message_bus"),
        ProcessTarget::now("web", std::os::unix::process::parent_id()).unwrap(),
    ];
    strangers[2].component = "web".to_owned();
    for target in strangers {
        let refused = injector.inject(&order(Fault::Kill { target }));
        assert!(
            matches!(refused, Err(ClientError::Refused { code: RefusalCode::Foreign, .. })),
            "{refused:?}"
        );
    }
    injector.spare(vec!["web".to_owned()], Vec::new()).unwrap();
    let spared = injector.inject(&stop(&instance, "web"));
    assert!(matches!(spared, Err(ClientError::Refused { code: RefusalCode::Spared, .. })), "{spared:?}");
    assert!(injector.finish().unwrap().1);
    assert!(instance.all_ready().components.iter().all(|c| c.restarts == 0));
    instance.down();
}
