//! Liveness and readiness while parts of the instance are stopped.

use rustix::process::Signal;

use crate::{
    client::{get, try_get},
    instance::{Instance, holds, kill},
};

#[test]
fn ready_means_that_grace_s_own_parts_are() {
    let instance = Instance::of("  lame: {command: [\"false\"], availability: {restart: no}}\n");
    let _ = instance.try_up(&[]);
    holds("it is ready, though a program of the user's is not", || {
        try_get(&instance, "/readyz").is_some_and(|answer| answer.status == 200)
    });
    let answer = get(&instance, "/readyz");
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    let verbose = get(&instance, "/healthz?verbose").body;
    let names = ["message_bus", "immutable_log", "clarity", "health_monitor", "control_plane"];
    assert!(names.iter().all(|name| verbose.contains(&format!("[+]{name} ok\n"))), "{verbose}");
    assert!(verbose.contains("[ ]lame: "), "{verbose}");

    instance.grace(&["pause", "clarity"]);
    holds("a paused kernel is seen", || get(&instance, "/readyz").status == 503);
    let answer = get(&instance, "/readyz");
    assert!(answer.body.contains("[-]clarity: paused"), "{answer:?}");
    assert_eq!(get(&instance, "/livez").status, 200, "liveness looks at nothing else");
    instance.grace(&["resume", "clarity"]);
    holds("it is ready again", || get(&instance, "/readyz").status == 200);

    // With the broker stopped there is no bus, and the answer comes all the same.
    let bus = instance.component("message_bus").pid.unwrap();
    instance.grace(&["pause", "message_bus"]);
    holds("a bus that hangs is seen", || get(&instance, "/readyz").status == 503);
    assert!(get(&instance, "/readyz").body.contains("[-]message_bus: paused"));
    instance.grace(&["resume", "message_bus"]);
    holds("it is ready again", || get(&instance, "/readyz").status == 200);
    assert_eq!(instance.component("message_bus").pid, Some(bus));

    // A control plane that hangs.
    let control_plane = instance.status().control_plane_pid;
    kill(control_plane, Signal::STOP);
    holds("a control plane that hangs is seen", || get(&instance, "/readyz").status == 503);
    assert_eq!(get(&instance, "/livez").body, "ok\n");
    kill(control_plane, Signal::CONT);
    holds("it is ready again", || get(&instance, "/readyz").status == 200);
    instance.down();
}
