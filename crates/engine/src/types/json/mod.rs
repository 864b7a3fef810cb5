//! JSON documents: values inside values, reached by paths.
//!
//! The commands are RedisJSON's, in both of its dialects: a path that begins with `$` may match many values and is answered by
//! an array with one entry for each (null where the value is of another kind), any other path is answered by one bare value
//! or an error. `node.rs` is the tree, `text.rs` reads and writes it, `path.rs` reads paths, `select.rs` follows them, and
//! `document.rs` is the value of a key and the changes made to it.
//!
//! A command that writes finds its places first and plans what happens at each, and touches nothing before all of it is known
//! to be possible. Places may lie inside one another: each is looked up again, by name, when its turn comes.

mod array;
mod document;
mod node;
mod path;
mod read;
mod scalar;
mod select;
mod text;
mod write;

use dormouse_proto::{CommandError, Reply};

pub use self::document::Json;
use self::document::{Act, Change};
pub use self::node::Node;
pub use self::path::Path;
use self::select::{Match, Step, matches};
pub(crate) use self::text::{parse, plain};
use crate::command::{Command, Group, Handler, command, container};
use crate::hub::Event;
use crate::txn::{Outcome, Stop, Txn};
use crate::value::Kind;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    json("JSON.SET",       -4, write::set)       .writes().key(1).grows()       .doc("RedisJSON 1.0", "Sets the values at a path, or a new member; a new document at the root."),
    json("JSON.GET",       -2, read::get)        .reads() .key(1)               .doc("RedisJSON 1.0", "The values at one path or several, as JSON."),
    json("JSON.MGET",      -3, read::mget)       .reads() .keys(1, -2, 1)       .doc("RedisJSON 1.0", "The values at a path in several documents."),
    json("JSON.MSET",      -4, write::mset)      .writes().keys(1, -1, 3).grows().doc("RedisJSON 2.6", "Sets values in several documents, all or none."),
    json("JSON.MERGE",      4, write::merge)     .writes().key(1).grows()       .doc("RedisJSON 2.6", "Merges a document into the values at a path, as RFC 7386 says."),
    json("JSON.DEL",       -2, write::del)       .writes().key(1)               .removes().doc("RedisJSON 1.0", "Removes the values at a path; counts them."),
    json("JSON.FORGET",    -2, write::del)       .writes().key(1)               .doc("RedisJSON 1.0", "Removes the values at a path; another name of JSON.DEL."),
    json("JSON.CLEAR",     -2, write::clear)     .writes().key(1)               .doc("RedisJSON 2.0", "Empties arrays and objects and sets numbers to 0; counts those it changed."),
    json("JSON.TYPE",      -2, read::kind)       .reads() .key(1)               .doc("RedisJSON 1.0", "The types of the values at a path."),
    json("JSON.NUMINCRBY",  4, scalar::increment).writes().key(1)               .doc("RedisJSON 1.0", "Adds to the numbers at a path."),
    json("JSON.NUMMULTBY",  4, scalar::multiply) .writes().key(1)               .doc("RedisJSON 1.0", "Multiplies the numbers at a path."),
    json("JSON.TOGGLE",     3, scalar::toggle)   .writes().key(1)               .doc("RedisJSON 2.0", "Turns the booleans at a path around."),
    json("JSON.STRAPPEND", -3, scalar::append)   .writes().key(1).grows()       .doc("RedisJSON 1.0", "Appends to the strings at a path; their new lengths."),
    json("JSON.STRLEN",    -2, read::strlen)     .reads() .key(1)               .doc("RedisJSON 1.0", "The lengths of the strings at a path, in bytes."),
    json("JSON.ARRAPPEND", -4, array::append)    .writes().key(1).grows()       .doc("RedisJSON 1.0", "Appends to the arrays at a path; their new lengths."),
    json("JSON.ARRINDEX",  -4, read::arrindex)   .reads() .key(1)               .doc("RedisJSON 1.0", "Where a value first stands in the arrays at a path, or -1."),
    json("JSON.ARRINSERT", -5, array::insert)    .writes().key(1).grows()       .doc("RedisJSON 1.0", "Inserts into the arrays at a path, before an index; their new lengths."),
    json("JSON.ARRLEN",    -2, read::arrlen)     .reads() .key(1)               .doc("RedisJSON 1.0", "The lengths of the arrays at a path."),
    json("JSON.ARRPOP",    -2, array::pop)       .writes().key(1)               .doc("RedisJSON 1.0", "Removes an element from each array at a path and returns it."),
    json("JSON.ARRTRIM",    5, array::trim)      .writes().key(1)               .doc("RedisJSON 1.0", "Keeps a range of the arrays at a path; their new lengths."),
    json("JSON.OBJKEYS",   -2, read::objkeys)    .reads() .key(1)               .doc("RedisJSON 1.0", "The names in the objects at a path."),
    json("JSON.OBJLEN",    -2, read::objlen)     .reads() .key(1)               .doc("RedisJSON 1.0", "How many members the objects at a path have."),
    json("JSON.RESP",      -2, read::resp)       .reads() .key(1)               .doc("RedisJSON 1.0", "The values at a path as replies inside replies."),
    container("JSON.DEBUG", DEBUG).group(Group::Json).doc("RedisJSON 1.0", "Commands that look inside documents."),
];

