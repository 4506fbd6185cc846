//! The shells around the four deciders, made up: set-up at the start, timers, the front door, the desk, and where answers go.

use std::{collections::BTreeMap, fmt::Display, rc::Rc, time::Duration};

use grace_kernel::{Answer, Decider, HostError, Outcome};
use grace_orchestration::{
    delivery::step::{Perform, Report},
    htm::{
        self, Effect, Era, Htm, IntentId,
        command::{Query, Refused, Submitted},
    },
    policies::{self, EventPolicies, Observation},
    scheduler::{self, Scheduler},
    triggers::{self, Ingested, TriggerMesh},
};
use grace_types::{
    chance::Entropy,
    time::{Clock, Monotonic, Now},
};

use super::{
    Job, Mistake, Purpose, Todo, World,
    kernel::{Committed, Kernel, To},
    net::{Ask, Node, Told},
    note, setup,
    setup::SETUP,
};

/// The machine's one boot.
const BOOT: &str = "boot-1";
/// A kernel looks at its timers at least this often.
const LOOK: Duration = Duration::from_secs(1);
/// How long the front door waits for the policies.
const FRONT_PATIENCE: Duration = Duration::from_millis(600);

/// What a command came to, whichever kernel it was for.
fn told<R, F: Display>(answer: Result<Outcome<R, F>, HostError>, done: impl FnOnce(R) -> Told) -> Told {
    match answer {
        Ok(Outcome::Done(reply)) => done(reply),
        Ok(Outcome::Refused(refusal)) => Told::Refused(refusal.to_string()),
        Err(e) => Told::Busy(e.to_string()),
    }
}

impl World {
    // Starting and stopping.

    pub(super) fn start_kernel(&mut self, node: Node) {
        if self.is_running(node) {
            return;
        }
        match node {
            Node::Mesh => self.start_decider(node, |w| &mut w.mesh, Self::perform_for),
            Node::Policies => self.start_decider(node, |w| &mut w.policies, Self::perform_for),
            Node::Htm => self.start_decider(node, |w| &mut w.htm, |w, _, effect| w.htm_effect(effect)),
            _ => self.start_decider(Node::Scheduler, |w| &mut w.scheduler, Self::perform_for),
        }
    }

    fn start_decider<D: Decider>(
        &mut self,
        node: Node,
        kernel: fn(&mut Self) -> &mut Kernel<D>,
        perform: fn(&mut Self, Node, D::Effect),
    ) {
        let mut entropy = self.entropy.clone();
        let started = kernel(self).start(&node.to_string(), &mut entropy);
        self.entropy = entropy;
        match started {
            Ok((outstanding, notices)) => {
                note!(self, "{node} starts, {} outstanding", outstanding.len());
                self.counts.passed_over += notices.len() as u64;
                self.set_up(node);
                outstanding.into_iter().for_each(|effect| perform(self, node, effect));
                self.plan_tick(node);
            }
            // Whatever was done to it, a journal must open: no fault here damages what was acknowledged.
            Err(e) => self.breaks(format!("{node} cannot start: {e}")),
        }
    }

    pub(super) fn is_running(&self, node: Node) -> bool {
        match node {
            Node::Mesh => self.mesh.running.is_some(),
            Node::Policies => self.policies.running.is_some(),
            Node::Htm => self.htm.running.is_some(),
            _ => self.scheduler.running.is_some(),
        }
    }

    /// What a shell tells its decider first.
    fn set_up(&mut self, node: Node) {
        match node {
            Node::Mesh => {
                self.take_mesh(triggers::Command::Begin { boot: BOOT.to_owned() }, To::Setup);
                let subscriptions = SETUP.subscriptions.clone();
                self.take_mesh(triggers::Command::Declare { subscriptions }, To::Setup);
            }
            Node::Policies => {
                self.take_policies(policies::Command::Begin { boot: BOOT.to_owned() }, To::Setup);
                let policies = SETUP.policies.clone();
                self.take_policies(policies::Command::Load { policies }, To::Setup);
            }
            Node::Htm => {
                let era = Era::from_bits(self.entropy.next_u64());
                let settings = setup::settings(self.mistake);
                let configure = htm::Command::Configure { boot: BOOT.to_owned(), era, settings };
                self.take_htm(configure, To::Setup);
                self.take_htm(htm::Command::Define { types: SETUP.intents.clone() }, To::Setup);
            }
            _ => {
                self.take_scheduler(scheduler::Command::Begin { boot: BOOT.to_owned() }, To::Setup);
                let (schedules, chance) = (setup::schedules_from(self.start), self.entropy.next_u64());
                self.take_scheduler(scheduler::Command::Declare { schedules, chance }, To::Setup);
                self.todo_soon(Node::Scheduler, 4_000_000, Todo::AskForEnds);
            }
        }
    }

