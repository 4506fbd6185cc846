//! What holds when the manifest says nothing. `config/default.yaml` shows the same values to users; a test compares.

use std::{collections::BTreeMap, time::Duration};

use super::model::{
    Availability, Backoff, Check, ComponentKind, LogSettings, Permissions, Probe, ProcessSpec, Resources,
    RestartPolicy, Shutdown, Signal,
};

impl Default for Availability {
    /// As OTP's habit of a few restarts within a minute: enough to outlive a blip, few enough to notice a crash loop.
    fn default() -> Self {
        Self {
            restart: RestartPolicy::Always,
            intensity: 3,
            period: Duration::from_secs(60),
            backoff: Backoff::default(),
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(100), max: Duration::from_secs(30), factor: 2.0, jitter: 0.2 }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { signal: Signal::Term, timeout: Duration::from_secs(10) }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { max_size_bytes: 10 << 20, max_files: 5 }
    }
}

impl Probe {
    /// `check` at once and then every second, one second each; 1 success or 3 failures in a row decide.
    #[must_use]
    pub fn of(check: Check) -> Self {
        Self {
            check,
            initial_delay: Duration::ZERO,
            period: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            success_threshold: 1,
            failure_threshold: 3,
        }
    }
}

impl ProcessSpec {
    /// A process with every setting at its default.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: ComponentKind, command: Vec<String>) -> Self {
        Self {
            name: name.into(),
            kind,
            command,
            environment: BTreeMap::new(),
            working_dir: None,
            depends_on: BTreeMap::new(),
            readiness: None,
            liveness: None,
            startup: None,
            start_timeout: Duration::from_secs(60),
            availability: Availability::default(),
            shutdown: Shutdown::default(),
            watchdog: None,
            resources: Resources::default(),
            log: LogSettings::default(),
            permissions: Permissions::default(),
            critical: false,
            ends_late: false,
        }
    }
}
