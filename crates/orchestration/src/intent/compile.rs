//! An intent type as it is written → a [`Definition`], with everything that is wrong with it.
//!
//! A plan's tree is spelled out into dependencies between tasks: in a sequence, the tasks that begin a part wait for those that end the
//! part before. `after` adds more; only it can close a cycle, which is found here and told with its way.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use grace_types::{
    manifest::units,
    yaml::{Path, Step, suggest},
};
use serde_json::{Map, Value, json};

use super::{
    Fault, Json,
    definition::{Backoff, Caps, Definition, Needs, RateLimit, TaskSpec},
    http,
    model::{Concurrency, IntentType, Limits, Plan, Rate, Retry, Task},
    schema::Schema,
};
use crate::{
    expression::{Mapping, Scope, Template},
    limits,
};

/// Names in the expressions of a task's input.
const NAMES: [&str; 11] = [
    "payload",
    "tasks",
    "intent.id",
    "intent.type",
    "intent.actor",
    "intent.key",
    "intent.priority",
    "task.id",
    "task.name",
    "task.attempt",
    "task.token",
];

/// What a task is given, by its kind: the keys that it may have.
const KINDS: [(&str, &[&str]); 4] = [
    ("exec", &["command", "environment", "working_dir", "limits"]),
    ("http", &["method", "url", "headers", "body", "expect"]),
    ("wait", &["for"]),
    ("publish", &["subject", "message"]),
];

pub(super) fn definition(name: &str, source: IntentType) -> Result<Definition, Vec<Fault>> {
    let mut compiler = Compiler::default();
    let root = Path::default();
    compiler.name("an intent type", name, &root);
    let size = serde_json::to_vec(&source).map_or(usize::MAX, |json| json.len());
    if size > limits::DEFINITION_BYTES {
        compiler
            .fault(&root, format!("a type of {size} bytes; at most {} are taken", limits::DEFINITION_BYTES));
        return Err(compiler.faults);
    }
    let schema = source
        .payload
        .as_ref()
        .map(|schema| Schema::compile(schema, &root.key("payload"), &mut compiler.faults));
    match &source.plan {
        Some(plan) => drop(compiler.plan(plan, &root.key("plan"), 0)),
        None => compiler.fault(&root, "`plan` is missing".to_owned()),
    }
    let deadline_ms = source
        .deadline
        .as_ref()
        .map(|text| compiler.span(text, &root.key("deadline"), 1..=limits::LONGEST_MS));
    let caps = compiler.caps(source.concurrency.as_ref(), &root.key("concurrency"));
    let rate = source.rate.as_ref().map(|rate| compiler.rate(rate, &root.key("rate")));
    compiler.after();
    compiler.cycles();
    let (tasks, forward) = compiler.finish();
    if !compiler.faults.is_empty() {
        return Err(compiler.faults);
    }
    let priority = source.priority.unwrap_or_default();
    Ok(Definition { name: name.into(), source, schema, tasks, forward, priority, deadline_ms, caps, rate })
}

/// Where a part of a plan begins and ends.
struct Part {
    first: Vec<u16>,
    last: Vec<u16>,
}

struct Planned {
    at: Path,
    spec: TaskSpec,
    named: bool,
    after: Vec<String>,
    /// Tasks that it waits for.
    needs: BTreeSet<u16>,
    compensation: Option<Box<(Path, TaskSpec)>>,
}

#[derive(Default)]
struct Compiler {
    faults: Vec<Fault>,
    tasks: Vec<Planned>,
    dependencies: usize,
    /// Said already that there are too many.
    full: bool,
}

impl Compiler {
    fn fault(&mut self, at: &Path, message: String) {
        self.fault_with_help(at, message, None);
    }

    fn fault_with_help(&mut self, at: &Path, message: String, help: Option<String>) {
        self.faults.push(Fault { path: at.clone(), at_key: false, message, help });
    }

    fn fault_at_key(&mut self, at: &Path, message: String, help: Option<String>) {
        self.faults.push(Fault { path: at.clone(), at_key: true, message, help });
    }

    fn name(&mut self, what: &str, name: &str, at: &Path) {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > limits::NAME_BYTES || !name.chars().all(allowed) {
            let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
            let most = limits::NAME_BYTES;
            let message =
                format!("the name of {what} has 1 to {most} of a-z, 0-9, `_` and `-`; this is `{shown}`");
            self.fault_at_key(at, message, None);
        }
    }

