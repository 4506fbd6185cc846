//! What stays at the terminal while an instance boots, runs or stops: prints news, takes Ctrl-C, waits for the end.
//!
//! ```text
//! watch thread (control socket) ─┐
//! signal thread (TERM, INT, HUP) ┼─► one bounded queue ─► Front::run ─► news, sd_notify, `down`, exit status
//! exit thread (guardian's pidfd) ┘
//! ```
//!
//! It holds nothing that matters: the guardian is a process of its own, and what is printed here comes from the
//! control plane.

use std::{
    io::{self, Write as _},
    os::fd::OwnedFd,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use grace_core::{
    control::Request,
    instance::Instance,
    status::{InstanceState, Status},
};
use grace_types::{
    manifest::BootPlan,
    time::{Clock as _, Monotonic, SystemClock},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, retry_on_intr},
    process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, waitid},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    control,
    failure::{Exit, Failure},
    limits,
    output::Output,
    progress::{self, Boot, News, Progress},
    status::state_word,
    style::tame,
    systemd::Supervisor,
};

/// Why the front is there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Purpose {
    /// `grace up`: until the instance ends, stopping it on a signal.
    Stay(BootPlan),
    /// `grace up --detach`: until everything is ready, or this much time has passed.
    Detach(BootPlan, Duration),
    /// `grace down`: until the instance has ended.
    Down,
}

enum Event {
    Status(Box<Status>),
    /// The control socket failed for a reason that another try may not mend.
    Trouble(Box<Failure>),
    /// There is no status to come any more.
    Unwatched,
    /// Somebody wants us to stop.
    Signal,
    /// The guardian has ended.
    End,
}

/// Watches an instance for as long as `purpose` asks. What `seen` shows is no news.
pub(crate) fn run(
    instance: &Instance,
    guardian_pid: u32,
    seen: Option<Box<Status>>,
    purpose: Purpose,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let (send, events) = sync_channel(limits::FRONT_EVENTS);
    if matches!(purpose, Purpose::Stay(_)) {
        send_signals(send.clone()).map_err(|e| no_threads(&e))?;
    }
    send_end(guardian_pid, send.clone()).map_err(|e| no_threads(&e))?;
    send_statuses(instance.clone(), send).map_err(|e| no_threads(&e))?;
    let supervisor =
        if matches!(purpose, Purpose::Stay(_)) { Supervisor::from_environment() } else { Supervisor::none() };
    let mut progress = Progress::default();
    if let Some(status) = &seen {
        progress.update(status);
    }
    let mut front = Front {
        instance,
        guardian_pid,
        purpose,
        supervisor,
        progress,
        last: seen,
        booted: false,
        signals: 0,
        deadline: None,
        out,
    };
    if let Purpose::Detach(_, patience) = front.purpose {
        front.deadline = Some(SystemClock.now().mono.plus(patience));
    }
    front.run(&events)
}

struct Front<'a> {
    instance: &'a Instance,
    guardian_pid: u32,
    purpose: Purpose,
    supervisor: Supervisor,
    progress: Progress,
    last: Option<Box<Status>>,
    /// Whether the end of the boot was told.
    booted: bool,
    signals: u32,
    deadline: Option<Monotonic>,
    out: &'a mut Output,
}

