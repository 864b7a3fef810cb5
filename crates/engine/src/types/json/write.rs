//! Commands that put values in and take them out: `JSON.SET`, `JSON.MSET`, `JSON.MERGE`, `JSON.DEL`, `JSON.CLEAR`.
//!
//! A value goes where the path matches. Where nothing matches, a path that can match one value at most makes a new member of
//! an object that is there; no command makes the objects around it, and only the root makes a key.

use std::cmp::Ordering;

use dormouse_proto::{Args, CommandError, Reply};

use super::document::{Act, Change, Json, Place};
use super::node::{Node, Object};
use super::path::{Last, Path};
use super::select::{Step, matches, matches_of};
use super::{Addition, ROOT, Steps, check_growth, owned, topmost, value_of};
use crate::args::is;
use crate::hub::Event;
use crate::txn::{Deadline, Edit, Outcome, Stop, Txn};
use crate::value::{Kind, Tagged};

const NEW_AT_ROOT: CommandError = CommandError::text("ERR new objects must be created at the root");
const NOT_STATIC: CommandError = CommandError::text("ERR wrong static path");
const INDEX_OUT_OF_RANGE: CommandError = CommandError::text("ERR array index out of range");

/// Whether a value may go where there is one already, or where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    None,
    Absent,
    Present,
}

/// Where a value goes.
#[derive(Debug)]
enum Target {
    /// It becomes the whole document.
    Root,
    /// In place of these.
    Places(Vec<Steps>),
    /// A new member of the value at these steps, if that is an object by then.
    Member(Steps, Box<str>),
    /// Nowhere: a part of the path is missing, or the condition does not hold.
    Nowhere,
}

/// Finds where a value goes and makes sure that it fits there.
fn aim(txn: &mut Txn<'_>, key: &[u8], path: &Path, node: &Node, condition: Condition) -> Result<Target, Stop> {
    let added = Addition { bytes: size_of::<Node>() + node.heap_bytes(), depth: node.depth() };
    let Some(json) = txn.get::<Json>(key)? else {
        return match (condition, path.is_root()) {
            (Condition::Present, _) => Ok(Target::Nowhere),
            (_, false) => Err(NEW_AT_ROOT.into()),
            (_, true) => Ok(Target::Root),
        };
    };
    let bytes = json.memory_bytes();
    if path.is_root() {
        return Ok(if condition == Condition::Absent { Target::Nowhere } else { Target::Root });
    }
    let found = matches(json.root(), path)?;
    if !found.is_empty() && (condition != Condition::Absent || path.parent().is_some()) {
        if condition == Condition::Absent {
            return Ok(Target::Nowhere);
        }
        let mut places: Vec<Steps> = found.iter().map(|found| owned(&found.steps)).collect();
        // The outer first, as in RedisJSON: what replaces it may have the inner, too.
        places.sort_by_key(Vec::len);
        check_growth(txn, bytes, &places, added)?;
        return Ok(Target::Places(places));
    }
    if condition == Condition::Present {
        return Ok(Target::Nowhere);
    }
    let (parent, last) = path.parent().ok_or(NOT_STATIC)?;
    let Last::Key(name) = last else { return Err(INDEX_OUT_OF_RANGE.into()) };
    let mut parents = matches_of(json.root(), parent, path.order())?;
    let Some(parent) = parents.pop() else { return Ok(Target::Nowhere) };
    let steps = owned(&parent.steps);
    let place = [steps.clone(), vec![Step::Key(name.into())]].concat();
    check_growth(txn, bytes + name.len(), &[place], added)?;
    Ok(Target::Member(steps, name.into()))
}

