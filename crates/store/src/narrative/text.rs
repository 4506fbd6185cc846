//! What of a narrative is found by its words, and what a person's search becomes.

use std::{borrow::Cow, fmt, fmt::Write as _};

use grace_types::narrative::{Narrative, NotNarrated, Raw, RawReason};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::index::{Any, Kind, words};
use crate::limits;

/// Everything in a narrative that a person may remember: its reasons, how, who, where, the action, and the values in its event. Not the names of
/// the event's fields, which are the same in every event of a type.
///
/// # Errors
/// The event is no JSON that can be read again.
pub(super) fn of(narrative: &Raw<'_>) -> Result<String, NotNarrated> {
    let mut out = String::with_capacity(512);
    for reason in &narrative.reasons {
        push(&mut out, &reason.text);
        push(&mut out, &reason.code);
    }
    for part in [&narrative.how, &narrative.place, &narrative.who] {
        push(&mut out, part);
    }
    push(&mut out, grace_types::narrative::action_of(&narrative.what));
    let mut event = serde_json::Deserializer::from_str(narrative.event);
    Values(&mut out).deserialize(&mut event)?;
    out.truncate(out.floor_char_boundary(limits::NARRATIVE_TEXT_BYTES));
    Ok(out)
}

fn push(out: &mut String, part: &str) {
    out.push_str(part);
    out.push('\n');
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
        let _ = writeln!(self.0, "{number}");
        Ok(())
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        let _ = writeln!(self.0, "{number}");
        Ok(())
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        let _ = writeln!(self.0, "{number}");
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

/// A part of a search: a word, or words that follow one another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    words: Vec<String>,
    /// The last of them is only the beginning of one.
    begins: bool,
}

/// A search as a person types it. Every word must occur; `"words in quotes"` in that order, and so the parts of a name such as
/// `health_monitor`; `begin*` any word that begins so. Nothing else has a meaning of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sought(Vec<Part>);

impl Sought {
    /// `None` when there is no word to search for.
    pub(super) fn read(typed: &str) -> Option<Self> {
        let typed = &typed[..typed.floor_char_boundary(limits::NARRATIVE_SEARCH_BYTES)];
        let mut parts = Vec::new();
        let mut part = |text: &str, begins| {
            let mut found = Vec::new();
            words::each(text, &mut String::new(), |word| found.push(word.to_owned()));
            if !found.is_empty() {
                parts.push(Part { words: found, begins });
            }
        };
        for (n, piece) in typed.split('"').enumerate() {
            if n % 2 == 1 {
                part(piece, false);
                continue;
            }
            for word in piece.split_whitespace() {
                let whole = word.trim_end_matches('*');
                part(whole, whole.len() < word.len());
            }
        }
        (!parts.is_empty()).then_some(Self(parts))
    }

    /// What the index must hold.
    pub(super) fn terms(&self) -> impl Iterator<Item = Any> {
        self.0.iter().flat_map(|Part { words, begins }| {
            words.iter().enumerate().map(move |(n, word)| {
                let term = Kind::Text.term(word.as_bytes());
                if *begins && n + 1 == words.len() { Any::Begins(term) } else { Any::Of(vec![term]) }
            })
        })
    }

    /// Whether the index alone cannot tell: it knows words and not their order.
    pub(super) fn has_phrase(&self) -> bool {
        self.0.iter().any(|part| part.words.len() > 1)
    }

    /// Whether all of it is in the narrative, phrases in their order.
    pub(super) fn is_in(&self, narrative: &Narrative) -> bool {
        let event = narrative.event.to_string();
        let reasons = narrative.why.iter();
        let raw = Raw {
            id: narrative.id,
            time: narrative.time,
            hlc: narrative.hlc,
            who: Cow::Borrowed(&narrative.who),
            what: Cow::Borrowed(&narrative.what),
            place: Cow::Borrowed(&narrative.place),
            reasons: reasons
                .map(|r| RawReason { code: Cow::Borrowed(&r.code), text: Cow::Borrowed(&r.text) })
                .collect(),
            why: "",
            how: Cow::Borrowed(&narrative.how),
            correlation: narrative.correlation,
            causation: narrative.causation,
            event: &event,
        };
        // What was stored was read before.
        let Ok(text) = of(&raw) else { return false };
        let mut found = Vec::new();
        words::each(&text, &mut String::new(), |word| found.push(word.to_owned()));
        self.0.iter().all(|Part { words, begins }| {
            found.windows(words.len()).any(|window| {
                let (Some((last, before)), Some((sought, sought_before))) =
                    (window.split_last(), words.split_last())
                else {
                    return false;
                };
                before == sought_before && (last == sought || (*begins && last.starts_with(sought)))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_read_word_by_word() {
        for (typed, expected) in [
            ("killed by signal", &["killed", "by", "signal"][..]),
            ("\"By signal\" web", &["by signal", "web"]),
            ("conn* NOT (a OR b) NEAR", &["conn*", "not", "a", "or", "b", "near"]),
            ("col:x^ -y health_mon*", &["col x", "y", "health mon*"]),
            ("open \"end", &["open", "end"]),
            ("--- \" \" **", &[]),
            ("", &[]),
        ] {
            let shown = |part: &Part| part.words.join(" ") + if part.begins { "*" } else { "" };
            let read = Sought::read(typed).map_or(Vec::new(), |s| s.0.iter().map(shown).collect());
            assert_eq!(read, expected, "{typed}");
        }
    }
}
