//! Waiting tasks in a row, by place. Most come at the end and go from the front, which costs the same however long the row is; what
//! stands in between is found by halving.

use std::{
    collections::{VecDeque, vec_deque},
    fmt,
    iter::FlatMap,
};

use super::TaskId;

/// Tasks that stand together. What comes or goes in the middle moves half of them at most.
const BLOCK: usize = 64;

/// See the module's page.
#[derive(Default)]
pub(super) struct Line {
    /// In order, and so is what is in them. None is empty.
    blocks: VecDeque<Block>,
    len: usize,
}

/// Tasks whose places are not before `from`, and before the next block's.
pub(super) struct Block {
    /// Kept here, so that a block is found without a look into others: those in the middle of a long row have long been out of any cache.
    from: u64,
    tasks: VecDeque<(u64, TaskId)>,
}

impl Block {
    /// Where a place is, or would be.
    fn find(&self, place: u64) -> Result<usize, usize> {
        match (self.tasks.front(), self.tasks.back()) {
            (Some((first, _)), _) if *first == place => Ok(0),
            (_, Some((last, _))) if *last < place => Err(self.tasks.len()),
            _ => self.tasks.binary_search_by_key(&place, |task| task.0),
        }
    }
}

/// By place.
pub(super) type Iter<'l> = FlatMap<
    vec_deque::Iter<'l, Block>,
    vec_deque::Iter<'l, (u64, TaskId)>,
    fn(&'l Block) -> vec_deque::Iter<'l, (u64, TaskId)>,
>;

impl Line {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn iter(&self) -> Iter<'_> {
        self.blocks.iter().flat_map(|block| block.tasks.iter())
    }

    /// The block that a place belongs to. There is one.
    fn block_of(&self, place: u64) -> usize {
        let begins = |block: &Block| block.from <= place;
        if self.blocks.back().is_some_and(begins) {
            self.blocks.len() - 1
        } else if self.blocks.get(1).is_none_or(|second| !begins(second)) {
            0
        } else {
            self.blocks.partition_point(begins).saturating_sub(1)
        }
    }

    pub(super) fn insert(&mut self, place: u64, id: TaskId) {
        if self.blocks.is_empty() {
            self.blocks.push_back(Block { from: place, tasks: VecDeque::new() });
        }
        let mut at = self.block_of(place);
        let block = &mut self.blocks[at];
        let last = block.tasks.back().map_or(0, |task| task.0);
        if block.tasks.len() >= BLOCK {
            // A row that only grows at its end is made of full blocks.
            let rest = block.tasks.split_off(if last < place { BLOCK } else { BLOCK / 2 });
            let from = rest.front().map_or(place, |task| task.0);
            self.blocks.insert(at + 1, Block { from, tasks: rest });
            at += usize::from(from <= place);
        }
        let block = &mut self.blocks[at];
        block.from = block.from.min(place);
        // No two tasks share a place.
        if let Err(before) = block.find(place) {
            block.tasks.insert(before, (place, id));
            self.len += 1;
        }
    }

    pub(super) fn remove(&mut self, place: u64) -> Option<TaskId> {
        let at = self.block_of(place);
        let block = self.blocks.get_mut(at)?;
        let found = block.find(place).ok()?;
        let (_, id) = block.tasks.remove(found)?;
        if block.tasks.is_empty() {
            self.blocks.remove(at);
        }
        self.len -= 1;
        Some(id)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().copied()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::htm::{Era, IntentId};

    proptest! {
        /// It is what a map by place would be.
        #[test]
        fn tasks_stand_by_place(steps in prop::collection::vec((any::<bool>(), 0u64..600, any::<bool>()), 1..1500)) {
            let (mut line, mut map, mut end) = (Line::default(), BTreeMap::new(), 1000);
            for (comes, place, at_the_end) in steps {
                if comes {
                    end += 1;
                    let place = if at_the_end { end } else { place };
                    let id = IntentId::new(Era::from_bits(1), end).task(0);
                    if let std::collections::btree_map::Entry::Vacant(free) = map.entry(place) {
                        free.insert(id);
                        line.insert(place, id);
                    }
                } else {
                    let place = if at_the_end { map.keys().next().copied().unwrap_or(0) } else { place };
                    prop_assert_eq!(line.remove(place), map.remove(&place));
                }
                prop_assert_eq!((line.len(), line.is_empty()), (map.len(), map.is_empty()));
            }
            prop_assert!(line.blocks.iter().all(|block| !block.tasks.is_empty() && block.tasks.len() <= BLOCK));
            let told: Vec<_> = line.iter().copied().collect();
            prop_assert_eq!(told, map.into_iter().collect::<Vec<_>>());
        }
    }
}
