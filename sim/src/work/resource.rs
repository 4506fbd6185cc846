//! What tasks touch outside: it keeps the greatest token that it has seen for each task, and takes no smaller one.

use std::collections::BTreeMap;

use grace_orchestration::htm::{Granted, TaskId};
use grace_types::time::Clock;

use super::{
    Mistake, World,
    net::{Node, Told},
    note,
};

#[derive(Default)]
pub(super) struct Resource {
    /// The greatest token of each task.
    seen: BTreeMap<TaskId, u64>,
    /// Effects in the order in which they happened.
    pub(super) effects: Vec<Granted>,
}

impl World {
    pub(super) fn effect(&mut self, granted: Granted, (from, call): (Node, u64)) {
        let seen = self.resource.seen.get(&granted.task).copied().unwrap_or(0);
        if granted.token < seen && self.mistake != Some(Mistake::IgnoredTokens) {
            self.counts.stale_effects += 1;
            note!(self, "resource refuses {} under {}: {seen} was here", granted.task, granted.token);
            return self.tell(Node::Resource, from, call, Told::Refused("stale".to_owned()));
        }
        // The same token again is the same effect, whose confirmation was lost.
        if granted.token != seen {
            self.resource.seen.insert(granted.task, granted.token);
            self.resource.effects.push(granted);
            self.counts.effects += 1;
        }
        self.tell(Node::Resource, from, call, Told::Taken);
    }
}
