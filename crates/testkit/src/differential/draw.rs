//! Draws commands from a seed: few keys, few fields and members, numbers from the edges, and now and then nonsense.
//! Among them are transactions, scripts, and clients that wait for what another one brings.
//!
//! Keys name their type (`s1` is a string, `h1` a hash), so that most commands meet the type they want and some do not.
//! Everything comes from one generator, so a seed names a sequence for ever, as long as the templates stay as they are.

use dormouse_engine::{Command, Random};

use super::json;
use super::templates::{AS_SINCE_7_2, Compare, FUNCTIONS, LIBRARIES, SCRIPTS, TEMPLATES, Template};
use crate::page::Version;

/// One step of a sequence. What dies soon dies within it: apart from its pause, a command would be a race.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who.
    pub client: &'static str,
    /// Does what.
    pub act: Act,
    /// Time that passes after it, in milliseconds.
    pub pause_ms: u64,
}

/// What a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Sends a command that is answered at once, or within milliseconds.
    Runs(Vec<Vec<u8>>),
    /// Sends a command that may wait for ever.
    Waits(Vec<Vec<u8>>),
    /// Goes.
    Leaves,
}

/// Who does nearly everything.
pub const MAIN: &str = "";
/// Who waits for keys.
pub const WAITER: &str = "b";
/// Who changes what another one watches, and never waits or queues.
pub const OTHER: &str = "c";

/// Where a command will stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Plain,
    /// In a transaction.
    Queued,
    /// An argument of a script that hands on its reply.
    Scripted,
    /// An argument of another script.
    Digested,
    /// Before others do something about it.
    Waiting,
}

/// The longest of the short lives that are drawn, in milliseconds.
const SHORT_MS: u64 = 5;
/// One command in so many has a key of another type, a word too few or too many, or an odd value.
const ODD_ONE_IN: u64 = 12;

/// Keys that any command may meet.
const KEYS: &[&str] = &[
    "s1", "s2", "s3", "h1", "h2", "l1", "l2", "l3", "e1", "e2", "e3", "z1", "z2", "z3", "q1", "q2", "b1", "b2", "g1",
    "g2", "p1", "p2",
];
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
const OFFSETS: &[&str] = &["0", "1", "7", "8", "13", "64", "100", "#0", "#1", "#3", "-1", "x", "4294967296"];
const WIDTHS: &[&str] = &["u1", "u4", "u8", "i5", "i8", "u13", "i16", "u32", "u63", "i64", "u64", "i0", "8"];
const LONGITUDES: &[&str] = &["13.361389", "15.087269", "13.5", "0", "-0.1", "179.9", "-180", "181", "x"];
const LATITUDES: &[&str] = &["38.115556", "37.502669", "38", "0", "51.5", "-85", "85.05", "86", "x"];
const LENGTHS: &[&str] = &["0", "1", "100", "200.5", "3000", "20000000", "-1", "x"];
const UNITS: &[&str] = &["m", "km", "KM", "ft", "mi", "yd"];
const INDEXES: &[&str] = &["0", "1", "2", "-1", "-2", "-3", "3", "5", "100", "-100"];
const AMOUNTS: &[&str] =
    &["1", "-1", "0", "7", "-12", "100", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "1.5"];
const DOUBLES: &[&str] =
    &["0", "1", "2", "-1", "1.5", "-2.25", "100", "0.125", "1e3", "inf", "-inf", "+5", "1048576", "nan", "one"];
const COUNTS: &[&str] = &["1", "2", "3", "10", "0", "-1"];
/// Never far below zero: a real Redis takes any number, and then all memory.
const DRAWS: &[&str] = &["1", "2", "5", "0", "-1", "-3", "-20"];
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

