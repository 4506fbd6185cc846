//! The scenario as written → the checked [`Scenario`]. Checks report what is wrong and go on, so that one run tells all of it.

use std::{collections::BTreeSet, fmt, ops::RangeInclusive, path::Path, time::Duration};

use grace_types::{
    limits::{NAME_BYTES, YAML_FAULTS},
    manifest::units::{self, NotAQuantity},
    yaml::{Diagnostic, Document, Path as Field},
};

use super::{
    model::{Fault, LogWriters, Origin, Probe, Scenario, Severity, Target, Verification},
    raw::{DurationText, RawFault, RawLoad, RawLoadKind, RawScenario, RawTarget, RawVerification, SizeText},
};
use crate::{condition::Condition, limits};

/// The facts that conditions see while a run goes on.
pub const LIVE_FACTS: [&str; 4] = ["status", "components", "down_at_once", "load"];

/// The facts that verifications see.
pub const FACTS: [&str; 9] = [
    "status",
    "components",
    "faults",
    "events",
    "log",
    "load",
    "recovery_seconds",
    "down_at_once",
    "telemetry",
];

/// Why a scenario was refused: every fault found, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioErrors {
    /// At least one.
    pub errors: Vec<Diagnostic>,
}

impl fmt::Display for ScenarioErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.errors.iter().try_for_each(|error| write!(f, "{error}"))?;
        if self.errors.len() >= YAML_FAULTS {
            writeln!(f, "There may be more: the first {YAML_FAULTS} faults are shown.")?;
        }
        Ok(())
    }
}

impl std::error::Error for ScenarioErrors {}

/// Reads a scenario. `shown` is the name under which faults are reported.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn parse(text: &str, shown: &Path, origin: Origin) -> Result<Scenario, ScenarioErrors> {
    if text.len() > limits::SCENARIO_BYTES {
        let message = format!("it has more than {} bytes", limits::SCENARIO_BYTES);
        return Err(ScenarioErrors { errors: vec![Diagnostic::of_file(shown, message, None)] });
    }
    let mut document = Document::parse(text);
    let raw: Option<RawScenario> = document.decode();
    let scenario = raw.map(|raw| Checks { document: &mut document }.scenario(&raw, text, origin));
    match scenario {
        Some(scenario) if document.is_sound() => Ok(scenario),
        _ => {
            let faults = document.into_faults().into_iter();
            Err(ScenarioErrors { errors: faults.map(|fault| Diagnostic::new(shown, text, fault)).collect() })
        }
    }
}

pub(crate) struct Checks<'a> {
    pub(crate) document: &'a mut Document,
}

