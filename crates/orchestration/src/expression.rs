//! CEL over JSON: compiled once, checked when it is written, bounded when it is evaluated.
//!
//! A text becomes an [`Expression`] ([`Expression::compile`]): its length and nesting are checked before it is parsed, the names
//! and functions that it uses after. It is evaluated over a [`Scope`], which names JSON values and converts each to CEL when the
//! first expression asks for it, so that a thousand filters share one conversion.
//!
//! What an evaluation may cost is bounded without a clock, so that it is the same on every machine: the compiler puts calls to a
//! meter into the expression (`meter`), which count what loops run through and what is built. Past
//! [`limits::EXPRESSION_WORK`] the evaluation fails. Loops over a mapping see its keys in order, so that the same input gives the
//! same output.
//!
//! Conditions that are certainly false by a plain comparison, and fields that are texts, whole numbers, true or false, are found without
//! the evaluator (`quick`).
//!
//! [`Template`] and [`Mapping`] are texts and JSON documents with `${ CEL }` in them.
//!
//! Not here: regular expressions (`matches`), time and durations of CEL, optional values, macros of one's own.

mod meter;
mod quick;
mod scope;
mod template;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt};

use cel::{
    Context, Value as Cel,
    common::ast::{EntryExpr, Expr, IdedExpr},
};
use grace_types::yaml::suggest;
use serde_json::Value;

pub(crate) use self::template::weight;
pub use self::{
    scope::{EVENT_NAMES, Scope},
    template::{BadTemplate, Mapping, Template},
};
use crate::limits;

/// Functions of CEL's standard library that may be called. Operators are not listed.
const FUNCTIONS: [&str; 14] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
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
pub struct Expression {
    text: String,
    program: IdedExpr,
    paths: Vec<Vec<String>>,
    /// Comparisons that must all be true for it to be.
    tests: Vec<quick::Test>,
    /// The field that it is, where it is nothing else.
    field: Option<Vec<String>>,
}

/// Why a text is no expression that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadExpression {
    /// What is wrong.
    pub message: String,
    /// Byte of the text at which it is wrong.
    pub at: usize,
    /// What to do.
    pub help: Option<String>,
}

/// Why an expression gave no usable value, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub String);

impl Expression {
    /// Compiles `text`, which may use the names in `known`.
    ///
    /// A known name such as `data` stands for any value; dotted ones such as `event.type` say which fields its first part has,
    /// so that a slip in them is found here.
    ///
    /// # Errors
    /// It is too long, nested too deep, no CEL, or uses a name or a function that there is not; where, and what to do.
    pub fn compile(text: &str, known: &[&str]) -> Result<Self, BadExpression> {
        let refuse = |at: usize, message: String| BadExpression { message, at, help: None };
        if text.len() > limits::EXPRESSION_BYTES {
            let (found, most) = (text.len(), limits::EXPRESSION_BYTES);
            return Err(refuse(0, format!("an expression of {found} bytes; at most {most} are taken")));
        }
        // The parser and the evaluator recurse for these, and the parser checks its own bound on depth only afterwards.
        if let Some((at, message)) = too_deep(text) {
            return Err(refuse(at, message));
        }
        let mut program = meter::environment().parser().parse(text).map_err(|errors| {
            let first = errors.errors.first();
            let at = first.map_or(0, |error| offset(text, error.pos));
            let told = first.map_or("", |error| error.msg.as_str());
            refuse(at, format!("this is not a CEL expression: {}", short(told)))
        })?;
        let mut used = Used::default();
        used.visit(&program, &mut Vec::new(), 0);
        used.check(text, known)?;
        let (tests, field) = (quick::tests(&program), quick::field(&program));
        meter::install(&mut program);
        let paths = used.paths.into_iter().collect();
        Ok(Self { text: text.to_owned(), program, paths, tests, field })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names that it looks at, such as `["data", "size"]` for `data.size`, each once, in order.
    #[must_use]
    pub fn paths(&self) -> &[Vec<String>] {
        &self.paths
    }

    /// The field that it is, such as `["data", "size"]` for `data.size`, where it is nothing else.
    pub(crate) fn field(&self) -> Option<&[String]> {
        self.field.as_deref()
    }

    /// Whether it is true in this scope.
    ///
    /// # Errors
    /// It cannot be evaluated, takes too much work, or gives neither true nor false; why.
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, Failed> {
        if self.tests.iter().any(|test| test.fails(scope)) {
            return Ok(false);
        }
        match self.run(scope)? {
            Cel::Bool(answer) => Ok(answer),
            other => Err(Failed(format!("it gives {}, not true or false", scope::kind(&other)))),
        }
    }

    /// Its value in this scope, as JSON.
    ///
    /// # Errors
    /// It cannot be evaluated, takes too much work, or its value has no form in JSON; why.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, Failed> {
        if let Some(plain) = self.field.as_ref().and_then(|path| scope.plain(path)) {
            return Ok(plain.into());
        }
        scope::to_json(&self.run(scope)?)
    }

