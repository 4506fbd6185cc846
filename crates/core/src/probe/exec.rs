//! A check that is a command: status 0 is success.
//!
//! The command runs in a process group of its own. When it takes too long, or nobody waits for the result any more, the whole
//! group is killed, so that a shell's children do not pile up behind a check that hangs.

use std::{io, process::ExitStatus, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    net::unix::pipe,
    process::{Child, Command},
};

use super::{ProbeFailure, Surroundings};
use crate::{limits, output::recent::printable};

pub(super) async fn run(
    command: &[String],
    timeout: Duration,
    around: Surroundings<'_>,
) -> Result<(), ProbeFailure> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(ProbeFailure::new("the command of the check is empty"));
    };
    let mut group = Group::start(program, arguments, around)
        .map_err(|e| ProbeFailure::new(format!("`{program}` cannot be started: {e}")))?;
    let mut output = Vec::new();
    let ended = tokio::time::timeout(timeout, group.wait(&mut output)).await;
    let seen = match ended {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(status)) => format!("`{program}` ended with {status}"),
        Ok(Err(e)) => format!("`{program}` cannot be waited for: {e}"),
        Err(_) => format!("`{program}` took longer than {timeout:?}"),
    };
    let said = printable(output.trim_ascii(), limits::PROBE_OUTPUT_BYTES);
    Err(ProbeFailure::new(if said.is_empty() { seen } else { format!("{seen}: {said}") }))
}

/// The command's process group. Dropped before the command has ended, it is killed.
struct Group {
    child: Child,
    printed: pipe::Receiver,
}

impl Group {
    fn start(program: &str, arguments: &[String], around: Surroundings<'_>) -> io::Result<Self> {
        // One pipe for both streams, so that the reason shows them in the order in which they were written.
        let (read, write) = io::pipe()?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(around.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(write.try_clone()?)
            .stderr(write)
            .process_group(0);
        if let Some(cwd) = around.cwd {
            command.current_dir(cwd);
        }
        let printed = pipe::Receiver::from_owned_fd(read.into())?;
        Ok(Self { child: command.spawn()?, printed })
    }

    /// Waits for the command; of what it prints before it ends the beginning is kept, and the rest is read and dropped.
    ///
    /// The exit is waited for, not the end of the pipe: a child of the command may hold that open for ever.
    async fn wait(&mut self, kept: &mut Vec<u8>) -> io::Result<ExitStatus> {
        let status = loop {
            tokio::select! {
                status = self.child.wait() => break status?,
                readable = self.printed.readable() => {
                    readable?;
                    if self.read(kept) == Some(0) {
                        break self.child.wait().await?;
                    }
                }
            }
        };
        while kept.len() < limits::PROBE_OUTPUT_BYTES && self.read(kept).is_some_and(|read| read > 0) {}
        Ok(status)
    }

    /// Reads what is there, 0 bytes at the pipe's end; `None` when there is nothing for now.
    fn read(&self, kept: &mut Vec<u8>) -> Option<usize> {
        let mut buffer = [0; 1024];
        match self.printed.try_read(&mut buffer) {
            Ok(read) => {
                let room = limits::PROBE_OUTPUT_BYTES.saturating_sub(kept.len());
                kept.extend_from_slice(&buffer[..read.min(room)]);
                Some(read)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => Some(0),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Without an id the command has been waited for, and its number may belong to somebody else.
        if let Some(group) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // The only failure is that there is nothing left to kill.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
