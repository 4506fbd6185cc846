//! The manifest as users write it. The JSON Schema in `schemas/manifest.schema.json` is generated from these types, so
//! their comments are what an editor shows beside each key; Layer 2 adds what it knows of work.
//!
//! Texts that need more than their shape checked (durations, sizes, patterns) stay text here; `resolve` reads them and
//! reports what is wrong at their place. Keys are those of process-compose and compose where they exist.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{
        self, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use super::model::{Metric, Severity};

/// What Grace is asked to run.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping with `processes`")]
#[schemars(title = "Grace manifest", transform = allow_extensions)]
pub(super) struct RawManifest {
    /// Version of this format; 1 when not given.
    pub(super) version: Option<u32>,
    /// The embedded message broker.
    pub(super) bus: RawBus,
    /// The HTTP interface.
    pub(super) api: RawApi,
    /// What is sent to others about what happens here.
    pub(super) telemetry: RawTelemetry,
    /// The programs to keep running, by name (a-z, 0-9, `-`, `_`, `.`; at most 63).
    pub(super) processes: BTreeMap<String, RawProcess>,
    /// Rules over telemetry that raise alerts.
    pub(super) alerts: Vec<RawAlert>,
    /// Further files with `intents`, `triggers`, `policies` and `schedules`: paths from this file's folder. `*` stands for any characters
    /// within a name, as in `work/*.yaml`. No name may be declared twice.
    pub(super) include: Vec<String>,
    /// What may be asked for, by name: a payload and the tasks that it takes.
    pub(super) intents: BTreeMap<String, serde_json::Value>,
    /// Which events set off what, by name. `grace up --check` checks them.
    pub(super) triggers: BTreeMap<String, serde_json::Value>,
    /// What follows from events and their counts, by name. `grace up --check` checks them.
    pub(super) policies: BTreeMap<String, serde_json::Value>,
    /// What is to be done at which times, by name. `grace up --check` checks them.
    pub(super) schedules: BTreeMap<String, serde_json::Value>,
    /// Workers for the tasks of intents, 0 to 64; 3 when not given. Your own can take part, too.
    pub(super) workers: Option<u32>,
    /// What the watchdog of Layer 2 looks for, and how often.
    pub(super) layer2: RawLayer2,
}

/// Keys that begin with `x-` are the user's own, as in compose: a place for anchors.
fn allow_extensions(schema: &mut schemars::Schema) {
    schema.insert("patternProperties".to_owned(), serde_json::json!({ "^x-": true }));
}

/// The embedded message broker.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping")]
#[schemars(rename = "Bus")]
pub(super) struct RawBus {
    /// TCP port on the loopback address; 0 lets the system choose.
    pub(super) port: Option<u16>,
    /// Largest message payload, such as `1MiB`.
    pub(super) max_payload: Option<SizeText>,
    /// What may wait for one slow client before it is cut off, such as `8MiB`.
    pub(super) max_pending: Option<SizeText>,
    /// Connections at one time.
    pub(super) max_connections: Option<u32>,
}

/// The HTTP interface.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping")]
#[schemars(rename = "Api")]
pub(super) struct RawApi {
    /// TCP port; 0 lets the system choose. 4280 when not given, or 0 where the bus has port 0.
    pub(super) port: Option<u16>,
    /// Address to listen on; 127.0.0.1 when not given. One that other machines reach needs `allow_remote: true`.
    pub(super) host: Option<String>,
    /// Whether other machines may reach it. It speaks plain HTTP: whoever listens on the way sees the token.
    pub(super) allow_remote: Option<bool>,
    /// Events taken in a second, 1 to 1000000; further ones are refused with status 429.
    pub(super) events_per_second: Option<u32>,
}

/// What is sent to others about what happens here.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping")]
#[schemars(rename = "Telemetry")]
pub(super) struct RawTelemetry {
    /// Where spans are sent by OTLP over HTTP, such as `http://127.0.0.1:4318`. Nothing is sent when not given.
    pub(super) otlp: Option<String>,
}

