//! Commands that only look: `JSON.GET` and those that ask for types, lengths, names and positions.
//!
//! What a missing key, a missing path or a value of another kind is answered with differs from command to command, and so do
//! the words; all of it is RedisJSON's.

use dormouse_proto::{Args, Blob, CommandError, Reply};
use hashbrown::HashSet;

use super::document::Json;
use super::node::Node;
use super::path::Path;
use super::select::nodes;
use super::text::{Printer, Style};
use super::{NO_DOCUMENT, ROOT, index, is_resp3, path_missing, path_wrong, value_of, wrong_kind};
use crate::args::is;
use crate::txn::{Outcome, Txn};

const FORMAT: CommandError = CommandError::text("ERR FORMAT argument is not supported on RESP2");

/// The path in an optional argument; the whole document without one. More arguments are refused.
fn optional_path(args: Args<'_>) -> Result<Path, CommandError> {
    match args {
        [] => Path::parse(ROOT),
        [path] => Path::parse(path),
        _ => Err(CommandError::Syntax),
    }
}

// --- JSON.GET and JSON.MGET -------------------------------------------------------------------------------------------

/// What `JSON.GET` was asked for.
struct Wanted<'a> {
    style: Style<'a>,
    /// Each path once.
    paths: Vec<(&'a [u8], Path)>,
    /// Whether several were named, be they the same: the reply is an object.
    several: bool,
}

impl<'a> Wanted<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut wanted = Self { style: Style::default(), paths: Vec::new(), several: false };
        let mut known = HashSet::new();
        let mut args = args.iter().copied();
        while let Some(arg) = args.next() {
            let part = match () {
                () if is(arg, "INDENT") => &mut wanted.style.indent,
                () if is(arg, "NEWLINE") => &mut wanted.style.newline,
                () if is(arg, "SPACE") => &mut wanted.style.space,
                // Once it asked for text as it is; that is what everyone gets.
                () if is(arg, "NOESCAPE") => continue,
                () if is(arg, "FORMAT") => return Err(FORMAT),
                () => {
                    wanted.several = !wanted.paths.is_empty();
                    if known.insert(arg) {
                        wanted.paths.push((arg, Path::parse(arg)?));
                    }
                    continue;
                }
            };
            *part = args.next().ok_or(CommandError::Arity("json.get".into()))?;
        }
        if wanted.paths.is_empty() {
            wanted.paths.push((ROOT, Path::parse(ROOT)?));
        }
        Ok(wanted)
    }

    /// Which values there are goes by the path alone; what they look like, by all of them: one `$` makes all arrays.
    fn print(&self, root: &Node, bytes_max: usize) -> Result<Vec<u8>, CommandError> {
        let mut printer = Printer::new(self.style, bytes_max);
        if let [(_, path)] = self.paths.as_slice()
            && !self.several
        {
            let found = nodes(root, path)?;
            if path.legacy {
                printer.node(found.first().ok_or_else(|| path_missing(&path.text))?)?;
            } else {
                printer.array(found)?;
            }
            return Ok(printer.finish());
        }
        let legacy = self.paths.iter().all(|(_, path)| path.legacy);
        let mut members = Vec::with_capacity(self.paths.len());
        for (name, path) in &self.paths {
            let name = super::text::utf8(name)?;
            let found = nodes(root, path)?;
            if legacy && found.is_empty() {
                return Err(path_missing(name));
            }
            members.push((name, found));
        }
        printer.object(members, |printer, found| match found.first() {
            Some(first) if legacy => printer.node(first),
            _ => printer.array(found),
        })?;
        Ok(printer.finish())
    }
}

pub(super) fn get(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let wanted = Wanted::parse(&args[2..])?;
    let bytes_max = txn.hub().limits.string_bytes_max;
    let Some(json) = txn.get::<Json>(args[1])? else { return Ok(Reply::Null) };
    Ok(Reply::Bulk(Blob::from(wanted.print(json.root(), bytes_max)?)))
}

