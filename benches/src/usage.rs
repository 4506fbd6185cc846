//! What work costs in processor time, process by process: unlike a rate, it says where the time goes, and it hardly moves when others keep
//! the machine busy.

use std::{collections::BTreeMap, process::Stdio};

use grace_core::procfs;
use serde_json::Value;

use crate::instance::Instance;

/// Processor seconds of each process of an instance, and of this program.
#[derive(Debug, Clone)]
pub struct Usage(BTreeMap<String, f64>);

impl Usage {
    /// So far.
    ///
    /// # Panics
    /// The instance does not say which processes it has.
    #[must_use]
    pub fn so_far(instance: &Instance) -> Self {
        let shown = instance.command().args(["status", "--json"]).stderr(Stdio::null()).output();
        let shown: Value = serde_json::from_slice(&shown.expect("a status").stdout).expect("a status");
        let components = shown["components"].as_array().expect("components");
        let pid = |shown: &Value| shown["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        let named = components.iter().filter_map(|c| Some((c["name"].as_str()?.to_owned(), pid(c)?)));
        let own = ("this program".to_owned(), std::process::id());
        let used = |(name, pid)| Some((name, procfs::stat(pid).ok()?.cpu_time().as_secs_f64()));
        Self(named.chain([own]).filter_map(used).collect())
    }

    /// Seconds that one process used since `before`.
    #[must_use]
    pub fn of(&self, name: &str, before: &Self) -> f64 {
        let at = |usage: &Self| usage.0.get(name).copied().unwrap_or_default();
        at(self) - at(before)
    }

    /// Microseconds for each of `count` pieces of work since `before`: all, and each process that has a part in it, the largest first.
    #[must_use]
    pub fn told(&self, before: &Self, count: usize) -> String {
        let each = |name: &String| (name.clone(), self.of(name, before) * 1e6 / count as f64);
        let mut each: Vec<(String, f64)> = self.0.keys().map(each).filter(|(_, us)| *us >= 0.1).collect();
        each.sort_by(|a, b| b.1.total_cmp(&a.1));
        let all: f64 = each.iter().map(|(_, us)| us).sum();
        let told: Vec<String> = each.iter().map(|(name, us)| format!("{name} {us:.1}")).collect();
        format!("{all:.1} µs of processor time each: {}", told.join(", "))
    }
}
