//! Runs `cargo test`, passes its output on, and counts what the test binaries report.
//!
//! The pipe is read until its end, so a program that a test left running, and that still holds the output, would
//! hang us. That is a leak in a test: it is waited for a little and then reported as a failure.

use std::{
    io::{BufRead as _, BufReader, Write},
    process::{ChildStdout, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::report::Outcome;

/// Time for the last line to arrive after cargo has ended. What is still there then is not about to end.
const GRACE_AFTER_EXIT: Duration = Duration::from_secs(10);

enum Message {
    Line(String),
    End,
    Exit(Result<bool, String>),
}

/// Runs `command`, which is a `cargo test`, and passes its standard output on to `out`.
pub(crate) fn run(mut command: Command, out: &mut dyn Write) -> Outcome {
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(e) => return Outcome::of_faults(vec![format!("cargo cannot be started: {e}")]),
    };
    let (send, receive) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        let send = send.clone();
        thread::spawn(move || read_lines(stdout, &send));
    }
    thread::spawn(move || {
        let status = child.wait().map(|s| s.success()).map_err(|e| format!("cargo is lost: {e}"));
        let _ = send.send(Message::Exit(status));
    });
    collect(&receive, out)
}

fn read_lines(stdout: ChildStdout, send: &mpsc::Sender<Message>) {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    // Bytes, not text: a test may print anything.
    while matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
        if send.send(Message::Line(String::from_utf8_lossy(&line).into_owned())).is_err() {
            return;
        }
        line.clear();
    }
    let _ = send.send(Message::End);
}

fn collect(receive: &mpsc::Receiver<Message>, out: &mut dyn Write) -> Outcome {
    let mut outcome = Outcome::default();
    let (mut exit, mut ended) = (None, false);
    while exit.is_none() || !ended {
        let message = match exit {
            None => receive.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => receive.recv_timeout(GRACE_AFTER_EXIT),
        };
        match message {
            Ok(Message::Line(line)) => {
                // Nothing is lost if nobody reads us any more.
                let _ = out.write_all(line.as_bytes());
                count(&line, &mut outcome);
            }
            Ok(Message::End) => ended = true,
            Ok(Message::Exit(status)) => exit = Some(status),
            Err(RecvTimeoutError::Timeout) => {
                outcome.failed += 1;
                outcome.faults.push("a program started by a test still runs and holds its output".into());
                break;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    match exit {
        Some(Ok(true)) => {}
        Some(Err(e)) => outcome.faults.push(e),
        // A build error or a crash: no test is named.
        _ if outcome.failed == 0 => outcome.faults.push("cargo test failed before a test could".into()),
        _ => {}
    }
    if !outcome.faults.is_empty() {
        outcome.failed = outcome.failed.max(1);
    }
    outcome
}

/// Counts one line of libtest's output.
fn count(line: &str, outcome: &mut Outcome) {
    let line = line.trim_end();
    if let Some(counts) = line.strip_prefix("test result: ") {
        outcome.passed += number_before(counts, " passed");
        outcome.failed += number_before(counts, " failed");
    } else if let Some(name) = line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... FAILED")) {
        outcome.faults.push(name.to_owned());
    }
}

fn number_before(text: &str, word: &str) -> u64 {
    let digits = |text: &str| text.rsplit(' ').next().and_then(|n| n.parse().ok());
    text.split_once(word).and_then(|(before, _)| digits(before)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome of a made-up `cargo test`, and what was passed on.
    fn shell(script: &str) -> (Outcome, String) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        let mut out = Vec::new();
        let outcome = run(command, &mut out);
        (outcome, String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn counts_every_binary_and_names_what_failed() {
        let (outcome, _) = shell(
            "echo 'test a::b ... ok'; echo 'test c ... FAILED'; \
             echo 'test result: FAILED. 7 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.1s'; \
             echo 'test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out'; exit 101",
        );
        assert_eq!(outcome, Outcome { passed: 19, failed: 1, faults: vec!["c".into()] });
    }

    #[test]
    fn a_failure_without_a_failed_test_counts_once() {
        let (outcome, _) = shell("echo 'test result: ok. 3 passed; 0 failed;'; exit 101");
        assert_eq!((outcome.passed, outcome.failed, outcome.faults.len()), (3, 1, 1));
    }

    #[test]
    fn success_has_no_faults() {
        let (outcome, out) = shell("printf 'test result: ok. 3 passed; 0 failed;\\n\\377 not text\\n'");
        assert_eq!(outcome, Outcome { passed: 3, ..Outcome::default() });
        assert_eq!(out, "test result: ok. 3 passed; 0 failed;\n\u{fffd} not text\n");
    }
}
