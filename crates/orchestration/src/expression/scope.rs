//! What an expression is evaluated over: named JSON values, and events; and CEL values back to JSON.
//!
//! A value is converted when the first expression asks for its name, and once. Texts are borrowed, not copied.

use std::{collections::HashMap, sync::OnceLock};

use cel::{
    Value as Cel,
    common::{
        types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt},
        value::{CowVal, Val},
    },
    context::VariableResolver,
    objects::Key,
};
use grace_types::event::Event;
use serde_json::{Map, Number, Value};

use super::{Failed, quick::Plain};

/// The names that [`Scope::with_event`] adds, for [`super::Expression::compile`].
pub const EVENT_NAMES: [&str; 9] = [
    "event.type",
    "event.source",
    "event.id",
    "event.subject",
    "event.time",
    "event.hops",
    "event.correlationid",
    "event.causationid",
    "data",
];

/// Names and their values.
#[derive(Default)]
pub struct Scope<'a> {
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    name: &'a str,
    source: Source<'a>,
    made: OnceLock<Box<dyn Val + 'a>>,
}

enum Source<'a> {
    Json(&'a Value),
    Event(&'a Event),
}

impl<'a> Scope<'a> {
    /// No names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `name`, or replaces its value.
    #[must_use]
    pub fn with(self, name: &'a str, value: &'a Value) -> Self {
        self.add(name, Source::Json(value))
    }

    /// Adds `event`, the event's attributes, and `data`, its payload: the [`EVENT_NAMES`]. An attribute that the event does not
    /// have is not there: `has(event.subject)`.
    #[must_use]
    pub fn with_event(self, event: &'a Event) -> Self {
        self.add("event", Source::Event(event)).add("data", Source::Json(&event.data))
    }

    /// The value at a path, where it is a whole number, a text, true or false.
    pub(super) fn plain(&self, path: &[String]) -> Option<Plain<'_>> {
        let (root, fields) = path.split_first()?;
        match self.entries.iter().find(|entry| entry.name == root)?.source {
            Source::Json(value) => {
                match fields.iter().try_fold(value, |value, field| value.as_object()?.get(field))? {
                    Value::Bool(value) => Some(Plain::Bool(*value)),
                    Value::String(text) => Some(Plain::Text(text)),
                    Value::Number(number) => number.as_i64().map(Plain::Int),
                    Value::Null | Value::Array(_) | Value::Object(_) => None,
                }
            }
            Source::Event(event) => match fields {
                [field] if field == "type" => Some(Plain::Text(&event.kind)),
                [field] if field == "source" => Some(Plain::Text(&event.source)),
                [field] if field == "subject" => event.subject.as_deref().map(Plain::Text),
                [field] if field == "hops" => Some(Plain::Int(i64::from(event.hops))),
                _ => None,
            },
        }
    }

    fn add(mut self, name: &'a str, source: Source<'a>) -> Self {
        self.entries.retain(|entry| entry.name != name);
        self.entries.push(Entry { name, source, made: OnceLock::new() });
        self
    }
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        let value = entry.made.get_or_init(|| match entry.source {
            Source::Json(value) => to_cel(value),
            Source::Event(event) => attributes(event),
        });
        Some(CowVal::Borrowed(&**value))
    }
}

fn attributes(event: &Event) -> Box<dyn Val + '_> {
    let text = |text: &str| -> Box<dyn Val> { Box::new(CelString::from(text.to_owned())) };
    let mut map: HashMap<CelMapKey<'_>, Box<dyn Val + '_>> = HashMap::with_capacity(8);
    map.insert("type".into(), Box::new(CelString::from(event.kind.as_str())));
    map.insert("source".into(), Box::new(CelString::from(event.source.as_str())));
    map.insert("id".into(), text(&event.id.to_string()));
    map.insert("time".into(), text(&event.time.to_string()));
    map.insert("hops".into(), Box::new(CelInt::from(i64::from(event.hops))));
    if let Some(subject) = &event.subject {
        map.insert("subject".into(), Box::new(CelString::from(subject.as_str())));
    }
    if let Some(id) = event.correlationid {
        map.insert("correlationid".into(), text(&id.to_string()));
    }
    if let Some(id) = event.causationid {
        map.insert("causationid".into(), text(&id.to_string()));
    }
    Box::new(CelMap::from(map))
}

/// Whole numbers become `int` wherever they fit, so that they compare and add with the literals that people write.
fn to_cel(value: &Value) -> Box<dyn Val + '_> {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Box::new(CelInt::from(number)),
            (None, Some(number)) => Box::new(CelUInt::from(number)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(list) => Box::new(CelList::from(list.iter().map(to_cel).collect::<Vec<_>>())),
        Value::Object(object) => {
            let entries = object.iter().map(|(key, value)| (CelMapKey::from(key.as_str()), to_cel(value)));
            Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()))
        }
    }
}

/// A value's form in JSON. The keys of mappings are sorted, so that the same input gives the same bytes.
pub(super) fn to_json(value: &Cel) -> Result<Value, Failed> {
    match value {
        Cel::Bool(value) => Ok(Value::Bool(*value)),
        Cel::Int(value) => Ok(Value::from(*value)),
        Cel::UInt(value) => Ok(Value::from(*value)),
        Cel::Float(value) => match Number::from_f64(*value) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(Failed("it gives a number that is not finite".into())),
        },
        Cel::String(text) => Ok(Value::String(text.as_str().to_owned())),
        Cel::List(list) => list.iter().map(to_json).collect::<Result<_, _>>().map(Value::Array),
        Cel::Map(map) => {
            let mut entries: Vec<_> = map.map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let mut object = Map::with_capacity(entries.len());
            for (key, value) in entries {
                let Key::String(key) = key else {
                    return Err(Failed("it gives a mapping whose keys are not all texts".into()));
                };
                object.insert(key.as_str().to_owned(), to_json(value)?);
            }
            Ok(Value::Object(object))
        }
        Cel::Null => Ok(Value::Null),
        other => Err(Failed(format!("it gives {}, which has no form in JSON", kind(other)))),
    }
}

/// What a value is, in words.
pub(super) const fn kind(value: &Cel) -> &'static str {
    match value {
        Cel::List(_) => "a list",
        Cel::Map(_) => "a mapping",
        Cel::String(_) => "a text",
        Cel::Bool(_) => "true or false",
        Cel::Bytes(_) => "bytes",
        Cel::Null => "null",
        Cel::Int(_) | Cel::UInt(_) | Cel::Float(_) => "a number",
        _ => "something else",
    }
}
