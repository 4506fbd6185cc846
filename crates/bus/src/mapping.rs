//! Subject mappings: what is published to one subject goes to another, by weight.
//!
//! A mapping has a source pattern and destinations with weights in percent. The tokens that the source's `*` matched
//! can be put into a destination as `$1` or `{{wildcard(1)}}`. If the weights do not add up to 100, the rest stays
//! with the original subject, unless the source itself is among the destinations (nats-server's rule). The choice
//! draws one random number per message, so a share holds over many messages and not in any order. The control plane
//! replaces the whole set at once; there is no moment with half of it.
//!
//! What a source's `>` matched cannot be carried over: destinations are literal but for those tokens.
//!
//! Permissions are checked on the subject that the client published to; the mapped one is the operator's choice.

use grace_types::chance::Entropy;
use serde::{Deserialize, Serialize};

use crate::{
    limits::{DESTINATIONS, MAPPINGS, SUBJECT_BYTES},
    subject::{self, SubjectError},
};

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectMapping {
    /// A pattern; where several match, the first in the set is used.
    pub source: String,
    /// Where to.
    pub destinations: Vec<Destination>,
}

/// Where a share of the messages goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// A literal subject, or a template with `$N` or `{{wildcard(N)}}` as whole tokens.
    pub subject: String,
    /// Percent, 0 to 100.
    pub weight: u8,
}

/// Why a set of mappings is refused. Nothing of a refused set takes effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// A bound of [`crate::limits`] is exceeded.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// The weights of one source add up to more than 100.
    #[error("the weights of `{0}` add up to more than 100")]
    Overweight(String),
    /// A source or destination that is not a subject.
    #[error("`{subject}` is not a valid subject here: {reason}")]
    BadSubject {
        /// What was given.
        subject: String,
        /// What is wrong with it.
        reason: SubjectError,
    },
    /// A destination names a wildcard that its source does not have.
    #[error("`{0}` names a wildcard that its source does not have")]
    NoSuchWildcard(String),
}

/// A checked set.
#[derive(Debug, Default)]
pub struct Mappings {
    all: Vec<Checked>,
}

#[derive(Debug)]
struct Checked {
    source: Box<[u8]>,
    /// Cumulative weight, template. What is drawn at or past the last one keeps the original subject.
    destinations: Vec<(u8, Vec<Part>)>,
}

/// A token of a destination.
#[derive(Debug)]
enum Part {
    Literal(Box<[u8]>),
    /// The token that the n-th `*` of the source matched, counted from 0.
    Wildcard(usize),
}

impl Mappings {
    /// Checks a set.
    ///
    /// # Errors
    /// Names the mapping at fault.
    pub fn new(set: &[SubjectMapping]) -> Result<Self, MappingError> {
        if set.len() > MAPPINGS {
            return Err(MappingError::TooMany("mappings"));
        }
        set.iter().map(Checked::new).collect::<Result<_, _>>().map(|all| Self { all })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Writes the subject that a message published to `subject` goes to into `mapped`; `false` if it stays.
    pub fn apply(&self, subject: &[u8], entropy: &mut impl Entropy, mapped: &mut Vec<u8>) -> bool {
        let Some(mapping) = self.all.iter().find(|m| subject::matches(&m.source, subject)) else {
            return false;
        };
        let drawn = entropy.below(100) as u8;
        let Some((_, template)) = mapping.destinations.iter().find(|(upto, _)| drawn < *upto) else {
            return false;
        };
        mapped.clear();
        for part in template {
            if !mapped.is_empty() {
                mapped.push(b'.');
            }
            match part {
                Part::Literal(text) => mapped.extend_from_slice(text),
                Part::Wildcard(n) => mapped.extend_from_slice(nth_wildcard(&mapping.source, subject, *n)),
            }
        }
        // Templates may repeat a token: the result is bounded like any subject.
        mapped.len() <= SUBJECT_BYTES
    }
}

fn nth_wildcard<'s>(source: &[u8], literal: &'s [u8], n: usize) -> &'s [u8] {
    let mut stars = subject::tokens(source).zip(subject::tokens(literal)).filter(|(s, _)| *s == b"*");
    stars.nth(n).map_or(&[], |(_, token)| token)
}

