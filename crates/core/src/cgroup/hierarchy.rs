//! The groups of one instance in the file system: found, divided, made, removed.
//!
//! ```text
//! BASE/                         our own group, or its parent where that is ours
//!   cgroup.subtree_control      +cpu +memory +pids
//!   grace/                      guardian and control plane, if they had to make room
//!   grace-DIGEST/               one folder an instance, named after its data folder
//!     component-web/            memory.max, cpu.max, pids.max
//! ```
//!
//! A group with processes of its own cannot be divided (the kernel's no-internal-processes rule; only the root of the machine's
//! hierarchy is exempt). Where all of them are Grace's, they move into the leaf `grace`; where there is a stranger among
//! them, nothing is touched.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, Write},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use grace_types::{
    manifest::Resources,
    time::{Clock, SystemClock},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::Access,
};

use super::{
    Refused,
    format::{self, Controllers},
};

/// The leaf that Grace's own processes move into.
const LEAF: &str = "grace";
/// How deep a component may divide its own group (a Grace within Grace does) for us to clear it away.
const DEPTH: usize = 8;

/// Where this process's own group lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its folder.
    pub(super) own: PathBuf,
    /// The topmost folder of the hierarchy that can be seen.
    pub(super) top: PathBuf,
}

impl Place {
    /// That of this process.
    pub(super) fn current() -> Result<Self, Refused> {
        let read = |path: &str| fs::read_to_string(path).map_err(|e| refused(Path::new(path), &e));
        let (groups, mountinfo) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
        let own = format::group_of(&groups).ok_or(Refused::NotMounted)?;
        let place = format::mounts(&mountinfo).find_map(|m| Some(Self { own: m.folder(own)?, top: m.point }));
        place.ok_or(Refused::NotMounted)
    }

    /// The groups that may be divided, the better one first: our own, or the one around it if it was handed to us.
    pub(super) fn bases(&self) -> Vec<Base> {
        let mut own = self.own.clone();
        // A control plane that follows another finds itself in the leaf already.
        if own != self.top && own.file_name().is_some_and(|name| name == LEAF) {
            own.pop();
        }
        let around = Some(&own).filter(|own| **own != self.top).and_then(|own| own.parent());
        let around = around.filter(|path| is_delegated(path)).map(Path::to_owned);
        let mut bases = vec![Base { folder: own, own: true }];
        bases.extend(around.map(|folder| Base { folder, own: false }));
        bases
    }
}

/// A group that may be divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) folder: PathBuf,
    /// Whether it is our own, so that Grace's processes may be moved and controllers enabled in it.
    pub(super) own: bool,
}

/// The groups of one instance.
#[derive(Debug)]
pub(super) struct Hierarchy {
    instance: PathBuf,
    pub(super) held: Controllers,
}

