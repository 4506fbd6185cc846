//! Who listens to what: a trie over subject tokens, with a bounded cache of answers in front.
//!
//! One node per token; `*` and `>` have places of their own, so a look-up walks at most two branches per token. A
//! leaf holds plain subscribers and queue groups. [`Matcher`] adds the cache: a fixed number of slots by hash of the
//! literal subject; each slot remembers the trie's generation, so any change of the trie makes every slot stale at
//! once. Slots reuse their memory: a hit or a refill of a slot of the same size allocates nothing.
//!
//! Queue groups of the same name that match one subject through different patterns act as one group, as in
//! nats-server.

use std::collections::HashMap;

use crate::{
    limits::{MATCH_CACHE_RECIPIENTS, MATCH_CACHE_SLOTS},
    subject,
};

/// A trie of subscriptions `T`. The caller checks patterns first ([`subject::validate_pattern`]).
#[derive(Debug)]
pub struct Trie<T> {
    root: Level<T>,
    len: usize,
}

#[derive(Debug)]
struct Level<T> {
    literal: HashMap<Box<[u8]>, Node<T>>,
    any: Option<Box<Node<T>>>,
    rest: Leaf<T>,
}

#[derive(Debug)]
struct Node<T> {
    next: Level<T>,
    here: Leaf<T>,
}

#[derive(Debug)]
struct Leaf<T> {
    plain: Vec<T>,
    queues: Vec<(Box<[u8]>, Vec<T>)>,
}

impl<T> Default for Level<T> {
    fn default() -> Self {
        Self { literal: HashMap::new(), any: None, rest: Leaf::default() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { next: Level::default(), here: Leaf::default() }
    }
}

impl<T> Default for Leaf<T> {
    fn default() -> Self {
        Self { plain: Vec::new(), queues: Vec::new() }
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { root: Level::default(), len: 0 }
    }
}

/// Who gets a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched<T> {
    /// Each of these.
    pub plain: Vec<T>,
    /// One of each of these.
    pub queues: Vec<Vec<T>>,
    names: Vec<Box<[u8]>>,
}

impl<T> Default for Matched<T> {
    fn default() -> Self {
        Self { plain: Vec::new(), queues: Vec::new(), names: Vec::new() }
    }
}

impl<T: Copy> Matched<T> {
    fn clear(&mut self) {
        self.plain.clear();
        self.queues.clear();
        self.names.clear();
    }

    fn add(&mut self, leaf: &Leaf<T>) {
        self.plain.extend_from_slice(&leaf.plain);
        for (name, members) in &leaf.queues {
            match self.names.iter().position(|n| n == name) {
                Some(i) => self.queues[i].extend_from_slice(members),
                None => {
                    self.names.push(name.clone());
                    self.queues.push(members.clone());
                }
            }
        }
    }

    fn recipients(&self) -> usize {
        self.plain.len() + self.queues.iter().map(Vec::len).sum::<usize>()
    }
}

impl<T: Copy + PartialEq> Trie<T> {
    /// Subscriptions held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a subscription.
    pub fn insert(&mut self, pattern: &[u8], queue: Option<&[u8]>, value: T) {
        let mut level = &mut self.root;
        let mut tokens = subject::tokens(pattern).peekable();
        let leaf = loop {
            let node = match tokens.next() {
                None => return,
                Some(b">") => break &mut level.rest,
                Some(b"*") => &mut **level.any.get_or_insert_default(),
                // Two look-ups for a token that is there, no allocation; `entry` would allocate for each.
                Some(token) => {
                    if !level.literal.contains_key(token) {
                        level.literal.insert(token.into(), Node::default());
                    }
                    match level.literal.get_mut(token) {
                        Some(node) => node,
                        None => return,
                    }
                }
            };
            if tokens.peek().is_none() {
                break &mut node.here;
            }
            level = &mut node.next;
        };
        match queue {
            None => leaf.plain.push(value),
            Some(queue) => match leaf.queues.iter_mut().find(|(n, _)| **n == *queue) {
                Some((_, members)) => members.push(value),
                None => leaf.queues.push((queue.into(), vec![value])),
            },
        }
        self.len += 1;
    }

    /// Removes a subscription; whether it was there.
    pub fn remove(&mut self, pattern: &[u8], queue: Option<&[u8]>, value: T) -> bool {
        let tokens: Vec<&[u8]> = subject::tokens(pattern).collect();
        let removed = self.root.remove(&tokens, queue, value);
        self.len -= usize::from(removed);
        removed
    }

