//! Whether each record of a batch is one JSON document: anything else would make an entry that nobody can read. Pure.
//!
//! It is done for every record, and `serde_json` asks for memory for each that nests. So a look that needs none comes first: what it
//! finds to be JSON (RFC 8259) is. What it does not is left to `serde_json`, which also says what is wrong.

use grace_kernel::evidence::wire::{Batch, WireError};
use serde::de::IgnoredAny;

/// Levels that the first look follows: as many as a reader of typed records does.
const LEVELS: u32 = u128::BITS;

/// Whether each record is one JSON document.
///
/// # Errors
/// `bad_record`, with the first that is not.
pub(super) fn are_documents(batch: &Batch) -> Result<(), WireError> {
    for (sequence, record) in batch.records() {
        // What is skipped is not checked to be text by either.
        let wrong = match std::str::from_utf8(record) {
            Ok(text) if is_plain(text) => None,
            Ok(text) => serde_json::from_str::<IgnoredAny>(text).err().map(|e| e.to_string()),
            Err(e) => Some(e.to_string()),
        };
        if let Some(wrong) = wrong {
            let message = format!("record {sequence} is not one JSON document: {wrong}");
            return Err(WireError { code: "bad_record".to_owned(), message });
        }
    }
    Ok(())
}

/// Whether this is one JSON document for certain. Of one that nests very deep it is not said.
fn is_plain(text: &str) -> bool {
    Look { rest: text.as_bytes() }.document().is_some()
}

/// What is left to be looked at. Each step gives `None` where it is not certain to be JSON.
struct Look<'t> {
    rest: &'t [u8],
}

impl Look<'_> {
    fn document(&mut self) -> Option<()> {
        // The levels that are open, the innermost the lowest bit: 1 for an object.
        let (mut open, mut levels) = (0u128, 0);
        loop {
            self.space();
            let first = self.next()?;
            match first {
                b'{' | b'[' => {
                    let object = first == b'{';
                    self.space();
                    let end = if object { b'}' } else { b']' };
                    if !self.skip(end) {
                        if levels == LEVELS {
                            return None;
                        }
                        (open, levels) = (open << 1 | u128::from(object), levels + 1);
                        if object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b'"' => self.string()?,
                b't' => self.word(b"rue")?,
                b'f' => self.word(b"alse")?,
                b'n' => self.word(b"ull")?,
                first => self.number(first)?,
            }
            // A value has ended, and maybe what it lies in.
            loop {
                self.space();
                if levels == 0 {
                    return self.rest.is_empty().then_some(());
                }
                let object = open & 1 == 1;
                match self.next()? {
                    b',' if object => {
                        self.space();
                        self.key()?;
                        break;
                    }
                    b',' => break,
                    b'}' if object => {}
                    b']' if !object => {}
                    _ => return None,
                }
                (open, levels) = (open >> 1, levels - 1);
            }
        }
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_prefix_of(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    /// A name and the colon after it.
    fn key(&mut self) -> Option<()> {
        self.word(b"\"")?;
        self.string()?;
        self.space();
        self.word(b":")
    }

    /// What is left of a text, with its end.
    fn string(&mut self) -> Option<()> {
        loop {
            let plain = self.rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
            let found = self.rest[plain];
            self.rest = &self.rest[plain + 1..];
            match found {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        let (digits, rest) = self.rest.split_first_chunk::<4>()?;
                        digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                        self.rest = rest;
                    }
                    _ => return None,
                },
                _ => return None,
            }
        }
    }

    /// What is left of a number that begins so.
    fn number(&mut self, first: u8) -> Option<()> {
        let first = if first == b'-' { self.next()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => drop(self.digits()),
            _ => return None,
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            let _ = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        Some(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<()> {
        let before = self.rest.len();
        self.rest = self.rest.trim_prefix_of(|byte| byte.is_ascii_digit());
        (self.rest.len() < before).then_some(())
    }
}

/// Without what its beginning has of one kind.
trait TrimPrefix {
    fn trim_prefix_of(&self, kind: impl Fn(u8) -> bool) -> &Self;
}

impl TrimPrefix for [u8] {
    fn trim_prefix_of(&self, kind: impl Fn(u8) -> bool) -> &Self {
        let end = self.iter().position(|byte| !kind(*byte)).unwrap_or(self.len());
        &self[end..]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    fn is_json(text: &str) -> bool {
        serde_json::from_str::<IgnoredAny>(text).is_ok()
    }

    proptest! {
        #[test]
        fn what_is_json_is_seen_and_nothing_else(value in json(), pretty: bool, at: prop::sample::Index, by in 0..128u8) {
            let text = if pretty { format!(" {value:#}\n") } else { value.to_string() };
            prop_assert!(is_plain(&text), "{text}");
            // With another character in one place it may be JSON or not: both say the same.
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = by;
            let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
            prop_assert_eq!(is_plain(&text), is_json(&text), "{}", text);
            let cut = text.get(..at).unwrap_or("");
            prop_assert_eq!(is_plain(cut), is_json(cut), "{}", cut);
        }

        #[test]
        fn of_any_text_it_says_what_the_parser_says(text in r#"[\[\]{}":,0-9eE.+\\u tfn-]{0,24}"#) {
            prop_assert_eq!(is_plain(&text), is_json(&text));
        }
    }

    #[test]
    fn what_nests_too_deep_for_it_is_left_to_the_parser() {
        let nested = |levels: usize| "[".repeat(levels) + "1" + &"]".repeat(levels);
        let most = LEVELS as usize;
        assert!(is_plain(&nested(most)) && !is_plain(&nested(most + 1)) && is_json(&nested(most + 1)));
    }
}