    fn run(&self, scope: &Scope<'_>) -> Result<Cel, Failed> {
        let mut context = Context::with_env(meter::environment());
        context.set_variable_resolver(scope);
        meter::begin(limits::EXPRESSION_WORK);
        // Not `resolve_val`, which is inlined into this crate: unoptimised it takes too much of the stack.
        match Cel::resolve(&self.program, &context) {
            Ok(value) => Ok(value),
            Err(_) if meter::is_spent() => {
                Err(Failed(format!("it takes more than {} steps over this input", limits::EXPRESSION_WORK)))
            }
            Err(error) => Err(Failed(short(&error.to_string()))),
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// What an expression uses.
#[derive(Default)]
struct Used {
    functions: BTreeSet<String>,
    paths: BTreeSet<Vec<String>>,
    structures: BTreeSet<String>,
    loops: usize,
}

impl Used {
    fn check(&self, text: &str, known: &[&str]) -> Result<(), BadExpression> {
        if self.loops > limits::EXPRESSION_LOOPS {
            let most = limits::EXPRESSION_LOOPS;
            let message = format!("{} loops inside each other; at most {most} are taken", self.loops);
            return Err(BadExpression { message, at: 0, help: None });
        }
        if let Some(name) = self.structures.first() {
            let message = format!("there is no type `{name}` to make values of");
            return Err(BadExpression { message, at: place_of(text, name), help: None });
        }
        for path in &self.paths {
            check_path(path, text, known)?;
        }
        for name in &self.functions {
            if !FUNCTIONS.contains(&name.as_str()) {
                let help = suggest(name, FUNCTIONS);
                let message = format!("there is no function `{name}`");
                return Err(BadExpression { message, at: place_of(text, name), help });
            }
        }
        Ok(())
    }

    /// Walks an expression; `bound` are the variables of the loops around it. The parser bounds its depth at 96.
    fn visit(&mut self, node: &IdedExpr, bound: &mut Vec<String>, depth: usize) {
        self.loops = self.loops.max(depth);
        if let Some(path) = path_of(node) {
            if !bound.contains(&path[0]) {
                self.paths.insert(path);
            }
            return;
        }
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => {}
            Expr::Select(select) => self.visit(&select.operand, bound, depth),
            Expr::List(list) => list.elements.iter().for_each(|e| self.visit(e, bound, depth)),
            Expr::Call(call) => {
                if call.func_name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '.') {
                    self.functions.insert(call.func_name.clone());
                }
                for part in call.target.iter().map(|target| &**target).chain(&call.args) {
                    self.visit(part, bound, depth);
                }
            }
            Expr::Map(map) => map.entries.iter().for_each(|e| self.entry(&e.expr, bound, depth)),
            Expr::Struct(made) => {
                self.structures.insert(made.type_name.clone());
            }
            Expr::Comprehension(each) => {
                self.visit(&each.iter_range, bound, depth);
                self.visit(&each.accu_init, bound, depth);
                let mark = bound.len();
                bound.extend([each.iter_var.clone(), each.accu_var.clone()]);
                bound.extend(each.iter_var2.clone());
                self.visit(&each.loop_cond, bound, depth + 1);
                self.visit(&each.loop_step, bound, depth + 1);
                self.visit(&each.result, bound, depth);
                bound.truncate(mark);
            }
        }
    }

    fn entry(&mut self, entry: &EntryExpr, bound: &mut Vec<String>, depth: usize) {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value, bound, depth),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key, bound, depth);
                self.visit(&entry.value, bound, depth);
            }
        }
    }
}

