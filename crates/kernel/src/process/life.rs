//! A kernel's life: signs of it to the control plane, and what the control plane and the system want of it.
//!
//! The kernel's own loop awaits [`Life::next`] beside its other work and answers [`Signal::Beat`] with [`Life::beat`].
//! There is no timer thread on purpose: a kernel whose loop is stuck stops beating, and is found.

use std::{io, sync::Arc, time::Duration};

use grace_types::time::Clock;
use tokio::{
    signal::unix::{self, SignalKind},
    time::{Interval, MissedTickBehavior},
};

use super::notify::Notify;
use crate::limits;

/// What the loop is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Show that the loop turns: call [`Life::beat`].
    Beat,
    /// Read the configuration again (SIGHUP).
    Reload,
    /// End in order.
    Stop(Stop),
}

/// Why a kernel ends in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM, or SIGINT from a terminal.
    Asked,
    /// The control plane and the guardian are gone, so nobody will ever ask.
    Orphaned,
}

/// See the module's page.
pub struct Life {
    notify: Notify,
    clock: Arc<dyn Clock>,
    beats: Interval,
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
    ready: bool,
    status: String,
    remark: Option<&'static str>,
}

impl Life {
    /// Beats at half of `watchdog`, or every [`limits::BEAT_DEFAULT`]. Inside a tokio runtime only.
    ///
    /// # Errors
    /// When a signal handler cannot be installed.
    pub fn new(notify: Notify, watchdog: Option<Duration>, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let period = watchdog.map_or(limits::BEAT_DEFAULT, |w| (w / 2).max(Duration::from_millis(1)));
        let mut beats = tokio::time::interval(period);
        // After a stall one sign of life is enough.
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            notify,
            clock,
            beats,
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
            ready: false,
            status: "starting".to_owned(),
            remark: None,
        })
    }

    /// Waits for what is to be done next. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Signal::Stop(Stop::Asked),
            _ = self.interrupt.recv() => Signal::Stop(Stop::Asked),
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.beats.tick() => {
                if self.notify.gone_for(self.clock.now().mono) >= limits::ORPHAN {
                    Signal::Stop(Stop::Orphaned)
                } else {
                    Signal::Beat
                }
            }
        }
    }

    /// Sends a sign of life. Readiness and status go with each, so that a new control plane learns them.
    pub fn beat(&mut self) {
        let ready = if self.ready { "READY=1\n" } else { "" };
        let (mark, remark) = self.remark.map_or(("", ""), |remark| ("; ", remark));
        let message = format!("{ready}WATCHDOG=1\nSTATUS={}{mark}{remark}", self.status);
        self.send(&message);
    }

    /// Tells that the component serves from now on.
    pub fn ready(&mut self, status: impl Into<String>) {
        self.ready = true;
        self.status(status);
    }

    /// Tells what the component is doing, in one line.
    pub fn status(&mut self, status: impl Into<String>) {
        self.status = status.into().replace('\n', " ");
        self.beat();
    }

    /// Tells something beside the status, in one line, until it is told that it is over.
    pub fn remark(&mut self, remark: Option<&'static str>) {
        if std::mem::replace(&mut self.remark, remark) != remark {
            self.beat();
        }
    }

    /// Tells that the component is about to end.
    pub fn stopping(&mut self) {
        self.ready = false;
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    fn send(&mut self, message: &str) {
        self.notify.send(message, self.clock.now().mono);
    }
}
