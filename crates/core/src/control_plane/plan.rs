//! The built-in kernels as processes to be supervised like any other.

use std::{collections::BTreeMap, path::Path, time::Duration};

use grace_types::manifest::{
    Availability, Backoff, Check, ComponentKind, Condition, LogSettings, Probe, ProcessSpec, Resources,
    RestartPolicy, Shutdown, Signal,
};

use crate::kernels;

/// The specification of every built-in kernel; `program` is the grace that runs now.
#[must_use]
pub fn kernel_specs(program: &Path) -> Vec<ProcessSpec> {
    kernels::all().into_iter().map(|kernel| kernel_spec(program, kernel)).collect()
}

fn kernel_spec(program: &Path, kernel: kernels::BuiltIn) -> ProcessSpec {
    ProcessSpec {
        name: kernel.name.to_owned(),
        kind: ComponentKind::Kernel,
        command: vec![program.display().to_string(), "kernel".to_owned(), kernel.name.to_owned()],
        environment: BTreeMap::new(),
        working_dir: None,
        depends_on: kernel.depends_on.iter().map(|name| ((*name).to_owned(), Condition::Ready)).collect(),
        readiness: Some(Probe {
            check: Check::Notify,
            initial_delay: Duration::ZERO,
            period: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            success_threshold: 1,
            failure_threshold: 1,
        }),
        liveness: None,
        startup: None,
        start_timeout: Duration::from_secs(30),
        availability: Availability {
            restart: RestartPolicy::Always,
            intensity: 3,
            period: Duration::from_secs(60),
            backoff: Backoff {
                initial: Duration::from_millis(100),
                max: Duration::from_secs(30),
                factor: 2.0,
                jitter: 0.2,
            },
        },
        shutdown: Shutdown { signal: Signal::Term, timeout: Duration::from_secs(10) },
        watchdog: Some(kernel.watchdog),
        resources: Resources::default(),
        log: LogSettings { max_size_bytes: 10 << 20, max_files: 5 },
        permissions: (kernel.permissions)(),
        critical: kernel.critical,
    }
}
