//! A payload against a compiled schema: every violation, in bounded steps and depth.

use std::collections::{BTreeMap, BTreeSet};

use grace_types::yaml::suggest;
use serde_json::{Map, Value};

use super::{Bound, Measure, Node, Schema, Type, Violation, shown, shown_text};
use crate::limits;

pub(super) struct Check<'s> {
    schema: &'s Schema,
    pub(super) violations: Vec<Violation>,
    steps: usize,
    depth: usize,
    pointer: Vec<String>,
}

impl<'s> Check<'s> {
    pub(super) const fn new(schema: &'s Schema) -> Self {
        Self { schema, violations: Vec::new(), steps: 0, depth: 0, pointer: Vec::new() }
    }
}

impl Check<'_> {
    fn wrong(&mut self, expected: impl Into<String>, found: impl Into<String>) {
        if self.violations.len() < limits::VIOLATIONS {
            let pointer = self.pointer.concat();
            self.violations.push(Violation { pointer, expected: expected.into(), found: found.into() });
        }
    }

    /// Checks a value against a part of the schema.
    pub(super) fn node(&mut self, at: usize, value: &Value) {
        self.steps += 1;
        if self.steps > limits::SCHEMA_STEPS || self.depth > limits::SCHEMA_DEPTH {
            if self.violations.last().is_none_or(|last| last.expected != TOO_MUCH) {
                self.wrong(TOO_MUCH, shown(value));
            }
            return;
        }
        self.depth += 1;
        self.within(at, value);
        self.depth -= 1;
    }

    fn within(&mut self, at: usize, value: &Value) {
        let node = &self.schema.nodes[at];
        if node.nothing {
            return self.wrong("nothing", shown(value));
        }
        if !node.types.is_empty() && !node.types.iter().any(|kind| is(*kind, value)) {
            let names = node.types.iter().map(|kind| named(*kind)).collect::<Vec<_>>().join(" or ");
            return self.wrong(names, shown(value));
        }
        if let Some(choices) = &node.choices
            && !choices.iter().any(|choice| same(choice, value))
        {
            let listed = choices.iter().take(20).map(shown).collect::<Vec<_>>().join(" or ");
            return self.wrong(listed, shown(value));
        }
        match value {
            Value::String(text) => self.text(node, text),
            Value::Number(number) => self.number(node, number.as_f64().unwrap_or(f64::NAN), value),
            Value::Array(list) => self.list(node, list),
            Value::Object(object) => self.object(node, object),
            Value::Null | Value::Bool(_) => {}
        }
        self.combined(node, value);
    }

    fn combined(&mut self, node: &Node, value: &Value) {
        for part in node.all.iter().chain(&node.reference) {
            self.node(*part, value);
        }
        if !node.any.is_empty() && !node.any.iter().any(|part| self.fits(*part, value)) {
            self.wrong(format!("one of {} alternatives to fit", node.any.len()), shown(value));
        }
        if !node.one.is_empty() {
            let fitting = node.one.iter().filter(|part| self.fits(**part, value)).count();
            if fitting != 1 {
                let expected = format!("exactly one of {} alternatives to fit", node.one.len());
                self.wrong(expected, format!("{} that {fitting} fit", shown(value)));
            }
        }
        if let Some(part) = node.not
            && self.fits(part, value)
        {
            self.wrong("something that is not excluded", shown(value));
        }
    }

    fn fits(&mut self, part: usize, value: &Value) -> bool {
        let before = std::mem::take(&mut self.violations);
        self.node(part, value);
        let found = std::mem::replace(&mut self.violations, before);
        if found.iter().any(|v| v.expected == TOO_MUCH) {
            self.wrong(TOO_MUCH, shown(value));
        }
        found.is_empty()
    }

    fn sizes(&mut self, node: &Node, measure: Measure, size: usize) {
        let unit = match measure {
            Measure::Characters => "characters",
            Measure::Elements => "elements",
            Measure::Keys => "keys",
        };
        for (what, bound, limit) in &node.sizes {
            let broken = match bound {
                Bound::Least => (size as u64) < *limit,
                Bound::Most => size as u64 > *limit,
            };
            if *what == measure && broken {
                let word = if *bound == Bound::Least { "least" } else { "most" };
                self.wrong(format!("at {word} {limit} {unit}"), format!("{size}"));
            }
        }
    }

    fn text(&mut self, node: &Node, text: &str) {
        if node.sizes.iter().any(|(measure, ..)| *measure == Measure::Characters) {
            self.sizes(node, Measure::Characters, text.chars().count());
        }
        if let Some(pattern) = &node.pattern
            && !pattern.is_match(text)
        {
            let expected = format!("a text that matches `{pattern}`");
            self.wrong(expected, shown_text(text));
        }
    }

    fn number(&mut self, node: &Node, number: f64, value: &Value) {
        for (bound, exclusive, limit) in &node.numbers {
            let (holds, words) = match (bound, exclusive) {
                (Bound::Least, false) => (number >= *limit, "at least"),
                (Bound::Least, true) => (number > *limit, "more than"),
                (Bound::Most, false) => (number <= *limit, "at most"),
                (Bound::Most, true) => (number < *limit, "less than"),
            };
            if !holds {
                self.wrong(format!("{words} {limit}"), shown(value));
            }
        }
        if let Some(of) = node.multiple {
            let quotient = number / of;
            // 0.3 / 0.1 is not 3 in binary; a billionth of slack is.
            if (quotient - quotient.round()).abs() > 1e-9 {
                self.wrong(format!("a multiple of {of}"), shown(value));
            }
        }
    }

    fn list(&mut self, node: &Node, list: &[Value]) {
        self.sizes(node, Measure::Elements, list.len());
        if node.unique {
            let mut seen = BTreeSet::new();
            if let Some(twice) = list.iter().find(|value| !seen.insert(canonical(value))) {
                self.wrong("each element once", format!("{} twice", shown(twice)));
            }
        }
        if let Some(part) = node.items {
            for (n, value) in list.iter().enumerate() {
                self.below(format!("/{n}"), part, value);
            }
        }
    }

    fn object(&mut self, node: &Node, object: &Map<String, Value>) {
        self.sizes(node, Measure::Keys, object.len());
        for name in &node.required {
            if !object.contains_key(name) {
                self.pointer.push(pointer_step(name));
                self.wrong("a value", "nothing");
                self.pointer.pop();
            }
        }
        for (name, value) in object {
            if let Some(part) = node.names {
                self.below(pointer_step(name), part, &Value::String(name.clone()));
            }
            match (node.properties.get(name), node.additional) {
                (Some(part), _) => self.below(pointer_step(name), *part, value),
                (None, Some(part)) if self.schema.nodes[part].nothing => {
                    let known = node.properties.keys().map(String::as_str);
                    let help = suggest(name, known).map(|help| format!(" ({help})")).unwrap_or_default();
                    self.pointer.push(pointer_step(name));
                    self.wrong(format!("no such key{help}"), shown(value));
                    self.pointer.pop();
                }
                (None, Some(part)) => self.below(pointer_step(name), part, value),
                (None, None) => {}
            }
        }
    }

    fn below(&mut self, step: String, part: usize, value: &Value) {
        self.pointer.push(step);
        self.node(part, value);
        self.pointer.pop();
    }
}

