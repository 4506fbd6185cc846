//! Giving out tasks: which ones, to whom, and why.
//!
//! All workers that ask come in one command. The next task is the oldest of the priority whose turn it is ([`super::fairness`]), of the
//! types that may start one (not paused, below their cap, within their rate) and that some worker which asks can run. It goes
//! to the least loaded of those: the smallest share of slots in use, then the fewest tasks, then the first by name.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    fmt::Write as _,
    rc::Rc,
    sync::Arc,
};

use grace_kernel::{Decision, Room};
use grace_types::reason::Why;
use serde_json::{Map, Value, json};

use super::{
    Decided, Reply, TaskId,
    command::{Ask, Grants, Lease},
    event::{Dispatch, Granted, Next, What},
    fairness::Fairness,
    index::Lane,
    line, recorded, refusal,
    state::{Intent, Stage, State, Worker},
};
use crate::{
    expression::Scope,
    intent::{Json, Priority, RateLimit, TaskSpec},
    limits,
};

pub(super) fn lease(state: &State, at: u64, asks: &[Ask], room: Room) -> Decided {
    if asks.is_empty() || asks.len() > limits::WORKERS {
        let most = limits::WORKERS;
        return Err(refusal("bad_request", format!("1 to {most} asks at a time; these are {}", asks.len())));
    }
    // Until it is on record that there is room again: a lease that is given before would be made longer with those of then.
    let emergencies = room == Room::Reserve || state.base.reserve.is_some();
    let mut picker = Picker::new(state, at, asks, emergencies);
    picker.pick();
    Ok(picker.decision(asks))
}

/// A worker that asks.
struct Asker<'s> {
    number: u32,
    worker: &'s Worker,
    /// Tasks that it had before, and that it is given.
    had: u32,
    given: Vec<(Granted, Priority)>,
    leases: Vec<Lease>,
    left: u32,
}

impl Asker<'_> {
    fn load(&self) -> u64 {
        u64::from(self.had) + self.given.len() as u64
    }
}

/// What an ask gets, before tasks are picked.
enum Answer {
    /// The asker at this place.
    Asker(usize),
    /// The same as for the same request before.
    Again(Vec<Lease>),
    Refused(String),
}

/// A lane that tasks may be picked from.
struct Open<'s> {
    kind: usize,
    capable: Rc<[usize]>,
    queues: [line::Iter<'s>; 4],
}

/// What a type may still start.
struct Budget {
    free: u32,
    rate: Option<(RateLimit, u64)>,
}

impl Budget {
    fn may_start(&self, now_ns: u64) -> bool {
        self.free > 0 && self.rate.is_none_or(|(rate, arrival)| start_ns(rate, arrival) <= now_ns)
    }

    fn start(&mut self, now_ns: u64) {
        self.free -= 1;
        if let Some((rate, arrival)) = &mut self.rate {
            *arrival = (*arrival).max(now_ns).saturating_add(rate.interval_ns);
        }
    }
}

/// When the next start is within the rate, nanoseconds: GCRA with a tolerance of the burst.
fn start_ns(rate: RateLimit, arrival_ns: u64) -> u64 {
    arrival_ns.saturating_sub(rate.interval_ns.saturating_mul(u64::from(rate.burst) - 1))
}

struct Picker<'s> {
    state: &'s State,
    at: u64,
    /// Whether tasks of emergencies alone are given out.
    emergencies: bool,
    askers: Vec<Asker<'s>>,
    answers: Vec<Answer>,
    lanes: Vec<Open<'s>>,
    heads: [BinaryHeap<Reverse<(u64, usize, TaskId)>>; 4],
    budgets: Vec<Budget>,
    fairness: Fairness,
    /// Tasks whose input cannot be made, and why.
    unfit: Vec<(TaskId, String)>,
    /// Tasks given so far.
    given: u64,
    bytes: usize,
    wake: Option<u64>,
}

impl<'s> Picker<'s> {
    fn new(state: &'s State, at: u64, asks: &[Ask], emergencies: bool) -> Self {
        let mut picker = Self {
            state,
            at,
            emergencies,
            askers: Vec::new(),
            answers: Vec::new(),
            lanes: Vec::new(),
            heads: Default::default(),
            budgets: Vec::new(),
            fairness: state.base.fairness,
            unfit: Vec::new(),
            given: 0,
            bytes: 0,
            wake: None,
        };
        for ask in asks {
            let answer = picker.asker(ask);
            picker.answers.push(answer);
        }
        let any = !emergencies || state.has_emergencies();
        if any && picker.askers.iter().any(|asker| asker.left > 0) {
            picker.open();
        }
        picker
    }

