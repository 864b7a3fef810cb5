//! Where Dormouse differs from Redis on purpose, as far as random commands meet it.
//!
//! Each entry names a section of `docs/differences.md`, where the reason stands, and recognises the replies it explains. An
//! entry without its section, or one that swallows more than it says, is a mistake.

use dormouse_proto::{Reply, parse_double};
use serde_json::Value;

use super::compare::inner;
use crate::reply_text;
use crate::server::Server;

/// One deliberate difference.
#[derive(Debug)]
pub struct Difference {
    /// The heading of its section, as in a link.
    pub anchor: &'static str,
    /// The one server it is about, or every one.
    pub beside: Option<Server>,
    /// Whether it explains these replies to a command: first ours, then theirs.
    pub explains: fn(&[Vec<u8>], &Reply, &Reply) -> bool,
}

/// How far apart two sums may be, as a part of them.
const SUM_ERROR_MAX: f64 = 1e-14;

/// What `SORT` says of an element that is no number.
const NO_WEIGHT: &str = "One or more scores can't be converted into double";

/// Every one.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        anchor: "unlink-without-keys",
        beside: None,
        explains: |args, ours, _| {
            let taken = [Reply::Integer(0), Reply::status("QUEUED")];
            names(args, &["UNLINK"]) && args.len() == 1 && taken.contains(ours)
        },
    },
    Difference {
        anchor: "a-key-copied-onto-itself",
        beside: None,
        explains: |args, ours, theirs| {
            names(args, &["COPY"]) && *ours == Reply::Integer(0) && error(theirs).contains("objects are the same")
        },
    },
    Difference {
        anchor: "small-sets-keep-their-order",
        beside: None,
        // Also of a set where a sorted set is named, which has an order of its own.
        explains: |args, ours, theirs| {
            let by = args.iter().skip_while(|arg| !arg.eq_ignore_ascii_case(b"BY")).nth(1);
            by.is_some_and(|by| !by.contains(&b'*')) && leaves(ours).is_some_and(|ours| Some(ours) == leaves(theirs))
        },
    },
    Difference {
        anchor: "forms-that-came-later",
        beside: None,
        explains: |args, ours, theirs| {
            names(args, &["ZRANK", "ZREVRANK"])
                && args.len() == 4
                && error(ours) == "ERR syntax error"
                && error(theirs).contains("wrong number of arguments")
        },
    },
    Difference {
        anchor: "forms-that-came-later",
        beside: None,
        explains: |args, ours, theirs| {
            let came_later = |word: &Vec<u8>| word == b"+";
            names(args, &["XREAD", "XREADGROUP"])
                && (error(ours).starts_with("ERR Unbalanced") && error(theirs).starts_with("ERR Unbalanced")
                    || args.iter().any(came_later) && error(theirs).contains("Invalid stream ID"))
        },
    },
    Difference {
        anchor: "forms-that-came-later",
        beside: None,
        explains: |args, ours, _| {
            names(args, &["XSETID"]) && error(ours).contains("smaller than current max_deleted_entry_id")
        },
    },
    Difference {
        anchor: "forms-that-came-later",
        beside: None,
        explains: |args, ours, theirs| {
            let ended = |reply: &Reply, words: &str| said(reply).contains(words);
            // The consumer is there already, because it has asked before.
            (args.iter().any(|arg| arg == b"CREATECONSUMER") && ours != theirs && !error(theirs).starts_with("ERR"))
                || (names(args, &["XREADGROUP"])
                    && (ended(theirs, "UNBLOCKED the stream key no longer exists")
                        || ended(theirs, "the consumer group this client was blocked on no longer exists")))
        },
    },
    Difference {
        anchor: "ranges-by-name-among-different-scores",
        beside: None,
        explains: |args, _, _| {
            const BY_LEX: &[&str] = &["ZRANGEBYLEX", "ZREVRANGEBYLEX", "ZREMRANGEBYLEX", "ZLEXCOUNT"];
            let is_by_lex = names(args, BY_LEX) || args.iter().any(|arg| arg.eq_ignore_ascii_case(b"BYLEX"));
            // Where members all have one score, keys are named so.
            is_by_lex && !args.iter().skip(1).any(|arg| arg.len() == 2 && arg.starts_with(b"y"))
        },
    },
    Difference {
        anchor: "waiting-for-several-keys",
        beside: None,
        explains: |args, ours, theirs| {
            let waits = names(args, &["BLPOP", "BRPOP", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP"]);
            waits && matches!(ours, Reply::Array(_)) && error(theirs).starts_with("WRONGTYPE")
        },
    },
    Difference {
        anchor: "pfcount-only-reads",
        beside: None,
        explains: |args, _, theirs| {
            names(args, &["PFCOUNT"]) && error(theirs).contains("not allowed from read-only scripts")
        },
    },
    Difference {
        anchor: "forms-that-came-later",
        beside: None,
        explains: |args, ours, theirs| {
            let saw_less = matches!(theirs, Reply::Integer(0 | -1)) || error(theirs).starts_with("WRONGTYPE");
            names(args, &["BITCOUNT", "BITPOS"]) && error(ours).starts_with("ERR ") && saw_less
        },
    },
    Difference {
        anchor: "beside-valkey",
        beside: Some(Server::Valkey),
        explains: |args, ours, _| names(args, &["BITCOUNT"]) && args.len() == 3 && error(ours) == "ERR syntax error",
    },
    Difference {
        anchor: "forms-that-came-later",
        beside: Some(Server::Redis),
        explains: |args, ours, theirs| {
            names(args, &["SORT", "SORT_RO"]) && said(ours).contains(NO_WEIGHT) && !said(theirs).contains("ERR ")
        },
    },
    Difference {
        anchor: "cursors",
        beside: None,
        explains: |args, _, _| {
            let cursor = if names(args, &["SCAN"]) { args.get(1) } else { args.get(2) };
            names(args, &["SCAN", "HSCAN", "SSCAN", "ZSCAN"]) && cursor.is_some_and(|cursor| cursor != b"0")
        },
    },
    Difference {
        anchor: "sums-of-decimals",
        beside: None,
        explains: |args, ours, theirs| {
            names(args, &["INCRBYFLOAT", "HINCRBYFLOAT"])
                && match (ours, theirs) {
                    (Reply::Bulk(ours), Reply::Bulk(theirs)) => match (parse_double(ours), parse_double(theirs)) {
                        (Some(ours), Some(theirs)) => (ours - theirs).abs() <= theirs.abs() * SUM_ERROR_MAX,
                        _ => false,
                    },
                    _ => false,
                }
        },
    },
    Difference {
        anchor: "forms-that-came-later",
        beside: None,
        explains: |args, ours, theirs| names(args, &["XINFO"]) && without_later(ours) == without_later(theirs),
    },
    Difference {
        anchor: "what-is-below-comes-first",
        beside: Some(Server::Redis),
        explains: |args, ours, theirs| {
            let is_json = args.first().is_some_and(|name| name.starts_with(b"JSON."));
            let goes_below = |arg: &Vec<u8>| arg.starts_with(b"$") && arg.windows(2).any(|pair| pair == b"..");
            is_json && args.iter().any(goes_below) && in_any_order(ours) == in_any_order(theirs)
        },
    },
    Difference {
        anchor: "below-what-is-missing",
        beside: Some(Server::Redis),
        explains: |args, ours, theirs| {
            names(args, &["JSON.SET"]) && error(ours).ends_with("does not exist") && is_null(theirs)
        },
    },
    Difference {
        anchor: "integers-in-json-do-not-wrap",
        beside: Some(Server::Redis),
        explains: |args, ours, _| {
            names(args, &["JSON.NUMINCRBY", "JSON.NUMMULTBY"]) && error(ours).contains("would overflow")
        },
    },
    Difference {
        anchor: "json-commands-read-their-arguments-first",
        beside: Some(Server::Redis),
        explains: |args, ours, _| {
            const WRONG: &[&str] =
                &[" at line 1 column ", "Couldn't parse as integer", "bad input number", "but found"];
            let is_json = args.first().is_some_and(|name| name.starts_with(b"JSON."));
            is_json && WRONG.iter().any(|wrong| error(ours).contains(wrong))
        },
    },
    Difference {
        anchor: "paths-that-do-not-parse",
        beside: Some(Server::Redis),
        explains: |args, ours, _| {
            args.first().is_some_and(|name| name.starts_with(b"JSON."))
                && error(ours).contains("Error occurred on position")
        },
    },
    Difference {
        anchor: "beside-valkey",
        beside: Some(Server::Valkey),
        explains: |args, ours, their_reply| {
            let theirs = said(their_reply);
            // The expiry is read before the key is looked up.
            (names(args, &["GETEX"])
                && (is_null(ours) || error(ours).starts_with("WRONGTYPE"))
                && (theirs.contains("invalid expire") || theirs.contains("not an integer")))
                || (names(args, &["XREAD"]) && args.iter().any(|arg| arg == b"+"))
                || (names(args, &["XINFO"]) && without_lag(ours) == without_lag(their_reply))
                || (names(args, &["SCAN"]) && theirs.contains("unknown type name"))
                || (names(args, &["SORT", "SORT_RO"]) && said(their_reply).contains(NO_WEIGHT))
                || (said(ours).contains("could not decode requested zset member")
                    && said(their_reply).contains("does not exist"))
        },
    },
];

/// Whether a transaction may run on one and not on the other after somebody else ran this.
pub fn watched(server: Server, args: &[Vec<u8>]) -> bool {
    server == Server::Valkey && names(args, &["XGROUP"])
}

/// The section that explains these replies, if one does.
pub fn explained(server: Server, args: &[Vec<u8>], ours: &Reply, theirs: &Reply) -> Option<&'static str> {
    let holds = |difference: &&Difference| {
        difference.beside.is_none_or(|beside| beside == server) && (difference.explains)(args, ours, theirs)
    };
    let found = DIFFERENCES.iter().find(holds).map(|difference| difference.anchor);
    found.or_else(|| {
        let ((args, ours), (_, theirs)) = (inner(args, ours)?, inner(args, theirs)?);
        explained(server, args, ours, theirs)
    })
}