impl Checks<'_> {
    fn scenario(&mut self, raw: &RawScenario, text: &str, origin: Origin) -> Scenario {
        let root = Field::default();
        if raw.version.is_some_and(|version| version != 1) {
            self.fault(&root.key("version"), "expected 1, the only version of this format so far");
        }
        let id = self.required(&root, "id", raw.id.as_ref(), Self::id);
        let title = self.required(&root, "title", raw.title.as_ref(), Self::line);
        let category = self.required(&root, "category", raw.category.as_ref(), Self::line);
        if raw.severity.is_none() {
            self.missing(&root, "severity");
        }
        if raw.layer > 3 {
            self.fault(&root.key("layer"), format!("expected 0 to 3, found `{}`", raw.layer));
        }
        if raw.description.len() > limits::DESCRIPTION_BYTES {
            let most = limits::DESCRIPTION_BYTES;
            self.fault(&root.key("description"), format!("at most {most} bytes are taken"));
        }
        let spare = root.key("blast_radius").key("spare");
        self.names(&spare, &raw.blast_radius.spare);
        let scenario = Scenario {
            id,
            title,
            layer: raw.layer,
            category,
            severity: raw.severity.unwrap_or(Severity::Low),
            description: raw.description.clone(),
            faults: self.each(&root.key("faults"), &raw.faults, |checks, at, raw| checks.one_fault(at, raw)),
            load: self.each(&root.key("load"), &raw.load, |checks, at, raw| checks.load(at, raw)),
            steady_state: self.probes(&root.key("steady_state"), raw),
            safeguards: raw.safeguards.clone(),
            playbooks: raw.playbooks.clone(),
            telemetry: raw.telemetry.clone(),
            verifications: self.conditions(&root.key("verifications"), &raw.verifications, &FACTS),
            max_recovery: self.duration(
                &root.key("max_recovery"),
                raw.max_recovery.as_ref(),
                limits::SHORTEST_RECOVERY..=limits::LONGEST,
                Duration::from_secs(180),
            ),
            stop_conditions: self.conditions(&root.key("stop_conditions"), &raw.stop_conditions, &LIVE_FACTS),
            spare: raw.blast_radius.spare.clone(),
            origin,
            text: text.to_owned(),
        };
        for (key, names) in [("safeguards", &raw.safeguards), ("playbooks", &raw.playbooks)] {
            self.names(&root.key(key), names);
        }
        self.subjects(&root.key("telemetry"), &raw.telemetry);
        self.worth_running(&root, raw);
        scenario
    }

    fn missing(&mut self, at: &Field, key: &str) {
        if !self.document.is_lost(&at.key(key)) {
            self.fault(at, format!("`{key}` is missing"));
        }
    }

    fn required(
        &mut self,
        at: &Field,
        key: &str,
        text: Option<&String>,
        check: impl FnOnce(&mut Self, &Field, &str),
    ) -> String {
        match text {
            Some(text) => check(self, &at.key(key), text),
            None => self.missing(at, key),
        }
        text.cloned().unwrap_or_default()
    }

    /// What can neither fail nor do harm says nothing about the system.
    fn worth_running(&mut self, root: &Field, raw: &RawScenario) {
        let judged =
            ["verifications", "steady_state"].iter().any(|key| self.document.is_lost(&root.key(key)));
        if raw.steady_state.is_empty() && raw.verifications.is_empty() && !judged {
            let message = "there is nothing to judge it by: it needs `steady_state` or `verifications`";
            self.document.fault_at_key(&root.key("id"), message, None);
        }
        if raw.severity == Some(Severity::Critical) && raw.faults.is_empty() {
            self.document.fault_at_key(
                &root.key("severity"),
                "there is no fault that could be critical",
                None,
            );
        }
    }

    fn one_fault(&mut self, at: &Field, raw: &RawFault) -> Fault {
        let key = at.key("duration");
        let range = limits::SHORTEST_FAULT..=grace_faults::limits::LONGEST;
        let over_at_once = raw.kind.is_over_at_once();
        let duration = match &raw.duration {
            Some(_) if over_at_once => {
                let message = format!("`{}` is over at once, so it has no duration", raw.kind.word());
                self.document.fault_at_key(&key, message, Some("leave it out".to_owned()));
                None
            }
            None if !over_at_once && !self.document.is_lost(&key) => {
                let message = "`duration` is missing: how long it lasts at most";
                self.document.fault(&at.key("type"), message, Some("for example `duration: 10s`".to_owned()));
                None
            }
            text if over_at_once => text.as_ref().map(|_| Duration::ZERO),
            text => Some(self.duration(&key, text.as_ref(), range, limits::SHORTEST_FAULT)),
        };
        let zero = Duration::ZERO;
        Fault {
            kind: raw.kind,
            target: self.target(&at.key("target"), &raw.target),
            at: self.duration(&at.key("at"), raw.at.as_ref(), zero..=limits::LONGEST, zero),
            duration,
            needed: raw.needed.unwrap_or(true),
        }
    }

    fn target(&mut self, at: &Field, raw: &RawTarget) -> Target {
        let names = match (&raw.name, &raw.names) {
            (Some(_), Some(_)) => {
                self.document.fault_at_key(
                    &at.key("names"),
                    "`name` is given too",
                    Some("keep one".to_owned()),
                );
                None
            }
            (Some(name), None) => Some(vec![name.clone()]),
            (None, names) => names.clone(),
        };
        if let Some(names) = &names {
            if names.is_empty() {
                self.fault(&at.key("names"), "expected at least one name");
            }
            match (&raw.name, &raw.names) {
                (Some(name), _) => self.name(at, name),
                (None, _) => self.names(&at.key("names"), names),
            }
        }
        self.names(&at.key("not"), &raw.not);
        let anything = raw.name.is_some()
            || raw.names.is_some()
            || raw.critical.is_some()
            || raw.kind.is_some()
            || raw.layer.is_some();
        let lost = ["name", "names", "critical", "kind", "layer"]
            .iter()
            .any(|key| self.document.is_lost(&at.key(key)));
        if !anything && !lost {
            let help = "give a name, or `critical`, `kind` or `layer`".to_owned();
            self.document.fault(at, "this would be every component there is", Some(help));
        }
        let count = raw.count.map(|count| {
            let most = u32::try_from(limits::FAULTS).unwrap_or(u32::MAX);
            self.number(&at.key("count"), count, 1..=most) as usize
        });
        if raw.pick.is_some() && count.is_none() {
            self.fault(&at.key("pick"), "`pick` needs `count`: how many to pick");
        }
        Target {
            names,
            critical: raw.critical,
            kind: raw.kind,
            layer: raw.layer,
            not: raw.not.clone(),
            count,
            pick: raw.pick.unwrap_or_default(),
        }
    }

    fn load(&mut self, at: &Field, raw: &RawLoad) -> LogWriters {
        let RawLoadKind::LogWriter = raw.kind;
        let shortest = Duration::from_millis(1);
        let size = self.size(&at.key("size"), raw.size.as_ref(), 64..=limits::RECORD_BYTES, 300);
        LogWriters {
            writers: self.number(&at.key("writers"), raw.writers.unwrap_or(1), 1..=limits::WRITERS),
            rate: self.number(&at.key("rate"), raw.rate.unwrap_or(50), 1..=limits::WRITER_RATE),
            size_bytes: usize::try_from(size).unwrap_or(300),
            duration: self.duration(
                &at.key("duration"),
                raw.duration.as_ref(),
                shortest..=limits::LONGEST,
                limits::LONGEST,
            ),
        }
    }

    fn probes(&mut self, at: &Field, raw: &RawScenario) -> Vec<Probe> {
        self.distinct(at, raw.steady_state.iter().map(|probe| probe.name.as_str()));
        let probes = self.each(at, &raw.steady_state, |checks, at, raw| {
            let range = Duration::ZERO..=limits::LONGEST;
            let given = raw.within.is_some();
            let within =
                checks.duration(&at.key("within"), raw.within.as_ref(), range, limits::STEADY_WITHIN);
            let during = raw.during.then_some(if given { within } else { Duration::ZERO });
            let check = checks.condition(&at.key("check"), &raw.check, &LIVE_FACTS)?;
            Some(Probe { name: raw.name.clone(), check, within, during })
        });
        probes.into_iter().flatten().collect()
    }

    fn conditions(&mut self, at: &Field, raw: &[RawVerification], facts: &[&str]) -> Vec<Verification> {
        self.distinct(at, raw.iter().map(|one| one.name.as_str()));
        let checked = self.each(at, raw, |checks, at, raw| {
            let check = checks.condition(&at.key("check"), &raw.check, facts)?;
            Some(Verification { name: raw.name.clone(), check })
        });
        checked.into_iter().flatten().collect()
    }

    // ---- single values --------------------------------------------------------------------------------------

    fn fault(&mut self, at: &Field, message: impl Into<String>) {
        self.document.fault(at, message, None);
    }

    fn each<R, T>(
        &mut self,
        at: &Field,
        raw: &[R],
        mut check: impl FnMut(&mut Self, &Field, &R) -> T,
    ) -> Vec<T> {
        if raw.len() > limits::SCENARIO_ENTRIES {
            let most = limits::SCENARIO_ENTRIES;
            let message = format!("{} entries; at most {most} are taken", raw.len());
            self.document.fault_at_key(at, message, None);
        }
        let some = raw.iter().take(limits::SCENARIO_ENTRIES).enumerate();
        some.map(|(index, raw)| check(self, &at.index(index), raw)).collect()
    }

    fn distinct<'n>(&mut self, at: &Field, names: impl Iterator<Item = &'n str>) {
        let mut seen = BTreeSet::new();
        for (index, name) in names.enumerate() {
            let at = at.index(index).key("name");
            self.line(&at, name);
            if !seen.insert(name) {
                self.fault(&at, "another one has this name");
            }
        }
    }

    pub(crate) fn condition(&mut self, at: &Field, text: &str, facts: &[&str]) -> Option<Condition> {
        match Condition::compile(text, facts) {
            Ok(condition) => Some(condition),
            Err(bad) => {
                self.document.fault(at, bad.message, bad.help);
                None
            }
        }
    }

    pub(crate) fn id(&mut self, at: &Field, id: &str) {
        let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if id.is_empty() || id.len() > NAME_BYTES || !id.chars().all(sound) {
            let message = format!("expected 1 to {NAME_BYTES} of a-z, 0-9, `-` and `_`");
            self.fault(at, message);
        }
    }

    pub(crate) fn line(&mut self, at: &Field, text: &str) {
        if text.trim().is_empty() || text.len() > limits::LINE_BYTES || text.chars().any(char::is_control) {
            self.fault(at, format!("expected a line of 1 to {} bytes", limits::LINE_BYTES));
        }
    }

    fn names(&mut self, at: &Field, names: &[String]) {
        if names.len() > limits::SCENARIO_ENTRIES {
            let message = format!("{} names; at most {} are taken", names.len(), limits::SCENARIO_ENTRIES);
            self.document.fault_at_key(at, message, None);
        }
        for (index, name) in names.iter().enumerate().take(limits::SCENARIO_ENTRIES) {
            self.name(&at.index(index), name);
        }
    }

    fn name(&mut self, at: &Field, name: &str) {
        let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > NAME_BYTES || !name.chars().all(sound) {
            let shown: String = name.chars().take(NAME_BYTES).flat_map(char::escape_debug).collect();
            self.fault(at, format!("`{shown}` cannot be a name"));
        }
    }

    fn subjects(&mut self, at: &Field, patterns: &[String]) {
        self.each(at, patterns, |checks, at, pattern| {
            if let Err(reason) = grace_bus::subject::validate_pattern(pattern.as_bytes()) {
                checks.fault(at, format!("not a subject: {reason}"));
            }
        });
    }

    fn number(&mut self, at: &Field, value: u32, range: RangeInclusive<u32>) -> u32 {
        if range.contains(&value) {
            return value;
        }
        self.fault(at, format!("expected {} to {}, found `{value}`", range.start(), range.end()));
        *range.start()
    }

    fn quantity(&mut self, at: &Field, error: NotAQuantity) {
        self.document.fault(at, error.message, error.help);
    }

    fn duration(
        &mut self,
        at: &Field,
        text: Option<&DurationText>,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let Some(DurationText(text)) = text else { return default };
        match units::duration(text) {
            Ok(value) if range.contains(&value) => return value,
            Ok(_) => {
                let (least, most) = (written(*range.start()), written(*range.end()));
                self.fault(at, format!("expected {least} to {most}, found `{text}`"));
            }
            Err(error) => self.quantity(at, error),
        }
        default
    }

    fn size(&mut self, at: &Field, text: Option<&SizeText>, range: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(SizeText(text)) = text else { return default };
        match units::size(text) {
            Ok(value) if range.contains(&value) => return value,
            Ok(_) => {
                let (least, most) = (range.start(), range.end() / 1024);
                self.fault(at, format!("expected {least}B to {most}KiB, found `{text}`"));
            }
            Err(error) => self.quantity(at, error),
        }
        default
    }
}

/// A bound in the format's own notation.
fn written(bound: Duration) -> String {
    let millis = bound.as_millis();
    match millis {
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}
