//! The control plane's hands: carries out what the supervisor decided, and tells it what happened.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use grace_kernel::Recorded;
use grace_types::{
    chance::{Entropy, OsEntropy},
    id::{BootId, CorrelationId, EventId, IncarnationId},
    manifest::{Check, Manifest, ProcessSpec},
    time::{Clock, Hlc, Monotonic, Now, SystemClock},
};
use rustix::process::Pid;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Happening,
    credentials::Credentials,
    detectors::{Detectors, DueCheck},
    handover::Handover,
    plan,
    processes,
    recorder::{self, Entry, Recorder},
    report::{self, Volatile},
    server::{self, StatusSender, refuse},
    voice::Voice,
};
use crate::{
    control::{Answer, Request},
    guardian::{
        ALIVE_INTERVAL,
        channel::{Channel, ToControlPlane, ToGuardian},
        launch::kept,
    },
    instance::Instance,
    limits,
    notify::{Datagram, Notification, NotifySocket},
    output::{Attachment, Collector, Notice},
    probe, procfs,
    supervisor::{Command, Effect, Event, Exit, Input, Phase, Plan, Refusal, State, decider},
};

/// Between two rounds of housekeeping: a sign of life to the guardian, and a look at every process's state.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Time for the guardian to say how an adopted process ended, before its exit counts as unknown.
const REAP_TIME: Duration = Duration::from_millis(200);

/// The control plane, less its loop.
pub struct Shell {
    instance: Instance,
    state: State,
    boot: BootId,
    number: u64,
    hlc: Hlc,
    /// For each component, what its current story is called and its last event: an incident goes from the first thing
    /// that went wrong to being ready again.
    stories: BTreeMap<String, (CorrelationId, EventId, bool)>,
    guardian: Option<Channel>,
    guardian_alive: Monotonic,
    kept: BTreeMap<String, OwnedFd>,
    credentials: Credentials,
    detectors: Detectors,
    recorder: Recorder,
    collector: Collector,
    voice: Voice,
    status: Arc<StatusSender>,
    volatile: Volatile,
    /// Answers that wait until their decision is written.
    owed: VecDeque<(u64, oneshot::Sender<Answer>, Answer)>,
    reaped: BTreeMap<u32, Exit>,
    /// Adopted processes that ended and whose status the guardian has.
    awaited: BTreeMap<u32, (String, IncarnationId, Monotonic)>,
    /// Processes seen stopped in the last round, by pid.
    seen_stopped: BTreeSet<u32>,
    housekeeping: Monotonic,
    happened: mpsc::Sender<Happening>,
    /// What happened, from every source but the two below.
    pub happenings: mpsc::Receiver<Happening>,
    /// What programs say of themselves.
    pub life_line: NotifySocket,
    /// What the output thread has to say.
    pub notices: mpsc::Receiver<Notice>,
}

