//! Where the tree lies, and how a cargo command is started in it.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

/// The root of the workspace: the folder above this package's.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or_else(|| package.clone(), PathBuf::from)
}

/// The cargo that started us, in the root, with no standard input: a task never waits for a person.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args).stdin(Stdio::null());
    command
}