/// What `XINFO` tells, without how far groups have read: what is not known, servers guess in ways of their own.
fn without_lag(reply: &Reply) -> Reply {
    without(&without_later(reply), |name| matches!(name, b"lag" | b"entries-read"))
}

/// What `XINFO` tells, without what it tells since 8.6.
fn without_later(reply: &Reply) -> Reply {
    let since_8_6: [&[u8]; 4] = [b"idmp-", b"pids-", b"iids-", b"nacked-"];
    without(reply, |name| since_8_6.iter().any(|prefix| name.starts_with(prefix)))
}

/// A reply of names and values without those whose names are such.
fn without(reply: &Reply, leaves: impl Fn(&[u8]) -> bool + Copy) -> Reply {
    let Reply::Array(items) = reply else { return reply.clone() };
    let mut kept = Vec::new();
    let mut skips = false;
    for item in items {
        let is_left_out = matches!(item, Reply::Bulk(name) if leaves(name));
        if !skips && !is_left_out {
            kept.push(without(item, leaves));
        }
        skips = is_left_out;
    }
    Reply::Array(kept)
}

fn names(args: &[Vec<u8>], commands: &[&str]) -> bool {
    args.first().is_some_and(|name| commands.iter().any(|command| name.eq_ignore_ascii_case(command.as_bytes())))
}

