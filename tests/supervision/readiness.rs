//! Boot order and real readiness: each way of becoming ready, and who waits for whom.

use std::fs::File;

use grace_core::status::ComponentState;

use crate::instance::{Instance, component, free_port};

/// Each process becomes ready in its own way, and only when the test opens its gate.
#[test]
fn each_way_of_becoming_ready_holds_back_who_depends_on_it() {
    let (http, tcp, startup) = (free_port(), free_port(), free_port());
    let instance = Instance::of(&format!(
        "
  notify:
    command: [PUPPET, until=FOLDER/notify, notify=READY=1, wait]
    readiness_probe: {{notify: true}}
  http:
    command: [PUPPET, 'http={http}:FOLDER/http', wait]
    readiness_probe: {{http_get: {{port: {http}}}, period: 50ms}}
  tcp:
    command: [PUPPET, until=FOLDER/tcp, tcp={tcp}, wait]
    readiness_probe: {{tcp: {{port: {tcp}}}, period: 50ms}}
  exec:
    command: [PUPPET, wait]
    readiness_probe: {{exec: {{command: [test, -e, FOLDER/exec]}}, period: 50ms}}
  line:
    command: [PUPPET, say=not listening, until=FOLDER/line, say=listening on 80, wait]
    ready_log_line: '^listening on [0-9]+'
  startup:
    command: [PUPPET, until=FOLDER/startup, tcp={startup}, wait]
    startup_probe: {{tcp: {{port: {startup}}}, period: 50ms}}
  plain:
    command: [PUPPET, wait]
"
    ));
    let kinds = ["notify", "http", "tcp", "exec", "line", "startup"];
    let mut manifest = std::fs::read_to_string(instance.file("grace.yaml")).unwrap();
    for kind in kinds {
        manifest += &format!("  after_{kind}: {{command: [PUPPET, wait], depends_on: [{kind}]}}\n");
    }
    instance.write_manifest(&manifest);

    // Everything but the gated ones gets ready; `up --detach` names what is not.
    let ran = instance.try_up(&["--timeout", "1.5"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.err.contains("error[not_ready]") && ran.err.contains("http (still "), "{ran}");
    instance.ready("plain");
    let status = instance.status();
    for kind in kinds {
        let (gated, after) = (component(&status, kind), component(&status, &format!("after_{kind}")));
        assert_eq!((gated.state, gated.ready, gated.pid.is_some()), (ComponentState::Starting, false, true));
        assert_eq!((after.state, after.pid), (ComponentState::Starting, None));
        assert_eq!(after.message.as_deref(), Some(format!("waiting for {kind} (ready)").as_str()));
    }
    // One gate at a time: what depends on another goes on waiting.
    for (n, kind) in kinds.into_iter().enumerate() {
        File::create(instance.file(kind)).unwrap();
        instance.ready(&format!("after_{kind}"));
        for later in &kinds[n + 1..] {
            assert!(!instance.component(later).ready, "{later} before its gate");
        }
    }
    let status = instance.all_ready();
    assert!(status.components.iter().all(|c| c.restarts == 0), "{status:#?}");
    instance.assert_no_zombies();
    instance.down();
}

#[test]
fn a_setup_that_succeeds_lets_others_start_and_one_that_fails_does_not() {
    let instance = Instance::of(
        "
  good: {command: [PUPPET, until=FOLDER/good], availability: {restart: 'no'}}
  bad: {command: [PUPPET, exit=3], availability: {restart: 'no'}}
  after_good: {command: [PUPPET, wait], depends_on: {good: {condition: completed_successfully}}}
  after_bad: {command: [PUPPET, wait], depends_on: {bad: {condition: completed_successfully}}}
  after_bad_end: {command: [PUPPET, wait], depends_on: {bad: {condition: completed}}}
",
    );
    let mut starting = instance.command(&["up", "--detach", "--timeout", "4", "--manifest", "grace.yaml"]);
    let starting = starting.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let starting = starting.spawn().unwrap();
    instance.ready("after_bad_end");
    assert_eq!(instance.component("after_good").pid, None);
    File::create(instance.file("good")).unwrap();
    instance.ready("after_good");
    let ran = starting.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{err}");
    assert!(err.contains("after_bad ("), "{err}");
    let after_bad = instance.component("after_bad");
    let waits = "waiting for bad (completed successfully)";
    assert_eq!((after_bad.pid, after_bad.message.as_deref()), (None, Some(waits)));
    assert_eq!(instance.component("bad").state, ComponentState::Stopped);
    instance.down();
}
