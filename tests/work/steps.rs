//! The task manager killed after every step of a tree: a sequence with parallel parts, a retry, and what undoes it. The worker is the
//! test itself, so that each step is taken when it says so; every step is asked for again of the next process, and counts once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    bench::until_state,
    instance::{Instance, holds, kill, until},
    kills::done,
    line::Line,
};

const MANIFEST: &str = r"bus: {port: 0}
workers: 1
intents:
  tree:
    plan:
      sequence:
        - task: {name: a, kind: own, compensation: {kind: own}}
        - parallel:
            - task: {name: b, kind: own, retry: {attempts: 2, backoff: 200ms}, compensation: {kind: own}}
            - task: {name: c, kind: own}
        - task: {name: d, kind: own, retry: {attempts: 1}}
";

const WORKER: &str = "test";

/// When an answer is lost, the task manager was killed this soon after it was asked: with the step on record, or not.
const LOST: Duration = Duration::from_millis(3);

/// Kills of one boot.
const KILLS: u64 = 4;

/// What steps are taken by, and what came of them.
struct Steps {
    instance: Instance,
    line: Line,
    requests: u64,
    kills: u64,
    /// The task manager is killed before it is known what it answers.
    lossy: bool,
    /// The tokens that each task was given out under.
    tokens: BTreeMap<String, Vec<u64>>,
}

impl Steps {
    fn begin() -> Self {
        let instance = Instance::of("");
        instance.write_manifest(MANIFEST);
        instance.up();
        let line = Line::to(&instance);
        line.register(WORKER);
        Self { instance, line, requests: 0, kills: 0, lossy: false, tokens: BTreeMap::new() }
    }

    /// How many records of this kind there are.
    fn written(&self, kind: &str) -> usize {
        let records = self.instance.records_of("htm");
        records.iter().filter(|record| !what(record)[kind].is_null()).count()
    }

    fn kill(&mut self) {
        self.kills += 1;
        if self.kills.is_multiple_of(KILLS) {
            // Each kill in a row is waited out a little longer. Nor does a boot forget a step.
            self.instance.down();
            self.instance.up();
            self.line = Line::to(&self.instance);
        }
        let before = self.instance.ready("htm").pid;
        kill(before.unwrap(), Signal::KILL);
        self.instance.until_component("htm", "is back", |c| c.ready && c.pid != before);
    }

    /// Asks for a step, kills, and asks for the same again; what is answered first, where that was not lost, and then.
    fn step(&mut self, subject: &str, command: &Value) -> (Option<Value>, Value) {
        let answer = if self.lossy {
            self.line.ask_once(subject, command, LOST);
            None
        } else {
            Some(self.line.ask(subject, command))
        };
        self.kill();
        (answer, self.line.ask(subject, command))
    }

    /// A step that gets the same answer however often it is asked for.
    fn same(&mut self, subject: &str, command: &Value) -> Value {
        let (first, again) = self.step(subject, command);
        assert!(first.is_none_or(|first| first == again), "not the same answer: {command}: {again}");
        again
    }

    fn submit(&mut self) -> String {
        self.requests += 1;
        let intent = json!({"type": "tree", "actor": "ann", "key": self.requests.to_string()});
        let command = json!({"submit": {"intents": [intent]}});
        let before = self.written("submitted");
        let id = |answer: Value| {
            answer["done"]["submitted"]["results"][0]["decided"]["id"].as_str().unwrap().to_owned()
        };
        let submitted = id(self.line.ask("grace.cmd.cortex", &command));
        if !self.lossy {
            holds("it is on record", || self.written("submitted") > before);
        }
        self.kill();
        assert_eq!(id(self.line.ask("grace.cmd.cortex", &command)), submitted, "the same intent");
        submitted
    }

    /// Leases so many tasks that begin at once; their names and tokens.
    fn lease(&mut self, count: usize) -> Vec<(Value, u64)> {
        let subject = format!("grace.work.lease.{WORKER}");
        let grants = |answer: &Value| {
            let tasks = answer["done"]["leased"]["grants"][0]["tasks"].as_array();
            tasks.filter(|tasks| !tasks.is_empty()).cloned()
        };
        let tasks = until("tasks are given out", || {
            self.requests += 1;
            let ask = json!({"worker": WORKER, "max": count, "request": self.requests.to_string()});
            let command = json!({"lease": {"asks": [ask]}});
            if self.lossy {
                return grants(&self.same(&subject, &command));
            }
            let given = grants(&self.line.ask(&subject, &command))?;
            self.kill();
            assert_eq!(grants(&self.line.ask(&subject, &command)).as_ref(), Some(&given), "the same tasks");
            Some(given)
        });
        assert_eq!(tasks.len(), count, "{tasks:?}");
        let mut given = Vec::new();
        for task in tasks {
            let (name, token) = (task["task"].clone(), task["token"].as_u64().unwrap());
            self.tokens.entry(name.as_str().unwrap().to_owned()).or_default().push(token);
            given.push((name, token));
        }
        given
    }