    /// The process and its memory are gone; another one comes.
    pub(super) fn crash_kernel(&mut self, node: Node, when: &str) {
        if !self.is_running(node) {
            return;
        }
        match node {
            Node::Mesh => self.mesh.running = None,
            Node::Policies => self.policies.running = None,
            Node::Htm => {
                self.htm.running = None;
                self.desk.clear();
                self.leasing = None;
            }
            _ => self.scheduler.running = None,
        }
        self.forget(node);
        self.ticks.remove(&node);
        self.counts.crashes += 1;
        note!(self, "{node} loses power {when}");
        let wait = Duration::from_millis(20 + self.entropy.below(2500));
        self.later(wait, Job::Start(node));
    }

    // Commands in.

    fn take_mesh(&mut self, command: triggers::Command, to: To) {
        let now = self.clock.now();
        if self.mesh.take(now, command, to) {
            self.plan_commit(Node::Mesh);
        }
    }

    fn take_policies(&mut self, command: policies::Command, to: To) {
        let now = self.clock.now();
        if self.policies.take(now, command, to) {
            self.plan_commit(Node::Policies);
        }
    }

    pub(super) fn take_htm(&mut self, command: htm::Command, to: To) {
        let now = self.clock.now();
        if self.htm.take(now, command, to) {
            self.plan_commit(Node::Htm);
        }
    }

    fn take_scheduler(&mut self, command: scheduler::Command, to: To) {
        let now = self.scheduler_now();
        if self.scheduler.take(now, command, to) {
            self.plan_commit(Node::Scheduler);
        }
    }

    fn scheduler_now(&self) -> Now {
        let now = self.clock.now();
        if self.mistake == Some(Mistake::SteppedTimers) {
            let away = now.wall.as_nanos().saturating_sub(self.start.as_nanos());
            return Now { mono: Monotonic::from_nanos(away), ..now };
        }
        now
    }

    fn plan_commit(&mut self, node: Node) {
        let life = self.life(node);
        let wait = Duration::from_micros(50 + self.entropy.below(4000));
        self.later(wait, Job::Commit(node, life));
    }

    pub(super) fn kernel_asked(&mut self, to: Node, ask: Ask, (from, call): (Node, u64)) {
        if !self.is_running(to) {
            return;
        }
        let answer = To::Letter(from, call);
        let chance = self.entropy.next_u64();
        match (to, ask) {
            (Node::Mesh, Ask::Events(events)) => {
                let ingest = triggers::Command::Ingest { events: events.clone(), chance };
                self.take_mesh(ingest, To::Front(from, call, Rc::new(events)));
            }
            (Node::Mesh, Ask::Mesh(command)) => self.take_mesh(command, answer),
            (Node::Policies, Ask::Observe(events)) => {
                self.take_policies(policies::Command::Observe { events, chance }, answer);
            }
            (Node::Policies, Ask::Policy(command)) => self.take_policies(command, answer),
            (Node::Htm, Ask::Work(htm::Command::Lease { asks })) => {
                self.wait_at_desk(asks, (from, call));
            }
            (Node::Htm, Ask::Work(command)) => {
                let answers = matches!(command, htm::Command::Answer { .. });
                if let htm::Command::Register(offer) = &command {
                    self.desk.remove(&offer.name);
                }
                self.take_htm(command, answer);
                if answers {
                    self.lease();
                }
            }
            (Node::Scheduler, Ask::Schedule(command)) => self.take_scheduler(command, answer),
            (to, ask) => self.breaks(format!("{to} was asked {ask:?}")),
        }
    }

    pub(super) fn settle(&mut self, node: Node, report: Report) {
        let (reports, chance) = (vec![report.clone()], self.entropy.next_u64());
        let to = To::Settle(Rc::new(report));
        match node {
            Node::Mesh => self.take_mesh(triggers::Command::Settle { reports, chance }, to),
            Node::Policies => self.take_policies(policies::Command::Settle { reports, chance }, to),
            _ => self.take_scheduler(scheduler::Command::Settle { reports, chance }, to),
        }
    }

    // Commits, and what they let out.