/// What the watchdog of Layer 2 looks for, and how often.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping")]
#[schemars(rename = "Layer2")]
pub(super) struct RawLayer2 {
    /// Time between two looks, and between two pieces of telemetry.
    pub(super) interval: Option<DurationText>,
    /// From boot until everything of Layer 2 is ready; what is not then is critical.
    pub(super) ready_within: Option<DurationText>,
    /// More tasks than this that wait for a worker are a warning.
    pub(super) queue_warning: Option<u64>,
    /// More tasks than this that wait for a worker are critical.
    pub(super) queue_critical: Option<u64>,
    /// While tasks wait, fewer dispatches a second than this are a warning; 0 for never.
    pub(super) dispatch_rate_warning: Option<f64>,
    /// Fewer subscriptions of the trigger mesh than this are a warning; 0 for never. When not given, fewer than 5 are a warning once
    /// there were 5.
    pub(super) subscriptions_warning: Option<u64>,
}

/// One program to keep running.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping with `command`")]
#[schemars(rename = "Process")]
pub(super) struct RawProcess {
    /// The program and its arguments: a list, or one text that is split into words as a POSIX shell would. No shell
    /// runs, so variables, pipes and redirections do not work; use `[sh, -c, "…"]` for those.
    #[schemars(required)]
    pub(super) command: Option<TextOr<Vec<Scalar>>>,
    /// Arguments after those of `command`.
    pub(super) args: Vec<Scalar>,
    /// Variables: a mapping, or a list of `NAME=value`. A name without a value is passed through from the environment
    /// of `grace up`.
    pub(super) environment: Option<ListOr<BTreeMap<String, Option<Scalar>>>>,
    /// Files of `NAME=value` lines, read in order; `environment` wins over them.
    pub(super) env_file: Option<TextOr<Vec<String>>>,
    /// Folder to run in; that of the manifest when not given.
    pub(super) working_dir: Option<String>,
    /// How many to run, 1 to 100. Each has its number in `GRACE_REPLICA`, from 1, and in its name.
    pub(super) replicas: Option<u32>,
    /// What has to be up before: names, or a mapping from a name to a condition. A name with replicas means all.
    pub(super) depends_on: Option<ListOr<BTreeMap<String, RawDependency>>>,
    /// Decides when it counts as ready. Without one it is ready as soon as it runs.
    pub(super) readiness_probe: Option<RawProbe>,
    /// Repeated while it runs; when it fails, the process is restarted as hung.
    pub(super) liveness_probe: Option<RawProbe>,
    /// Must succeed before the other probes begin.
    pub(super) startup_probe: Option<RawProbe>,
    /// It is ready when a line of its output matches this regular expression.
    pub(super) ready_log_line: Option<String>,
    /// How long it may take from start to ready before it is restarted.
    pub(super) start_timeout: Option<DurationText>,
    /// Whether and how it is restarted.
    pub(super) availability: RawAvailability,
    /// How it is stopped.
    pub(super) shutdown: RawShutdown,
    /// Only for programs that send `WATCHDOG=1` to `NOTIFY_SOCKET`.
    pub(super) watchdog: Option<RawWatchdog>,
    /// Limits on what it may use.
    pub(super) resources: RawResources,
    /// How its output is kept.
    pub(super) log: RawLog,
    /// What it may publish and subscribe to on the bus. What is not allowed is denied.
    pub(super) permissions: RawPermissions,
    /// Whether its failure beyond its restarts is an emergency.
    pub(super) critical: bool,
}

/// What is waited for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping such as `{condition: ready}`")]
#[schemars(rename = "Dependency")]
pub(super) struct RawDependency {
    /// When it counts as up; `ready` when not given.
    pub(super) condition: Option<ConditionText>,
}

/// When a dependency counts as up: `started`, `ready`, `completed` or `completed_successfully`. The words of
/// process-compose and compose work too.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(rename = "Condition")]
pub(super) struct ConditionText(
    #[schemars(extend("enum" = super::words::schema_words(&super::words::CONDITIONS)))] pub(super) String,
);

