//! The control plane's hands: carries out what the supervisor decided, and tells it what happened.
//!
//! | Module | What it holds |
//! |---|---|
//! | this one | the state, how it is taken over, and the road of a decision |
//! | `happenings` | what each happening becomes |
//! | `injected` | faults: what is not heard, and what injectors left behind |
//! | `runs` | starting a run, watching its end, reading its output |
//! | `rounds` | what is done because time has passed |
//! | `guard` | the channel to the guardian |

mod guard;
mod happenings;
mod injected;
mod rounds;
mod runs;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};

use grace_kernel::{Recorded, process::tell};
use grace_types::{
    chance::{Entropy, OsEntropy, SeededEntropy},
    id::{BootId, CorrelationId, EventId, IncarnationId},
    manifest::Manifest,
    time::{Clock, Hlc, Monotonic, Now, SystemClock},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Happening,
    credentials::Credentials,
    detectors::Detectors,
    handover::Handover,
    plan, processes,
    recorder::{self, Entry, Recorder},
    report::{self, Volatile},
    server::{self, StatusSender},
    voice::Voice,
};
use crate::{
    cgroup::Groups,
    control::Answer,
    guardian::{
        channel::{Channel, PACKET_BYTES, ToGuardian},
        launch::kept,
    },
    instance::Instance,
    limits,
    notify::NotifySocket,
    output::{Collector, Notice},
    procfs,
    status::Status,
    supervisor::{Command, Effect, Event, Exit, Found, Input, Phase, Plan, Refusal, State, decider},
};

/// Between two rounds of housekeeping: a sign of life to the guardian, and a look at every process's state.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Time for the guardian to say how an adopted process ended, before its exit counts as unknown.
const REAP_TIME: Duration = Duration::from_millis(200);

/// The control plane, less its loop.
pub(super) struct Shell {
    instance: Instance,
    state: State,
    boot: BootId,
    /// For ids and jitter, not for secrets; drawn once from the operating system.
    entropy: SeededEntropy,
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
    groups: Groups,
    recorder: Recorder,
    collector: Collector,
    voice: Voice,
    status: Arc<StatusSender>,
    volatile: Volatile,
    /// Answers that wait until their decision is written.
    owed: VecDeque<(u64, oneshot::Sender<Answer>, Answer)>,
    /// How adopted processes ended, told by the guardian before their pidfds were looked at: one a component at most.
    reaped: BTreeMap<u32, Exit>,
    /// Adopted processes that ended and whose status the guardian has.
    awaited: BTreeMap<u32, (String, IncarnationId, Monotonic)>,
    /// Processes whose end cannot be waited for yet: there was no descriptor left.
    unwatched: Vec<(String, IncarnationId, u32)>,
    /// Processes seen stopped in the last round, by pid.
    seen_stopped: BTreeSet<u32>,
    /// Children that are no main processes and were seen to have ended in the last round, by pid.
    seen_ended: BTreeSet<u32>,
    housekeeping: Monotonic,
    /// Whether a sweep of faults that were left behind is under way.
    sweeping: bool,
    happened: mpsc::Sender<Happening>,
    /// What happened, from every source but the two below.
    pub(super) happenings: mpsc::Receiver<Happening>,
    /// What programs say of themselves.
    pub(super) life_line: NotifySocket,
    /// What the output thread has to say.
    pub(super) notices: mpsc::Receiver<Notice>,
}