/// Puts a value where it goes; whether it went anywhere.
fn put(txn: &mut Txn<'_>, key: &[u8], target: Target, node: Node) -> Result<bool, Stop> {
    match target {
        Target::Root => txn.put(key, Json::new(node).into_value(), Deadline::Keep)?,
        Target::Places(mut places) => {
            let last = places.pop();
            let mut edit = txn.edit::<Json>(key)?;
            for steps in &places {
                replace(&mut edit, steps, node.clone());
            }
            if let Some(steps) = last {
                replace(&mut edit, &steps, node);
            }
        }
        Target::Member(steps, name) => {
            let mut edit = txn.edit::<Json>(key)?;
            let Some(at) = edit.locate(&steps) else { return Ok(false) };
            let Some(object) = edit.at(&at).and_then(Node::as_object) else { return Ok(false) };
            // Another part of the same command may have made it.
            if object.position(&name).is_some() {
                return Ok(false);
            }
            let length = object.len() as u32;
            edit.apply(Change { at, act: Act::Insert(length, name, node) });
        }
        Target::Nowhere => return Ok(false),
    }
    Ok(true)
}

/// Replaces what steps lead to, if they still lead anywhere.
fn replace(edit: &mut Edit<'_, Json>, steps: &Steps, node: Node) {
    if let Some(at) = edit.locate(steps) {
        edit.apply(Change { at, act: Act::Replace(node) });
    }
}

pub(super) fn set(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let key = args[1];
    let condition = match &args[4..] {
        [] => Condition::None,
        [word] if is(word, "NX") => Condition::Absent,
        [word] if is(word, "XX") => Condition::Present,
        _ => return Err(CommandError::Syntax.into()),
    };
    let node = value_of(txn, args[3])?;
    let path = Path::parse(args[2])?;
    let target = aim(txn, key, &path, &node, condition)?;
    if !put(txn, key, target, node)? {
        // Where no condition stands against it, something is missing on the way: an error, as with Upstash.
        return if condition == Condition::None {
            Err(super::path_missing(&path.text).into())
        } else {
            Ok(Reply::Null)
        };
    }
    txn.notify(Event::Json, "json.set", key);
    Ok(Reply::OK)
}

pub(super) fn mset(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (triples, rest) = args[1..].as_chunks::<3>();
    if !rest.is_empty() {
        return Err(CommandError::Arity("json.mset".into()).into());
    }
    let bytes_max = txn.hub().limits.record_bytes_max;
    let mut aimed = Vec::with_capacity(triples.len());
    for [key, path, node] in triples {
        let node = value_of(txn, node)?;
        let target = aim(txn, key, &Path::parse(path)?, &node, Condition::None)?;
        // Once the first value is in its place, nothing may fail.
        if size_of::<Json>() + node.heap_bytes() > bytes_max {
            return Err(CommandError::RecordTooLarge.into());
        }
        aimed.push((*key, target, node));
    }
    for (key, target, node) in aimed {
        if put(txn, key, target, node)? {
            txn.notify(Event::Json, "json.mset", key);
        }
    }
    Ok(Reply::OK)
}

pub(super) fn merge(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let key = args[1];
    let patch = value_of(txn, args[3])?;
    let path = Path::parse(args[2])?;
    let mut target = aim(txn, key, &path, &patch, Condition::None)?;
    // Into a document that is there, the root is a place like any other.
    if let (Target::Root, Some(json)) = (&target, txn.get::<Json>(key)?) {
        let bytes = json.memory_bytes();
        let added = Addition { bytes: patch.heap_bytes(), depth: patch.depth() };
        check_growth(txn, bytes, &[Vec::new()], added)?;
        target = Target::Places(vec![Vec::new()]);
    }
    match target {
        Target::Places(places) => {
            let mut edit = txn.edit::<Json>(key)?;
            for steps in &places {
                if let Some(mut at) = edit.locate(steps) {
                    merge_at(&mut edit, &mut at, patch.clone());
                }
            }
        }
        target => {
            if !put(txn, key, target, patch)? {
                return Ok(Reply::Null);
            }
        }
    }
    txn.notify(Event::Json, "json.merge", key);
    Ok(Reply::OK)
}

