//! One entry under `processes:`, as written → validated.

use std::time::Duration;

use super::{
    checks::Checks,
    model::{
        Availability, Backoff, ComponentKind, Condition, LogSettings, Permissions, ProcessSpec, Resources,
        Shutdown, SubjectRules,
    },
    names::subject_pattern,
    probe::Purpose,
    raw::{
        ListOr, RawAvailability, RawPermissions, RawProcess, RawResources, RawShutdown, RawSubjectRules,
        Scalar, TextOr,
    },
    units::LONGEST,
};
use crate::{limits::MANIFEST_REPLICAS, yaml::Path as Field};

const MILLISECOND: Duration = Duration::from_millis(1);

/// An entry of the manifest before its replicas become processes of their own.
pub(super) struct Entry {
    /// As every replica will be, but for the name, the number and the dependencies.
    pub(super) template: ProcessSpec,
    pub(super) replicas: u32,
    pub(super) depends_on: Vec<Dependency>,
}

/// What an entry waits for, and where it says so.
pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) condition: Condition,
    pub(super) at: Field,
}

impl Checks<'_> {
    pub(super) fn process(&mut self, at: &Field, name: &str, raw: &RawProcess) -> Entry {
        let mut spec = ProcessSpec::new(name, ComponentKind::Process, self.argv(at, raw));
        spec.environment = self.environment(at, raw);
        spec.working_dir = self.working_dir(&at.key("working_dir"), raw.working_dir.as_deref());
        self.probes(at, raw, &mut spec);
        spec.start_timeout = self.duration(
            &at.key("start_timeout"),
            raw.start_timeout.as_ref(),
            MILLISECOND..=LONGEST,
            spec.start_timeout,
        );
        spec.availability = self.availability(&at.key("availability"), &raw.availability);
        spec.shutdown = self.shutdown(&at.key("shutdown"), &raw.shutdown);
        spec.watchdog = raw.watchdog.as_ref().map(|watchdog| {
            // Below this, a busy machine alone would make healthy programs miss their beats.
            let range = Duration::from_millis(100)..=Duration::from_secs(3600);
            let at = at.key("watchdog").key("interval");
            self.duration(&at, Some(&watchdog.interval), range, Duration::from_secs(1))
        });
        spec.resources = self.resources(&at.key("resources"), &raw.resources);
        let (log, default) = (at.key("log"), LogSettings::default());
        spec.log = LogSettings {
            max_size_bytes: self.size(
                &log.key("max_size"),
                raw.log.max_size.as_ref(),
                4096..=1 << 40,
                default.max_size_bytes,
            ),
            max_files: self.number(&log.key("max_files"), raw.log.max_files, 1..=100, default.max_files),
        };
        spec.permissions = self.permissions(&at.key("permissions"), &raw.permissions);
        spec.critical = raw.critical;
        Entry {
            template: spec,
            replicas: self.number(&at.key("replicas"), raw.replicas, 1..=MANIFEST_REPLICAS, 1),
            depends_on: self.dependencies(&at.key("depends_on"), raw),
        }
    }

    fn argv(&mut self, at: &Field, raw: &RawProcess) -> Vec<String> {
        let key = at.key("command");
        let mut argv = match &raw.command {
            Some(command) => self.command(&key, command),
            None => {
                if !self.document.is_lost(&key) {
                    let help = "for example `command: [python3, -m, http.server]`".to_owned();
                    self.document.fault_at_key(at, "`command` is missing", Some(help));
                }
                Vec::new()
            }
        };
        for (index, Scalar(word)) in raw.args.iter().enumerate() {
            if word.contains('\0') {
                self.fault(&at.key("args").index(index), "a command cannot contain the character NUL");
            }
            argv.push(word.clone());
        }
        argv
    }

    fn working_dir(&mut self, at: &Field, folder: Option<&str>) -> Option<std::path::PathBuf> {
        match folder {
            Some(folder) if folder.is_empty() || folder.contains('\0') => {
                self.fault(at, "expected the path of a folder");
                None
            }
            Some(folder) => Some(self.folder.join(folder)),
            None => (!self.folder.as_os_str().is_empty()).then(|| self.folder.clone()),
        }
    }

    fn probes(&mut self, at: &Field, raw: &RawProcess, spec: &mut ProcessSpec) {
        let mut probe = |key: &str, raw: &Option<_>, purpose| {
            raw.as_ref().and_then(|raw| self.probe(&at.key(key), raw, purpose))
        };
        spec.readiness = probe("readiness_probe", &raw.readiness_probe, Purpose::Readiness);
        spec.liveness = probe("liveness_probe", &raw.liveness_probe, Purpose::Liveness);
        spec.startup = probe("startup_probe", &raw.startup_probe, Purpose::Startup);
        if let Some(pattern) = &raw.ready_log_line {
            let at = at.key("ready_log_line");
            if raw.readiness_probe.is_some() {
                let message = "there is a `readiness_probe` too, and readiness is decided by one of them";
                self.fault_with_help(&at, message, "keep one of the two");
            } else {
                spec.readiness = self.ready_log_line(&at, pattern);
            }
        }
    }

    fn availability(&mut self, at: &Field, raw: &RawAvailability) -> Availability {
        let default = Availability::default();
        let restart = self.restart(&at.key("restart"), raw.restart.as_ref()).unwrap_or(default.restart);
        let day = Duration::from_secs(86_400);
        Availability {
            restart,
            intensity: self.number(&at.key("intensity"), raw.intensity, 0..=10_000, default.intensity),
            period: self.duration(&at.key("period"), raw.period.as_ref(), MILLISECOND..=day, default.period),
            backoff: self.backoff(at, raw),
        }
    }

    fn backoff(&mut self, at: &Field, raw: &RawAvailability) -> Backoff {
        let default = Backoff::default();
        let range = || Duration::ZERO..=Duration::from_secs(86_400);
        let key = at.key("backoff");
        let fixed = |wait| Backoff { initial: wait, max: wait, factor: 1.0, jitter: 0.0 };
        match (&raw.backoff, raw.backoff_seconds) {
            (None, None) => default,
            (None, seconds @ Some(_)) => {
                fixed(self.duration_or_seconds(at, "backoff", (None, seconds), range(), default.max))
            }
            (Some(TextOr::Text(text)), seconds) => {
                let text = super::raw::DurationText(text.clone());
                fixed(self.duration_or_seconds(at, "backoff", (Some(&text), seconds), range(), default.max))
            }
            (Some(TextOr::Full(raw)), seconds) => {
                if seconds.is_some() {
                    let message = "`backoff` is given too";
                    self.fault_with_help(&at.key("backoff_seconds"), message, "keep one of the two");
                }
                let initial =
                    self.duration(&key.key("initial"), raw.initial.as_ref(), range(), default.initial);
                let max = self.duration(&key.key("max"), raw.max.as_ref(), range(), default.max.max(initial));
                if max < initial {
                    let at = key.key(if raw.max.is_some() { "max" } else { "initial" });
                    self.fault(&at, "`max` must not be less than `initial`");
                }
                Backoff {
                    initial,
                    max,
                    factor: self.number(&key.key("factor"), raw.factor, 1.0..=100.0, default.factor),
                    jitter: self.number(&key.key("jitter"), raw.jitter, 0.0..=1.0, default.jitter),
                }
            }
        }
    }

    fn shutdown(&mut self, at: &Field, raw: &RawShutdown) -> Shutdown {
        let default = Shutdown::default();
        let signal = match &raw.signal {
            None => default.signal,
            Some(Scalar(word)) => self.signal(&at.key("signal"), word).unwrap_or(default.signal),
        };
        let range = Duration::ZERO..=Duration::from_secs(3600);
        let given = (raw.timeout.as_ref(), raw.timeout_seconds);
        Shutdown { signal, timeout: self.duration_or_seconds(at, "timeout", given, range, default.timeout) }
    }

    fn resources(&mut self, at: &Field, raw: &RawResources) -> Resources {
        let memory = at.key("memory");
        Resources {
            memory_bytes: raw
                .memory
                .as_ref()
                .map(|text| self.size(&memory, Some(text), 1 << 20..=1 << 50, 1 << 20)),
            cpu_cores: raw.cpu.map(|cores| self.number(&at.key("cpu"), Some(cores), 0.01..=4096.0, 1.0)),
            open_files: raw
                .open_files
                .map(|files| self.number(&at.key("open_files"), Some(files), 16..=1 << 30, 1024)),
            processes: raw
                .processes
                .map(|count| self.number(&at.key("processes"), Some(count), 1..=1 << 22, 1024)),
        }
    }

    fn permissions(&mut self, at: &Field, raw: &RawPermissions) -> Permissions {
        Permissions {
            publish: self.subjects(&at.key("publish"), raw.publish.as_ref()),
            subscribe: self.subjects(&at.key("subscribe"), raw.subscribe.as_ref()),
        }
    }

    fn subjects(&mut self, at: &Field, raw: Option<&ListOr<RawSubjectRules>>) -> SubjectRules {
        match raw {
            None => SubjectRules::default(),
            Some(ListOr::List(list)) => {
                let allow: Vec<String> = list.iter().map(|Scalar(text)| text.clone()).collect();
                self.patterns(at, &allow);
                SubjectRules { allow, deny: Vec::new() }
            }
            Some(ListOr::Full(rules)) => {
                self.patterns(&at.key("allow"), &rules.allow);
                self.patterns(&at.key("deny"), &rules.deny);
                SubjectRules { allow: rules.allow.clone(), deny: rules.deny.clone() }
            }
        }
    }

    fn patterns(&mut self, at: &Field, patterns: &[String]) {
        for (index, pattern) in patterns.iter().enumerate() {
            if let Err(message) = subject_pattern(pattern) {
                self.fault(&at.index(index), message);
            }
        }
    }

    fn dependencies(&mut self, at: &Field, raw: &RawProcess) -> Vec<Dependency> {
        match &raw.depends_on {
            None => Vec::new(),
            Some(ListOr::List(names)) => {
                let names = names.iter().enumerate();
                names
                    .map(|(index, Scalar(name))| Dependency {
                        name: name.clone(),
                        condition: Condition::Ready,
                        at: at.index(index),
                    })
                    .collect()
            }
            Some(ListOr::Full(map)) => map
                .iter()
                .map(|(name, raw)| {
                    let at = at.key(name);
                    let condition = self.condition(&at.key("condition"), raw.condition.as_ref());
                    Dependency { name: name.clone(), condition, at }
                })
                .collect(),
        }
    }
}
