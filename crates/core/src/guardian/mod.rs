//! The guardian: the small parent that outlives the control plane.
//!
//! It knows nothing of components. It holds what must survive a control plane's death and hands it to the next one:
//!
//! - descriptors by name: the lock on the data folder, the listening sockets, the read ends of the processes' output;
//! - decisions that are not in the journal yet, in a bounded ring;
//! - the name of this boot, and the secret that its credentials are derived from;
//! - as sub-reaper, the processes themselves: they become its children when their control plane dies.
//!
//! ```text
//! grace up ──launch──► guardian ──spawn──► control plane ──spawn──► kernels, user's programs
//!                         ▲  └── Hello, Kept…, Tail…, Welcome ──►│
//!                         └────── Keep, Record, Written, Alive ──┘
//! ```
//!
//! A control plane that dies is replaced at once; one that stops answering (SIGSTOP, a deadlock) is killed and
//! replaced. When the guardian itself dies, the control plane sees the channel close and stops everything in order.
//!
//! One thread, no async runtime, one poll(2) loop: the less it does, the less can end it.

pub mod channel;
pub mod launch;
mod store;

use std::{
    ffi::OsString,
    io::{self, Read},
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    process::ExitCode,
    time::Duration,
};

use grace_kernel::process::tell;
use grace_types::{
    chance::{Entropy, OsEntropy},
    id::BootId,
    time::{Clock, Monotonic, SystemClock},
};
use rustix::{
    event::{PollFd, PollFlags},
    process::{Pid, Signal, WaitId, WaitIdOptions},
};

use self::{
    channel::{Channel, ToControlPlane, ToGuardian},
    store::Store,
};
use crate::{
    instance::Instance,
    procfs,
    spawn::{FIRST_PASSED_FD, Spawn, own_program},
    supervisor::Exit,
};

/// The control plane says that it is at work twice in this time; one that is silent for longer is killed.
pub const ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// Time for a new control plane to say so for the first time: it replays its journal first.
const FIRST_ALIVE: Duration = Duration::from_secs(15);
/// A control plane that lived this long and died is replaced at once; below it, after a growing pause.
const SOUND_LIFE: Duration = Duration::from_secs(1);
/// Woken later than this, we were not merely kept from the processor: we, or the machine, were stopped.
const STOPPED_IF_LATE: Duration = Duration::from_millis(500);
/// Control planes in a row that die young while everything is to be stopped, before the guardian ends it all itself.
const FUTILE: u32 = 5;
/// The longest pause between two control planes.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Names of the descriptors that `grace up` hands to the guardian, comma-separated, in order.
pub const NAMES_VARIABLE: &str = "GRACE_FDNAMES";
/// The pid of the `grace up` that stays in the foreground; when it dies, the instance shuts down.
pub const FRONT_VARIABLE: &str = "GRACE_FRONT_PID";

/// What `grace guardian` runs: returns when the instance has shut down.
pub fn main(data: &Path) -> ExitCode {
    match Guardian::start(data).and_then(|mut guardian| guardian.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("grace guardian: {error}"));
            ExitCode::FAILURE
        }
    }
}

struct Guardian {
    data: OsString,
    store: Store,
    /// Readable when a child ended.
    child_signals: UnixStream,
    /// Readable when somebody asks us to stop.
    stop_signals: UnixStream,
    /// The `grace up` in the foreground, if there is one.
    front: Option<OwnedFd>,
    control_plane: Option<ControlPlane>,
    predecessors: u32,
    /// Control planes in a row that died young.
    young: u32,
    pause: Duration,
    due: Monotonic,
    stop: Option<String>,
    finished: bool,
}

struct ControlPlane {
    pid: Pid,
    channel: Channel,
    started: Monotonic,
    alive_by: Monotonic,
}

/// Takes the descriptors that were passed, by the names in `GRACE_FDNAMES`.
///
/// Must be called once, before anything else opens descriptors.
#[expect(unsafe_code, reason = "inherited descriptors arrive as bare numbers")]
pub(crate) fn passed_fds(names: &str) -> io::Result<Vec<(String, OwnedFd)>> {
    let names = names.split(',').filter(|n| !n.is_empty());
    (FIRST_PASSED_FD..)
        .zip(names)
        .map(|(number, name)| {
            // SAFETY: the parent placed an open descriptor at this number for this process, and nobody else owns it.
            let fd = unsafe { OwnedFd::from_raw_fd(number) };
            rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
            Ok((name.to_owned(), fd))
        })
        .collect()
}

