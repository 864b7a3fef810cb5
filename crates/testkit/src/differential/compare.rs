//! Whether the replies of two servers to one command mean the same.

use dormouse_proto::{Reply, parse_double};

use super::json;
use super::templates::{BEFORE_OTHERS, BESIDE_ANOTHER, Compare, DIGESTED, FUNCTIONS, SCRIPTS, TEMPLATES, Template};
use crate::reply_text;

/// The command whose reply this one gives: a script may hand on that of its arguments.
pub fn subject(args: &[Vec<u8>]) -> &[Vec<u8>] {
    let [name, source, keys, rest @ ..] = args else { return args };
    let hands_on = |(script, hands_on): &(&str, bool)| *hands_on && script.as_bytes() == source;
    let known: &[(&str, bool)] = match name.as_slice() {
        b"EVAL" => SCRIPTS,
        b"FCALL" | b"FCALL_RO" => FUNCTIONS,
        _ => return args,
    };
    if !known.iter().any(hands_on) {
        return args;
    }
    // Such scripts have one key or none.
    rest.get(usize::from(keys == b"1")..).filter(|rest| !rest.is_empty()).unwrap_or(args)
}

/// The command within a script or function that tells of its reply in a way of its own, and that reply as far as it is told.
pub fn inner<'a>(args: &'a [Vec<u8>], reply: &'a Reply) -> Option<(&'a [Vec<u8>], &'a Reply)> {
    let [name, source, keys, rest @ ..] = args else { return None };
    let at = match (name.as_slice(), source.as_slice()) {
        (b"EVAL", source) if source == BESIDE_ANOTHER.as_bytes() || source == DIGESTED.as_bytes() => 1,
        (b"EVAL", source) if source == BEFORE_OTHERS.as_bytes() => 0,
        (b"FCALL" | b"FCALL_RO", b"digest" | b"set_and") => 1,
        _ => return None,
    };
    let rest = rest.get(usize::from(keys == b"1")..).filter(|rest| !rest.is_empty())?;
    match reply {
        Reply::Array(replies) => replies.get(at).map(|reply| (rest, reply)),
        other => Some((rest, other)),
    }
}

/// How replies to a command compare.
pub fn compare_of(args: &[Vec<u8>]) -> Compare {
    let named = |template: &&Template| subject(args).first().is_some_and(|name| name == template.name.as_bytes());
    TEMPLATES.iter().chain(json::TEMPLATES).find(named).map_or(Compare::Exact, |template| template.compare)
}

/// What is lost where a server prints 17 decimals.
const DECIMAL_ERROR_MAX: f64 = 1e-17;

/// Bytes of a double with so many digits that none can be missing.
const DIGITS_ALL: usize = 16;

/// Whether two replies mean the same. A null that stands for a string and one that stands for an array do not.
pub fn same(compare: Compare, ours: &Reply, theirs: &Reply) -> bool {
    match (compare, ours, theirs) {
        (_, Reply::Error(ours), Reply::Error(theirs)) => ours.to_string().trim_end() == theirs.to_string().trim_end(),
        (Compare::Within(most), Reply::Integer(ours), Reply::Integer(theirs)) => {
            // Below zero there are words, not times.
            ours == theirs || (*ours >= 0 && *theirs >= 0 && ours.abs_diff(*theirs) <= most)
        }
        (Compare::Unordered, Reply::Array(ours), Reply::Array(theirs)) => sorted(ours, 1) == sorted(theirs, 1),
        (Compare::UnorderedPairs, Reply::Array(ours), Reply::Array(theirs)) => sorted(ours, 2) == sorted(theirs, 2),
        (Compare::Scan | Compare::ScanPairs, Reply::Array(ours), Reply::Array(theirs)) => {
            let group = if compare == Compare::Scan { 1 } else { 2 };
            match (ours.as_slice(), theirs.as_slice()) {
                ([ours_at, Reply::Array(ours)], [theirs_at, Reply::Array(theirs)]) => {
                    ours_at == theirs_at && sorted(&shortest(ours), group) == sorted(&shortest(theirs), group)
                }
                _ => false,
            }
        }
        (Compare::Doubles | Compare::Exact, Reply::Array(ours), Reply::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| same(compare, ours, theirs))
        }
        (Compare::Json, Reply::Bulk(ours), Reply::Bulk(theirs)) => {
            let read = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).ok();
            ours == theirs || read(ours).is_some_and(|ours| Some(ours) == read(theirs))
        }
        (Compare::Pending, Reply::Array(ours), Reply::Array(theirs)) => {
            let untimed = |rows: &[Reply]| rows.iter().map(without_time).collect::<Vec<_>>();
            untimed(ours) == untimed(theirs)
        }
        (Compare::Doubles, Reply::Bulk(ours), Reply::Bulk(theirs)) => {
            let equal = |(ours, theirs): (f64, f64)| {
                ours.total_cmp(&theirs).is_eq() || (ours - theirs).abs() <= DECIMAL_ERROR_MAX
            };
            ours == theirs || parse_double(ours).zip(parse_double(theirs)).is_some_and(equal)
        }
        _ => ours == theirs,
    }
}

/// Doubles of 17 digits as short as they can be told apart, as older servers scan scores with all of them.
fn shortest(items: &[Reply]) -> Vec<Reply> {
    let shorter = |item: &Reply| match item {
        Reply::Bulk(text) if text.len() >= DIGITS_ALL => {
            parse_double(text).map(|double| Reply::bulk(double.to_string()))
        }
        _ => None,
    };
    items.iter().map(|item| shorter(item).unwrap_or_else(|| item.clone())).collect()
}

