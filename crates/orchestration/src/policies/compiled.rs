//! A policy, checked and compiled.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::policy::{Policy, Then};
use crate::{
    delivery::action::{Action, Fault, Plan, Work},
    expression::{EVENT_NAMES, Expression, Scope, Template},
    limits,
    pattern::Pattern,
};

/// See the module's page.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    pub(super) patterns: Vec<Pattern>,
    pub(super) by: Option<Expression>,
    pub(super) when: Option<Expression>,
    pub(super) then: Vec<Consequence>,
}

/// What follows, compiled.
#[derive(Debug, Clone)]
pub(super) enum Consequence {
    Work(Plan),
    Note(Template),
}

/// What a policy makes of an event, for a dry run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Its name.
    pub policy: String,
    /// What comes of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What comes of an event in one policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It fires.
    Fires {
        /// What is done.
        works: Vec<Work>,
        /// What is remarked.
        notes: Vec<String>,
    },
    /// It would fire, and what follows cannot be rendered: a dead letter.
    Fails {
        /// Why.
        reason: String,
    },
    /// It takes no part.
    Disabled,
    /// The event's type is none of its types.
    OtherType,
    /// A policy before it keeps the event.
    KeptBy {
        /// Which.
        policy: String,
    },
    /// The condition is false.
    ConditionFalse,
    /// The condition, or the window's `by`, cannot be evaluated.
    ConditionFails {
        /// Why.
        reason: String,
    },
    /// Its chain would be stopped.
    Stopped {
        /// Why.
        reason: String,
    },
    /// It rests, since its chain was stopped before.
    Rests {
        /// Why.
        reason: String,
    },
}

impl Compiled {
    /// Checks and compiles a policy.
    pub(super) fn of(policy: &Policy) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut known = EVENT_NAMES.to_vec();
        if policy.window.is_some() {
            known.push("count");
        }
        let patterns = patterns(policy, &mut faults);
        let mut expression = |text: Option<&str>, path: &[&str], known: &[&str]| {
            let compiled = Expression::compile(text?, known);
            compiled
                .map_err(|bad| {
                    let help = match bad.message.as_str() {
                        "there is no `count` here" => Some("give the policy a `window`".to_owned()),
                        _ => bad.help,
                    };
                    faults.push(Fault { help, ..Fault::new(path, bad.message) });
                })
                .ok()
        };
        let when = expression(policy.when.as_deref(), &["when"], &known);
        let by = policy.window.as_ref().and_then(|window| window.by.as_deref());
        let by = expression(by, &["window", "by"], &EVENT_NAMES);
        let count = policy.then.len();
        if count == 0 || count > limits::POLICY_ACTIONS {
            let message = format!("say 1 to {} things that follow, found {count}", limits::POLICY_ACTIONS);
            faults.push(Fault::new(&["then"], message));
        }
        if policy.window.as_ref().is_some_and(|window| window.within.millis() == 0) {
            faults.push(Fault::new(&["window", "within"], "at least 1ms"));
        }
        if let Some((key, message)) = policy.delivery.fault() {
            faults.push(Fault::new(&["delivery", key], message));
        }
        let then = policy.then.iter().take(limits::POLICY_ACTIONS).enumerate();
        let then = then.filter_map(|(at, one)| consequence(one, at, &known, &mut faults)).collect();
        if faults.is_empty() { Ok(Self { patterns, by, when, then }) } else { Err(faults) }
    }

    /// Whether anything but remarks follows.
    pub(super) fn acts(&self) -> bool {
        self.then.iter().any(|one| matches!(one, Consequence::Work(_)))
    }

    /// The group that an event is counted in.
    pub(super) fn group(&self, scope: &Scope<'_>) -> Result<String, String> {
        let Some(by) = &self.by else { return Ok(String::new()) };
        let text = match by.evaluate(scope).map_err(|why| format!("by: {why}"))? {
            Value::String(text) => text,
            other => other.to_string(),
        };
        if text.len() > limits::WINDOW_GROUP_BYTES {
            return Err(format!("by: it gives a text of more than {} bytes", limits::WINDOW_GROUP_BYTES));
        }
        Ok(text)
    }

    /// Whether the condition holds.
    pub(super) fn holds(&self, scope: &Scope<'_>) -> Result<bool, String> {
        self.when.as_ref().map_or(Ok(true), |when| when.holds(scope).map_err(|why| why.0))
    }

    /// What follows.
    pub(super) fn render(&self, scope: &Scope<'_>) -> Result<(Vec<Work>, Vec<String>), String> {
        let (mut works, mut notes) = (Vec::new(), Vec::new());
        for (at, one) in self.then.iter().enumerate() {
            let failed = |why: crate::expression::Failed| format!("then.{at}: {why}");
            match one {
                Consequence::Work(plan) => works.push(plan.render(scope).map_err(failed)?),
                Consequence::Note(note) => match note.evaluate(scope).map_err(failed)? {
                    Value::String(text) => notes.push(crate::expression::short(&text)),
                    other => notes.push(crate::expression::short(&other.to_string())),
                },
            }
        }
        Ok((works, notes))
    }
}

fn patterns(policy: &Policy, faults: &mut Vec<Fault>) -> Vec<Pattern> {
    let count = policy.types.len();
    if count == 0 || count > limits::PATTERNS {
        faults.push(Fault::new(&["match"], format!("name 1 to {} types, found {count}", limits::PATTERNS)));
    }
    let mut patterns = Vec::new();
    for (at, text) in policy.types.iter().enumerate().take(limits::PATTERNS) {
        match Pattern::parse(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(message) => faults.push(Fault::new(&["match", &at.to_string()], message)),
        }
    }
    patterns
}

fn consequence(one: &Then, at: usize, known: &[&str], faults: &mut Vec<Fault>) -> Option<Consequence> {
    let at = at.to_string();
    let plan = match one {
        Then::Annotate(text) => {
            return match Template::compile(text, known) {
                Ok(note) => Some(Consequence::Note(note)),
                Err(bad) => {
                    faults.push(Fault {
                        help: bad.help,
                        ..Fault::new(&["then", &at, "annotate"], bad.message)
                    });
                    None
                }
            };
        }
        Then::Emit(publish) => Plan::compile(&Action::Publish(publish.clone()), known),
        Then::Submit(submit) => Plan::compile(&Action::Submit(submit.clone()), known),
    };
    let inside = |mut fault: Fault| {
        if fault.path.first().is_some_and(|step| step == "publish") {
            "emit".clone_into(&mut fault.path[0]);
        }
        fault.path.splice(0..0, ["then".to_owned(), at.clone()]);
        fault
    };
    match plan {
        Ok(plan) => Some(Consequence::Work(plan)),
        Err(more) => {
            faults.extend(more.into_iter().map(inside));
            None
        }
    }
}
