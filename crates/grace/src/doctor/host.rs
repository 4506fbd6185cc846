//! Checks of the host: its kernel, its limits, its clock.

use std::{fs, path::Path, time::Duration};

use grace_types::time::{Clock as _, SystemClock, Timestamp};
use rustix::process::{PidfdFlags, Resource};

use super::{Row, kernel};
use crate::limits;

/// A clock that shows less was never set: this release did not exist then.
const RELEASE: Timestamp = Timestamp::from_nanos(1_767_225_600 * 1_000_000_000);

pub(super) fn pidfd() -> Row {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()) {
        Ok(_) => Row::ok("pidfd", format!("Linux {release}")),
        Err(e) => Row::lack(
            "pidfd",
            format!("Linux {release}: {e}"),
            "the end of a process cannot be seen safely",
            "use Linux 5.4 or later, and allow pidfd_open in the container's seccomp profile",
        ),
    }
    .needed()
}

pub(super) fn cgroups() -> Row {
    let check = "cgroup v2";
    let means =
        "`resources: memory` falls back to RLIMIT_AS, `processes` to RLIMIT_NPROC, and `cpu` cannot be held";
    let Ok(controllers) = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") else {
        let v1 = Path::new("/sys/fs/cgroup/memory").is_dir();
        let found = if v1 { "version 1 only" } else { "not mounted" };
        return Row::lack(check, found, means, "boot with systemd.unified_cgroup_hierarchy=1, or mount it");
    };
    let offered: Vec<&str> = controllers.split_whitespace().collect();
    let missing: Vec<&str> = ["cpu", "memory", "pids"].into_iter().filter(|c| !offered.contains(c)).collect();
    if !missing.is_empty() {
        let found = format!("without the controllers {}", missing.join(", "));
        return Row::lack(check, found, means, "enable them in cgroup.subtree_control above this group");
    }
    let Some(own) = own_cgroup() else {
        return Row::lack(check, "this process is in none", means, "mount /proc and the cgroup hierarchy");
    };
    let writable = rustix::fs::access(&own, rustix::fs::Access::WRITE_OK).is_ok();
    if !writable {
        let found = format!("{own} is not ours to divide");
        return Row::lack(check, found, means, "run under systemd with Delegate=yes, or as root");
    }
    Row::ok(check, format!("{own}, with {}", offered.join(", ")))
}

fn own_cgroup() -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(format!("/sys/fs/cgroup{}", path.trim_end_matches('/')))
}

pub(super) fn pressure() -> Row {
    match fs::read_to_string("/proc/pressure/memory") {
        Ok(text) if text.starts_with("some") => Row::ok("pressure (PSI)", "CPU, memory and I/O"),
        _ => Row::lack(
            "pressure (PSI)",
            "not offered",
            "pressure is judged by use alone, and a stall is noticed later",
            "boot with psi=1, on a kernel built with CONFIG_PSI",
        ),
    }
}

pub(super) fn user_namespaces() -> Row {
    let check = "user namespaces";
    let means = "a sandbox needs root, or does without";
    let number = |path: &str| fs::read_to_string(path).ok().and_then(|t| t.trim().parse::<u64>().ok());
    let root = rustix::process::geteuid().is_root();
    if !Path::new("/proc/self/ns/user").exists() || number("/proc/sys/user/max_user_namespaces") == Some(0) {
        return Row::lack(check, "none allowed", means, "sysctl user.max_user_namespaces=10000");
    }
    // Debian's switch, and Ubuntu's.
    if !root && number("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
        return Row::lack(check, "for root only", means, "sysctl kernel.unprivileged_userns_clone=1");
    }
    if !root && number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        let advice = "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile for grace";
        return Row::lack(check, "restricted by AppArmor", means, advice);
    }
    Row::ok(check, "allowed by the kernel's settings")
}

pub(super) fn landlock() -> Row {
    match kernel::landlock_abi() {
        Ok(abi) => Row::ok("Landlock", format!("ABI {abi}")),
        Err(e) => Row::lack(
            "Landlock",
            e.to_string(),
            "a sandbox cannot be kept out of files by the kernel",
            "use Linux 5.13 or later, with landlock among the LSMs that are booted (lsm=landlock,…)",
        ),
    }
}

pub(super) fn open_files() -> Row {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let shown = |n: Option<u64>| n.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
    let found = format!("{}, which may be raised to {}", shown(limit.current), shown(limit.maximum));
    // The broker raises the one to the other.
    if limit.maximum.is_none_or(|n| n >= limits::OPEN_FILES) {
        return Row::ok("open files", found);
    }
    Row::lack(
        "open files",
        found,
        "the broker refuses connections before its own limit is reached",
        format!("`ulimit -Hn {}` before `grace up`, or LimitNOFILE= under systemd", limits::OPEN_FILES),
    )
}

pub(super) fn clock() -> Row {
    let now = SystemClock.now().wall;
    let means = "times in logs and journals are wrong; order and timeouts do not depend on it";
    if now < RELEASE {
        return Row::lack("clock", format!("shows {now}"), means, "set it, and run an NTP client");
    }
    match kernel::clock_error() {
        Ok(Some(error)) => Row::ok("clock", format!("synchronised within {} ms", milliseconds(error))),
        Ok(None) => {
            Row::lack("clock", "synchronised by nobody that the kernel knows of", means, "run an NTP client")
        }
        Err(e) => Row::ok("clock", format!("set; whether it is synchronised cannot be told ({e})")),
    }
}

fn milliseconds(error: Duration) -> u128 {
    error.as_millis().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_a_date() {
        assert_eq!(RELEASE.to_string(), "2026-01-01T00:00:00Z");
    }
}