    /// A duration in milliseconds, within `range`.
    fn span(&mut self, text: &str, at: &Path, range: RangeInclusive<u64>) -> u64 {
        match units::duration(text).map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)) {
            Ok(ms) if range.contains(&ms) => ms,
            Ok(_) => {
                self.fault(
                    at,
                    format!("expected {} ms to {} ms, found `{text}`", range.start(), range.end()),
                );
                *range.start()
            }
            Err(wrong) => {
                self.fault_with_help(at, wrong.message, wrong.help);
                *range.start()
            }
        }
    }

    fn plan(&mut self, plan: &Plan, at: &Path, depth: usize) -> Part {
        let empty = Part { first: Vec::new(), last: Vec::new() };
        if depth > limits::PLAN_DEPTH {
            self.fault(at, format!("a plan is at most {} levels deep", limits::PLAN_DEPTH));
            return empty;
        }
        match (&plan.task, &plan.sequence, &plan.parallel) {
            (Some(task), None, None) => self.task(task, &at.key("task")),
            (None, Some(parts), None) => self.sequence(parts, &at.key("sequence"), depth),
            (None, None, Some(parts)) => {
                let at = at.key("parallel");
                self.some(parts, &at);
                let mut whole = empty;
                for (n, part) in parts.iter().enumerate() {
                    let part = self.plan(part, &at.index(n), depth + 1);
                    whole.first.extend(part.first);
                    whole.last.extend(part.last);
                }
                whole
            }
            _ => {
                self.fault(at, "expected exactly one of `task`, `sequence` and `parallel`".to_owned());
                empty
            }
        }
    }

    fn some(&mut self, parts: &[Plan], at: &Path) {
        if parts.is_empty() {
            self.fault(at, "expected at least one part".to_owned());
        }
    }

    fn sequence(&mut self, parts: &[Plan], at: &Path, depth: usize) -> Part {
        self.some(parts, at);
        let mut whole: Option<Part> = None;
        for (n, part) in parts.iter().enumerate() {
            let at = at.index(n);
            let next = self.plan(part, &at, depth + 1);
            if next.first.is_empty() {
                continue;
            }
            whole = Some(match whole {
                None => next,
                Some(before) => {
                    self.dependencies += before.last.len() * next.first.len();
                    if self.dependencies > limits::PLAN_DEPENDENCIES {
                        let most = limits::PLAN_DEPENDENCIES;
                        let help = Some("put one task between two large parallels".to_owned());
                        self.fault_with_help(&at, format!("more than {most} dependencies"), help);
                        return Part { first: Vec::new(), last: Vec::new() };
                    }
                    for task in &next.first {
                        self.tasks[usize::from(*task)].needs.extend(&before.last);
                    }
                    Part { first: before.first, last: next.last }
                }
            });
        }
        whole.unwrap_or(Part { first: Vec::new(), last: Vec::new() })
    }

    fn task(&mut self, task: &Task, at: &Path) -> Part {
        let taken: usize = self.tasks.iter().map(|task| 1 + usize::from(task.compensation.is_some())).sum();
        if taken + 2 > limits::PLAN_TASKS {
            if !self.full {
                self.full = true;
                let most = limits::PLAN_TASKS;
                self.fault(at, format!("a plan has at most {most} tasks, compensations included"));
            }
            return Part { first: Vec::new(), last: Vec::new() };
        }
        let number = self.tasks.len();
        let name = task.name.clone().unwrap_or_else(|| format!("task_{}", number + 1));
        let spec = self.spec(task, &name, at);
        let compensation = task.compensation.as_ref().map(|undo| {
            let at = at.key("compensation");
            if undo.compensation.is_some() {
                self.fault(&at.key("compensation"), "a compensation is not compensated itself".to_owned());
            }
            if !undo.after.is_empty() {
                let message = "compensations run in the reverse order of what they take back".to_owned();
                self.fault(&at.key("after"), message);
            }
            let name = undo.name.clone().unwrap_or_else(|| format!("undo_{name}"));
            Box::new((at.clone(), self.spec(undo, &name, &at)))
        });
        self.tasks.push(Planned {
            at: at.clone(),
            spec,
            named: task.name.is_some(),
            after: task.after.clone(),
            needs: BTreeSet::new(),
            compensation,
        });
        let index = u16::try_from(number).unwrap_or(u16::MAX);
        Part { first: vec![index], last: vec![index] }
    }

    fn spec(&mut self, task: &Task, name: &str, at: &Path) -> TaskSpec {
        if task.name.is_some() || !name.starts_with("undo_") {
            self.name("a task", name, &at.key("name"));
        }
        self.name("a kind of task", &task.kind, &at.key("kind"));
        if task.labels.len() > limits::OFFERS {
            self.fault(&at.key("labels"), format!("at most {} labels", limits::OFFERS));
        }
        for (n, label) in task.labels.iter().enumerate() {
            if label.is_empty() || label.len() > limits::NAME_BYTES {
                self.fault(
                    &at.key("labels").index(n),
                    format!("a label has 1 to {} bytes", limits::NAME_BYTES),
                );
            }
        }
        let timeout_ms = match &task.timeout {
            Some(text) => self.span(text, &at.key("timeout"), 1..=limits::LONGEST_MS),
            None => 60_000,
        };
        let input = self.input(task, at);
        TaskSpec {
            name: name.into(),
            needs: Needs {
                kind: task.kind.as_str().into(),
                labels: task.labels.iter().map(|label| label.as_str().into()).collect(),
            },
            fixed: is_fixed(&input)
                .then(|| input.render(&Scope::new()).ok().as_ref().map(Json::of))
                .flatten(),
            input,
            timeout_ms,
            backoff: self.retry(task.retry.as_ref(), &at.key("retry")),
            priority: task.priority,
            missing: 0,
            before: Vec::new(),
            compensation: None,
        }
    }

    /// The document that a worker is given, with its expressions.
    fn input(&mut self, task: &Task, at: &Path) -> Mapping {
        let given = given(task);
        let own = KINDS.iter().find(|(kind, _)| *kind == task.kind).map(|(_, keys)| *keys);
        for key in given.keys() {
            let fits = own.map_or(key == "input", |keys| keys.contains(&key.as_str()));
            if !fits {
                let help = own.map(|keys| format!("`{}` takes: {}", task.kind, keys.join(", ")));
                let message = format!("a task of kind `{}` has no `{key}`", task.kind);
                self.fault_at_key(
                    &at.key(key),
                    message,
                    help.or_else(|| Some("put it under `input`".to_owned())),
                );
            }
        }
        self.required(task, at);
        let document = match own {
            Some(_) => Value::Object(given),
            None => task.input.clone().unwrap_or_else(|| json!({})),
        };
        let base = if own.is_some() { at.clone() } else { at.key("input") };
        match Mapping::compile(&document, &NAMES) {
            Ok(mapping) => mapping,
            Err(bad) => {
                for wrong in bad {
                    let at = step_into(&base, &document, &wrong.path);
                    self.fault_with_help(&at, wrong.why.message, wrong.why.help);
                }
                Mapping::Value(Value::Null)
            }
        }
    }

    /// What each kind cannot do without.
    fn required(&mut self, task: &Task, at: &Path) {
        let missing = match task.kind.as_str() {
            "exec"
                if task
                    .command
                    .as_ref()
                    .is_none_or(|command| command.first().is_none_or(String::is_empty)) =>
            {
                "command"
            }
            "http" if task.url.is_none() => "url",
            "wait" if task.duration.is_none() => "for",
            "publish" if task.subject.is_none() => "subject",
            _ => "",
        };
        if !missing.is_empty() {
            self.fault(at, format!("a task of kind `{}` needs `{missing}`", task.kind));
        }
        // What holds an expression is checked by the worker, when it is known.
        let plain = |text: &&String| !text.contains("${");
        if let Some(text) = task.duration.as_ref().filter(plain) {
            self.span(text, &at.key("for"), 0..=limits::LONGEST_MS);
        }
        if let Some(Limits { memory, cpu, output, .. }) = &task.limits {
            let at = at.key("limits");
            if let Some(text) = cpu.as_ref().filter(plain) {
                self.span(text, &at.key("cpu"), 1..=limits::LONGEST_MS);
            }
            for (key, text) in [("memory", memory), ("output", output)] {
                let wrong = text.as_ref().filter(plain).and_then(|text| units::size(text).err());
                if let Some(wrong) = wrong {
                    self.fault_with_help(&at.key(key), wrong.message, wrong.help);
                }
            }
        }
        self.faults.extend(http::faults(task, at));
    }

    fn retry(&mut self, retry: Option<&Retry>, at: &Path) -> Backoff {
        let none = Retry::default();
        let Retry { attempts, backoff, factor, max_backoff, jitter } = retry.unwrap_or(&none);
        let default = if retry.is_some() { 3 } else { 1 };
        let attempts = attempts.unwrap_or(default);
        if !(1..=limits::ATTEMPTS).contains(&attempts) {
            self.fault(
                &at.key("attempts"),
                format!("expected 1 to {}, found `{attempts}`", limits::ATTEMPTS),
            );
        }
        let mut span = |key: &str, text: &Option<String>, default| {
            text.as_ref().map_or(default, |text| self.span(text, &at.key(key), 0..=limits::LONGEST_MS))
        };
        let first_ms = span("backoff", backoff, 1000);
        let longest_ms = span("max_backoff", max_backoff, 300_000.max(first_ms));
        let (factor, jitter) = (factor.unwrap_or(2.0), jitter.unwrap_or(0.2));
        if !(1.0..=100.0).contains(&factor) {
            self.fault(&at.key("factor"), format!("expected 1 to 100, found `{factor}`"));
        }
        if !(0.0..=1.0).contains(&jitter) {
            self.fault(&at.key("jitter"), format!("expected 0 to 1, found `{jitter}`"));
        }
        Backoff { attempts, first_ms, factor, longest_ms, jitter }
    }

    fn caps(&mut self, concurrency: Option<&Concurrency>, at: &Path) -> Caps {
        let Some(Concurrency { most, key, per_key }) = concurrency else { return Caps::default() };
        for (name, cap) in [("most", most), ("per_key", per_key)] {
            if *cap == Some(0) {
                self.fault_with_help(
                    &at.key(name),
                    "expected at least 1, found `0`".to_owned(),
                    Some("pause the type to hold all of it".to_owned()),
                );
            }
        }
        if key.is_none() && per_key.is_some() {
            self.fault(at, "`per_key` needs `key`".to_owned());
        }
        let per_key = key.as_ref().and_then(|text| match Template::compile(text, &["payload"]) {
            Ok(template) => Some((per_key.unwrap_or(1), template)),
            Err(bad) => {
                self.fault_with_help(&at.key("key"), bad.message, bad.help);
                None
            }
        });
        Caps { most: *most, per_key }
    }

    fn rate(&mut self, rate: &Rate, at: &Path) -> RateLimit {
        let per_ms = self.span(&rate.per, &at.key("per"), 1..=limits::LONGEST_MS);
        for (key, value) in [("count", Some(rate.count)), ("burst", rate.burst)] {
            if !(1..=1_000_000).contains(&value.unwrap_or(1)) {
                self.fault(&at.key(key), format!("expected 1 to 1000000, found `{}`", value.unwrap_or(0)));
            }
        }
        let interval_ns = (per_ms * 1_000_000 / u64::from(rate.count.max(1))).max(1);
        RateLimit { interval_ns, burst: rate.burst.unwrap_or(rate.count).max(1) }
    }

    /// Resolves `after`, and refuses names that are given twice.
    fn after(&mut self) {
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for n in 0..self.tasks.len() {
            let (name, at) = (self.tasks[n].spec.name.to_string(), self.tasks[n].at.clone());
            if names.insert(name.clone(), n).is_some() {
                let at = if self.tasks[n].named { at.key("name") } else { at };
                self.fault(&at, format!("another task of this plan is called `{name}` too"));
            }
        }
        for n in 0..self.tasks.len() {
            let (at, after) = (self.tasks[n].at.key("after"), self.tasks[n].after.clone());
            for (place, name) in after.iter().enumerate() {
                match names.get(name) {
                    Some(found) => {
                        let needed = u16::try_from(*found).unwrap_or(u16::MAX);
                        self.tasks[n].needs.insert(needed);
                    }
                    None => {
                        let help = suggest(name, names.keys().map(String::as_str));
                        let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
                        self.fault_with_help(
                            &at.index(place),
                            format!("there is no task `{shown}` in this plan"),
                            help,
                        );
                    }
                }
            }
        }
    }

    /// Tells of one cycle, with its way.
    fn cycles(&mut self) {
        let mut left: Vec<usize> = self.tasks.iter().map(|task| task.needs.len()).collect();
        let mut free: Vec<usize> = (0..left.len()).filter(|n| left[*n] == 0).collect();
        let mut done = 0;
        while let Some(next) = free.pop() {
            done += 1;
            for (n, task) in self.tasks.iter().enumerate() {
                if task.needs.contains(&u16::try_from(next).unwrap_or(u16::MAX)) {
                    left[n] -= 1;
                    if left[n] == 0 {
                        free.push(n);
                    }
                }
            }
        }
        if done == self.tasks.len() {
            return;
        }
        // Every task that is left waits for another one that is left: following them must come round.
        let stuck = |n: usize| self.tasks[n].needs.iter().map(|m| usize::from(*m)).find(|m| left[*m] > 0);
        let mut way: Vec<usize> = left.iter().position(|needs| *needs > 0).into_iter().collect();
        while let Some(next) = way.last().and_then(|n| stuck(*n)) {
            if let Some(start) = way.iter().position(|n| *n == next) {
                way.drain(..start);
                break;
            }
            way.push(next);
        }
        let Some(first) = way.first().copied() else { return };
        let names: Vec<String> =
            way.iter().chain([&first]).map(|n| format!("`{}`", self.tasks[*n].spec.name)).collect();
        let at = self.tasks[first].at.clone();
        let message = format!("a cycle: {}", names.join(" waits for "));
        let help =
            Some("take one of them out of `after`; parts of a sequence wait for the part before".to_owned());
        self.fault_with_help(&at, message, help);
    }

    /// The tasks with their dependencies turned round, and their compensations after them.
    fn finish(&mut self) -> (Vec<TaskSpec>, usize) {
        let planned = std::mem::take(&mut self.tasks);
        let forward = planned.len();
        let needs: Vec<BTreeSet<u16>> = planned.iter().map(|task| task.needs.clone()).collect();
        let (mut tasks, mut undos) = (Vec::with_capacity(forward), Vec::new());
        for task in planned {
            let mut spec = task.spec;
            spec.missing = u16::try_from(task.needs.len()).unwrap_or(u16::MAX);
            if let Some(undo) = task.compensation {
                spec.compensation = u16::try_from(forward + undos.len()).ok();
                undos.push(undo.1);
            }
            tasks.push(spec);
        }
        for (n, needs) in needs.iter().enumerate() {
            for needed in needs {
                if let (Some(spec), Ok(n)) = (tasks.get_mut(usize::from(*needed)), u16::try_from(n)) {
                    spec.before.push(n);
                }
            }
        }
        tasks.extend(undos);
        (tasks, forward)
    }
}