    fn asker(&mut self, ask: &Ask) -> Answer {
        let Some((number, worker)) = self.state.worker_named(&ask.worker) else {
            return Answer::Refused("unknown_worker: register first".to_owned());
        };
        if ask.request.as_ref().is_some_and(|name| name.is_empty() || name.len() > limits::KEY_BYTES) {
            return Answer::Refused(format!("bad_request: `request` has 1 to {} bytes", limits::KEY_BYTES));
        }
        if ask.request.is_some() && ask.request.as_deref() == worker.request.as_deref() {
            return Answer::Again(self.again(number, worker));
        }
        if let Some(same) = self.askers.iter().position(|asker| asker.number == number) {
            return Answer::Refused(format!(
                "bad_request: `{}` asks twice at a time",
                self.askers[same].worker.name
            ));
        }
        let held = self.state.index.held.get(&number).into_iter().flatten();
        let had = held.filter(|task| self.is_given_out(**task)).count();
        let had = u32::try_from(had).unwrap_or(u32::MAX);
        let left = ask.max.min(worker.slots.saturating_sub(had));
        self.askers.push(Asker { number, worker, had, given: Vec::new(), leases: Vec::new(), left });
        Answer::Asker(self.askers.len() - 1)
    }

    /// What was given under this request and is still the worker's.
    fn again(&self, number: u32, worker: &Worker) -> Vec<Lease> {
        let still = |granted: &&Granted| {
            self.state.task(granted.task).is_some_and(|(_, task)| {
                task.token == granted.token
                    && matches!(task.stage, Stage::Leased { worker, .. } if worker == number)
            })
        };
        worker
            .granted
            .iter()
            .filter(still)
            .filter_map(|g| self.describe(g.task, g.token, false).ok())
            .collect()
    }

    /// Opens the lanes of types that may start a task which one of the askers can run.
    fn open(&mut self) {
        let now_ns = self.at.saturating_mul(1_000_000);
        let mut capable: HashMap<u32, Rc<[usize]>> = HashMap::new();
        let mut kinds: BTreeMap<&Arc<str>, Option<usize>> = BTreeMap::new();
        for ((name, need), lane) in &self.state.index.lanes {
            let kind = *kinds.entry(name).or_insert_with(|| {
                let budget = self.budget(name)?;
                if !budget.may_start(now_ns) {
                    let due = budget
                        .rate
                        .filter(|_| budget.free > 0)
                        .map(|(rate, arrival)| start_ns(rate, arrival));
                    let due = due.map(|due| due.div_ceil(1_000_000).saturating_sub(self.at));
                    self.wake = [self.wake, due].into_iter().flatten().min();
                    return None;
                }
                self.budgets.push(budget);
                Some(self.budgets.len() - 1)
            });
            let Some(kind) = kind else { continue };
            let able = capable.entry(*need).or_insert_with(|| self.able(*need));
            if !able.is_empty() {
                let able = Rc::clone(able);
                self.add_lane(kind, able, lane);
            }
        }
    }

    fn budget(&self, name: &Arc<str>) -> Option<Budget> {
        let kind = self.state.types.get(name).filter(|kind| kind.paused.is_none())?;
        let definition = &self.state.definitions.get(&kind.definition)?.definition;
        let running = self.state.index.running.get(name).copied().unwrap_or(0);
        let free = definition.caps.most.map_or(u32::MAX, |most| most.saturating_sub(running));
        Some(Budget { free, rate: definition.rate.map(|rate| (rate, kind.arrival_ns)) })
    }

    fn able(&self, need: u32) -> Rc<[usize]> {
        let Some(needs) = self.state.index.needs.get(need as usize) else { return Rc::new([]) };
        let able = |asker: &Asker<'_>| asker.worker.can_run(needs) && asker.left > 0;
        self.askers.iter().enumerate().filter(|(_, asker)| able(asker)).map(|(n, _)| n).collect()
    }

    fn add_lane(&mut self, kind: usize, capable: Rc<[usize]>, lane: &'s Lane) {
        let queues = [0, 1, 2, 3].map(|rank| lane.queues[rank].iter());
        self.lanes.push(Open { kind, capable, queues });
        let lane = self.lanes.len() - 1;
        for rank in 0..4 {
            self.advance(lane, rank);
        }
    }

