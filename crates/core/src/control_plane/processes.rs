//! The shell's side of a process: its environment, its pipes, its pidfd.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    ffi::OsString,
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use grace_types::{
    id::IncarnationId,
    manifest::{ComponentKind, ProcessSpec},
};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::sync::mpsc;

use super::{Happening, credentials::Credentials};
use crate::{
    cgroup::Group,
    guardian::launch::kept,
    instance::Instance,
    procfs,
    readable::Readable,
    spawn::Spawn,
    supervisor::{Exit, Found},
};

/// Which component a process belongs to. Set in the environment of every process that Grace starts.
const COMPONENT_VARIABLE: &str = "GRACE_COMPONENT";
/// Which run of it. With the former, what a new control plane recognises a process by.
pub(crate) const INCARNATION_VARIABLE: &str = "GRACE_INCARNATION";
/// The instance's data folder.
pub(crate) const DATA_VARIABLE: &str = "GRACE_DATA";

/// What a program may take for granted from the environment of `grace up`; everything else must be asked for in the
/// manifest, so that secrets of the shell that started Grace do not reach every program.
const INHERITED: [&str; 10] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];

/// The pipe that one stream of one run writes to.
pub(super) struct Pipe {
    /// For us.
    pub(super) read: OwnedFd,
    /// For the process.
    pub(super) write: OwnedFd,
}

impl Pipe {
    /// A new pipe. Only its read end is non-blocking: programs expect to block.
    ///
    /// # Errors
    /// Out of descriptors.
    pub(super) fn new() -> io::Result<Self> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&read, true)?;
        Ok(Self { read, write })
    }
}

/// Under which name the guardian keeps the read end of a stream: `out/web/inc_…`.
#[must_use]
pub(super) fn kept_name(stream: &str, component: &str, incarnation: IncarnationId) -> String {
    format!("{stream}/{component}/{incarnation}")
}

/// The whole environment of a process.
#[must_use]
pub(super) fn environment(
    spec: &ProcessSpec,
    incarnation: IncarnationId,
    instance: &Instance,
    credentials: &Credentials,
) -> Vec<(OsString, OsString)> {
    let mut all: BTreeMap<OsString, OsString> =
        INHERITED.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?))).collect();
    for (name, value) in &spec.environment {
        match value {
            Some(value) => all.insert(name.into(), value.into()),
            None => std::env::var_os(name).and_then(|value| all.insert(name.into(), value)),
        };
    }
    let mut set = |name: &str, value: OsString| all.insert(name.into(), value);
    set(COMPONENT_VARIABLE, spec.name.clone().into());
    set(INCARNATION_VARIABLE, incarnation.to_string().into());
    set(DATA_VARIABLE, instance.data().into());
    set("NOTIFY_SOCKET", instance.notify_socket().into());
    set("NATS_URL", credentials.url(&spec.name).into());
    set("GRACE_BUS_SOCKET", instance.bus_socket().into());
    if let Some(interval) = spec.watchdog {
        set("WATCHDOG_USEC", interval.as_micros().to_string().into());
    }
    if spec.kind != ComponentKind::Process && spec.name == MESSAGE_BUS {
        set("LISTEN_FDS", "2".into());
        set("LISTEN_FDNAMES", "tcp:unix".into());
    }
    all.into_iter().collect()
}

/// The kernel that gets the broker's listening sockets.
const MESSAGE_BUS: &str = "message_bus";

/// Starts one run of a component, with `pipes` for its output, in `group` if there is one.
///
/// # Errors
/// What the system said.
pub(super) fn start(
    spec: &ProcessSpec,
    environment: Vec<(OsString, OsString)>,
    pipes: (OwnedFd, OwnedFd),
    sockets: &BTreeMap<String, OwnedFd>,
    group: Option<Group>,
) -> io::Result<Pid> {
    let mut passed = Vec::new();
    if spec.kind != ComponentKind::Process && spec.name == MESSAGE_BUS {
        for name in [kept::BUS_TCP, kept::BUS_UNIX] {
            let socket = sockets
                .get(name)
                .ok_or_else(|| io::Error::other(format!("the socket {name} was not handed over")))?;
            passed.push(socket.try_clone()?);
        }
    }
    Spawn {
        command: spec.command.iter().map(OsString::from).collect(),
        environment,
        working_dir: spec.working_dir.clone().or_else(|| Some(PathBuf::from("/"))),
        output: Some(pipes),
        passed,
        limits: spec.resources.clone(),
        group,
        new_session: false,
    }
    .start()
}

/// Watches a process until it ends, and reports its exit; `None` when it is not our child and the guardian must be asked.
///
/// # Errors
/// There is no such process any more (`ESRCH`), or no descriptor is left.
pub(super) fn watch(
    pid: Pid,
    component: String,
    incarnation: IncarnationId,
    happenings: mpsc::Sender<Happening>,
) -> io::Result<()> {
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    let pidfd = Readable::new(pidfd)?;
    tokio::task::spawn_local(async move {
        let exit = pidfd.when(|fd| collect(fd, pid).map_err(io::Error::from)).await.ok();
        let _ = happenings.send(Happening::Exited { component, incarnation, pid, exit }).await;
    });
    Ok(())
}

