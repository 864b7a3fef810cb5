//! Random commands on JSON documents, against a Redis with RedisJSON.
//!
//! Documents are small and made of few names and numbers, so that paths meet something; a path is a few random parts. What
//! makes the module itself fall over (values set or inserted at places inside one another, indexes beyond 64 bits) is not drawn.

use dormouse_engine::Random;

use super::draw::{Draw, Step};
use super::templates::{Compare, Template};

/// The keys, the last of which often holds something else.
pub const KEYS: &[&str] = &["j1", "j2", "j3"];

const fn template(name: &'static str, compare: Compare, forms: &'static [&'static str]) -> Template {
    Template { name, compare, forms }
}

use Compare::{Doubles, Exact, Json, Payload, Within};

/// Every command that is drawn: most are those that write, or there would be little to read.
#[rustfmt::skip]
pub const TEMPLATES: &[Template] = &[
    template("JSON.SET",       Exact, &["$jkey $ $jdoc", "$jkey $jflat $jdoc [ NX | XX ]", "$jkey $jflat $jdoc", "$jkey $jflat $jodd"]),
    template("JSON.GET",       Json,  &["$jkey", "$jkey $jpath", "$jkey $jpath", "$jkey $jpath $jpath [ $jpath ]", "$jkey INDENT > NEWLINE | SPACE _ $jpath"]),
    template("JSON.MGET",      Exact, &["( $jkey )+ $jpath"]),
    template("JSON.MSET",      Exact, &["( $jkey $ $jdoc )+", "j1 $jflat $jdoc j2 $jflat $jdoc"]),
    template("JSON.MERGE",     Exact, &["$jkey $jflat $jdoc", "$jkey $ $jdoc"]),
    template("JSON.DEL",       Exact, &["$jkey $jdeep", "$jkey $jdeep", "$jkey"]),
    template("JSON.FORGET",    Exact, &["$jkey $jdeep"]),
    template("JSON.CLEAR",     Exact, &["$jkey [ $jdeep ]"]),
    template("JSON.TYPE",      Exact, &["$jkey [ $jpath ]"]),
    template("JSON.NUMINCRBY", Exact, &["$jkey $jdeep $jnum", "$jkey $..* $jnum", "$jkey $jdeep $jodd"]),
    template("JSON.NUMMULTBY", Exact, &["$jkey $jdeep $jnum", "$jkey $..a $jnum"]),
    template("JSON.TOGGLE",    Exact, &["$jkey $jdeep", "$jkey $..*"]),
    template("JSON.STRAPPEND", Exact, &["$jkey $jdeep $jstr", "$jkey $..* $jstr", "$jkey $jodd"]),
    template("JSON.STRLEN",    Exact, &["$jkey [ $jpath ]", "$jkey $..*"]),
    template("JSON.ARRAPPEND", Exact, &["$jkey $jdeep ( $jdoc )+", "$jkey $..* $jdoc"]),
    template("JSON.ARRINDEX",  Exact, &["$jkey $jpath $jdoc [ $jindex [ $jindex ] ]", "$jkey $..* $jnum $jindex $jindex"]),
    template("JSON.ARRINSERT", Exact, &["$jkey $jone $jindex ( $jdoc )+"]),
    template("JSON.ARRLEN",    Exact, &["$jkey [ $jpath ]", "$jkey $..*"]),
    template("JSON.ARRPOP",    Exact, &["$jkey $jflat [ $jindex ]"]),
    template("JSON.ARRTRIM",   Exact, &["$jkey $jflat $jindex $jindex"]),
    template("JSON.OBJKEYS",   Exact, &["$jkey [ $jpath ]", "$jkey $..*"]),
    template("JSON.OBJLEN",    Exact, &["$jkey [ $jpath ]", "$jkey $..*"]),
    template("JSON.RESP",      Doubles, &["$jkey [ $jpath ]"]),
    template("DUMP",           Payload, &["$jkey"]),
    template("COPY",           Exact, &["j1 j2 REPLACE", "j2 j3 REPLACE"]),
    template("SET",            Exact, &["j3 text"]),
    template("EXPIRE",         Exact, &["$jkey 100"]),
    template("PTTL",           Within(200), &["$jkey"]),
];

const NAMES: &[&str] = &["a", "b", "c", "d d"];
const SCALARS: &[&str] = &[
    "0",
    "1",
    "2",
    "-3",
    "1.5",
    "1.0",
    "-0.0",
    "1e2",
    "9223372036854775807",
    "18446744073709551615",
    "null",
    "true",
    "false",
    "\"\"",
    "\"x\"",
    "\"b\"",
    "\"\\u00e9\\n\\\"\"",
    "123456789.125",
    "1e21",
];
/// Whose sums and products stay short: RedisJSON reads the last of many digits wrong.
const NUMBERS: &[&str] = &["1", "-1", "2", "0", "0.5", "1e3", "-2.5", "3.0", "10"];
const TEXTS: &[&str] = &["\"y\"", "\"\"", "\"\\u00fc\\t\"", "\"a longer piece of text\""];
const ODD: &[&str] =
    &["", "x", "{", "[1,", "{\"a\":}", "nul", "1e400", "\"\\ud83d\"", "\"x", "01", "+1", "'a'", "{a:1}", "[1 2]"];
const INDEXES: &[&str] = &["0", "1", "-1", "2", "-2", "5", "-5", "100", "x"];
const PARTS: &[&str] = &[
    ".a",
    ".b",
    ".c",
    ".a",
    "[\"a\"]",
    "['d d']",
    "[\"a\",\"b\"]",
    "['c', \"nope\"]",
    "[0]",
    "[1]",
    "[-1]",
    "[-9]",
    "[0,9]",
    "[1:]",
    "[:2]",
    "[::2]",
    "[-2:]",
    "[1:9:2]",
    "[*]",
    ".*",
    "[?(@.a)]",
    "[?(@>1)]",
    "[?(@.a==1 || @.b==\"x\")]",
    "[?(@.a>=1&&@.b!=null)]",
    "[?(@=~\"^[xb]\")]",
    "[?(@==$.a)]",
    "[?(@.a<@.b)]",
    "[?(@[0]==1)]",
    "[?((@.a) && !@.b)]",
    "[?@.b.c]",
    ".nope",
    "[?(@.*>0)]",
    "[?('x'==@)]",
    "[?(@==true)]",
    "[?(1.0==@)]",
];
const ONE_PARTS: &[&str] = &[".a", ".b", ".c", "[\"d d\"]", "[0]", "[1]", "[-1]", "[-9]"];
const DEEP_PARTS: &[&str] = &["..a", "..b", "..*", "..[0]", "..[\"c\"]", "..[?(@.a)]", "..[?(@==1)]"];
const ODD_PATHS: &[&str] = &[
    "",
    ".",
    "$",
    "$.",
    "$[",
    "a..",
    "[",
    "$x",
    "$.a b",
    "$[01]",
    "$[?(@.a>]",
    "$[?()]",
    "$.é",
    "@.a",
    "$..",
    "$[1:2:0]",
];

/// The sequence that a seed names.
pub fn json_sequence(seed: u64, steps: usize) -> Vec<Step> {
    Draw::of(seed, TEMPLATES).plain_sequence(steps)
}

/// An argument of a kind, if it is one of these.
pub(super) fn argument(random: &mut Random, kind: &str) -> Option<Vec<u8>> {
    let text = match kind {
        "$jkey" => pick(random, &["j1", "j1", "j1", "j2", "j2", "j3"]).to_owned(),
        "$jdoc" => document(random, 3),
        "$jnum" => pick(random, NUMBERS).to_owned(),
        "$jstr" => pick(random, TEXTS).to_owned(),
        "$jodd" => pick(random, ODD).to_owned(),
        "$jindex" => pick(random, INDEXES).to_owned(),
        "$jpath" => path(random, Reach::Anything),
        "$jdeep" => path(random, Reach::Below),
        "$jflat" => path(random, Reach::Level),
        "$jone" => path(random, Reach::One),
        _ => return None,
    };
    Some(text.into_bytes())
}

fn document(random: &mut Random, depth: usize) -> String {
    let choice = random.below(if depth == 0 { 4 } else { 10 });
    let parts = |random: &mut Random, part: &dyn Fn(&mut Random) -> String| {
        (0..random.below(4)).map(|_| part(random)).collect::<Vec<_>>().join(",")
    };
    match choice {
        0..4 => pick(random, SCALARS).to_owned(),
        4..7 => format!("[{}]", parts(random, &|random| document(random, depth - 1))),
        _ => {
            let member = |random: &mut Random| format!("\"{}\":{}", pick(random, NAMES), document(random, depth - 1));
            format!("{{{}}}", parts(random, &member))
        }
    }
}

/// What a path may reach. Through filters RedisJSON writes to places other than those it reads, and it counts a place that
/// is reached twice in its own way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Whatever there is, to be read.
    Anything,
    /// Places inside one another, each of them once.
    Below,
    /// Places beside one another.
    Level,
    /// One place: where one of several refuses, RedisJSON has changed those before it.
    One,
}