#[rustfmt::skip]
const DEBUG: &[Command] = &[
    json("MEMORY", -3, read::debug_memory).reads().key(2).doc("RedisJSON 1.0", "The bytes of memory that the values at a path take."),
    json("HELP",    2, read::debug_help).for_all().doc("RedisJSON 1.0", "The sub-commands."),
];

const fn json(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Json)
}

const NO_DOCUMENT: CommandError =
    CommandError::text("ERR could not perform this operation on a key that doesn't exist");
const TOO_DEEP: CommandError = CommandError::text("ERR the document is nested too deeply");
const NOT_AN_INDEX: CommandError = CommandError::text("ERR Couldn't parse as integer");

/// The path of a command that need not name one.
const ROOT: &[u8] = b".";

/// Reads a document from an argument, within the limits.
fn value_of(txn: &mut Txn<'_>, arg: &[u8]) -> Result<Node, CommandError> {
    let limits = txn.hub().limits;
    parse(arg, limits.json_depth_max, limits.record_bytes_max)
}

/// Whether replies may have shapes that only the newer protocol has. Scripts see those of the older one.
fn is_resp3(txn: &mut Txn<'_>) -> bool {
    txn.client().protocol == 3 && txn.script.is_none()
}

/// An index as RedisJSON reads it.
fn index(arg: &[u8]) -> Result<i64, CommandError> {
    dormouse_proto::parse_integer(arg).ok_or(NOT_AN_INDEX)
}

fn path_missing(path: &str) -> CommandError {
    CommandError::from(format!("ERR Path '{path}' does not exist"))
}

/// `what` is "not an array" and the like.
fn path_wrong(path: &str, what: &str) -> CommandError {
    CommandError::from(format!("ERR Path '{path}' does not exist or {what}"))
}

fn wrong_kind(expected: &str, found: &str) -> CommandError {
    CommandError::from(format!("WRONGTYPE wrong type of path value - expected {expected} but found {found}"))
}

/// Steps that no longer borrow from the document.
type Steps = Vec<Step<Box<str>>>;

fn owned(steps: &[Step<&str>]) -> Steps {
    let own = |step: &Step<&str>| match step {
        Step::Key(key) => Step::Key(Box::from(*key)),
        Step::Index(index) => Step::Index(*index),
    };
    steps.iter().map(own).collect()
}

/// What happens at one place, and what the reply says of it.
enum Plan<T> {
    /// Nothing: the value is of another kind.
    Skip,
    /// Nothing, but the reply has something to say.
    Keep(T),
    /// This.
    Do(Act, T),
}

/// What a command puts in at each of its places.
#[derive(Clone, Copy, Default)]
struct Addition {
    bytes: usize,
    /// How many arrays and objects lie around the innermost new value, from the place on.
    depth: usize,
}

