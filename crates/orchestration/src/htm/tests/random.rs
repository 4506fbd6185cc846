//! Random commands, checked against what the journal says happened.
//!
//! A run is a seed: commands are drawn from it, workers hold tasks, lie, die and come again, time passes, the task manager is
//! restarted from its journal or its snapshot. After each event a witness that knows nothing of the state checks the promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use grace_kernel::Room;
use grace_types::chance::{Entropy, SeededEntropy};
use proptest::prelude::*;
use serde_json::json;

use super::world::{World, about, failed, offer, ok};
use crate::{
    htm::{
        Command, Ending, Era, IntentId, Reply, State, TaskId,
        command::{Ask, Query, Refused, Submission, Submitted, Verdict},
        event::{Granted, Next, Origin, Settings, What},
        state::{Course, Stage},
        view::TaskState,
    },
    intent::{Definition, Priority},
    written::read,
};

const TYPES: &str = "
  one: {plan: {task: {kind: a, timeout: 20s, retry: {attempts: 2, backoff: 2s}}}}
  capped: {concurrency: {most: 3}, plan: {task: {kind: b}}}
  keyed:
    concurrency: {key: '${payload.user}', per_key: 1}
    plan: {sequence: [{task: {kind: a}}, {task: {kind: b, priority: low}}]}
  rated: {rate: {count: 5, per: 10s}, deadline: 30s, plan: {task: {kind: b, retry: {attempts: 3}}}}
  tree:
    plan:
      sequence:
        - task: {name: first, kind: a, compensation: {kind: a, retry: {attempts: 2}}}
        - parallel:
            - task: {name: left, kind: a, compensation: {kind: b}}
            - sequence:
                - task: {name: right, kind: b, compensation: {kind: a}}
                - task: {name: after, kind: b, input: '${tasks.right}'}
            - task: {name: alone, kind: b, after: [left]}
        - task: {name: last, kind: a}
";

const NAMES: [&str; 5] = ["one", "capped", "keyed", "rated", "tree"];
const WORKERS: [&str; 4] = ["v", "w", "x", "y"];

/// What a witness of the journal knows.
#[derive(Default)]
struct Witness {
    definitions: BTreeMap<u32, Definition>,
    plans: BTreeMap<IntentId, (u32, Option<String>)>,
    /// The last lease of each task.
    leases: BTreeMap<TaskId, (u32, u64)>,
    leased: BTreeSet<TaskId>,
    tokens: BTreeSet<u64>,
    /// Tasks that succeeded, by when.
    done: BTreeMap<TaskId, usize>,
    /// Compensations that began, by intent.
    undone: BTreeMap<IntentId, Vec<u16>>,
    dead: BTreeSet<TaskId>,
    seen: usize,
}

impl Witness {
    fn watch(&mut self, world: &World) {
        while self.seen < world.events.len() {
            let what = &world.events[self.seen].what;
            self.seen += 1;
            self.event(what);
        }
    }

    fn event(&mut self, what: &What) {
        match what {
            What::TypesDefined { changed, .. } => {
                for new in changed {
                    let definition = Definition::compile(&new.name, new.source.clone()).unwrap();
                    self.definitions.insert(new.number, definition);
                }
            }
            What::Submitted { intents } => {
                for new in intents {
                    let known = self.plans.insert(new.id, (new.definition, new.shares.clone()));
                    assert!(known.is_none(), "{} twice", new.id);
                }
            }
            What::Dispatched { to, .. } => {
                for (worker, granted) in
                    to.iter().flat_map(|to| to.tasks.iter().map(|task| (to.worker, *task)))
                {
                    self.dispatched(worker, granted);
                }
            }
            What::TasksDone { by } => {
                for (worker, done) in by.iter().flat_map(|by| by.tasks.iter().map(|task| (by.worker, task))) {
                    assert_eq!(
                        self.leases.get(&done.task),
                        Some(&(worker, done.token)),
                        "a stale answer counted"
                    );
                    assert!(self.leased.remove(&done.task), "{} was not leased", done.task);
                    assert!(self.done.insert(done.task, self.seen).is_none(), "{} done twice", done.task);
                }
            }
            What::TaskFailed { task, token, next, .. } => {
                assert!(*token == 0 || self.leases[task].1 == *token);
                self.leased.remove(task);
                if *next == Next::Dead {
                    self.dead.insert(*task);
                }
            }
            What::WorkerGone { worker, .. } => {
                let leases = &self.leases;
                self.leased.retain(|task| leases[task].0 != *worker);
            }
            What::WorkerJoined { .. } => {
                // An earlier run's tasks go back; which ones is known when they are given out again.
            }
            What::TaskRequeued { task } => assert!(self.dead.remove(task)),
            _ => {}
        }
    }