impl Front<'_> {
    fn run(&mut self, events: &Receiver<Event>) -> Result<Exit, Failure> {
        loop {
            let Some(event) = self.wait(events) else { return self.too_late() };
            let exit = match event {
                Event::Status(status) => self.on_status(status)?,
                Event::Trouble(failure) => {
                    self.tell(&News::odd('!', failure.what));
                    None
                }
                Event::Signal => {
                    self.on_signal();
                    None
                }
                Event::Unwatched => None,
                Event::End => return self.on_end(events),
            };
            if let Some(exit) = exit {
                return Ok(exit);
            }
        }
    }

    /// The next event; pings the supervisor meanwhile. `None` when the deadline has passed.
    fn wait(&mut self, events: &Receiver<Event>) -> Option<Event> {
        loop {
            let left = self.deadline.map(|deadline| deadline.since(SystemClock.now().mono));
            let ping = self.supervisor.ping_period();
            let wait = [left, ping].into_iter().flatten().min();
            let event = match wait {
                Some(wait) => events.recv_timeout(wait),
                None => events.recv().map_err(RecvTimeoutError::from),
            };
            if ping.is_some() {
                self.supervisor.say(&["WATCHDOG=1"]);
            }
            match event {
                Ok(event) => return Some(event),
                Err(RecvTimeoutError::Timeout) if left.is_some_and(|left| left.is_zero()) => return None,
                Err(RecvTimeoutError::Timeout) => {}
                // Every thread has ended, the one that waits for the guardian last.
                Err(RecvTimeoutError::Disconnected) => return Some(Event::End),
            }
        }
    }

    fn on_status(&mut self, status: Box<Status>) -> Result<Option<Exit>, Failure> {
        self.show_status(&status);
        let exit = match &self.purpose {
            Purpose::Stay(plan) | Purpose::Detach(plan, _) if !self.booted => {
                match progress::boot(&status, plan) {
                    Boot::Waiting(_) => None,
                    Boot::Ready => self.on_ready(&status),
                    Boot::Failed(which) => self.on_not_ready(&which)?,
                }
            }
            _ => None,
        };
        self.last = Some(status);
        Ok(exit)
    }

    fn show_status(&mut self, status: &Status) {
        if self.out.json {
            // As in `print`.
            let _ = self.out.json_line(status);
        }
        for news in self.progress.update(status) {
            self.tell(&news);
        }
    }

    fn on_ready(&mut self, status: &Status) -> Option<Exit> {
        self.booted = true;
        let last = status.components.iter().map(|c| c.since).max().unwrap_or(status.since);
        let took = crate::status::age(last.since(status.since));
        let what = format!("everything is ready after {took}; NATS clients: {}", tame(&status.bus_address));
        self.tell(&News::good(what));
        self.supervisor.say(&["READY=1", "STATUS=everything is ready"]);
        matches!(self.purpose, Purpose::Detach(..)).then_some(Exit::Done)
    }

    /// The boot is over and not everything is ready. A front that stays goes on: what runs is worth keeping, and a supervisor
    /// that is told otherwise would end it.
    fn on_not_ready(&mut self, which: &[(String, String)]) -> Result<Option<Exit>, Failure> {
        self.booted = true;
        for (name, _) in which {
            self.show_output(name);
        }
        if matches!(self.purpose, Purpose::Detach(..)) {
            return Err(not_ready(which));
        }
        let names: Vec<&str> = which.iter().map(|(name, _)| name.as_str()).collect();
        let names = tame(&names.join(", "));
        self.tell(&News::bad(format!("not ready: {names}; everything else runs")));
        self.supervisor.say(&["READY=1", &format!("STATUS=not ready: {names}")]);
        Ok(None)
    }

    fn too_late(&mut self) -> Result<Exit, Failure> {
        let waiting = match (&self.last, &self.purpose) {
            (Some(status), Purpose::Stay(plan) | Purpose::Detach(plan, _)) => {
                match progress::boot(status, plan) {
                    Boot::Waiting(which) | Boot::Failed(which) => which,
                    Boot::Ready => Vec::new(),
                }
            }
            _ => vec![("control plane".into(), "has not answered".into())],
        };
        for (name, _) in &waiting {
            self.show_output(name);
        }
        Err(not_ready(&waiting))
    }

    fn on_signal(&mut self) {
        self.signals += 1;
        if self.signals > 1 {
            return self.how_to_force();
        }
        self.supervisor.say(&["STOPPING=1"]);
        match control::order(self.instance, &Request::Down) {
            Ok(_) => {}
            // Asked for already, by us or by another.
            Err(failure) if failure.code == "stopping" => {}
            Err(failure) => {
                // The guardian remembers it for the next control plane. It is our child, so the number is its own.
                self.tell(&News::odd('!', failure.what));
                let guardian = i32::try_from(self.guardian_pid).ok().and_then(Pid::from_raw);
                if guardian.is_none_or(|pid| kill_process(pid, Signal::TERM).is_err()) {
                    self.how_to_force();
                }
            }
        }
    }

    fn how_to_force(&mut self) {
        let alive: Vec<(String, String)> =
            self.last.iter().flat_map(|s| &s.components).filter_map(alive).collect();
        let (names, pids): (Vec<_>, Vec<_>) = alive.into_iter().unzip();
        let text = if pids.is_empty() {
            format!("still stopping; to force it: kill -KILL {}", self.guardian_pid)
        } else {
            format!("still stopping {}; to force it: kill -KILL {}", tame(&names.join(", ")), pids.join(" "))
        };
        self.tell(&News::odd('!', text));
    }

    fn on_end(&mut self, events: &Receiver<Event>) -> Result<Exit, Failure> {
        // What the control plane said last may still be on its way.
        loop {
            match events.recv_timeout(limits::LAST_WORDS_TIME) {
                Ok(Event::Status(status)) => {
                    self.show_status(&status);
                    self.last = Some(status);
                }
                Ok(Event::Trouble(_) | Event::Signal | Event::End) => {}
                Ok(Event::Unwatched) | Err(_) => break,
            }
        }
        let told = || self.last.as_ref().is_some_and(|status| status.state == InstanceState::Stopping);
        if self.guardian_finished().unwrap_or_else(told) || self.signals > 0 || self.purpose == Purpose::Down
        {
            self.tell(&News::odd('■', "everything has stopped"));
            return Ok(Exit::Done);
        }
        self.show_output("grace");
        let what =
            format!("the guardian (pid {}) ended by itself; what it ran is being stopped", self.guardian_pid);
        Err(Failure::new(Exit::Failed, "guardian_died", what)
            .at(&self.instance.log("grace").display())
            .help("if nobody killed it, the lines above say why; `grace up` starts anew"))
    }

    /// Whether the guardian ended because its work was done. `None` when it is not our child: then what the status said last
    /// must do, which is "stopping" too when the guardian was killed and the control plane stops everything.
    fn guardian_finished(&self) -> Option<bool> {
        let pid = i32::try_from(self.guardian_pid).ok().and_then(Pid::from_raw)?;
        let ended = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG).ok()??;
        Some(ended.exit_status() == Some(0))
    }

    /// The last lines that a component printed, indented.
    fn show_output(&mut self, name: &str) {
        let mut lines = Vec::new();
        let path = self.instance.log(name);
        // No output is no news: the component may never have started.
        if grace_core::output::read(&path, limits::FAILURE_LINES, false, &mut lines).is_err()
            || lines.is_empty()
        {
            return;
        }
        let mut text = format!("  the last output of {}:\n", tame(name));
        for line in String::from_utf8_lossy(&lines).lines() {
            text += &format!("  {} {}\n", self.out.style.dim("|"), tame(line));
        }
        self.print(&text);
    }

    fn tell(&mut self, news: &News) {
        let line = news.line(self.out.style) + "\n";
        self.print(&line);
    }

    /// That nobody reads it is no reason to stop what runs: a foreground instance ends with its front.
    fn print(&mut self, text: &str) {
        if !self.out.json {
            let _ = self.out.write_all(text.as_bytes());
            let _ = self.out.flush();
        }
    }
}

