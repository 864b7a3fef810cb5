//! The command table: every row of every type, joined, and the lookup by name.
//!
//! This is the only list of commands. A type adds itself with one line here.

use std::borrow::Cow;
use std::sync::LazyLock;

use dormouse_proto::{Args, CommandError};
use hashbrown::HashMap;

use crate::command::{Command, Run};
use crate::types::{
    acl, array, bitmap, connection, debug, dump, function, generic, geo, hash, hyperloglog, increx, json, list,
    monitor, object, pubsub, scripting, server, set, slow, sort, standalone, stream, string, transaction, zset,
};

/// Rows by type, in reading order. A static, so that each row has one address.
static ROWS: &[&[Command]] = &[
    string::ROWS,
    increx::ROWS,
    hash::ROWS,
    hash::EXPIRY_ROWS,
    list::ROWS,
    set::ROWS,
    zset::ROWS,
    stream::ROWS,
    array::ROWS,
    bitmap::ROWS,
    geo::ROWS,
    hyperloglog::ROWS,
    json::ROWS,
    generic::ROWS,
    object::ROWS,
    sort::ROWS,
    dump::ROWS,
    pubsub::ROWS,
    transaction::ROWS,
    scripting::ROWS,
    function::ROWS,
    connection::ROWS,
    server::ROWS,
    monitor::ROWS,
    slow::ROWS,
    standalone::ROWS,
    debug::ROWS,
    acl::ROWS,
];

/// Longest command name; longer input is unknown without a look.
const NAME_BYTES_MAX: usize = 32;
/// How much of an unknown command's name and arguments an error repeats, in bytes.
const ECHO_BYTES_MAX: usize = 128;

static BY_NAME: LazyLock<HashMap<&'static [u8], &'static Command>> =
    LazyLock::new(|| all().map(|command| (command.name.as_bytes(), command)).collect());

/// A row and where it stands among all of them, sub-commands behind their containers.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its number.
    pub index: usize,
    /// The row.
    pub command: &'static Command,
    /// The row that holds it, if it is a sub-command.
    pub container: Option<&'static Command>,
}

impl Place {
    /// Lower case, with its container's name: `client|setname`.
    pub fn name(&self) -> String {
        self.command.full_name(self.container).into_owned()
    }

    /// Whether it is a sub-command of another.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.container.is_some_and(|container| std::ptr::eq(container, other.command))
    }
}

static PLACES: LazyLock<Vec<Place>> = LazyLock::new(|| {
    let rows = all().flat_map(|row| {
        let inner = row.subcommands.iter().map(move |inner| (inner, Some(row)));
        std::iter::once((row, None)).chain(inner)
    });
    rows.enumerate().map(|(index, (command, container))| Place { index, command, container }).collect()
});

static PLACE_BY_ADDRESS: LazyLock<HashMap<usize, &'static Place>> =
    LazyLock::new(|| PLACES.iter().map(|place| (std::ptr::from_ref(place.command).addr(), place)).collect());

static PLACE_BY_NAME: LazyLock<HashMap<String, &'static Place>> =
    LazyLock::new(|| PLACES.iter().map(|place| (place.name(), place)).collect());

/// Every row, sub-commands behind their containers.
pub fn places() -> &'static [Place] {
    &PLACES
}

/// Where a row stands.
pub fn place(command: &'static Command) -> Option<&'static Place> {
    PLACE_BY_ADDRESS.get(&std::ptr::from_ref(command).addr()).copied()
}

/// A row by its full name in lower case.
pub(crate) fn place_named(name: &str) -> Option<&'static Place> {
    PLACE_BY_NAME.get(name).copied()
}

/// A row's full name.
pub fn full_name(command: &'static Command) -> Cow<'static, str> {
    command.full_name(place(command).and_then(|place| place.container))
}

/// Every top-level row.
pub fn all() -> impl Iterator<Item = &'static Command> {
    ROWS.iter().copied().flatten()
}

/// A row that fits a request.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The row: of the sub-command, if one was named.
    pub command: &'static Command,
    /// The row that holds the sub-command.
    pub container: Option<&'static Command>,
}

/// A top-level row by name, in any case.
pub fn by_name(name: &[u8]) -> Option<&'static Command> {
    let mut upper = [0; NAME_BYTES_MAX];
    let upper = upper.get_mut(..name.len())?;
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    BY_NAME.get(&*upper).copied()
}

