//! What of a narrative is found by its words, and what a person's search becomes.

use std::{borrow::Cow, collections::HashSet, fmt, fmt::Write as _};

use grace_types::narrative::{NotNarrated, Raw, RawReason};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::limits;

/// What a word is, in FTS5's terms.
pub(super) const TOKENIZER: &str = "unicode61 remove_diacritics 2";

/// Ends each value: no part of a word, and what a person writes has none.
const END: char = '\u{1f}';

/// Everything in a narrative that a person may remember: its reasons, how, who, where, the action, and the values in its event. Not the names of
/// the event's fields, which are the same in every event of a type.
///
/// # Errors
/// The event is no JSON that can be read again.
pub(super) fn of(narrative: &Raw<'_>) -> Result<String, NotNarrated> {
    let Raw { who, what, place, how, .. } = narrative;
    Ok(values(&narrative.reasons, [how, place, who], what, narrative.event)?)
}

/// The same of a narrative's parts.
pub(super) fn values(
    reasons: &[RawReason<'_>],
    how_place_who: [&str; 3],
    what: &str,
    event: &str,
) -> serde_json::Result<String> {
    let mut out = String::with_capacity(512);
    for reason in reasons {
        push(&mut out, &reason.text);
        push(&mut out, &reason.code);
    }
    for part in how_place_who {
        push(&mut out, part);
    }
    push(&mut out, grace_types::narrative::action_of(what));
    Values(&mut out).deserialize(&mut serde_json::Deserializer::from_str(event))?;
    out.truncate(out.floor_char_boundary(limits::NARRATIVE_TEXT_BYTES));
    Ok(out)
}

/// The texts of several narratives as one, with each value once: most are the same in many of them, and at the same place.
pub(super) fn together<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let (mut together, mut seen) = (String::with_capacity(4096), HashSet::new());
    let mut before = "".split_inclusive(END);
    for text in texts {
        for value in text.split_inclusive(END) {
            if before.next() != Some(value) && seen.insert(value) {
                together.push_str(value);
            }
        }
        before = text.split_inclusive(END);
    }
    together
}

fn push(out: &mut String, part: &str) {
    out.push_str(part);
    out.push(END);
}

/// Collects the values in a JSON text, without making a tree of it.
struct Values<'a>(&'a mut String);

impl Values<'_> {
    const fn again(&mut self) -> Values<'_> {
        Values(self.0)
    }
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    // Writing to memory does not fail.
    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        let _ = write!(self.0, "{number}{END}");
        Ok(())
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        let _ = write!(self.0, "{number}{END}");
        Ok(())
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        let _ = write!(self.0, "{number}{END}");
        Ok(())
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        push(self.0, text);
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.again())?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        // The names are read as text, so that what cannot be read again is found out now.
        while fields.next_key::<Cow<'de, str>>()?.is_some() {
            fields.next_value_seed(self.again())?;
        }
        Ok(())
    }
}

/// A search as FTS5 wants it. Every word must occur; `"words in quotes"` in that order; `begin*` any word that begins so. Nothing that a person
/// types is taken for FTS5's own syntax. `None` when there is no word to search for.
pub(super) fn search(typed: &str) -> Option<String> {
    let typed = &typed[..typed.floor_char_boundary(limits::NARRATIVE_SEARCH_BYTES)];
    let mut terms = String::new();
    for (n, part) in typed.split('"').enumerate() {
        if n % 2 == 1 {
            term(&mut terms, part, false);
            continue;
        }
        for word in part.split_whitespace() {
            let whole = word.trim_end_matches('*');
            term(&mut terms, whole, whole.len() < word.len());
        }
    }
    (!terms.is_empty()).then_some(terms)
}

fn term(terms: &mut String, words: &str, begins: bool) {
    // Without a letter or digit the tokenizer finds no word in it.
    if words.chars().any(char::is_alphanumeric) {
        let words = words.replace('\0', " ");
        let _ = write!(terms, "\"{words}\"{} ", if begins { "*" } else { "" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_quoted_word_by_word() {
        for (typed, expected) in [
            ("killed by signal", Some("\"killed\" \"by\" \"signal\" ")),
            ("\"by signal\" web", Some("\"by signal\" \"web\" ")),
            ("conn* NOT (a OR b) NEAR", Some("\"conn\"* \"NOT\" \"(a\" \"OR\" \"b)\" \"NEAR\" ")),
            ("col:x^ -y", Some("\"col:x^\" \"-y\" ")),
            ("open \"end", Some("\"open\" \"end\" ")),
            ("--- \" \" **", None),
            ("", None),
        ] {
            assert_eq!(search(typed).as_deref(), expected, "{typed}");
        }
    }
}
