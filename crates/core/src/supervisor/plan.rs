//! What is to be supervised, and in which order: the immutable half of the supervisor's state.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use grace_types::manifest::ProcessSpec;

/// Every component's specification, and who depends on whom. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    specs: BTreeMap<String, Arc<ProcessSpec>>,
    dependents: BTreeMap<String, BTreeSet<String>>,
}

impl Plan {
    /// A plan for these components. Dependencies on components that are not among them were refused by the manifest.
    pub fn new(specs: impl IntoIterator<Item = ProcessSpec>) -> Self {
        let specs: BTreeMap<_, _> = specs.into_iter().map(|s| (s.name.clone(), Arc::new(s))).collect();
        let mut dependents: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for spec in specs.values() {
            for needed in spec.depends_on.keys() {
                dependents.entry(needed.clone()).or_default().insert(spec.name.clone());
            }
        }
        Self { inner: Arc::new(Inner { specs, dependents }) }
    }

    /// Every specification, by name.
    pub fn specs(&self) -> impl Iterator<Item = &Arc<ProcessSpec>> {
        self.inner.specs.values()
    }

    /// One specification.
    #[must_use]
    pub fn spec(&self, name: &str) -> Option<&Arc<ProcessSpec>> {
        self.inner.specs.get(name)
    }

    /// Who waits for `name`, directly.
    pub fn dependents(&self, name: &str) -> impl Iterator<Item = &str> {
        self.inner.dependents.get(name).into_iter().flatten().map(String::as_str)
    }

    /// Everything that `name` needs, directly or not, what is needed first standing first, and `name` itself last.
    #[must_use]
    pub fn needs(&self, name: &str) -> Vec<String> {
        let mut order = Vec::new();
        self.visit(name, &mut order);
        order
    }

    fn visit(&self, name: &str, order: &mut Vec<String>) {
        if order.iter().any(|seen| seen == name) {
            return;
        }
        if let Some(spec) = self.spec(name) {
            for needed in spec.depends_on.keys() {
                self.visit(needed, order);
            }
        }
        order.push(name.to_owned());
    }
}