    fn dispatched(&mut self, worker: u32, Granted { task, token }: Granted) {
        assert!(self.tokens.insert(token), "a token is given once");
        assert!(self.leases.get(&task).is_none_or(|(_, before)| token > *before), "tokens of a task grow");
        assert!(!self.done.contains_key(&task), "{task} again after it was done");
        self.leases.insert(task, (worker, token));
        self.leased.insert(task);
        let (number, _) = &self.plans[&task.intent];
        let definition = &self.definitions[number];
        let index = usize::from(task.index);
        for (n, spec) in (0..).zip(&definition.tasks[..definition.forward]) {
            if spec.before.contains(&task.index) {
                assert!(self.done.contains_key(&task.intent.task(n)), "{task} before task {n}");
            }
            if spec.compensation == Some(task.index) {
                assert!(self.done.contains_key(&task.intent.task(n)), "{task} takes back what was not done");
            }
        }
        if index >= definition.forward {
            let begun = self.undone.entry(task.intent).or_default();
            if begun.last() != Some(&task.index) {
                assert!(!begun.contains(&task.index), "compensations one by one");
                begun.push(task.index);
            }
        }
    }

    /// Compensations ran in the reverse order of what they take back.
    fn check_compensations(&self, state: &State) {
        for (intent, begun) in &self.undone {
            let definition = &self.definitions[&self.plans[intent].0];
            let order = |state: &State, undo: u16| {
                let forward =
                    definition.tasks.iter().position(|spec| spec.compensation == Some(undo)).unwrap();
                match state.intents.get(intent).unwrap().tasks[forward].stage {
                    Stage::Succeeded(order) => order,
                    other => panic!("{other:?}"),
                }
            };
            let orders: Vec<u16> = begun.iter().map(|undo| order(state, *undo)).collect();
            assert!(orders.is_sorted_by(|a, b| a > b), "{orders:?}");
        }
    }

    /// Caps hold, by the state's own leases.
    fn check_caps(&self, state: &State) {
        let mut running: BTreeMap<(&str, Option<&str>), u32> = BTreeMap::new();
        for (id, intent) in state.intents.iter() {
            let (number, shares) = &self.plans[&id];
            let definition = &self.definitions[number];
            let leased =
                intent.tasks.iter().filter(|task| matches!(task.stage, Stage::Leased { .. })).count();
            *running.entry((&definition.name, shares.as_deref())).or_default() +=
                u32::try_from(leased).unwrap();
        }
        for ((name, shares), count) in running {
            let bound = match (name, shares) {
                ("capped", _) => 3,
                ("keyed", Some(_)) => 1,
                _ => continue,
            };
            assert!(count <= bound, "{count} of {name} {shares:?} at a time");
        }
    }
}

/// As the cortex says of what it allowed in an emergency.
fn emergency() -> Arc<Origin> {
    Arc::new(Origin { tier: Some("4".into()), ..Origin::default() })
}

struct Run {
    world: World,
    entropy: SeededEntropy,
    witness: Witness,
    accepted: BTreeMap<IntentId, Submission>,
    keys: BTreeMap<String, IntentId>,
    /// What each worker believes that it has, and tokens of the past.
    believed: Vec<(usize, Granted)>,
    incarnation: u32,
}