/// The row for a request, with the number of arguments checked.
pub fn find(args: Args<'_>) -> Result<Found, CommandError> {
    let command = args.first().and_then(|name| by_name(name)).ok_or_else(|| unknown(args))?;
    if command.subcommands.is_empty() {
        let found = Found { command, container: None };
        return if command.takes(args.len()) { Ok(found) } else { Err(command.arity_error(None)) };
    }
    let Some(name) = args.get(1) else {
        // `COMMAND` alone means something; `CLIENT` alone does not.
        return match command.run {
            Run::Container => Err(command.arity_error(None)),
            Run::Handler(_) | Run::Session(_) => Ok(Found { command, container: None }),
        };
    };
    let sub = command.subcommands.iter().find(|sub| name.eq_ignore_ascii_case(sub.name.as_bytes()));
    let sub =
        sub.ok_or_else(|| CommandError::UnknownSubcommand { subcommand: shorten(name), command: command.name })?;
    if !sub.takes(args.len()) {
        return Err(sub.arity_error(Some(command)));
    }
    Ok(Found { command: sub, container: Some(command) })
}

fn shorten(bytes: &[u8]) -> String {
    let short = &bytes[..bytes.len().min(ECHO_BYTES_MAX)];
    String::from_utf8_lossy(short).replace(['\r', '\n'], " ")
}

/// Commands of others that nobody should search a typing error in: what their names begin with, and what they would need.
const ELSEWHERE: &[(&str, &str)] =
    &[("SEARCH.", "search indexes"), ("FT.", "search indexes"), ("VECTOR.", "vector indexes")];
/// Redis's commands about vector sets, whose names share one letter only.
const VECTOR_SETS: &[&str] = &[
    "VADD",
    "VCARD",
    "VDIM",
    "VEMB",
    "VGETATTR",
    "VINFO",
    "VISMEMBER",
    "VLINKS",
    "VRANDMEMBER",
    "VRANGE",
    "VREM",
    "VSETATTR",
    "VSIM",
];

/// What a command would need that there is not here, if it is known elsewhere.
fn missing(name: &str) -> Option<&'static str> {
    let upper = name.to_ascii_uppercase();
    let family = ELSEWHERE.iter().find(|(prefix, _)| upper.starts_with(prefix)).map(|(_, what)| *what);
    family.or_else(|| VECTOR_SETS.contains(&upper.as_str()).then_some("vector sets"))
}

fn unknown(args: Args<'_>) -> CommandError {
    let name = args.first().map(|name| shorten(name)).unwrap_or_default();
    if let Some(what) = missing(&name) {
        return CommandError::from(format!(
            "ERR unknown command '{name}': it is not supported, there are no {what} here"
        ));
    }
    let mut shown = String::new();
    for arg in args.iter().skip(1) {
        if shown.len() >= ECHO_BYTES_MAX {
            break;
        }
        shown.push('\'');
        shown.push_str(&shorten(&arg[..arg.len().min(ECHO_BYTES_MAX - shown.len())]));
        shown.push_str("' ");
    }
    CommandError::UnknownCommand { name, args: shown }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::command::Effect;

    fn rows() -> impl Iterator<Item = &'static Command> {
        all().chain(all().flat_map(|command| command.subcommands))
    }

    #[test]
    fn names_are_unique_and_upper_case() {
        let mut seen = BTreeSet::new();
        for command in all() {
            assert!(seen.insert(command.name), "{} is there twice", command.name);
            assert!(command.name.len() <= NAME_BYTES_MAX);
        }
        for row in rows() {
            assert_eq!(row.name, row.name.to_ascii_uppercase());
        }
    }

    #[test]
    fn every_row_is_documented() {
        for row in rows().filter(|row| !matches!(row.run, Run::Container)) {
            assert!(!row.summary.is_empty() && row.summary.ends_with('.'), "{} has no summary", row.name);
            assert!(!row.since.is_empty(), "{} has no version", row.name);
        }
    }

    #[test]
    fn every_write_names_its_keys() {
        for row in rows().filter(|row| row.effect == Effect::Writes) {
            let everything = row.does_sweep() || row.is_script();
            assert!(row.keys.are_named() || everything, "{} writes keys it does not name", row.name);
        }
    }

    #[test]
    fn lookups_say_what_is_wrong() {
        let error = |args: Args<'_>| find(args).unwrap_err().to_string();
        assert_eq!(error(&[b"GET"]), "ERR wrong number of arguments for 'get' command");
        assert_eq!(error(&[b"nope", b"a"]), "ERR unknown command 'nope', with args beginning with: 'a' ");
        let search = "ERR unknown command 'search.query': it is not supported, there are no search indexes here";
        assert_eq!(error(&[b"search.query", b"a", b"{}"]), search);
        assert_eq!(
            error(&[b"VADD", b"k"]),
            "ERR unknown command 'VADD': it is not supported, there are no vector sets here"
        );
        assert_eq!(error(&[b"CLIENT", b"NOPE"]), "ERR unknown subcommand 'NOPE'. Try CLIENT HELP.");
        assert_eq!(error(&[b"client"]), "ERR wrong number of arguments for 'client' command");
        assert_eq!(error(&[b"client", b"setname"]), "ERR wrong number of arguments for 'client|setname' command");
    }
}
