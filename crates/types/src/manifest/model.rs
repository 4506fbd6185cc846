//! The validated manifest. Nothing in here can be inconsistent in a way that the supervisor would have to check again:
//! names are unique, dependencies exist and have no cycle, durations and numbers are within bounds.
//!
//! It is serialised as JSON for the kernels (`run/manifest.json`), so every field round-trips.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Everything that Grace is asked to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Settings of the embedded broker.
    pub bus: BusSettings,
    /// Settings of the HTTP interface.
    #[serde(default)]
    pub api: ApiSettings,
    /// What is sent to others about what happens here.
    #[serde(default)]
    pub telemetry: TelemetrySettings,
    /// The user's processes, replicas already expanded, by name.
    pub processes: BTreeMap<String, ProcessSpec>,
    /// Rules over telemetry that raise alerts.
    pub alerts: Vec<AlertRule>,
    /// Further files about work, as they were named. What they say stands below.
    #[serde(skip)]
    pub include: Vec<String>,
    /// Types of intents by name, as Layer 2 writes them. Reading the manifest only finds out whether there are any; `grace up` fills
    /// this in.
    #[serde(default)]
    pub intents: BTreeMap<String, serde_json::Value>,
    /// Subscriptions of the trigger mesh by name, as `intents`.
    #[serde(default)]
    pub triggers: BTreeMap<String, serde_json::Value>,
    /// Event policies by name, as `intents`.
    #[serde(default)]
    pub policies: BTreeMap<String, serde_json::Value>,
    /// Schedules by name, as `intents`.
    #[serde(default)]
    pub schedules: BTreeMap<String, serde_json::Value>,
    /// Workers for the tasks of intents.
    pub workers: u32,
    /// What the watchdog of Layer 2 looks for.
    #[serde(default)]
    pub layer2: Layer2Settings,
    /// Components of Grace itself above Layer 1, by name, as the binary wires them. No manifest says anything of them.
    #[serde(default)]
    pub built_in: BTreeMap<String, ProcessSpec>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            bus: BusSettings::default(),
            api: ApiSettings::default(),
            telemetry: TelemetrySettings::default(),
            processes: BTreeMap::new(),
            alerts: Vec::new(),
            include: Vec::new(),
            intents: BTreeMap::new(),
            triggers: BTreeMap::new(),
            policies: BTreeMap::new(),
            schedules: BTreeMap::new(),
            workers: WORKERS,
            layer2: Layer2Settings::default(),
            built_in: BTreeMap::new(),
        }
    }
}

/// Workers where a manifest says nothing of them.
pub(super) const WORKERS: u32 = 3;

/// Settings of the embedded broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusSettings {
    /// TCP port on the loopback address; 0 lets the system choose one.
    pub port: u16,
    /// Largest message payload in bytes.
    pub max_payload_bytes: usize,
    /// Bytes that may wait for one client that reads too slowly, before it is cut off.
    pub max_pending_bytes: usize,
    /// Connections at one time.
    pub max_connections: usize,
}

impl Default for BusSettings {
    fn default() -> Self {
        Self { port: 4222, max_payload_bytes: 1 << 20, max_pending_bytes: 8 << 20, max_connections: 4096 }
    }
}

/// Settings of the HTTP interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiSettings {
    /// Address to listen on.
    pub host: IpAddr,
    /// TCP port; 0 lets the system choose one.
    pub port: u16,
    /// Whether other machines may reach it: without it, `host` is a loopback address.
    pub allow_remote: bool,
    /// Events taken in a second.
    pub events_per_second: u32,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self { host: Ipv4Addr::LOCALHOST.into(), port: 4280, allow_remote: false, events_per_second: 5000 }
    }
}

/// What is sent to others about what happens here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TelemetrySettings {
    /// Where spans are sent: the base address of an OTLP/HTTP receiver, without a slash at its end.
    pub otlp: Option<String>,
}

/// What the watchdog of Layer 2 looks for, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layer2Settings {
    /// Time between two looks.
    pub interval: Duration,
    /// From the instance's boot until all of Layer 2 is ready.
    pub ready_within: Duration,
    /// More tasks than this that wait for a worker are a warning.
    pub queue_warning: u64,
    /// More than this are critical.
    pub queue_critical: u64,
    /// While tasks wait, fewer dispatches a second than this are a warning; 0 for never.
    pub dispatch_rate_warning: f64,
    /// Fewer subscriptions than this are a warning; 0 for never. Without a number, fewer than [`SUBSCRIPTIONS_WARNING`] are one once
    /// there were that many.
    pub subscriptions_warning: Option<u64>,
}

/// Subscriptions of which fewer are a warning, once there were so many.
pub const SUBSCRIPTIONS_WARNING: u64 = 5;