/// A check; exactly one of `exec`, `http_get`, `tcp` and `notify`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a mapping with one of `exec`, `http_get`, `tcp`, `notify`"
)]
#[schemars(rename = "Probe")]
pub(super) struct RawProbe {
    /// Runs a command in the process's environment and folder; status 0 is success.
    pub(super) exec: Option<RawExec>,
    /// HTTP GET; a status from 200 to 399 is success.
    pub(super) http_get: Option<RawHttpGet>,
    /// A TCP connection that is accepted is success.
    pub(super) tcp: Option<RawTcp>,
    /// The process sends `READY=1` to `NOTIFY_SOCKET` (the protocol of systemd). Readiness only.
    pub(super) notify: Option<bool>,
    /// Wait before the first check.
    pub(super) initial_delay: Option<DurationText>,
    /// `initial_delay` in whole seconds.
    pub(super) initial_delay_seconds: Option<u32>,
    /// Time between the starts of two checks.
    pub(super) period: Option<DurationText>,
    /// `period` in whole seconds.
    pub(super) period_seconds: Option<u32>,
    /// A check that takes longer has failed.
    pub(super) timeout: Option<DurationText>,
    /// `timeout` in whole seconds.
    pub(super) timeout_seconds: Option<u32>,
    /// Successes in a row that count as success.
    pub(super) success_threshold: Option<u32>,
    /// Failures in a row that count as failure.
    pub(super) failure_threshold: Option<u32>,
}

/// Runs a command; status 0 is success.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping such as `{command: [true]}`")]
#[schemars(rename = "Exec")]
pub(super) struct RawExec {
    /// As the `command` of a process: a list, or one text that is split without a shell.
    pub(super) command: TextOr<Vec<Scalar>>,
}

/// HTTP GET.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping such as `{port: 8080, path: /}`")]
#[schemars(rename = "HttpGet")]
pub(super) struct RawHttpGet {
    /// Host name or address; 127.0.0.1 when not given.
    #[serde(default)]
    pub(super) host: Option<String>,
    /// TCP port.
    pub(super) port: u16,
    /// Path and query; `/` when not given.
    #[serde(default)]
    pub(super) path: Option<String>,
    /// Only `http`.
    #[serde(default)]
    pub(super) scheme: Option<String>,
}

/// A TCP connection.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping such as `{port: 6379}`")]
#[schemars(rename = "Tcp")]
pub(super) struct RawTcp {
    /// Host name or address; 127.0.0.1 when not given.
    #[serde(default)]
    pub(super) host: Option<String>,
    /// TCP port.
    pub(super) port: u16,
}

/// Whether and how it is restarted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping such as `{restart: always}`")]
#[schemars(rename = "Availability")]
pub(super) struct RawAvailability {
    /// When an exit leads to a restart.
    pub(super) restart: Option<RestartText>,
    /// Restarts allowed within `period`; at one more exit Grace gives up.
    pub(super) intensity: Option<u32>,
    /// The window in which restarts are counted.
    pub(super) period: Option<DurationText>,
    /// Waiting time before a restart: a mapping, or one duration for a fixed one.
    pub(super) backoff: Option<TextOr<RawBackoff>>,
    /// A fixed `backoff` in whole seconds.
    pub(super) backoff_seconds: Option<u32>,
}

/// When an exit leads to a restart: `always`, `on_failure` (a signal, a status other than 0, a hang) or `no`. A tool
/// that takes `no` for a boolean may have written `false`; it means the same.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(rename = "Restart")]
pub(super) struct RestartText(
    #[schemars(extend(
        "type" = ["string", "boolean"],
        "enum" = super::words::schema_words(&super::words::RESTARTS)
    ))]
    pub(super) String,
);

/// Waiting time before a restart. The first restart in a window is at once.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a duration such as `2s`, or a mapping")]
#[schemars(rename = "Backoff")]
pub(super) struct RawBackoff {
    /// Before the second restart in a window.
    pub(super) initial: Option<DurationText>,
    /// Never longer than this.
    pub(super) max: Option<DurationText>,
    /// Growth from one restart to the next.
    pub(super) factor: Option<f64>,
    /// Share of the waiting time that is random, 0.0 to 1.0.
    pub(super) jitter: Option<f64>,
}

/// How it is stopped.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping such as `{signal: SIGTERM, timeout: 10s}`")]
#[schemars(rename = "Shutdown")]
pub(super) struct RawShutdown {
    /// Name or number of the signal that is sent first.
    pub(super) signal: Option<Scalar>,
    /// After this long, SIGKILL.
    pub(super) timeout: Option<DurationText>,
    /// `timeout` in whole seconds.
    pub(super) timeout_seconds: Option<u32>,
}

