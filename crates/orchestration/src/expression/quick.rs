//! A look at the plain comparisons of a condition, and at an expression that is a field and nothing else, before the evaluator is asked.
//!
//! Most conditions are comparisons of a field with a literal, joined by `&&`: `data.shard == 3 && …`. In CEL such a conjunction is
//! false as soon as one part is, whatever the others are, errors included. So a part that is certainly false settles it, at a
//! fiftieth of the evaluator's cost. Whatever is not certain here (a field that is not there, another type) is left to the evaluator.

use std::cmp::Ordering;

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};
use serde_json::Value;

use super::{path_of, scope::Scope};

/// One comparison.
#[derive(Debug, Clone)]
pub(super) struct Test {
    path: Vec<String>,
    operator: Operator,
    literal: Literal,
}

#[derive(Debug, Clone, Copy)]
enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone)]
enum Literal {
    Int(i64),
    Text(String),
    Bool(bool),
}

/// A value that can be compared here.
#[derive(Debug, Clone, Copy)]
pub(super) enum Plain<'a> {
    Int(i64),
    Text(&'a str),
    Bool(bool),
}

/// The field that the expression is, as in `${payload.path}`, where it is nothing else.
pub(super) fn field(program: &IdedExpr) -> Option<Vec<String>> {
    if has_test(program) { None } else { path_of(program) }
}

impl From<Plain<'_>> for Value {
    fn from(plain: Plain<'_>) -> Self {
        match plain {
            Plain::Int(value) => value.into(),
            Plain::Text(text) => text.into(),
            Plain::Bool(value) => value.into(),
        }
    }
}

/// The comparisons that must all be true for the expression to be.
pub(super) fn tests(program: &IdedExpr) -> Vec<Test> {
    let mut tests = Vec::new();
    collect(program, &mut tests);
    tests
}

/// The parser bounds the depth.
fn collect(node: &IdedExpr, tests: &mut Vec<Test>) {
    let Expr::Call(call) = &node.expr else { return };
    let (None, [left, right]) = (&call.target, call.args.as_slice()) else { return };
    if call.func_name == operators::LOGICAL_AND {
        collect(left, tests);
        collect(right, tests);
        return;
    }
    let operator = match call.func_name.as_str() {
        operators::EQUALS => Operator::Equal,
        operators::NOT_EQUALS => Operator::Unequal,
        operators::LESS => Operator::Less,
        operators::LESS_EQUALS => Operator::LessOrEqual,
        operators::GREATER => Operator::Greater,
        operators::GREATER_EQUALS => Operator::GreaterOrEqual,
        _ => return,
    };
    if has_test(left) {
        return;
    }
    if let (Some(path), Some(literal)) = (path_of(left), literal(right)) {
        tests.push(Test { path, operator, literal });
    }
}

/// Whether it is `has(a.b)` rather than `a.b`.
fn has_test(node: &IdedExpr) -> bool {
    match &node.expr {
        Expr::Select(select) => select.test || has_test(&select.operand),
        _ => false,
    }
}

fn literal(node: &IdedExpr) -> Option<Literal> {
    match &node.expr {
        Expr::Literal(LiteralValue::Int(value)) => Some(Literal::Int(*value.inner())),
        Expr::Literal(LiteralValue::String(value)) => Some(Literal::Text(value.inner().to_owned())),
        Expr::Literal(LiteralValue::Boolean(value)) => Some(Literal::Bool(*value.inner())),
        _ => None,
    }
}

impl Test {
    /// Whether it is certainly false.
    pub(super) fn fails(&self, scope: &Scope<'_>) -> bool {
        let Some(value) = scope.plain(&self.path) else { return false };
        let order = match (value, &self.literal) {
            (Plain::Int(value), Literal::Int(literal)) => value.cmp(literal),
            (Plain::Text(value), Literal::Text(literal)) => value.cmp(literal.as_str()),
            (Plain::Bool(value), Literal::Bool(literal)) => value.cmp(literal),
            _ => return false,
        };
        !match self.operator {
            Operator::Equal => order == Ordering::Equal,
            Operator::Unequal => order != Ordering::Equal,
            Operator::Less => order == Ordering::Less,
            Operator::LessOrEqual => order != Ordering::Greater,
            Operator::Greater => order == Ordering::Greater,
            Operator::GreaterOrEqual => order != Ordering::Less,
        }
    }
}