    fn succeeds(&mut self, (task, token): &(Value, u64)) {
        let answer = answer(&json!({"task": task, "token": token, "output": "done"}));
        let answered = self.same(&format!("grace.work.answer.{WORKER}"), &answer);
        assert_eq!(verdict(&answered), "taken");
    }

    fn fails(&mut self, (task, token): &(Value, u64)) {
        let answer = answer(&json!({"task": task, "token": token, "failed": "no"}));
        let (first, again) = self.step(&format!("grace.work.answer.{WORKER}"), &answer);
        // With its failure the lease is over: said again, it is nobody's.
        assert!(first.is_none_or(|first| verdict(&first) == "taken"));
        assert!(verdict(&again) == "taken" || verdict(&again)["refused"].is_string(), "{again}");
    }

    /// What undoes what was done, last first.
    fn undone(&mut self, count: usize) {
        for _ in 0..count {
            let undo = self.lease(1).remove(0);
            self.succeeds(&undo);
        }
    }
}

fn answer(one: &Value) -> Value {
    json!({"answer": {"worker": WORKER, "answers": [one]}})
}

fn verdict(answered: &Value) -> &Value {
    &answered["done"]["answered"]["verdicts"][0]
}

/// What a record of the task manager says.
fn what(record: &Value) -> &Value {
    &record["event"]["record"]["event"]["what"]
}

/// The kinds of record after which a process was killed, as the journal tells: what stands before each new process's first word.
fn killed_after(instance: &Instance) -> BTreeSet<String> {
    let mut last = None;
    let mut kinds = BTreeSet::new();
    for record in instance.records_of("htm") {
        let Some(kind) = what(&record).as_object().and_then(|what| what.keys().next()) else { continue };
        match kind.as_str() {
            "configured" => kinds.extend(last.take()),
            "types_defined" | "worker_joined" | "worker_seen" | "worker_gone" | "backlog_changed" => {}
            kind => last = Some(kind.to_owned()),
        }
    }
    kinds
}

#[test]
fn every_step_of_a_tree_counts_once_whenever_the_task_manager_is_killed() {
    let mut steps = Steps::begin();
    let mut undone = Vec::new();
    for lossy in [false, true] {
        steps.lossy = lossy;
        undone.push(steps.submit());
        let a = steps.lease(1).remove(0);
        if !lossy {
            let extend = json!({"extend": {"worker": WORKER, "tasks": [{"task": a.0, "token": a.1}]}});
            steps.same(&format!("grace.work.beat.{WORKER}"), &extend);
        }
        steps.succeeds(&a);
        let both = steps.lease(2);
        steps.succeeds(&both[1]);
        let (over, before) = (&both[0], steps.written("delays_over"));
        // Said once: what is refused would be on record as well.
        let failed = answer(&json!({"task": over.0, "token": over.1, "failed": "no"}));
        assert_eq!(verdict(&steps.line.ask(&format!("grace.work.answer.{WORKER}"), &failed)), "taken");
        steps.kill();
        holds("its back-off is over", || steps.written("delays_over") > before);
        steps.kill();
        let b = steps.lease(1).remove(0);
        assert!(b.0 == over.0 && b.1 > over.1, "another attempt has a greater token: {b:?} after {over:?}");
        let late = answer(&json!({"task": over.0, "token": over.1, "output": "late"}));
        let late = steps.same(&format!("grace.work.answer.{WORKER}"), &late);
        assert!(verdict(&late)["refused"].as_str().is_some_and(|why| why.contains("stale")), "{late}");
        steps.succeeds(&b);
        let d = steps.lease(1).remove(0);
        steps.fails(&d);
        steps.undone(2);
    }
    for id in &undone {
        until_state(&steps.instance, id, "failed");
    }

    // One that is cancelled is undone as well.
    steps.lossy = false;
    let cancelled = steps.submit();
    let a = steps.lease(1).remove(0);
    steps.succeeds(&a);
    let cancel = json!({"cancel": {"intent": cancelled, "reason": "not wanted"}});
    steps.line.ask("grace.cmd.htm", &cancel);
    steps.kill();
    let undo = steps.lease(1).remove(0);
    steps.line.answer(WORKER, &undo.0, undo.1, "undone");
    until_state(&steps.instance, &cancelled, "cancelled");

    steps.instance.all_ready();
    steps.instance.down();
    let kinds = killed_after(&steps.instance);
    for kind in [
        "submitted",
        "dispatched",
        "leases_extended",
        "tasks_done",
        "task_failed",
        "delays_over",
        "answers_refused",
        "intent_cancelled",
    ] {
        assert!(kinds.contains(kind), "it was killed after `{kind}`: {kinds:?}");
    }
    let done = done(&steps.instance);
    // Of each tree: a, b, c and the two that undo a and b; of the cancelled one: a, and what undoes it.
    assert_eq!(done.len(), 2 * 5 + 2, "{done:?}");
    for (task, under) in &done {
        let given = &steps.tokens[task];
        assert!(given.is_sorted_by(|one, next| one < next), "{task}: {given:?}");
        assert_eq!(under.as_slice(), &given[given.len() - 1..], "{task} counts once, under its last token");
    }
}
