//! What an evaluation costs, counted while it runs.
//!
//! The evaluator knows no bound of its own. So the compiler puts two calls into each expression that no user can write: `@each`
//! around what a loop runs over, which counts its size and the work of every round before the first; and `@weigh` around what a
//! call inside a loop is given and around what is joined or built, which counts its size. A list or a text that doubles from loop
//! to loop is so counted at the size that it has. Both fail once the budget is spent, and every loop that is still under way
//! then ends at once, since it can no longer begin an inner one.
//!
//! A unit is one node evaluated, one value passed, or [`BYTES_PER_UNIT`] bytes of text: some tens of nanoseconds each.

use std::{
    cell::Cell,
    sync::{Arc, LazyLock},
};

use cel::{
    Env, ExecutionError,
    common::{
        ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators},
        types::{CelBytes, CelInt, CelList, CelMap, CelString, DYN_TYPE, INT_TYPE},
        value::{CowVal, Val},
    },
};

/// Bytes of text that are copied or compared in about the time of one evaluated node.
const BYTES_PER_UNIT: usize = 64;

const EACH: &str = "@each";
const WEIGH: &str = "@weigh";

thread_local! {
    /// What is left to the evaluation under way on this thread.
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

/// The standard library with the meter's functions.
pub(super) fn environment() -> Arc<Env> {
    static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
        let mut env = Env::stdlib().with_optional_support(false);
        // Neither name is in the library, so neither can be declared twice.
        let _ = env.add_overload(WEIGH, WEIGH, vec![DYN_TYPE], weigh);
        let _ = env.add_overload(EACH, EACH, vec![DYN_TYPE, INT_TYPE], each);
        Arc::new(env)
    });
    Arc::clone(&ENVIRONMENT)
}

/// Begins an evaluation on this thread.
pub(super) fn begin(budget: u64) {
    LEFT.set(budget);
}

/// Whether the evaluation that ended last on this thread was cut short.
pub(super) fn is_spent() -> bool {
    LEFT.get() == 0
}

fn spend(units: u64) -> Result<(), ExecutionError> {
    let left = LEFT.get().saturating_sub(units);
    LEFT.set(left);
    if left == 0 { Err(ExecutionError::function_error("meter", "too much work")) } else { Ok(()) }
}

fn weigh<'b, 'v>(mut arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let value = arguments.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
    spend(size(&*value, LEFT.get()))?;
    Ok(value)
}

fn each<'b, 'v>(mut arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let body = arguments.pop().and_then(|nodes| nodes.downcast_ref::<CelInt>().map(|n| *n.inner()));
    let (Some(range), Some(body)) = (arguments.pop(), body) else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    let rounds = range.as_sizer().map_or(0, |sizer| *sizer.size().inner()).unsigned_abs();
    spend(size(&*range, LEFT.get()).saturating_add(rounds.saturating_mul(body.unsigned_abs())))?;
    let Some(map) = range.downcast_ref::<CelMap<'v>>() else { return Ok(range) };
    let mut keys: Vec<_> = map.inner().keys().collect();
    keys.sort();
    let keys: Vec<Box<dyn Val + 'v>> = keys.iter().map(|key| key.inner().clone_as_boxed()).collect();
    Ok(CowVal::owned(CelList::from(keys)))
}

/// What a value weighs; what lies beyond `most` is not looked at.
fn size(value: &dyn Val, most: u64) -> u64 {
    let text = |bytes: usize| 1 + (bytes / BYTES_PER_UNIT) as u64;
    if let Some(value) = value.downcast_ref::<CelString<'_>>() {
        return text(value.inner().len());
    }
    if let Some(value) = value.downcast_ref::<CelBytes<'_>>() {
        return text(value.inner().len());
    }
    let mut sum = 1u64;
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        for element in list.inner() {
            if sum > most {
                break;
            }
            sum = sum.saturating_add(size(&**element, most - sum));
        }
    } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        for (key, value) in map.inner() {
            if sum > most {
                break;
            }
            sum = sum.saturating_add(size(key.inner(), most)).saturating_add(size(&**value, most));
        }
    }
    sum
}

/// Puts the meter into a parsed expression.
pub(super) fn install(program: &mut IdedExpr) {
    meter(program, false);
}

/// Returns the number of nodes below and with this one.
fn meter(node: &mut IdedExpr, in_loop: bool) -> i64 {
    1 + match &mut node.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) | Expr::Struct(_) => 0,
        Expr::Select(select) => meter(&mut select.operand, in_loop),
        Expr::List(list) => list.elements.iter_mut().map(|element| weighed(element, in_loop)).sum(),
        Expr::Map(map) => map.entries.iter_mut().map(|entry| meter_entry(&mut entry.expr, in_loop)).sum(),
        Expr::Call(call) => meter_call(call, in_loop),
        Expr::Comprehension(each) => meter_loop(each, in_loop),
    }
}

fn meter_entry(entry: &mut EntryExpr, in_loop: bool) -> i64 {
    match entry {
        EntryExpr::StructField(field) => weighed(&mut field.value, in_loop),
        EntryExpr::MapEntry(entry) => weighed(&mut entry.key, in_loop) + weighed(&mut entry.value, in_loop),
    }
}

fn meter_call(call: &mut CallExpr, in_loop: bool) -> i64 {
    let cheap = [
        operators::CONDITIONAL,
        operators::LOGICAL_AND,
        operators::LOGICAL_OR,
        operators::LOGICAL_NOT,
        operators::NOT_STRICTLY_FALSE,
        operators::INDEX,
    ];
    let joins = call.func_name == operators::ADD;
    // The evaluator knows `map`, `filter` and `exists_one` by the shape of their step, `@result + …`.
    let accumulates =
        matches!(call.args.first(), Some(IdedExpr { expr: Expr::Ident(name), .. }) if name.starts_with('@'));
    let weigh = !accumulates && (joins || (in_loop && !cheap.contains(&call.func_name.as_str())));
    let parts = call.target.iter_mut().map(|target| &mut **target).chain(&mut call.args);
    parts.map(|part| if weigh { weighed(part, in_loop) } else { meter(part, in_loop) }).sum()
}

fn meter_loop(each: &mut ComprehensionExpr, in_loop: bool) -> i64 {
    let range = meter(&mut each.iter_range, in_loop);
    let body = meter(&mut each.loop_cond, true) + meter(&mut each.loop_step, true);
    let around = meter(&mut each.accu_init, in_loop) + meter(&mut each.result, in_loop);
    let nodes = IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Int(CelInt::from(body))) };
    wrap(&mut each.iter_range, EACH, vec![nodes]);
    range + body + around
}

fn weighed(node: &mut IdedExpr, in_loop: bool) -> i64 {
    let nodes = meter(node, in_loop);
    if !matches!(node.expr, Expr::Literal(_)) {
        wrap(node, WEIGH, Vec::new());
    }
    nodes
}

fn wrap(node: &mut IdedExpr, function: &str, more: Vec<IdedExpr>) {
    let inner = std::mem::take(node);
    let mut args = vec![inner];
    args.extend(more);
    node.expr = Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args });
}
