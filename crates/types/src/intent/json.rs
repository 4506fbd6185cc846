//! A JSON document that is kept as its text and shared: payloads and outputs are stored and passed on, seldom looked into.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

/// A JSON document as its text. Clones share it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Arc<RawValue>);

impl Json {
    /// A document's text, without spaces.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        // Cannot fail: a `Value` has a text.
        let raw = serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self(raw.into())
    }

    /// The same document as [`Self::of`] its value writes it, so that the same payload is the same text. Most are written so already.
    ///
    /// # Errors
    /// It is nested more than 128 levels deep.
    pub fn normal(&self) -> serde_json::Result<Self> {
        if is_normal(self.text().as_bytes()) {
            Ok(self.clone())
        } else {
            self.value().map(|value| Self::of(&value))
        }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.get().len()
    }

    /// Never: a document has at least one byte. There for symmetry with [`Self::len`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.get().is_empty()
    }

    /// The document.
    ///
    /// # Errors
    /// It is nested more than 128 levels deep.
    pub fn value(&self) -> serde_json::Result<Value> {
        serde_json::from_str(self.0.get())
    }
}

/// Open objects and lists, and names of those objects, up to which a look is enough: of more it is not cheaper than reading.
const OPEN: usize = 16;
const NAMES: usize = 32;

/// Whether a document, which is one, is surely written as its value would be: a look at each byte, where reading takes several copies of
/// each text. `false` where only reading can tell.
fn is_normal(text: &[u8]) -> bool {
    // Whether it is an object, and how many names there were before it.
    let (mut open, mut depth) = ([(false, 0); OPEN], 0);
    let (mut names, mut known) = ([&[][..]; NAMES], 0);
    // A text that comes now is a name.
    let mut naming = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => {
                let rest = &text[at..];
                let Some(length) = rest.iter().position(|&one| matches!(one, b'"' | b'\\')) else {
                    return false;
                };
                if rest[length] == b'\\' {
                    return false;
                }
                at += length + 1;
                if naming && depth > 0 {
                    let ((_, before), name) = (open[depth - 1], &rest[..length]);
                    // Of two of one name the last one counts.
                    if known == NAMES || names[before..known].contains(&name) {
                        return false;
                    }
                    (names[known], known, naming) = (name, known + 1, false);
                }
            }
            b'{' | b'[' => {
                if depth == OPEN {
                    return false;
                }
                naming = byte == b'{';
                (open[depth], depth) = ((naming, known), depth + 1);
            }
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                (known, naming) = (open[depth].1, false);
            }
            b',' if depth > 0 => naming = open[depth - 1].0,
            b'-' | b'0'..=b'9' => {
                let rest = &text[at..];
                let digits = rest.iter().take_while(|one| one.is_ascii_digit()).count();
                // Fractions, exponents and large numbers have several texts, and -0 is none of the whole ones.
                let whole = !matches!(rest.get(digits), Some(b'.' | b'e' | b'E')) && digits < 18;
                if !whole || (byte == b'-' && rest.first() == Some(&b'0')) {
                    return false;
                }
                at += digits;
            }
            b' ' | b'\t' | b'\n' | b'\r' => return false,
            // A colon, or a letter of true, false or null.
            _ => {}
        }
    }
    true
}

impl schemars::JsonSchema for Json {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Json".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!(true)
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Default for Json {
    fn default() -> Self {
        Self(RawValue::NULL.to_owned().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_normal_is_as_its_value_writes_it() {
        let written = [
            "null",
            "true",
            "0",
            "-1",
            "123456789012345678",
            r#""""#,
            "\"ä€😀\u{7f}\"",
            "{}",
            "[]",
            r#"{"a":1,"b":[{"a":1},{"a":[]}],"c":{"a":"x y","d":null}}"#,
            r#"[[[1,"a"],"a"],"a",{"a":{"a":{"a":"a"}}}]"#,
        ];
        for text in written {
            assert!(is_normal(text.as_bytes()), "{text}");
            let json: Json = serde_json::from_str(text).unwrap();
            assert_eq!(Json::of(&json.value().unwrap()), json, "{text}");
        }
    }

    #[test]
    fn what_is_written_otherwise_is_read_and_written() {
        let written = [
            (r#"{ "a" : 1 }"#, r#"{"a":1}"#),
            ("[1,\n2]", "[1,2]"),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
            (r#"{"b":{"a":1},"a":1,"b":1}"#, r#"{"b":1,"a":1}"#),
            (r#""\u0041""#, r#""A""#),
            (r#""a\nb""#, r#""a\nb""#),
            (r#"{"\u0061":1,"a":2}"#, r#"{"a":2}"#),
            ("1.0", "1.0"),
            ("1.50", "1.5"),
            ("1e2", "100.0"),
            ("-0", "-0.0"),
            ("12345678901234567890123", "1.2345678901234568e+22"),
            ("1234567890123456789", "1234567890123456789"),
        ];
        for (text, normal) in written {
            let json: Json = serde_json::from_str(text).unwrap();
            assert!(!is_normal(json.text().as_bytes()), "{text}");
            assert_eq!(json.normal().unwrap().text(), normal, "{text}");
        }
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let json: Json = serde_json::from_str(&deep).unwrap();
        assert_eq!(json.normal().unwrap(), json);
        let many: String = (0..100).map(|n| format!("\"{n}\":{n},")).collect();
        let json: Json = serde_json::from_str(&format!("{{{many}\"z\":0}}")).unwrap();
        assert_eq!(json.normal().unwrap(), json);
    }

    /// Texts out of few pieces, so that many are documents and names meet again.
    fn documents() -> impl proptest::strategy::Strategy<Value = String> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("-0".to_owned()),
            any::<i64>().prop_map(|n| n.to_string()),
            any::<f64>().prop_filter_map("a number", |n| n.is_finite().then(|| n.to_string())),
            proptest::string::string_regex("[ab\\\\\"/ {}\\[\\],:é\u{1}]{0,4}")
                .unwrap()
                .prop_map(|text| serde_json::to_string(&text).unwrap()),
        ];
        let name = prop_oneof![Just("\"a\""), Just("\"b\""), Just("\"\\u0061\""), Just("\"c\"")];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            let space = prop_oneof![8 => Just(""), 1 => Just(" ")];
            let list =
                prop::collection::vec(inner.clone(), 0..5).prop_map(|all| format!("[{}]", all.join(",")));
            let pair = (name.clone(), space, inner)
                .prop_map(|(name, space, value)| format!("{name}:{space}{value}"));
            let object = prop::collection::vec(pair, 0..5).prop_map(|all| format!("{{{}}}", all.join(",")));
            prop_oneof![list, object]
        })
    }

    proptest::proptest! {
        #[test]
        fn the_short_way_and_the_long_one_come_to_the_same(text in documents()) {
            let json: Json = serde_json::from_str(&text).unwrap();
            proptest::prop_assert_eq!(json.normal().unwrap(), Json::of(&json.value().unwrap()));
        }
    }
}
