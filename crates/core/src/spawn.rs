//! Starting processes: the one place that forks.
//!
//! A program without special needs goes through `posix_spawn` (vfork and exec: its cost does not grow with the size of
//! the parent). Descriptors to hand over, resource limits and control groups must be set between fork and exec, so those
//! programs take the slower road.
//!
//! Everything that Grace opens is close-on-exec, and what `grace up` itself inherited is made so
//! ([`keep_descriptors_to_ourselves`]); what a child inherits is what is listed here.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use grace_types::manifest::Resources;
use rustix::process::{Pid, Resource, Rlimit};

use crate::cgroup::Group;

/// The first descriptor that a child inherits beyond its standard three, as in systemd's `LISTEN_FDS` protocol.
pub const FIRST_PASSED_FD: i32 = 3;

/// A process to be.
pub struct Spawn {
    /// argv; the first is looked up in `PATH` of `environment` unless it holds a slash.
    pub command: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Its folder.
    pub working_dir: Option<PathBuf>,
    /// Its standard output and error; inherited when `None`.
    pub output: Option<(OwnedFd, OwnedFd)>,
    /// Descriptors that it gets, from [`FIRST_PASSED_FD`] on.
    pub passed: Vec<OwnedFd>,
    /// Limits. What no control group holds is set as rlimits.
    pub limits: Resources,
    /// The control group that it joins; if it cannot, it runs with rlimits only.
    pub group: Option<Group>,
    /// Whether it leaves the terminal's session.
    pub new_session: bool,
}

impl Spawn {
    /// Starts it, leader of a process group of its own.
    ///
    /// # Errors
    /// What the system said, with the path or folder at fault.
    pub fn start(self) -> io::Result<Pid> {
        let Some(program) = self.command.first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"));
        };
        let path = self.environment.iter().find(|(k, _)| k == "PATH").map(|(_, v)| v.clone());
        let program = find(Path::new(program), path, self.working_dir.as_deref())?;
        if let Some(dir) = self.working_dir.as_deref().filter(|d| !d.is_dir()) {
            let detail = format!("the working folder {} does not exist", dir.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, detail));
        }
        let mut command = Command::new(&program);
        command.arg0(&self.command[0]).args(&self.command[1..]).env_clear().envs(self.environment);
        command.stdin(Stdio::null());
        if let Some(dir) = self.working_dir {
            command.current_dir(dir);
        }
        if let Some((out, err)) = self.output {
            command.stdout(out).stderr(err);
        }
        if !self.new_session {
            command.process_group(0);
        }
        prepare(&mut command, self.passed, &self.limits, self.group, self.new_session)?;
        let child =
            command.spawn().map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", program.display())))?;
        // `Child` does not reap on drop: exits are seen by pidfd and collected by whoever owns the process.
        Pid::from_raw(i32::try_from(child.id()).unwrap_or_default())
            .ok_or_else(|| io::Error::other("the system gave process id 0"))
    }
}

/// The program's path, found as execvp(3) would.
fn find(program: &Path, path: Option<OsString>, dir: Option<&Path>) -> io::Result<PathBuf> {
    let runnable = |p: &Path| rustix::fs::access(p, rustix::fs::Access::EXEC_OK).is_ok() && p.is_file();
    if program.components().count() > 1 || program.is_absolute() {
        let resolved = dir.map_or_else(|| program.to_owned(), |d| d.join(program));
        if runnable(&resolved) {
            return Ok(resolved);
        }
        let (kind, detail) = if resolved.exists() {
            (io::ErrorKind::PermissionDenied, "is not executable")
        } else {
            (io::ErrorKind::NotFound, "does not exist")
        };
        return Err(io::Error::new(kind, format!("{} {detail}", resolved.display())));
    }
    let path = path.unwrap_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"));
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|p| runnable(p)).ok_or_else(|| {
        let detail = format!("`{}` is in no folder of PATH ({})", program.display(), path.display());
        io::Error::new(io::ErrorKind::NotFound, detail)
    })
}

/// What must happen in the child between fork and exec; nothing, where nothing is asked for, so that the fast road
/// stays open.
#[expect(unsafe_code, reason = "descriptors and limits can only be set between fork and exec")]
fn prepare(
    command: &mut Command,
    passed: Vec<OwnedFd>,
    limits: &Resources,
    group: Option<Group>,
    new_session: bool,
) -> io::Result<()> {
    let limits = rlimits(limits);
    let group = group.map(|group| (group.procs, rlimits(&group.rest)));
    if passed.is_empty() && limits.is_empty() && group.is_none() && !new_session {
        return Ok(());
    }
    // Out of the way of the numbers that they are about to be copied onto.
    let floor = FIRST_PASSED_FD + i32::try_from(passed.len()).unwrap_or_default();
    let passed = passed
        .into_iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(&fd, floor))
        .collect::<Result<Vec<_>, _>>()?;
    let in_child = move || {
        // First, while its descriptor is sure to be the one that was opened for it.
        let joined = group.as_ref().filter(|(procs, _)| rustix::io::write(procs, b"0") == Ok(1));
        if new_session {
            rustix::process::setsid()?;
        }
        for (number, fd) in (FIRST_PASSED_FD..).zip(&passed) {
            // SAFETY: dup2 is async-signal-safe; both numbers are valid descriptors or about to be, and the copy is
            // owned by nobody in this process image, which ends at exec.
            if unsafe { libc::dup2(fd.as_raw_fd(), number) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        for (resource, limit) in joined.map_or(&limits, |(_, rest)| rest) {
            rustix::process::setrlimit(*resource, *limit)?;
        }
        Ok(())
    };
    // SAFETY: the closure only makes system calls on values that were made before the fork: it neither allocates
    // nor takes a lock.
    unsafe { command.pre_exec(in_child) };
    Ok(())
}

fn rlimits(limits: &Resources) -> Vec<(Resource, Rlimit)> {
    let bounds = [
        (Resource::As, limits.memory_bytes),
        (Resource::Nofile, limits.open_files),
        (Resource::Nproc, limits.processes),
    ];
    let limit = |n| Rlimit { current: Some(n), maximum: Some(n) };
    bounds.into_iter().filter_map(|(resource, bound)| bound.map(|n| (resource, limit(n)))).collect()
}

/// Makes every descriptor beyond the standard three close-on-exec: what the shell or the program that started us left open is
/// not for the programs that we start.
///
/// # Errors
/// `/proc` cannot be read.
#[expect(unsafe_code, reason = "inherited descriptors are known by number only")]
pub fn keep_descriptors_to_ourselves() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        if let Some(number) = number.filter(|number| *number >= FIRST_PASSED_FD) {
            // SAFETY: it changes a flag of a descriptor, and nothing of what Rust assumes about its owner.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// The program that is running, for starting more of it: its path, or, where that was replaced or removed, the running
/// image itself, so that an upgrade on disk never mixes versions within one instance.
#[must_use]
pub fn own_program() -> PathBuf {
    let image = PathBuf::from("/proc/self/exe");
    match std::env::current_exe() {
        Ok(path) if same_file(&path, &image) => path,
        _ => image,
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (rustix::fs::stat(a), rustix::fs::stat(b)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}