impl Shell {
    /// Takes over from the guardian: rebuilds the state, opens the sockets, and lets the supervisor begin.
    ///
    /// # Errors
    /// Something without which nothing can be supervised is missing.
    pub(super) fn start(instance: Instance, guardian: Channel, handover: Handover) -> io::Result<Self> {
        let Handover { secret, predecessors, boot, recorded, mut kept, tail, tail_lost, reaped, stop } =
            handover;
        let boot = boot.ok_or_else(|| io::Error::other("the guardian did not name the boot"))?;
        let now = SystemClock.now();
        let manifest: Manifest = serde_json::from_slice(&std::fs::read(instance.manifest())?)?;
        let program = crate::spawn::own_program();
        let specs = plan::kernel_specs(&program)
            .into_iter()
            .chain(manifest.built_in.into_values())
            .chain(manifest.processes.into_values());
        let plan = Plan::new(specs);

        let need = |name: &str| {
            kept.get(name)
                .ok_or_else(|| io::Error::other(format!("no {name} socket")))
                .and_then(|fd| fd.try_clone())
        };
        let tcp = std::net::TcpListener::from(need(kept::BUS_TCP)?);
        let credentials = Credentials::new(secret, tcp.local_addr()?);
        let life_line = NotifySocket::from_fd(need(kept::NOTIFY)?)?;
        let control = std::os::unix::net::UnixListener::from(need(kept::CONTROL)?);
        drop(tcp);

        let mut recovered = if predecessors == 0 {
            recorder::Recovered { state: State::new(plan), ..Default::default() }
        } else {
            recorder::recover(&instance.journal("control_plane"), &plan, boot, tail)
        };
        if tail_lost > 0 {
            recovered
                .warnings
                .push(format!("{tail_lost} decisions were lost while the journal could not be written"));
        }
        let (happened, happenings) = mpsc::channel(limits::HAPPENINGS);
        let (notices_in, notices) = mpsc::channel(limits::OUTPUT_NOTICES);
        let status = Arc::new(watch::channel(None).0);
        server::serve(control, happened.clone(), Arc::clone(&status))?;
        let collector = Collector::start(Arc::new(SystemClock), notices_in)?;
        let streams: Vec<String> = kept.keys().filter(|n| n.contains('/')).cloned().collect();
        let streams: BTreeMap<String, OwnedFd> =
            streams.into_iter().filter_map(|name| kept.remove_entry(&name)).collect();
        let mut shell = Self {
            recorder: Recorder::start(instance.journal("control_plane"), happened.clone())?,
            voice: Voice::start(&instance, &credentials, happened.clone()),
            volatile: Volatile {
                guardian_pid: rustix::process::getppid()
                    .map_or(0, |p| p.as_raw_nonzero().get().unsigned_abs()),
                bus_address: credentials.address().to_string(),
                warnings: recovered.warnings.into_iter().take(WARNINGS).collect(),
                ..Volatile::default()
            },
            groups: Groups::new(instance.data()),
            instance,
            // Numbers go on even where the history is lost: the guardian counts by them.
            number: recovered.number.max(recorded),
            entropy: SeededEntropy::new(OsEntropy.next_u64()),
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
            unwatched: Vec::new(),
            seen_stopped: BTreeSet::new(),
            seen_ended: BTreeSet::new(),
            housekeeping: now.mono,
            sweeping: false,
            happened,
            happenings,
            life_line,
            notices,
        };
        for (number, json) in recovered.unwritten {
            shell.recorder.append(number, json);
        }
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        shell.voice.ship(shell.instance.journal("control_plane"), &shell.recorder.written);
        shell.write_credentials();
        shell.attach_kept(streams);
        shell.begin(predecessors > 0, recorded > 0);
        if let Some(cause) = stop {
            shell.tell(Input::Shutdown { cause });
        }
        Ok(shell)
    }

    /// `recorded`: whether a predecessor told the guardian of any decision.
    fn begin(&mut self, take_over: bool, recorded: bool) {
        if !take_over {
            self.groups.clear();
            self.tell(Input::Boot { boot: self.boot });
            return;
        }
        let parents = [self.volatile.guardian_pid];
        let known = self.state.components.iter().filter_map(|(name, c)| Some((name, c.phase.run()?)));
        let mut found: Vec<Found> = known
            .filter(|(_, run)| {
                procfs::start_ticks(run.pid) == Some(run.start_ticks) && state_of(run.pid) != Some('Z')
            })
            .map(|(name, run)| Found {
                component: name.clone(),
                incarnation: run.incarnation,
                pid: run.pid,
                start_ticks: run.start_ticks,
            })
            .collect();
        for leader in processes::find_live(&parents, &self.instance) {
            // Of a run that is known to have had another main process, it is something that the run let go.
            let let_go = self
                .state
                .components
                .get(&leader.component)
                .and_then(|c| c.phase.run())
                .is_some_and(|run| run.incarnation == leader.incarnation && !leader.is(run));
            if !let_go && !found.iter().any(|f| f.component == leader.component) {
                found.push(leader);
            }
        }
        // None of them is about a process that is alive: their numbers may have been given to others since.
        let reaped = std::mem::take(&mut self.reaped);
        // Before the supervisor speaks: what it starts anew is watched by `spawn`.
        for process in &found {
            self.watch_exit(&process.component, process.incarnation, process.pid);
        }
        let adopted: Vec<(String, IncarnationId)> =
            found.iter().map(|f| (f.component.clone(), f.incarnation)).collect();
        // Not where the predecessor died in the middle of the boot: then they are only just starting.
        let no_history = self.state.boot.is_none() && recorded;
        self.tell(Input::TakeOver { boot: self.boot, found, reaped });
        let now = SystemClock.now().mono;
        for (component, incarnation) in adopted {
            if no_history {
                // It said so long ago, most likely, and will not say so again. Were it taken for one that still starts, it
                // would be killed when its start takes too long.
                self.tell(Input::Ready {
                    component: component.clone(),
                    incarnation,
                    how: "having run before",
                });
            }
            let name = component;
            let Some(spec) = self.state.plan.spec(&name).cloned() else { continue };
            if let Some(Phase::Running { run, paused: false }) =
                self.state.components.get(&name).map(|c| c.phase.clone())
                && let Some(input) = self.detectors.watch(&spec, run.incarnation, run.ready, now)
            {
                self.tell(input);
            }
        }
    }

