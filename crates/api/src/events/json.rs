//! Looking at JSON without building it: how deep it goes, and the members of an object as they were written.
//!
//! Event data go on as the bytes that came. Parsing a body into values would take some ten times its size, for each sender at once.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::limits;

/// That `bytes` are one JSON value, not too deep.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    shallow(bytes)?;
    serde_json::from_slice::<IgnoredAny>(bytes).map(drop).map_err(|e| e.to_string())
}

/// That nothing in `bytes` is nested too deep. To be asked first: whatever parses recurses.
///
/// # Errors
/// Where it becomes too deep.
pub(crate) fn shallow(bytes: &[u8]) -> Result<(), String> {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                if depth > limits::JSON_DEPTH {
                    return Err(format!("nested deeper than {} at byte {at}", limits::JSON_DEPTH));
                }
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// The members of an object. A name that stands twice is refused: two readers might take different ones for the event.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event as a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(String, &RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if members.len() > limits::EXTENSIONS * 2 {
                        return Err(A::Error::custom("too many attributes"));
                    }
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format_args!("`{}` stands twice", name.escape_debug())));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// The elements of an array, but no more of them than one past the bound: who asks says no then.
pub(super) struct Elements<'a>(pub(super) Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON array of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while elements.len() <= limits::BATCH_EVENTS {
                    let Some(element) = seq.next_element()? else { return Ok(Elements(elements)) };
                    elements.push(element);
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_of_texts() {
        let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        check(nested(limits::JSON_DEPTH).as_bytes()).unwrap();
        let refused = check(nested(limits::JSON_DEPTH + 1).as_bytes()).unwrap_err();
        assert!(refused.contains("deeper than 64 at byte 64"), "{refused}");
        check(format!("\"{}\\\"{}\"", "[".repeat(100), "{".repeat(100)).as_bytes()).unwrap();
        check(format!("[{}1]", "[],".repeat(100)).as_bytes()).unwrap();
        check(nested(1_000_000).as_bytes()).unwrap_err();
        for bad in ["", "{", "]", "1 2", "nul", "\u{0}", "{\"a\":1,}"] {
            check(bad.as_bytes()).unwrap_err();
        }
    }
}
