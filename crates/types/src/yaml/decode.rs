//! A node of the tree → any serde type, with the place of whatever does not fit.

use std::fmt;

use serde::{
    Deserializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
        Unexpected, VariantAccess, Visitor, value::StrDeserializer,
    },
    forward_to_deserialize_any,
};

use super::{
    report::{nearest, suggest},
    tree::{Document, Entry, Node, Path, Step, Value},
};

impl Document {
    /// Decodes the whole document. Values that do not fit are reported and left out, as if they had not been written;
    /// `None` when even that gives no `T`.
    pub fn decode<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            let error = match T::deserialize(NodeDeserializer(&self.root)) {
                Ok(value) => return Some(value),
                Err(error) => error,
            };
            let path = Path(error.steps.into_iter().rev().collect());
            if error.missing.is_some_and(|field| self.is_lost(&path.key(field))) {
                // It was there and has been reported; that it is gone now is our doing.
            } else if error.at_key {
                self.fault_at_key(&path, error.message, error.help);
            } else {
                self.fault(&path, error.message, error.help);
            }
            if !self.may_report() || !self.remove(&path) {
                return None;
            }
        }
    }
}

/// Why a value does not fit, and the steps to it, innermost first.
#[derive(Debug)]
struct DecodeError {
    steps: Vec<Step>,
    at_key: bool,
    missing: Option<&'static str>,
    message: String,
    help: Option<String>,
}

impl DecodeError {
    fn new(message: String, help: Option<String>) -> Self {
        Self { steps: Vec::new(), at_key: false, missing: None, message, help }
    }

    fn inside(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string(), None)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        // Serde's own words for what YAML calls otherwise.
        let expected = match expected.to_string().as_str() {
            "a sequence" => "a list".to_owned(),
            "a string" => "a text".to_owned(),
            "a map" => "a mapping".to_owned(),
            expected => expected.to_owned(),
        };
        Self::new(format!("expected {expected}, found {}", name_of(found)), None)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {expected}, found {}", name_of(found)), None)
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {expected}, found {length} elements"), None)
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        let help = nearest(found, expected.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        Self::new(format!("expected {}, found `{}`", one_of(expected), shorten(found)), help)
    }

    fn unknown_field(found: &str, expected: &'static [&'static str]) -> Self {
        let help = suggest(found, expected.iter().copied());
        let mut error = Self::new("unknown key".to_owned(), help);
        error.at_key = true;
        error
    }

    fn missing_field(field: &'static str) -> Self {
        let error = Self::new(format!("`{field}` is missing"), None);
        Self { missing: Some(field), ..error }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("`{field}` is given twice, under two names"), None)
    }
}

/// `a`, `b` or `c`.
pub(crate) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [word] => word.clone(),
        [words @ .., last] => format!("{} or {last}", words.join(", ")),
    }
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().count() > 60 {
        short.push('…');
    }
    short
}

fn name_of(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(text) => format!("`{}`", shorten(text)),
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("`{value}`"),
        Unexpected::Signed(value) => format!("`{value}`"),
        Unexpected::Float(value) => format!("`{value}`"),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

fn unexpected(node: &Node) -> Unexpected<'_> {
    match &node.value {
        _ if node.is_null() => Unexpected::Unit,
        Value::Scalar { text, .. } => Unexpected::Str(text),
        Value::Sequence(_) => Unexpected::Seq,
        Value::Mapping(_) => Unexpected::Map,
    }
}

#[derive(Clone, Copy)]
struct NodeDeserializer<'n>(&'n Node);

impl<'n> NodeDeserializer<'n> {
    /// The text of a scalar that was written without quotes.
    fn plain(self) -> Option<&'n str> {
        match &self.0.value {
            Value::Scalar { text, plain: true } if !self.0.is_null() => Some(text),
            _ => None,
        }
    }

    fn collection<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.0.value {
            Value::Sequence(nodes) => visitor.visit_seq(Elements { nodes: nodes.iter().enumerate() }),
            Value::Mapping(entries) => visitor.visit_map(Entries { entries: entries.iter(), value: None }),
            Value::Scalar { .. } => Err(de::Error::invalid_type(unexpected(self.0), &visitor)),
        }
    }
}

