//! What a payload must look like: a JSON Schema, compiled once, and every violation of it named.
//!
//! A subset of JSON Schema 2020-12 that can be checked in bounded time and memory: `type`, `enum`, `const`, `properties`,
//! `required`, `additionalProperties`, `propertyNames`, `minProperties`, `maxProperties`, `items`, `minItems`, `maxItems`, `uniqueItems`,
//! `minLength`, `maxLength`, `pattern` (without back-references), `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`,
//! `multipleOf`, `allOf`, `anyOf`, `oneOf`, `not`, `$ref` to `#/$defs/…`, and `$defs`. `title`, `description`, `default`,
//! `examples`, `format`, `$schema`, `$id` and `$comment` say something to people only. Any other keyword is refused: a constraint
//! that is passed over in silence protects nobody.

mod check;

use std::collections::BTreeMap;

use grace_types::yaml::{Path, suggest};
use regex::Regex;
use serde_json::{Map, Value};

use self::check::Check;
use super::{Fault, Violation};
use crate::limits;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    /// Every part, the whole first.
    nodes: Vec<Node>,
}

/// One part; the others are named by their place in [`Schema::nodes`].
#[derive(Debug, Default)]
struct Node {
    /// `false` as a schema: nothing fits.
    nothing: bool,
    types: Vec<Type>,
    choices: Option<Vec<Value>>,
    properties: BTreeMap<String, usize>,
    required: Vec<String>,
    additional: Option<usize>,
    names: Option<usize>,
    items: Option<usize>,
    unique: bool,
    sizes: Vec<(Measure, Bound, u64)>,
    numbers: Vec<(Bound, bool, f64)>,
    multiple: Option<f64>,
    pattern: Option<Regex>,
    all: Vec<usize>,
    any: Vec<usize>,
    one: Vec<usize>,
    not: Option<usize>,
    reference: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Characters,
    Elements,
    Keys,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Least,
    Most,
}

const TYPES: [(&str, Type); 7] = [
    ("null", Type::Null),
    ("boolean", Type::Boolean),
    ("integer", Type::Integer),
    ("number", Type::Number),
    ("string", Type::String),
    ("array", Type::Array),
    ("object", Type::Object),
];

const KEYWORDS: [&str; 35] = [
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "$ref",
    "$defs",
    "title",
    "description",
    "default",
    "examples",
    "format",
    "$schema",
    "$id",
    "$comment",
];

impl Schema {
    /// Compiles `schema`, which stands at `at`; what is wrong with it goes to `faults`.
    pub(super) fn compile(schema: &Value, at: &Path, faults: &mut Vec<Fault>) -> Self {
        let mut compiler = Compiler { nodes: Vec::new(), definitions: BTreeMap::new(), faults, full: false };
        // The whole is the first node, whatever its definitions take.
        compiler.nodes.push(Node::default());
        if let Some(definitions) = schema.get("$defs").and_then(Value::as_object) {
            for name in definitions.keys() {
                compiler.nodes.push(Node::default());
                compiler.definitions.insert(name.clone(), compiler.nodes.len() - 1);
            }
            for (name, part) in definitions {
                let node = compiler.node(part, &at.key("$defs").key(name), 1);
                let place = compiler.definitions[name];
                compiler.nodes[place] = node;
            }
        }
        let root = compiler.node(schema, at, 0);
        compiler.nodes[0] = root;
        Self { nodes: compiler.nodes }
    }

    /// Everything in `payload` that does not fit, at most [`limits::VIOLATIONS`].
    #[must_use]
    pub fn check(&self, payload: &Value) -> Vec<Violation> {
        let mut check = Check::new(self);
        check.node(0, payload);
        check.violations
    }
}

struct Compiler<'f> {
    nodes: Vec<Node>,
    definitions: BTreeMap<String, usize>,
    faults: &'f mut Vec<Fault>,
    full: bool,
}