const TOO_MUCH: &str = "a payload that can be checked in bounded time";

fn pointer_step(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn is(kind: Type, value: &Value) -> bool {
    match kind {
        Type::Null => value.is_null(),
        Type::Boolean => value.is_boolean(),
        // 1.0 is an integer to JSON Schema.
        Type::Integer => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        Type::Number => value.is_number(),
        Type::String => value.is_string(),
        Type::Array => value.is_array(),
        Type::Object => value.is_object(),
    }
}

const fn named(kind: Type) -> &'static str {
    match kind {
        Type::Null => "null",
        Type::Boolean => "true or false",
        Type::Integer => "a whole number",
        Type::Number => "a number",
        Type::String => "a text",
        Type::Array => "a list",
        Type::Object => "a mapping",
    }
}

/// Whether two values are equal as JSON Schema sees it: numbers by value.
fn same(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(l), Some(r)) if !(left.is_u64() && right.is_u64() || left.is_i64() && right.is_i64()) => l == r,
        _ => left == right || (left.is_object() || left.is_array()) && canonical(left) == canonical(right),
    }
}

/// A text that is the same for equal values: keys in order, whole numbers without a fraction.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let sorted: BTreeMap<&String, String> = object.iter().map(|(k, v)| (k, canonical(v))).collect();
            format!("{sorted:?}")
        }
        Value::Array(list) => format!("{:?}", list.iter().map(canonical).collect::<Vec<_>>()),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => {
                format!("{float:.0}")
            }
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}