/// A path in either dialect.
fn path(random: &mut Random, reach: Reach) -> String {
    if random.below(15) == 0 {
        return pick(random, ODD_PATHS).to_owned();
    }
    let mut text = String::new();
    for _ in 0..random.below(4) {
        let may_descend = reach == Reach::Anything || reach == Reach::Below && !text.contains("..");
        let parts = if may_descend && random.below(6) == 0 { DEEP_PARTS } else { PARTS };
        let part = pick(random, if reach == Reach::One { ONE_PARTS } else { parts });
        if reach == Reach::Anything || !part.contains('?') {
            text.push_str(part);
        }
    }
    match random.below(4) {
        0 if text.is_empty() => ".".to_owned(),
        0 => text.strip_prefix('.').filter(|text| !text.starts_with('.')).unwrap_or(&text).to_owned(),
        _ => format!("${text}"),
    }
}

fn pick<'t>(random: &mut Random, from: &[&'t str]) -> &'t str {
    from[random.below(from.len() as u64) as usize]
}

#[cfg(test)]
mod tests {
    use dormouse_engine::Group;

    use super::*;

    #[test]
    fn every_row_is_drawn_but_what_looks_inside() {
        for row in dormouse_engine::all().filter(|row| row.group == Group::Json && row.subcommands.is_empty()) {
            assert!(TEMPLATES.iter().any(|template| template.name == row.name), "{} is not drawn", row.name);
        }
    }

    #[test]
    fn documents_are_json() {
        let mut random = Random::new(1);
        for _ in 0..500 {
            let text = document(&mut random, 3);
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
        }
    }
}