pub(super) fn mget(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (path, keys) = args[1..].split_last().ok_or(CommandError::Syntax)?;
    let wanted = Wanted { style: Style::default(), paths: vec![(path, Path::parse(path)?)], several: false };
    let mut bytes_max = txn.hub().limits.string_bytes_max;
    let mut replies = Vec::with_capacity(keys.len());
    for key in keys {
        // Neither a value of another type nor a path that is not there is an error here.
        let json = txn.value(key)?.and_then(<Json as crate::value::Tagged>::of);
        let printed = match json.map(|json| wanted.print(json.root(), bytes_max)) {
            Some(Err(CommandError::Text(text))) if text.ends_with("does not exist") => None,
            printed => printed.transpose()?,
        };
        bytes_max -= printed.as_ref().map_or(0, Vec::len).min(bytes_max);
        replies.push(printed.map_or(Reply::Null, |text| Reply::Bulk(Blob::from(text))));
    }
    Ok(Reply::Array(replies))
}

// --- one question about each value ------------------------------------------------------------------------------------

/// The values a path matches, or nothing without a document.
fn find<'t>(txn: &'t mut Txn<'_>, key: &[u8], path: &Path) -> Result<Option<Vec<&'t Node>>, crate::txn::Stop> {
    let Some(json) = txn.get::<Json>(key)? else { return Ok(None) };
    Ok(Some(nodes(json.root(), path)?))
}

/// An entry for each value; null where the question does not fit.
fn each(found: Vec<&Node>, ask: impl Fn(&Node) -> Option<Reply>) -> Reply {
    Reply::Array(found.into_iter().map(|node| ask(node).unwrap_or(Reply::Null)).collect())
}

pub(super) fn kind(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let path = optional_path(&args[2..])?;
    let name = |node: &Node| Reply::bulk(node.type_name());
    let reply = match find(txn, args[1], &path)? {
        None => Reply::Null,
        Some(found) if path.legacy => found.first().map_or(Reply::Null, |node| name(node)),
        Some(found) => each(found, |node| Some(name(node))),
    };
    // The newer protocol has one array more.
    Ok(if is_resp3(txn) { Reply::Array(vec![reply]) } else { reply })
}

fn text_length(node: &Node) -> Option<Reply> {
    node.as_text().map(|text| Reply::count(text.len()))
}

fn array_length(node: &Node) -> Option<Reply> {
    node.as_array().map(|items| Reply::count(items.len()))
}

fn object_length(node: &Node) -> Option<Reply> {
    node.as_object().map(|object| Reply::count(object.len()))
}

pub(super) fn strlen(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let path = optional_path(&args[2..])?;
    match find(txn, args[1], &path)? {
        None if path.legacy => Ok(Reply::Null),
        None => Err(NO_DOCUMENT.into()),
        Some(found) if path.legacy => {
            let node = found.first().ok_or_else(|| path_missing(&path.text))?;
            text_length(node).ok_or_else(|| wrong_kind("string", node.type_name()).into())
        }
        Some(found) => Ok(each(found, text_length)),
    }
}

pub(super) fn arrlen(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let path = optional_path(&args[2..])?;
    let named = super::text::utf8(args.get(2).copied().unwrap_or(ROOT))?;
    match find(txn, args[1], &path)? {
        None if path.legacy => Ok(Reply::Null),
        None => Err(NO_DOCUMENT.into()),
        Some(found) if path.legacy => {
            let node = found.first().ok_or_else(|| path_missing(named))?;
            array_length(node).ok_or_else(|| path_wrong(named, "not an array").into())
        }
        Some(found) => Ok(each(found, array_length)),
    }
}

pub(super) fn objlen(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let path = optional_path(&args[2..])?;
    match find(txn, args[1], &path)? {
        None if path.legacy => Ok(Reply::Null),
        None => Err(path_wrong(&path.text, "not an object").into()),
        Some(found) if path.legacy => {
            let Some(node) = found.first() else { return Ok(Reply::Null) };
            object_length(node).ok_or_else(|| wrong_kind("object", node.type_name()).into())
        }
        Some(found) => Ok(each(found, object_length)),
    }
}