    /// Tells the supervisor something, and carries out what it decides, and what follows from that.
    fn tell(&mut self, input: Input) {
        let _ = self.ask(input);
    }

    fn ask(&mut self, input: Input) -> Result<(), Refusal> {
        let mut inputs = VecDeque::from([input]);
        let mut first = true;
        while let Some(input) = inputs.pop_front() {
            let now = SystemClock.now();
            let command = Command { seed: self.entropy.next_u64(), input };
            match decider::decide(&self.state, now, &command) {
                Ok(decided) => self.carry_out(decided, now, &mut inputs),
                Err(refusal) if first => return Err(refusal),
                Err(_) => {}
            }
            first = false;
        }
        self.publish_status();
        Ok(())
    }

    /// Puts decisions into effect and on record, in this order: a dead process is restarted first.
    fn carry_out(&mut self, decided: Vec<Recorded<Event>>, now: Now, inputs: &mut VecDeque<Input>) {
        let mut starts = Vec::new();
        for recorded in &decided {
            self.state.evolve(recorded.event(), &recorded.why().to_string(), now);
            for effect in decider::effects(&self.state, recorded.event()) {
                match effect {
                    Effect::Spawn { component, incarnation } => starts.push((component, incarnation)),
                    other => inputs.extend(self.perform(other, now)),
                }
            }
        }
        // One that was adopted runs already: its start and that it runs were decided at once.
        starts.retain(|(component, incarnation)| {
            let phase = self.state.components.get(component).map(|c| &c.phase);
            phase == Some(&Phase::Spawning { incarnation: *incarnation })
        });
        inputs.extend(self.start_runs(starts));
        let entries: Vec<Entry> = decided.into_iter().map(|recorded| self.entry(recorded, now)).collect();
        self.record(&entries);
    }

    /// Puts entries on record: first at the guardian, all that were decided at once together, as far as a packet takes them.
    fn record(&mut self, entries: &[Entry]) {
        let written = |entry: &Entry| Some((entry.number, entry.to_json().ok()?));
        let written: Vec<(u64, String)> = entries.iter().filter_map(written).collect();
        let mut packet = Vec::new();
        let mut bytes = 0;
        for (number, json) in &written {
            // As JSON in JSON a record takes a little more.
            if bytes + json.len() > PACKET_BYTES / 2 && !packet.is_empty() {
                self.tell_guardian(&ToGuardian::Record { entries: std::mem::take(&mut packet) });
                bytes = 0;
            }
            bytes += json.len();
            packet.push((*number, json.clone()));
        }
        if !packet.is_empty() {
            self.tell_guardian(&ToGuardian::Record { entries: packet });
        }
        for (number, json) in written {
            self.recorder.append(number, json);
        }
        self.recorder.snapshot_if_due(&self.state, self.number, self.hlc);
        entries.iter().for_each(|entry| self.voice.say(entry));
    }

    fn entry(&mut self, recorded: Recorded<Event>, now: Now) -> Entry {
        self.number += 1;
        self.hlc = self.hlc.tick(now.wall);
        let id = EventId::new(now.wall, &mut self.entropy);
        let about = recorded.event().component().unwrap_or("").to_owned();
        let (correlation, causation) = match self.stories.get(&about) {
            Some((story, last, false)) => (*story, Some(*last)),
            _ => (CorrelationId::new(now.wall, &mut self.entropy), None),
        };
        let over = matches!(
            recorded.event(),
            Event::BecameReady { .. } | Event::Completed { .. } | Event::GaveUp { .. }
        );
        self.stories.insert(about, (correlation, id, over));
        Entry {
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
        }
    }