    /// Puts the lane's next task of a priority forward.
    fn advance(&mut self, lane: usize, rank: usize) {
        while let Some((place, task)) = self.lanes[lane].queues[rank].next() {
            if self.is_given_out(*task) {
                self.heads[rank].push(Reverse((*place, lane, *task)));
                return;
            }
        }
    }

    /// Whether such a task is given out now, and counts against a worker's slots.
    fn is_given_out(&self, task: TaskId) -> bool {
        !self.emergencies || self.state.is_of_emergency(task)
    }

    fn pick(&mut self) {
        let now_ns = self.at.saturating_mul(1_000_000);
        let mut left: u32 = self.askers.iter().map(|asker| asker.left).sum();
        left = left.min(u32::try_from(limits::BATCH).unwrap_or(u32::MAX));
        while left > 0 && self.bytes < limits::LEASE_BYTES && self.unfit.len() < limits::BATCH {
            let has_work = [0, 1, 2, 3].map(|rank| !self.heads[rank].is_empty());
            let Some(priority) = self.fairness.next(has_work) else { break };
            let Some(Reverse((_, lane, task))) = self.heads[priority.rank()].pop() else { break };
            let kind = self.lanes[lane].kind;
            let asker = self.least_loaded(&Rc::clone(&self.lanes[lane].capable));
            let (Some(asker), true) = (asker, self.budgets[kind].may_start(now_ns)) else {
                // Nothing more of this lane; its other heads fall out the same way.
                continue;
            };
            self.advance(lane, priority.rank());
            let token = self.state.base.last_token + 1 + self.given;
            match self.describe(task, token, true) {
                Ok(lease) => {
                    self.bytes += lease.input.len() + 300;
                    self.budgets[kind].start(now_ns);
                    self.fairness.served(priority);
                    let asker = &mut self.askers[asker];
                    asker.given.push((Granted { task, token }, priority));
                    asker.leases.push(lease);
                    asker.left -= 1;
                    self.given += 1;
                    left -= 1;
                }
                Err(why) => self.unfit.push((task, why)),
            }
        }
    }

    fn least_loaded(&self, capable: &[usize]) -> Option<usize> {
        let free = capable.iter().copied().filter(|n| self.askers[*n].left > 0);
        free.min_by(|a, b| {
            let (a, b) = (&self.askers[*a], &self.askers[*b]);
            let shares = (a.load() * u64::from(b.worker.slots)).cmp(&(b.load() * u64::from(a.worker.slots)));
            shares.then(a.load().cmp(&b.load())).then_with(|| a.worker.name.cmp(&b.worker.name))
        })
    }

    /// The lease of a task as its worker gets it.
    fn describe(&self, id: TaskId, token: u64, fresh: bool) -> Result<Lease, String> {
        let Some((intent, task)) = self.state.task(id) else { return Err("it is not there".to_owned()) };
        let Some(spec) = intent.spec(id.index) else { return Err("it is not in its plan".to_owned()) };
        let attempt = task.attempts + u16::from(fresh);
        let definition = &intent.pin.definition;
        let input = match &spec.fixed {
            Some(fixed) => fixed.clone(),
            None => match spec.input.copy("payload", &intent.payload) {
                Some(input) => input,
                None => Json::of(&self.input((id, token, attempt), intent, spec)?),
            },
        };
        if input.len() > limits::INPUT_BYTES {
            return Err(format!(
                "an input of {} bytes; at most {} are passed on",
                input.len(),
                limits::INPUT_BYTES
            ));
        }
        Ok(Lease {
            task: id,
            token,
            intent: id.intent,
            intent_type: Arc::clone(&definition.name),
            name: Arc::clone(&spec.name),
            kind: Arc::clone(&spec.needs.kind),
            input,
            actor: Arc::clone(&intent.actor),
            attempt,
            timeout_ms: spec.timeout_ms,
            origin: intent.origin.clone(),
        })
    }