/// Merges into the value at a place: members that are null go, objects are merged in turn, anything else replaces.
fn merge_at(edit: &mut Edit<'_, Json>, at: &mut Place, patch: Node) {
    let object = edit.at(at).and_then(Node::as_object);
    let members = match patch {
        Node::Object(members) if object.is_some() => members,
        patch => {
            edit.apply(Change { at: at.clone(), act: Act::Replace(without_nulls(patch)) });
            return;
        }
    };
    for (key, node) in members.into_members() {
        let Some(object) = edit.at(at).and_then(Node::as_object) else { return };
        let (position, length) = (object.position(&key).map(|position| position as u32), object.len() as u32);
        match (position, node) {
            (Some(position), Node::Null) => edit.apply(Change { at: at.clone(), act: Act::Remove(position) }),
            (None, Node::Null) => {}
            (Some(position), node) => {
                at.push(position);
                merge_at(edit, at, node);
                at.pop();
            }
            (None, node) => {
                edit.apply(Change { at: at.clone(), act: Act::Insert(length, key, without_nulls(node)) });
            }
        }
    }
}

/// What merging into nothing leaves of a value.
fn without_nulls(node: Node) -> Node {
    let Node::Object(members) = node else { return node };
    let mut object = Box::<Object>::default();
    for (key, node) in members.into_members() {
        if !matches!(node, Node::Null) {
            object.set(key, without_nulls(node));
        }
    }
    Node::Object(object)
}

fn optional_path(args: Args<'_>) -> Result<Path, CommandError> {
    match args {
        [] => Path::parse(ROOT),
        [path] => Path::parse(path),
        _ => Err(CommandError::Syntax),
    }
}

pub(super) fn del(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let key = args[1];
    let path = optional_path(&args[2..])?;
    let Some(json) = txn.get::<Json>(key)? else { return Ok(Reply::Integer(0)) };
    let mut places = topmost(&matches(json.root(), &path)?);
    // A filter can match the whole document, if that is neither an array nor an object.
    if places.first().is_some_and(Vec::is_empty) {
        txn.delete(key)?;
        txn.notify(Event::Json, "json.del", key);
        return Ok(Reply::Integer(1));
    }
    if places.is_empty() {
        return Ok(Reply::Integer(0));
    }
    // By name, and from the end of an array: the order of members that are left depends on it.
    places.sort_by(|a, b| {
        let unequal = a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|order| order.is_ne());
        unequal.unwrap_or_else(|| a.len().cmp(&b.len()))
    });
    let mut edit = txn.edit::<Json>(key)?;
    for steps in &places {
        let Some(mut at) = edit.locate(steps) else { continue };
        let Some(position) = at.pop() else { continue };
        let is_array = edit.at(&at).is_some_and(|parent| parent.as_array().is_some());
        let act = if is_array { Act::Splice(position, 1, Vec::new()) } else { Act::Remove(position) };
        edit.apply(Change { at, act });
    }
    drop(edit);
    txn.notify(Event::Json, "json.del", key);
    Ok(Reply::count(places.len()))
}

fn compare(a: &Step<Box<str>>, b: &Step<Box<str>>) -> Ordering {
    match (a, b) {
        (Step::Key(a), Step::Key(b)) => a.cmp(b),
        (Step::Index(a), Step::Index(b)) => b.cmp(a),
        (Step::Key(_), Step::Index(_)) => Ordering::Less,
        (Step::Index(_), Step::Key(_)) => Ordering::Greater,
    }
}

pub(super) fn clear(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let key = args[1];
    let path = optional_path(&args[2..])?;
    let json = txn.get::<Json>(key)?.ok_or(super::NO_DOCUMENT)?;
    let mut found = matches(json.root(), &path)?;
    found.retain(|found| cleared(found.node).is_some());
    let places = topmost(&found);
    if places.is_empty() {
        return Ok(Reply::Integer(0));
    }
    let mut edit = txn.edit::<Json>(key)?;
    for steps in &places {
        if let Some(node) = edit.locate(steps).and_then(|at| edit.at(&at)).and_then(cleared) {
            replace(&mut edit, steps, node);
        }
    }
    drop(edit);
    txn.notify(Event::Json, "json.clear", key);
    Ok(Reply::count(places.len()))
}

/// What clearing makes of a value, if it changes anything.
fn cleared(node: &Node) -> Option<Node> {
    match node {
        Node::Array(items) => (!items.is_empty()).then(|| Node::Array(Vec::new())),
        Node::Object(object) => (!object.is_empty()).then(|| Node::Object(Box::default())),
        number => (number.as_double()? != 0.0).then_some(Node::Integer(0)),
    }
}
