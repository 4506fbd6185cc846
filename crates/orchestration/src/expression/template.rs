//! Texts and JSON documents with `${ CEL }` in them.
//!
//! A text that is one `${ … }` and nothing else stands for the expression's value, of whatever type: `"${payload.count}"` gives a
//! number. Anywhere else the value is written into the text: texts as they are, the rest as JSON. `$${` stands for `${` itself.
//! Where an expression ends is found by CEL's own quotes and braces, so `${ {'a': 1}.a }` is one.

use std::collections::HashMap;

use grace_types::intent::Json;
use serde_json::{Map, Value, value::RawValue};

use super::{BadExpression, Expression, Failed, Scope};
use crate::limits;

/// A text with expressions in it, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Expression(Expression),
}

impl Template {
    /// Compiles `text`, whose expressions may use the names in `known`.
    ///
    /// # Errors
    /// An expression that does not end, or that is none; `at` counts from the start of `text`.
    pub fn compile(text: &str, known: &[&str]) -> Result<Self, BadExpression> {
        if text.len() > limits::TEMPLATE_BYTES {
            let (found, most) = (text.len(), limits::TEMPLATE_BYTES);
            let message = format!("a text of {found} bytes; at most {most} are taken");
            return Err(BadExpression { message, at: 0, help: None });
        }
        let (mut parts, mut literal, mut at) = (Vec::new(), String::new(), 0);
        while let Some(found) = text[at..].find('$').map(|found| at + found) {
            literal.push_str(&text[at..found]);
            let rest = &text[found..];
            if rest.starts_with("$${") {
                literal.push_str("${");
                at = found + 3;
            } else if let Some(inner) = rest.strip_prefix("${") {
                let Some(length) = end_of(inner) else {
                    let help = Some("close it with `}`, or write `$${` for the characters themselves".into());
                    let message = "this `${` is not closed".to_owned();
                    return Err(BadExpression { message, at: found, help });
                };
                let start = found + 2;
                let compiled = Expression::compile(&inner[..length], known)
                    .map_err(|bad| BadExpression { at: start + bad.at, ..bad })?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Expression(compiled));
                at = start + length + 1;
            } else {
                literal.push('$');
                at = found + 1;
            }
        }
        literal.push_str(&text[at..]);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }

    /// Its value in this scope.
    ///
    /// # Errors
    /// An expression in it cannot be evaluated, or the text grows too long; why.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, Failed> {
        match self.parts.as_slice() {
            [Part::Expression(expression)] => {
                expression.evaluate(scope).map_err(|why| blame(expression, &why))
            }
            [Part::Text(text)] => Ok(Value::String(text.clone())),
            parts => {
                let mut made = String::new();
                for part in parts {
                    match part {
                        Part::Text(text) => made.push_str(text),
                        Part::Expression(expression) => {
                            match expression.evaluate(scope).map_err(|why| blame(expression, &why))? {
                                Value::String(text) => made.push_str(&text),
                                other => made.push_str(&other.to_string()),
                            }
                        }
                    }
                    if made.len() > limits::RENDERED_BYTES {
                        return Err(Failed(too_large()));
                    }
                }
                Ok(Value::String(made))
            }
        }
    }

    /// The expressions in it, first to last.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression),
            Part::Text(_) => None,
        })
    }
}

fn blame(expression: &Expression, why: &Failed) -> Failed {
    Failed(format!("`{}`: {why}", super::short(expression.text().trim())))
}

fn too_large() -> String {
    format!("what it gives is larger than {} bytes", limits::RENDERED_BYTES)
}

