//! From a scenario and what runs now to what will be done: each fault with its target by name.
//!
//! Targets that cannot be found are found out here, before anything is attacked, and told with the names that there are.

use std::{collections::BTreeSet, fmt, time::Duration};

use grace_types::{chance::Entropy, yaml::nearest};
use serde::{Deserialize, Serialize};

use crate::{
    limits,
    scenario::{Fault, FaultKind, Pick, Scenario, Target},
};

/// What a run looks at in the status of a component. The JSON document has more.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its layer.
    pub layer: u8,
    /// `kernel`, `process` …
    pub kind: String,
    /// `ready`, `restarting` …
    pub state: String,
    /// Its process, while it has one.
    pub pid: Option<u32>,
    /// Whether it is ready now.
    pub ready: bool,
    /// Whether its loss is an emergency.
    pub critical: bool,
}

impl Component {
    /// All components in a status document.
    ///
    /// # Errors
    /// The document is not that of `grace status --json`.
    pub fn all(status: &serde_json::Value) -> Result<Vec<Self>, String> {
        let list = status.get("components").ok_or("the status names no components")?;
        Vec::deserialize(list).map_err(|error| format!("the status makes no sense: {error}"))
    }
}

/// One fault on one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// Within the run, from 1, in the order of time.
    pub number: u32,
    /// What is done.
    #[serde(rename = "type")]
    pub kind: FaultKind,
    /// To whom.
    pub target: String,
    /// After the steady state was found to hold.
    pub at: Duration,
    /// How long at most; none for what is over at once.
    pub duration: Option<Duration>,
    /// Whether the run fails without it.
    pub needed: bool,
}

/// What will be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The faults in the order of time.
    pub faults: Vec<PlannedFault>,
    /// Components that are not touched because the blast radius says so.
    pub spared: Vec<String>,
    /// What was left out, a sentence each.
    pub notes: Vec<String>,
}

impl Plan {
    /// The components that are attacked.
    #[must_use]
    pub fn targets(&self) -> BTreeSet<String> {
        self.faults.iter().map(|fault| fault.target.clone()).collect()
    }
}

/// A part of a scenario that cannot be done on what runs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impossible {
    /// The field: `faults[0].target`.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)?;
        self.help.iter().try_for_each(|help| write!(f, " ({help})"))
    }
}

/// Finds the targets of every fault.
///
/// # Errors
/// Each part of the scenario that cannot be done.
pub fn plan(
    scenario: &Scenario,
    components: &[Component],
    entropy: &mut dyn Entropy,
) -> Result<Plan, Vec<Impossible>> {
    let mut wrong = Vec::new();
    let mut plan = Plan { spared: scenario.spare.clone(), ..Plan::default() };
    for (index, name) in scenario.spare.iter().enumerate() {
        if !components.iter().any(|c| c.name == *name) {
            wrong.push(unknown(format!("blast_radius.spare[{index}]"), name, components));
        }
    }
    for (index, fault) in scenario.faults.iter().enumerate() {
        let field = format!("faults[{index}].target");
        match targets(&field, &fault.target, scenario, components, entropy) {
            Ok(names) => plan.faults.extend(names.into_iter().map(|target| planned(fault, target))),
            Err(impossible) if fault.needed => wrong.extend(impossible),
            Err(impossible) => plan.notes.extend(impossible.iter().map(ToString::to_string)),
        }
    }
    if plan.faults.len() > limits::FAULTS {
        let message = format!("{} faults; one run takes at most {}", plan.faults.len(), limits::FAULTS);
        wrong.push(Impossible {
            field: "faults".to_owned(),
            message,
            help: Some("narrow the targets".to_owned()),
        });
    }
    plan.faults.sort_by_key(|fault| fault.at);
    for (number, fault) in (1..).zip(&mut plan.faults) {
        fault.number = number;
    }
    if wrong.is_empty() { Ok(plan) } else { Err(wrong) }
}

fn planned(fault: &Fault, target: String) -> PlannedFault {
    let Fault { kind, at, duration, needed, .. } = fault.clone();
    PlannedFault { number: 0, kind, target, at, duration, needed }
}

