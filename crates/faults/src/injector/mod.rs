//! The injector's process: takes orders from a runner, holds their deadlines, and undoes everything before it ends.
//!
//! ```text
//! stdin ─► orders ─┐                         ┌► journal (synced)
//! pidfds ──────────┤                         ├► signals
//! life-line thread ┼─► Injection (pure) ─► steps ─► life-line thread
//! SIGTERM … ───────┤                         └► reports ─► stdout
//! time ────────────┘
//! ```
//!
//! One loop over poll(2). It never waits for the runner (reports that nobody reads are dropped), for the control plane (asked on a
//! thread of its own) or for a process. It does wait for the disk, which must have a fault's record before the fault begins;
//! a deadline that passes meanwhile is kept by the control plane's sweep.
//!
//! It leaves the runner's session, so that neither Ctrl-C nor the runner's SIGKILL reaches it. When the runner closes the pipe, or
//! dies, everything is undone at once, and likewise on SIGTERM, SIGINT and SIGHUP.

mod desk;
mod hand;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    process::ExitCode,
};

use grace_types::{
    id::FaultId,
    time::{Clock as _, Monotonic, Now, SystemClock},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::{
    desk::Desk,
    hand::{Bounds, Hand},
};
use crate::{
    injection::{Injection, Input, Step},
    journal::Journal,
    life_line::LifeLine,
    limits,
    lines::{Line, LineReader, Outbox},
    order::FaultOrder,
    report::{RefusalCode, Report, Request, UndoCause},
};

/// What `grace injector` runs: the injector of the instance in `data`, over standard input and output. Returns when nothing is
/// left to undo; the status is a failure if something could not be undone, whose record is left for the control plane.
#[must_use]
pub fn main(data: &Path, life_line: Box<dyn LifeLine + Send>) -> ExitCode {
    // It fails where we lead a group already, which is as good.
    let _ = rustix::process::setsid();
    let run = || {
        let (input, output) =
            (io::stdin().as_fd().try_clone_to_owned()?, io::stdout().as_fd().try_clone_to_owned()?);
        let (signals, sender) = UnixStream::pair()?;
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            signal_hook::low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        serve(data, life_line, Streams { input, output, signals })
    };
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Whoever would have read it may be gone.
            let _ = writeln!(io::stderr(), "grace injector: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What an injector is connected to.
#[derive(Debug)]
pub struct Streams {
    /// Requests come here, a line each; its end asks for everything to be undone.
    pub input: OwnedFd,
    /// Reports go here, a line each.
    pub output: OwnedFd,
    /// Becomes readable when a signal asks for the end.
    pub signals: UnixStream,
}

/// Serves until nothing is left to undo; whether everything was undone.
///
/// # Errors
/// The data folder does not exist, or the system is out of descriptors or threads. Nothing has begun then.
pub fn serve(data: &Path, life_line: Box<dyn LifeLine + Send>, streams: Streams) -> io::Result<bool> {
    let data = data.canonicalize()?;
    let injector = Injector {
        journal: Journal::of(&data)?,
        desk: Desk::open(life_line)?,
        bounds: Bounds {
            data,
            runner: rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs()),
            spared_components: BTreeSet::new(),
            spared_pids: BTreeSet::new(),
        },
        held: BTreeMap::new(),
        known: BTreeSet::new(),
        poised: None,
        outbox: Outbox::default(),
        ending: false,
        clean: true,
    };
    injector.serve(streams)
}

struct Injector {
    journal: Journal,
    desk: Desk,
    bounds: Bounds,
    held: BTreeMap<FaultId, (Injection, Hand)>,
    /// Every id that was ordered.
    known: BTreeSet<FaultId>,
    /// While a volley is written down: those of its faults that are ready to bite.
    poised: Option<Vec<FaultId>>,
    outbox: Outbox,
    ending: bool,
    /// Whether everything that is over was undone.
    clean: bool,
}

/// What poll(2) said.
#[derive(Debug, Default)]
struct Woken {
    input: bool,
    signals: bool,
    desk: bool,
    writable: bool,
    /// Nobody reads the reports any more.
    unread: bool,
    gone: Vec<FaultId>,
}

impl Injector {
    fn serve(mut self, streams: Streams) -> io::Result<bool> {
        let Streams { input, output, mut signals } = streams;
        signals.set_nonblocking(true)?;
        let mut input = Some(input);
        let mut lines = LineReader::default();
        self.say(&Report::Ready { pid: std::process::id() });
        loop {
            self.tick();
            if self.ending && self.held.is_empty() {
                // The runner may be gone.
                let _ = self.outbox.flush(&output, now().mono.plus(limits::LAST_WORDS));
                return Ok(self.clean);
            }
            let woken = self.wait(input.as_ref(), &output, &signals)?;
            if woken.signals {
                drain(&mut signals);
                self.end(UndoCause::InjectorEnds);
            }
            for id in woken.gone {
                if let Some((_, hand)) = self.held.get_mut(&id) {
                    hand.gone = true;
                }
                self.tell(id, Input::TargetGone);
            }
            if woken.desk {
                for (id, input) in self.desk.answers() {
                    self.tell(id, input);
                }
            }
            let broken = woken.unread || (woken.writable && self.outbox.write(&output).is_err());
            let mut over = broken;
            if let Some(from) = input.as_ref().filter(|_| woken.input && !broken) {
                over = !matches!(lines.read(from), Ok(true));
                while let Some(line) = lines.next() {
                    self.hear(line);
                }
            }
            if over {
                input = None;
                self.end(UndoCause::RunnerGone);
            }
        }
    }

    /// Sleeps until something happens or is due.
    fn wait(&self, input: Option<&OwnedFd>, output: &OwnedFd, signals: &UnixStream) -> io::Result<Woken> {
        let due = self.held.values().filter_map(|(injection, _)| injection.next_deadline()).min();
        // A millisecond is what the timer is exact to; without it the last one would be spent awake.
        let timeout = due.and_then(|due| {
            Timespec::try_from(due.since(now().mono).saturating_add(std::time::Duration::from_millis(1))).ok()
        });
        let asked = if self.outbox.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let mut fds = vec![PollFd::new(signals, PollFlags::IN), PollFd::new(&self.desk, PollFlags::IN)];
        // Once the runner is gone, the pipes say so without end.
        if let Some(input) = input {
            fds.extend([PollFd::new(output, asked), PollFd::new(input, PollFlags::IN)]);
        }
        let processes: Vec<(FaultId, &Hand)> =
            self.held.iter().filter(|(_, (_, hand))| !hand.gone).map(|(id, (_, hand))| (*id, hand)).collect();
        let first = fds.len();
        fds.extend(processes.iter().map(|(_, hand)| PollFd::new(&hand.process, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let is = |n: usize| fds.get(n).is_some_and(|fd| !fd.revents().is_empty());
        let pipes = input.is_some();
        let output = if pipes { fds[2].revents() } else { PollFlags::empty() };
        Ok(Woken {
            signals: is(0),
            desk: is(1),
            writable: output.contains(PollFlags::OUT),
            unread: output.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL),
            input: pipes && is(3),
            gone: processes.iter().zip(first..).filter(|(_, n)| is(*n)).map(|((id, _), _)| *id).collect(),
        })
    }

    fn tick(&mut self) {
        let mono = now().mono;
        let due = |injection: &Injection| injection.next_deadline().is_some_and(|at| at <= mono);
        let due: Vec<FaultId> =
            self.held.iter().filter(|(_, (injection, _))| due(injection)).map(|(id, _)| *id).collect();
        for id in due {
            self.tell(id, Input::Tick);
        }
    }

    /// Begins to undo everything; no order is taken any more.
    fn end(&mut self, cause: UndoCause) {
        self.ending = true;
        for id in self.held.keys().copied().collect::<Vec<_>>() {
            self.tell(id, Input::End(cause));
        }
    }

    fn hear(&mut self, line: Line) {
        let request = match line {
            Line::Text(text) => serde_json::from_slice(&text).map_err(|e| format!("this is no request: {e}")),
            Line::TooLong => Err(format!("a line has more than {} bytes", limits::LINE_BYTES)),
        };
        match request {
            Ok(Request::Spare { components, pids }) => {
                if !self.bounds.spare(components, pids) {
                    let message = format!("at most {} can be spared", limits::SPARED);
                    self.refuse(None, RefusalCode::BadRequest, message);
                    // Better no fault than one that hits what was to be spared.
                    self.end(UndoCause::Failed);
                }
            }
            Ok(Request::Inject { order }) => self.inject(order),
            Ok(Request::Volley { orders }) => {
                self.poised = Some(Vec::new());
                for order in orders {
                    self.inject(order);
                }
                let poised = self.poised.take().unwrap_or_default();
                // What follows from a bite may wait for the disk: all bite first.
                let struck: Vec<_> =
                    poised.into_iter().map(|id| (id, self.perform(id, Step::Bite))).collect();
                for (id, struck) in struck {
                    if let Some(struck) = struck {
                        self.tell(id, struck);
                    }
                }
            }
            Ok(Request::Undo { id }) if self.held.contains_key(&id) => {
                self.tell(id, Input::End(UndoCause::Asked));
            }
            // It ended by itself while the runner asked.
            Ok(Request::Undo { id }) if self.known.contains(&id) => {}
            Ok(Request::Undo { id }) => {
                self.refuse(Some(id), RefusalCode::NotFound, format!("{id} was never ordered"));
            }
            Err(message) => self.refuse(None, RefusalCode::BadRequest, message),
        }
    }

    fn inject(&mut self, order: FaultOrder) {
        let id = order.id;
        if let Err((code, message)) = self.accept(order) {
            self.refuse(Some(id), code, message);
        }
    }

    fn accept(&mut self, order: FaultOrder) -> Result<(), (RefusalCode, String)> {
        let id = order.id;
        if self.ending {
            return Err((RefusalCode::Ending, "everything is being undone".to_owned()));
        }
        if self.known.contains(&id) {
            return Err((RefusalCode::Duplicate, format!("{id} was ordered before")));
        }
        if self.held.len() >= limits::FAULTS {
            return Err((RefusalCode::Busy, format!("{} faults at one time are the most", limits::FAULTS)));
        }
        if self.known.len() >= limits::ORDERS {
            let message = format!("one injector takes {} orders: start another", limits::ORDERS);
            return Err((RefusalCode::Busy, message));
        }
        let hand = Hand::grip(&order, &self.bounds)?;
        self.known.insert(id);
        self.held.insert(id, (Injection::new(order, now().mono), hand));
        self.tell(id, Input::Begin);
        Ok(())
    }

    fn refuse(&mut self, id: Option<FaultId>, code: RefusalCode, message: String) {
        self.say(&Report::Refused { id, code, message });
    }

    fn say(&mut self, report: &Report) {
        // A runner that does not read loses reports, not deadlines.
        let _ = self.outbox.add(report);
    }

    /// Tells a fault what happened, and does what follows from that.
    fn tell(&mut self, id: FaultId, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some((injection, _)) = self.held.get_mut(&id) else { return };
            for step in injection.take(now(), input) {
                inputs.extend(self.perform(id, step));
            }
        }
        if let Some((injection, _)) = self.held.get(&id).filter(|(injection, _)| injection.is_over()) {
            self.clean &= injection.is_clean();
            self.held.remove(&id);
        }
    }

    /// Does one step; its result, unless that comes from the desk.
    fn perform(&mut self, id: FaultId, step: Step) -> Option<Input> {
        if let (Step::Bite, Some(poised)) = (&step, &mut self.poised) {
            poised.push(id);
            return None;
        }
        let (injection, hand) = self.held.get(&id)?;
        match step {
            Step::Journal => {
                let deadline = at(injection.deadline());
                let written = self.journal.write(injection.order(), deadline);
                Some(Input::Journaled(written.map_err(|e| e.to_string())))
            }
            Step::Bite => hand.bite(injection.deadline(), &self.desk).map(Input::Struck),
            Step::Look => hand.look(&self.desk).map(Input::Looked),
            Step::Undo => hand.undo(&self.desk).map(Input::Loosened),
            Step::Forget => {
                // What cannot be removed is found by the sweep, which finds nothing to undo.
                let _ = self.journal.remove(id);
                Some(Input::Forgotten)
            }
            Step::Say(report) => {
                self.say(&report);
                None
            }
        }
    }
}

/// A moment of monotonic time with its place in the calendar, as the calendar stands now.
fn at(mono: Monotonic) -> Now {
    let now = now();
    Now { wall: now.wall.plus(mono.since(now.mono)), mono }
}

fn now() -> Now {
    SystemClock.now()
}

fn drain(signals: &mut UnixStream) {
    let mut bytes = [0; 64];
    while matches!(signals.read(&mut bytes), Ok(n) if n > 0) {}
}