    fn perform(&mut self, effect: Effect, now: Now) -> Option<Input> {
        match effect {
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
            Effect::CleanUp { component, incarnation } => {
                self.detectors.unwatch(&component);
                self.volatile.said.remove(&component);
                self.volatile.dropped.remove(&component);
                let own = std::process::id();
                let parents = [own, self.volatile.guardian_pid];
                // The event that led here has not moved the component on yet.
                let group =
                    self.state.components.get(&component).and_then(|c| c.phase.run()).map(|run| run.pid);
                let strays = processes::end_strays(&component, incarnation, group, &parents, |pid| {
                    pid == own || self.state.is_main(pid)
                });
                if strays > 0 {
                    let text = format!(
                        "`{component}` ended and left {strays} processes behind, which were ended: run it in the foreground"
                    );
                    self.warn(text);
                }
                self.groups.ended(&component);
                None
            }
            // Starts are made all at once; the loop sees by itself that all is done.
            Effect::Spawn { .. } | Effect::Quit => None,
        }
    }

    fn warn(&mut self, text: String) {
        tell(&format!("grace control plane: {text}"));
        self.show_warning(text);
    }

    /// A warning in place of the one that begins with `stem`. Only the first of a row goes to the log, which would grow for as
    /// long as the trouble lasts.
    fn warn_instead(&mut self, stem: &str, text: String) {
        let before = self.volatile.warnings.len();
        self.volatile.warnings.retain(|w| !w.starts_with(stem));
        if self.volatile.warnings.len() == before {
            tell(&format!("grace control plane: {text}"));
        }
        self.show_warning(text);
    }

    /// The trouble is over.
    fn withdraw_warning(&mut self, stem: &str) {
        let before = self.volatile.warnings.len();
        self.volatile.warnings.retain(|w| !w.starts_with(stem));
        if self.volatile.warnings.len() < before {
            self.publish_status();
        }
    }

    fn show_warning(&mut self, text: String) {
        if self.volatile.warnings.len() >= WARNINGS {
            self.volatile.warnings.remove(0);
        }
        self.volatile.warnings.retain(|w| *w != text);
        self.volatile.warnings.push(text);
        self.publish_status();
    }

    fn publish_status(&self) {
        if self.status.receiver_count() > 0 {
            self.status.send_replace(Some(Arc::new(self.report())));
        }
    }

    fn report(&self) -> Status {
        let now = SystemClock.now().mono;
        let ages = self.detectors.heartbeat_ages(now);
        report::report(&self.state, &self.volatile, &ages, now)
    }

    fn write_credentials(&mut self) {
        let table = self.credentials.table(self.state.plan.specs().map(AsRef::as_ref));
        let url = |user| (self.credentials.url(user) + "\n").into_bytes();
        let files = [
            (self.instance.bus_auth(), serde_json::to_vec(&table).unwrap_or_default()),
            (self.instance.operator_url(), url(super::credentials::OPERATOR)),
            (self.instance.agents_url(), url(super::credentials::AGENTS)),
        ];
        for (path, content) in files {
            if let Err(error) = crate::guardian::launch::private_file(&path, &content) {
                self.warn(error.to_string());
            }
        }
    }

    /// Whether everything has been stopped.
    pub(super) const fn finished(&self) -> bool {
        self.state.finished
    }

    /// Writes what is to be written, removes what lives only as long as the instance, and lets the guardian go. Can be killed at any
    /// point: the next control plane does it again.
    pub(super) fn finish(mut self) {
        // Daemons that were let go by programs, or by daemons, in the last moment.
        let _ = crate::guardian::launch::end_leftovers(&self.instance);
        self.collector.stop();
        self.groups.clear();
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
        // Should this process be killed before the guardian has heard that all is done, the next one needs the manifest, to
        // find the same and say so: the guardian removes it.
        self.instance.remove_run_files(self.guardian.is_none());
        if let Some(channel) = &mut self.guardian {
            let _ = channel.send(&ToGuardian::Finished, &[]);
            channel.flush_for(LAST_WORDS);
        }
    }
}

/// Time for the guardian to take what waits for it at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);
const NOT_WRITTEN: &str = "the journal of the control plane cannot be written";
/// Warnings shown at one time; the oldest gives way.
const WARNINGS: usize = 16;

fn state_of(pid: u32) -> Option<char> {
    procfs::stat(pid).ok().map(|stat| stat.state)
}
