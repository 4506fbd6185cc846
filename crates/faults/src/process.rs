//! A process, named so that a reused pid is never mistaken for it.
//!
//! A pid alone may be given to another process at any time. Here a pidfd is opened first and the start time is compared after it:
//! while the pidfd says that its process has not ended, the pid is still that process's, so whatever `/proc` said in between was
//! said of it. Signals go through the pidfd.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use crate::{limits, order::ProcessTarget, report::UndoProof};

/// The state of a process that was stopped by a signal (proc_pid_stat(5)).
pub const STOPPED: char = 'T';

/// A process that ran when it was opened.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    pidfd: OwnedFd,
}

impl Process {
    /// The process of this pid and start time; none when there is no such process (any more).
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn open(pid: u32, start_ticks: u64) -> io::Result<Option<Self>> {
        let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let pidfd = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // EINVAL: a thread that leads no process.
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let process = Self { pid, pidfd };
        let same = stat(pid).is_some_and(|stat| stat.start_ticks == start_ticks);
        Ok((same && !process.is_gone()).then_some(process))
    }

    /// The process that an order means.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn of(target: &ProcessTarget) -> io::Result<Option<Self>> {
        Self::open(target.pid, target.start_ticks)
    }

    /// Whether it has ended; it may not have been collected yet (a zombie).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        // Only a wrong descriptor is an error.
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Its state in `/proc/PID/stat` (`T` is stopped); none once it has ended.
    #[must_use]
    pub fn state(&self) -> Option<char> {
        let stat = stat(self.pid)?;
        (!self.is_gone()).then_some(stat.state)
    }

    /// Sends a signal. That it has ended is no error.
    ///
    /// # Errors
    /// Not permitted.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Lets it go on if it is stopped (SIGCONT), and looks whether it does; none when it does not (yet).
    ///
    /// # Errors
    /// Not permitted.
    pub fn go_on(&self) -> io::Result<Option<UndoProof>> {
        self.signal(Signal::CONT)?;
        Ok(match self.state() {
            None => Some(UndoProof::Gone),
            Some(STOPPED) => None,
            Some(state) => Some(UndoProof::Running { state }),
        })
    }

    /// The environment that it was started with; none when it has ended or belongs to somebody else.
    #[must_use]
    pub fn environment(&self) -> Option<Environment> {
        let mut bytes = Vec::new();
        let file = File::open(format!("/proc/{}/environ", self.pid)).ok()?;
        file.take(limits::ENVIRONMENT_BYTES).read_to_end(&mut bytes).ok()?;
        (!self.is_gone()).then_some(Environment(bytes))
    }
}

impl AsFd for Process {
    /// Becomes readable when the process ends.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// What a process was started with.
#[derive(Debug)]
pub struct Environment(Vec<u8>);

impl Environment {
    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<OsString> {
        self.0.split(|b| *b == 0).find_map(|entry| {
            let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(OsString::from_vec(value.to_vec()))
        })
    }

    /// Whether a variable has this value.
    #[must_use]
    pub fn is(&self, name: &str, value: impl AsRef<OsStr>) -> bool {
        self.get(name).is_some_and(|found| found == value.as_ref())
    }
}

impl ProcessTarget {
    /// The process that has this pid now, as a target; none when there is none. Whoever takes the pid from a status should
    /// take it anew afterwards: if the component has the same one still, it was that process that was looked at.
    #[must_use]
    pub fn now(component: &str, pid: u32) -> Option<Self> {
        let start_ticks = start_ticks(pid)?;
        Some(Self { component: component.to_owned(), pid, start_ticks })
    }
}

/// When a process started, in clock ticks since the machine booted; none when there is no such process.
#[must_use]
pub fn start_ticks(pid: u32) -> Option<u64> {
    stat(pid).map(|stat| stat.start_ticks)
}

/// Whether the process of this pid and start time runs.
///
/// # Errors
/// Out of descriptors.
pub fn runs(pid: u32, start_ticks: u64) -> io::Result<bool> {
    Process::open(pid, start_ticks).map(|process| process.is_some())
}

/// Names this boot of the machine: pids, start times and monotonic time mean nothing in another one.
///
/// # Errors
/// There is no `/proc`.
pub fn machine_boot() -> io::Result<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

struct Stat {
    state: char,
    start_ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields 3 and 22 of proc_pid_stat(5). The name before them may hold anything: the last `)` ends it.
fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let close = bytes.iter().rposition(|b| *b == b')')?;
    let mut fields = str::from_utf8(bytes.get(close + 1..)?).ok()?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some(Stat { state, start_ticks: fields.nth(18)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_process_is_known_by_its_start_and_not_by_another() {
        let (pid, ticks) = (std::process::id(), start_ticks(std::process::id()).unwrap());
        let process = Process::open(pid, ticks).unwrap().unwrap();
        assert!(!process.is_gone() && process.state().is_some());
        assert!(Process::open(pid, ticks + 1).unwrap().is_none(), "a reused pid is another process");
        assert!(Process::open(0, ticks).unwrap().is_none());
        let environment = process.environment().unwrap();
        let path = std::env::var_os("PATH").unwrap();
        assert!(environment.is("PATH", &path) && !environment.is("PAT", &path));
    }

    #[test]
    fn a_child_that_ended_and_was_not_collected_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::open(child.id(), start_ticks(child.id()).unwrap()).unwrap().unwrap();
        process.signal(Signal::KILL).unwrap();
        // Its end can be waited for on the pidfd without collecting it.
        poll(&mut [PollFd::new(&process, PollFlags::IN)], None).unwrap();
        assert!(process.is_gone() && process.state().is_none() && process.environment().is_none());
        assert!(!runs(child.id(), start_ticks(child.id()).unwrap()).unwrap());
        child.wait().unwrap();
        process.signal(Signal::CONT).unwrap();
    }

    #[test]
    fn a_name_may_hold_anything() {
        let text = b"42 (a) b (\n)) T 7 42 42 0 -1 4194304 1 2 3 4 50 7 8 9 20 0 1 0 1234567 9999 88\n";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.state, stat.start_ticks), ('T', 1_234_567));
        for bad in ["", "1 (x", "1 (x)", "1 (x) S", "1 (x) S a b c"] {
            assert!(parse_stat(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_in_proc_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), tail in "[ 0-9SR()]{0,80}") {
            let _ = parse_stat(&[b"1 (".as_slice(), &bytes, tail.as_bytes()].concat());
        }
    }
}
