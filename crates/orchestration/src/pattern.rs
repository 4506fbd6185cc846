//! Patterns of event types, and finding those that match a type without trying each.
//!
//! A type is words with dots between, `dev.grace.htm.task_failed.v1`. A pattern is a type in which one `*` may stand for one or more
//! whole words: `com.shop.order.paid` (exactly that), `com.shop.*` (whatever begins so), `*.failed.v1` (whatever ends so),
//! `com.*.v1` (both), `*` (everything). A type has few words, so an [`Index`] looks up each of its beginnings and ends: the cost
//! depends on what matches, not on how many patterns there are.

use std::collections::HashMap;

use crate::limits;

/// A pattern, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// Where the `*` stands.
    star: Option<usize>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It is none; what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > limits::SUBJECT_BYTES {
            return Err(format!("an event type has 1 to {} bytes", limits::SUBJECT_BYTES));
        }
        let mut star = None;
        let mut at = 0;
        for word in text.split('.') {
            if word == "*" {
                if star.replace(at).is_some() {
                    return Err("only one `*` may stand in a pattern".to_owned());
                }
            } else if word.contains('*') {
                return Err(format!("`*` stands for whole words, as in `com.shop.*`; found `{word}`"));
            } else if word.is_empty() || word.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err("words stand between single dots, without spaces".to_owned());
            }
            at += word.len() + 1;
        }
        Ok(Self { text: text.to_owned(), star })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is one type and no pattern.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.star.is_none()
    }

    /// Whether it matches.
    #[must_use]
    pub fn matches(&self, kind: &str) -> bool {
        let (before, after) = self.sides();
        match self.star {
            None => self.text == kind,
            Some(_) => {
                kind.len() > before.len() + after.len() && kind.starts_with(before) && kind.ends_with(after)
            }
        }
    }

    /// Whether it matches whatever `other` matches.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if other.is_exact() {
            return self.matches(&other.text);
        }
        let ((before, after), (their_before, their_after)) = (self.sides(), other.sides());
        !self.is_exact() && their_before.starts_with(before) && their_after.ends_with(after)
    }

    /// What stands before the `*` and after it, each with its dot.
    fn sides(&self) -> (&str, &str) {
        match self.star {
            None => (&self.text, ""),
            Some(star) => (&self.text[..star], &self.text[star + 1..]),
        }
    }
}

/// Patterns, each with a key.
#[derive(Debug, Clone)]
pub struct Index<K> {
    exact: HashMap<String, Vec<K>>,
    before: HashMap<String, Vec<(Pattern, K)>>,
    after: HashMap<String, Vec<K>>,
    all: Vec<K>,
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self { exact: HashMap::new(), before: HashMap::new(), after: HashMap::new(), all: Vec::new() }
    }
}

impl<K: Ord + Clone> Index<K> {
    /// Adds a pattern.
    pub fn insert(&mut self, pattern: &Pattern, key: K) {
        let (before, after) = pattern.sides();
        match (pattern.star, before.is_empty(), after.is_empty()) {
            (None, ..) => self.exact.entry(pattern.text.clone()).or_default().push(key),
            (Some(_), true, true) => self.all.push(key),
            (Some(_), true, false) => self.after.entry(after.to_owned()).or_default().push(key),
            (Some(_), false, _) => {
                self.before.entry(before.to_owned()).or_default().push((pattern.clone(), key));
            }
        }
    }

    /// Takes a pattern of this key out again.
    pub fn remove(&mut self, pattern: &Pattern, key: &K) {
        let (before, after) = pattern.sides();
        match (pattern.star, before.is_empty(), after.is_empty()) {
            (None, ..) => take_out(&mut self.exact, &pattern.text, |one| one == key),
            (Some(_), true, true) => self.all.retain(|one| one != key),
            (Some(_), true, false) => take_out(&mut self.after, after, |one| one == key),
            (Some(_), false, _) => take_out(&mut self.before, before, |(_, one)| one == key),
        }
    }

    /// The keys whose patterns match, each once, in order.
    #[must_use]
    pub fn matching(&self, kind: &str) -> Vec<K> {
        let mut found: Vec<&K> = self.all.iter().collect();
        found.extend(self.exact.get(kind).into_iter().flatten());
        for (dot, _) in kind.match_indices('.') {
            let begun = self.before.get(&kind[..=dot]).into_iter().flatten();
            found.extend(begun.filter(|(pattern, _)| pattern.matches(kind)).map(|(_, key)| key));
            found.extend(self.after.get(&kind[dot..]).into_iter().flatten());
        }
        found.sort_unstable();
        found.dedup();
        found.into_iter().cloned().collect()
    }
}

fn take_out<V>(map: &mut HashMap<String, Vec<V>>, place: &str, is_it: impl Fn(&V) -> bool) {
    if let Some(list) = map.get_mut(place) {
        list.retain(|one| !is_it(one));
        if list.is_empty() {
            map.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_whole_words() {
        for (pattern, kind, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", true),
            ("a.*", "a", false),
            ("a.*", "ab.c", false),
            ("*.c", "a.b.c", true),
            ("*.c", "c", false),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.c", false),
            ("a.*.c", "a.b.b.c", true),
            ("*", "a", true),
            ("*", "a.b", true),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(kind), expected, "{pattern} and {kind}");
        }
        for (wide, narrow, expected) in [
            ("a.*", "a.b", true),
            ("a.*", "a.b.*", true),
            ("a.b.*", "a.*", false),
            ("*", "*.c", true),
            ("a.b", "a.*", false),
        ] {
            let parse = |text: &str| Pattern::parse(text).unwrap();
            assert_eq!(parse(wide).covers(&parse(narrow)), expected, "{wide} and {narrow}");
        }
        for bad in ["", "a..b", ".a", "a.", "a*", "*.*", "a b", "a.\u{7}"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_index_finds_what_matches(
            patterns in prop::collection::vec("(\\*|[ab])(\\.[ab]){0,2}|[ab](\\.[ab]){0,1}\\.\\*(\\.[ab]){0,2}", 1..20),
            kind in "[ab](\\.[ab]){0,4}",
            gone in any::<prop::sample::Index>(),
        ) {
            let patterns: Vec<Pattern> = patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect();
            let mut index = Index::default();
            for (key, pattern) in patterns.iter().enumerate() {
                index.insert(pattern, key);
            }
            let gone = gone.index(patterns.len());
            index.remove(&patterns[gone], &gone);
            let expected: Vec<usize> =
                (0..patterns.len()).filter(|key| *key != gone && patterns[*key].matches(&kind)).collect();
            prop_assert_eq!(index.matching(&kind), expected);
        }
    }
}
