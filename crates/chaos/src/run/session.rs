//! One run while it goes on. See the module above for how its parts hang together.

mod dumps;
mod end;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};

use grace_faults::{
    BiteProof, Fault, FaultOrder, ProcessTarget, Report, UndoCause, UndoProof,
    client::{ClientError, Injector},
};
use grace_types::{
    chance::OsEntropy,
    id::{FaultId, RunId},
    time::{Clock as _, Monotonic, Now, Timestamp},
};

use self::{
    dumps::{Due, Shown},
    end::{Findings, sha256},
};
use super::{
    Assignment, COMPONENT, News, Outcome, RunError, System,
    account::Account,
    back::{Back, Setup},
    clock::RunClock,
    desk::Desk,
    journals::Journals,
    log::{Log, Point},
    verdict::{self, Marks},
    watch::Watch,
};
use crate::{
    evidence::Folder,
    limits,
    plan::PlannedFault,
    record::Phase,
    runner::{Command, Effect, Event, Orders, ProbeOrder},
    scenario::FaultKind,
};

/// How long a kill may take.
const KILL_TIME: Duration = Duration::from_secs(5);

/// See the module's page.
pub(super) struct Session<'a> {
    job: &'a Assignment<'a>,
    run: RunId,
    clock: RunClock,
    system: &'a dyn System,
    tell: &'a mut dyn FnMut(&News<'_>),
    started: Timestamp,
    desk: Desk,
    account: Account,
    watch: Watch,
    journals: Journals,
    log: Result<(Log, Point), String>,
    injector: Option<Injector>,
    /// Reports of the injector that were taken in.
    heard: usize,
    numbers: BTreeMap<FaultId, u32>,
    aimed: BTreeMap<u32, (String, u32)>,
    marks: Marks,
    /// How much had been told when the first fault was ordered, and when that was.
    first_order: Option<(usize, Timestamp)>,
    back: Back,
    folder: Folder,
    effects: VecDeque<Effect>,
    next_dump: Monotonic,
    due: Due,
    shown: Shown,
    /// A control plane that did not answer is not asked before this.
    ask_again: Monotonic,
    next_sample: Monotonic,
    /// Until then samples are taken more often than dumps.
    fine_until: Monotonic,
    findings: Findings,
    evidence_errors: Vec<String>,
    troubled: bool,
}