impl Run {
    fn new(seed: u64) -> Self {
        let settings =
            Settings { tasks: 120, backlog_critical: 30, backlog_normal: 60, ..Settings::default() };
        Self {
            world: World::with(TYPES, settings),
            entropy: SeededEntropy::new(seed),
            witness: Witness::default(),
            accepted: BTreeMap::new(),
            keys: BTreeMap::new(),
            believed: Vec::new(),
            incarnation: 0,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.entropy.below(bound as u64)).unwrap()
    }

    fn step(&mut self) {
        self.world.chance = self.entropy.next_u64();
        match self.below(100) {
            0..20 => self.submit(),
            20..45 => self.lease(),
            45..72 => self.answer(),
            72..80 => {
                let ms = self.entropy.below(4000);
                self.world.pass(ms);
                self.world.tick();
            }
            80..84 => {
                let worker = WORKERS[self.below(4)];
                let _ = self.world.ask(Command::Beat { worker: worker.into(), remembered: false });
                if let Some((worker, granted)) = self.believed.last() {
                    let (worker, tasks) = (WORKERS[*worker].to_owned(), vec![*granted]);
                    let _ = self.world.ask(Command::Extend { worker, tasks });
                }
            }
            84..88 => self.register(),
            88 => {
                let command =
                    Command::Lost { worker: WORKERS[self.below(4)].into(), reason: "killed".into() };
                let _ = self.world.ask(command);
            }
            89..91 => self.cancel(),
            91..93 => self.retry(),
            93 => {
                let name = NAMES[self.below(5)].to_owned();
                let _ = self.world.ask(Command::Pause { name, reason: "random".into() });
            }
            94..96 => {
                let name = NAMES[self.below(5)].to_owned();
                let _ = self.world.ask(Command::Resume { name, reason: "random".into() });
            }
            96 => self.world.state = self.world.restored(),
            97 => self.fill_or_free(),
            98 => self.restart(),
            _ => {
                self.world.wall_ms =
                    self.world.wall_ms.wrapping_add(self.entropy.below(600_000)).wrapping_sub(300_000);
            }
        }
        self.witness.watch(&self.world);
        self.witness.check_caps(&self.world.state);
        let open: usize = self
            .world
            .state
            .intents
            .iter()
            .flat_map(|(_, i)| &*i.tasks)
            .filter(|t| t.stage.is_open())
            .count();
        assert_eq!(self.world.state.open_tasks(), open as u64);
        assert!(self.world.state.waiting() <= open as u64);
    }

    fn submit(&mut self) {
        let priority = [None, Some(Priority::Low), Some(Priority::High)][self.below(3)];
        let key = (self.below(3) == 0).then(|| format!("k{}", self.below(40)));
        let user = ["ana", "bob"][self.below(2)];
        let payload = json!({"user": user});
        let intent = Submission {
            priority,
            key: key.clone(),
            delay_ms: (self.below(5) == 0).then_some(3000),
            origin: (self.below(6) == 0).then(emergency),
            ..about(NAMES[self.below(5)], &payload)
        };
        let room = self.world.state.open_tasks() < 120;
        match self.world.try_submit(intent.clone()) {
            Submitted::Accepted { id, repeated } => {
                let before = key.and_then(|key| self.keys.insert(key, id));
                assert_eq!(before.is_some(), repeated);
                assert!(before.is_none_or(|before| before == id), "a key names one intent");
                assert_eq!(self.accepted.insert(id, intent).is_some(), repeated);
            }
            Submitted::Refused(Refused { code, .. }) if code == "key_reused" => {
                assert!(key.is_some_and(|key| self.keys.contains_key(&key)));
            }
            Submitted::Refused(Refused { code, .. }) if code == "disk_reserve" => {
                assert!(self.world.room == Room::Reserve && intent.origin.is_none());
            }
            Submitted::Refused(Refused { code, .. }) => {
                assert_eq!(code, "overloaded");
                assert!(priority != Some(Priority::High) || !room || self.world.state.open_tasks() > 120 - 8);
            }
        }
    }

