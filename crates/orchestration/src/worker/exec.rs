//! Programs as tasks: an argument vector, no shell, a process group of its own, bounded output.
//!
//! The program gets a small environment without the worker's credential: what the plan sets, the usual few variables, and who it runs
//! for (`GRACE_TASK`, `GRACE_TOKEN`, `GRACE_ATTEMPT`, `GRACE_INTENT`, and `TRACEPARENT` where there is a trace). The token only grows: whoever the program writes to can
//! refuse a smaller one. With the instance's own variables it is found and ended with the worker, should that die.
//!
//! Whatever ends the task (its program, its time, a stop) ends the whole group.

use std::{process::Stdio, time::Duration};

use grace_types::manifest::units;
use rustix::process::{Pid, Resource, Rlimit, Signal};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
};

use super::run::{Exec, Failed};
use crate::{htm::command::Lease, intent::Limits, limits};

/// What a program gets of the worker's own environment.
const INHERITED: [&str; 11] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "TZ",
    "GRACE_COMPONENT",
    "GRACE_INCARNATION",
    "GRACE_DATA",
];

/// Runs it to its end.
pub(super) async fn run(lease: &Lease, input: &Exec) -> Result<Value, Failed> {
    let [program, arguments @ ..] = input.command.as_slice() else {
        return Err(Failed::for_good("`command` is empty"));
    };
    let keep = kept(&input.limits)?;
    let bounds = bounds(&input.limits)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.env("GRACE_TASK", lease.task.to_string()).env("GRACE_TOKEN", lease.token.to_string());
    command.env("GRACE_ATTEMPT", lease.attempt.to_string()).env("GRACE_INTENT", lease.intent.to_string());
    if let Some(trace) = lease.trace() {
        command.env("TRACEPARENT", trace.to_string());
    }
    command.envs(&input.environment).process_group(0).kill_on_drop(true);
    if let Some(folder) = &input.working_dir {
        command.current_dir(folder);
    }
    in_child(&mut command, bounds);
    let mut child =
        command.spawn().map_err(|e| Failed::for_good(format!("`{program}` cannot be started: {e}")))?;
    let group = Group(child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Captured::default(), Captured::default());
    let status = {
        let read = async { tokio::join!(out.read(stdout, keep), err.read(stderr, keep)) };
        tokio::pin!(read);
        let mut whole = false;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                _ = &mut read, if !whole => whole = true,
            }
        };
        drop(group);
        if !whole {
            let _ = tokio::time::timeout(limits::EXEC_REST, read).await;
        }
        status
    };
    let status = status.map_err(|e| Failed::again(format!("its end was not seen: {e}")))?;
    if status.success() {
        let ((stdout, less), (stderr, fewer)) = (out.text(), err.text());
        let cut = out.cut || err.cut || less || fewer;
        return Ok(json!({"stdout": stdout, "stderr": stderr, "truncated": cut}));
    }
    let (text, _) = err.text();
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).map(|line| format!(": {line}"));
    Err(Failed::again(format!("`{program}` ended with {status}{}", last.unwrap_or_default())))
}

/// Kills the group when it goes. After the program was collected, its number can only name a group that still has members, or,
/// after a whole round of all numbers within an instant, another: that is not feared.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// The beginning of a stream.
#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    cut: bool,
}

impl Captured {
    async fn read(&mut self, stream: Option<impl AsyncRead + Unpin>, keep: u64) {
        let Some(mut stream) = stream else { return };
        // What does not end is dropped, not stored.
        if (&mut stream).take(keep).read_to_end(&mut self.bytes).await.is_err() {
            return;
        }
        self.cut = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.is_ok_and(|rest| rest > 0);
    }

    /// As text that stays within its bound when it is JSON, and whether it was shortened for that: some characters are written as up to
    /// six bytes there.
    fn text(&self) -> (String, bool) {
        let plain = |c: char| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c };
        let text: String = String::from_utf8_lossy(&self.bytes).chars().map(plain).collect();
        if serde_json::to_string(&text).map_or(0, |json| json.len()) <= limits::OUTPUT_BYTES / 2 - 64 {
            return (text, false);
        }
        (text.chars().take(limits::OUTPUT_BYTES / 8).collect(), true)
    }
}

fn kept(wanted: &Limits) -> Result<u64, Failed> {
    let Some(text) = &wanted.output else { return Ok(limits::EXEC_OUTPUT_BYTES) };
    let size = units::size(text).map_err(|e| Failed::for_good(format!("`limits.output`: {}", e.message)))?;
    Ok(size.min(limits::EXEC_OUTPUT_MOST))
}

/// The limits that the system holds.
fn bounds(limits: &Limits) -> Result<Vec<(Resource, Rlimit)>, Failed> {
    let wrong = |key: &str, what: &str| Failed::for_good(format!("`limits.{key}`: {what}"));
    let mut bounds = Vec::new();
    let mut bound = |resource, n| {
        bounds.push((resource, Rlimit { current: Some(n), maximum: Some(n) }));
    };
    if let Some(text) = &limits.memory {
        bound(Resource::As, units::size(text).map_err(|e| wrong("memory", &e.message))?);
    }
    if let Some(text) = &limits.cpu {
        let time: Duration = units::duration(text).map_err(|e| wrong("cpu", &e.message))?;
        bound(Resource::Cpu, time.as_secs().max(1));
    }
    if let Some(files) = limits.open_files {
        bound(Resource::Nofile, files.into());
    }
    Ok(bounds)
}

/// Sets the limits between fork and exec, and that the program does not outlive the worker. Programs are started from the
/// worker's one thread, which lives as long as the worker.
#[expect(unsafe_code, reason = "limits and the parent's death can only be set between fork and exec")]
fn in_child(command: &mut Command, bounds: Vec<(Resource, Rlimit)>) {
    let set = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        for (resource, limit) in &bounds {
            rustix::process::setrlimit(*resource, *limit)?;
        }
        Ok(())
    };
    // SAFETY: the closure only makes system calls on values that were made before the fork: it neither allocates nor takes
    // a lock.
    unsafe { command.pre_exec(set) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_as_json_is_cut_and_said_to_be() {
        let text = |bytes: Vec<u8>| Captured { bytes, cut: false }.text();
        let most = usize::try_from(limits::EXEC_OUTPUT_MOST).unwrap();
        assert_eq!(text(vec![b'a'; most]), ("a".repeat(most), false));
        // Each of these is three bytes when it is replaced, or two when it is escaped.
        for byte in [0x07, b'"'] {
            let (kept, cut) = text(vec![byte; most]);
            assert!(cut, "{byte}");
            assert!(serde_json::to_string(&kept).unwrap().len() <= limits::OUTPUT_BYTES / 2);
        }
        assert_eq!(text(b"\x07\n".to_vec()), ("\u{fffd}\n".to_owned(), false));
    }
}
