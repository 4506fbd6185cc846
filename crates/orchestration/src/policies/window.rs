//! Sliding windows: how many events there were lately, each group for itself.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::limits;

/// The moments of a policy's events, by group, steady milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Counts {
    groups: BTreeMap<String, VecDeque<u64>>,
}

impl Counts {
    /// How many there were in the `within_ms` before `at_ms`.
    pub(super) fn count(&self, group: &str, at_ms: u64, within_ms: u64) -> usize {
        let Some(moments) = self.groups.get(group) else { return 0 };
        let from = at_ms.saturating_sub(within_ms);
        moments.len() - moments.partition_point(|moment| *moment <= from && from > 0)
    }

    /// Another one.
    pub(super) fn add(&mut self, group: &str, at_ms: u64, within_ms: u64) {
        if !self.groups.contains_key(group) && self.groups.len() >= limits::WINDOW_GROUPS {
            let quiet = self.groups.iter().min_by_key(|(_, moments)| moments.back().copied());
            if let Some(quiet) = quiet.map(|(group, _)| group.clone()) {
                self.groups.remove(&quiet);
            }
        }
        let moments = self.groups.entry(group.to_owned()).or_default();
        moments.push_back(at_ms);
        let from = at_ms.saturating_sub(within_ms);
        while moments.len() > limits::WINDOW_EVENTS
            || moments.front().is_some_and(|moment| *moment <= from && from > 0)
        {
            moments.pop_front();
        }
    }
}
