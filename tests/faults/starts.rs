//! Kernels killed while they start, at every point of it that chance can find.

use std::{fs::File, time::Duration};

use rustix::process::Signal;

use crate::instance::{Instance, component, kill, until};

/// Twenty boots, and in each the bus, the monitor or both are killed a little later after they appeared than in the boot
/// before: from before exec to after being ready.
#[test]
fn a_kernel_killed_at_any_point_of_its_start_is_started_again() {
    let instance = Instance::of("  web: {command: [PUPPET, wait]}\n");
    let mut restarts = 0;
    for round in 0u64..20 {
        let victims: &[&str] = match round % 3 {
            0 => &["message_bus"],
            1 => &["health_monitor"],
            _ => &["message_bus", "health_monitor"],
        };
        let mut starting = instance.command(&["up", "--detach", "--manifest", "grace.yaml"]);
        let output = File::create(instance.file("up")).unwrap();
        let errors = output.try_clone().unwrap();
        let mut starting = starting.stdout(output).stderr(errors).spawn().unwrap();
        for victim in victims {
            let pid = until("it has a process", || component(&instance.try_status()?, victim).pid);
            std::thread::park_timeout(Duration::from_millis(round * 3));
            kill(pid, Signal::KILL);
        }
        let code = starting.wait().unwrap().code();
        let said = std::fs::read_to_string(instance.file("up")).unwrap();
        // 0 unless it was ready before it was killed.
        assert_eq!(code, Some(0), "round {round}: {said}");
        let status = instance.until("each victim was restarted and all is ready", |status| {
            status.components.iter().all(|c| c.ready)
                && victims.iter().all(|victim| component(status, victim).restarts > 0)
        });
        assert_eq!(component(&status, "web").restarts, 0);
        restarts += status.components.iter().map(|c| c.restarts).sum::<u32>();
        instance.down();
    }
    assert!(restarts >= 26, "each kill bit: {restarts}");
}
