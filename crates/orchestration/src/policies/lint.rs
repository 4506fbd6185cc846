//! What is suspicious about policies that can be used all the same.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    compiled::{Compiled, Consequence},
    policy::Policy,
};
use crate::{
    expression::Scope,
    pattern::{Index, Pattern},
};

/// One thing that is suspicious.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The policy.
    pub policy: String,
    /// `invalid`, `disabled`, `never`, `always`, `shadowed`, `repeated`, `unused_window` or `loop`.
    pub code: String,
    /// In a sentence.
    pub message: String,
}

impl Finding {
    /// Whether something will not do what it says, rather than may not have been meant.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self.code.as_str(), "invalid" | "never" | "shadowed" | "loop")
    }
}

/// Looks through policies, of all files together.
#[must_use]
pub fn lint(policies: &BTreeMap<String, Policy>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut compiled = BTreeMap::new();
    for (name, policy) in policies {
        match Compiled::of(policy) {
            Ok(made) => {
                alone(name, policy, &made, &mut findings);
                if policy.enabled {
                    compiled.insert(name.as_str(), (policy, made));
                }
            }
            Err(faults) => {
                let add =
                    |fault: &crate::delivery::action::Fault| finding(name, "invalid", fault.to_string());
                findings.extend(faults.iter().map(add));
            }
        }
    }
    pairs(&compiled, &mut findings);
    loops(&compiled, &mut findings);
    findings
}

fn finding(policy: &str, code: &str, message: impl Into<String>) -> Finding {
    Finding { policy: policy.to_owned(), code: code.to_owned(), message: message.into() }
}

fn alone(name: &str, policy: &Policy, compiled: &Compiled, findings: &mut Vec<Finding>) {
    if !policy.enabled {
        findings.push(finding(name, "disabled", "it is not enabled"));
    }
    if let Some(when) = &compiled.when {
        if when.paths().is_empty() {
            findings.push(match when.holds(&Scope::new()) {
                Ok(true) => finding(name, "always", "`when` is true whatever happens"),
                _ => finding(name, "never", "`when` is never true"),
            });
        }
        if policy.window.is_some() && !when.paths().iter().any(|path| path[0] == "count") {
            findings.push(finding(
                name,
                "unused_window",
                "it has a window, and `when` does not ask for `count`",
            ));
        }
    } else if policy.window.is_some() {
        findings.push(finding(name, "unused_window", "it has a window, and no `when` that asks for `count`"));
    }
}

type All<'p> = BTreeMap<&'p str, (&'p Policy, Compiled)>;

fn pairs(all: &All<'_>, findings: &mut Vec<Finding>) {
    for (name, (policy, compiled)) in all {
        for (other, (before, keeps)) in all {
            if name == other {
                continue;
            }
            let comes_first = (-i64::from(before.priority), *other) < (-i64::from(policy.priority), *name);
            if !comes_first {
                continue;
            }
            if before.last && before.when.is_none() && covers(&keeps.patterns, &compiled.patterns) {
                let message = format!("it never sees an event: `{other}` comes first and keeps them all");
                findings.push(finding(name, "shadowed", message));
            } else if before.types == policy.types && before.when == policy.when && before.then == policy.then
            {
                findings.push(finding(name, "repeated", format!("it says the same as `{other}`")));
            }
        }
    }
}

/// Whether whatever one of `narrow` matches is matched by one of `wide` too.
fn covers(wide: &[Pattern], narrow: &[Pattern]) -> bool {
    narrow.iter().all(|one| wide.iter().any(|other| other.covers(one)))
}

/// Loops that the types alone show: what a policy publishes matches the next one, and so on, back to the first.
fn loops(all: &All<'_>, findings: &mut Vec<Finding>) {
    let mut index = Index::default();
    for (name, (_, compiled)) in all {
        compiled.patterns.iter().for_each(|pattern| index.insert(pattern, *name));
    }
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, (_, compiled)) in all {
        for one in &compiled.then {
            if let Consequence::Work(plan) = one
                && let Some(kind) = plan.publishes()
            {
                next.entry(name).or_default().extend(index.matching(kind));
            }
        }
    }
    let mut told = BTreeSet::new();
    for name in all.keys() {
        if told.contains(name) {
            continue;
        }
        if let Some(path) = way_back(name, &next) {
            told.extend(path.iter().copied());
            let shown = path.join(" → ");
            let message = format!("a loop that only its conditions can end: {shown} → {name}");
            findings.push(finding(name, "loop", message));
        }
    }
}

/// The shortest way from a policy back to itself.
fn way_back<'p>(start: &'p str, next: &BTreeMap<&'p str, BTreeSet<&'p str>>) -> Option<Vec<&'p str>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut front = std::collections::VecDeque::from([start]);
    while let Some(at) = front.pop_front() {
        for to in next.get(at).into_iter().flatten() {
            if *to == start {
                let before = std::iter::successors(Some(at), |one| came_from.get(one).copied());
                let mut path: Vec<&str> = before.collect();
                path.reverse();
                return Some(path);
            }
            if !came_from.contains_key(to) {
                came_from.insert(to, at);
                front.push_back(to);
            }
        }
    }
    None
}
