//! What of a narrative is found by its words, and what a person's search becomes.

use std::fmt::Write as _;

use grace_types::narrative::Narrative;
use serde_json::Value;

use crate::limits;

/// Everything in a narrative that a person may remember: its reasons, how, who, where, the action, and the values in its event. Not the names of
/// the event's fields, which are the same in every event of a type.
pub(super) fn of(narrative: &Narrative, out: &mut String) {
    out.clear();
    for reason in &narrative.why {
        push(out, &reason.text);
        push(out, &reason.code);
    }
    for part in [&narrative.how, &narrative.place, &narrative.who] {
        push(out, part);
    }
    push(out, narrative.action());
    values(out, &narrative.event);
    out.truncate(out.floor_char_boundary(limits::NARRATIVE_TEXT_BYTES));
}

fn push(out: &mut String, part: &str) {
    out.push_str(part);
    out.push('\n');
}

/// JSON from a record is at most 128 deep, serde_json's own bound.
fn values(out: &mut String, value: &Value) {
    match value {
        Value::Null | Value::Bool(_) => {}
        // Writing to memory does not fail.
        Value::Number(number) => drop(writeln!(out, "{number}")),
        Value::String(text) => push(out, text),
        Value::Array(items) => items.iter().for_each(|item| values(out, item)),
        Value::Object(fields) => fields.values().for_each(|field| values(out, field)),
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