/// Where the `}` stands that closes an expression which begins with `text`.
fn end_of(text: &str) -> Option<usize> {
    let (mut depth, mut bytes) = (0usize, text.bytes().enumerate());
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            b'"' | b'\'' => {
                while let Some((_, inside)) = bytes.next() {
                    match inside {
                        b'\\' => drop(bytes.next()),
                        inside if inside == byte => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    None
}

/// A JSON document whose texts are templates, compiled: what a task or an intent is given.
#[derive(Debug, Clone, PartialEq)]
pub enum Mapping {
    /// Stands for itself: there is no expression in it.
    Value(Value),
    /// A text with expressions.
    Template(Template),
    /// A list of mappings.
    List(Vec<Mapping>),
    /// Keys, which are taken as they are, and their mappings.
    Object(Vec<(String, Mapping)>),
}

/// Why a document cannot be used as a mapping, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{why}", path.join("."), if path.is_empty() { "" } else { ": " })]
pub struct BadTemplate {
    /// Keys and positions that lead to the text.
    pub path: Vec<String>,
    /// What is wrong with it.
    pub why: BadExpression,
}

impl Mapping {
    /// Compiles a document, whose expressions may use the names in `known`.
    ///
    /// # Errors
    /// Every text that is no template, at most [`limits::FAULTS`] of them.
    pub fn compile(document: &Value, known: &[&str]) -> Result<Self, Vec<BadTemplate>> {
        let mut bad = Vec::new();
        let mapping = compile_at(document, known, &mut Vec::new(), &mut bad);
        if bad.is_empty() { Ok(mapping) } else { Err(bad) }
    }

    /// Whether it gives the same whatever the scope: there is no expression in it.
    #[must_use]
    pub const fn is_constant(&self) -> bool {
        matches!(self, Self::Value(_))
    }

    /// Whether an expression in it looks at `root` or at a field of it.
    #[must_use]
    pub fn uses(&self, root: &str) -> bool {
        let at = |path: &Vec<String>| path.first().is_some_and(|first| first == root);
        match self {
            Self::Value(_) => false,
            Self::Template(template) => template.expressions().any(|one| one.paths().iter().any(at)),
            Self::List(list) => list.iter().any(|one| one.uses(root)),
            Self::Object(entries) => entries.iter().any(|(_, one)| one.uses(root)),
        }
    }

    /// The document that it gives in this scope.
    ///
    /// # Errors
    /// An expression in it cannot be evaluated, or the document grows too large; why, and where.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Value, Failed> {
        let mut left = limits::RENDERED_BYTES;
        self.render_at(scope, &mut left)
    }

    /// What [`Self::render`] gives with `document` as the name `root`, where that takes no more than to put texts, whole numbers, `true` and
    /// `false` of the document at their places: without reading the document into a value and writing it again. `None` where it takes more,
    /// or is not certain here.
    #[must_use]
    pub fn copy(&self, root: &str, document: &Json) -> Option<Json> {
        let fields: HashMap<&str, &RawValue> = serde_json::from_str(document.text()).ok()?;
        let mut made = String::with_capacity(document.len() + 64);
        self.copy_at(root, &fields, &mut made)?;
        serde_json::from_str(&made).ok()
    }

    fn copy_at(&self, root: &str, fields: &HashMap<&str, &RawValue>, made: &mut String) -> Option<()> {
        match self {
            Self::Value(value) => made.push_str(&serde_json::to_string(value).ok()?),
            Self::Template(template) => {
                let [Part::Expression(expression)] = template.parts.as_slice() else { return None };
                let [name, key] = expression.field()? else { return None };
                let text = fields.get(key.as_str()).filter(|_| name == root)?.get();
                made.push_str(Some(text).filter(|text| is_plain(text))?);
            }
            Self::List(list) => {
                made.push('[');
                for (n, one) in list.iter().enumerate() {
                    made.push_str(if n == 0 { "" } else { "," });
                    one.copy_at(root, fields, made)?;
                }
                made.push(']');
            }
            Self::Object(entries) => {
                made.push('{');
                for (n, (key, one)) in entries.iter().enumerate() {
                    made.push_str(if n == 0 { "" } else { "," });
                    made.push_str(&serde_json::to_string(key).ok()?);
                    made.push(':');
                    one.copy_at(root, fields, made)?;
                }
                made.push('}');
            }
        }
        // What is too large is for those to refuse who weigh it.
        (made.len() <= limits::RENDERED_BYTES / 2).then_some(())
    }

    fn render_at(&self, scope: &Scope<'_>, left: &mut usize) -> Result<Value, Failed> {
        let at = |key: &str, why: Failed| Failed(format!("{key}: {why}"));
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::Template(template) => {
                let value = template.evaluate(scope)?;
                *left = left.checked_sub(weight(&value)).ok_or_else(|| Failed(too_large()))?;
                Ok(value)
            }
            Self::List(list) => {
                let each = list.iter().enumerate();
                each.map(|(i, one)| one.render_at(scope, left).map_err(|why| at(&i.to_string(), why)))
                    .collect()
            }
            Self::Object(entries) => {
                let mut object = Map::with_capacity(entries.len());
                for (key, one) in entries {
                    object.insert(key.clone(), one.render_at(scope, left).map_err(|why| at(key, why))?);
                }
                Ok(Value::Object(object))
            }
        }
    }
}

fn compile_at(
    document: &Value,
    known: &[&str],
    path: &mut Vec<String>,
    bad: &mut Vec<BadTemplate>,
) -> Mapping {
    let mut inside = |key: String, value: &Value| {
        path.push(key);
        let mapping = compile_at(value, known, path, bad);
        path.pop();
        mapping
    };
    match document {
        Value::String(text) if text.contains("${") => match Template::compile(text, known) {
            Ok(template) => Mapping::Template(template),
            Err(why) => {
                if bad.len() < limits::FAULTS {
                    bad.push(BadTemplate { path: path.clone(), why });
                }
                Mapping::Value(Value::Null)
            }
        },
        Value::Array(list) => {
            let each: Vec<Mapping> =
                list.iter().enumerate().map(|(i, value)| inside(i.to_string(), value)).collect();
            if each.iter().all(Mapping::is_constant) {
                return Mapping::Value(document.clone());
            }
            Mapping::List(each)
        }
        Value::Object(object) => {
            let each: Vec<(String, Mapping)> =
                object.iter().map(|(key, value)| (key.clone(), inside(key.clone(), value))).collect();
            if each.iter().all(|(_, mapping)| mapping.is_constant()) {
                return Mapping::Value(document.clone());
            }
            Mapping::Object(each)
        }
        scalar => Mapping::Value(scalar.clone()),
    }
}

/// Whether JSON is a text, a whole number or a truth value, written in the only way there is.
fn is_plain(json: &str) -> bool {
    match json.as_bytes() {
        b"true" | b"false" => true,
        [b'"', rest @ ..] => !rest.contains(&b'\\'),
        [b'1'..=b'9', rest @ ..] => rest.len() < 18 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// About as many bytes as the value has in JSON.
pub(crate) fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => {
            let escaped = text.bytes().map(|byte| match byte {
                b'"' | b'\\' => 1,
                0..0x20 => 5,
                _ => 0,
            });
            text.len() + escaped.sum::<usize>() + 2
        }
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 2,
            None => 24,
        },
        Value::Array(list) => list.iter().map(|value| weight(value) + 1).sum::<usize>() + 2,
        Value::Object(object) => {
            object.iter().map(|(key, value)| key.len() + weight(value) + 4).sum::<usize>() + 2
        }
        _ => 8,
    }
}
