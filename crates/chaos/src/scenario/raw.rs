//! A scenario as it is written. The JSON Schema in `schemas/scenario.schema.json` is generated from these types, so their comments
//! are what an editor shows beside each key.

use std::fmt;

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::model::{FaultKind, Pick, Severity, TargetKind};

/// One experiment: what is done to a running Grace, what is expected of it, and what must hold all along.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `id`, `title`, `faults` …")]
#[schemars(title = "Grace chaos scenario")]
pub(super) struct RawScenario {
    /// Version of this format; 1 when not given.
    #[serde(default)]
    pub(super) version: Option<u32>,
    /// Its name on the command line: a-z, 0-9, `-` and `_`, at most 63.
    #[serde(default)]
    #[schemars(required)]
    pub(super) id: Option<String>,
    /// What it is, in a line.
    #[serde(default)]
    #[schemars(required)]
    pub(super) title: Option<String>,
    /// The layer that it is about: 1, 2, 3, or 0 for the user's own programs.
    #[serde(default)]
    pub(super) layer: u8,
    /// What kind of trouble it stages, in a word: `process`, `network`, `resource` …
    #[serde(default)]
    #[schemars(required)]
    pub(super) category: Option<String>,
    /// How bad that trouble would be.
    #[serde(default)]
    #[schemars(required)]
    pub(super) severity: Option<Severity>,
    /// What happens and why it matters, for people.
    #[serde(default)]
    pub(super) description: String,
    /// What must not be touched, whatever the targets say.
    #[serde(default)]
    pub(super) blast_radius: RawBlastRadius,
    /// What is done to whom, and when.
    #[serde(default)]
    pub(super) faults: Vec<RawFault>,
    /// Work that goes on meanwhile.
    #[serde(default)]
    pub(super) load: Vec<RawLoad>,
    /// What is true of a healthy system. Checked before and after the faults; those marked `during` all along.
    #[serde(default)]
    pub(super) steady_state: Vec<RawProbe>,
    /// Safeguards that must fire, by name.
    #[serde(default)]
    pub(super) safeguards: Vec<String>,
    /// Playbooks that must run, by name.
    #[serde(default)]
    pub(super) playbooks: Vec<String>,
    /// Subjects on which a message must have been seen during the run; `*` is one word, `>` the rest.
    #[serde(default)]
    pub(super) telemetry: Vec<String>,
    /// What must be true in the end. One that cannot be evaluated fails the run.
    #[serde(default)]
    pub(super) verifications: Vec<RawVerification>,
    /// From the end of the last fault until everything is as before.
    #[serde(default)]
    pub(super) max_recovery: Option<DurationText>,
    /// When one of these becomes true the run is aborted and everything undone.
    #[serde(default)]
    pub(super) stop_conditions: Vec<RawVerification>,
}

/// What must not be touched.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping with `spare`")]
#[schemars(rename = "BlastRadius")]
pub(super) struct RawBlastRadius {
    /// Components by name.
    pub(super) spare: Vec<String>,
}

/// What is done to whom, and when.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `type` and `target`")]
#[schemars(rename = "Fault")]
pub(super) struct RawFault {
    /// What is done.
    #[serde(rename = "type")]
    pub(super) kind: FaultKind,
    /// To whom: a component's name, or a choice among them.
    #[serde(deserialize_with = "target")]
    #[schemars(with = "TargetSchema")]
    pub(super) target: RawTarget,
    /// After the steady state was found to hold; 0s when not given.
    #[serde(default)]
    pub(super) at: Option<DurationText>,
    /// How long it lasts at most. Not for `kill`, which is over at once.
    #[serde(default)]
    pub(super) duration: Option<DurationText>,
    /// Whether the run fails when there is no such target or the fault does not take effect; true when not given.
    #[serde(default)]
    pub(super) needed: Option<bool>,
}

/// To whom a fault is done. All that is given must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a component's name, or a mapping such as `{critical: true}`"
)]
#[schemars(rename = "Target")]
pub(super) struct RawTarget {
    /// One component.
    pub(super) name: Option<String>,
    /// These components.
    pub(super) names: Option<Vec<String>>,
    /// Whether its loss is an emergency.
    pub(super) critical: Option<bool>,
    /// What it is.
    pub(super) kind: Option<TargetKind>,
    /// The layer that it belongs to.
    pub(super) layer: Option<u8>,
    /// But not these.
    pub(super) not: Vec<String>,
    /// Only so many of them.
    pub(super) count: Option<u32>,
    /// Which, where there are more than `count`: the `first` by name (when not given), or any at `random`.
    pub(super) pick: Option<Pick>,
}

/// The two forms of a target, for the schema.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum TargetSchema {
    Name(String),
    Choice(RawTarget),
}

/// Work that goes on during a run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping such as `{type: log_writer, writers: 4}`")]
#[schemars(rename = "Load")]
pub(super) struct RawLoad {
    /// What it does.
    #[serde(rename = "type")]
    pub(super) kind: RawLoadKind,
    /// How many of them, 1 to 256; 1 when not given.
    #[serde(default)]
    pub(super) writers: Option<u32>,
    /// Records a second of each, at most; 50 when not given.
    #[serde(default)]
    pub(super) rate: Option<u32>,
    /// Of each record; 300B when not given.
    #[serde(default)]
    pub(super) size: Option<SizeText>,
    /// How long at most. It ends with the observation in any case.
    #[serde(default)]
    pub(super) duration: Option<DurationText>,
}

/// What a load does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LoadKind")]
pub(super) enum RawLoadKind {
    /// Appends records to the tamper-evident log over the bus, and keeps which were acknowledged.
    LogWriter,
}

/// Something that is true of a healthy system.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `name` and `check`")]
#[schemars(rename = "Probe")]
pub(super) struct RawProbe {
    /// What it says, in a few words.
    pub(super) name: String,
    /// A CEL expression over `status`, `components`, `down_at_once` and `load`.
    pub(super) check: String,
    /// How long it may be untrue: before and after the faults until it holds (10s when not given), during them at a stretch (0s).
    #[serde(default)]
    pub(super) within: Option<DurationText>,
    /// Whether it must hold while the faults are on, too.
    #[serde(default)]
    pub(super) during: bool,
}

/// A condition with a name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `name` and `check`")]
#[schemars(rename = "Verification")]
pub(super) struct RawVerification {
    /// What it says, in a few words.
    pub(super) name: String,
    /// A CEL expression. Verifications see all facts of the run; stop conditions see what steady-state probes see.
    pub(super) check: String,
}

/// A duration with its unit, such as `2s`, `500ms` or `1m30s`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(rename = "Duration")]
pub(super) struct DurationText(
    #[schemars(regex(pattern = r"^([0-9]+(\.[0-9]+)?(us|ms|s|m|h|d))+$"), extend("examples" = ["2s", "500ms", "1m30s"]))]
    pub(super) String,
);

/// A size in bytes with its unit, such as `300B` or `4KiB`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(rename = "Size")]
pub(super) struct SizeText(
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?(B|kB|KB|MB|KiB|MiB)$"), extend("examples" = ["300B", "4KiB"]))]
    pub(super) String,
);

/// A target in either form.
fn target<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RawTarget, D::Error> {
    struct Either;
    impl<'de> Visitor<'de> for Either {
        type Value = RawTarget;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a component's name, or a mapping such as `{critical: true}`")
        }
        fn visit_str<E: de::Error>(self, name: &str) -> Result<RawTarget, E> {
            Ok(RawTarget { name: Some(name.to_owned()), ..RawTarget::default() })
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawTarget, A::Error> {
            RawTarget::deserialize(MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_str(Either)
}
