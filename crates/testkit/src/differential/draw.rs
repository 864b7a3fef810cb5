//! Draws commands from a seed: few keys, few fields and members, numbers from the edges, and now and then nonsense.
//!
//! Keys name their type (`s1` is a string, `h1` a hash), so that most commands meet the type they want and some do not.
//! Everything comes from one generator, so a seed names a sequence for ever, as long as the templates stay as they are.

use dormouse_engine::{Command, Random};

use super::templates::{AS_IN_7_0, TEMPLATES, Template};
use crate::page::Version;

/// One step of a sequence. What dies soon dies within it: apart from its pause, a command would be a race.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// A command.
    pub args: Vec<Vec<u8>>,
    /// Time that passes after it, in milliseconds.
    pub pause_ms: u64,
}

/// The longest of the short lives that are drawn, in milliseconds.
const SHORT_MS: u64 = 5;
/// One command in so many has a key of another type, a word too few or too many, or an odd value.
const ODD_ONE_IN: u64 = 12;

/// Keys that any command may meet.
const KEYS: &[&str] = &["s1", "s2", "s3", "h1", "h2", "l1", "l2", "l3", "e1", "e2", "e3", "z1", "z2", "z3", "q1", "q2"];
/// Sorted sets whose scores are all the same: elsewhere ranges by name mean nothing, and each server does as it likes.
const LEX_KEYS: &[&str] = &["y1", "y2"];

const FIELDS: &[&str] = &["f1", "f2", "f3", "", "10"];
const MEMBERS: &[&str] = &["a", "b", "c", "d", "1", "2", "10", "-3", ""];
const VALUES: &[&str] = &[
    "a",
    "b",
    "hello",
    "",
    "0",
    "1",
    "-7",
    "10",
    "3.5",
    " 1",
    "9223372036854775807",
    "-9223372036854775808",
    "line\r\nbreak",
    "a value that does not fit into twenty-three bytes, so that it lives on the heap",
];
const INDEXES: &[&str] = &["0", "1", "2", "-1", "-2", "-3", "3", "5", "100", "-100"];
const AMOUNTS: &[&str] =
    &["1", "-1", "0", "7", "-12", "100", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "1.5"];
const DOUBLES: &[&str] =
    &["0", "1", "2", "-1", "1.5", "-2.25", "100", "0.125", "1e3", "inf", "-inf", "+5", "1048576", "0x10", "nan", "one"];
const COUNTS: &[&str] = &["1", "2", "3", "10", "0", "-1"];
const SCORES: &[&str] = &["-inf", "+inf", "0", "1", "(1", "2", "(2", "-1", "100", "(0.125", "x"];
const LEXES: &[&str] = &["-", "+", "[a", "(a", "[b", "(c", "[d", "[", "(1", "a"];
/// Of entries of streams. Those with a star always are new for a while.
const IDS: &[&str] = &[
    "1-1", "1-2", "2-0", "2-*", "3-*", "4-4", "5", "5-*", "6-1", "7-*", "8-8", "9-*", "10-*", "11-*", "0-*", "0-0", "x",
];
const BOUNDS: &[&str] = &["-", "+", "(1-1", "(5", "2", "5-0", "(9-1", "0", "x", "(-", "9-1"];
const STANDINGS: &[&str] = &["$", "0", "2-0", "5", "9-1", "+"];
/// What a consumer asks for: mostly what is new.
const NEWS: &[&str] = &[">", ">", ">", ">", "0", "2-0", "9"];
const GROUPS: &[&str] = &["g", "g", "h"];
const CONSUMERS: &[&str] = &["c", "d"];
const GLOBS: &[&str] = &["*", "s*", "?1", "[hl]*", "*2", "nothing", "f*", "[^a]", "\\a"];
const SECONDS: &[&str] = &["100", "1000", "5000", "0", "-1", "9223372036854775807", "x"];
const ODD_VALUES: &[&str] = &["", "abc", "-1", "0", "1.5", "9223372036854775808", "NX", "LIMIT", "COUNT"];

/// Every key that is drawn.
pub fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().chain(LEX_KEYS).copied()
}

/// A generator of steps.
#[derive(Debug)]
pub struct Draw {
    random: Random,
    /// What a unix time is counted from, in milliseconds: once, so that both servers get the same.
    now_ms: u64,
    templates: Vec<&'static Template>,
    pause: bool,
}