    /// A task's input, from what the intent and the tasks before it say.
    fn input(
        &self,
        (id, token, attempt): (TaskId, u64, u16),
        intent: &Intent,
        spec: &TaskSpec,
    ) -> Result<Value, String> {
        let definition = &intent.pin.definition;
        // Most inputs look at the payload alone.
        let about = || {
            json!({"id": id.intent, "type": definition.name, "actor": intent.actor, "key": intent.key,
                "priority": intent.priority})
        };
        let this = || json!({"id": id, "name": spec.name, "attempt": attempt, "token": token});
        let outputs = || {
            let ended = intent.tasks.iter().zip(&definition.tasks).filter_map(|(task, spec)| {
                let Stage::Succeeded(_) = task.stage else { return None };
                let output = task.output.as_ref().and_then(|output| output.value().ok());
                Some((spec.name.to_string(), output.unwrap_or(Value::Null)))
            });
            Value::Object(ended.collect::<Map<_, _>>())
        };
        // What the input does not look at is not made.
        let wanted = |name: &str, value: &dyn Fn() -> Value| spec.input.uses(name).then(value);
        let payload = spec.input.uses("payload").then(|| intent.payload.value());
        let payload = payload.transpose().map_err(|why| why.to_string())?;
        let (about, this, tasks) =
            (wanted("intent", &about), wanted("task", &this), wanted("tasks", &outputs));
        let named = [("payload", &payload), ("intent", &about), ("task", &this), ("tasks", &tasks)];
        let scope = named.into_iter().fold(Scope::new(), |scope, (name, value)| match value {
            Some(value) => scope.with(name, value),
            None => scope,
        });
        definition.input(spec, &scope).map_err(|why| why.to_string())
    }

    fn decision(mut self, asks: &[Ask]) -> Decision<super::Htm> {
        let mut grants = Vec::with_capacity(asks.len());
        let mut events = Vec::new();
        for (task, why) in &self.unfit {
            let reason = format!("its input cannot be made: {why}");
            let what = What::TaskFailed { task: *task, token: 0, reason: reason.clone(), next: Next::Dead };
            let why = Why::because("input.not_evaluated", reason);
            events.push(recorded(self.at, what, task.to_string(), "input mapping", why));
        }
        let mut to = Vec::new();
        for (ask, answer) in asks.iter().zip(&self.answers) {
            let (tasks, refused) = match answer {
                Answer::Again(leases) => (leases.clone(), None),
                Answer::Refused(why) => (Vec::new(), Some(why.clone())),
                Answer::Asker(n) => {
                    let asker = &mut self.askers[*n];
                    if !asker.given.is_empty() {
                        to.push(Dispatch {
                            worker: asker.number,
                            name: asker.worker.name.to_string(),
                            tasks: asker.given.iter().map(|(granted, _)| *granted).collect(),
                            request: ask.request.clone(),
                        });
                    }
                    (std::mem::take(&mut asker.leases), None)
                }
            };
            grants.push(Grants { worker: ask.worker.clone(), tasks, refused });
        }
        if let Some(first) = to.first() {
            let place = if to.len() == 1 { first.name.clone() } else { "htm".to_owned() };
            let what = What::Dispatched { to, fairness: self.fairness };
            let how = "least loaded worker; weighted shares by priority, in each by score and age";
            events.push(recorded(self.at, what, place, how, self.because()));
        }
        let reply = Decision::reply(Reply::Leased { grants, wake_ms: self.wake });
        events.into_iter().fold(reply, Decision::record)
    }

    /// Why the workers were given what they were given.
    fn because(&self) -> Why {
        let why =
            Why::because("dispatch.least_loaded", format!("loads of those that asked: {}", self.loads()));
        let served: Vec<&Asker<'_>> = self.askers.iter().filter(|asker| !asker.given.is_empty()).collect();
        let mut text = String::from("tasks by share of their priority: ");
        for (n, asker) in served.iter().take(8).enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            if served.len() > 1 {
                let _ = write!(text, "{comma}{}", asker.worker.name);
            }
            for priority in Priority::ALL {
                let count = asker.given.iter().filter(|(_, given)| *given == priority).count();
                if count > 0 {
                    let space = if text.ends_with(' ') { "" } else { " " };
                    let _ = write!(text, "{space}{count} {}", priority.word());
                }
            }
        }
        if served.len() > 8 {
            let _ = write!(text, " and {} more", served.len() - 8);
        }
        why.and("dispatch.turn", text)
    }

    /// The candidates' loads before anything is given out.
    fn loads(&self) -> String {
        let mut text = String::new();
        for asker in self.askers.iter().take(8) {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{} {}/{}", asker.worker.name, asker.had, asker.worker.slots);
        }
        if self.askers.len() > 8 {
            let _ = write!(text, " and {} more", self.askers.len() - 8);
        }
        text
    }
}

impl Worker {
    pub(super) fn can_run(&self, needs: &crate::intent::Needs) -> bool {
        self.kinds.contains(&needs.kind) && needs.labels.is_subset(&self.labels)
    }
}
