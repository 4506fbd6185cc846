//! The manifest as written → the validated [`Manifest`]: defaults filled in, references checked, replicas expanded.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    checks::Checks,
    model::{
        AlertRule, BusSettings, Comparison, Condition, Layer2Settings, Manifest, ProcessSpec, RestartPolicy,
        Severity, WORKERS,
    },
    names::{RESERVED_NAMES, process_name},
    process::{Dependency, Entry},
    raw::{RawAlert, RawBus, RawLayer2, RawManifest, Scalar, SizeText},
    units,
};
use crate::{
    limits::MANIFEST_PROCESSES,
    yaml::{Path as Field, nearest, suggest},
};

impl Checks<'_> {
    pub(super) fn manifest(&mut self, raw: &RawManifest) -> Manifest {
        let root = Field::default();
        if raw.version.is_some_and(|version| version != 1) {
            self.fault(&root.key("version"), "expected 1, the only version of this format so far");
        }
        let bus = self.bus(&root.key("bus"), &raw.bus);
        let api = self.api(&root.key("api"), &raw.api, bus.port);
        let telemetry = self.telemetry(&root.key("telemetry"), &raw.telemetry);
        let at = root.key("processes");
        let mut entries = BTreeMap::new();
        for (name, raw) in &raw.processes {
            let at = at.key(name);
            if let Err((message, help)) = process_name(name) {
                self.document.fault_at_key(&at, message, help);
            }
            entries.insert(name.clone(), self.process(&at, name, raw));
        }
        self.dependencies_exist(&entries);
        self.no_cycles(&entries);
        let processes = self.expand(&at, &entries);
        let alerts = self.alerts(&root.key("alerts"), &raw.alerts, &entries);
        let workers = self.number(&root.key("workers"), raw.workers, 0..=64, WORKERS);
        Manifest {
            bus,
            api,
            telemetry,
            processes,
            alerts,
            include: raw.include.clone(),
            intents: raw.intents.clone(),
            triggers: raw.triggers.clone(),
            policies: raw.policies.clone(),
            schedules: raw.schedules.clone(),
            workers,
            layer2: self.layer2(&root.key("layer2"), &raw.layer2),
            ..Manifest::default()
        }
    }

    fn bus(&mut self, at: &Field, raw: &RawBus) -> BusSettings {
        let default = BusSettings::default();
        let (payload, pending) = (at.key("max_payload"), at.key("max_pending"));
        let max_payload =
            self.size(&payload, raw.max_payload.as_ref(), 1024..=64 << 20, default.max_payload_bytes as u64);
        let max_pending =
            self.size(&pending, raw.max_pending.as_ref(), 4096..=1 << 30, default.max_pending_bytes as u64);
        if max_pending < max_payload {
            let at = if raw.max_pending.is_some() { pending } else { payload };
            self.fault(&at, "`max_pending` must have room for one message of `max_payload`");
        }
        let connections = at.key("max_connections");
        let default_connections = u32::try_from(default.max_connections).unwrap_or(u32::MAX);
        let max_connections = self.number(&connections, raw.max_connections, 1..=65_536, default_connections);
        BusSettings {
            port: raw.port.unwrap_or(default.port),
            max_payload_bytes: usize::try_from(max_payload).unwrap_or(default.max_payload_bytes),
            max_pending_bytes: usize::try_from(max_pending).unwrap_or(default.max_pending_bytes),
            max_connections: max_connections as usize,
        }
    }

    fn layer2(&mut self, at: &Field, raw: &RawLayer2) -> Layer2Settings {
        let default = Layer2Settings::default();
        // Each look is written down: more often than this is for tests, and would be the journal's load.
        let often = Duration::from_millis(100)..=Duration::from_secs(3600);
        let within = Duration::from_secs(1)..=Duration::from_secs(3600);
        let most = 1 << 20;
        let settings = Layer2Settings {
            interval: self.duration(&at.key("interval"), raw.interval.as_ref(), often, default.interval),
            ready_within: self.duration(
                &at.key("ready_within"),
                raw.ready_within.as_ref(),
                within,
                default.ready_within,
            ),
            queue_warning: self.number(
                &at.key("queue_warning"),
                raw.queue_warning,
                1..=most,
                default.queue_warning,
            ),
            queue_critical: self.number(
                &at.key("queue_critical"),
                raw.queue_critical,
                1..=most,
                default.queue_critical,
            ),
            dispatch_rate_warning: self.number(
                &at.key("dispatch_rate_warning"),
                raw.dispatch_rate_warning,
                0.0..=1e6,
                default.dispatch_rate_warning,
            ),
            subscriptions_warning: raw.subscriptions_warning,
        };
        if settings.queue_critical < settings.queue_warning {
            let key = if raw.queue_critical.is_some() { "queue_critical" } else { "queue_warning" };
            self.fault(&at.key(key), "`queue_critical` must be at least `queue_warning`");
        }
        settings
    }

    fn dependencies_exist(&mut self, entries: &BTreeMap<String, Entry>) {
        for entry in entries.values() {
            for Dependency { name, condition, at } in &entry.depends_on {
                let Some(found) = entries.get(name) else {
                    self.unknown_dependency(at, name, entries);
                    continue;
                };
                let waits_for_its_end =
                    matches!(condition, Condition::Completed | Condition::CompletedSuccessfully);
                if waits_for_its_end && found.template.availability.restart == RestartPolicy::Always {
                    let message = format!("`{name}` is restarted after every exit, so it never completes");
                    let help = format!("set `availability: {{restart: on_failure}}` (or `no`) for `{name}`");
                    self.document.fault_at_key(at, message, Some(help));
                }
            }
        }
    }

    fn unknown_dependency(&mut self, at: &Field, name: &str, entries: &BTreeMap<String, Entry>) {
        // A process that could not be read at all has been reported; it is not unknown.
        if self.document.is_lost(&Field::default().key("processes").key(name)) {
            return;
        }
        let shown = name.escape_debug();
        let help = if RESERVED_NAMES.contains(&name) {
            Some("Grace starts its own components before every process; leave this out".to_owned())
        } else {
            suggest(name, entries.keys().map(String::as_str))
        };
        self.document.fault_at_key(at, format!("there is no process `{shown}`"), help);
    }

    /// Reports each cycle once, as `a -> b -> a`.
    fn no_cycles(&mut self, entries: &BTreeMap<String, Entry>) {
        let graph = entries.iter().map(|(name, entry)| {
            (name.as_str(), entry.depends_on.iter().map(|dependency| dependency.name.as_str()).collect())
        });
        for cycle in super::plan::cycles(graph.collect()) {
            let (Some(first), next) = (cycle.first(), cycle.get(1).or(cycle.first())) else { continue };
            let dependencies =
                entries.get(*first).map(|entry| entry.depends_on.as_slice()).unwrap_or_default();
            let edge = dependencies.iter().find(|dependency| Some(&dependency.name.as_str()) == next);
            if let Some(edge) = edge {
                let message =
                    format!("these wait for each other for ever: {} -> {first}", cycle.join(" -> "));
                self.document.fault_at_key(
                    &edge.at,
                    message,
                    Some("remove one of these dependencies".to_owned()),
                );
            }
        }
    }

    fn expand(&mut self, at: &Field, entries: &BTreeMap<String, Entry>) -> BTreeMap<String, ProcessSpec> {
        let total: usize = entries.values().map(|entry| entry.replicas as usize).sum();
        if total > MANIFEST_PROCESSES {
            let message = format!("{total} processes; at most {MANIFEST_PROCESSES}, replicas counted");
            self.document.fault_at_key(at, message, None);
            return BTreeMap::new();
        }
        let mut processes = BTreeMap::new();
        for (name, entry) in entries {
            let depends_on: BTreeMap<String, Condition> = entry
                .depends_on
                .iter()
                .filter_map(|dependency| Some((dependency, entries.get(&dependency.name)?)))
                .flat_map(|(dependency, target)| {
                    replica_names(&dependency.name, target.replicas).map(|name| (name, dependency.condition))
                })
                .collect();
            for (index, replica) in replica_names(name, entry.replicas).enumerate() {
                let at = at.key(name);
                let collides = entry.replicas > 1 && entries.contains_key(&replica);
                if collides {
                    let message = format!("its replica `{replica}` has the name of another process");
                    self.document.fault_at_key(&at, message, None);
                } else if entry.replicas > 1 && process_name(&replica).is_err() && process_name(name).is_ok()
                {
                    let message = format!("its replica `{replica}` has too long a name");
                    self.document.fault_at_key(&at, message, None);
                    break;
                }
                let mut spec = entry.template.clone();
                spec.name.clone_from(&replica);
                spec.depends_on.clone_from(&depends_on);
                spec.environment.insert("GRACE_REPLICA".to_owned(), Some((index + 1).to_string()));
                processes.insert(replica, spec);
            }
        }
        processes
    }

    fn alerts(&mut self, at: &Field, raw: &[RawAlert], entries: &BTreeMap<String, Entry>) -> Vec<AlertRule> {
        let mut names = BTreeSet::new();
        let mut rules = Vec::new();
        for (index, raw) in raw.iter().enumerate() {
            let at = at.index(index);
            if let Some(rule) = self.alert(&at, raw) {
                if !names.insert(rule.name.clone()) {
                    self.fault(&at.key("name"), "another rule has this name");
                }
                self.watch(&at.key("component"), rule, entries, &mut rules);
            }
        }
        rules
    }

    fn alert(&mut self, at: &Field, raw: &RawAlert) -> Option<AlertRule> {
        if raw.name.is_empty() || raw.name.len() > 100 || raw.name.chars().any(char::is_control) {
            self.fault(&at.key("name"), "expected a name of 1 to 100 characters");
        }
        let (comparison, key, Scalar(text)) = match (&raw.above, &raw.below) {
            (Some(above), None) => (Comparison::Above, "above", above),
            (None, Some(below)) => (Comparison::Below, "below", below),
            (Some(_), Some(_)) => {
                self.fault_with_help(
                    &at.key("below"),
                    "`above` is given too",
                    "keep one, or write two rules",
                );
                return None;
            }
            (None, None) => {
                if !self.document.is_lost(&at.key("above")) && !self.document.is_lost(&at.key("below")) {
                    self.fault(&at.key("name"), "this rule needs `above` or `below`");
                }
                return None;
            }
        };
        let threshold = match text.parse::<f64>() {
            Ok(number) if number.is_finite() => number,
            _ if raw.metric == super::model::Metric::MemoryBytes => {
                self.size(&at.key(key), Some(&SizeText(text.clone())), 0..=1 << 50, 0) as f64
            }
            _ => {
                self.fault(&at.key(key), format!("expected a number, found `{}`", text.escape_debug()));
                0.0
            }
        };
        let none = Duration::ZERO;
        Some(AlertRule {
            name: raw.name.clone(),
            component: raw.component.clone(),
            metric: raw.metric,
            comparison,
            threshold,
            hold: self.duration(&at.key("for"), raw.hold.as_ref(), none..=units::LONGEST, none),
            severity: raw.severity.unwrap_or(Severity::Warning),
        })
    }

    /// A rule about a process with replicas becomes one for each of them.
    fn watch(
        &mut self,
        at: &Field,
        rule: AlertRule,
        entries: &BTreeMap<String, Entry>,
        rules: &mut Vec<AlertRule>,
    ) {
        let Some(component) = &rule.component else { return rules.push(rule) };
        if let Some(entry) = entries.get(component).filter(|entry| entry.replicas > 1) {
            for (index, replica) in replica_names(component, entry.replicas).enumerate() {
                let name = format!("{}-{}", rule.name, index + 1);
                rules.push(AlertRule { name, component: Some(replica), ..rule.clone() });
            }
            return;
        }
        let replica = component.rsplit_once('-').is_some_and(|(base, number)| {
            let number = number.parse::<u32>().unwrap_or(0);
            entries
                .get(base)
                .is_some_and(|entry| entry.replicas > 1 && (1..=entry.replicas).contains(&number))
        });
        let known =
            replica || entries.contains_key(component) || RESERVED_NAMES.contains(&component.as_str());
        if !known && !self.document.is_lost(&Field::default().key("processes").key(component)) {
            let names = entries.keys().map(String::as_str).chain(RESERVED_NAMES);
            let help = nearest(component, names).map(|near| format!("did you mean `{near}`?"));
            let message = format!("there is no process or kernel `{}`", component.escape_debug());
            self.document.fault(at, message, help);
        }
        rules.push(rule);
    }
}

/// `web`, or `web-1`, `web-2` … when there are several.
fn replica_names(name: &str, replicas: u32) -> impl Iterator<Item = String> {
    (1..=replicas).map(move |number| if replicas == 1 { name.to_owned() } else { format!("{name}-{number}") })
}