impl Draw {
    /// A generator for servers that both know `version`.
    pub fn new(seed: u64, version: Version, now_ms: u64) -> Self {
        let known = |template: &&Template| {
            let row = dormouse_engine::all().find(|row: &&Command| row.name == template.name);
            let newer = version > Version(7, 0) && AS_IN_7_0.contains(&template.name);
            row.and_then(|row| Version::parse(row.since)).is_some_and(|since| since <= version && !newer)
        };
        Self { random: Random::new(seed), now_ms, templates: TEMPLATES.iter().filter(known).collect(), pause: false }
    }

    /// A whole sequence.
    pub fn sequence(mut self, commands: usize) -> Vec<Step> {
        let mut steps = Vec::with_capacity(commands);
        for _ in 0..commands {
            let args = self.command();
            let pause_ms = if std::mem::take(&mut self.pause) { 2 * SHORT_MS } else { 0 };
            steps.push(Step { args, pause_ms });
        }
        steps
    }

    fn command(&mut self) -> Vec<Vec<u8>> {
        let chosen = self.below(self.templates.len());
        let template = self.templates[chosen];
        let form = template.forms[self.below(template.forms.len())];
        let words: Vec<&str> = form.split_whitespace().collect();
        let mut args = vec![template.name.as_bytes().to_vec()];
        self.expand(&words, &mut args);
        // Any other form of these answers by chance.
        let chancy = matches!(template.name, "SPOP" | "SRANDMEMBER" | "HRANDFIELD" | "ZRANDMEMBER");
        if !chancy && self.one_in(ODD_ONE_IN) {
            self.spoil(&mut args);
        }
        args
    }

    /// Makes a command that may be wrong. Not so that it could take for ever, or empty a database by accident.
    fn spoil(&mut self, args: &mut Vec<Vec<u8>>) {
        // Their scores stay the same.
        if args.iter().any(|arg| LEX_KEYS.iter().any(|key| key.as_bytes() == arg)) {
            return;
        }
        match self.below(4) {
            0 => drop(args.pop().filter(|_| args.len() > 1)),
            1 => args.push(pick(&mut self.random, ODD_VALUES)),
            _ if args.len() > 1 => {
                let at = 1 + self.below(args.len() - 1);
                args[at] =
                    if self.one_in(2) { pick(&mut self.random, KEYS) } else { pick(&mut self.random, ODD_VALUES) };
            }
            _ => {}
        }
    }

    fn expand(&mut self, words: &[&str], args: &mut Vec<Vec<u8>>) {
        let mut at = 0;
        while let Some(&word) = words.get(at) {
            at += 1;
            let Some(closing) = closing(word) else {
                args.push(self.argument(word));
                continue;
            };
            let end = at + matching(&words[at..], word, closing);
            let inner = &words[at..end];
            at = end + 1;
            let times = match word {
                "(" => 1 + self.below(3),
                "[" => usize::from(self.one_in(3)),
                _ => 1,
            };
            for _ in 0..times {
                let choices = alternatives(inner);
                let choice = choices[self.below(choices.len())];
                self.expand(choice, args);
            }
        }
    }

    fn argument(&mut self, word: &str) -> Vec<u8> {
        let random = &mut self.random;
        match word {
            "$k" => pick(random, KEYS),
            "$s" => self.key(b's'),
            "$h" => self.key(b'h'),
            "$l" => self.key(b'l'),
            "$e" => self.key(b'e'),
            "$z" => self.key(b'z'),
            "$y" => self.lex_key(),
            "$f" => pick(random, FIELDS),
            "$m" => pick(random, MEMBERS),
            "$v" => pick(random, VALUES),
            "$i" => pick(random, INDEXES),
            "$n" => pick(random, AMOUNTS),
            "$d" => pick(random, DOUBLES),
            "$c" => pick(random, COUNTS),
            "$r" => pick(random, SCORES),
            "$x" => pick(random, LEXES),
            "$g" => pick(random, GLOBS),
            "$q" => self.key(b'q'),
            "$I" => pick(random, IDS),
            "$J" => pick(random, BOUNDS),
            "$S" => pick(random, STANDINGS),
            "$N" => pick(random, NEWS),
            "$G" => pick(random, GROUPS),
            "$C" => pick(random, CONSUMERS),
            "$t" => pick(random, SECONDS),
            "$T" => self.millis(),
            "$u" => self.unix(1_000),
            "$U" => self.unix(1),
            literal => literal.as_bytes().to_vec(),
        }
    }

