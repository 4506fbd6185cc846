//! An intent type as users write it, in YAML and in JSON alike. `compile` checks what is more than shape.
//!
//! Texts may hold `${ CEL }`. Durations and sizes stay texts (`30s`, `64KiB`).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Priority;

/// What may be asked for: a payload, and the tasks that it takes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping with `plan`")]
pub struct IntentType {
    /// What it is for, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of the payload; anything when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// The tasks: one `task`, or a `sequence` or `parallel` of plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// Priority of intents that give none; `normal` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// How long an intent may take before it counts as late, such as `5m`. It goes on all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// How many tasks of this type may run at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// How often tasks of this type may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// How many tasks may run at a time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a mapping such as `{most: 10}` or `{key: \"${payload.user}\", per_key: 1}`"
)]
pub struct Concurrency {
    /// Of the type as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<u32>,
    /// What intents have to share to share a cap, such as `${payload.customer}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of intents with the same key; 1 when `key` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_key: Option<u32>,
}

/// How often tasks may start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping such as `{count: 100, per: 1s}`")]
pub struct Rate {
    /// Starts in each `per`.
    pub count: u32,
    /// Such as `1s`.
    pub per: String,
    /// Starts at once after a pause; `count` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

/// A part of a plan; exactly one of the three.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping with `task`, `sequence` or `parallel`")]
pub struct Plan {
    /// One task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// One after the other: each begins when the one before has succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Vec<Plan>>,
    /// All at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<Vec<Plan>>,
}

/// One task: what is done, by whom, and what if it fails.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping with `kind`")]
pub struct Task {
    /// Unique in its plan; other tasks refer to it in `after` and in `${ tasks.NAME }`. `task_1` and so on when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `exec`, `http`, `wait`, `publish`, or a kind that workers of your own offer.
    pub kind: String,
    /// Tasks of the same plan that must have succeeded before, by name, beside those that come before it in a sequence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// Labels that a worker must have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// How long one attempt may take, such as `30s`; `1m` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// What happens when an attempt fails; one attempt when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// The task that takes this one's effect back, run if this one succeeded and the intent fails or is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compensation: Option<Box<Task>>,
    /// Of this task, where it is not the intent's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// `exec`: the program and its arguments. No shell is involved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// `exec`: variables that are set for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<BTreeMap<String, String>>,
    /// `exec`: where it starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// `exec`: what it may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// `http`: `GET`, `POST`, and so on; `GET` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// `http`: where to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `http`: headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
    /// `http`: the body; a text is sent as it is, anything else as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// `http`: which answers are a success; any status from 200 to 299 when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    /// `wait`: how long, such as `10s`.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// `publish`: the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// `publish`: the message; a text is sent as it is, anything else as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Value>,
    /// A kind of your own: what the worker is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
}

/// What happens when an attempt fails.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping such as `{attempts: 5, backoff: 1s}`")]
pub struct Retry {
    /// Attempts in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u16>,
    /// Wait before the second attempt; `1s` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<String>,
    /// Each further wait is longer by this; 2 when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// No wait is longer; `5m` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_backoff: Option<String>,
    /// Share of a wait that is left to chance, 0 to 1, so that what failed together is not tried together; 0.2 when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<f64>,
}

/// What a program may use.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping such as `{memory: 512MiB}`")]
pub struct Limits {
    /// Address space, such as `512MiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Processor time, such as `30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Open file descriptors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// Output that is kept, such as `64KiB`; the rest is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// Which answers of an HTTP server are a success.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping such as `{status: [200, 204]}`")]
pub struct Expect {
    /// Any of these statuses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<u16>,
    /// A text that the body contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_contains: Option<String>,
}

impl IntentType {
    /// The subjects that its plan publishes on, as patterns: from the first word with an expression on, anything.
    #[must_use]
    pub fn published(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(plan) = &self.plan {
            plan.published(0, &mut found);
        }
        found
    }
}

impl Plan {
    fn published(&self, depth: usize, found: &mut Vec<String>) {
        if depth > crate::limits::PLAN_DEPTH {
            return;
        }
        let mut task = self.task.as_ref();
        while let Some(one) = task {
            if let (Some(subject), "publish") = (&one.subject, one.kind.as_str()) {
                found.push(pattern(subject));
            }
            task = one.compensation.as_deref();
        }
        for part in self.sequence.iter().chain(&self.parallel).flatten() {
            part.published(depth + 1, found);
        }
    }
}

fn pattern(subject: &str) -> String {
    let Some((fixed, _)) = subject.split_once("${") else { return subject.to_owned() };
    let words = fixed.rsplit_once('.').map_or("", |(words, _)| words);
    if words.is_empty() { ">".to_owned() } else { format!("{words}.>") }
}
