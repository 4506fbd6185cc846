//! Programs that misbehave: what becomes of them, what is said, and that nobody else suffers.

use std::time::Duration;

use grace_core::{
    status::ComponentState,
    supervisor::{Event, Hang},
};

use crate::instance::{Instance, holds, is, state_of, until};

#[test]
fn programs_that_cannot_run_are_given_up_on_with_the_reason() {
    let instance = Instance::of(
        "
  nowhere: {command: [/no/such/program], availability: {backoff: 10ms}}
  not_in_path: {command: [no-such-program], availability: {backoff: 10ms}}
  not_executable: {command: [FOLDER/grace.yaml], availability: {backoff: 10ms}}
  no_folder: {command: [PUPPET, wait], working_dir: FOLDER/missing, availability: {backoff: 10ms}}
  ends_at_once: {command: [PUPPET, complain=cannot find my database, exit=4], availability: {backoff: {initial: 10ms}}}
  never_ready:
    command: [PUPPET, wait]
    readiness_probe: {exec: {command: [sh, -c, 'echo not yet; exit 1']}, period: 20ms}
    start_timeout: 200ms
    availability: {backoff: 10ms}
  good: {command: [PUPPET, wait]}
",
    );
    let ran = instance.try_up(&[]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.err.contains("error[not_ready]"), "{ran}");
    assert!(ran.out.contains("| ") && ran.out.contains("cannot find my database"), "{ran}");
    for (name, reason) in [
        ("nowhere", "/no/such/program does not exist"),
        ("not_in_path", "`no-such-program` is in no folder of PATH"),
        ("not_executable", "grace.yaml is not executable"),
        ("no_folder", "missing does not exist"),
        ("ends_at_once", "exited with status 4"),
        ("never_ready", "was ended by SIGKILL"),
    ] {
        assert!(ran.err.contains(name), "{name}: {ran}");
        let c = instance.until_component(name, "is given up on", |c| is(c, ComponentState::Failed));
        let message = c.message.clone().unwrap_or_default();
        assert!(message.contains(reason) && message.contains("3 restarts in 60.0 s are used up"), "{c:?}");
        assert_eq!((c.pid, c.restarts), (None, 3));
    }
    assert!(!ran.err.contains("good"), "{ran}");
    let good = instance.component("good");
    assert_eq!((good.state, good.restarts), (ComponentState::Ready, 0));
    // The second and third restart of one that ends at once wait, each longer than the one before.
    let delays = instance.recorded(3, |event| match event {
        Event::RestartScheduled { component, delay, .. } if component == "ends_at_once" => Some(*delay),
        _ => None,
    });
    assert!(
        delays[0].0 == Duration::ZERO && delays[1].0 > Duration::ZERO && delays[2].0 > delays[1].0,
        "{delays:?}"
    );
    let hangs = instance.recorded(4, |event| match event {
        Event::HangDetected { component, hang: Hang::StartTimeout { reason }, .. } => {
            Some((component.clone(), reason.clone()))
        }
        _ => None,
    });
    assert!(
        hangs.iter().all(|((name, reason), _)| name == "never_ready" && reason.contains("not yet")),
        "{hangs:?}"
    );
    instance.assert_no_zombies();
    instance.down();
}

#[test]
fn a_daemon_that_a_program_lets_go_is_ended_and_it_is_said() {
    let instance = Instance::of(
        "
  forks: {command: [PUPPET, daemon=wait, until=FOLDER/end], availability: {restart: 'no'}}
  shares: {command: [PUPPET, child=wait, until=FOLDER/end], availability: {restart: 'no'}}
",
    );
    instance.up();
    let pid_of = |name: &str| -> u32 {
        until("it says its child's pid", || instance.printed(name).first().and_then(|line| line.parse().ok()))
    };
    let (daemon, child) = (pid_of("forks"), pid_of("shares"));
    holds("both run", || state_of(daemon).is_some() && state_of(child).is_some());
    std::fs::File::create(instance.file("end")).unwrap();
    for pid in [daemon, child] {
        holds("it was ended", || state_of(pid).is_none_or(|state| state == 'Z'));
    }
    let status = instance.until("it is said", |status| !status.warnings.is_empty());
    let said = "`forks` ended and left 1 processes behind, which were ended: run it in the foreground";
    assert_eq!(status.warnings, [said]);
    instance.assert_no_zombies();
    instance.down();
}

#[test]
fn ten_megabytes_on_one_line_are_kept_in_pieces_and_hold_nobody_up() {
    const BYTES: usize = 10_000_000;
    let instance = Instance::of(&format!(
        "
  flood:
    command: [PUPPET, 'flood={BYTES}', say=after it, wait]
    log: {{max_size: 4MiB, max_files: 9}}
  other: {{command: [PUPPET, count=10]}}
"
    ));
    instance.up();
    holds("the line after it is captured", || {
        instance.printed("flood").last().is_some_and(|l| l == "after it")
    });
    let log = instance.place().log("flood");
    let files = (0..9).map(|n| crate::instance::rotated(&log, n)).filter(|path| path.exists());
    let captured: usize = files
        .map(|path| std::fs::read(path).unwrap())
        .map(|bytes| {
            bytes
                .split(|b| *b == b'\n')
                .map(|line| line.iter().rev().filter(|b| **b == b'x').count())
                .sum::<usize>()
        })
        .sum();
    assert_eq!(captured, BYTES);
    let status = instance.all_ready();
    assert!(status.components.iter().all(|c| c.restarts == 0), "{status:#?}");
    let before = instance.printed("other").len();
    holds("others go on", || instance.printed("other").len() > before);
    let ran = instance.grace(&["logs", "flood", "-n", "1"]);
    assert!(ran.out.ends_with("out after it\n"), "{ran}");
    instance.down();
}