impl Shell {
    /// Takes over from the guardian: rebuilds the state, opens the sockets, and lets the supervisor begin.
    ///
    /// # Errors
    /// Something without which nothing can be supervised is missing.
    pub fn start(instance: Instance, guardian: Channel, handover: Handover) -> io::Result<Self> {
        let Handover { secret, predecessors, mut kept, tail, tail_lost, reaped, stop } = handover;
        let now = SystemClock.now();
        let manifest: Manifest = serde_json::from_slice(&std::fs::read(instance.manifest())?)?;
        let program = crate::spawn::own_program();
        let specs = plan::kernel_specs(&program).into_iter().chain(manifest.processes.into_values());
        let plan = Plan::new(specs);

        let need = |name: &str| kept.get(name).ok_or_else(|| io::Error::other(format!("no {name} socket"))).and_then(|fd| fd.try_clone());
        let tcp = std::net::TcpListener::from(need(kept::BUS_TCP)?);
        let credentials = Credentials::new(secret, tcp.local_addr()?);
        let life_line = NotifySocket::from_fd(need(kept::NOTIFY)?)?;
        let control = std::os::unix::net::UnixListener::from(need(kept::CONTROL)?);
        drop(tcp);

        let mut recovered = if predecessors == 0 {
            recorder::Recovered { state: State::new(plan), ..Default::default() }
        } else {
            recorder::recover(&instance.journal("control_plane"), &plan, tail)
        };
        if tail_lost > 0 {
            recovered.warnings.push(format!("{tail_lost} decisions were lost while the journal could not be written"));
        }
        let (happened, happenings) = mpsc::channel(limits::HAPPENINGS);
        let (notices_in, notices) = mpsc::channel(limits::OUTPUT_NOTICES);
        let status = Arc::new(watch::channel(None).0);
        server::serve(control, happened.clone(), Arc::clone(&status))?;
        let collector = Collector::start(Arc::new(SystemClock), notices_in)?;
        let streams: Vec<String> = kept.keys().filter(|n| n.contains('/')).cloned().collect();
        let streams: BTreeMap<String, OwnedFd> =
            streams.into_iter().filter_map(|name| kept.remove_entry(&name)).collect();
        let boot = recovered.state.boot.unwrap_or_else(|| BootId::new(now.wall, &mut OsEntropy));
        let mut shell = Self {
            recorder: Recorder::start(instance.journal("control_plane"), happened.clone())?,
            voice: Voice::start(&instance, &credentials, happened.clone()),
            volatile: Volatile {
                guardian_pid: rustix::process::getppid().map_or(0, |p| p.as_raw_nonzero().get().unsigned_abs()),
                bus_address: credentials.address().to_string(),
                warnings: recovered.warnings,
                ..Volatile::default()
            },
            instance,
            number: recovered.number,
            hlc: recovered.hlc,
            boot,
            stories: BTreeMap::new(),
            state: recovered.state,
            guardian: Some(guardian),
            guardian_alive: now.mono,
            kept,
            credentials,
            detectors: Detectors::default(),
            collector,
            status,
            owed: VecDeque::new(),
            reaped,
            awaited: BTreeMap::new(),
            seen_stopped: BTreeSet::new(),
            housekeeping: now.mono,
            happened,
            happenings,
            life_line,
            notices,
        };
        for (number, json) in recovered.unwritten {
            shell.recorder.append(number, json);
        }
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        shell.write_credentials();
        shell.attach_kept(streams);
        shell.begin(predecessors > 0);
        if let Some(cause) = stop {
            shell.tell(Input::Shutdown { cause });
        }
        Ok(shell)
    }

    fn begin(&mut self, take_over: bool) {
        if !take_over || self.state.boot.is_none() {
            self.tell(Input::Boot { boot: self.boot });
            return;
        }
        let parents = [self.volatile.guardian_pid];
        let known = self.state.components.iter().filter_map(|(name, c)| Some((name, c.phase.run()?)));
        let mut found: Vec<crate::supervisor::Found> = known
            .filter(|(_, run)| procfs::start_ticks(run.pid) == Some(run.start_ticks) && state_of(run.pid) != Some('Z'))
            .map(|(name, run)| crate::supervisor::Found {
                component: name.clone(),
                incarnation: run.incarnation,
                pid: run.pid,
                start_ticks: run.start_ticks,
            })
            .collect();
        for unknown in processes::find_live(&parents, &self.instance) {
            if !found.iter().any(|f| f.component == unknown.component) {
                found.push(unknown);
            }
        }
        // Before the supervisor speaks: what it starts anew is watched by `spawn`.
        for process in &found {
            self.watch_exit(process.component.clone(), process.incarnation, process.pid);
        }
        let reaped = self.reaped.clone();
        let adopted: Vec<String> = found.iter().map(|f| f.component.clone()).collect();
        self.tell(Input::TakeOver { found, reaped });
        let now = SystemClock.now().mono;
        for name in adopted {
            let Some(spec) = self.state.plan.spec(&name).cloned() else { continue };
            if let Some(Phase::Running { run, paused: false }) = self.state.components.get(&name).map(|c| c.phase.clone())
                && let Some(input) = self.detectors.watch(&spec, run.incarnation, run.ready, now)
            {
                self.tell(input);
            }
        }
    }

    // ---- the road of a decision ------------------------------------------------------------------------------

    /// Tells the supervisor something, and carries out what it decides, and what follows from that.
    fn tell(&mut self, input: Input) {
        let _ = self.ask(input);
    }