pub(super) fn objkeys(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let path = optional_path(&args[2..])?;
    let names = |node: &Node| {
        node.as_object().map(|object| Reply::Array(object.iter().map(|(key, _)| Reply::bulk(key)).collect()))
    };
    match find(txn, args[1], &path)? {
        None if path.legacy => Ok(Reply::Null),
        None => Err(NO_DOCUMENT.into()),
        Some(found) if path.legacy => {
            let Some(node) = found.first() else { return Ok(Reply::Null) };
            names(node).ok_or_else(|| path_wrong(&path.text, "not an object").into())
        }
        Some(found) => Ok(each(found, names)),
    }
}

pub(super) fn arrindex(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let path = Path::parse(args[2])?;
    let needle = value_of(txn, args[3])?;
    let (start, stop) = match &args[4..] {
        [] => (0, 0),
        [start] => (index(start)?, 0),
        [start, stop] => (index(start)?, index(stop)?),
        _ => return Err(CommandError::Arity("json.arrindex".into()).into()),
    };
    let position = |node: &Node| {
        let items = node.as_array()?;
        let (from, until) = searched(items.len(), start, stop);
        let found = (from..until).find(|&at| items[at].equals(&needle, false));
        Some(found.map_or(Reply::Integer(-1), Reply::count))
    };
    match find(txn, args[1], &path)? {
        None => Err(path_missing(super::text::utf8(args[2])?).into()),
        Some(found) if path.legacy => {
            let node = found.first().ok_or_else(|| path_missing(&path.text))?;
            position(node).ok_or_else(|| wrong_kind("array", node.type_name()).into())
        }
        Some(found) => Ok(each(found, position)),
    }
}

/// The part of an array that is searched: up to `stop`, where 0 is the end; a start past the end is the last element.
fn searched(length: usize, start: i64, stop: i64) -> (usize, usize) {
    let from_end = |index: i64| length.saturating_sub(index.unsigned_abs() as usize);
    let from = if start < 0 { from_end(start) } else { (start as usize).min(length.saturating_sub(1)) };
    let until = match stop {
        0 => length,
        stop if stop < 0 => from_end(stop),
        stop => (stop as usize).min(length),
    };
    (from, until)
}

pub(super) fn resp(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let path = optional_path(&args[2..])?;
    match find(txn, args[1], &path)? {
        None => Ok(Reply::Null),
        Some(found) if path.legacy => Ok(as_reply(found.first().ok_or_else(|| path_missing(&path.text))?)),
        Some(found) => Ok(each(found, |node| Some(as_reply(node)))),
    }
}

fn as_reply(node: &Node) -> Reply {
    match node {
        Node::Null => Reply::Null,
        Node::Bool(value) => Reply::status(if *value { "true" } else { "false" }),
        Node::Integer(value) => Reply::Integer(*value),
        Node::Unsigned(value) => Reply::Double(*value as f64),
        Node::Double(value) => Reply::Double(*value),
        Node::Text(text) => Reply::bulk(&**text),
        Node::Array(items) => {
            Reply::Array(std::iter::once(Reply::status("[")).chain(items.iter().map(as_reply)).collect())
        }
        Node::Object(object) => {
            let members = object.iter().flat_map(|(key, node)| [Reply::bulk(key), as_reply(node)]);
            Reply::Array(std::iter::once(Reply::status("{")).chain(members).collect())
        }
    }
}

pub(super) fn debug_memory(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let path = optional_path(&args[3..])?;
    let bytes = |node: &Node| Reply::count(size_of::<Node>() + node.heap_bytes());
    match find(txn, args[2], &path)? {
        None if path.legacy => Ok(Reply::Integer(0)),
        None => Ok(Reply::Array(Vec::new())),
        Some(found) if path.legacy => Ok(bytes(found.first().ok_or_else(|| path_missing(&path.text))?)),
        Some(found) => Ok(each(found, |node| Some(bytes(node)))),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every handler has this type")]
pub(super) fn debug_help(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    const LINES: [&str; 2] = ["MEMORY <key> [path] - reports memory usage", "HELP                - this message"];
    Ok(Reply::Array(LINES.iter().map(Reply::bulk).collect()))
}
