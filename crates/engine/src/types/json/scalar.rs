//! Commands that change numbers, booleans and strings where they stand.

use dormouse_proto::{Args, Blob, CommandError, Reply};

use super::document::Act;
use super::node::Node;
use super::path::Path;
use super::text::plain;
use super::{Addition, Plan, ROOT, answer, is_resp3, path_wrong, update, value_of, wrong_kind};
use crate::txn::{Outcome, Txn};

const BAD_NUMBER: CommandError = CommandError::text("ERR bad input number");
const NOT_A_NUMBER: CommandError = CommandError::text("ERR result is not a number");

pub(super) fn increment(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    calculate(txn, args, "json.numincrby", i64::checked_add, |a, b| a + b)
}

pub(super) fn multiply(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    calculate(txn, args, "json.nummultby", i64::checked_mul, |a, b| a * b)
}

/// Two integers make an integer; any other two numbers make a double.
fn calculate(
    txn: &mut Txn<'_>,
    args: Args<'_>,
    event: &'static str,
    whole: fn(i64, i64) -> Option<i64>,
    double: fn(f64, f64) -> f64,
) -> Outcome {
    let path = Path::parse(args[2])?;
    let operand = value_of(txn, args[3])?;
    let right = operand.as_double().ok_or(BAD_NUMBER)?;
    let plan = |node: &Node| {
        let Some(left) = node.as_double() else { return Ok(Plan::Skip) };
        let result = match (node, &operand) {
            (Node::Integer(a), Node::Integer(b)) => Node::Integer(whole(*a, *b).ok_or(CommandError::Overflow)?),
            _ => Some(double(left, right)).filter(|value| value.is_finite()).map(Node::Double).ok_or(NOT_A_NUMBER)?,
        };
        Ok(Plan::Do(Act::Replace(result.clone()), result))
    };
    let results = update(txn, args[1], &path, (event, Addition::default()), plan)?;
    if is_resp3(txn) {
        return Ok(Reply::Array(results.into_iter().map(|result| result.map_or(Reply::Null, number)).collect()));
    }
    if path.legacy {
        let missing = || path_wrong(&path.text, "does not contains a number");
        return answer(&path, results, missing, |node| Reply::Bulk(Blob::from(plain(&node))));
    }
    let results: Vec<Node> = results.into_iter().map(Option::unwrap_or_default).collect();
    Ok(Reply::Bulk(Blob::from(plain(&Node::Array(results)))))
}

fn number(node: Node) -> Reply {
    match node {
        Node::Integer(value) => Reply::Integer(value),
        node => node.as_double().map_or(Reply::Null, Reply::Double),
    }
}

pub(super) fn toggle(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let path = Path::parse(args[2])?;
    let plan = |node: &Node| {
        Ok(match node {
            Node::Bool(value) => Plan::Do(Act::Replace(Node::Bool(!value)), !value),
            _ => Plan::Skip,
        })
    };
    let results = update(txn, args[1], &path, ("json.toggle", Addition::default()), plan)?;
    let legacy = path.legacy;
    answer(
        &path,
        results,
        || path_wrong(&path.text, "not a bool"),
        |value| {
            if legacy { Reply::bulk(if value { "true" } else { "false" }) } else { Reply::flag(value) }
        },
    )
}

pub(super) fn append(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    // Without a path, the only other argument is the text.
    let (path, text) = match &args[2..] {
        [text] => (ROOT, text),
        [path, text] => (*path, text),
        _ => return Err(CommandError::Syntax.into()),
    };
    let path = Path::parse(path)?;
    let text = match value_of(txn, text)? {
        Node::Text(text) => text,
        other => return Err(wrong_kind("string", &other.to_string()).into()),
    };
    let bytes_max = txn.hub().limits.string_bytes_max;
    let plan = |node: &Node| {
        let Some(before) = node.as_text() else { return Ok(Plan::Skip) };
        let length = before.len() + text.len();
        if length > bytes_max {
            return Err(CommandError::StringTooLong);
        }
        Ok(if text.is_empty() { Plan::Keep(length) } else { Plan::Do(Act::Append(text.clone()), length) })
    };
    let added = Addition { bytes: text.len(), depth: 0 };
    let results = update(txn, args[1], &path, ("json.strappend", added), plan)?;
    answer(&path, results, || path_wrong(&path.text, "not a string"), Reply::count)
}