impl Default for Layer2Settings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(15),
            ready_within: Duration::from_secs(30),
            queue_warning: 1000,
            queue_critical: 5000,
            dispatch_rate_warning: 1.0,
            subscriptions_warning: None,
        }
    }
}

/// One supervised process: a replica of an entry under `processes:`, or a built-in kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Unique in the instance. `web`, or `web-1`, `web-2` … when `replicas` is more than one.
    pub name: String,
    /// What it is.
    pub kind: ComponentKind,
    /// argv; never empty.
    pub command: Vec<String>,
    /// Variables set for the process. `None` passes the variable through from the environment of `grace up`.
    pub environment: BTreeMap<String, Option<String>>,
    /// Folder to run in; that of the manifest when not given.
    pub working_dir: Option<PathBuf>,
    /// What must hold of other processes before this one starts.
    pub depends_on: BTreeMap<String, Condition>,
    /// When it counts as ready. Without one, a process is ready as soon as it runs.
    pub readiness: Option<Probe>,
    /// Repeated while it runs; after `failure_threshold` failures the process is restarted as hung.
    pub liveness: Option<Probe>,
    /// Must succeed before the other probes begin.
    pub startup: Option<Probe>,
    /// How long it may take from start to ready before it is restarted.
    pub start_timeout: Duration,
    /// Whether and how it is restarted.
    pub availability: Availability,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// The interval within which it must send `WATCHDOG=1`; `None` when it sends none.
    pub watchdog: Option<Duration>,
    /// Limits on what it may use.
    pub resources: Resources,
    /// How its output is kept.
    pub log: LogSettings,
    /// What it may say and hear on the bus. Everything else is denied.
    pub permissions: Permissions,
    /// Whether its failure beyond its restarts is an emergency.
    pub critical: bool,
    /// Whether it ends after everything that it does not need itself: it takes what the others have to say to the last.
    #[serde(default)]
    pub ends_late: bool,
}

/// What a component is, as `status` reports it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ComponentKind {
    /// A built-in kernel (Layer 1).
    Kernel,
    /// A part of Layer 2.
    Orchestrator,
    /// Layer 3.
    Cortex,
    /// A worker that runs tasks.
    Worker,
    /// The chaos loop and runner.
    Chaos,
    /// A program of the user's.
    Process,
}

impl ComponentKind {
    /// The layer it belongs to; 0 for the user's own programs.
    #[must_use]
    pub const fn layer(self) -> u8 {
        match self {
            Self::Process => 0,
            Self::Kernel | Self::Chaos => 1,
            Self::Orchestrator | Self::Worker => 2,
            Self::Cortex => 3,
        }
    }
}

/// What a dependent waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The process was started.
    Started,
    /// The process is ready.
    Ready,
    /// The process ended, however it ended.
    Completed,
    /// The process ended with status 0.
    CompletedSuccessfully,
}

/// A check that is repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What is checked.
    pub check: Check,
    /// Wait before the first check.
    pub initial_delay: Duration,
    /// Time between the starts of two checks.
    pub period: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// Successes in a row that count as success; at least 1.
    pub success_threshold: u32,
    /// Failures in a row that count as failure; at least 1.
    pub failure_threshold: u32,
}

/// What a probe checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Runs a command in the process's environment and folder; status 0 is success.
    Exec {
        /// argv; never empty.
        command: Vec<String>,
    },
    /// HTTP GET over plain TCP; a status from 200 to 399 is success.
    HttpGet {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// Path with its leading slash, and query.
        path: String,
    },
    /// A TCP connection that is accepted is success.
    Tcp {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// `READY=1` on the notify socket. Readiness only; it is awaited, not repeated.
    Notify,
    /// A line of output that matches a regular expression. Readiness only; it is awaited, not repeated.
    LogLine {
        /// The regular expression, in the `regex` crate's syntax.
        pattern: String,
    },
}

/// Whether and how a process is restarted. The words are OTP's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Availability {
    /// When an exit leads to a restart.
    pub restart: RestartPolicy,
    /// Restarts allowed within `period`; one more exit and Grace gives up.
    pub intensity: u32,
    /// The window in which restarts are counted.
    pub period: Duration,
    /// Waiting time before a restart.
    pub backoff: Backoff,
}

/// When an exit leads to a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// After any exit.
    Always,
    /// After a signal, a status other than 0, or a hang.
    OnFailure,
    /// Never.
    No,
}

/// Waiting time before restart `n` (counted from 0 within the window): nothing for the first, then `initial`, times
/// `factor` each, at most `max`; a random part of up to `jitter` of it is added, so that a herd spreads out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// Before the second restart in a window.
    pub initial: Duration,
    /// Never longer than this.
    pub max: Duration,
    /// Growth from one restart to the next; at least 1.
    pub factor: f64,
    /// Share of the waiting time that is random, 0.0 to 1.0.
    pub jitter: f64,
}

