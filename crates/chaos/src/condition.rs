//! Conditions: CEL expressions over a document of facts.
//!
//! Compiled once, when a scenario is read: length, nesting of loops, and the names that it may use are checked then. Evaluated
//! over [`Facts`]: what was really gathered. A fact that could not be gathered is not there, so an expression that needs it
//! fails to evaluate, with the reason why it is not there; nothing is ever taken for granted.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use cel::{
    Context, Program, Value as Cel,
    common::ast::{EntryExpr, Expr, IdedExpr},
    objects::{Key, Map},
};
use grace_types::yaml::suggest;
use serde_json::Value;

use crate::limits;

/// Functions of CEL's standard library, as this build has them. Operators are not listed.
const FUNCTIONS: [&str; 15] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "max",
    "min",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

/// A CEL expression that was checked and compiled.
#[derive(Clone)]
pub struct Condition {
    text: String,
    program: Arc<Program>,
    /// Selections such as `log.gaps` that it makes, for telling what was found.
    paths: Vec<Vec<String>>,
}

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadCondition {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Condition {
    /// Compiles `text`, which may use the facts in `known`.
    ///
    /// # Errors
    /// It is too long, no CEL, nests loops too deep, or uses a name that there is not.
    pub fn compile(text: &str, known: &[&str]) -> Result<Self, BadCondition> {
        let refuse = |message: String| BadCondition { message, help: None };
        if text.len() > limits::CONDITION_BYTES {
            let (found, most) = (text.len(), limits::CONDITION_BYTES);
            return Err(refuse(format!("a condition of {found} bytes; at most {most} are taken")));
        }
        // The parser recurses for these, and checks its own bound on depth only afterwards.
        if nesting(text) > limits::CONDITION_NESTING {
            return Err(refuse(format!("nested more than {} levels deep", limits::CONDITION_NESTING)));
        }
        let (program, used) = on_a_deep_stack(|| {
            let program = Program::compile(text).map_err(|errors| {
                let first = errors.errors.first().map(|e| e.msg.clone()).unwrap_or_default();
                // What would have been possible instead is half of the grammar.
                let first = first.trim_start_matches("Syntax error: ");
                let first = first.split(" expecting ").next().unwrap_or(first);
                refuse(format!("this is not a CEL expression: {}", short(first)))
            })?;
            let mut used = Used::default();
            used.visit(program.expression(), &mut Vec::new(), 0, 1);
            // Evaluation recurses over it later, on the stack of whoever evaluates.
            if used.depth > limits::CONDITION_DEPTH {
                let message =
                    format!("more than {} operations one inside the other", limits::CONDITION_DEPTH);
                return Err(refuse(message));
            }
            Ok((program, used))
        })?;
        if used.loops > limits::CONDITION_LOOPS {
            let most = limits::CONDITION_LOOPS;
            return Err(refuse(format!("{} loops inside each other; at most {most} are taken", used.loops)));
        }
        for name in &used.names {
            if !known.contains(&name.as_str()) {
                let help = suggest(name, known.iter().copied());
                return Err(BadCondition { message: format!("there is no fact `{name}`"), help });
            }
        }
        for name in &used.functions {
            if !FUNCTIONS.contains(&name.as_str()) {
                let help = suggest(name, FUNCTIONS);
                return Err(BadCondition { message: format!("there is no function `{name}`"), help });
            }
        }
        let paths = used.paths.into_iter().collect();
        Ok(Self { text: text.to_owned(), program: Arc::new(program), paths })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is true of these facts.
    ///
    /// # Errors
    /// It cannot be evaluated, or gives neither true nor false; why.
    pub fn holds(&self, facts: &Facts) -> Result<bool, String> {
        match self.program.execute(&facts.context) {
            Ok(Cel::Bool(answer)) => Ok(answer),
            Ok(other) => Err(format!("it gives {}, not true or false", kind(&other))),
            Err(error) => {
                let roots: BTreeSet<&String> = self.paths.iter().filter_map(|path| path.first()).collect();
                let why = roots.iter().find_map(|root| Some((*root, facts.absent.get(*root)?)));
                Err(match why {
                    Some((name, why)) => format!("the fact `{name}` is not known: {why}"),
                    None => short(&error.to_string()),
                })
            }
        }
    }

    /// What the facts say that it looks at: `log.gaps is 3, recovery_seconds is 0.41`.
    #[must_use]
    pub fn findings(&self, facts: &Facts) -> String {
        let found = self.paths.iter().filter_map(|path| {
            let value = path.iter().try_fold(&facts.document, |value, step| value.get(step))?;
            let shown = match value {
                Value::Array(list) => format!("a list of {}", list.len()),
                Value::Object(map) => format!("a mapping of {}", map.len()),
                scalar => scalar.to_string(),
            };
            Some(format!("{} is {shown}", path.join(".")))
        });
        short(&found.take(6).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.text).finish()
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// What an expression uses.
#[derive(Default)]
struct Used {
    names: BTreeSet<String>,
    functions: BTreeSet<String>,
    paths: BTreeSet<Vec<String>>,
    loops: usize,
    depth: usize,
}

impl Used {
    /// Walks an expression. `bound` are the variables of the loops around it, `loops` their number, `depth` its own.
    fn visit(&mut self, node: &IdedExpr, bound: &mut Vec<String>, loops: usize, depth: usize) {
        self.loops = self.loops.max(loops);
        self.depth = self.depth.max(depth);
        if let Some(path) = path_of(node) {
            if !bound.contains(&path[0]) {
                self.names.insert(path[0].clone());
                self.paths.insert(path);
            }
            return;
        }
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => {}
            Expr::Select(select) => self.visit(&select.operand, bound, loops, depth + 1),
            Expr::List(list) => list.elements.iter().for_each(|e| self.visit(e, bound, loops, depth + 1)),
            Expr::Call(call) => {
                if call.func_name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                    self.functions.insert(call.func_name.clone());
                }
                for part in call.target.iter().map(|target| &**target).chain(&call.args) {
                    self.visit(part, bound, loops, depth + 1);
                }
            }
            Expr::Map(map) => map.entries.iter().for_each(|e| self.entry(&e.expr, bound, loops, depth)),
            Expr::Struct(made) => made.entries.iter().for_each(|e| self.entry(&e.expr, bound, loops, depth)),
            Expr::Comprehension(each) => {
                self.visit(&each.iter_range, bound, loops, depth + 1);
                self.visit(&each.accu_init, bound, loops, depth + 1);
                let mark = bound.len();
                bound.extend([each.iter_var.clone(), each.accu_var.clone()]);
                bound.extend(each.iter_var2.clone());
                self.visit(&each.loop_cond, bound, loops + 1, depth + 1);
                self.visit(&each.loop_step, bound, loops + 1, depth + 1);
                self.visit(&each.result, bound, loops, depth + 1);
                bound.truncate(mark);
            }
        }
    }

    fn entry(&mut self, entry: &EntryExpr, bound: &mut Vec<String>, loops: usize, depth: usize) {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value, bound, loops, depth + 1),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key, bound, loops, depth + 1);
                self.visit(&entry.value, bound, loops, depth + 1);
            }
        }
    }
}

