//! Two sets of policies and charters compared: what is written differently, and what that means over the whole permission matrix.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::matrix::{Cell, Matrix, Situation, judged};
use crate::{
    charter::Charter,
    policy::{Policies, PolicyView},
    request::{Actor, Circumstances, INSTANCE, Request},
};

/// Policies and a charter.
pub type Set<'a> = (&'a Policies, &'a Charter);

/// What differs.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Diff {
    /// Policies, by name.
    pub policies: Vec<PolicyChange>,
    /// Fields of the charter.
    pub charter: Vec<FieldChange>,
    /// What becomes of intents.
    pub outcomes: Vec<OutcomeChange>,
    /// How much types of intents matter, nothing else being said.
    pub scores: Vec<ScoreChange>,
    /// Questions that were put to both sets.
    pub asked: usize,
    /// Actors and targets that a policy names and that were not asked about.
    pub left_out: usize,
}

/// A policy that is there in one of them only, or not the same in both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyChange {
    /// Its name.
    pub id: String,
    /// `added`, `removed` or `changed`.
    pub change: &'static str,
    /// Of a changed one: `effect`, `tier`, `quorum`, `advice`, `text`.
    pub what: Vec<&'static str>,
    /// As it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<PolicyView>,
    /// As it is to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<PolicyView>,
}

/// A field of the charter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// Such as `pillars.resilience`.
    pub field: String,
    /// As it was; nothing where it was not there.
    pub before: Option<Value>,
    /// As it is to be.
    pub after: Option<Value>,
}

/// Something becomes of an intent that did not before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutcomeChange {
    /// The intent's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who asks.
    pub actor: Actor,
    /// What it is about.
    pub target: String,
    /// As it was.
    pub before: Cell,
    /// As it is to be.
    pub after: Cell,
    /// In which situations; in all when empty.
    pub when: Vec<&'static str>,
}

/// How much a type of intents matters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreChange {
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// As it was.
    pub before: f64,
    /// As it is to be.
    pub after: f64,
}

impl Diff {
    /// Compares two sets.
    #[must_use]
    pub fn of(old: Set<'_>, new: Set<'_>) -> Self {
        let matrix = Matrix::of(&[old.0, new.0]);
        let (outcomes, asked) = outcomes(&matrix, old, new);
        Self {
            policies: policies(old.0, new.0),
            charter: fields(old.1, new.1),
            outcomes,
            scores: scores(&matrix, old.1, new.1),
            asked,
            left_out: matrix.left_out,
        }
    }

    /// Whether nothing is written differently.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.charter.is_empty()
    }
}

fn policies(old: &Policies, new: &Policies) -> Vec<PolicyChange> {
    let by_name = |set: &Policies| -> BTreeMap<String, PolicyView> {
        set.views().into_iter().map(|view| (view.id.clone(), view)).collect()
    };
    let (mut old, mut new) = (by_name(old), by_name(new));
    let names: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    let change = |id: String| {
        let (change, what, before, after) = match (old.remove(&id), new.remove(&id)) {
            (Some(before), Some(after)) => {
                let what = differs(&before, &after);
                if what.is_empty() {
                    return None;
                }
                ("changed", what, Some(before), Some(after))
            }
            (None, after) => ("added", Vec::new(), None, after),
            (before, None) => ("removed", Vec::new(), before, None),
        };
        Some(PolicyChange { id, change, what, before, after })
    };
    names.into_iter().filter_map(change).collect()
}

fn differs(before: &PolicyView, after: &PolicyView) -> Vec<&'static str> {
    let effect = before.permits != after.permits;
    let parts = [
        ("effect", effect),
        ("tier", before.tier != after.tier),
        ("quorum", before.quorum != after.quorum),
        ("advice", before.advice != after.advice),
        ("text", before.body != after.body && !effect),
    ];
    parts.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}

fn fields(old: &Charter, new: &Charter) -> Vec<FieldChange> {
    let flat = |charter: &Charter| {
        let mut fields = BTreeMap::new();
        // Cannot fail: names and numbers.
        flatten(String::new(), serde_json::to_value(charter).unwrap_or_default(), &mut fields);
        fields
    };
    let (mut old, mut new) = (flat(old), flat(new));
    let names: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    let change = |field: String| {
        let (before, after) = (old.remove(&field), new.remove(&field));
        (before != after).then_some(FieldChange { field, before, after })
    };
    names.into_iter().filter_map(change).collect()
}

fn flatten(at: String, value: Value, fields: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let at = if at.is_empty() { name } else { format!("{at}.{name}") };
                flatten(at, value, fields);
            }
        }
        value => drop(fields.insert(at, value)),
    }
}

fn outcomes(matrix: &Matrix, old: Set<'_>, new: Set<'_>) -> (Vec<OutcomeChange>, usize) {
    let situations = Situation::all();
    let (mut all, mut asked) = (Vec::new(), 0);
    for question in matrix.questions() {
        // What changes into the same in several situations is told once.
        let mut changes: BTreeMap<(Cell, Cell), Vec<&'static str>> = BTreeMap::new();
        for situation in &situations {
            asked += 1;
            let cell =
                |(policies, charter): Set<'_>| Cell::from(&judged(question, situation, policies, charter));
            let (before, after) = (cell(old), cell(new));
            if before != after {
                changes.entry((before, after)).or_default().push(situation.name);
            }
        }
        let (kind, actor, target) = question;
        all.extend(changes.into_iter().map(|((before, after), when)| OutcomeChange {
            kind: kind.to_owned(),
            actor: actor.clone(),
            target: target.to_owned(),
            before,
            after,
            when: if when.len() == situations.len() { Vec::new() } else { when },
        }));
    }
    let plain = all.clone();
    all.retain(|one| !is_told_already(one, &plain));
    (all, asked)
}