    fn ask(&mut self, input: Input) -> Result<(), Refusal> {
        let mut inputs = VecDeque::from([input]);
        let mut first = true;
        while let Some(input) = inputs.pop_front() {
            let now = SystemClock.now();
            let command = Command { seed: OsEntropy.next_u64(), input };
            match decider::decide(&self.state, now, &command) {
                Ok(decided) => {
                    for recorded in decided {
                        self.carry_out(recorded, now, &mut inputs);
                    }
                }
                Err(refusal) if first => return Err(refusal),
                Err(_) => {}
            }
            first = false;
        }
        self.publish_status();
        Ok(())
    }

    fn carry_out(&mut self, recorded: Recorded<Event>, now: Now, inputs: &mut VecDeque<Input>) {
        self.state.evolve(recorded.event(), &recorded.why().to_string(), now);
        let effects = decider::effects(&self.state, recorded.event());
        self.record(recorded, now);
        for effect in effects {
            inputs.extend(self.perform(effect, now));
        }
    }

    fn record(&mut self, recorded: Recorded<Event>, now: Now) {
        self.number += 1;
        self.hlc = self.hlc.tick(now.wall);
        let id = EventId::new(now.wall, &mut OsEntropy);
        let about = recorded.event().component().unwrap_or("").to_owned();
        let (correlation, causation) = match self.stories.get(&about) {
            Some((story, last, false)) => (*story, Some(*last)),
            _ => (CorrelationId::new(now.wall, &mut OsEntropy), None),
        };
        let over = matches!(recorded.event(), Event::BecameReady { .. } | Event::Completed { .. } | Event::GaveUp { .. });
        self.stories.insert(about, (correlation, id, over));
        let entry = Entry {
            id,
            kind: format!("dev.grace.control_plane.{}.v1", recorded.event().name()),
            time: now.wall,
            hlc: self.hlc,
            who: "control_plane".to_owned(),
            correlation,
            causation,
            record: recorded,
            boot: self.boot,
            number: self.number,
            mono: now.mono,
        };
        let Ok(json) = serde_json::to_string(&entry) else { return };
        self.to_guardian(&ToGuardian::Record { number: self.number, json: json.clone() }, None);
        self.recorder.append(self.number, json);
        self.recorder.snapshot_if_due(&self.state, self.number, self.hlc);
        self.voice.say(&entry);
    }

    fn perform(&mut self, effect: Effect, now: Now) -> Option<Input> {
        match effect {
            Effect::Spawn { component, incarnation } => Some(self.spawn(&component, incarnation)),
            Effect::Watch { component, incarnation } => {
                let spec = self.state.plan.spec(&component)?.clone();
                let ready = self.state.components.get(&component).is_some_and(|c| c.is_ready());
                self.detectors.watch(&spec, incarnation, ready, now.mono)
            }
            Effect::Unwatch { component } => {
                self.detectors.unwatch(&component);
                None
            }
            Effect::Signal { pid, signal, .. } => {
                processes::signal_group(pid, signal);
                None
            }
            Effect::CleanUp { component, incarnation, pid } => {
                self.detectors.unwatch(&component);
                self.volatile.said.remove(&component);
                let parents = [std::process::id(), self.volatile.guardian_pid];
                let strays = processes::end_strays(&component, incarnation, pid, &parents);
                if strays > 0 {
                    let text = format!("`{component}` ended and left {strays} processes behind, which were ended: run it in the foreground");
                    self.warn(text);
                }
                None
            }
            Effect::Quit => None,
        }
    }

    // ---- processes -------------------------------------------------------------------------------------------

    fn spawn(&mut self, component: &str, incarnation: IncarnationId) -> Input {
        match self.try_spawn(component, incarnation) {
            Ok((pid, start_ticks)) => Input::Spawned { component: component.to_owned(), incarnation, pid, start_ticks },
            Err(error) => {
                Input::SpawnFailed { component: component.to_owned(), incarnation, error: error.to_string() }
            }
        }
    }