impl Checked {
    fn new(mapping: &SubjectMapping) -> Result<Self, MappingError> {
        let bad = |subject: &str| {
            let subject = subject.to_owned();
            move |reason| MappingError::BadSubject { subject, reason }
        };
        subject::validate_pattern(mapping.source.as_bytes()).map_err(bad(&mapping.source))?;
        if mapping.destinations.len() > DESTINATIONS {
            return Err(MappingError::TooMany("destinations"));
        }
        let wildcards = subject::tokens(mapping.source.as_bytes()).filter(|t| *t == b"*").count();
        let mut total = 0u8;
        let mut destinations = Vec::with_capacity(mapping.destinations.len());
        for Destination { subject, weight } in &mapping.destinations {
            total = total
                .checked_add(*weight)
                .filter(|t| *t <= 100)
                .ok_or_else(|| MappingError::Overweight(mapping.source.clone()))?;
            destinations.push((total, template(subject, wildcards, bad(subject))?));
        }
        Ok(Self { source: mapping.source.as_bytes().into(), destinations })
    }
}

fn template(
    text: &str,
    wildcards: usize,
    bad: impl FnOnce(SubjectError) -> MappingError,
) -> Result<Vec<Part>, MappingError> {
    // `{{wildcard(1)}}` has no dot, so splitting first is safe; blanks inside the braces are taken out.
    let text = text.replace("{{ ", "{{").replace(" }}", "}}");
    subject::validate_literal(text.as_bytes()).map_err(bad)?;
    text.split('.')
        .map(|token| {
            let number = token
                .strip_prefix('$')
                .or_else(|| token.strip_prefix("{{wildcard(").and_then(|t| t.strip_suffix(")}}")))
                .and_then(|n| n.parse::<usize>().ok());
            match number {
                None => Ok(Part::Literal(token.as_bytes().into())),
                Some(n) if (1..=wildcards).contains(&n) => Ok(Part::Wildcard(n - 1)),
                Some(_) => Err(MappingError::NoSuchWildcard(text.clone())),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use grace_types::chance::SeededEntropy;

    use super::*;

    fn mapping(source: &str, destinations: &[(&str, u8)]) -> SubjectMapping {
        let destinations =
            destinations.iter().map(|(s, w)| Destination { subject: (*s).into(), weight: *w }).collect();
        SubjectMapping { source: source.into(), destinations }
    }

    fn shares(set: &[SubjectMapping], subject: &str) -> BTreeMap<String, u32> {
        let mappings = Mappings::new(set).unwrap();
        let (mut entropy, mut out) = (SeededEntropy::new(4), Vec::new());
        let mut seen = BTreeMap::new();
        for _ in 0..10_000 {
            let to = if mappings.apply(subject.as_bytes(), &mut entropy, &mut out) {
                String::from_utf8(out.clone()).unwrap()
            } else {
                subject.to_owned()
            };
            *seen.entry(to).or_default() += 1;
        }
        seen
    }

    #[test]
    fn weights_hold() {
        let canary = [mapping("task.*.run", &[("v1.$1.run", 90), ("v2.{{ wildcard(1) }}.run", 10)])];
        let seen = shares(&canary, "task.resize.run");
        assert_eq!(seen.len(), 2);
        assert!(
            seen["v1.resize.run"].abs_diff(9000) < 200 && seen["v2.resize.run"].abs_diff(1000) < 200,
            "{seen:?}"
        );
        let rest = shares(&[mapping("a", &[("b", 25)])], "a");
        assert!(rest["b"].abs_diff(2500) < 200 && rest["a"].abs_diff(7500) < 200, "{rest:?}");
        assert_eq!(shares(&canary, "task.resize.stop").len(), 1, "not its source");
        assert_eq!(shares(&[mapping("x.*.*", &[("$2.$1", 100)])], "x.one.two")["two.one"], 10_000);
    }

    #[test]
    fn a_bad_set_is_refused() {
        let refuse = |m: SubjectMapping| Mappings::new(&[m]).unwrap_err();
        assert_eq!(refuse(mapping("a", &[("b", 60), ("c", 50)])), MappingError::Overweight("a".into()));
        assert_eq!(refuse(mapping("a.*", &[("b.$2", 1)])), MappingError::NoSuchWildcard("b.$2".into()));
        assert!(matches!(refuse(mapping("a..b", &[])), MappingError::BadSubject { .. }));
        assert!(matches!(refuse(mapping("a", &[("b.*", 1)])), MappingError::BadSubject { .. }));
        assert!(matches!(refuse(mapping("a", &[("b", 1); 33])), MappingError::TooMany(_)));
    }
}