impl Compiler<'_> {
    fn fault(&mut self, at: &Path, message: impl Into<String>, help: Option<String>) {
        self.faults.push(Fault { path: at.clone(), at_key: false, message: message.into(), help });
    }

    fn part(&mut self, schema: &Value, at: &Path, depth: usize) -> usize {
        let node = self.node(schema, at, depth);
        if self.nodes.len() >= limits::SCHEMA_NODES {
            if !self.full {
                self.full = true;
                self.fault(at, format!("a schema has at most {} parts", limits::SCHEMA_NODES), None);
            }
            return 0;
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn parts(&mut self, list: &Value, at: &Path, depth: usize) -> Vec<usize> {
        match list.as_array() {
            Some(list) if !list.is_empty() => {
                list.iter().enumerate().map(|(n, part)| self.part(part, &at.index(n), depth + 1)).collect()
            }
            _ => {
                self.fault(at, format!("expected a list of schemas, found {}", shown(list)), None);
                Vec::new()
            }
        }
    }

    fn node(&mut self, schema: &Value, at: &Path, depth: usize) -> Node {
        let mut node = Node::default();
        let object = match schema {
            Value::Bool(true) => return node,
            Value::Bool(false) => {
                node.nothing = true;
                return node;
            }
            Value::Object(object) => object,
            other => {
                self.fault(at, format!("expected a JSON Schema, found {}", shown(other)), None);
                return node;
            }
        };
        if depth > limits::PLAN_DEPTH {
            self.fault(at, format!("a schema is at most {} levels deep", limits::PLAN_DEPTH), None);
            return node;
        }
        for (keyword, value) in object {
            self.keyword(&mut node, (keyword, value), &at.key(keyword), depth);
        }
        node
    }

    fn keyword(&mut self, node: &mut Node, (keyword, value): (&str, &Value), at: &Path, depth: usize) {
        match keyword {
            "type" => self.types(node, value, at),
            "enum" => match value.as_array() {
                Some(list) if !list.is_empty() => node.choices = Some(list.clone()),
                _ => self.fault(at, format!("expected a list of values, found {}", shown(value)), None),
            },
            "const" => node.choices = Some(vec![value.clone()]),
            "properties" => {
                for (name, part) in self.object(value, at) {
                    let part = self.part(&part, &at.key(&name), depth + 1);
                    node.properties.insert(name, part);
                }
            }
            "required" => match value.as_array().map(|list| list.iter().map(Value::as_str).collect()) {
                Some(Some::<Vec<&str>>(names)) => {
                    node.required = names.into_iter().map(str::to_owned).collect();
                }
                _ => self.fault(at, format!("expected a list of names, found {}", shown(value)), None),
            },
            "additionalProperties" => node.additional = Some(self.part(value, at, depth + 1)),
            "propertyNames" => node.names = Some(self.part(value, at, depth + 1)),
            "items" => node.items = Some(self.part(value, at, depth + 1)),
            "not" => node.not = Some(self.part(value, at, depth + 1)),
            "uniqueItems" => match value.as_bool() {
                Some(unique) => node.unique = unique,
                None => self.fault(at, format!("expected true or false, found {}", shown(value)), None),
            },
            "minLength" => self.size(node, (Measure::Characters, Bound::Least), value, at),
            "maxLength" => self.size(node, (Measure::Characters, Bound::Most), value, at),
            "minItems" => self.size(node, (Measure::Elements, Bound::Least), value, at),
            "maxItems" => self.size(node, (Measure::Elements, Bound::Most), value, at),
            "minProperties" => self.size(node, (Measure::Keys, Bound::Least), value, at),
            "maxProperties" => self.size(node, (Measure::Keys, Bound::Most), value, at),
            "minimum" => self.number(node, (Bound::Least, false), value, at),
            "maximum" => self.number(node, (Bound::Most, false), value, at),
            "exclusiveMinimum" => self.number(node, (Bound::Least, true), value, at),
            "exclusiveMaximum" => self.number(node, (Bound::Most, true), value, at),
            "multipleOf" => match value.as_f64().filter(|of| *of > 0.0) {
                Some(of) => node.multiple = Some(of),
                None => self.fault(at, format!("expected a number above 0, found {}", shown(value)), None),
            },
            "pattern" => self.pattern(node, value, at),
            "allOf" => node.all = self.parts(value, at, depth),
            "anyOf" => node.any = self.parts(value, at, depth),
            "oneOf" => node.one = self.parts(value, at, depth),
            "$ref" => self.reference(node, value, at),
            // Compiled by `Schema::compile`; further down, nothing could refer to it.
            "$defs" if depth == 0 => {}
            "title" | "description" | "default" | "examples" | "format" | "$schema" | "$id" | "$comment" => {}
            _ => {
                let help = suggest(keyword, KEYWORDS);
                let message = format!("`{keyword}` is no keyword that is checked here");
                self.faults.push(Fault { path: at.clone(), at_key: true, message, help });
            }
        }
    }

    fn object(&mut self, value: &Value, at: &Path) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_else(|| {
            self.fault(at, format!("expected a mapping, found {}", shown(value)), None);
            Map::new()
        })
    }

    fn types(&mut self, node: &mut Node, value: &Value, at: &Path) {
        let one = std::slice::from_ref(value);
        for word in value.as_array().map_or(one, Vec::as_slice) {
            let known = TYPES.iter().find(|(name, _)| word.as_str() == Some(name));
            match known {
                Some((_, kind)) => node.types.push(*kind),
                None => {
                    let help = suggest(word.as_str().unwrap_or_default(), TYPES.map(|(name, _)| name));
                    self.fault(at, format!("expected a JSON type, found {}", shown(word)), help);
                }
            }
        }
    }

    fn size(&mut self, node: &mut Node, (measure, bound): (Measure, Bound), value: &Value, at: &Path) {
        match value.as_u64() {
            Some(size) => node.sizes.push((measure, bound, size)),
            None => self.fault(at, format!("expected a whole number, found {}", shown(value)), None),
        }
    }

    fn number(&mut self, node: &mut Node, (bound, exclusive): (Bound, bool), value: &Value, at: &Path) {
        match value.as_f64() {
            Some(number) => node.numbers.push((bound, exclusive, number)),
            None => self.fault(at, format!("expected a number, found {}", shown(value)), None),
        }
    }

    fn pattern(&mut self, node: &mut Node, value: &Value, at: &Path) {
        let text = value.as_str().unwrap_or_default();
        if !value.is_string() || text.len() > grace_types::limits::REGEX_BYTES {
            let most = grace_types::limits::REGEX_BYTES;
            return self.fault(at, format!("expected a regular expression of at most {most} bytes"), None);
        }
        let size = grace_types::limits::REGEX_COMPILED_BYTES;
        match regex::RegexBuilder::new(text).size_limit(size).build() {
            Ok(pattern) => node.pattern = Some(pattern),
            Err(error) => {
                let told = error.to_string();
                let last = told.lines().last().unwrap_or_default().trim_start_matches("error: ");
                self.fault(at, format!("not a regular expression that can be used: {last}"), None);
            }
        }
    }

    fn reference(&mut self, node: &mut Node, value: &Value, at: &Path) {
        let name = value.as_str().and_then(|text| text.strip_prefix("#/$defs/"));
        match name.and_then(|name| self.definitions.get(name)) {
            Some(place) => node.reference = Some(*place),
            None => {
                let help = match name {
                    Some(name) => suggest(name, self.definitions.keys().map(String::as_str)),
                    None => Some("refer to `#/$defs/NAME` of the same schema".to_owned()),
                };
                self.fault(at, format!("there is no definition {}", shown(value)), help);
            }
        }
    }
}