/// For programs that send `WATCHDOG=1`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping such as `{interval: 2s}`")]
#[schemars(rename = "Watchdog")]
pub(super) struct RawWatchdog {
    /// It is restarted as hung when no `WATCHDOG=1` came for this long; at least 100ms.
    pub(super) interval: DurationText,
}

/// Limits on what it may use.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping such as `{memory: 512MiB}`")]
#[schemars(rename = "Resources")]
pub(super) struct RawResources {
    /// Memory, such as `512MiB`.
    pub(super) memory: Option<SizeText>,
    /// CPU in cores, such as 1.5.
    pub(super) cpu: Option<f64>,
    /// Open file descriptors.
    pub(super) open_files: Option<u64>,
    /// Processes and threads.
    pub(super) processes: Option<u64>,
}

/// How output is kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping such as `{max_size: 10MiB, max_files: 5}`")]
#[schemars(rename = "Log")]
pub(super) struct RawLog {
    /// A file that would grow past this is rotated.
    pub(super) max_size: Option<SizeText>,
    /// Files kept, the current one included.
    pub(super) max_files: Option<u32>,
}

/// What it may say and hear on the bus.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping with `publish` and `subscribe`")]
#[schemars(rename = "Permissions")]
pub(super) struct RawPermissions {
    /// Subject patterns it may publish to: a list, or `{allow, deny}`.
    pub(super) publish: Option<ListOr<RawSubjectRules>>,
    /// Subject patterns it may subscribe to: a list, or `{allow, deny}`.
    pub(super) subscribe: Option<ListOr<RawSubjectRules>>,
}

/// Subject patterns: `*` is one word, `>` the rest.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a list of subjects, or a mapping with `allow` and `deny`")]
#[schemars(rename = "SubjectRules")]
pub(super) struct RawSubjectRules {
    /// Patterns that are allowed.
    pub(super) allow: Vec<String>,
    /// Patterns that are denied even where `allow` matches.
    pub(super) deny: Vec<String>,
}

/// A rule over telemetry; exactly one of `above` and `below`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `name`, `metric` and `above` or `below`")]
#[schemars(rename = "Alert")]
pub(super) struct RawAlert {
    /// Unique among the rules.
    pub(super) name: String,
    /// The process or kernel it watches; every one when not given.
    #[serde(default)]
    pub(super) component: Option<String>,
    /// What is measured.
    pub(super) metric: Metric,
    /// It holds while the metric is greater. In the metric's unit; sizes such as `512MiB` work for `memory_bytes`.
    #[serde(default)]
    pub(super) above: Option<Scalar>,
    /// It holds while the metric is less.
    #[serde(default)]
    pub(super) below: Option<Scalar>,
    /// How long it must hold before the alert is raised, and must not hold before it is resolved; 0s when not given.
    #[serde(default, rename = "for")]
    pub(super) hold: Option<DurationText>,
    /// How bad it is; `warning` when not given.
    #[serde(default)]
    pub(super) severity: Option<Severity>,
}

/// A duration with its unit, such as `2s`, `500ms` or `1m30s`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(rename = "Duration")]
pub(super) struct DurationText(
    #[schemars(regex(pattern = r"^([0-9]+(\.[0-9]+)?(us|ms|s|m|h|d))+$"), extend("examples" = ["2s", "500ms", "1m30s"]))]
    pub(super) String,
);

/// A size in bytes with its unit, such as `64KiB` or `10MB`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(rename = "Size")]
pub(super) struct SizeText(
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$"), extend("examples" = ["64KiB", "10MB"]))]
    pub(super) String,
);

/// A text, or a number or boolean that is taken as it is written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct Scalar(#[schemars(extend("type" = ["string", "number", "boolean"]))] pub(super) String);

/// One text, or something longer.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum TextOr<T> {
    /// The short form.
    Text(String),
    /// The long form.
    Full(T),
}

/// A list of texts, or a mapping.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum ListOr<T> {
    /// The short form.
    List(Vec<Scalar>),
    /// The long form.
    Full(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = TextOr<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(TextOr::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                T::deserialize(SeqAccessDeserializer::new(list)).map(TextOr::Full)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Full)
            }
        }
        // Asked for as text, so that a number or `no` arrives as it is written.
        deserializer.deserialize_str(Either(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ListOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = ListOr<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list or a mapping")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(ListOr::List)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(ListOr::Full)
            }
        }
        deserializer.deserialize_str(Either(PhantomData))
    }
}