/// How often things other than plain commands are drawn.
const TRANSACTION_ONE_IN: u64 = 25;
const WAITING_ONE_IN: u64 = 50;
const SCRIPT_ONE_IN: u64 = 20;
/// What differs on purpose even in its right forms; inside what a script made of it, that could not be told.
const DIFFERENT: &[&str] = &["COPY", "INCRBYFLOAT", "HINCRBYFLOAT", "XREAD", "XREADGROUP", "XSETID"];
/// Ways to bring what someone waits for.
const PUSHES: &[&str] =
    &["RPUSH $l ( $v )+", "LPUSH $l $v", "ZADD $z ( $d $m )+", "RENAME $k $l", "LMOVE $l $l LEFT LEFT"];

/// A generator of steps.
#[derive(Debug)]
pub struct Draw {
    random: Random,
    /// What a unix time is counted from, in milliseconds: once, so that both servers get the same.
    now_ms: u64,
    /// Whether clients stay connected, so that there are transactions and clients that wait.
    connected: bool,
    /// Whether scripts may call what blocks.
    scripts_pop: bool,
    templates: Vec<&'static Template>,
    pause: bool,
    timeout: &'static [&'static str],
    steps: Vec<Step>,
}

/// Timeouts of commands that nobody helps, in seconds.
const TINY_TIMEOUTS: &[&str] = &["0.001", "0.002"];

impl Draw {
    /// A generator for servers that both know `version`.
    pub fn new(seed: u64, version: Version, connected: bool, now_ms: u64) -> Self {
        let known = |template: &&Template| {
            let row = dormouse_engine::all().find(|row: &&Command| row.name == template.name);
            let changed = version < Version(7, 2) && AS_SINCE_7_2.contains(&template.name);
            row.and_then(|row| Version::parse(row.since)).is_some_and(|since| since <= version && !changed)
        };
        Self {
            random: Random::new(seed),
            now_ms,
            connected,
            scripts_pop: version >= Version(7, 2),
            templates: TEMPLATES.iter().filter(known).collect(),
            pause: false,
            timeout: TINY_TIMEOUTS,
            steps: Vec::new(),
        }
    }

    /// A generator of plain commands from these forms.
    pub fn of(seed: u64, templates: &'static [Template]) -> Self {
        Self { templates: templates.iter().collect(), ..Self::new(seed, Version(0, 0), false, 0) }
    }