    fn try_spawn(&mut self, component: &str, incarnation: IncarnationId) -> io::Result<(u32, u64)> {
        let spec = self.state.plan.spec(component).cloned().ok_or_else(|| io::Error::other("no such component"))?;
        let environment = processes::environment(&spec, incarnation, &self.instance, &self.credentials);
        let (out, err) = (processes::Pipe::new()?, processes::Pipe::new()?);
        // The guardian has the read ends before anything can be written: output outlives this control plane.
        for (stream, pipe) in [("out", &out), ("err", &err)] {
            let name = processes::kept_name(stream, component, incarnation);
            self.to_guardian(&ToGuardian::Keep { name }, Some(&pipe.read));
        }
        let started = processes::start(&spec, environment, (out.write, err.write), &self.kept);
        let pid = match started {
            Ok(pid) => pid,
            Err(error) => {
                self.forget_streams(component, incarnation);
                return Err(error);
            }
        };
        self.attach(&spec, incarnation, Some(out.read), Some(err.read));
        let pid = pid.as_raw_nonzero().get().unsigned_abs();
        self.watch_exit(component.to_owned(), incarnation, pid);
        Ok((pid, procfs::start_ticks(pid).unwrap_or_default()))
    }

    fn watch_exit(&mut self, component: String, incarnation: IncarnationId, pid: u32) {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
        if let Err(error) = processes::watch(pid, component.clone(), incarnation, self.happened.clone()) {
            self.warn(format!("`{component}` (pid {pid:?}) cannot be watched: {error}"));
        }
    }

    fn attach(
        &mut self,
        spec: &ProcessSpec,
        incarnation: IncarnationId,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) {
        let ready_line = match spec.readiness.as_ref().map(|p| &p.check) {
            Some(Check::LogLine { pattern }) => regex::Regex::new(pattern).ok(),
            _ => None,
        };
        let attached = self.collector.attach(Attachment {
            component: spec.name.clone(),
            incarnation,
            stdout,
            stderr,
            settings: spec.log.clone(),
            path: self.instance.log(&spec.name),
            ready_line,
        });
        if let Err(busy) = attached {
            self.warn(format!("the output of `{}` is not captured: {busy}", spec.name));
        }
    }

    /// Goes on reading what processes that outlived the last control plane print.
    fn attach_kept(&mut self, mut streams: BTreeMap<String, OwnedFd>) {
        while let Some((name, _)) = streams.first_key_value() {
            let mut parts = name.splitn(3, '/').skip(1).map(str::to_owned);
            let (Some(component), Some(run)) = (parts.next(), parts.next()) else {
                streams.pop_first();
                continue;
            };
            let stdout = streams.remove(&format!("out/{component}/{run}"));
            let stderr = streams.remove(&format!("err/{component}/{run}"));
            if let (Some(spec), Ok(incarnation)) = (self.state.plan.spec(&component).cloned(), run.parse()) {
                self.attach(&spec, incarnation, stdout, stderr);
            }
        }
    }

    fn forget_streams(&mut self, component: &str, incarnation: IncarnationId) {
        for stream in ["out", "err"] {
            let name = processes::kept_name(stream, component, incarnation);
            self.to_guardian(&ToGuardian::Forget { name }, None);
        }
    }

    // ---- what happens ----------------------------------------------------------------------------------------

