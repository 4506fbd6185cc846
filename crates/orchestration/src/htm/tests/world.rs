//! A task manager with its journal in memory: every event goes through its JSON, and a replay can be compared at any time.

use std::collections::BTreeMap;

use grace_kernel::{Decider, HostError, Outcome, Room};
use grace_types::time::{Monotonic, Now, Timestamp};
use serde_json::{Value, json};

use crate::htm::{
    Command, Effect, Era, Event, Htm, IntentId, Json, Refusal, Reply, State, TaskId,
    command::{Ask, Lease, Query, Submission, Submitted, TaskAnswer, Verdict},
    event::{Offer, Settings, What},
    view::{IntentView, TaskView},
};

pub(super) const START_MS: u64 = 1_764_000_000_000;

/// A type of one task, and one whose task is tried again.
pub(super) const ONE: &str = "  one: {plan: {task: {kind: k}}}\n";
/// See [`ONE`].
pub(super) const RETRIED: &str =
    "  one: {plan: {task: {kind: k, timeout: 10s, retry: {attempts: 3, backoff: 1s, jitter: 0}}}}\n";

/// Why a worker was not believed.
pub(super) fn refused(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Refused(why) | Verdict::Later(why) => why,
        Verdict::Taken => panic!("taken"),
    }
}

/// A task manager under test.
pub(super) struct World {
    pub(super) state: State,
    pub(super) journal: Vec<String>,
    pub(super) events: Vec<Event>,
    pub(super) effects: Vec<Effect>,
    pub(super) mono_ms: u64,
    pub(super) wall_ms: u64,
    pub(super) chance: u64,
    /// Whether the last of the disk is kept for emergencies.
    pub(super) room: Room,
}

impl World {
    /// With these types (YAML under `intents:`) in force.
    pub(super) fn new(types: &str) -> Self {
        Self::with(types, Settings::default())
    }

    pub(super) fn with(types: &str, settings: Settings) -> Self {
        let mut world = Self {
            state: State::default(),
            journal: Vec::new(),
            events: Vec::new(),
            effects: Vec::new(),
            mono_ms: 5000,
            wall_ms: START_MS,
            chance: 0,
            room: Room::Enough,
        };
        world.ask(Command::Configure { boot: "boot-1".into(), era: Era::from_bits(7), settings }).unwrap();
        world.define(types).unwrap();
        world
    }

    pub(super) fn define(&mut self, types: &str) -> Result<Reply, Refusal> {
        let text = format!("intents:\n{types}");
        let types = crate::written::read(&text, "t.yaml".as_ref()).unwrap_or_else(|e| panic!("{e}")).intents;
        self.ask(Command::Define { types })
    }

    pub(super) fn now(&self) -> Now {
        Now {
            wall: Timestamp::from_nanos(self.wall_ms * 1_000_000),
            mono: Monotonic::from_nanos(self.mono_ms * 1_000_000),
        }
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, ms: u64) {
        self.mono_ms += ms;
        self.wall_ms += ms;
    }

    #[expect(clippy::needless_pass_by_value, reason = "commands are made where they are asked")]
    pub(super) fn ask(&mut self, command: Command) -> Result<Reply, Refusal> {
        // As it travels.
        let command: Command = serde_json::from_str(&serde_json::to_string(&command).unwrap()).unwrap();
        self.ask_directly(&command)
    }