    /// Fills `found` with everyone who listens to the literal `subject`.
    pub fn matches(&self, subject: &[u8], found: &mut Matched<T>) {
        found.clear();
        self.root.collect(subject, found);
    }
}

impl<T: Copy + PartialEq> Level<T> {
    fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.any.is_none() && self.rest.is_empty()
    }

    fn remove(&mut self, tokens: &[&[u8]], queue: Option<&[u8]>, value: T) -> bool {
        let Some((token, rest)) = tokens.split_first() else { return false };
        match *token {
            b">" => self.rest.remove(queue, value),
            b"*" => {
                let Some(node) = &mut self.any else { return false };
                let removed = node.remove(rest, queue, value);
                if node.is_empty() {
                    self.any = None;
                }
                removed
            }
            token => {
                let Some(node) = self.literal.get_mut(token) else { return false };
                let removed = node.remove(rest, queue, value);
                if node.is_empty() {
                    self.literal.remove(token);
                    if self.literal.is_empty() {
                        self.literal = HashMap::new();
                    }
                }
                removed
            }
        }
    }

    /// Depth is bounded by [`crate::limits::SUBJECT_TOKENS`], since patterns are.
    fn collect(&self, subject: &[u8], found: &mut Matched<T>) {
        found.add(&self.rest);
        let (token, rest) = match memchr::memchr(b'.', subject) {
            Some(dot) => (&subject[..dot], Some(&subject[dot + 1..])),
            None => (subject, None),
        };
        for node in [self.literal.get(token), self.any.as_deref()].into_iter().flatten() {
            match rest {
                Some(rest) => node.next.collect(rest, found),
                None => found.add(&node.here),
            }
        }
    }
}

impl<T: Copy + PartialEq> Node<T> {
    fn is_empty(&self) -> bool {
        self.here.is_empty() && self.next.is_empty()
    }

    fn remove(&mut self, rest: &[&[u8]], queue: Option<&[u8]>, value: T) -> bool {
        if rest.is_empty() { self.here.remove(queue, value) } else { self.next.remove(rest, queue, value) }
    }
}

impl<T: Copy + PartialEq> Leaf<T> {
    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.queues.is_empty()
    }

    fn remove(&mut self, queue: Option<&[u8]>, value: T) -> bool {
        let take = |members: &mut Vec<T>| match members.iter().position(|m| *m == value) {
            Some(i) => {
                members.remove(i);
                true
            }
            None => false,
        };
        let Some(queue) = queue else { return take(&mut self.plain) };
        let Some(i) = self.queues.iter().position(|(n, _)| **n == *queue) else { return false };
        let removed = take(&mut self.queues[i].1);
        if self.queues[i].1.is_empty() {
            self.queues.remove(i);
        }
        removed
    }
}

/// A trie with a cache of answers.
#[derive(Debug)]
pub struct Matcher<T> {
    trie: Trie<T>,
    generation: u64,
    slots: Vec<Slot<T>>,
    /// Where an answer goes that is too large to be kept.
    large: Matched<T>,
}

#[derive(Debug)]
struct Slot<T> {
    /// 0: empty. Generations start at 1.
    generation: u64,
    subject: Vec<u8>,
    found: Matched<T>,
}

impl<T: Copy + PartialEq> Default for Matcher<T> {
    fn default() -> Self {
        Self { trie: Trie::default(), generation: 1, slots: Vec::new(), large: Matched::default() }
    }
}