impl<'a> Session<'a> {
    /// Sets everything up, before anything is attacked.
    pub(super) fn open(
        job: &'a Assignment<'a>,
        (run, clock): (RunId, RunClock),
        system: &'a dyn System,
        tell: &'a mut dyn FnMut(&News<'_>),
    ) -> Result<Self, RunError> {
        let (data, now) = (&job.place.data, clock.now());
        let path = data.join("journals").join(format!("{COMPONENT}.{}", grace_store::file::EXTENSION));
        let desk = Desk::open(path.clone(), clock)?;
        let folder = Folder::create(data.join("runs").join(run.to_string()), &job.scenario.text)
            .map_err(RunError::Evidence)?;
        let mut injector = None;
        if !job.plan.faults.is_empty() {
            let fail = |error: ClientError| RunError::Injector(error.to_string());
            let mut started = Injector::start(&job.place.program, data).map_err(fail)?;
            started.spare(job.plan.spared.clone(), Vec::new()).map_err(fail)?;
            injector = Some(started);
        }
        let setup = Setup {
            login: job.place.login.clone(),
            run,
            load: job.scenario.load.clone(),
            telemetry: job.scenario.telemetry.clone(),
            journal: path,
            component: COMPONENT,
            clock: Arc::new(clock),
        };
        let log = Log::of(data).and_then(|log| log.point().map(|point| (log, point)));
        Ok(Self {
            job,
            run,
            clock,
            system,
            tell,
            started: now.wall,
            desk,
            account: Account::of(&job.plan.faults),
            watch: Watch::default(),
            journals: Journals::open(data, COMPONENT),
            log,
            injector,
            heard: 0,
            numbers: BTreeMap::new(),
            aimed: BTreeMap::new(),
            marks: Marks::new(),
            first_order: None,
            back: Back::start(setup).map_err(RunError::System)?,
            folder,
            effects: VecDeque::new(),
            next_dump: now.mono.plus(limits::DUMP_EVERY),
            due: Due::new(now.mono),
            shown: Shown::default(),
            ask_again: now.mono,
            next_sample: now.mono.plus(limits::SAMPLE_EVERY),
            fine_until: now.mono.plus(limits::FINE_FOR),
            findings: Findings::default(),
            evidence_errors: Vec::new(),
            troubled: false,
        })
    }

    pub(super) fn run(mut self, stops: &Receiver<String>) -> Result<Outcome, RunError> {
        let probes = self.job.scenario.steady_state.iter().map(|probe| ProbeOrder {
            name: probe.name.clone(),
            within: probe.within,
            during: probe.during,
        });
        let orders = Orders {
            scenario: self.job.scenario.id.clone(),
            scenario_sha256: sha256(&self.job.scenario.text),
            faults: self.job.plan.faults.clone(),
            probes: probes.collect(),
            max_recovery: self.job.scenario.max_recovery,
        };
        self.command(vec![Command::Begin { run: self.run, orders }])?;
        while self.desk.phase() != Phase::Judged {
            let before = self.desk.phase();
            self.turn(stops)?;
            if self.desk.phase() == before {
                self.pause(stops)?;
            }
        }
        self.finish()
    }

    /// Waits a moment, or until the injector or somebody who wants the end has something to say.
    fn pause(&mut self, stops: &Receiver<String>) -> Result<(), RunError> {
        if let Some(injector) = &mut self.injector {
            // What it said, and that it has ended, is taken in by the next turn.
            let _ = injector.listen(limits::LOOK_EVERY);
        } else if let Ok(by) = stops.recv_timeout(limits::LOOK_EVERY) {
            self.command(vec![Command::Stop { by }])?;
        }
        Ok(())
    }

    /// One look at everything.
    fn turn(&mut self, stops: &Receiver<String>) -> Result<(), RunError> {
        while let Ok(by) = stops.try_recv() {
            self.command(vec![Command::Stop { by }])?;
        }
        self.take_reports()?;
        let attacked = self.account.faults.iter().any(|fault| fault.ordered.is_some());
        self.look_at_the_system(attacked);
        self.keep_what_was_heard();
        let now = self.clock.now();
        if now.mono >= self.next_dump {
            self.next_dump = now.mono.plus(limits::DUMP_EVERY);
            self.dump("every 5 s");
        } else if now.mono >= self.next_sample && now.mono < self.fine_until {
            self.sample("every 1 s");
        }
        let facts = self.watch.facts(&self.back.tally.record());
        let mut look = self.watch.look(now.mono, self.desk.phase(), self.job.scenario, &facts);
        look.waiting_for = self.watch.waiting_for(&self.job.plan.targets());
        self.command(vec![Command::Look(look)])?;
        self.perform()
    }

    fn look_at_the_system(&mut self, attacked: bool) {
        let statuses = match self.system.statuses() {
            Ok(statuses) => statuses.into_iter().map(Ok).collect(),
            Err(trouble) => vec![Err(trouble)],
        };
        let mut seen = Vec::new();
        for status in statuses {
            for change in self.watch.take(self.clock.now(), status, attacked) {
                (self.tell)(&News::Changed(&change));
            }
            if let Some(status) = &self.watch.status {
                let changes = self.shown.changes(status, &self.watch.components);
                if !changes.is_empty() {
                    seen.push((changes, status.clone()));
                }
            }
        }
        self.dump_seen(seen);
        let troubled = self.watch.trouble.is_some();
        if let (true, false, Some(trouble)) = (troubled, self.troubled, &self.watch.trouble) {
            (self.tell)(&News::Trouble(trouble));
        }
        self.troubled = troubled;
        let targets = self.job.plan.targets();
        let fresh = self.journals.read(false, self.clock.now().wall);
        if let Some((_, since)) = self.first_order {
            for detection in verdict::detections(fresh, &targets, since) {
                (self.tell)(&News::Detected(&detection));
                self.due.note(dumps::of_detection(&detection));
            }
        }
    }

    fn keep_what_was_heard(&mut self) {
        while let Ok(heard) = self.back.heard.try_recv() {
            let kept = self.folder.message(heard.at, &heard.subject, &heard.payload);
            self.evidence(kept);
        }
    }

    fn evidence(&mut self, kept: std::io::Result<()>) {
        if let Err(error) = kept {
            let error = error.to_string();
            if !self.evidence_errors.contains(&error) && self.evidence_errors.len() < limits::SCENARIO_ENTRIES
            {
                self.evidence_errors.push(error);
            }
        }
    }

    /// Tells the decider, and takes note of what it decided. What is to be done is queued.
    fn command(&mut self, commands: Vec<Command>) -> Result<(), RunError> {
        let (events, effects) = self.desk.tell(commands)?;
        if !events.is_empty() {
            self.back.written(self.desk.durable());
        }
        for (at, event) in &events {
            // What an earlier run left unfinished is settled by ours, and is not about it.
            let other = matches!(event, Event::Aborted { abandoned: true, .. })
                || matches!(event, Event::Judged { run, .. } if *run != self.run);
            if !other {
                self.account.take(*at, event);
                dumps::of_event(event).into_iter().for_each(|cause| self.due.note(cause));
            }
            (self.tell)(&News::Decided(event));
        }
        let entered = self.account.enter(self.clock.now().wall, self.desk.phase());
        if entered {
            self.due.note(format!("phase: {}", self.desk.phase().word()));
        }
        self.dump_due(entered);
        self.effects.extend(effects);
        Ok(())
    }

    fn perform(&mut self) -> Result<(), RunError> {
        let mut due = Vec::new();
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::StartLoad => self.back.start_load(),
                Effect::Inject(fault) => due.push(fault),
                Effect::Clear => self.clear()?,
                Effect::Verify => self.verify()?,
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        let aimed = self.inject(&due);
        self.command(aimed)
    }

    /// Has the injector bring on all that are due, at one time; whom each is aimed at, or why it is not.
    fn inject(&mut self, due: &[PlannedFault]) -> Vec<Command> {
        let (mut orders, mut aimed, mut told) = (Vec::new(), Vec::new(), Vec::new());
        let now = self.clock.now();
        // What anybody recorded until now was not for these.
        self.journals.read(true, now.wall);
        let mark = self.journals.told.len();
        self.marks.extend(due.iter().map(|fault| (fault.number, mark)));
        self.first_order.get_or_insert((mark, now.wall));
        let failed =
            |number: u32, error: String| Command::Failed { number, error, clean: true, at: now.mono };
        for fault in due {
            match self.aim(fault) {
                Ok((order, pid)) => {
                    self.numbers.insert(order.id, fault.number);
                    self.aimed.insert(fault.number, (fault.target.clone(), pid));
                    orders.push(order);
                    aimed.push((fault.number, pid));
                }
                Err(error) => told.push(failed(fault.number, error)),
            }
        }
        if orders.is_empty() {
            return told;
        }
        let ordered = match &mut self.injector {
            Some(injector) => injector.volley(orders).map_err(|error| error.to_string()),
            None => Err("there is no injector".to_owned()),
        };
        told.extend(aimed.into_iter().map(|(number, pid)| match &ordered {
            Ok(()) => Command::Aimed { number, pid },
            Err(error) => failed(number, error.clone()),
        }));
        told
    }

    /// The order of a fault on the process that its target has now.
    fn aim(&self, fault: &PlannedFault) -> Result<(FaultOrder, u32), String> {
        let found = self.watch.components.iter().find(|component| component.name == fault.target);
        let pid = found.and_then(|component| component.pid).ok_or("it has no process")?;
        let target =
            ProcessTarget::now(&fault.target, pid).ok_or_else(|| format!("process {pid} has just ended"))?;
        let (what, duration) = match fault.kind {
            FaultKind::Kill => (Fault::Kill { target }, KILL_TIME),
            FaultKind::Stop => (Fault::Stop { target }, fault.duration.unwrap_or(KILL_TIME)),
            FaultKind::Mute => (Fault::Mute { target }, fault.duration.unwrap_or(KILL_TIME)),
        };
        let id = FaultId::new(self.clock.now().wall, &mut OsEntropy);
        Ok((FaultOrder::new(id, what, duration), pid))
    }

    /// Takes in what the injector said since the last time.
    fn take_reports(&mut self) -> Result<(), RunError> {
        let gone = match &mut self.injector {
            Some(injector) => injector.listen(Duration::ZERO).is_err(),
            None => return Ok(()),
        };
        let reports = self.injector.as_ref().map(|injector| injector.reports()[self.heard..].to_vec());
        self.on_reports(&reports.unwrap_or_default())?;
        if gone { self.injector_gone() } else { Ok(()) }
    }

    fn on_reports(&mut self, reports: &[Report]) -> Result<(), RunError> {
        self.heard += reports.len();
        let commands: Vec<Command> = reports.iter().filter_map(|report| self.on_report(report)).collect();
        if commands.is_empty() { Ok(()) } else { self.command(commands) }
    }

    fn on_report(&mut self, report: &Report) -> Option<Command> {
        let number = *self.numbers.get(&report.id()?)?;
        Some(match report {
            Report::Ready { .. } => return None,
            Report::Refused { message, .. } => {
                let at = self.clock.now().mono;
                Command::Failed { number, error: format!("refused: {message}"), clean: true, at }
            }
            Report::Bitten { proof, at: Now { mono: at, .. }, .. } => {
                if matches!(proof, BiteProof::Ended) {
                    self.watch.gone.extend(self.aimed.get(&number).cloned());
                }
                Command::Bitten { number, proof: proof.to_string(), at: *at }
            }
            Report::Undone { cause, proof, at: Now { mono: at, .. }, .. } => {
                if *proof == UndoProof::Gone {
                    self.watch.gone.extend(self.aimed.get(&number).cloned());
                }
                let cut_short = matches!(cause, UndoCause::InjectorEnds | UndoCause::RunnerGone);
                Command::Ended { number, proof: format!("{cause}: {proof}"), at: *at, cut_short }
            }
            Report::Failed { error, clean, at, .. } => {
                Command::Failed { number, error: error.clone(), clean: *clean, at: at.mono }
            }
        })
    }

    /// The injector has ended by itself. What it left, the control plane undoes from the records on disk.
    fn injector_gone(&mut self) -> Result<(), RunError> {
        self.injector = None;
        let error = "the injector has ended; the control plane undoes what it left".to_owned();
        self.all_failed(&error)
    }

    /// Nothing more will be heard of the faults that are not over.
    fn all_failed(&mut self, error: &str) -> Result<(), RunError> {
        let at = self.clock.now().mono;
        let failed = |number| Command::Failed { number, error: error.to_owned(), clean: false, at };
        let commands: Vec<Command> = self.desk.faults_on().into_iter().map(failed).collect();
        if commands.is_empty() { Ok(()) } else { self.command(commands) }
    }

    fn clear(&mut self) -> Result<(), RunError> {
        if let Some(injector) = self.injector.take() {
            match injector.finish() {
                Ok((reports, clean)) => {
                    let rest = reports.get(self.heard..).unwrap_or_default().to_vec();
                    self.on_reports(&rest)?;
                    if !clean {
                        self.evidence_errors.push("the injector could not undo everything".to_owned());
                    }
                }
                Err(error) => self.evidence_errors.push(error.to_string()),
            }
        }
        self.all_failed("the injector did not say that it is over; the control plane undoes what is left")?;
        self.back.stop_load();
        self.command(vec![Command::Cleared])
    }
}
