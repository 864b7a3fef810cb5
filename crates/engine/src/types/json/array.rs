//! Commands that change arrays where they stand. Each is a splice.

use dormouse_proto::{Args, Blob, CommandError, Reply};

use super::document::Act;
use super::node::Node;
use super::path::Path;
use super::text::{plain, utf8};
use super::{Addition, Plan, ROOT, answer, index, path_wrong, update, value_of};
use crate::txn::{Outcome, Txn};

const OUT_OF_BOUNDS: CommandError = CommandError::text("ERR index out of bounds");
const NOT_AN_ARRAY: &str = "not an array";

/// New elements, and what they add to an array.
fn elements(txn: &mut Txn<'_>, args: Args<'_>) -> Result<(Vec<Node>, Addition), CommandError> {
    let nodes = args.iter().map(|arg| value_of(txn, arg)).collect::<Result<Vec<_>, _>>()?;
    let bytes = nodes.iter().map(|node| size_of::<Node>() + node.heap_bytes()).sum();
    let depth = 1 + nodes.iter().map(Node::depth).max().unwrap_or(0);
    Ok((nodes, Addition { bytes, depth }))
}

pub(super) fn append(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let path = Path::parse(args[2])?;
    let (nodes, added) = elements(txn, &args[3..])?;
    let plan = |node: &Node| {
        let Some(items) = node.as_array() else { return Ok(Plan::Skip) };
        Ok(Plan::Do(Act::Splice(items.len() as u32, 0, nodes.clone()), items.len() + nodes.len()))
    };
    let results = update(txn, args[1], &path, ("json.arrappend", added), plan)?;
    let named = utf8(args[2])?;
    answer(&path, results, || path_wrong(named, NOT_AN_ARRAY), Reply::count)
}

pub(super) fn insert(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let path = Path::parse(args[2])?;
    let before = index(args[3])?;
    let (nodes, added) = elements(txn, &args[4..])?;
    let plan = |node: &Node| {
        let Some(items) = node.as_array() else { return Ok(Plan::Skip) };
        let at = if before < 0 { items.len() as i64 + before } else { before };
        if !(0..=items.len() as i64).contains(&at) {
            return Err(OUT_OF_BOUNDS);
        }
        Ok(Plan::Do(Act::Splice(at as u32, 0, nodes.clone()), items.len() + nodes.len()))
    };
    let results = update(txn, args[1], &path, ("json.arrinsert", added), plan)?;
    answer(&path, results, || path_wrong(&path.text, NOT_AN_ARRAY), Reply::count)
}

pub(super) fn pop(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (path, at) = match &args[2..] {
        [] => (ROOT, -1),
        [path] => (*path, -1),
        [path, at] => (*path, index(at)?),
        _ => return Err(CommandError::Syntax.into()),
    };
    let path = Path::parse(path)?;
    let plan = |node: &Node| {
        let Some(items) = node.as_array() else { return Ok(Plan::Skip) };
        let at = clamped(at, items.len()).min(items.len().saturating_sub(1));
        Ok(match items.get(at) {
            Some(item) => Plan::Do(Act::Splice(at as u32, 1, Vec::new()), Some(plain(item))),
            None => Plan::Keep(None),
        })
    };
    let results = update(txn, args[1], &path, ("json.arrpop", Addition::default()), plan)?;
    answer(&path, results, || path_wrong(&path.text, NOT_AN_ARRAY), |item| Reply::maybe(item.map(Blob::from)))
}

pub(super) fn trim(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let path = Path::parse(args[2])?;
    let (start, stop) = (index(args[3])?, index(args[4])?);
    let plan = |node: &Node| {
        let Some(items) = node.as_array() else { return Ok(Plan::Skip) };
        let (from, until) =
            (clamped(start, items.len()), clamped(stop, items.len()).saturating_add(1).min(items.len()));
        Ok(match () {
            () if from >= until && items.is_empty() => Plan::Keep(0),
            () if from >= until => Plan::Do(Act::Splice(0, items.len() as u32, Vec::new()), 0),
            () if until - from == items.len() => Plan::Keep(items.len()),
            // One splice, so what stays is moved: cheaper than two, and the log has what is short.
            () if from == 0 => Plan::Do(Act::Splice(until as u32, (items.len() - until) as u32, Vec::new()), until),
            () if until == items.len() => Plan::Do(Act::Splice(0, from as u32, Vec::new()), until - from),
            () => Plan::Do(Act::Replace(Node::Array(items[from..until].to_vec())), until - from),
        })
    };
    let results = update(txn, args[1], &path, ("json.arrtrim", Addition::default()), plan)?;
    answer(&path, results, || path_wrong(&path.text, NOT_AN_ARRAY), Reply::count)
}

/// A position counted from the end if it is negative; the first, if that is before it.
fn clamped(index: i64, length: usize) -> usize {
    if index < 0 { length.saturating_sub(index.unsigned_abs() as usize) } else { index as usize }
}
