//! The thread that reads every component's output.
//!
//! It is a thread of its own, with its own epoll instance, so that a component that floods its pipe or a disk that hangs never
//! delays supervision. One turn of its loop takes at most [`limits::READ_BYTES`] from each pipe that has something (so none
//! starves), and ends with one write per component that printed. The handle and the thread share only two bounded
//! queues: commands in, notices out.

use std::{
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use grace_types::{id::IncarnationId, manifest::LogSettings, time::Clock};
use regex::Regex;
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::{mpsc, oneshot};

use super::worker::Worker;
use crate::limits;

/// One run of a component whose output is to be captured.
#[derive(Debug)]
pub struct Attachment {
    /// Whose output it is; all its runs share one log file.
    pub component: String,
    /// Which run.
    pub incarnation: IncarnationId,
    /// The read end of its standard output.
    pub stdout: Option<OwnedFd>,
    /// The read end of its standard error.
    pub stderr: Option<OwnedFd>,
    /// How its log is kept.
    pub settings: LogSettings,
    /// Where its log is.
    pub path: PathBuf,
    /// The first line of this run that matches is reported as [`Notice::Ready`].
    pub ready_line: Option<Regex>,
}

/// What the thread has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A line matched `ready_line`.
    Ready {
        /// Whose line.
        component: String,
        /// Of which run.
        incarnation: IncarnationId,
        /// The line, made fit for a report.
        line: String,
    },
    /// Both pipes of a run are closed: the program and everything that inherited them is done printing, or there are too many newer
    /// runs to go on reading.
    Closed {
        /// Whose pipes.
        component: String,
        /// Of which run.
        incarnation: IncarnationId,
        /// The component's last lines, oldest first, each with its stream: `err boom`.
        last_lines: Vec<String>,
    },
    /// Output could not be written and is lost. At most one a second for each component.
    Lost {
        /// Whose output.
        component: String,
        /// Bytes of the log, stamps included, since the last such notice.
        bytes: u64,
        /// Lines since the last such notice.
        lines: u64,
        /// What the system said.
        reason: String,
    },
    /// Output is written again, after it was not.
    WrittenAgain {
        /// Whose output.
        component: String,
    },
}

/// The output thread did not take a command in time, or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the thread that captures output is busy or has ended; is the disk of the logs hanging?")]
pub struct Busy;

pub(super) enum Command {
    Attach(Box<Attachment>),
    Detach { component: String },
    Tail { component: String, reply: oneshot::Sender<Vec<String>> },
    Stop,
}

/// The handle of the output thread.
#[derive(Debug)]
pub struct Collector {
    commands: SyncSender<Command>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// Starts the thread. Notices go to `notices`; while that is full they wait, within [`limits::OUTPUT_NOTICES`].
    ///
    /// # Errors
    /// The system has no descriptors or threads left.
    pub fn start(clock: Arc<dyn Clock>, notices: mpsc::Sender<Notice>) -> io::Result<Self> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (commands, inbox): (_, Receiver<Command>) = sync_channel(limits::OUTPUT_COMMANDS);
        let worker = Worker::new(clock, Arc::clone(&wake), inbox, notices)?;
        let thread = std::thread::Builder::new().name("grace-output".into()).spawn(move || worker.run())?;
        Ok(Self { commands, wake, thread: Some(thread) })
    }

    /// Begins to capture a run. Earlier runs of the component go on being read until their pipes close.
    ///
    /// # Errors
    /// [`Busy`]; the descriptors are closed.
    pub fn attach(&self, attachment: Attachment) -> Result<(), Busy> {
        self.send(Command::Attach(Box::new(attachment)))
    }

    /// Writes what is in the component's pipes now, stops reading them and forgets the component.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn detach(&self, component: &str) -> Result<(), Busy> {
        self.send(Command::Detach { component: component.to_owned() })
    }

    /// The component's last lines, oldest first, with what is in its pipes now. Returns when the thread has got to
    /// it, which takes as long as the disk does: give it a timeout.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn tail(&self, component: &str) -> Result<Vec<String>, Busy> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Tail { component: component.to_owned(), reply })?;
        answer.await.map_err(|_| Busy)
    }

    /// Writes what is in the pipes now and ends the thread. Blocks until that is done.
    pub fn stop(mut self) {
        self.end();
    }

    fn send(&self, command: Command) -> Result<(), Busy> {
        self.commands.try_send(command).map_err(|_| Busy)?;
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        // Only a full counter fails, and then the thread has been woken already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // Woken before, so that a full queue empties; and after, so that the order is seen. A thread that has ended takes none.
        self.wake();
        let _ = self.commands.send(Command::Stop);
        self.wake();
        let _ = thread.join();
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.end();
    }
}
