//! The command line against an instance that runs: exit statuses, and that it needs nothing but the control plane.

use grace_core::status::{ComponentState, Status};
use rustix::process::Signal;

use crate::instance::{Instance, component, kill};

#[test]
fn a_second_up_is_refused_with_the_pid_and_every_exit_status_is_as_documented() {
    let instance = Instance::of("  web: {command: [PUPPET, wait]}\n");
    let ran = instance.grace(&["up", "--check", "--manifest", "grace.yaml"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    for name in ["grace.yaml is valid", "message_bus", "health_monitor", "web"] {
        assert!(ran.out.contains(name), "{ran}");
    }
    assert!(!instance.data().exists(), "a check starts nothing");
    for command in [&["status"][..], &["down"], &["restart", "web"], &["pause", "web"]] {
        let ran = instance.grace(command);
        assert_eq!(ran.code, Some(3), "{ran}");
        assert!(ran.err.contains("error[not_running]"), "{ran}");
    }

    instance.up();
    let before = instance.status();
    let ran = instance.try_up(&[]);
    assert_eq!(ran.code, Some(1), "{ran}");
    let text = format!("(guardian pid {})", before.guardian_pid);
    assert!(ran.err.contains("error[already_running]") && ran.err.contains(&text), "{ran}");
    assert_eq!(pids(&instance.status()), pids(&before));

    for (command, code) in [
        (&["status"][..], 0),
        (&["logs", "web"], 0),
        (&["resume", "web"], 1),
        (&["restart", "nobody"], 2),
        (&["logs", "nobody"], 2),
        (&["up", "--manifest", "missing.yaml"], 2),
        (&["nonsense"], 2),
    ] {
        let ran = instance.grace(command);
        assert_eq!(ran.code, Some(code), "{command:?}: {ran}");
    }
    instance.down();
    assert_eq!(instance.grace(&["down"]).code, Some(3));
}

fn pids(status: &Status) -> Vec<Option<u32>> {
    status.components.iter().map(|c| c.pid).collect()
}

#[test]
fn status_works_with_the_bus_and_every_kernel_stopped() {
    let instance = Instance::of("  web: {command: [PUPPET, say=hello, wait]}\n");
    instance.up();
    let before = instance.status();
    for name in ["message_bus", "immutable_log", "clarity", "health_monitor"] {
        kill(component(&before, name).pid.unwrap(), Signal::STOP);
    }
    let ran = instance.grace(&["status", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let status: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let names: Vec<&str> =
        status["components"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
    for name in ["clarity", "health_monitor", "htm", "immutable_log", "message_bus", "task_worker-1", "web"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    // Orders and logs too.
    assert_eq!(instance.grace(&["pause", "web"]).code, Some(0));
    assert_eq!(instance.component("web").state, ComponentState::Paused);
    assert_eq!(instance.grace(&["resume", "web"]).code, Some(0));
    assert!(instance.grace(&["logs", "web"]).out.ends_with("out hello\n"));
    let ran = instance.grace(&["status"]);
    assert!(ran.code == Some(0) && ran.out.contains("health_monitor"), "{ran}");
    // And it can be stopped like that.
    instance.down();
}