impl Hierarchy {
    /// Divides the first of `bases` that can be, but goes on with one where the instance has groups already. `ours` tells
    /// Grace's own processes.
    ///
    /// # Errors
    /// No base can be divided; why not the first.
    pub(super) fn open(
        mut bases: Vec<Base>,
        instance: &str,
        ours: &dyn Fn(u32) -> bool,
    ) -> Result<Self, Refused> {
        bases.sort_by_key(|base| !base.folder.join(instance).is_dir());
        let mut first = None;
        for base in bases {
            match divide(&base, ours) {
                Ok(held) => return Ok(Self { instance: base.folder.join(instance), held }),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or(Refused::NotMounted))
    }

    fn folder(&self, component: &str) -> PathBuf {
        // The prefix keeps components from having the names of the kernel's own files.
        self.instance.join(format!("component-{component}"))
    }

    /// Makes a component's group with its limits; returns its `cgroup.procs`, open for writing.
    ///
    /// # Errors
    /// What the system refused.
    pub(super) fn group(&self, component: &str, limits: &Resources) -> Result<OwnedFd, Refused> {
        make(&self.instance)?;
        let control = self.instance.join("cgroup.subtree_control");
        let enabled = read_controllers(&control)?;
        for name in self.held.names().filter(|name| !enabled.names().any(|e| e == *name)) {
            write(&control, &format!("+{name}"))?;
        }
        let folder = self.folder(component);
        make(&folder)?;
        for (file, text) in format::limit_files(limits, self.held) {
            write(&folder.join(file), &text)?;
        }
        let procs = folder.join("cgroup.procs");
        Ok(open_for_writing(&procs).map_err(|e| refused(&procs, &e))?.into())
    }

    /// Ends what is left in a component's group, and removes it; `false` while that is not done yet.
    pub(super) fn remove(&self, component: &str) -> bool {
        end_and_remove(&self.folder(component))
    }
}

/// Ends and removes every group of the instance under any of `bases`, waiting no longer than `patience` in each.
pub(super) fn clear(bases: &[Base], instance: &str, patience: Duration) {
    for folder in bases.iter().map(|base| base.folder.join(instance)) {
        if !end_and_remove(&folder) {
            wait_until_empty(&folder, patience);
            end_and_remove(&folder);
        }
    }
}

/// Whether a group was handed to us: it belongs to this user, or systemd's mark (`Delegate=`) is on it. Root may write
/// everywhere, which makes nothing its own.
fn is_delegated(path: &Path) -> bool {
    let euid = rustix::process::geteuid();
    let belongs = !euid.is_root() && fs::metadata(path).is_ok_and(|m| m.uid() == euid.as_raw());
    let mut value = [0_u8; 1];
    let marked = |name| rustix::fs::getxattr(path, name, &mut value).is_ok_and(|n| n == 1) && value == *b"1";
    belongs || ["user.delegate", "trusted.delegate"].into_iter().any(marked)
}

/// Enables what the group offers for groups below it; returns what is enabled.
fn divide(base: &Base, ours: &dyn Fn(u32) -> bool) -> Result<Controllers, Refused> {
    let folder = &base.folder;
    let control = folder.join("cgroup.subtree_control");
    let offered = read_controllers(&folder.join("cgroup.controllers"))?;
    if offered.is_empty() {
        return Err(Refused::NoControllers { group: folder.clone() });
    }
    for path in [folder, &control, &folder.join("cgroup.procs")] {
        rustix::fs::access(path, Access::WRITE_OK).map_err(|e| refused(path, &e.into()))?;
    }
    let enabled = || Ok(read_controllers(&control)?.and(offered));
    if base.own && enabled()? != offered {
        // Tried first, `cpu` and `pids` would be let in among processes, and no group below could hold any.
        if !is_root(folder) {
            make_room(folder, ours)?;
        }
        if let Err(error) = enable(&control, offered) {
            give_room_back(folder);
            return Err(refused(&control, &error));
        }
    }
    let held = enabled()?;
    if held.is_empty() { Err(Refused::NoControllers { group: folder.clone() }) } else { Ok(held) }
}

/// Whether it is the root of the machine's hierarchy, which may hold processes and be divided.
fn is_root(group: &Path) -> bool {
    !group.join("cgroup.type").exists()
}

/// Enables each controller that can be. A single one may be refused: `cpu` is while there are real-time processes.
///
/// # Errors
/// EBUSY: there are processes in the way.
fn enable(control: &Path, offered: Controllers) -> io::Result<()> {
    for name in offered.names() {
        let written = write_to(control, &format!("+{name}"));
        if let Err(error) = written
            && error.kind() == ErrorKind::ResourceBusy
        {
            return Err(error);
        }
    }
    Ok(())
}

/// Moves Grace's own processes out of the way, unless there are others too.
fn make_room(own: &Path, ours: &dyn Fn(u32) -> bool) -> Result<(), Refused> {
    let members = own.join("cgroup.procs");
    let text = fs::read_to_string(&members).map_err(|e| refused(&members, &e))?;
    // A process of another pid namespace shows as 0.
    let pids: Vec<u32> = text.lines().map(|line| line.trim().parse().unwrap_or_default()).collect();
    if let Some(pid) = pids.iter().find(|pid| !ours(**pid)) {
        return Err(Refused::Shared { group: own.to_owned(), pid: *pid });
    }
    let leaf = own.join(LEAF);
    make(&leaf)?;
    for pid in pids {
        match write_to(&leaf.join("cgroup.procs"), &pid.to_string()) {
            // It ended in the meantime.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
            Err(error) => {
                give_room_back(own);
                return Err(refused(&leaf, &error));
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

fn give_room_back(own: &Path) {
    let leaf = own.join(LEAF);
    for pid in fs::read_to_string(leaf.join("cgroup.procs")).unwrap_or_default().lines() {
        let _ = write_to(&own.join("cgroup.procs"), pid.trim());
    }
    let _ = fs::remove_dir(leaf);
}

/// Ends what runs in a group (Linux 5.14 or later) and removes it with all below it; whether it is gone.
fn end_and_remove(group: &Path) -> bool {
    if !group.is_dir() {
        return true;
    }
    let _ = write_to(&group.join("cgroup.kill"), "1");
    remove(group, DEPTH)
}

fn remove(group: &Path, depth: usize) -> bool {
    if depth > 0
        && let Ok(entries) = fs::read_dir(group)
    {
        for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())) {
            remove(&entry.path(), depth - 1);
        }
    }
    match fs::remove_dir(group) {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// Waits until nothing runs in a group: what was sent SIGKILL needs a moment to be gone.
fn wait_until_empty(group: &Path, patience: Duration) {
    let Ok(mut events) = File::open(group.join("cgroup.events")) else { return };
    let deadline = SystemClock.now().mono.plus(patience);
    loop {
        // The kernel reports, as POLLPRI, a change since this descriptor was last read.
        let mut text = String::new();
        let read = events.rewind().and_then(|()| events.read_to_string(&mut text));
        let left = deadline.since(SystemClock.now().mono);
        if read.is_err() || left.is_zero() || !text.contains("populated 1") {
            return;
        }
        let mut fds = [PollFd::new(&events, PollFlags::PRI)];
        let _ = rustix::event::poll(&mut fds, Timespec::try_from(left).ok().as_ref());
    }
}

fn make(folder: &Path) -> Result<(), Refused> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(refused(folder, &error)),
        _ => Ok(()),
    }
}

fn read_controllers(path: &Path) -> Result<Controllers, Refused> {
    fs::read_to_string(path).map(|text| Controllers::parse(&text)).map_err(|e| refused(path, &e))
}

fn open_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

fn write_to(path: &Path, text: &str) -> io::Result<()> {
    // One write(2): the kernel takes each as a whole.
    open_for_writing(path)?.write_all(text.as_bytes())
}

fn write(path: &Path, text: &str) -> Result<(), Refused> {
    write_to(path, text).map_err(|e| refused(path, &e))
}

fn refused(path: &Path, error: &io::Error) -> Refused {
    Refused::System { path: path.to_owned(), detail: error.to_string() }
}
