//! The built-in kernels as processes to be supervised like any other.

use std::{path::Path, time::Duration};

use grace_kernel::evidence::{self, Sink};
use grace_types::manifest::{Check, Condition, Probe, ProcessSpec};

use crate::kernels;

/// The specification of every kernel of Layer 1; `program` is the grace that runs now.
#[must_use]
pub fn kernel_specs(program: &Path) -> Vec<ProcessSpec> {
    kernels::all().into_iter().map(|kernel| kernel_spec(program, kernel)).collect()
}

/// The specification of one.
#[must_use]
pub fn kernel_spec(program: &Path, kernel: kernels::BuiltIn) -> ProcessSpec {
    let command = vec![program.display().to_string(), "kernel".to_owned(), kernel.name.to_owned()];
    let mut permissions = (kernel.permissions)();
    if kernel.stateful {
        permissions.publish.allow.extend(evidence::subjects(kernel.name));
    }
    ProcessSpec {
        depends_on: kernel.depends_on.iter().map(|name| ((*name).to_owned(), Condition::Ready)).collect(),
        readiness: Some(Probe::of(Check::Notify)),
        start_timeout: Duration::from_secs(30),
        watchdog: Some(kernel.watchdog),
        permissions,
        critical: kernel.critical,
        // What the others record while they end is to reach them.
        ends_late: Sink::ALL.iter().any(|sink| sink.name() == kernel.name),
        ..ProcessSpec::new(kernel.name, kernel.kind, command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_with_a_journal_may_ship_it_under_its_own_name_and_no_other() {
        for (spec, kernel) in kernel_specs(Path::new("grace")).iter().zip(kernels::all()) {
            let may = &spec.permissions.publish.allow;
            let own = evidence::subjects(kernel.name);
            assert_eq!(own.iter().all(|subject| may.contains(subject)), kernel.stateful, "{}", kernel.name);
            let other = |subject: &&String| subject.contains("evidence") && !own.contains(subject);
            assert_eq!(may.iter().find(other), None, "{}", kernel.name);
        }
    }
}
