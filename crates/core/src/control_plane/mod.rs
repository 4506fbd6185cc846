//! The control plane: the process that starts, watches and restarts everything.
//!
//! ```text
//! pidfds ─┐
//! probes ─┤                                   ┌► guardian (keeps it in memory)
//! life line ──► Happening ──► supervisor::decide ──► journal's thread
//! operators ──┤      one loop, one order      ├► effects: spawn, signal, watch
//! guardian ───┘                               └► bus (best effort)
//! ```
//!
//! The rules are in [`crate::supervisor`]; this is the shell around them. One loop takes one happening at a time; it never
//! waits for the disk, the bus or a program. What may wait has a thread (the journal, the output) or a task (probes,
//! connections) of its own and reports back as a [`Happening`].

mod credentials;
mod detectors;
mod handover;
mod plan;
pub(crate) mod processes;
pub mod recorder;
mod report;
mod server;
mod shell;
mod voice;

pub use plan::{kernel_spec, kernel_specs};

use std::{
    io,
    os::fd::{AsFd, FromRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use grace_kernel::process::tell;
use grace_types::{
    id::IncarnationId,
    time::{Clock, Monotonic, SystemClock},
};
use rustix::process::Pid;
use tokio::sync::oneshot;

use self::{detectors::Probing, shell::Shell};
use crate::{
    control::{Answer, Request},
    guardian::channel::Channel,
    instance::Instance,
    readable::Readable,
    spawn::FIRST_PASSED_FD,
    supervisor::Exit,
};

/// Everything that can happen to the control plane, from every source. What the life line and the output say comes on
/// channels of its own, since it comes in bursts.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A process ended.
    Exited {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
        /// Its process.
        pid: Pid,
        /// How; `None` when it was not our child.
        exit: Option<Exit>,
    },
    /// A check ended.
    Probed {
        /// Which component.
        component: String,
        /// Which run of it.
        incarnation: IncarnationId,
        /// Which probe.
        probing: Probing,
        /// What it found.
        result: Result<(), String>,
    },
    /// Somebody asks something on the control socket.
    Asked {
        /// What.
        request: Request,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
    },
    /// Somebody asks for the status on the bus.
    StatusAsked {
        /// Where the answer goes.
        reply: String,
    },
    /// The health monitor published its scores.
    Health {
        /// By component.
        scores: std::collections::BTreeMap<String, f64>,
    },
    /// Decisions up to this number are in the journal.
    Written {
        /// The last of them.
        upto: u64,
    },
    /// A look at the faults that injectors left behind has ended.
    Swept {
        /// What was done.
        swept: io::Result<grace_faults::journal::Swept>,
    },
    /// The journal was damaged: it was set aside, and a new one begun.
    SetAside {
        /// What is wrong with it, and where it is now.
        detail: String,
        /// Its file now.
        path: PathBuf,
    },
    /// The journal cannot be written.
    NotWritten {
        /// What the system said.
        detail: String,
    },
}

/// What `grace control-plane` runs: returns when the instance has shut down.
pub fn main(data: &Path) -> ExitCode {
    let run = || {
        let mut channel = Channel::over(inherited_channel()?);
        make_room_for_descriptors(&channel);
        let handover = handover::receive(&mut channel)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async move {
            let mut shell = Shell::start(Instance::at(data), channel, handover)?;
            run(&mut shell).await?;
            // Whoever watches is told that the last one has ended.
            tokio::task::yield_now().await;
            shell.finish();
            Ok::<(), io::Error>(())
        })
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("grace control plane: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Descriptors that the table has room for from the start: three for each of 300 programs, and the rest.
const DESCRIPTORS: i32 = 1000;

/// Grows the descriptor table while this process has one thread. Later, with threads that share it, each doubling waits for
/// a grace period of the kernel's (RCU): some 20 ms, in the middle of a boot of 25 programs.
fn make_room_for_descriptors(any: &impl AsFd) {
    // The limit may be lower; then there is nothing to gain.
    let _ = rustix::io::fcntl_dupfd_cloexec(any, DESCRIPTORS);
}

#[expect(unsafe_code, reason = "an inherited descriptor arrives as a bare number")]
fn inherited_channel() -> io::Result<OwnedFd> {
    // SAFETY: the guardian placed the channel at this number for this process; nothing has opened descriptors yet.
    let fd = unsafe { OwnedFd::from_raw_fd(FIRST_PASSED_FD) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// Late by more than this, the loop was not merely busy: the process or the machine was stopped.
const STOPPED_IF_LATE: Duration = Duration::from_millis(500);

/// The one loop.
async fn run(shell: &mut Shell) -> io::Result<()> {
    let guardian = Readable::new(shell.guardian_fd()?)?;
    loop {
        let now = SystemClock.now().mono;
        let due = shell.next_deadline();
        tokio::select! {
            heard = shell.life_line.recv() => shell.heard(&heard?),
            Some(happening) = shell.happenings.recv() => shell.happened(happening),
            Some(notice) = shell.notices.recv() => shell.noticed(notice),
            woken = guardian.woken(), if !shell.guardian_lost() => {
                woken?;
                shell.hear_guardian();
            }
            () = wait_until(now, due) => {}
        }
        let late = SystemClock.now().mono.since(due);
        if late > STOPPED_IF_LATE {
            shell.forgive(late);
        }
        shell.due();
        if shell.finished() {
            return Ok(());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the loop's own timer")]
async fn wait_until(now: Monotonic, due: Monotonic) {
    tokio::time::sleep(due.since(now)).await;
}