/// A value as it is shown to people: short.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => shown_text(text),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(object) => format!("a mapping of {}", object.len()),
    }
}

fn shown_text(text: &str) -> String {
    let cut: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    let more = if text.chars().nth(60).is_some() { "…" } else { "" };
    format!("`{cut}{more}`")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn compiled(schema: &Value) -> Result<Schema, Vec<Fault>> {
        let mut faults = Vec::new();
        let schema = Schema::compile(schema, &Path::default(), &mut faults);
        if faults.is_empty() { Ok(schema) } else { Err(faults) }
    }

    fn told(schema: &Value, payload: &Value) -> Vec<String> {
        compiled(schema).unwrap().check(payload).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_violation_is_named_with_its_pointer() {
        let schema = json!({
            "type": "object", "required": ["path", "size"], "additionalProperties": false,
            "properties": {
                "path": {"type": "string", "minLength": 1, "pattern": "^/"},
                "size": {"type": "integer", "minimum": 1, "maximum": 100},
                "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": true, "maxItems": 3},
            },
        });
        let payload = json!({"path": "x", "tags": ["a", "c", "a"], "pth": 1});
        assert_eq!(
            told(&schema, &payload),
            [
                "/size: expected a value, found nothing",
                "/path: expected a text that matches `^/`, found `x`",
                "/tags: expected each element once, found `a` twice",
                "/tags/1: expected `a` or `b`, found `c`",
                "/pth: expected no such key (did you mean `path`?), found 1",
            ]
        );
        assert_eq!(told(&schema, &json!({"path": "/a", "size": 3.0})), Vec::<String>::new());
        assert_eq!(told(&schema, &json!([])), ["the payload: expected a mapping, found a list of 0"]);
    }

    #[test]
    fn combinations_and_references() {
        let schema = json!({
            "$defs": {"tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}}}},
            "allOf": [{"$ref": "#/$defs/tree"}],
            "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
            "oneOf": [{"required": ["a"]}, {"required": ["c"]}],
            "not": {"required": ["never"]},
        });
        assert!(told(&schema, &json!({"a": 1, "left": {"left": {}}})).is_empty());
        assert_eq!(
            told(&schema, &json!({"a": 1, "left": {"left": 3}})),
            ["/left/left: expected a mapping, found 3"]
        );
        assert_eq!(told(&schema, &json!({"a": 1, "c": 1, "never": 1})).len(), 2);
        assert_eq!(told(&schema, &json!({})).len(), 2);
        let numbers = json!({"multipleOf": 0.1, "exclusiveMaximum": 1});
        assert!(told(&numbers, &json!(0.3)).is_empty());
        assert_eq!(told(&numbers, &json!(1.05)).len(), 2);
        assert!(told(&json!({"const": 1}), &json!(1.0)).is_empty());
        assert!(told(&json!({"const": {"a": 1, "b": 2}}), &json!({"b": 2, "a": 1.0})).is_empty());
    }

    #[test]
    fn what_would_not_be_checked_is_refused() {
        for (schema, message) in [
            (json!({"minimun": 1}), "`minimun` is no keyword that is checked here"),
            (json!({"type": "strng"}), "expected a JSON type, found `strng`"),
            (json!({"pattern": "("}), "not a regular expression that can be used"),
            (json!({"$ref": "#/$defs/x"}), "there is no definition `#/$defs/x`"),
            (json!({"required": "a"}), "expected a list of names, found `a`"),
            (json!({"properties": {"a": 3}}), "expected a JSON Schema, found 3"),
            (json!({"if": true}), "`if` is no keyword"),
        ] {
            let faults = compiled(&schema).unwrap_err();
            assert!(faults[0].message.starts_with(message), "{faults:?}");
        }
    }

    #[test]
    fn a_check_is_bounded() {
        let mut schema = json!({"type": "string"});
        for _ in 0..7 {
            schema = json!({"anyOf": [schema.clone(), schema.clone(), schema.clone(), schema]});
        }
        // Refused for its size, or its check for its steps: never for ever.
        if let Ok(schema) = compiled(&schema) {
            assert!(!schema.check(&json!(1)).is_empty());
        }
        let endless = json!({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"});
        assert_eq!(told(&endless, &json!(1)).len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn whole_numbers_are_bounded_as_said(least in -50i64..50, most in -50i64..50, n in -60i64..60) {
            let schema = json!({"type": "integer", "minimum": least, "maximum": most});
            prop_assert_eq!(told(&schema, &json!(n)).is_empty(), (least..=most).contains(&n));
        }
    }
}
