//! Runs the binary in a clean environment.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// What a run left behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ran {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// `grace` with these arguments, in `folder`, knowing nothing of the caller's environment.
pub(super) fn grace(folder: &Path, args: &[&str]) -> Ran {
    let output = command(folder, args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The same, not started yet.
pub(super) fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grace"));
    command.args(args).current_dir(folder).env_clear().env("HOME", folder).stdin(Stdio::null());
    command
}
