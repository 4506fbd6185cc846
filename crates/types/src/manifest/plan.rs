//! The order of a boot: which processes start together, and what each waits for.
//!
//! The plan is for people (`grace up --check`) and for the check that there is an order at all. The supervisor starts
//! each process as soon as its own conditions hold, which may be earlier than its wave.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    checks::Written,
    model::{Check, ComponentKind, Condition, Manifest, Probe, ProcessSpec},
};

/// Waves of processes: each waits only for processes of earlier waves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPlan {
    /// The first wave waits for nothing.
    pub waves: Vec<Vec<BootStep>>,
}

/// One process of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootStep {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ComponentKind,
    /// What must hold before it starts.
    pub after: BTreeMap<String, Condition>,
    /// When it counts as ready, for a reader.
    pub ready: String,
}

/// Why there is no order to boot in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Processes that wait for each other.
    #[error("these wait for each other for ever: {} -> {}", .0.join(" -> "), .0.first().map_or("", String::as_str))]
    Cycle(Vec<String>),
    /// A dependency on a process that is not among those given.
    #[error("`{name}` waits for `{missing}`, which does not exist")]
    Unknown {
        /// Who waits.
        name: String,
        /// For whom.
        missing: String,
    },
}

impl BootPlan {
    /// Orders `specs`.
    ///
    /// # Errors
    /// When they depend on each other in a circle, or on a process that is not among them.
    pub fn of<'a>(specs: impl IntoIterator<Item = &'a ProcessSpec>) -> Result<Self, PlanError> {
        let mut waiting: BTreeMap<&str, &ProcessSpec> =
            specs.into_iter().map(|spec| (spec.name.as_str(), spec)).collect();
        for spec in waiting.values() {
            if let Some(missing) = spec.depends_on.keys().find(|name| !waiting.contains_key(name.as_str())) {
                return Err(PlanError::Unknown { name: spec.name.clone(), missing: missing.clone() });
            }
        }
        let mut waves = Vec::new();
        while !waiting.is_empty() {
            let wave: Vec<&ProcessSpec> = waiting
                .values()
                .filter(|spec| spec.depends_on.keys().all(|name| !waiting.contains_key(name.as_str())))
                .copied()
                .collect();
            if wave.is_empty() {
                let graph = waiting.iter().map(|(name, spec)| {
                    (*name, spec.depends_on.keys().map(String::as_str).collect::<BTreeSet<_>>())
                });
                let cycle = cycles(graph.collect()).into_iter().next().unwrap_or_default();
                return Err(PlanError::Cycle(cycle.into_iter().map(str::to_owned).collect()));
            }
            for spec in &wave {
                waiting.remove(spec.name.as_str());
            }
            waves.push(wave.into_iter().map(BootStep::of).collect());
        }
        Ok(Self { waves })
    }
}

impl Manifest {
    /// The boot plan of the user's processes alone; [`BootPlan::of`] takes others along.
    ///
    /// # Errors
    /// Never for a manifest that was loaded; for one made by hand, as [`BootPlan::of`].
    pub fn boot_plan(&self) -> Result<BootPlan, PlanError> {
        BootPlan::of(self.processes.values())
    }
}

impl BootStep {
    fn of(spec: &ProcessSpec) -> Self {
        Self { name: spec.name.clone(), kind: spec.kind, after: spec.depends_on.clone(), ready: ready(spec) }
    }
}

fn ready(spec: &ProcessSpec) -> String {
    let Some(Probe { check, .. }) = &spec.readiness else { return "when it runs".to_owned() };
    let what = match check {
        Check::Exec { command } => format!("when `{}` succeeds", command.join(" ").escape_debug()),
        Check::HttpGet { host, port, path } => format!("when http://{host}:{port}{path} answers"),
        Check::Tcp { host, port } => format!("when {host}:{port} accepts"),
        Check::Notify => "when it sends READY=1".to_owned(),
        Check::LogLine { pattern } => format!("when a line matches /{}/", pattern.escape_debug()),
    };
    format!("{what}, within {}", Written(spec.start_timeout))
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "started",
            Self::Ready => "ready",
            Self::Completed => "completed",
            Self::CompletedSuccessfully => "completed successfully",
        })
    }
}

impl fmt::Display for BootPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = || self.waves.iter().flatten();
        let width = steps().map(|step| step.name.len()).max().unwrap_or(0);
        for (number, wave) in self.waves.iter().enumerate() {
            writeln!(f, "wave {}", number + 1)?;
            for step in wave {
                write!(f, "  {:width$}  ready {}", step.name, step.ready)?;
                let after: Vec<String> =
                    step.after.iter().map(|(name, condition)| format!("{name} is {condition}")).collect();
                if !after.is_empty() {
                    write!(f, "; starts after {}", after.join(", "))?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// Cycles in a graph of names, each rotated so that its least name is first, no name in two of them. Edges to names
/// outside the graph do not count.
pub(super) fn cycles<'a>(mut graph: BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<Vec<&'a str>> {
    let mut found = Vec::new();
    loop {
        prune(&mut graph);
        // Whatever is left waits for something that is left, so a walk must come back to where it was.
        let Some(mut at) = graph.keys().next().copied() else { return found };
        let mut walk: Vec<&str> = Vec::new();
        let start = loop {
            if let Some(seen) = walk.iter().position(|name| *name == at) {
                break seen;
            }
            walk.push(at);
            match graph.get(at).and_then(|edges| edges.iter().find(|name| graph.contains_key(**name))) {
                Some(next) => at = next,
                None => return found,
            }
        };
        let mut cycle = walk.split_off(start);
        let least = (0..cycle.len()).min_by_key(|index| cycle[*index]).unwrap_or(0);
        cycle.rotate_left(least);
        for name in &cycle {
            graph.remove(name);
        }
        found.push(cycle);
    }
}

/// Takes out, again and again, what waits for nothing that is still there (Kahn's algorithm).
fn prune<'a>(graph: &mut BTreeMap<&'a str, BTreeSet<&'a str>>) {
    let mut waits: BTreeMap<&str, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, edges) in graph.iter() {
        let inside = edges.iter().filter(|edge| graph.contains_key(*edge));
        waits.insert(*name, inside.map(|edge| dependents.entry(*edge).or_default().push(*name)).count());
    }
    let mut free: Vec<&str> = waits.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    while let Some(name) = free.pop() {
        graph.remove(name);
        for dependent in dependents.remove(name).unwrap_or_default() {
            if let Some(count) = waits.get_mut(dependent) {
                *count -= 1;
                if *count == 0 {
                    free.push(dependent);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cycle_is_found_once() {
        let graph = |edges: &[(&'static str, &[&'static str])]| {
            edges.iter().map(|(name, to)| (*name, to.iter().copied().collect())).collect()
        };
        assert!(cycles(graph(&[("a", &["b"]), ("b", &["c", "x"]), ("c", &[])])).is_empty());
        assert_eq!(cycles(graph(&[("a", &["a"])])), [["a"]]);
        let two = graph(&[
            ("d", &["b"]),
            ("b", &["a"]),
            ("a", &["b"]),
            ("x", &["y"]),
            ("y", &["z"]),
            ("z", &["x"]),
        ]);
        assert_eq!(cycles(two), [vec!["a", "b"], vec!["x", "y", "z"]]);
    }
}