/// The exit status of a child that has ended; `None` while it runs; an error when it is not our child.
///
/// What is left of its process group is killed before the child is collected: until then its number, which names the
/// group too, cannot have been given to anybody else.
fn collect(pidfd: &OwnedFd, pid: Pid) -> Result<Option<Exit>, rustix::io::Errno> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), look)?.is_none() {
        return Ok(None);
    }
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let Some(status) = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options)? else {
        return Ok(None);
    };
    Ok(Some(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Status(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    }))
}

/// Sends a signal to a process's group, which it leads.
pub(super) fn signal_group(pid: u32, signal: i32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal)) {
        // ESRCH: it has ended, and its exit is on its way to us.
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

/// Which run of a component of this instance a process belongs to, if it does.
pub(super) fn run_of(pid: u32, instance: &Instance) -> Option<IncarnationId> {
    let text = |name| procfs::environment_variable(pid, name);
    if text(DATA_VARIABLE)? != instance.data().as_os_str() {
        return None;
    }
    text(INCARNATION_VARIABLE)?.into_string().ok()?.parse().ok()
}

/// Kills a process, and its group if it leads one.
pub(super) fn kill_with_group(pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    if rustix::process::getpgid(Some(pid)) == Ok(pid) {
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    } else {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// Ends daemons that a process let go and that outlive it: they left its group (what is left of `group` was killed when its
/// end was seen, and is about to be gone), and are children of one of `parents` now (the control plane and the guardian are sub-reapers). `known`
/// tells the processes that belong there. Returns how many there were.
pub(super) fn end_strays(
    component: &str,
    incarnation: IncarnationId,
    group: Option<u32>,
    parents: &[u32],
    known: impl Fn(u32) -> bool,
) -> usize {
    let run = incarnation.to_string();
    let group = group.and_then(|group| Pid::from_raw(i32::try_from(group).ok()?));
    let is = |pid: u32, name: &str, value: &str| {
        procfs::environment_variable(pid, name).as_deref() == Some(value.as_ref())
    };
    parents
        .iter()
        .flat_map(|parent| procfs::adopted(*parent))
        .filter(|pid| !known(*pid))
        .filter(|pid| is(*pid, INCARNATION_VARIABLE, &run) && is(*pid, COMPONENT_VARIABLE, component))
        .filter_map(|stray| Pid::from_raw(i32::try_from(stray).ok()?))
        .filter(|stray| rustix::process::getpgid(Some(*stray)).ok() != group)
        .filter(|stray| rustix::process::kill_process(*stray, Signal::KILL).is_ok())
        .count()
}

/// Whether a process belongs to this instance: the guardian, the control plane, the `grace up` that launched them, or one that was
/// started for a component.
#[must_use]
pub(super) fn is_ours(pid: u32, guardian: u32, instance: &Instance) -> bool {
    let program = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    // Once `grace up` has ended, the guardian's parent is a stranger.
    let launcher = || {
        procfs::stat(guardian).is_ok_and(|stat| stat.parent == pid)
            && program(pid).is_some_and(|its| Some(its) == program(std::process::id()))
    };
    let of_a_component = || {
        let text = |name| procfs::environment_variable(pid, name);
        text(DATA_VARIABLE).as_deref() == Some(instance.data().as_os_str())
            && text(INCARNATION_VARIABLE).is_some()
    };
    pid == std::process::id() || pid == guardian || launcher() || of_a_component()
}

/// Every live process of this instance that may lead a run of a component, found among the children of `parents`. Of each
/// component the latest run stands first, and of that the oldest process: the others are what it started (a check that is a
/// command, a daemon) and nobody ended.
#[must_use]
pub(super) fn find_live(parents: &[u32], instance: &Instance) -> Vec<Found> {
    let data = instance.data().as_os_str();
    let mut found: Vec<Found> = parents
        .iter()
        .flat_map(|parent| procfs::children(*parent))
        .filter_map(|pid| {
            let text = |name| procfs::environment_variable(pid, name);
            let leads = i32::try_from(pid)
                .ok()
                .and_then(Pid::from_raw)
                .is_some_and(|pid| rustix::process::getpgid(Some(pid)) == Ok(pid));
            if !leads || text(DATA_VARIABLE)? != data {
                return None;
            }
            Some(Found {
                component: text(COMPONENT_VARIABLE)?.into_string().ok()?,
                incarnation: text(INCARNATION_VARIABLE)?.into_string().ok()?.parse().ok()?,
                pid,
                start_ticks: procfs::start_ticks(pid)?,
            })
        })
        .collect();
    found.sort_by_key(|f| (Reverse(f.incarnation), f.start_ticks, f.pid));
    found
}
