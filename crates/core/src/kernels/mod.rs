//! The built-in kernels: what the control plane must know to run each, and the way into each. Those of higher layers are wired
//! by the binary: their specifications travel in the manifest ([`grace_types::manifest::Manifest::built_in`]).
//!
//! `grace kernel NAME` calls [`run`]; the control plane reads [`all`] to put the kernels into its plan. A kernel says about
//! itself, in its own module: which subjects it uses, whether its loss is an emergency, how often it beats.

pub mod clarity;
pub mod health_monitor;
pub mod immutable_log;
pub mod message_bus;

use std::{process::ExitCode, time::Duration};

use grace_kernel::process::{Environment, KernelError, tell};
use grace_types::manifest::{ComponentKind, Permissions};

/// What is known of a kernel without running it.
#[derive(Debug, Clone, Copy)]
pub struct BuiltIn {
    /// Its name, everywhere.
    pub name: &'static str,
    /// What it is, which gives its layer too.
    pub kind: ComponentKind,
    /// Whether its loss is an emergency.
    pub critical: bool,
    /// Kernels that must be ready first.
    pub depends_on: &'static [&'static str],
    /// The interval within which it beats.
    pub watchdog: Duration,
    /// What it may say and hear on the bus.
    pub permissions: fn() -> Permissions,
    /// Whether it keeps a journal.
    pub stateful: bool,
    /// Its way in: runs it until it is told to stop.
    pub run: fn(Environment) -> Result<(), KernelError>,
}

/// Every kernel of Layer 1, in an order in which they can be started.
#[must_use]
pub fn all() -> Vec<BuiltIn> {
    vec![message_bus::BUILT_IN, immutable_log::BUILT_IN, clarity::BUILT_IN, health_monitor::BUILT_IN]
}

/// What `grace kernel NAME` does: runs the kernel, or the one of `higher` (what the binary wires above Layer 1), until it is told to
/// stop. Its status is 0 for an orderly end, 1 for a failure, 2 for a name that is not known.
#[must_use]
pub fn run(name: &str, higher: &[BuiltIn]) -> ExitCode {
    let known: Vec<BuiltIn> = all().into_iter().chain(higher.iter().copied()).collect();
    let Some(kernel) = known.iter().find(|kernel| kernel.name == name) else {
        let known: Vec<&str> = known.iter().map(|kernel| kernel.name).collect();
        tell(&format!("there is no kernel `{name}`; there are: {}", known.join(", ")));
        return ExitCode::from(2);
    };
    match Environment::read().and_then(kernel.run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("kernel {name}: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kernel_comes_after_what_it_depends_on() {
        let kernels = all();
        for (n, kernel) in kernels.iter().enumerate() {
            for needed in kernel.depends_on {
                assert!(kernels[..n].iter().any(|k| k.name == *needed), "{} needs {needed}", kernel.name);
            }
            let permissions = (kernel.permissions)();
            assert!(permissions.subscribe.allow.contains(&format!("grace.cmd.{}", kernel.name)));
            assert!(permissions.publish.allow.iter().all(|subject| subject.starts_with("grace.")));
        }
    }
}
