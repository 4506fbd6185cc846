//! The words of a text, as they are indexed and searched: letters and digits in a row, in lower case, without accents.
//!
//! What is neither a letter nor a digit parts words: `health_monitor` is two. A word past [`limits::NARRATIVE_WORD_BYTES`] is cut there, in the
//! index and in a search alike.

use unicode_normalization::char::{decompose_canonical, is_combining_mark};

use crate::limits;

/// Calls `word` with each word of `text`. `buffer` is memory to be used again.
pub(in super::super) fn each(text: &str, buffer: &mut String, mut word: impl FnMut(&str)) {
    buffer.clear();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            push(buffer, c.to_ascii_lowercase());
        } else if !c.is_ascii() && (c.is_alphanumeric() || is_combining_mark(c)) {
            for lower in c.to_lowercase() {
                decompose_canonical(lower, |part| {
                    if !is_combining_mark(part) {
                        push(buffer, part);
                    }
                });
            }
        } else if !buffer.is_empty() {
            word(buffer);
            buffer.clear();
        }
    }
    if !buffer.is_empty() {
        word(buffer);
    }
}

fn push(buffer: &mut String, c: char) {
    if buffer.len() + c.len_utf8() <= limits::NARRATIVE_WORD_BYTES {
        buffer.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_folded() {
        let long = "x".repeat(500);
        for (text, expected) in [
            ("Killed by signal 9", &["killed", "by", "signal", "9"][..]),
            ("health_monitor.failed-v1", &["health", "monitor", "failed", "v1"]),
            ("naïve CAFE\u{301} İ ǅ", &["naive", "cafe", "i", "ǆ"]),
            ("数据库 down…", &["数据库", "down"]),
            ("\u{301}", &[]),
            (" -- ", &[]),
            (&long, &[&long[..limits::NARRATIVE_WORD_BYTES]]),
        ] {
            let mut found = Vec::new();
            each(text, &mut String::new(), |word| found.push(word.to_owned()));
            assert_eq!(found, expected, "{text}");
        }
    }
}