/// Runs `work` where the library may recurse once for each byte of a text: its parser, and the end of what it made, do.
fn on_a_deep_stack<T: Send>(
    work: impl FnOnce() -> Result<T, BadCondition> + Send,
) -> Result<T, BadCondition> {
    let refuse = |message: &str| BadCondition { message: message.to_owned(), help: None };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(limits::CONDITION_STACK);
        let worker =
            thread.spawn_scoped(scope, work).map_err(|e| refuse(&format!("no thread to read it: {e}")))?;
        worker.join().unwrap_or_else(|_| Err(refuse("this is not a CEL expression")))
    })
}

/// `["log", "gaps"]` of `log.gaps`, and of the test `has(log.gaps)`.
fn path_of(node: &IdedExpr) -> Option<Vec<String>> {
    match &node.expr {
        Expr::Ident(name) => Some(vec![name.clone()]),
        Expr::Select(select) => {
            let mut path = path_of(&select.operand)?;
            path.push(select.field.clone());
            Some(path)
        }
        _ => None,
    }
}

/// What conditions are evaluated over: one JSON document, each of its keys a variable.
pub struct Facts {
    document: Value,
    absent: BTreeMap<String, String>,
    context: Context<'static, 'static>,
}

impl Facts {
    /// From a JSON object, and why what is not in it is not.
    #[must_use]
    pub fn new(document: Value, absent: BTreeMap<String, String>) -> Self {
        let mut context = Context::default();
        if let Value::Object(facts) = &document {
            for (name, value) in facts {
                context.add_variable_from_value(name.as_str(), to_cel(value));
            }
        }
        Self { document, absent, context }
    }

    /// The document.
    #[must_use]
    pub const fn document(&self) -> &Value {
        &self.document
    }

    /// What is not known, and why.
    #[must_use]
    pub const fn absent(&self) -> &BTreeMap<String, String> {
        &self.absent
    }
}

/// Whole numbers become `int` wherever they fit, so that they compare and add with the literals that people write.
fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Cel::Int(number),
            (None, Some(number)) => Cel::UInt(number),
            (None, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(list) => Cel::List(Arc::new(list.iter().map(to_cel).collect())),
        Value::Object(object) => {
            let entries = object.iter().map(|(key, value)| (Key::from(key.clone()), to_cel(value)));
            Cel::Map(Map { map: Arc::new(entries.collect::<HashMap<_, _>>()) })
        }
    }
}