/// A row of what is pending, without how long; the same null for both kinds.
fn without_time(row: &Reply) -> Reply {
    match row {
        Reply::Array(row) if matches!(row.as_slice(), [_, _, Reply::Integer(_), _]) => {
            Reply::Array(vec![row[0].clone(), row[1].clone(), row[3].clone()])
        }
        Reply::NullArray => Reply::Null,
        other => other.clone(),
    }
}

/// The elements in groups of so many, sorted by how they print.
fn sorted(items: &[Reply], group: usize) -> Vec<String> {
    let mut texts: Vec<String> = items.chunks(group).map(reply_text::all).collect();
    texts.sort();
    texts
}

/// What may be drawn by chance.
#[derive(Debug)]
pub struct Urn {
    /// Names or names and values, as many in each group as a reply has.
    members: Vec<String>,
    group: usize,
    repeats: bool,
}

impl Urn {
    /// The command that tells what is in it.
    pub fn question(args: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let words: &[&[u8]] = match args[0].as_slice() {
            b"HRANDFIELD" => &[b"HGETALL"],
            b"ZRANDMEMBER" => &[b"ZRANGE", b"0", b"-1", b"WITHSCORES"],
            b"RANDOMKEY" => &[b"KEYS", b"*"],
            _ => &[b"SMEMBERS"],
        };
        let mut question: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
        question.extend_from_slice(&args[1..args.len().min(2)]);
        if question.len() > 2 && args[0] == b"ZRANDMEMBER" {
            let key = question.pop().unwrap_or_default();
            question.insert(1, key);
        }
        question
    }

    /// An urn for a command, filled from the answer to the question.
    pub fn new(args: &[Vec<u8>], answer: &Reply) -> Self {
        let has_values = matches!(args[0].as_slice(), b"HRANDFIELD" | b"ZRANDMEMBER");
        let group = if has_values && args.len() > 3 { 2 } else { 1 };
        let items = if let Reply::Array(items) = answer { items.as_slice() } else { &[] };
        let chunks = items.chunks(if has_values { 2 } else { 1 });
        let members = chunks.map(|chunk| reply_text::all(&chunk[..group.min(chunk.len())])).collect();
        Self { members, group, repeats: args.get(2).is_some_and(|count| count.starts_with(b"-")) }
    }

    /// Whether a reply can have been drawn from it.
    pub fn gives(&self, reply: &Reply) -> bool {
        match reply {
            Reply::Array(items) => {
                let drawn = sorted(items, self.group);
                let distinct = drawn.windows(2).all(|pair| pair[0] != pair[1]);
                (distinct || self.repeats) && drawn.iter().all(|text| self.members.contains(text))
            }
            Reply::Bulk(_) => self.members.contains(&reply_text::text(reply)),
            _ => true,
        }
    }
}

/// Whether two draws are of one shape.
pub fn alike(ours: &Reply, theirs: &Reply) -> bool {
    match (ours, theirs) {
        (Reply::Array(ours), Reply::Array(theirs)) => ours.len() == theirs.len(),
        (Reply::Bulk(_), Reply::Bulk(_)) => true,
        _ => same(Compare::Exact, ours, theirs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(items: &[&str]) -> Reply {
        Reply::Array(items.iter().map(Reply::bulk).collect())
    }

    fn words(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn replies_compare_as_their_command_wants() {
        assert!(same(Compare::Unordered, &array(&["a", "b"]), &array(&["b", "a"])));
        assert!(!same(Compare::Exact, &array(&["a", "b"]), &array(&["b", "a"])));
        assert!(!same(Compare::UnorderedPairs, &array(&["a", "1", "b", "2"]), &array(&["a", "2", "b", "1"])));
        assert!(same(Compare::Doubles, &Reply::bulk("0.1"), &Reply::bulk("0.10000000000000001")));
        assert!(!same(Compare::Doubles, &Reply::bulk("0.1"), &Reply::bulk("0.2")));
        assert!(same(Compare::Within(1), &Reply::Integer(9), &Reply::Integer(10)));
        assert!(!same(Compare::Within(1), &Reply::Integer(-1), &Reply::Integer(0)));
    }

    #[test]
    fn draws_come_from_what_is_there() {
        let urn = Urn::new(&words("HRANDFIELD h 2 WITHVALUES"), &array(&["f", "1", "g", "2"]));
        assert!(urn.gives(&array(&["g", "2", "f", "1"])));
        assert!(!urn.gives(&array(&["g", "1"])));
        assert!(!urn.gives(&array(&["f", "1", "f", "1"])));
        let urn = Urn::new(&words("SRANDMEMBER s -3"), &array(&["a", "b"]));
        assert!(urn.gives(&array(&["a", "a", "b"])));
        assert!(!urn.gives(&array(&["c"])));
        assert_eq!(Urn::question(&words("ZRANDMEMBER z 3")), words("ZRANGE z 0 -1 WITHSCORES"));
    }

    #[test]
    fn some_scripts_answer_as_their_arguments_do() {
        let mut args = words("EVAL ? 0 SMEMBERS s");
        assert_eq!(compare_of(&args), Compare::Exact);
        args[1] = SCRIPTS[0].0.as_bytes().to_vec();
        assert_eq!(compare_of(&args), Compare::Unordered);
    }
}