    fn register(&mut self) {
        self.incarnation += 1;
        let kinds: &[&str] = [&["a", "b"][..], &["a"], &["b"]][self.below(3)];
        let slots = u32::try_from(1 + self.below(6)).unwrap();
        let name = WORKERS[self.below(4)];
        let joined = self.witness.seen;
        let registered = Command::Register(offer(name, &self.incarnation.to_string(), kinds, slots));
        match self.world.ask(registered) {
            Ok(_) => assert!(self.world.events.len() > joined),
            Err(refusal) => {
                assert_eq!(refusal.code, "disk_reserve");
                assert!(self.world.room == Room::Reserve && !self.world.state.has_emergencies());
            }
        }
    }

    /// The disk is almost full, or there is room again.
    fn fill_or_free(&mut self) {
        self.world.room = match self.world.room {
            Room::Enough => Room::Reserve,
            Room::Reserve => Room::Enough,
        };
    }

    fn lease(&mut self) {
        let mut asks = Vec::new();
        for worker in WORKERS {
            if self.below(2) == 0 {
                let request = (self.below(2) == 0).then(|| self.below(3).to_string());
                asks.push(Ask {
                    worker: worker.into(),
                    max: 1 + u32::try_from(self.below(4)).unwrap(),
                    request,
                });
            }
        }
        let Ok(Reply::Leased { grants, .. }) = self.world.ask(Command::Lease { asks }) else { return };
        for grant in grants {
            let worker = WORKERS.iter().position(|name| *name == grant.worker).unwrap();
            for lease in grant.tasks {
                // Every seventh answer is lost on its way.
                if self.below(7) > 0 {
                    self.believed.push((worker, Granted { task: lease.task, token: lease.token }));
                }
            }
        }
    }

    fn answer(&mut self) {
        if self.believed.is_empty() {
            return;
        }
        let at = self.below(self.believed.len());
        let (mut worker, mut granted) = self.believed[at];
        match self.below(12) {
            0 => worker = self.below(4),
            1 => granted.token += 1,
            2 => granted.task.index += 1,
            // Kept, and so answered again later.
            3 => {}
            _ => drop(self.believed.swap_remove(at)),
        }
        let answer = if self.below(4) == 0 {
            failed(granted.task, granted.token, "random")
        } else {
            ok(granted.task, granted.token, &json!({"n": 1}))
        };
        let held = self.world.state.task(granted.task).is_some_and(|(_, task)| {
            task.token == granted.token && matches!(task.stage, Stage::Leased { .. })
        });
        let before = self.world.events.len();
        let command = Command::Answer {
            worker: WORKERS[worker].into(),
            answers: vec![answer],
            chance: self.world.chance,
        };
        match self.world.ask(command) {
            Ok(Reply::Answered { verdicts }) => {
                let changed = self.world.events[before..]
                    .iter()
                    .any(|event| !matches!(event.what, What::AnswersRefused { .. }));
                assert_eq!(changed, held && verdicts[0] == Verdict::Taken);
            }
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => assert_eq!(refusal.code, "unknown_worker"),
        }
    }

    fn cancel(&mut self) {
        let at = self.below(self.accepted.len().max(1));
        let Some(id) = self.accepted.keys().nth(at).copied() else {
            return;
        };
        let _ = self.world.ask(Command::Cancel { intent: id, reason: "random".into() });
    }

    fn retry(&mut self) {
        let Ok(Reply::DeadLetters { tasks, .. }) =
            self.world.ask(Command::Query(Query::DeadLetters { limit: 5 }))
        else {
            return;
        };
        let Some(task) = tasks.first() else { return };
        let intent = self.world.state.intents.get(&task.id.intent).unwrap().clone();
        let result = self.world.ask(Command::Retry { task: task.id, reason: "random".into() });
        if result.is_ok() {
            // What the plan did stays done; the witness must not take it for a second time.
            assert_eq!(intent.course, Course::Over(Ending::Failed));
        }
    }

