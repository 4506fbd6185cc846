//! What is read from `/proc` and the cgroup files, and what is written to them. Pure.
//!
//! Formats: cgroups(7), proc_pid_mountinfo(5), and the kernel's `Documentation/admin-guide/cgroup-v2.rst`.

use std::path::{Path, PathBuf};

use grace_types::manifest::Resources;

/// What `cpu.max` counts in, in µs: the kernel's default period.
const CPU_PERIOD_MICROS: f64 = 100_000.0;
/// The smallest quota that the kernel takes, in µs.
const CPU_QUOTA_MIN_MICROS: f64 = 1_000.0;

/// Which of the controllers that Grace uses there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Controllers {
    /// `cpu.max`.
    pub(super) cpu: bool,
    /// `memory.max`.
    pub(super) memory: bool,
    /// `pids.max`.
    pub(super) pids: bool,
}

impl Controllers {
    /// From `cgroup.controllers` or `cgroup.subtree_control`: names with spaces between them.
    pub(super) fn parse(text: &str) -> Self {
        let has = |name| text.split_ascii_whitespace().any(|word| word == name);
        Self { cpu: has("cpu"), memory: has("memory"), pids: has("pids") }
    }

    /// Those that limits of this kind need.
    pub(super) const fn needed(limits: &Resources) -> Self {
        Self {
            cpu: limits.cpu_cores.is_some(),
            memory: limits.memory_bytes.is_some(),
            pids: limits.processes.is_some(),
        }
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            cpu: self.cpu && other.cpu,
            memory: self.memory && other.memory,
            pids: self.pids && other.pids,
        }
    }

    pub(super) const fn is_empty(self) -> bool {
        !self.cpu && !self.memory && !self.pids
    }

    /// Their names, as the kernel writes them.
    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        [(self.cpu, "cpu"), (self.memory, "memory"), (self.pids, "pids")]
            .into_iter()
            .filter_map(|(is, name)| is.then_some(name))
    }
}

/// The files of a component's group and what belongs in them. A limit that is not set is written too: the group may hold that
/// of an earlier run.
pub(super) fn limit_files(limits: &Resources, held: Controllers) -> Vec<(&'static str, String)> {
    let number = |n: Option<u64>| n.map_or_else(|| "max".to_owned(), |n| n.to_string());
    let cpu = limits.cpu_cores.map_or_else(
        || "max".to_owned(),
        |cores| format!("{:.0}", (cores * CPU_PERIOD_MICROS).max(CPU_QUOTA_MIN_MICROS)),
    );
    let files = [
        (held.cpu, "cpu.max", format!("{cpu} {CPU_PERIOD_MICROS}")),
        (held.memory, "memory.max", number(limits.memory_bytes)),
        (held.pids, "pids.max", number(limits.processes)),
    ];
    files.into_iter().filter_map(|(is, file, text)| is.then_some((file, text))).collect()
}

/// The limits that a group with these controllers does not hold.
pub(super) fn rest(limits: &Resources, held: Controllers) -> Resources {
    Resources {
        memory_bytes: limits.memory_bytes.filter(|_| !held.memory),
        cpu_cores: limits.cpu_cores.filter(|_| !held.cpu),
        open_files: limits.open_files,
        processes: limits.processes.filter(|_| !held.pids),
    }
}

/// A process's group of version 2, from `/proc/PID/cgroup`, counted from the root of its cgroup namespace. `None` where there is
/// none that can be reached: it was removed, or lies outside the namespace.
pub(super) fn group_of(proc_cgroup: &str) -> Option<&Path> {
    let path = proc_cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let reachable = !path.ends_with(" (deleted)") && !path.split('/').any(|part| part == "..");
    reachable.then(|| Path::new(path))
}

/// A mounted hierarchy of version 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Which of its groups the mount point shows.
    pub(super) root: PathBuf,
    /// The mount point.
    pub(super) point: PathBuf,
}

impl Mount {
    /// The folder of a group, if it lies under this mount.
    pub(super) fn folder(&self, group: &Path) -> Option<PathBuf> {
        let below = group.strip_prefix(&self.root).ok()?;
        // Joining an empty path would leave a slash at the end.
        Some(if below.as_os_str().is_empty() { self.point.clone() } else { self.point.join(below) })
    }
}

/// The mounts of cgroup v2 in `/proc/PID/mountinfo`.
pub(super) fn mounts(mountinfo: &str) -> impl Iterator<Item = Mount> {
    mountinfo.lines().filter_map(|line| {
        // ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELD…] - TYPE SOURCE OPTIONS
        let (mount, system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (system.split(' ').next() == Some("cgroup2"))
            .then(|| Mount { root: unescaped(root).into(), point: unescaped(point).into() })
    })
}

/// Paths in mountinfo have space, tab, newline and backslash as octal numbers: `\040`.
fn unescaped(text: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.into_iter().fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}