    pub(super) fn commit(&mut self, node: Node) {
        match node {
            Node::Mesh => {
                let committed = self.mesh.commit();
                self.released(node, committed, Self::mesh_answers, Self::perform_for);
            }
            Node::Policies => {
                let committed = self.policies.commit();
                self.released(node, committed, Self::policies_answer, Self::perform_for);
            }
            Node::Htm => {
                let committed = self.htm.commit();
                self.released(node, committed, Self::htm_answers, |w, _, effect| w.htm_effect(effect));
            }
            _ => {
                let committed = self.scheduler.commit();
                self.released(node, committed, Self::scheduler_answers, Self::perform_for);
            }
        }
    }

    fn released<D: Decider>(
        &mut self,
        node: Node,
        committed: Option<Committed<D>>,
        answer: fn(&mut Self, To, Answer<D>),
        effect: fn(&mut Self, Node, D::Effect),
    ) {
        let Some(committed) = committed else { return };
        let (answers, effects) = (committed.answers.len(), committed.effects.len());
        note!(self, "{node} commits {} records, {answers} answers, {effects} effects", committed.records);
        if committed.died {
            return self.crash_kernel(node, "in a write");
        }
        if let Some(error) = committed.error {
            self.counts.failed_batches += 1;
            note!(self, "{node} goes back: {error}");
        }
        self.check_bounds(node);
        for (to, given) in committed.answers {
            // Without its set-up a process is of no use: it ends, and the next one tries.
            if matches!((&to, &given), (To::Setup, Err(_))) {
                return self.crash_kernel(node, "in its set-up");
            }
            answer(self, to, given);
        }
        committed.effects.into_iter().for_each(|one| effect(self, node, one));
        self.plan_tick(node);
    }

    fn plain(&mut self, node: Node, to: To, told: Told) {
        match to {
            To::Letter(from, call) => self.tell(node, from, call, told),
            To::Settle(report) if matches!(told, Told::Busy(_)) => {
                self.todo(node, Duration::from_millis(50), Todo::Settle((*report).clone()));
            }
            To::Nobody | To::Setup | To::Settle(_) | To::Front(..) | To::Lease => {}
        }
    }

    fn mesh_answers(&mut self, to: To, answer: Answer<TriggerMesh>) {
        let told = told(answer, |reply| match reply {
            triggers::Reply::Ingested { events } => {
                let busy = events.into_iter().find_map(|one| match one {
                    Ingested::Busy { reason } => Some(reason),
                    Ingested::Taken { .. } | Ingested::Duplicate | Ingested::Unwanted => None,
                });
                busy.map_or(Told::Taken, Told::Busy)
            }
            _ => Told::Taken,
        });
        match (to, &told) {
            (To::Front(from, call, events), Told::Taken) => {
                if self.mistake == Some(Mistake::EarlyAcknowledgement) {
                    self.hint(Node::Mesh, Node::Policies, Ask::Observe((*events).clone()));
                    return self.tell(Node::Mesh, from, call, Told::Taken);
                }
                let ask = Ask::Observe((*events).clone());
                self.ask(Node::Mesh, Node::Policies, ask, Purpose::Front(from, call), FRONT_PATIENCE);
            }
            (To::Front(from, call, _), _) => self.tell(Node::Mesh, from, call, told),
            (to, _) => self.plain(Node::Mesh, to, told),
        }
    }

    fn policies_answer(&mut self, to: To, answer: Answer<EventPolicies>) {
        let told = told(answer, |reply| match reply {
            policies::Reply::Observed { events } => {
                let busy = events.into_iter().find_map(|one| match one {
                    Observation::Busy { reason } => Some(reason),
                    Observation::Done { .. } | Observation::Duplicate => None,
                });
                busy.map_or(Told::Taken, Told::Busy)
            }
            _ => Told::Taken,
        });
        self.plain(Node::Policies, to, told);
    }

    fn scheduler_answers(&mut self, to: To, answer: Answer<Scheduler>) {
        let told = told(answer, |_| Told::Taken);
        self.plain(Node::Scheduler, to, told);
    }

    fn htm_answers(&mut self, to: To, answer: Answer<Htm>) {
        if matches!(to, To::Lease) {
            return self.leased(answer);
        }
        if let Ok(Outcome::Done(htm::Reply::Submitted { results })) = &answer {
            let refused = |one: &&Submitted| matches!(one, Submitted::Refused(Refused { code, .. }) if code == "overloaded");
            self.counts.overloaded += results.iter().filter(refused).count() as u64;
        }
        let told = match answer {
            Ok(Outcome::Refused(refusal)) => Told::Refused(refusal.code),
            answer => told(answer, Told::Work),
        };
        self.plain(Node::Htm, to, told);
    }