impl<T: Copy + PartialEq> Matcher<T> {
    /// Subscriptions held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.trie.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.trie.is_empty()
    }

    /// See [`Trie::insert`].
    pub fn insert(&mut self, pattern: &[u8], queue: Option<&[u8]>, value: T) {
        self.generation += 1;
        self.trie.insert(pattern, queue, value);
    }

    /// See [`Trie::remove`].
    pub fn remove(&mut self, pattern: &[u8], queue: Option<&[u8]>, value: T) -> bool {
        self.generation += 1;
        self.trie.remove(pattern, queue, value)
    }

    /// Everyone who listens to the literal `subject`, whose [`subject::hash`] is `hash`.
    pub fn matches(&mut self, subject: &[u8], hash: u64) -> &Matched<T> {
        if self.slots.is_empty() {
            self.slots.resize_with(MATCH_CACHE_SLOTS, || Slot {
                generation: 0,
                subject: Vec::new(),
                found: Matched::default(),
            });
        }
        let slot = &mut self.slots[hash as usize % MATCH_CACHE_SLOTS];
        if slot.generation == self.generation && slot.subject == subject {
            return &slot.found;
        }
        self.trie.matches(subject, &mut slot.found);
        if slot.found.recipients() > MATCH_CACHE_RECIPIENTS {
            slot.generation = 0;
            self.large = std::mem::take(&mut slot.found);
            return &self.large;
        }
        slot.generation = self.generation;
        slot.subject.clear();
        slot.subject.extend_from_slice(subject);
        &slot.found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Found = (Vec<u32>, Vec<(Vec<u8>, Vec<u32>)>);

    fn sorted(found: &Matched<u32>) -> Found {
        let mut plain = found.plain.clone();
        plain.sort_unstable();
        let mut queues: Vec<_> = found
            .names
            .iter()
            .zip(&found.queues)
            .map(|(name, members)| {
                let mut members = members.clone();
                members.sort_unstable();
                (name.to_vec(), members)
            })
            .collect();
        queues.sort();
        (plain, queues)
    }

    fn naive(all: &[(String, Option<&'static str>, u32)], literal: &str) -> Found {
        let mut plain = Vec::new();
        let mut queues = std::collections::BTreeMap::<Vec<u8>, Vec<u32>>::new();
        for (pattern, queue, value) in all {
            if subject::matches(pattern.as_bytes(), literal.as_bytes()) {
                match queue {
                    None => plain.push(*value),
                    Some(q) => queues.entry(q.as_bytes().to_vec()).or_default().push(*value),
                }
            }
        }
        plain.sort_unstable();
        queues.values_mut().for_each(|m| m.sort_unstable());
        (plain, queues.into_iter().collect())
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(String, Option<&'static str>),
        Remove(prop::sample::Index),
        Look(String),
    }

    fn step() -> impl Strategy<Value = Step> {
        let tokens = || prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "*"]), 1..4);
        let pattern = (tokens(), any::<bool>()).prop_map(|(mut t, rest)| {
            if rest {
                t.push(">");
            }
            t.join(".")
        });
        let queue = prop::sample::select(vec![None, Some("q1"), Some("q2")]);
        let literal = prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d"]), 1..5);
        prop_oneof![
            3 => (pattern, queue).prop_map(|(p, q)| Step::Insert(p, q)),
            2 => any::<prop::sample::Index>().prop_map(Step::Remove),
            4 => literal.prop_map(|l| Step::Look(l.join("."))),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_matcher(steps in prop::collection::vec(step(), 1..120)) {
            let mut all = Vec::new();
            let mut matcher = Matcher::default();
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(pattern, queue) => {
                        matcher.insert(pattern.as_bytes(), queue.map(str::as_bytes), n as u32);
                        all.push((pattern, queue, n as u32));
                    }
                    Step::Remove(i) if !all.is_empty() => {
                        let (pattern, queue, value) = all.swap_remove(i.index(all.len()));
                        prop_assert!(matcher.remove(pattern.as_bytes(), queue.map(str::as_bytes), value));
                    }
                    Step::Remove(_) => prop_assert!(!matcher.remove(b"a", None, 0)),
                    Step::Look(l) => {
                        let found = matcher.matches(l.as_bytes(), subject::hash(l.as_bytes()));
                        prop_assert_eq!(sorted(found), naive(&all, &l));
                    }
                }
                prop_assert_eq!(matcher.len(), all.len());
            }
            for (pattern, queue, value) in all.drain(..) {
                prop_assert!(matcher.remove(pattern.as_bytes(), queue.map(str::as_bytes), value));
            }
            prop_assert!(matcher.trie.root.is_empty(), "an emptied trie keeps no node");
        }
    }

    #[test]
    fn a_crowd_is_found_though_not_cached() {
        let mut matcher = Matcher::default();
        for n in 0..=MATCH_CACHE_RECIPIENTS as u32 {
            matcher.insert(b"a.*", None, n);
        }
        for _ in 0..2 {
            let found = matcher.matches(b"a.b", subject::hash(b"a.b"));
            assert_eq!(found.plain.len(), MATCH_CACHE_RECIPIENTS + 1);
        }
    }
}