fn alive(c: &grace_core::status::ComponentStatus) -> Option<(String, String)> {
    Some((format!("{} ({})", c.name, state_word(c.state)), c.pid?.to_string()))
}

fn not_ready(which: &[(String, String)]) -> Failure {
    let names: Vec<String> =
        which.iter().map(|(name, why)| format!("{} ({})", tame(name), tame(why))).collect();
    Failure::new(Exit::Failed, "not_ready", format!("not ready: {}", names.join(", ")))
        .help("Grace goes on running: `grace status` shows it, `grace logs NAME` what it printed, `grace down` stops it")
}

fn no_threads(error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, "system", format!("the system refuses what is needed to watch: {error}"))
        .help("`grace doctor` checks the limits of this host; `grace status` shows what runs")
}

fn send_signals(send: SyncSender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if !ignored(SIGHUP) {
        signals.add_signal(SIGHUP)?;
    }
    let forward = move || {
        for _ in &mut signals {
            if send.send(Event::Signal).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(forward).map(drop)
}

/// Whether whoever started us ignores this signal, as nohup(1) does with SIGHUP: then so do we.
fn ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal - 1)) != 0
}

fn send_end(guardian_pid: u32, send: SyncSender<Event>) -> io::Result<()> {
    let Some(guardian) = open_process(guardian_pid)? else {
        // Nobody receives yet, and the queue has room.
        let _ = send.send(Event::End);
        return Ok(());
    };
    let wait = move || {
        let mut fds = [PollFd::new(&guardian, PollFlags::IN)];
        let _ = retry_on_intr(|| poll(&mut fds, None));
        let _ = send.send(Event::End);
    };
    thread::Builder::new().name("guardian".into()).spawn(wait).map(drop)
}

/// `None` when there is no such process any more.
fn open_process(pid: u32) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::SRCH) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Sends every status, over as many control planes as there are; ends when nothing runs any more.
fn send_statuses(instance: Instance, send: SyncSender<Event>) -> io::Result<()> {
    let forward = move || {
        loop {
            let watch = match control::watch(&instance) {
                Ok(watch) => watch,
                Err(failure) if failure.code == "not_running" => break,
                Err(failure) if send.send(Event::Trouble(Box::new(failure.clone()))).is_err() => return,
                Err(_) => {
                    thread::park_timeout(limits::TROUBLE_PAUSE);
                    continue;
                }
            };
            for status in watch {
                let event =
                    status.map_or_else(|f| Event::Trouble(Box::new(f)), |s| Event::Status(Box::new(s)));
                if send.send(event).is_err() {
                    return;
                }
            }
        }
        let _ = send.send(Event::Unwatched);
    };
    thread::Builder::new().name("watch".into()).spawn(forward).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_seen() {
        // Rust's runtime ignores SIGPIPE and leaves SIGTERM alone.
        assert!(ignored(signal_hook::consts::SIGPIPE));
        assert!(!ignored(SIGTERM));
    }
}