/// A named actor or target for which the same holds as for anybody and the whole instance says nothing more.
fn is_told_already(one: &OutcomeChange, all: &[OutcomeChange]) -> bool {
    let same = |other: &&OutcomeChange| {
        other.kind == one.kind
            && other.actor.kind == one.actor.kind
            && (&other.before, &other.after, &other.when) == (&one.before, &one.after, &one.when)
    };
    let anybody = |other: &OutcomeChange| other.actor.name == super::matrix::ANYBODY;
    let whole = |other: &OutcomeChange| other.target == INSTANCE;
    let broader = |other: &OutcomeChange| {
        (anybody(other) && whole(other) && !(anybody(one) && whole(one)))
            || (anybody(other) && other.target == one.target && !anybody(one))
            || (whole(other) && other.actor == one.actor && !whole(one))
    };
    all.iter().filter(same).any(broader)
}

fn scores(matrix: &Matrix, old: &Charter, new: &Charter) -> Vec<ScoreChange> {
    let Some(anybody) = matrix.actors.first() else { return Vec::new() };
    let change = |kind: &String| {
        let request = Request {
            actor: anybody.clone(),
            kind: kind.clone(),
            target: INSTANCE.to_owned(),
            circumstances: Circumstances::default(),
        };
        let (before, after) = (old.score(&request).value, new.score(&request).value);
        let differs = (before - after).abs() > f64::EPSILON;
        differs.then(|| ScoreChange { kind: kind.clone(), before, after })
    };
    matrix.types.iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        charter,
        policy::{self, KNOWN},
        request::ActorKind,
    };

    fn set(policies: &str, charter: &str) -> (Policies, Charter) {
        let policies = Policies::read(&[("p.cedar", policies)], &["resize".to_owned()]).unwrap();
        (policies, Charter::read(charter, Path::new("charter.yaml")).unwrap())
    }

    fn diff(policies: &str, charter: &str) -> Diff {
        let (old, new) = (set(policy::DEFAULT, charter::DEFAULT), set(policies, charter));
        Diff::of((&old.0, &old.1), (&new.0, &new.1))
    }

    #[test]
    fn the_same_set_differs_in_nothing_however_it_is_laid_out() {
        let same = diff(policy::DEFAULT, charter::DEFAULT);
        assert!(same.is_empty() && same.outcomes.is_empty() && same.scores.is_empty(), "{same:?}");
        let spaced = policy::DEFAULT.replace("principal is Operator,", "principal   is Operator ,");
        assert_ne!(spaced, policy::DEFAULT);
        let laid_out = diff(&spaced, &charter::DEFAULT.replace("0.3 ", "0.30 "));
        assert!(laid_out.is_empty(), "{laid_out:?}");
    }

    #[test]
    fn what_is_written_and_what_it_means_are_both_told() {
        let new = policy::DEFAULT
            .replace("@id(\"operator.change\")\n@tier(\"1\")", "@id(\"operator.change\")\n@tier(\"3\")")
            + "\n@id(\"no.tools\") forbid (principal is Agent, action == Action::\"call_tool\", resource) when { context.user_facing };"
            + "\n@id(\"bot\") @tier(\"2\") permit (principal == Remote::\"bot\", action == Action::\"resize\", resource);";
        let diff = diff(&new, &charter::DEFAULT.replace("learning: 0.6", "learning: 0.9"));
        let written: Vec<(&str, &str)> =
            diff.policies.iter().map(|one| (one.id.as_str(), one.change)).collect();
        assert_eq!(written, [("bot", "added"), ("no.tools", "added"), ("operator.change", "changed")]);
        assert_eq!(diff.policies[2].what, ["tier"]);
        assert_eq!(diff.charter[0].field, "pillars.learning");
        let told: Vec<String> = diff
            .outcomes
            .iter()
            .map(|one| {
                let actor = format!("{:?}:{}", one.actor.kind, one.actor.name);
                format!("{} {actor} {} -> {} {:?}", one.kind, one.before, one.after, one.when)
            })
            .collect();
        let all = "[]";
        for expected in [
            format!("execute_sandbox Operator:anybody 1 allowed, review -> 3 vote {all}"),
            "call_tool Agent:anybody 1 allowed, review -> - denied [\"user facing\", \"under an emergency grant, user facing\"]".to_owned(),
            format!("resize Remote:bot - denied -> 2 allowed {all}"),
        ] {
            assert!(told.contains(&expected), "{expected}: {told:#?}");
        }
        assert_eq!(told.len(), 5, "{told:#?}");
        assert!(diff.scores.iter().any(|one| one.kind == "self_improve" && one.after > one.before));
    }

    /// The diff of a set with one policy fewer tells exactly the cells that the policy alone determined.
    #[test]
    fn whatever_policy_is_taken_away_the_matrix_says_what_is_lost() {
        let (old, old_charter) = set(policy::DEFAULT, charter::DEFAULT);
        for gone in old.views().iter().filter(|one| one.id != "operator.governance") {
            let texts: Vec<String> =
                old.views().iter().filter(|one| one.id != gone.id).map(|one| one.text.clone()).collect();
            let (new, charter) = set(&texts.join("\n"), charter::DEFAULT);
            let diff = Diff::of((&old, &old_charter), (&new, &charter));
            assert_eq!(diff.policies.len(), 1, "{}", gone.id);
            assert!(!diff.outcomes.is_empty(), "{} determines something", gone.id);
            for one in &diff.outcomes {
                assert_eq!(one.after.tier, None, "{one:?}");
                assert!(KNOWN.contains(&one.kind.as_str()) || one.actor.kind != ActorKind::Kernel);
            }
        }
    }
}