    /// Takes one happening.
    pub fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::Exited { component, incarnation, exit: Some(exit), .. } => {
                self.tell(Input::Exited { component, incarnation, exit });
            }
            Happening::Exited { component, incarnation, pid, exit: None } => {
                let pid = pid.as_raw_nonzero().get().unsigned_abs();
                match self.reaped.remove(&pid) {
                    Some(exit) => self.tell(Input::Exited { component, incarnation, exit }),
                    None => {
                        let until = SystemClock.now().mono.plus(REAP_TIME);
                        self.awaited.insert(pid, (component, incarnation, until));
                        self.to_guardian(&ToGuardian::Reap { pid }, None);
                    }
                }
            }
            Happening::Probed { component, incarnation, probing, result } => {
                let now = SystemClock.now().mono;
                let Some(spec) = self.state.plan.spec(&component).cloned() else { return };
                if let Some(input) = self.detectors.probed(&spec, incarnation, probing, result, now) {
                    self.tell(input);
                }
            }
            Happening::Asked { request, reply } => self.answer(request, reply),
            Happening::StatusAsked { reply } => {
                let status = report::report(&self.state, &self.volatile);
                self.voice.answer(reply, &status);
            }
            Happening::Health { scores } => self.volatile.health = scores,
            Happening::Written { upto } => {
                self.volatile.warnings.retain(|w| !w.starts_with(NOT_WRITTEN));
                self.to_guardian(&ToGuardian::Written { upto }, None);
                self.release(upto, None);
            }
            Happening::NotWritten { detail } => {
                self.volatile.warnings.retain(|w| !w.starts_with(NOT_WRITTEN));
                self.warn(format!("{NOT_WRITTEN}: {detail}; decisions wait in memory, and are written when it can be"));
                self.release(u64::MAX, Some(&detail));
            }
        }
    }

    /// Takes what a program said of itself. Only members of a component's process group are believed.
    pub fn heard(&mut self, datagram: &Datagram) {
        let now = SystemClock.now().mono;
        let Some((spec, incarnation)) = self.sender(datagram.pid) else { return };
        for said in &datagram.notifications {
            if let Notification::Status(text) = said {
                self.volatile.said.insert(spec.name.clone(), text.clone());
                self.publish_status();
            }
            if let Some(input) = self.detectors.notified(&spec, incarnation, said, now) {
                self.tell(input);
            }
        }
    }

    fn sender(&self, pid: u32) -> Option<(Arc<ProcessSpec>, IncarnationId)> {
        let by_pid = |pid: u32| {
            let (name, run) = self.state.components.iter().find_map(|(name, c)| {
                c.phase.run().filter(|run| run.pid == pid).map(|run| (name, run.incarnation))
            })?;
            Some((self.state.plan.spec(name)?.clone(), run))
        };
        by_pid(pid).or_else(|| {
            let group = rustix::process::getpgid(Pid::from_raw(i32::try_from(pid).ok()?)).ok()?;
            by_pid(group.as_raw_nonzero().get().unsigned_abs())
        })
    }

    /// Takes what the output thread noticed.
    pub fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::Ready { component, incarnation, .. } => {
                let now = SystemClock.now().mono;
                let Some(spec) = self.state.plan.spec(&component).cloned() else { return };
                if let Some(input) = self.detectors.line_matched(&spec, incarnation, now) {
                    self.tell(input);
                }
            }
            Notice::Closed { component, incarnation, .. } => self.forget_streams(&component, incarnation),
            Notice::Lost { component, bytes, lines, reason } => {
                let lost = format!("output of `{component}` cannot be written");
                self.volatile.warnings.retain(|w| !w.starts_with(&lost));
                self.warn(format!("{lost} ({lines} lines, {bytes} bytes lost): {reason}"));
            }
        }
    }

    fn answer(&mut self, request: Request, reply: oneshot::Sender<Answer>) {
        let (input, message) = match request {
            Request::Status | Request::Watch => {
                let status = report::report(&self.state, &self.volatile);
                let _ = reply.send(Answer::Status(Box::new(status)));
                return;
            }
            Request::Restart { name } => (Input::Restart { component: name.clone() }, format!("{name} is being restarted")),
            Request::Pause { name } => (Input::Pause { component: name.clone() }, format!("{name} is paused")),
            Request::Resume { name } => (Input::Resume { component: name.clone() }, format!("{name} goes on")),
            Request::Down => {
                (Input::Shutdown { cause: "an operator asked for it".to_owned() }, "everything is being stopped".to_owned())
            }
        };
        match self.ask(input) {
            Ok(()) => self.owed.push_back((self.number, reply, Answer::Done { message })),
            Err(refusal) => {
                let (code, help) = match &refusal {
                    Refusal::NotFound(_) => ("not_found", "`grace status` lists the components"),
                    Refusal::WrongState { .. } => ("wrong_state", "`grace status` shows what it is doing"),
                    Refusal::Stopping => ("stopping", "wait for the end, then `grace up`"),
                };
                let _ = reply.send(refuse(code, &refusal.to_string(), help));
            }
        }
    }

    /// Gives the answers whose decisions are written, or cannot be.
    fn release(&mut self, upto: u64, unwritten: Option<&str>) {
        while self.owed.front().is_some_and(|(number, ..)| *number <= upto) {
            let Some((_, reply, mut answer)) = self.owed.pop_front() else { return };
            if let (Some(detail), Answer::Done { message }) = (unwritten, &mut answer) {
                *message = format!("{message} (not on record yet: {detail})");
            }
            let _ = reply.send(answer);
        }
    }

    // ---- the guardian ----------------------------------------------------------------------------------------

    /// The channel's descriptor, for waiting on.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn guardian_fd(&self) -> io::Result<OwnedFd> {
        self.guardian.as_ref().ok_or(io::ErrorKind::NotConnected)?.as_fd().try_clone_to_owned()
    }

    /// Whether the guardian is gone.
    pub const fn guardian_lost(&self) -> bool {
        self.guardian.is_none()
    }

    fn to_guardian(&mut self, message: &ToGuardian, fd: Option<&OwnedFd>) {
        if let Some(channel) = &mut self.guardian {
            // An error means that it died, which the loop hears from the channel itself.
            let _ = channel.send(message, fd.map(AsFd::as_fd));
        }
    }

    /// Takes what the guardian said.
    pub fn hear_guardian(&mut self) {
        loop {
            let Some(channel) = &mut self.guardian else { return };
            match channel.receive::<ToControlPlane>() {
                Ok((ToControlPlane::Alive, _)) => self.guardian_alive = SystemClock.now().mono,
                Ok((ToControlPlane::Reaped { pid, exit }, _)) => match self.awaited.remove(&pid) {
                    Some((component, incarnation, _)) => self.tell(Input::Exited { component, incarnation, exit }),
                    None => {
                        self.reaped.insert(pid, exit);
                    }
                },
                Ok((ToControlPlane::Stop { cause }, _)) => self.tell(Input::Shutdown { cause }),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.guardian = None;
                    self.tell(Input::Shutdown { cause: "the guardian died".to_owned() });
                }
            }
        }
    }

    // ---- time ------------------------------------------------------------------------------------------------

    /// When [`Shell::due`] next has something to do.
    pub fn next_deadline(&mut self) -> Monotonic {
        let awaited = self.awaited.values().map(|(_, _, until)| *until).min();
        [self.detectors.next_deadline(), decider::next_deadline(&self.state), awaited]
            .into_iter()
            .flatten()
            .fold(self.housekeeping, Monotonic::min)
    }

    /// Does what is due.
    pub fn due(&mut self) {
        let now = SystemClock.now().mono;
        if decider::next_deadline(&self.state).is_some_and(|at| at <= now) {
            self.tell(Input::Tick);
        }
        let (found, checks) = self.detectors.due(now);
        for input in found {
            self.tell(input);
        }
        for check in checks {
            self.start_check(check);
        }
        while let Some(pid) = self.awaited.iter().find(|(_, (_, _, until))| *until <= now).map(|(pid, _)| *pid) {
            if let Some((component, incarnation, _)) = self.awaited.remove(&pid) {
                self.tell(Input::Exited { component, incarnation, exit: Exit::Unknown });
            }
        }
        if self.housekeeping <= now {
            self.housekeeping = now.plus(HOUSEKEEPING);
            self.keep_house(now);
        }
    }

    /// Grants everybody the time that this process lost.
    pub fn forgive(&mut self, late: Duration) {
        self.detectors.forgive(late);
        self.guardian_alive = SystemClock.now().mono;
    }

    fn start_check(&self, due: DueCheck) {
        let Some(spec) = self.state.plan.spec(&due.component) else { return };
        let environment = processes::environment(spec, due.incarnation, &self.instance, &self.credentials);
        let folder = spec.working_dir.clone();
        let happened = self.happened.clone();
        tokio::task::spawn_local(async move {
            let around = probe::Surroundings { env: &environment, cwd: folder.as_deref() };
            let result = probe::run(&due.check, due.timeout, around).await.map_err(|failure| failure.reason);
            let DueCheck { component, incarnation, probing, .. } = due;
            let _ = happened.send(Happening::Probed { component, incarnation, probing, result }).await;
        });
    }

    fn keep_house(&mut self, now: Monotonic) {
        self.to_guardian(&ToGuardian::Alive, None);
        if let Some(channel) = &mut self.guardian {
            let _ = channel.flush();
            if now.since(self.guardian_alive) > 2 * ALIVE_INTERVAL {
                // Stopped, most likely; were it dead, the channel would be closed.
                if let Some(guardian) = rustix::process::getppid() {
                    let _ = rustix::process::kill_process(guardian, rustix::process::Signal::CONT);
                }
                self.guardian_alive = now;
                self.warn("the guardian did not answer and was sent SIGCONT".to_owned());
            }
        }
        self.find_stopped();
        self.reap_strays();
        if self.recorder.dropped > 0 {
            self.warn(format!("{} decisions could not be queued for the journal; the guardian keeps them", self.recorder.dropped));
            self.recorder.dropped = 0;
        }
    }

    /// Processes that somebody stopped (SIGSTOP): seen so in two rounds, they are hung.
    fn find_stopped(&mut self) {
        let runs: Vec<(String, IncarnationId, u32)> = self
            .state
            .components
            .iter()
            .filter_map(|(name, c)| match &c.phase {
                Phase::Running { run, paused: false } => Some((name.clone(), run.incarnation, run.pid)),
                _ => None,
            })
            .collect();
        let mut stopped = BTreeSet::new();
        for (component, incarnation, pid) in runs {
            if state_of(pid) == Some('T') {
                stopped.insert(pid);
                if self.seen_stopped.contains(&pid) {
                    let hang = crate::supervisor::Hang::Stopped;
                    self.tell(Input::Hung { component, incarnation, hang });
                }
            }
        }
        self.seen_stopped = stopped;
    }

    /// Collects children that are nobody's main process: daemons that a program let go.
    fn reap_strays(&self) {
        let own = std::process::id();
        for pid in procfs::children(own) {
            let main = self.state.components.values().any(|c| c.phase.run().is_some_and(|run| run.pid == pid));
            if !main && state_of(pid) == Some('Z')
                && let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
            {
                let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
            }
        }
    }

    // ---- the outside -----------------------------------------------------------------------------------------

    fn warn(&mut self, text: String) {
        eprintln!("grace control plane: {text}");
        if self.volatile.warnings.len() >= WARNINGS {
            self.volatile.warnings.remove(0);
        }
        self.volatile.warnings.retain(|w| *w != text);
        self.volatile.warnings.push(text);
        self.publish_status();
    }

    fn publish_status(&self) {
        if self.status.receiver_count() > 0 {
            self.status.send_replace(Some(Arc::new(report::report(&self.state, &self.volatile))));
        }
    }

    fn write_credentials(&mut self) {
        let table = self.credentials.table(self.state.plan.specs().map(AsRef::as_ref));
        let url = self.credentials.url(super::credentials::OPERATOR) + "\n";
        let json = serde_json::to_vec(&table).unwrap_or_default();
        for (path, content) in [(self.instance.bus_auth(), json), (self.instance.operator_url(), url.into_bytes())] {
            if let Err(error) = crate::guardian::launch::private_file(&path, &content) {
                self.warn(error.to_string());
            }
        }
    }

    /// Whether everything has been stopped.
    pub const fn finished(&self) -> bool {
        self.state.finished
    }

    /// Writes what is to be written, removes what lives only as long as the instance, and lets the guardian go.
    pub fn finish(mut self) {
        self.collector.stop();
        self.recorder.finish();
        while let Ok(happening) = self.happenings.try_recv() {
            if let Happening::Written { upto } = happening {
                while self.owed.front().is_some_and(|(number, ..)| *number <= upto) {
                    if let Some((_, reply, answer)) = self.owed.pop_front() {
                        let _ = reply.send(answer);
                    }
                }
            }
        }
        for path in [
            self.instance.notify_socket(),
            self.instance.bus_socket(),
            self.instance.bus_auth(),
            self.instance.operator_url(),
            self.instance.manifest(),
            self.instance.control_socket(),
        ] {
            let _ = std::fs::remove_file(path);
        }
        if let Some(channel) = &mut self.guardian {
            let _ = channel.send(&ToGuardian::Finished, None);
        }
    }
}

const NOT_WRITTEN: &str = "the journal of the control plane cannot be written";
/// Warnings shown at one time; the oldest gives way.
const WARNINGS: usize = 16;

fn state_of(pid: u32) -> Option<char> {
    procfs::stat(pid).ok().map(|stat| stat.state)
}