/// Whether a document may take so many additions at these places.
fn check_growth(txn: &mut Txn<'_>, json_bytes: usize, places: &[Steps], added: Addition) -> Result<(), CommandError> {
    let limits = txn.hub().limits;
    if json_bytes.saturating_add(places.len().saturating_mul(added.bytes)) > limits.record_bytes_max {
        return Err(CommandError::RecordTooLarge);
    }
    let deepest = places.iter().map(Vec::len).max().unwrap_or(0);
    if added.depth > 0 && deepest + added.depth > limits.json_depth_max { Err(TOO_DEEP) } else { Ok(()) }
}

/// Changes every value that a path matches, as `plan` says; what it has to say of each, in order.
fn update<T>(
    txn: &mut Txn<'_>,
    key: &[u8],
    path: &Path,
    (event, added): (&'static str, Addition),
    plan: impl Fn(&Node) -> Result<Plan<T>, CommandError>,
) -> Result<Vec<Option<T>>, Stop> {
    let json = txn.get::<Json>(key)?.ok_or(NO_DOCUMENT)?;
    let (found, bytes) = (matches(json.root(), path)?, json.memory_bytes());
    // Everything is planned before anything is touched, so that an error leaves the document as it was.
    let plans = found.iter().map(|found| plan(found.node)).collect::<Result<Vec<_>, _>>()?;
    let acts = |plan: &Plan<T>| matches!(plan, Plan::Do(..));
    let places: Vec<Steps> =
        found.iter().zip(&plans).filter(|(_, plan)| acts(plan)).map(|(found, _)| owned(&found.steps)).collect();
    check_growth(txn, bytes, &places, added)?;
    let alone = places.len() == 1;
    let mut places = places.into_iter();
    let mut results = Vec::with_capacity(plans.len());
    let mut todo = Vec::with_capacity(places.len());
    for planned in plans {
        results.push(match planned {
            Plan::Do(act, result) => {
                todo.extend(places.next().map(|steps| (results.len(), steps, act, result)));
                None
            }
            Plan::Keep(result) => Some(result),
            Plan::Skip => None,
        });
    }
    let mut edit = if todo.is_empty() { None } else { Some(txn.edit::<Json>(key)?) };
    if let Some(edit) = &mut edit {
        // The outer first, as in RedisJSON, in whatever order they are shown.
        todo.sort_by_key(|(_, steps, ..)| steps.len());
        for (at, steps, act, result) in todo {
            let place = edit.locate(&steps);
            // One place alone is as it was when it was planned. Of several, each may have been changed through another.
            let planned = match &place {
                Some(_) if alone => Ok(Plan::Do(act, result)),
                Some(place) => edit.at(place).map_or(Ok(Plan::Skip), &plan),
                None => Ok(Plan::Skip),
            };
            results[at] = match (planned, place) {
                (Ok(Plan::Do(act, result)), Some(at)) => {
                    edit.apply(Change { at, act });
                    Some(result)
                }
                (Ok(Plan::Keep(result)), _) => Some(result),
                _ => None,
            };
        }
    }
    let changed = edit.is_some();
    drop(edit);
    if changed {
        txn.notify(Event::Json, event, key);
    }
    Ok(results)
}

/// Shows what there is to say of each match: all of it, or in the older dialect the last there is.
fn answer<T>(
    path: &Path,
    results: Vec<Option<T>>,
    none: impl FnOnce() -> CommandError,
    reply: impl Fn(T) -> Reply,
) -> Outcome {
    if path.legacy {
        return results.into_iter().flatten().last().map(reply).ok_or_else(|| none().into());
    }
    Ok(Reply::Array(results.into_iter().map(|result| result.map_or(Reply::Null, &reply)).collect()))
}

/// Places without those that lie in others, or are there twice.
fn topmost(found: &[Match<'_>]) -> Vec<Steps> {
    let all: hashbrown::HashSet<&[Step<&str>]> = found.iter().map(|found| found.steps.as_slice()).collect();
    let mut seen = hashbrown::HashSet::new();
    let alone = |steps: &&[Step<&str>]| !(0..steps.len()).any(|length| all.contains(&steps[..length]));
    let places = found.iter().map(|found| found.steps.as_slice()).filter(alone);
    places.filter(|steps| seen.insert(*steps)).map(owned).collect()
}

#[cfg(test)]
mod tests;