fn targets(
    field: &str,
    target: &Target,
    scenario: &Scenario,
    components: &[Component],
    entropy: &mut dyn Entropy,
) -> Result<Vec<String>, Vec<Impossible>> {
    let mut wrong = Vec::new();
    for name in target.names.iter().flatten().chain(&target.not) {
        if !components.iter().any(|c| c.name == *name) {
            wrong.push(unknown(field.to_owned(), name, components));
        } else if scenario.spare.contains(name) && !target.not.contains(name) {
            let message = format!("`{name}` lies outside the blast radius: `spare` names it");
            wrong.push(Impossible { field: field.to_owned(), message, help: None });
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let fits = |c: &&Component| {
        target.names.as_ref().is_none_or(|names| names.contains(&c.name))
            && target.critical.is_none_or(|critical| c.critical == critical)
            && target.kind.is_none_or(|kind| c.kind == kind.word())
            && target.layer.is_none_or(|layer| c.layer == layer)
            && !target.not.contains(&c.name)
            && !scenario.spare.contains(&c.name)
    };
    let mut found: Vec<&Component> = components.iter().filter(fits).collect();
    if found.is_empty() {
        let message = "no component is such a target".to_owned();
        return Err(vec![Impossible { field: field.to_owned(), message, help: Some(there_are(components)) }]);
    }
    if let Some(idle) = found.iter().find(|c| c.pid.is_none()) {
        let message = format!("`{}` has no process now: it is {}", idle.name, idle.state);
        return Err(vec![Impossible { field: field.to_owned(), message, help: None }]);
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(count) = target.count {
        if found.len() < count {
            let message = format!("{count} components are asked for, and there are {}", found.len());
            let help = Some(there_are(components));
            return Err(vec![Impossible { field: field.to_owned(), message, help }]);
        }
        while found.len() > count {
            let last = found.len() - 1;
            let drop = match target.pick {
                Pick::First => last,
                Pick::Random => entropy.next_u64() as usize % found.len(),
            };
            found.remove(drop);
        }
    }
    Ok(found.into_iter().map(|c| c.name.clone()).collect())
}

fn unknown(field: String, name: &str, components: &[Component]) -> Impossible {
    let near = nearest(name, components.iter().map(|c| c.name.as_str()));
    let help = near.map_or_else(|| there_are(components), |near| format!("did you mean `{near}`?"));
    Impossible { field, message: format!("there is no component `{name}`"), help: Some(help) }
}

/// The names that there are, as far as a line holds them.
fn there_are(components: &[Component]) -> String {
    let names: Vec<&str> = components.iter().take(24).map(|c| c.name.as_str()).collect();
    let more = if components.len() > names.len() { ", …" } else { "" };
    format!("there are: {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use grace_types::chance::SeededEntropy;

    use super::*;
    use crate::scenario::{Origin, parse};

    fn running() -> Vec<Component> {
        let one = |name: &str, kind: &str, critical, pid| Component {
            name: name.into(),
            layer: u8::from(kind == "kernel"),
            kind: kind.into(),
            state: if pid == 0 { "stopped" } else { "ready" }.into(),
            pid: (pid != 0).then_some(pid),
            ready: pid != 0,
            critical,
        };
        vec![
            one("message_bus", "kernel", true, 10),
            one("health_monitor", "kernel", true, 11),
            one("clarity", "kernel", false, 12),
            one("web", "process", false, 13),
            one("once", "process", false, 0),
        ]
    }

    fn planned(faults: &str) -> Result<Plan, Vec<String>> {
        let text = format!(
            "id: x\ntitle: X\ncategory: process\nseverity: low\nblast_radius: {{spare: [web]}}\n\
             verifications: [{{name: a, check: 'true'}}]\nfaults:\n{faults}"
        );
        let scenario = parse(&text, Path::new("x.yaml"), Origin::BuiltIn).unwrap();
        plan(&scenario, &running(), &mut SeededEntropy::new(1))
            .map_err(|wrong| wrong.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn targets_are_found_and_put_in_the_order_of_time() {
        let plan = planned(
            "  - {type: mute, target: clarity, at: 1s, duration: 2s}\n  - {type: kill, target: {critical: true}}\n",
        )
        .unwrap();
        let told: Vec<_> = plan.faults.iter().map(|f| (f.number, f.kind.word(), f.target.as_str())).collect();
        assert_eq!(told, [(1, "kill", "health_monitor"), (2, "kill", "message_bus"), (3, "mute", "clarity")]);
        let some = planned("  - {type: kill, target: {kind: kernel, not: [clarity], count: 1}}\n").unwrap();
        assert_eq!(some.targets().into_iter().collect::<Vec<_>>(), ["health_monitor"]);
        let any = planned("  - {type: kill, target: {kind: kernel, count: 2, pick: random}}\n").unwrap();
        assert_eq!(any.faults.len(), 2);
    }

    #[test]
    fn impossible_targets_are_told_with_the_names_that_there_are() {
        let told = |faults: &str| planned(faults).unwrap_err().join("; ");
        assert_eq!(
            told("  - {type: kill, target: clariti}\n"),
            "faults[0].target: there is no component `clariti` (did you mean `clarity`?)"
        );
        assert_eq!(
            told("  - {type: kill, target: zzzzzzzzz}\n"),
            "faults[0].target: there is no component `zzzzzzzzz` (there are: message_bus, health_monitor, clarity, web, once)"
        );
        assert!(
            told("  - {type: kill, target: {critical: true, kind: process}}\n")
                .contains("no component is such")
        );
        assert!(told("  - {type: kill, target: web}\n").contains("outside the blast radius"));
        assert!(told("  - {type: kill, target: once}\n").contains("has no process now: it is stopped"));
        assert!(
            told("  - {type: kill, target: {kind: kernel, count: 9}}\n")
                .contains("9 components are asked for")
        );
        let plan = planned("  - {type: kill, target: zzzzzzzzz, needed: false}\n").unwrap();
        assert_eq!((plan.faults.len(), plan.notes.len()), (0, 1));
    }
}