/// Type names that stand for themselves, as in `type(data.x) == string`.
const TYPES: [&str; 9] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"];

fn check_path(path: &[String], text: &str, known: &[&str]) -> Result<(), BadExpression> {
    let (root, field) = (path[0].as_str(), path.get(1).map(String::as_str));
    if known.contains(&root) || (path.len() == 1 && TYPES.contains(&root)) {
        return Ok(());
    }
    let fields: Vec<&str> = known
        .iter()
        .filter_map(|name| name.split_once('.').filter(|(first, _)| *first == root).map(|(_, field)| field))
        .collect();
    if fields.is_empty() {
        let mut roots: Vec<&str> =
            known.iter().map(|name| name.split_once('.').map_or(*name, |(root, _)| root)).collect();
        roots.dedup();
        let help = suggest(root, roots.iter().copied());
        let message = format!("there is no `{root}` here");
        return Err(BadExpression { message, at: place_of(text, root), help });
    }
    match field {
        Some(field) if !fields.contains(&field) => {
            let help = suggest(field, fields.iter().copied());
            let message = format!("`{root}` has no `{field}`");
            Err(BadExpression { message, at: place_of(text, field), help })
        }
        _ => Ok(()),
    }
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

/// Where `word` first stands in `text` as a word of its own; 0 where it does not.
fn place_of(text: &str, word: &str) -> usize {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let whole = |at: usize| {
        !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part) && !word.is_empty()
    };
    text.match_indices(word).map(|(at, _)| at).find(|at| whole(*at)).unwrap_or(0)
}

/// The byte of `text` at a line (counted from 1) and a column (from 1) in characters, as the parser tells them.
fn offset(text: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line).unwrap_or(1).saturating_sub(1);
    let column = usize::try_from(column).unwrap_or(1).saturating_sub(1);
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    start + rest.chars().take(column).map(char::len_utf8).sum::<usize>()
}

/// The byte at which brackets and `?:` stand too deep inside each other, or too many operators follow one another, and which.
/// Those in quotes are counted too: nobody needs so many, and where quotes end is the parser's affair.
fn too_deep(text: &str) -> Option<(usize, String)> {
    let (mut depth, mut choices, mut chain) = (0usize, 0usize, 0usize);
    let letter = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_alphanumeric);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'{' => depth += 1,
            b'[' => (depth, chain) = (depth + 1, chain + 1),
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'?' => choices += 1,
            b'.' | b'+' | b'-' | b'*' | b'/' | b'%' | b'!' | b'<' | b'>' | b'=' => chain += 1,
            b'n' if text[..at].ends_with('i') && !letter(at + 1) && (at < 2 || !letter(at - 2)) => chain += 1,
            _ => {}
        }
        if depth + choices > limits::EXPRESSION_NESTING {
            return Some((at, format!("nested more than {} levels deep", limits::EXPRESSION_NESTING)));
        }
        if chain > limits::EXPRESSION_CHAIN {
            return Some((at, format!("more than {} dots and operators", limits::EXPRESSION_CHAIN)));
        }
    }
    None
}

/// One line that fits a report: the library's errors quote whole values.
pub(crate) fn short(text: &str) -> String {
    let most = limits::DETAIL_CHARS;
    let mut shown: String = text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}