    /// As a shell in the same process asks.
    pub(super) fn ask_directly(&mut self, command: &Command) -> Result<Reply, Refusal> {
        let decide = if self.room == Room::Reserve { Htm::decide_in_reserve } else { Htm::decide };
        let decision = decide(&self.state, self.now(), command);
        // As the host does.
        let events = decision.events();
        let belongs = |event| Htm::is_for_emergency(&self.state, event, events);
        if self.room == Room::Reserve && !events.iter().all(belongs) {
            return Err(Refusal { code: "disk_reserve".into(), message: HostError::DiskReserve.to_string() });
        }
        for record in decision.events() {
            let text = serde_json::to_string(record).unwrap();
            let record: grace_kernel::Recorded<Event> = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&record).unwrap(), text);
            assert!(!record.how().is_empty() && !record.place().is_empty());
            Htm::evolve(&mut self.state, record.event());
            self.effects.extend(Htm::effects(&self.state, &record));
            self.events.push(record.event().clone());
            self.journal.push(text);
        }
        match decision.outcome() {
            Outcome::Done(reply) => {
                let text = serde_json::to_string(reply).unwrap();
                assert_eq!(serde_json::from_str::<Reply>(&text).unwrap(), *reply);
                Ok(reply.clone())
            }
            Outcome::Refused(refusal) => Err(refusal.clone()),
        }
    }

    pub(super) fn submit_all(&mut self, intents: Vec<Submission>) -> Vec<Submitted> {
        match self.ask(Command::Submit { intents }) {
            Ok(Reply::Submitted { results }) => results,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn try_submit(&mut self, intent: Submission) -> Submitted {
        self.submit_all(vec![intent]).remove(0)
    }

    pub(super) fn submit(&mut self, intent: Submission) -> IntentId {
        match self.try_submit(intent) {
            Submitted::Accepted { id, .. } => id,
            refused => panic!("{refused:?}"),
        }
    }

    pub(super) fn join(&mut self, name: &str, kinds: &[&str], slots: u32) {
        self.ask(Command::Register(offer(name, "1", kinds, slots))).unwrap();
    }

    pub(super) fn lease(&mut self, worker: &str, max: u32) -> Vec<Lease> {
        self.lease_all(&[(worker, max)]).remove(0)
    }

    pub(super) fn lease_all(&mut self, asks: &[(&str, u32)]) -> Vec<Vec<Lease>> {
        let asks =
            asks.iter().map(|(w, max)| Ask { worker: (*w).into(), max: *max, request: None }).collect();
        match self.ask(Command::Lease { asks }) {
            Ok(Reply::Leased { grants, .. }) => grants.into_iter().map(|grant| grant.tasks).collect(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn answer(&mut self, worker: &str, answers: Vec<TaskAnswer>) -> Vec<Verdict> {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        match self.ask(Command::Answer { worker: worker.into(), answers, chance: self.chance }) {
            Ok(Reply::Answered { verdicts }) => verdicts,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn done(&mut self, worker: &str, task: TaskId, token: u64) -> Verdict {
        self.answer(worker, vec![ok(task, token, &json!({"ok": true}))]).remove(0)
    }

    pub(super) fn fail(&mut self, worker: &str, task: TaskId, token: u64) -> Verdict {
        self.answer(worker, vec![failed(task, token, "boom")]).remove(0)
    }

    pub(super) fn tick(&mut self) {
        self.tick_having_heard(&[]);
    }

    /// A tick of a shell that heard these workers, each so many milliseconds ago.
    pub(super) fn tick_having_heard(&mut self, heard: &[(&str, u64)]) {
        let heard: BTreeMap<String, u64> =
            heard.iter().map(|(name, ago)| ((*name).to_owned(), *ago)).collect();
        loop {
            match self.ask(Command::Tick { chance: self.chance, heard: heard.clone() }) {
                Ok(Reply::Ticked { more: true, .. }) => {}
                Ok(Reply::Ticked { .. }) => return,
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) fn show(&mut self, id: IntentId) -> IntentView {
        match self.ask(Command::Query(Query::Intent(id))) {
            Ok(Reply::Intent(view)) => *view,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn task(&mut self, id: TaskId) -> TaskView {
        match self.ask(Command::Query(Query::Task(id))) {
            Ok(Reply::Task(view)) => *view,
            other => panic!("{other:?}"),
        }
    }

    /// The names of the events, for seeing what happened.
    pub(super) fn happened(&self) -> Vec<&'static str> {
        self.events.iter().map(|event| event.what.name()).collect()
    }

    pub(super) fn count(&self, pick: impl Fn(&What) -> bool) -> usize {
        self.events.iter().filter(|event| pick(&event.what)).count()
    }

    /// A replay of the journal gives this state, byte for byte; so does its snapshot, and the index with it.
    pub(super) fn check(&self) {
        let bytes = serde_json::to_string(&self.state).unwrap();
        let mut replayed = State::default();
        for text in &self.journal {
            let record: grace_kernel::Recorded<Event> = serde_json::from_str(text).unwrap();
            Htm::evolve(&mut replayed, record.event());
        }
        assert_eq!(serde_json::to_string(&replayed).unwrap(), bytes);
        let restored = self.restored();
        assert_eq!(serde_json::to_string(&restored).unwrap(), bytes);
        assert_eq!(index_of(&restored), index_of(&self.state));
    }

    pub(super) fn restored(&self) -> State {
        serde_json::from_str(&serde_json::to_string(&self.state).unwrap()).unwrap()
    }
}

/// The index with needs by name, since numbers may differ.
fn index_of(state: &State) -> BTreeMap<&'static str, String> {
    let index = &state.index;
    let need = |number: &u32| index.needs[*number as usize].clone();
    let lanes: BTreeMap<_, _> = index.lanes.iter().map(|((name, n), lane)| ((name, need(n)), lane)).collect();
    let keys: BTreeMap<_, _> = index.keys.iter().collect();
    let counts: Vec<_> =
        state.intents.iter().map(|(id, i)| (id, i.open, i.leased, i.pin.definition.name.clone())).collect();
    BTreeMap::from([
        ("lanes", format!("{lanes:?}")),
        ("names", format!("{:?}", index.names)),
        ("held", format!("{:?}", index.held)),
        ("keys", format!("{keys:?}")),
        ("uses", format!("{:?}", index.uses)),
        ("running", format!("{:?}", index.running)),
        ("timers", format!("{:?}", index.timers)),
        ("over", format!("{:?} {:?}", index.ended, index.dead)),
        ("counts", format!("{:?} {} {counts:?}", index.waiting, index.open)),
        ("shared", index.shared_as_text()),
        ("emergencies", format!("{:?}", index.emergencies)),
    ])
}

pub(super) fn offer(name: &str, incarnation: &str, kinds: &[&str], slots: u32) -> Offer {
    Offer {
        name: name.into(),
        incarnation: incarnation.into(),
        kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        labels: Vec::new(),
        slots,
    }
}

pub(super) fn intent(kind: &str) -> Submission {
    Submission { kind: kind.into(), actor: "ana".into(), ..Submission::default() }
}

pub(super) fn about(kind: &str, payload: &Value) -> Submission {
    Submission { payload: Json::of(payload), ..intent(kind) }
}

pub(super) fn ok(task: TaskId, token: u64, output: &Value) -> TaskAnswer {
    TaskAnswer { task, token, output: Some(Json::of(output)), failed: None, retry: None }
}

pub(super) fn failed(task: TaskId, token: u64, why: &str) -> TaskAnswer {
    TaskAnswer { task, token, output: None, failed: Some(why.into()), retry: None }
}