/// Integers of every width: the whole number that the plain text says, or what was expected instead.
macro_rules! integers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            if let Some(value) = self.plain().and_then(|text| text.parse::<$type>().ok()) {
                return visitor.$visit(value);
            }
            let help = match &self.0.value {
                Value::Scalar { text, plain: false } if text.parse::<$type>().is_ok() => {
                    Some(format!("write {text} without quotes"))
                }
                _ => None,
            };
            let range = match self.plain().map(str::parse::<i128>) {
                Some(Ok(_)) => format!(" from {} to {}", <$type>::MIN, <$type>::MAX),
                _ => String::new(),
            };
            let message = format!("expected a whole number{range}, found {}", name_of(unexpected(self.0)));
            Err(DecodeError::new(message, help))
        }
    )*};
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_> {
    type Error = DecodeError;

    /// The core schema of YAML 1.2, for types that ask for no text of their own.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let Value::Scalar { text, plain } = &self.0.value else { return self.collection(visitor) };
        match text.as_str() {
            _ if self.0.is_null() => visitor.visit_unit(),
            "true" | "True" | "TRUE" if *plain => visitor.visit_bool(true),
            "false" | "False" | "FALSE" if *plain => visitor.visit_bool(false),
            text if *plain && text.parse::<u64>().is_ok() => visitor.visit_u64(text.parse().unwrap_or(0)),
            text if *plain && text.parse::<i64>().is_ok() => visitor.visit_i64(text.parse().unwrap_or(0)),
            text if *plain && looks_like_a_float(text) => visitor.visit_f64(text.parse().unwrap_or(0.0)),
            text => visitor.visit_str(text),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.0.value {
            _ if self.0.is_null() => visitor.visit_unit(),
            Value::Scalar { text, .. } => visitor.visit_str(text),
            Value::Sequence(_) | Value::Mapping(_) => self.collection(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.plain() {
            Some("true" | "True" | "TRUE") => visitor.visit_bool(true),
            Some("false" | "False" | "FALSE") => visitor.visit_bool(false),
            _ => {
                let message = format!("expected `true` or `false`, found {}", name_of(unexpected(self.0)));
                Err(DecodeError::new(message, None))
            }
        }
    }

    integers! {
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64, deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.plain().and_then(|text| text.parse::<f64>().ok()).filter(|value| value.is_finite()) {
            Some(value) => visitor.visit_f64(value),
            None => {
                let message = format!("expected a number, found {}", name_of(unexpected(self.0)));
                Err(DecodeError::new(message, None))
            }
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.0.value {
            Value::Sequence(_) => self.collection(visitor),
            _ => {
                Err(DecodeError::new(format!("expected a list, found {}", name_of(unexpected(self.0))), None))
            }
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.0.value {
            Value::Mapping(_) => self.collection(visitor),
            // `processes:` with nothing under it is an empty mapping to every reader.
            _ if self.0.is_null() => visitor.visit_map(Entries { entries: [].iter(), value: None }),
            _ => {
                let message = format!("expected a mapping, found {}", name_of(unexpected(self.0)));
                Err(DecodeError::new(message, None))
            }
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.0.value {
            Value::Mapping(_) => self.collection(visitor),
            _ if self.0.is_null() => visitor.visit_map(Entries { entries: [].iter(), value: None }),
            _ => Err(de::Error::invalid_type(unexpected(self.0), &visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.0.value {
            Value::Scalar { text, .. } => visitor.visit_enum(Word(text)),
            _ => {
                let message = format!("expected {}, found {}", one_of(variants), name_of(unexpected(self.0)));
                Err(DecodeError::new(message, None))
            }
        }
    }

    forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple tuple_struct ignored_any i128 u128
    }
}

fn looks_like_a_float(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'))
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

struct Elements<'n> {
    nodes: std::iter::Enumerate<std::slice::Iter<'n, Node>>,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some((index, node)) = self.nodes.next() else { return Ok(None) };
        let value = seed.deserialize(NodeDeserializer(node));
        value.map(Some).map_err(|error| error.inside(Step::Index(index)))
    }
}

struct Entries<'n> {
    entries: std::slice::Iter<'n, Entry>,
    value: Option<&'n Entry>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        self.value = Some(entry);
        let key: StrDeserializer<'_, DecodeError> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|mut error| {
            error.at_key = true;
            error.inside(Step::Key(entry.key.clone()))
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let Some(entry) = self.value.take() else {
            return Err(DecodeError::new("a value without a key".to_owned(), None));
        };
        let value = seed.deserialize(NodeDeserializer(&entry.value));
        value.map_err(|error| error.inside(Step::Key(entry.key.clone())))
    }
}

/// A word that names a variant without content.
struct Word<'n>(&'n str);

impl<'de> EnumAccess<'de> for Word<'_> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), DecodeError> {
        let word: StrDeserializer<'_, DecodeError> = self.0.into_deserializer();
        Ok((seed.deserialize(word)?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'_> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value, DecodeError> {
        Err(DecodeError::new(format!("`{}` needs a value", shorten(self.0)), None))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, _visitor: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::new(format!("`{}` needs a value", shorten(self.0)), None))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Err(DecodeError::new(format!("`{}` needs a value", shorten(self.0)), None))
    }
}
