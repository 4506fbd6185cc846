//! Subjects: tokens between dots, `*` for one token, `>` for the rest.
//!
//! Pure functions on bytes. A *literal* is what a message is published to; a *pattern* may hold wildcards. The same
//! functions decide routing (`matches`), permissions (`covers`, `overlaps`) and what a user may write (`validate`).
//! Source: the NATS documentation, "Subject-Based Messaging".

use crate::limits::{SUBJECT_BYTES, SUBJECT_TOKENS};

/// What is wrong with a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// Nothing between two dots, or nothing at all.
    #[error("it has an empty token")]
    EmptyToken,
    /// A wildcard where only a literal may stand.
    #[error("it has a wildcard")]
    Wildcard,
    /// `>` that is not the last token.
    #[error("`>` is not the last token")]
    RestNotLast,
    /// A space, a control character or bytes that are not UTF-8.
    #[error("it has a blank, a control character or bytes that are not UTF-8")]
    BadCharacter,
    /// More than [`SUBJECT_BYTES`] or [`SUBJECT_TOKENS`].
    #[error("it is longer than {SUBJECT_BYTES} bytes or {SUBJECT_TOKENS} tokens")]
    TooLong,
}

/// Whether `subject` may be published to.
///
/// # Errors
/// Says what is wrong.
pub fn validate_literal(subject: &[u8]) -> Result<(), SubjectError> {
    if validate_pattern(subject)? { Err(SubjectError::Wildcard) } else { Ok(()) }
}

/// Whether `subject` may be subscribed to; `Ok(true)` if it has wildcards.
///
/// # Errors
/// Says what is wrong.
pub fn validate_pattern(subject: &[u8]) -> Result<bool, SubjectError> {
    if subject.len() > SUBJECT_BYTES {
        return Err(SubjectError::TooLong);
    }
    if subject.iter().any(|b| *b <= b' ' || *b == 0x7f) || std::str::from_utf8(subject).is_err() {
        return Err(SubjectError::BadCharacter);
    }
    let (mut wildcards, mut rest, mut count) = (false, false, 0);
    for token in tokens(subject) {
        count += 1;
        match token {
            _ if rest => return Err(SubjectError::RestNotLast),
            [] => return Err(SubjectError::EmptyToken),
            b"*" => wildcards = true,
            b">" => (wildcards, rest) = (true, true),
            _ => {}
        }
    }
    if count > SUBJECT_TOKENS { Err(SubjectError::TooLong) } else { Ok(wildcards) }
}

/// The tokens of a subject.
pub fn tokens(subject: &[u8]) -> impl Iterator<Item = &[u8]> {
    subject.split(|b| *b == b'.')
}

/// Whether a message published to `literal` reaches a subscription on `pattern`.
#[must_use]
pub fn matches(pattern: &[u8], literal: &[u8]) -> bool {
    covers(pattern, literal)
}

/// Whether every subject that `inner` matches is matched by `outer` too.
#[must_use]
pub fn covers(outer: &[u8], inner: &[u8]) -> bool {
    let (mut outer, mut inner) = (tokens(outer), tokens(inner));
    loop {
        match (outer.next(), inner.next()) {
            (Some(b">"), Some(_)) | (None, None) => return true,
            (Some(b"*"), Some(t)) if t != b">" => {}
            (Some(o), Some(i)) if o == i => {}
            _ => return false,
        }
    }
}

/// Whether some subject is matched by both patterns.
#[must_use]
pub fn overlaps(a: &[u8], b: &[u8]) -> bool {
    let (mut a, mut b) = (tokens(a), tokens(b));
    loop {
        match (a.next(), b.next()) {
            (Some(b">"), Some(_)) | (Some(_), Some(b">")) | (None, None) => return true,
            (Some(x), Some(y)) if x == b"*" || y == b"*" || x == y => {}
            _ => return false,
        }
    }
}

/// A 64-bit hash of a subject, for caches that verify what they find. Not keyed: a collision costs a look-up, never
/// a wrong answer.
#[must_use]
pub fn hash(subject: &[u8]) -> u64 {
    const K: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut state = subject.len() as u64;
    let mut chunks = subject.chunks_exact(8);
    let mut mix = |word: u64| state = (state.rotate_left(23) ^ word).wrapping_mul(K);
    for chunk in &mut chunks {
        mix(u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
    }
    let mut last = [0u8; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    mix(u64::from_le_bytes(last));
    state ^ (state >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity() {
        for (subject, pattern, literal) in [
            ("a", Ok(false), Ok(())),
            ("a.b.c", Ok(false), Ok(())),
            ("a.*.c", Ok(true), Err(SubjectError::Wildcard)),
            ("a.>", Ok(true), Err(SubjectError::Wildcard)),
            (">", Ok(true), Err(SubjectError::Wildcard)),
            ("a*.b>", Ok(false), Ok(())),
            ("", Err(SubjectError::EmptyToken), Err(SubjectError::EmptyToken)),
            ("a..b", Err(SubjectError::EmptyToken), Err(SubjectError::EmptyToken)),
            (".a", Err(SubjectError::EmptyToken), Err(SubjectError::EmptyToken)),
            ("a.", Err(SubjectError::EmptyToken), Err(SubjectError::EmptyToken)),
            ("a.>.b", Err(SubjectError::RestNotLast), Err(SubjectError::RestNotLast)),
            ("a b", Err(SubjectError::BadCharacter), Err(SubjectError::BadCharacter)),
            ("a\tb", Err(SubjectError::BadCharacter), Err(SubjectError::BadCharacter)),
        ] {
            assert_eq!(validate_pattern(subject.as_bytes()), pattern, "{subject}");
            assert_eq!(validate_literal(subject.as_bytes()), literal, "{subject}");
        }
        let long = vec![b'a'; SUBJECT_BYTES + 1];
        assert_eq!(validate_pattern(&long), Err(SubjectError::TooLong));
        let deep = "a.".repeat(SUBJECT_TOKENS) + "a";
        assert_eq!(validate_pattern(deep.as_bytes()), Err(SubjectError::TooLong));
        assert_eq!(validate_pattern(b"a.\xff"), Err(SubjectError::BadCharacter));
    }

    #[test]
    fn relations_between_patterns() {
        let all = ["a", "a.b", "a.c", "a.b.c", "*", "a.*", "*.b", "a.>", ">", "*.>", "a.*.c", "b.>"];
        let literals = ["a", "b", "a.b", "a.c", "b.b", "a.b.c", "a.b.d", "b.c.d", "x.b", "x"];
        for outer in all {
            for inner in all {
                let (o, i) = (outer.as_bytes(), inner.as_bytes());
                let both = |l: &&str| matches(o, l.as_bytes()) && matches(i, l.as_bytes());
                if covers(o, i) {
                    let lost =
                        literals.iter().find(|l| matches(i, l.as_bytes()) && !matches(o, l.as_bytes()));
                    assert_eq!(lost, None, "{outer} covers {inner}");
                    assert!(overlaps(o, i), "{outer} {inner}");
                }
                assert_eq!(overlaps(o, i), literals.iter().any(both), "{outer} overlaps {inner}");
            }
        }
        assert!(covers(b"a.>", b"a.*.c") && !covers(b"a.*", b"a.>") && !covers(b"a.>", b"a"));
    }
}
