//! The built-in kernels as processes to be supervised like any other.

use std::{path::Path, time::Duration};

use grace_types::manifest::{Check, ComponentKind, Condition, Probe, ProcessSpec};

use crate::kernels;

/// The specification of every built-in kernel; `program` is the grace that runs now.
#[must_use]
pub fn kernel_specs(program: &Path) -> Vec<ProcessSpec> {
    kernels::all().into_iter().map(|kernel| kernel_spec(program, kernel)).collect()
}

fn kernel_spec(program: &Path, kernel: kernels::BuiltIn) -> ProcessSpec {
    let command = vec![program.display().to_string(), "kernel".to_owned(), kernel.name.to_owned()];
    ProcessSpec {
        depends_on: kernel.depends_on.iter().map(|name| ((*name).to_owned(), Condition::Ready)).collect(),
        readiness: Some(Probe::of(Check::Notify)),
        start_timeout: Duration::from_secs(30),
        watchdog: Some(kernel.watchdog),
        permissions: (kernel.permissions)(),
        critical: kernel.critical,
        ..ProcessSpec::new(kernel.name, ComponentKind::Kernel, command)
    }
}