impl Guardian {
    fn start(data: &Path) -> io::Result<Self> {
        let names = std::env::var(NAMES_VARIABLE).unwrap_or_default();
        let mut store = Store::new(secret(), BootId::new(SystemClock.now().wall, &mut OsEntropy));
        for (name, fd) in passed_fds(&names)? {
            store.keep(name, fd);
        }
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let front =
            std::env::var(FRONT_VARIABLE).ok().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        let front = front.map(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()));
        Ok(Self {
            data: data.into(),
            store,
            child_signals: signal_pipe(&[signal_hook::consts::SIGCHLD])?,
            stop_signals: signal_pipe(&[signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT])?,
            front: front.transpose()?,
            control_plane: None,
            predecessors: 0,
            young: 0,
            pause: Duration::ZERO,
            due: Monotonic::ZERO,
            stop: None,
            finished: false,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            let now = SystemClock.now().mono;
            self.reap();
            self.replace_control_plane(now);
            if self.finished && self.control_plane.is_none() {
                Instance::at(&self.data).remove_run_files(true);
                return Ok(());
            }
            self.wait(now)?;
            self.hear_signals();
            self.hear_control_plane();
        }
    }

    /// Sleeps until something happens or is due.
    fn wait(&mut self, now: Monotonic) -> io::Result<()> {
        let (due, writing) = match &self.control_plane {
            Some(control_plane) => (control_plane.alive_by, control_plane.channel.is_waiting()),
            None => (self.due, false),
        };
        let wait = due.since(now).saturating_add(Duration::from_millis(1));
        let timeout = rustix::event::Timespec::try_from(wait).ok();
        let mut fds = vec![
            PollFd::new(&self.child_signals, PollFlags::IN),
            PollFd::new(&self.stop_signals, PollFlags::IN),
        ];
        if let Some(front) = self.front.as_ref().filter(|_| self.stop.is_none()) {
            fds.push(PollFd::new(front, PollFlags::IN));
        }
        if let Some(control_plane) = &self.control_plane {
            let flags = if writing { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            fds.push(PollFd::new(&control_plane.channel, flags));
        }
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let front_ended = self.stop.is_none() && self.front.is_some() && !fds[2].revents().is_empty();
        let late = SystemClock.now().mono.since(now.plus(wait));
        if let Some(control_plane) = self.control_plane.as_mut().filter(|_| late > STOPPED_IF_LATE) {
            // We were stopped, or the machine was; perhaps it was too, and needs a moment to say that it is at work.
            control_plane.alive_by = SystemClock.now().mono.plus(ALIVE_INTERVAL);
        }
        if front_ended {
            self.ask_to_stop("the `grace up` in the foreground ended".to_owned());
        }
        Ok(())
    }

    fn hear_signals(&mut self) {
        drain(&self.child_signals);
        if drain(&self.stop_signals) {
            self.ask_to_stop("the guardian was asked to end (SIGTERM or SIGINT)".to_owned());
        }
    }

    fn ask_to_stop(&mut self, cause: String) {
        if let Some(control_plane) = &mut self.control_plane {
            let _ = control_plane.channel.send(&ToControlPlane::Stop { cause: cause.clone() }, &[]);
        }
        self.stop = Some(cause);
    }

    /// Collects every child that ended: the control plane, processes adopted from one that died, and strays.
    fn reap(&mut self) {
        for number in procfs::children(std::process::id()) {
            let Some(pid) = i32::try_from(number).ok().and_then(Pid::from_raw) else { continue };
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            let Ok(Some(ended)) = rustix::process::waitid(WaitId::Pid(pid), look) else { continue };
            let exit = match (ended.exit_status(), ended.terminating_signal()) {
                (Some(code), _) => Exit::Status(code),
                (None, Some(signal)) => Exit::Signal(signal),
                (None, None) => Exit::Unknown,
            };
            let is_control_plane = self.control_plane.as_ref().is_some_and(|c| c.pid == pid);
            if !is_control_plane {
                // What is left of its group, while its number cannot have been given to anybody else.
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            }
            let _ = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
            if is_control_plane {
                self.control_plane_ended();
                continue;
            }
            self.store.reaped(number, exit);
            if let Some(control_plane) = &mut self.control_plane {
                let _ = control_plane.channel.send(&ToControlPlane::Reaped { pid: number, exit }, &[]);
            }
        }
    }

    fn control_plane_ended(&mut self) {
        self.drain_channel();
        if let Some(ended) = self.control_plane.take() {
            let now = SystemClock.now().mono;
            let sound = now.since(ended.started) >= SOUND_LIFE;
            self.pause = match (sound, self.pause) {
                (true, _) => Duration::ZERO,
                (false, Duration::ZERO) => Duration::from_millis(100),
                (false, pause) => (pause * 2).min(LONGEST_PAUSE),
            };
            self.due = now.plus(self.pause);
            self.predecessors += 1;
            self.young = if sound { 0 } else { self.young + 1 };
            if self.stop.is_some() && !self.finished && self.young >= FUTILE {
                self.end_without_control_plane();
            }
        }
    }

    /// Everything is to be stopped, and no control plane lives long enough to do it in order.
    fn end_without_control_plane(&mut self) {
        tell("grace guardian: no control plane lives; everything is killed instead of stopped in order");
        if let Err(error) = launch::end_leftovers(&Instance::at(&self.data)) {
            tell(&format!("grace guardian: {error}"));
        }
        self.finished = true;
    }

    fn replace_control_plane(&mut self, now: Monotonic) {
        if let Some(silent) = self.control_plane.as_mut().filter(|c| c.alive_by <= now) {
            // Killed rather than asked: what does not answer would not act on a request either. Its end is seen like any other; it
            // is not waited for here, since one that hangs in the disk does not end before the disk answers.
            let _ = rustix::process::kill_process(silent.pid, Signal::KILL);
            silent.alive_by = now.plus(ALIVE_INTERVAL);
        }
        if self.control_plane.is_none() && !self.finished && self.due <= now {
            match self.spawn_control_plane() {
                Ok(control_plane) => self.control_plane = Some(control_plane),
                Err(error) => {
                    tell(&format!("grace guardian: the control plane could not be started: {error}"));
                    self.pause = (self.pause * 2).clamp(Duration::from_millis(100), LONGEST_PAUSE);
                    self.due = now.plus(self.pause);
                }
            }
        }
    }

    fn spawn_control_plane(&self) -> io::Result<ControlPlane> {
        let (mut channel, theirs) = Channel::pair()?;
        self.store.hand_over(&mut channel, self.predecessors, self.stop.as_deref())?;
        let own = |word: &str| OsString::from(word);
        let pid = Spawn {
            command: vec![own_program().into(), own("--data"), self.data.clone(), own("control-plane")],
            environment: std::env::vars_os().filter(|(k, _)| k != NAMES_VARIABLE).collect(),
            working_dir: None,
            output: None,
            passed: vec![theirs],
            limits: grace_types::manifest::Resources::default(),
            group: None,
            new_session: false,
        }
        .start()?;
        let started = SystemClock.now().mono;
        Ok(ControlPlane { pid, channel, started, alive_by: started.plus(FIRST_ALIVE) })
    }

    fn hear_control_plane(&mut self) {
        self.drain_channel();
        if let Some(control_plane) = &mut self.control_plane {
            // An error means that it has died; SIGCHLD says so too.
            let _ = control_plane.channel.flush();
        }
    }

    fn drain_channel(&mut self) {
        let Some(control_plane) = &mut self.control_plane else { return };
        while let Ok((message, fds)) = control_plane.channel.receive::<ToGuardian>() {
            match message {
                ToGuardian::Keep { names } => {
                    for (name, fd) in names.into_iter().zip(fds) {
                        self.store.keep(name, fd);
                    }
                }
                ToGuardian::Forget { name } => self.store.forget(&name),
                ToGuardian::Record { entries } => {
                    entries.into_iter().for_each(|(number, json)| self.store.record(number, json));
                }
                ToGuardian::Written { upto } => self.store.written(upto),
                ToGuardian::Alive => {
                    control_plane.alive_by = SystemClock.now().mono.plus(ALIVE_INTERVAL);
                    let _ = control_plane.channel.send(&ToControlPlane::Alive, &[]);
                }
                ToGuardian::Reap { pid } => {
                    if let Some(exit) = self.store.take_reaped(pid) {
                        let _ = control_plane.channel.send(&ToControlPlane::Reaped { pid, exit }, &[]);
                    }
                }
                ToGuardian::Finished => self.finished = true,
            }
        }
    }
}

/// A socket that becomes readable when one of the signals arrives.
fn signal_pipe(signals: &[i32]) -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    for signal in signals {
        signal_hook::low_level::pipe::register(*signal, writer.try_clone()?)?;
    }
    Ok(reader)
}

/// Empties the socket; whether there was anything in it.
fn drain(mut signals: &UnixStream) -> bool {
    let mut buffer = [0; 64];
    let mut any = false;
    while matches!(signals.read(&mut buffer), Ok(n) if n > 0) {
        any = true;
    }
    any
}

/// 256 random bits, in hexadecimal.
fn secret() -> String {
    let mut bytes = [0; 32];
    OsEntropy.fill(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