/// How deep brackets and `?:` stand inside each other at most. Those in quotes are counted too: nobody needs so many.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest, mut choices) = (0usize, 0usize, 0usize);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'?' => choices += 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest + choices
}

const fn kind(value: &Cel) -> &'static str {
    match value {
        Cel::List(_) => "a list",
        Cel::Map(_) => "a mapping",
        Cel::Int(_) | Cel::UInt(_) | Cel::Float(_) => "a number",
        Cel::String(_) => "a text",
        Cel::Bytes(_) => "bytes",
        Cel::Null => "nothing",
        _ => "something else",
    }
}

fn short(text: &str) -> String {
    let mut shown: String =
        text.chars().take(limits::DETAIL_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() > limits::DETAIL_CHARS {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const KNOWN: [&str; 4] = ["log", "events", "recovery_seconds", "components"];

    fn facts() -> Facts {
        let document = json!({
            "log": {"gaps": 0, "big": u64::MAX, "consistent": true},
            "recovery_seconds": 1.5,
            "events": [{"what": "a"}, {"what": "b"}],
            "components": {"web": {"ready": true}, "db-1": {"ready": false}},
        });
        Facts::new(document, BTreeMap::new())
    }

    fn holds(text: &str) -> Result<bool, String> {
        Condition::compile(text, &KNOWN).map_err(|bad| bad.message)?.holds(&facts())
    }

    #[test]
    fn conditions_are_evaluated() {
        for (text, expected) in [
            ("log.gaps == 0 && log.consistent", true),
            ("recovery_seconds < 180", true),
            ("recovery_seconds < 1.0", false),
            ("log.big > 5", true),
            ("log.gaps + 1 == 1", true),
            ("events.exists(e, e.what == 'b')", true),
            ("events.filter(e, e.what == 'b').size() == 1", true),
            ("components.all(name, components[name].ready)", false),
            ("components['web'].ready", true),
            ("has(log.gaps)", true),
            ("has(log.nothing)", false),
            ("events.all(e, events.exists(f, f.what == e.what))", true),
        ] {
            assert_eq!(holds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_evaluated_says_why() {
        let told = |text: &str| holds(text).unwrap_err();
        assert!(told("log.lost == 0").contains("lost"), "{}", told("log.lost == 0"));
        assert_eq!(told("log.gaps"), "it gives a number, not true or false");
        assert!(told("log.gaps / 0 == 1").len() < 500);
        let absent = BTreeMap::from([("log".to_owned(), "there is no folder".to_owned())]);
        let empty = Facts::new(json!({}), absent);
        let condition = Condition::compile("log.gaps == 0", &KNOWN).unwrap();
        let told = condition.holds(&empty).unwrap_err();
        assert_eq!(told, "the fact `log` is not known: there is no folder");
    }

    #[test]
    fn findings_name_what_was_looked_at() {
        let condition = Condition::compile("log.gaps == 3 && recovery_seconds < 1.0", &KNOWN).unwrap();
        assert_eq!(condition.findings(&facts()), "log.gaps is 0, recovery_seconds is 1.5");
    }

    #[test]
    fn bad_conditions_are_refused() {
        let refused = |text: &str| Condition::compile(text, &KNOWN).unwrap_err();
        assert_eq!(refused("logs.gaps == 0").help.as_deref(), Some("did you mean `log`?"));
        assert_eq!(refused("log.gaps.startWith('a')").help.as_deref(), Some("did you mean `startsWith`?"));
        for text in ["", "log.", "log ==", "(((", "log.gaps == 0 &&", "\u{0}"] {
            assert!(refused(text).message.starts_with("this is not a CEL expression"), "{text}");
        }
        let long = format!("log.gaps == 0{}", " ".repeat(limits::CONDITION_BYTES));
        assert!(refused(&long).message.contains("at most 4096"));
        let deep = "events.all(a, events.all(b, events.all(c, a == c)))";
        assert!(refused(deep).message.contains("3 loops"), "{}", refused(deep).message);
        let nested = format!("{}1{}", "(".repeat(2000), ")".repeat(2000));
        assert!(Condition::compile(&nested, &KNOWN).is_err());
        for part in [
            "[", "{", "!", "-", "1?1:", "1?", "a.", "1+", "1&&", "1 in ", "[1][", "f(", "'", "!(", "a.all(b,",
        ] {
            let text = part.repeat(limits::CONDITION_BYTES / part.len());
            assert!(Condition::compile(&text, &KNOWN).is_err(), "{part}");
            let _ = Condition::compile(&format!("{}1", &text[..text.len() - 1]), &KNOWN);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn no_text_panics(text in "[a-z.()\\[\\]{}<>=!&|+*/%?:,'\"0-9 -]{0,60}") {
            let _ = holds(&text);
        }
    }
}
