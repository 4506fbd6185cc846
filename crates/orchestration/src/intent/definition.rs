//! A compiled intent type: what the task manager works with.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use grace_types::intent::Refused;
use serde_json::Value;

use super::{Fault, IntentType, Json, Priority, Schema, Violation, compile};
use crate::{
    expression::{Failed, Mapping, Scope, Template},
    limits,
};

/// The types of a manifest.
#[derive(Debug)]
pub struct Definitions(BTreeMap<String, Definition>);

impl Definitions {
    /// Compiles them. One that does not compile is left out: the manifest was checked when it was taken.
    #[must_use]
    pub fn new(types: BTreeMap<String, IntentType>) -> Self {
        let compiled = types
            .into_iter()
            .filter_map(|(name, source)| Definition::compile(&name, source).ok().map(|one| (name, one)));
        Self(compiled.collect())
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The type of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Definition> {
        self.0.get(name)
    }
}

/// A compiled intent type.
#[derive(Debug)]
pub struct Definition {
    /// The type's name.
    pub name: Arc<str>,
    /// As it is written.
    pub source: IntentType,
    /// What payloads must look like.
    pub schema: Option<Schema>,
    /// The plan's tasks, and after them the compensations.
    pub tasks: Vec<TaskSpec>,
    /// How many of `tasks` the plan consists of; the rest compensates.
    pub forward: usize,
    /// Of intents that give none.
    pub priority: Priority,
    /// How long an intent may take before it counts as late, milliseconds.
    pub deadline_ms: Option<u64>,
    /// How many tasks may run at a time.
    pub caps: Caps,
    /// How often tasks may start.
    pub rate: Option<RateLimit>,
}

/// How many tasks may run at a time.
#[derive(Debug, Default)]
pub struct Caps {
    /// Of the type.
    pub most: Option<u32>,
    /// Of intents with the same key, and what gives the key.
    pub per_key: Option<(u32, Template)>,
}

/// How often tasks may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Nanoseconds between two starts.
    pub interval_ns: u64,
    /// Starts at once after a pause.
    pub burst: u32,
}

/// What a worker must offer for a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Needs {
    /// The kind of task.
    pub kind: Arc<str>,
    /// Every one of these labels.
    pub labels: BTreeSet<Arc<str>>,
}

/// One task of a plan.
#[derive(Debug)]
pub struct TaskSpec {
    /// Unique in its plan.
    pub name: Arc<str>,
    /// Who can run it.
    pub needs: Needs,
    /// What the worker is given.
    pub input: Mapping,
    /// The same where no expression is in it.
    pub fixed: Option<Json>,
    /// How long one attempt may take, milliseconds.
    pub timeout_ms: u64,
    /// When a failed attempt is followed by another.
    pub backoff: Backoff,
    /// Where it is not the intent's.
    pub priority: Option<Priority>,
    /// How many tasks must have succeeded before.
    pub missing: u16,
    /// Tasks that wait for this one.
    pub before: Vec<u16>,
    /// The task that takes its effect back.
    pub compensation: Option<u16>,
}

/// When a failed attempt is followed by another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Attempts in all.
    pub attempts: u16,
    /// Wait before the second.
    pub first_ms: u64,
    /// Each further wait is longer by this.
    pub factor: f64,
    /// No wait is longer.
    pub longest_ms: u64,
    /// Share of a wait that is left to chance, 0 to 1.
    pub jitter: f64,
}

impl Backoff {
    /// The wait after attempt `attempt` (counted from 1) failed, milliseconds. `chance` is a fresh random number.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "bounded by `longest_ms`"
    )]
    pub fn wait_ms(&self, attempt: u16, chance: u64) -> u64 {
        let exponent = i32::from(attempt.saturating_sub(1));
        let wait = (self.first_ms as f64 * self.factor.powi(exponent)).min(self.longest_ms as f64);
        let unit = (chance >> 11) as f64 / (1u64 << 53) as f64;
        (wait * (1.0 - self.jitter * unit)).round() as u64
    }
}

impl Definition {
    /// Compiles a type.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(name: &str, source: IntentType) -> Result<Self, Vec<Fault>> {
        compile::definition(name, source)
    }

    /// Everything that is wrong with a payload of this type.
    #[must_use]
    pub fn check(&self, payload: &Value) -> Vec<Violation> {
        self.schema.as_ref().map(|schema| schema.check(payload)).unwrap_or_default()
    }

    /// Whether an intent of this type with this payload may be taken, whatever else there is to do; with what it shares a cap with.
    ///
    /// # Errors
    /// Everything that is wrong with the payload, or the first span that is too long.
    pub fn fits(
        &self,
        payload: &Value,
        deadline_ms: Option<u64>,
        delay_ms: Option<u64>,
    ) -> Result<Option<String>, Refused> {
        let violations = self.check(payload);
        if let Some(first) = violations.first() {
            let more = match violations.len() {
                1 => String::new(),
                n => format!(", and {} more", n - 1),
            };
            let message = format!("the payload does not fit `{}`: {first}{more}", self.name);
            return Err(Refused { code: "invalid".to_owned(), message, violations });
        }
        for (what, span) in [("deadline_ms", deadline_ms), ("delay_ms", delay_ms)] {
            if span.is_some_and(|span| span > limits::LONGEST_MS) {
                return Err(Refused::new(
                    "bad_request",
                    format!("`{what}` is at most {}", limits::LONGEST_MS),
                ));
            }
        }
        self.concurrency_key(payload)
            .map_err(|why| Refused::new("invalid", format!("the concurrency key of `{}`: {why}", self.name)))
    }

    /// What the intent shares a cap with, if its type has such caps.
    ///
    /// # Errors
    /// The key cannot be evaluated, or is no text or number of a usable length.
    pub fn concurrency_key(&self, payload: &Value) -> Result<Option<String>, Failed> {
        let Some((_, template)) = &self.caps.per_key else { return Ok(None) };
        let key = match template.evaluate(&Scope::new().with("payload", payload))? {
            Value::String(text) => text,
            value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
            _ => return Err(Failed("the concurrency key is neither a text nor a number".to_owned())),
        };
        if key.is_empty() || key.len() > limits::KEY_BYTES {
            let most = limits::KEY_BYTES;
            return Err(Failed(format!(
                "a concurrency key has 1 to {most} bytes; this one has {}",
                key.len()
            )));
        }
        Ok(Some(key))
    }

    /// A task's input. `scope` has the names of [`Self::names`].
    ///
    /// # Errors
    /// An expression that cannot be evaluated, or an input that is too large.
    pub fn input(&self, task: &TaskSpec, scope: &Scope<'_>) -> Result<Value, Failed> {
        task.input.render(scope)
    }

    /// The task of this name.
    #[must_use]
    pub fn task(&self, index: u16) -> Option<&TaskSpec> {
        self.tasks.get(usize::from(index))
    }

    /// The names of tasks and their places.
    #[must_use]
    pub fn names(&self) -> BTreeMap<&str, usize> {
        self.tasks.iter().enumerate().map(|(n, task)| (&*task.name, n)).collect()
    }
}