/// Whether no expression is in it.
fn is_fixed(mapping: &Mapping) -> bool {
    match mapping {
        Mapping::Value(_) => true,
        Mapping::Template(_) => false,
        Mapping::List(list) => list.iter().all(is_fixed),
        Mapping::Object(entries) => entries.iter().all(|(_, one)| is_fixed(one)),
    }
}

/// The keys of a task that belong to one kind or another, as they were given.
fn given(task: &Task) -> Map<String, Value> {
    let pairs = [
        ("command", task.command.as_ref().map(|v| json!(v))),
        ("environment", task.environment.as_ref().map(|v| json!(v))),
        ("working_dir", task.working_dir.as_ref().map(|v| json!(v))),
        ("limits", task.limits.as_ref().map(|v| json!(v))),
        ("method", task.method.as_ref().map(|v| json!(v))),
        ("url", task.url.as_ref().map(|v| json!(v))),
        ("headers", task.headers.as_ref().map(|v| json!(v))),
        ("body", task.body.clone()),
        ("expect", task.expect.as_ref().map(|v| json!(v))),
        ("for", task.duration.as_ref().map(|v| json!(v))),
        ("subject", task.subject.as_ref().map(|v| json!(v))),
        ("message", task.message.clone()),
        ("input", task.input.clone()),
    ];
    pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// The place that the keys and positions of `way` lead to.
fn step_into(base: &Path, document: &Value, way: &[String]) -> Path {
    let (mut path, mut value) = (base.clone(), Some(document));
    for step in way {
        let index = value.filter(|value| value.is_array()).and_then(|_| step.parse().ok());
        path.0.push(index.map_or_else(|| Step::Key(step.clone()), Step::Index));
        value = value.and_then(|value| index.map_or_else(|| value.get(step), |n| value.get(n)));
    }
    path
}