    /// From now on unix times are counted from this moment.
    pub const fn follow_clock(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// The next command, alone.
    pub fn next_command(&mut self) -> Vec<Vec<u8>> {
        self.plain()
    }

    /// The next command that can stand in a transaction.
    pub fn next_queued(&mut self) -> Vec<Vec<u8>> {
        if self.one_in(SCRIPT_ONE_IN) { self.script() } else { self.command(Place::Queued) }
    }

    /// The next command as its form is.
    pub fn next_formed(&mut self) -> Vec<Vec<u8>> {
        self.formed()
    }

    /// A sequence of commands as their forms are, one client's.
    pub fn plain_sequence(mut self, steps: usize) -> Vec<Step> {
        while self.steps.len() < steps {
            let args = self.formed();
            self.push(MAIN, Act::Runs(args));
        }
        self.steps
    }

    fn formed(&mut self) -> Vec<Vec<u8>> {
        let chosen = self.below(self.templates.len());
        let template = self.templates[chosen];
        let form = template.forms[self.below(template.forms.len())];
        let words: Vec<&str> = form.split_whitespace().collect();
        let mut args = vec![template.name.as_bytes().to_vec()];
        self.expand(&words, &mut args);
        args
    }

    /// A whole sequence, of about so many steps.
    pub fn sequence(mut self, steps: usize) -> Vec<Step> {
        self.push(MAIN, Act::Runs(["FUNCTION", "LOAD", LIBRARIES[0]].map(|word| word.as_bytes().to_vec()).into()));
        while self.steps.len() < steps {
            if self.connected && self.one_in(TRANSACTION_ONE_IN) {
                self.transaction();
            } else if self.connected && self.one_in(WAITING_ONE_IN) {
                self.waiting();
            } else {
                let args = self.plain();
                self.push(MAIN, Act::Runs(args));
            }
        }
        self.steps
    }

    fn push(&mut self, client: &'static str, act: Act) {
        let pause_ms = if std::mem::take(&mut self.pause) { 2 * SHORT_MS } else { 0 };
        self.steps.push(Step { client, act, pause_ms });
    }

    fn plain(&mut self) -> Vec<Vec<u8>> {
        if self.one_in(SCRIPT_ONE_IN) { self.script() } else { self.command(Place::Plain) }
    }

    /// `MULTI`, commands, and an end; perhaps with keys that are watched, and perhaps changed.
    fn transaction(&mut self) {
        if self.one_in(3) {
            let words = ["WATCH", "(", "$k", ")+"];
            let watch = self.expanded(&words);
            self.push(MAIN, Act::Runs(watch));
            if self.one_in(2) {
                let change = self.command(Place::Queued);
                self.push(OTHER, Act::Runs(change));
            }
        }
        self.push(MAIN, Act::Runs(vec![b"MULTI".to_vec()]));
        let mut pause = false;
        for _ in 0..self.below(5) {
            let args = match self.below(16) {
                0 => self.expanded(&["NOSUCH", "$v"]),
                1 => self.script(),
                _ => self.command(Place::Queued),
            };
            // It runs with the others.
            pause |= std::mem::take(&mut self.pause);
            self.push(MAIN, Act::Runs(args));
        }
        self.pause = pause;
        let end: &[u8] = if self.one_in(8) { b"DISCARD" } else { b"EXEC" };
        self.push(MAIN, Act::Runs(vec![end.to_vec()]));
    }

    /// Someone waits, others come, and then it goes.
    fn waiting(&mut self) {
        self.timeout = &["0"];
        let waits = self.command(Place::Waiting);
        self.timeout = TINY_TIMEOUTS;
        self.push(WAITER, Act::Waits(waits));
        for _ in 0..=self.below(4) {
            match self.below(4) {
                0 => self.transaction(),
                1 => {
                    let args = self.plain();
                    self.push(MAIN, Act::Runs(args));
                }
                _ => {
                    let form = PUSHES[self.below(PUSHES.len())];
                    let words: Vec<&str> = form.split(' ').collect();
                    let args = self.expanded(&words);
                    self.push(MAIN, Act::Runs(args));
                }
            }
        }
        self.push(WAITER, Act::Leaves);
    }

    /// A script with a command as its arguments.
    fn script(&mut self) -> Vec<Vec<u8>> {
        let (name, (source, hands_on)) = match self.below(5) {
            0 | 1 => ("EVAL", SCRIPTS[self.below(SCRIPTS.len())]),
            2 | 3 => ("FCALL", FUNCTIONS[self.below(FUNCTIONS.len())]),
            _ if self.one_in(4) => return self.library(),
            _ => ("FCALL_RO", FUNCTIONS[FUNCTIONS.len() - 1]),
        };
        let command = self.command(if hands_on { Place::Scripted } else { Place::Digested });
        let mut args = vec![name.as_bytes().to_vec(), source.as_bytes().to_vec()];
        if source.contains("KEYS") || source == "set_and" || self.one_in(2) {
            args.extend([b"1".to_vec(), self.key(b's')]);
        } else {
            args.push(b"0".to_vec());
        }
        args.extend(command);
        args
    }

    /// A command about libraries. The one with the functions that are called is there again soon.
    fn library(&mut self) -> Vec<Vec<u8>> {
        let text = LIBRARIES[self.below(LIBRARIES.len())];
        let mut words: Vec<&str> = match self.below(8) {
            0 => vec!["FUNCTION", "STATS"],
            1 => vec!["FUNCTION", "LIST", "LIBRARYNAME", "SMA*", "WITHCODE"],
            2 => vec!["FUNCTION", "DELETE", "small"],
            3 => vec!["FUNCTION", "DELETE", "other"],
            4 => vec!["FUNCTION", if self.one_in(4) { "FLUSH" } else { "STATS" }],
            5 => vec!["FUNCTION", "LOAD", text],
            6 => vec!["FUNCTION", "LOAD", "REPLACE", text],
            _ => vec!["FUNCTION", "LOAD", "REPLACE", LIBRARIES[0]],
        };
        if self.one_in(ODD_ONE_IN) {
            words.insert(2, "odd");
        }
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    fn expanded(&mut self, words: &[&str]) -> Vec<Vec<u8>> {
        let mut args = Vec::new();
        self.expand(words, &mut args);
        args
    }

    fn command(&mut self, place: Place) -> Vec<Vec<u8>> {
        let template = loop {
            let chosen = self.below(self.templates.len());
            let template = self.templates[chosen];
            let pops = matches!(place, Place::Scripted | Place::Digested) && waits(template);
            if fits(template, place) && (self.scripts_pop || !pops) {
                break template;
            }
        };
        let form = template.forms[self.below(template.forms.len())];
        let words: Vec<&str> = form.split_whitespace().collect();
        let mut args = vec![template.name.as_bytes().to_vec()];
        self.expand(&words, &mut args);
        // Any other form of some answers by chance, or waits.
        let delicate = matches!(template.compare, Compare::Chance | Compare::Payload) || form.contains("$w");
        let plain = matches!(place, Place::Plain | Place::Queued);
        // What was no command yet in an older Redis spoils a whole transaction there.
        let grown = place == Place::Queued && matches!(template.name, "UNLINK" | "ZRANK" | "ZREVRANK");
        if plain && !delicate && !grown && self.one_in(ODD_ONE_IN) {
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
            "$w" => pick(random, self.timeout),
            "$p" => pick(random, DRAWS),
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
            "$b" => self.key(b'b'),
            "$P" => self.key(b'p'),
            "$M" => self.key(b'g'),
            "$O" => pick(random, OFFSETS),
            "$B" => pick(random, WIDTHS),
            "$A" => pick(random, LONGITUDES),
            "$L" => pick(random, LATITUDES),
            "$D" => pick(random, LENGTHS),
            "$E" => pick(random, UNITS),
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
            kind if kind.starts_with("$j") => json::argument(random, kind).unwrap_or_else(|| kind.as_bytes().to_vec()),
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

/// Whether a command can stand in a place.
fn fits(template: &Template, place: Place) -> bool {
    let is_exact = template.compare == Compare::Exact;
    let is_ordinary = !matches!(template.compare, Compare::Chance | Compare::Payload);
    match place {
        Place::Plain => true,
        Place::Queued | Place::Scripted => is_ordinary,
        Place::Digested => is_exact && !DIFFERENT.contains(&template.name),
        Place::Waiting => waits(template),
    }
}

fn waits(template: &Template) -> bool {
    template.forms[0].contains("$w")
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
        let draw = |seed| Draw::new(seed, Version::NEWEST, true, 1_000_000_000).sequence(200);
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_sequence_has_a_bit_of_everything() {
        let steps = Draw::new(3, Version::NEWEST, true, 1_000_000_000).sequence(2_000);
        let runs = |name: &str| {
            let named = |step: &&Step| matches!(&step.act, Act::Runs(args) if args[0] == name.as_bytes());
            steps.iter().filter(named).count()
        };
        for name in [
            "MULTI",
            "EXEC",
            "DISCARD",
            "WATCH",
            "EVAL",
            "FCALL",
            "FCALL_RO",
            "FUNCTION",
            "SPOP",
            "RANDOMKEY",
            "DUMP",
            "BLPOP",
            "PEXPIRE",
        ] {
            assert!(runs(name) > 0, "no {name}");
        }
        assert!(steps.iter().filter(|step| matches!(step.act, Act::Waits(_))).count() > 10);
        assert!(steps.iter().any(|step| step.client == OTHER) && steps.iter().any(|step| step.pause_ms > 0));
        let alone = Draw::new(3, Version::NEWEST, false, 1_000_000_000).sequence(2_000);
        assert!(alone.iter().all(|step| step.client == MAIN && matches!(step.act, Act::Runs(_))));
    }

    #[test]
    fn every_form_expands() {
        let mut draw = Draw::new(1, Version::NEWEST, true, 1_000_000_000);
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
                    | Group::Bitmap
                    | Group::Geo
                    | Group::HyperLogLog
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