    /// A key of a type, usually.
    fn key(&mut self, kind: u8) -> Vec<u8> {
        if self.one_in(20) {
            return pick(&mut self.random, KEYS);
        }
        let own: Vec<&str> = KEYS.iter().copied().filter(|key| key.as_bytes()[0] == kind).collect();
        pick(&mut self.random, &own)
    }

    fn lex_key(&mut self) -> Vec<u8> {
        let others: Vec<&str> = KEYS.iter().copied().filter(|key| !key.starts_with('z')).collect();
        let odd = self.one_in(20);
        pick(&mut self.random, if odd { &others } else { LEX_KEYS })
    }

    fn millis(&mut self) -> Vec<u8> {
        if self.one_in(3) {
            self.pause = true;
            return SHORT_MS.to_string().into_bytes();
        }
        pick(&mut self.random, &["100000", "5000000", "0", "-5", "x"])
    }

    /// A time, in units of so many milliseconds.
    fn unix(&mut self, unit_ms: u64) -> Vec<u8> {
        let at_ms = match self.below(5) {
            0 => return b"0".to_vec(),
            1 => return b"-1".to_vec(),
            2 => self.now_ms - 100_000,
            3 => self.now_ms + 500_000,
            _ => self.now_ms + 2_000_000,
        };
        (at_ms / unit_ms).to_string().into_bytes()
    }

    const fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    const fn one_in(&mut self, n: u64) -> bool {
        self.random.below(n) == 0
    }
}

fn pick(random: &mut Random, from: &[&str]) -> Vec<u8> {
    from[random.below(from.len() as u64) as usize].as_bytes().to_vec()
}

fn closing(word: &str) -> Option<&'static str> {
    match word {
        "(" => Some(")+"),
        "[" => Some("]"),
        "<" => Some(">"),
        _ => None,
    }
}

/// Where the bracket that was just opened closes.
fn matching(words: &[&str], opening: &str, closing: &str) -> usize {
    let mut depth = 0;
    for (at, &word) in words.iter().enumerate() {
        if word == closing && depth == 0 {
            return at;
        }
        depth += i32::from(word == opening) - i32::from(word == closing);
    }
    panic!("a template lacks its {closing}: {words:?}")
}

/// Splits at the bars that are not inside brackets.
fn alternatives<'w, 's>(words: &'w [&'s str]) -> Vec<&'w [&'s str]> {
    let mut depth = 0;
    words
        .split(|&word| {
            depth += i32::from(closing(word).is_some()) - i32::from(matches!(word, ")+" | "]" | ">"));
            word == "|" && depth == 0
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use dormouse_engine::Group;

    use super::*;
    use crate::differential::templates::NOT_DRAWN;

    #[test]
    fn a_seed_names_a_sequence() {
        let draw = |seed| Draw::new(seed, Version::NEWEST, 1_000_000_000).sequence(200);
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn every_form_expands() {
        let mut draw = Draw::new(1, Version::NEWEST, 1_000_000_000);
        for template in TEMPLATES {
            for form in template.forms {
                let words: Vec<&str> = form.split_whitespace().collect();
                for _ in 0..20 {
                    let mut args = Vec::new();
                    draw.expand(&words, &mut args);
                    let odd = args.iter().any(|arg| {
                        arg.starts_with(b"$") && arg.len() > 1 || [&b"|"[..], b"]", b"<", b")+"].contains(&&arg[..])
                    });
                    assert!(!odd, "{} {form}", template.name);
                }
            }
        }
    }

    #[test]
    fn every_row_of_the_data_types_is_drawn_or_excused() {
        // Newer commands than the oldest server we compare with are the pages' business.
        let old = |row: &&Command| Version::parse(row.since).is_some_and(|since| since <= Version(7, 0));
        let is_data = |group| {
            matches!(
                group,
                Group::String
                    | Group::Hash
                    | Group::List
                    | Group::Set
                    | Group::SortedSet
                    | Group::Stream
                    | Group::Generic
            )
        };
        let drawn = |name: &str| TEMPLATES.iter().any(|template| template.name == name);
        let excused = |name: &str| NOT_DRAWN.iter().any(|(other, _)| *other == name);
        for row in dormouse_engine::all().filter(|row| is_data(row.group)).filter(old) {
            assert!(drawn(row.name) || excused(row.name) || !row.subcommands.is_empty(), "{} is not drawn", row.name);
        }
    }
}