    /// The task manager dies and another one builds its state from the journal; time has passed.
    fn restart(&mut self) {
        self.world.check();
        let (pass, boot) = (self.entropy.below(30_000), self.below(2));
        self.world.pass(pass);
        let boot = if boot == 0 { "boot-1".to_owned() } else { format!("boot-{}", self.world.mono_ms) };
        if boot != "boot-1" {
            self.world.mono_ms = 100;
        }
        let settings = self.world.state.base.settings.clone();
        self.world.ask(Command::Configure { boot, era: Era::from_bits(9), settings }).unwrap();
    }

    /// Good workers come and everything ends.
    fn drain(&mut self) {
        self.world.room = Room::Enough;
        for name in NAMES {
            self.world.ask(Command::Resume { name: name.into(), reason: "the end".into() }).unwrap();
        }
        for worker in WORKERS {
            let _ = self.world.ask(Command::Lost { worker: worker.into(), reason: "the end".into() });
        }
        for _ in 0..2000 {
            if self.world.state.open_tasks() == 0 {
                break;
            }
            self.incarnation += 1;
            self.world.ask(Command::Register(offer("good", "good", &["a", "b"], 20))).unwrap();
            for lease in self.world.lease("good", 20) {
                assert_eq!(self.world.done("good", lease.task, lease.token), Verdict::Taken);
            }
            self.witness.watch(&self.world);
            self.world.pass(1000);
            self.world.tick();
        }
        assert_eq!(self.world.state.open_tasks(), 0, "something never ends");
    }

    fn check_end(&mut self) {
        self.witness.watch(&self.world);
        let ids: Vec<IntentId> = self.accepted.keys().copied().collect();
        for id in ids {
            let view = self.world.show(id);
            assert!(
                matches!(self.world.state.intents.get(&id).unwrap().course, Course::Over(_)),
                "{id} is {:?}",
                self.world.state.intents.get(&id).unwrap().course
            );
            for task in view.tasks {
                assert!(
                    matches!(task.state, TaskState::Succeeded | TaskState::Dead | TaskState::Cancelled),
                    "{} is {:?}",
                    task.id,
                    task.state
                );
            }
        }
        assert_eq!(self.witness.plans.len(), self.accepted.len(), "accepted and recorded are the same");
        self.witness.check_compensations(&self.world.state);
        let totals = self.world.state.totals();
        assert_eq!(totals.submitted as usize, self.accepted.len());
        self.world.check();
    }
}

fn run(seed: u64, steps: usize) -> Run {
    let mut run = Run::new(seed);
    for _ in 0..3 {
        run.register();
    }
    for step in 0..steps {
        run.step();
        if step % 100 == 99 {
            run.world.check();
        }
    }
    run.drain();
    run.check_end();
    run
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold(seed in any::<u64>()) {
        run(seed, 400);
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let (one, other) = (run(11, 300), run(11, 300));
    assert_eq!(one.world.journal, other.world.journal);
    assert_eq!(
        serde_json::to_string(&one.world.state).unwrap(),
        serde_json::to_string(&other.world.state).unwrap()
    );
}

#[test]
fn definitions_of_this_test_compile() {
    let types = read(&format!("intents:\n{TYPES}"), "t.yaml".as_ref()).unwrap().intents;
    assert_eq!(types.len(), NAMES.len());
}

/// The runs reach every kind of event; otherwise they would promise less than they say.
#[test]
fn everything_happens() {
    let mut happened = BTreeSet::new();
    for seed in 0..6 {
        happened.extend(run(seed, 400).world.happened());
    }
    assert_eq!(happened.len(), 20, "{happened:?}");
}