const fn is_null(reply: &Reply) -> bool {
    matches!(reply, Reply::Null | Reply::NullArray)
}

fn error(reply: &Reply) -> String {
    match reply {
        Reply::Error(error) => error.to_string(),
        _ => String::new(),
    }
}

/// The elements of an array, in an order of our own.
fn leaves(reply: &Reply) -> Option<Vec<String>> {
    let Reply::Array(items) = reply else { return None };
    let mut texts = Vec::new();
    for item in items {
        texts.extend(leaves(item).unwrap_or_else(|| vec![reply_text::text(item)]));
    }
    texts.sort();
    Some(texts)
}

/// A reply as a value of JSON, its arrays and those in its texts in an order of our own.
fn in_any_order(reply: &Reply) -> Value {
    match reply {
        Reply::Array(items) => sorted(Value::Array(items.iter().map(in_any_order).collect())),
        Reply::Bulk(text) => serde_json::from_slice(text)
            .or_else(|_| serde_json::from_slice(&without_layout(text)))
            .map_or_else(|_| Value::String(String::from_utf8_lossy(text).into_owned()), sorted),
        other => Value::String(reply_text::text(other)),
    }
}

/// A document without the marks that templates lay it out with.
fn without_layout(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| !b">|_".contains(byte)).collect()
}

/// A value with every array in it sorted by how its elements print.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(sorted).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(members) => Value::Object(members.into_iter().map(|(key, value)| (key, sorted(value))).collect()),
        other => other,
    }
}

/// An error, also one that a script caught and returned as a string.
fn said(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
        _ => error(reply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A heading as GitHub makes a link of it, for the plain words our headings are made of.
    fn anchor(heading: &str) -> String {
        heading.to_lowercase().replace(' ', "-").replace(['`', ','], "")
    }

    #[test]
    fn every_entry_has_its_section() {
        let text = include_str!("../../../../docs/differences.md");
        let heading =
            |line: &'static str| line.strip_prefix("##").map(|line| line.trim_start_matches('#').trim_start());
        let sections: Vec<String> = text.lines().filter_map(heading).map(anchor).collect();
        for difference in DIFFERENCES {
            assert!(
                sections.iter().any(|section| section == difference.anchor),
                "{} has no section",
                difference.anchor
            );
        }
    }
}