    fn htm_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Ready => self.lease(),
            Effect::Ended { intent, .. } => {
                if let Some(key) = self.key_of(intent).filter(|key| key.starts_with("sch:")) {
                    let ended = scheduler::Command::Ended { keys: vec![key] };
                    self.hint(Node::Htm, Node::Scheduler, Ask::Schedule(ended));
                }
            }
            Effect::Stop { worker, granted } => {
                let place = self.workers.iter().position(|one| one.name == worker);
                if let Some(place) = place {
                    self.hint(Node::Htm, Node::Worker(place), Ask::Stop(granted));
                }
            }
        }
    }

    fn key_of(&self, intent: IntentId) -> Option<String> {
        let state = self.htm.state()?;
        let query = htm::Command::Query(Query::Intent(intent));
        match Htm::decide(state, self.clock.now(), &query).outcome() {
            Outcome::Done(htm::Reply::Intent(view)) => view.key.clone(),
            _ => None,
        }
    }

    // Timers.

    /// When the kernel's timers want to be looked at, from now.
    fn due(&self, node: Node) -> Option<Duration> {
        let now = self.clock.now();
        let steady =
            |next: Option<u64>, at: u64| next.map(|next| Duration::from_millis(next.saturating_sub(at)));
        match node {
            Node::Mesh => self.mesh.state().and_then(|state| steady(state.next_ms(), state.steady().at(now))),
            Node::Policies => {
                self.policies.state().and_then(|state| steady(state.next_ms(), state.steady().at(now)))
            }
            Node::Htm => self.htm.state()?.next_due_ms(now).map(Duration::from_millis),
            _ => self.scheduler.state()?.next_ms(self.scheduler_now()).map(Duration::from_millis),
        }
    }

    fn plan_tick(&mut self, node: Node) {
        let late = Duration::from_micros(self.entropy.below(30_000));
        let wait = self.due(node).map_or(LOOK, |due| due.min(LOOK)) + late;
        let at = self.clock_mono().plus(wait);
        if self.ticks.get(&node).is_none_or(|planned| *planned > at) {
            self.ticks.insert(node, at);
            self.todo(node, wait, Todo::Tick);
        }
    }

    fn tick(&mut self, node: Node) {
        if self.ticks.get(&node).is_none_or(|planned| *planned > self.clock_mono()) {
            return;
        }
        self.ticks.remove(&node);
        if self.due(node).is_none_or(|due| due > Duration::ZERO) {
            return self.plan_tick(node);
        }
        let chance = self.entropy.next_u64();
        match node {
            Node::Mesh => self.take_mesh(triggers::Command::Tick, To::Nobody),
            Node::Policies => self.take_policies(policies::Command::Tick, To::Nobody),
            Node::Htm => self.take_htm(htm::Command::Tick { chance, heard: BTreeMap::new() }, To::Nobody),
            _ => self.take_scheduler(scheduler::Command::Tick { chance }, To::Nobody),
        }
    }

    pub(super) fn kernel_acts(&mut self, node: Node, todo: Todo) {
        match todo {
            Todo::Tick => self.tick(node),
            Todo::Lease => self.lease(),
            Todo::Settle(report) => self.settle(node, report),
            Todo::AskForEnds => {
                let running = self.scheduler.state().into_iter().flat_map(scheduler::State::running);
                let keys: Vec<String> = running.map(|(_, key)| key.to_owned()).collect();
                for key in keys {
                    let ask = Ask::Work(htm::Command::Query(Query::Key(key.clone())));
                    self.ask(node, Node::Htm, ask, Purpose::Ended(key), Duration::from_secs(1));
                }
                self.todo(node, Duration::from_secs(4), Todo::AskForEnds);
            }
            todo => self.breaks(format!("{node} is to do {todo:?}")),
        }
    }

    pub(super) fn kernel_answered(&mut self, node: Node, purpose: Purpose, told: Told) {
        match (purpose, told) {
            (Purpose::Front(from, call), told @ (Told::Taken | Told::Busy(_))) => {
                self.tell(node, from, call, told);
            }
            (Purpose::Perform(owner, key), told) => self.performed(node, owner, key, told),
            (Purpose::Ended(key), told) => {
                let over = match told {
                    Told::Work(htm::Reply::Intent(view)) => view.state.is_over(),
                    Told::Refused(code) => code == "forgotten",
                    _ => false,
                };
                if over {
                    self.take_scheduler(scheduler::Command::Ended { keys: vec![key] }, To::Nobody);
                }
            }
            _ => {}
        }
    }

    pub(super) fn perform_for(&mut self, node: Node, perform: Perform) {
        self.perform(node, perform);
    }
}
