//! `grace up` and `grace down` with a real guardian and real programs, as the person at the terminal sees them. What the
//! control plane does with faults is tested elsewhere.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::binary::{command, grace};

/// A folder with a manifest; whatever runs on it is stopped at the end of the test.
struct Place(tempfile::TempDir);

impl Place {
    fn with(processes: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::write(place.path().join("grace.yaml"), format!("bus: {{port: 0}}\nprocesses: {processes}\n"))
            .unwrap();
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn grace(&self, args: &[&str]) -> super::binary::Ran {
        grace(self.path(), &[&["--data", "data"], args].concat())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.grace(&["down"]);
    }
}

#[test]
fn detached_until_down() {
    let place = Place::with("{web: {command: [sleep, '1000'], shutdown: {timeout: 5s}}}");
    let ran = place.grace(&["up", "--detach"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    for name in ["message_bus", "health_monitor", "web"] {
        assert!(ran.stdout.contains(&format!("✓ {name} ready after ")), "{}", ran.stdout);
    }
    let again = place.grace(&["up", "--detach"]);
    assert!(again.code == Some(1) && again.stderr.starts_with("error[already_running]"), "{again:?}");
    let status = place.grace(&["--json", "status"]);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    let guardian = format!("(guardian pid {})", status["guardian_pid"]);
    assert!(again.stderr.contains(&guardian), "{again:?}");
    let down = place.grace(&["down"]);
    assert!(down.code == Some(0) && down.stdout.ends_with("■ everything has stopped\n"), "{down:?}");
    assert_eq!(place.grace(&["status"]).code, Some(3));
}

#[test]
fn what_does_not_get_ready_is_named_with_its_last_words() {
    let place = Place::with(
        "{crash: {command: [sh, -c, 'echo bad config >&2; exit 3'], availability: {restart: on_failure, intensity: 1}},
          after: {command: [sleep, '1000'], depends_on: {crash: {condition: completed_successfully}}}}",
    );
    let ran = place.grace(&["up", "--detach", "--timeout", "30"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stdout.contains("the last output of crash:\n") && ran.stdout.contains("err bad config\n"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("after (waits for crash), crash (failed: "), "{ran:?}");
    assert_eq!(place.grace(&["status"]).code, Some(0), "what runs goes on running");
}

#[test]
fn waiting_for_readiness_has_an_end() {
    let place =
        Place::with("{never: {command: [sleep, '1000'], readiness_probe: {exec: {command: ['false']}}}}");
    let ran = place.grace(&["up", "--detach", "--timeout", "0.5"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("never (still starting"), "{ran:?}");
}

#[test]
fn the_foreground_stays_until_a_signal_stops_everything() {
    let place = Place::with("{web: {command: [sleep, '1000']}}");
    let mut front = command(place.path(), &["--data", "data", "up"]).stdout(Stdio::piped()).spawn().unwrap();
    let seen = lines_until(&mut front, "everything is ready");
    kill_process(Pid::from_child(&front), Signal::INT).unwrap();
    let rest = lines_until(&mut front, "everything has stopped");
    assert_eq!(front.wait().unwrap().code(), Some(0), "{seen:?} {rest:?}");
    assert_eq!(place.grace(&["status"]).code, Some(3));
}

#[test]
fn the_foreground_ends_when_another_stops_the_instance() {
    let place = Place::with("{web: {command: [sleep, '1000']}}");
    let mut front = command(place.path(), &["--data", "data", "up"]).stdout(Stdio::piped()).spawn().unwrap();
    lines_until(&mut front, "everything is ready");
    assert_eq!(place.grace(&["down"]).code, Some(0));
    lines_until(&mut front, "everything has stopped");
    assert_eq!(front.wait().unwrap().code(), Some(0));
}

/// The lines up to one with this text. A front that never prints it ends with its instance, and then this fails.
fn lines_until(front: &mut Child, text: &str) -> Vec<String> {
    let stdout = front.stdout.take().unwrap();
    let mut reader = BufReader::with_capacity(1, stdout);
    let mut seen = Vec::new();
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "no `{text}` in {seen:?}");
        seen.push(line);
        if seen.last().is_some_and(|line| line.contains(text)) {
            // With a buffer of one byte nothing beyond the line was taken.
            front.stdout = Some(reader.into_inner());
            return seen;
        }
    }
}
