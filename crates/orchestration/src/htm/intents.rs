//! Intents by id, found in the same few steps however many there are.
//!
//! Whoever names intents numbers them one after the other, so they stand in blocks of neighbours, and a block is found by its hash. An
//! intent that is looked at is elsewhere than a million others that are not, which a tree would have to be walked through for. The
//! blocks' order is kept beside them for the few who want intents in theirs; it changes once for each block.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasherDefault, Hasher},
};

use super::{IntentId, state::Intent};

/// Neighbours in a block. More would cost memory where only a few of them are left, fewer would make more blocks to find.
const BLOCK: usize = 64;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Intents {
    blocks: HashMap<IntentId, Block, BuildHasherDefault<Spread>>,
    order: BTreeSet<IntentId>,
}

/// The intents of neighbouring numbers. Never empty.
#[derive(Debug)]
struct Block {
    places: Box<[Option<Box<Intent>>; BLOCK]>,
    taken: usize,
}

impl Block {
    fn new() -> Self {
        Self { places: Box::new([const { None }; BLOCK]), taken: 0 }
    }

    fn intents(&self) -> impl DoubleEndedIterator<Item = (usize, &Intent)> {
        self.places.iter().enumerate().filter_map(|(n, place)| Some((n, place.as_deref()?)))
    }
}

/// The block's name, which is its first intent's, and the place in it.
const fn place(id: IntentId) -> (IntentId, usize) {
    let at = id.number() % BLOCK as u64;
    (IntentId::new(id.era(), id.number() - at), at as usize)
}

impl Intents {
    pub(super) fn get(&self, id: &IntentId) -> Option<&Intent> {
        let (block, at) = place(*id);
        self.blocks.get(&block)?.places[at].as_deref()
    }

    pub(super) fn get_mut(&mut self, id: &IntentId) -> Option<&mut Intent> {
        let (block, at) = place(*id);
        self.blocks.get_mut(&block)?.places[at].as_deref_mut()
    }

    pub(super) fn contains_key(&self, id: &IntentId) -> bool {
        self.get(id).is_some()
    }

    pub(super) fn insert(&mut self, id: IntentId, intent: Intent) {
        let (name, at) = place(id);
        let block = self.blocks.entry(name).or_insert_with(|| {
            self.order.insert(name);
            Block::new()
        });
        block.taken += usize::from(block.places[at].is_none());
        block.places[at] = Some(Box::new(intent));
    }

    pub(super) fn remove(&mut self, id: &IntentId) -> Option<Box<Intent>> {
        let (name, at) = place(*id);
        let block = self.blocks.get_mut(&name)?;
        let intent = block.places[at].take()?;
        block.taken -= 1;
        if block.taken == 0 {
            self.blocks.remove(&name);
            self.order.remove(&name);
        }
        Some(intent)
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.values().map(|block| block.taken).sum()
    }

    /// The newest of the last era.
    pub(super) fn last(&self) -> Option<&Intent> {
        let block = self.blocks.get(self.order.last()?)?;
        block.intents().next_back().map(|(_, intent)| intent)
    }

    /// By id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (IntentId, &Intent)> {
        self.order.iter().flat_map(|name| self.block(*name))
    }

    /// By id, the last one first; only those before that one.
    pub(super) fn before(&self, id: Option<IntentId>) -> impl Iterator<Item = (IntentId, &Intent)> {
        let past = id.map(|id| place(id).0);
        let blocks = self.order.iter().rev().skip_while(move |name| past.is_some_and(|past| **name > past));
        let intents = blocks.flat_map(|name| self.block(*name).rev());
        intents.skip_while(move |(other, _)| id.is_some_and(|id| *other >= id))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Intent> {
        self.blocks.values_mut().flat_map(|block| block.places.iter_mut().flatten().map(AsMut::as_mut))
    }

    fn block(&self, name: IntentId) -> impl DoubleEndedIterator<Item = (IntentId, &Intent)> {
        let intents = self.blocks.get(&name).into_iter().flat_map(Block::intents);
        intents.map(move |(at, intent)| (IntentId::new(name.era(), name.number() + at as u64), intent))
    }
}

/// Spreads ids of blocks (Fibonacci hashing). Nobody but the cortex chooses ids, and it counts.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, n: u64) {
        let mixed = (self.0.rotate_left(5) ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