/// How a process is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {
    /// Sent first, to the process's group.
    pub signal: Signal,
    /// After this long, SIGKILL.
    pub timeout: Duration,
}

/// A signal that may be asked for by name, with or without `SIG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Signal {
    /// Hang up (1).
    #[serde(rename = "SIGHUP")]
    Hup,
    /// Interrupt (2).
    #[serde(rename = "SIGINT")]
    Int,
    /// Quit (3).
    #[serde(rename = "SIGQUIT")]
    Quit,
    /// Kill (9).
    #[serde(rename = "SIGKILL")]
    Kill,
    /// User-defined 1 (10).
    #[serde(rename = "SIGUSR1")]
    Usr1,
    /// User-defined 2 (12).
    #[serde(rename = "SIGUSR2")]
    Usr2,
    /// Terminate (15).
    #[serde(rename = "SIGTERM")]
    Term,
}

impl Signal {
    /// Every signal, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Hup, Self::Int, Self::Quit, Self::Kill, Self::Usr1, Self::Usr2, Self::Term];

    /// Its number on Linux.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::Hup => 1,
            Self::Int => 2,
            Self::Quit => 3,
            Self::Kill => 9,
            Self::Usr1 => 10,
            Self::Usr2 => 12,
            Self::Term => 15,
        }
    }

    /// Its name, with `SIG`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hup => "SIGHUP",
            Self::Int => "SIGINT",
            Self::Quit => "SIGQUIT",
            Self::Kill => "SIGKILL",
            Self::Usr1 => "SIGUSR1",
            Self::Usr2 => "SIGUSR2",
            Self::Term => "SIGTERM",
        }
    }
}

/// Limits on what a process may use. `None`: no limit beyond the host's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Memory in bytes (cgroup `memory.max`; without cgroup v2, the address space, RLIMIT_AS).
    pub memory_bytes: Option<u64>,
    /// CPU in cores (cgroup `cpu.max`; without cgroup v2 it cannot be held, and `doctor` and `status` say so).
    pub cpu_cores: Option<f64>,
    /// Open file descriptors (RLIMIT_NOFILE).
    pub open_files: Option<u64>,
    /// Processes and threads (cgroup `pids.max`; without cgroup v2, RLIMIT_NPROC).
    pub processes: Option<u64>,
}

/// How a process's output is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// A file that would grow past this is rotated.
    pub max_size_bytes: u64,
    /// Files kept, the current one included; at least 1.
    pub max_files: u32,
}

/// What a component may say and hear on the bus. Deny wins over allow; what is in neither is denied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Permissions {
    /// Subjects it may publish to.
    pub publish: SubjectRules,
    /// Subjects it may subscribe to.
    pub subscribe: SubjectRules,
}

impl Permissions {
    /// These subjects, and no others.
    pub fn only<P: Into<String>, S: Into<String>>(
        publish: impl IntoIterator<Item = P>,
        subscribe: impl IntoIterator<Item = S>,
    ) -> Self {
        Self { publish: SubjectRules::only(publish), subscribe: SubjectRules::only(subscribe) }
    }
}

/// Subject patterns (`*` one token, `>` the rest).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SubjectRules {
    /// Patterns that are allowed.
    pub allow: Vec<String>,
    /// Patterns that are denied even where `allow` matches.
    pub deny: Vec<String>,
}

impl SubjectRules {
    /// Allows these patterns, and denies none of what they match.
    pub fn only<P: Into<String>>(allow: impl IntoIterator<Item = P>) -> Self {
        Self { allow: allow.into_iter().map(Into::into).collect(), deny: Vec::new() }
    }
}

/// A rule over telemetry: when it holds for `hold`, an alert is raised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRule {
    /// Unique.
    pub name: String,
    /// The component it watches; `None` for every component.
    pub component: Option<String>,
    /// What is measured.
    pub metric: Metric,
    /// How it is compared with `threshold`.
    pub comparison: Comparison,
    /// In the metric's unit.
    pub threshold: f64,
    /// How long it must hold before the alert fires, and must not hold before it resolves.
    pub hold: Duration,
    /// How bad it is.
    pub severity: Severity,
}

/// What an alert rule can measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Health score, 0.0 to 1.0.
    Health,
    /// CPU in cores.
    CpuCores,
    /// Resident memory in bytes.
    MemoryBytes,
    /// Restarts within the last `period` of its availability.
    Restarts,
    /// Seconds since its last heartbeat.
    HeartbeatAgeSeconds,
}

/// How a metric is compared with a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Greater than.
    Above,
    /// Less than.
    Below,
}

/// How bad an alert is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For the record.
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody should look now.
    Critical,
}

impl Severity {
    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}
