//! Lua 5.1's string patterns, matched with a bound.
//!
//! Lua's own matcher may take exponential time and as much stack as a pattern is long, all inside one instruction, where
//! no hook can stop it. This one first reads the pattern into a list of items, then matches them with a bounded depth, and
//! lets the watchdog have a word every so many steps. What is wrong with a pattern is reported when matching gets there,
//! as in Lua.

/// Most captures in a pattern.
const CAPTURES_MAX: usize = 32;
/// Deepest nesting of items that may have to be tried again.
const DEPTH_MAX: usize = 400;
/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 64 * 1024;
/// Steps between two questions to the watchdog.
const STEPS_PER_QUESTION: u32 = 100_000;

/// Bytes as a bitmap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Set([u64; 4]);

impl Set {
    const fn add(&mut self, byte: u8) {
        self.0[byte as usize >> 6] |= 1 << (byte & 63);
    }

    const fn has(&self, byte: u8) -> bool {
        self.0[byte as usize >> 6] >> (byte & 63) & 1 == 1
    }

    fn union(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, more)| *word |= more);
    }

    fn inverse(self) -> Self {
        Self(self.0.map(|word| !word))
    }

    fn where_true(test: impl Fn(u8) -> bool) -> Self {
        let mut set = Self::default();
        (0..=255).filter(|&byte| test(byte)).for_each(|byte| set.add(byte));
        set
    }

    /// What `%letter` stands for; a letter without a meaning is itself.
    fn class(letter: u8) -> Self {
        let set = match letter.to_ascii_lowercase() {
            b'a' => Self::where_true(|byte| byte.is_ascii_alphabetic()),
            b'c' => Self::where_true(|byte| byte.is_ascii_control()),
            b'd' => Self::where_true(|byte| byte.is_ascii_digit()),
            b'l' => Self::where_true(|byte| byte.is_ascii_lowercase()),
            b'p' => Self::where_true(|byte| byte.is_ascii_punctuation()),
            b's' => Self::where_true(|byte| matches!(byte, b' ' | 9..=13)),
            b'u' => Self::where_true(|byte| byte.is_ascii_uppercase()),
            b'w' => Self::where_true(|byte| byte.is_ascii_alphanumeric()),
            b'x' => Self::where_true(|byte| byte.is_ascii_hexdigit()),
            b'z' => Self::where_true(|byte| byte == 0),
            _ => return Self::where_true(|byte| byte == letter),
        };
        if letter.is_ascii_uppercase() { set.inverse() } else { set }
    }
}

/// What matches one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum One {
    Any,
    Byte(u8),
    Of(Set),
}

impl One {
    const fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Any => true,
            Self::Byte(wanted) => *wanted == byte,
            Self::Of(set) => set.has(byte),
        }
    }
}

/// How often an item matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    Once,
    AtMostOnce,
    Most { least: usize },
    Fewest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    One(One, Times),
    Open,
    OpenPosition,
    Close,
    Balance(u8, u8),
    Frontier(Set),
    Again(u8),
    AtEnd,
    Broken(&'static str),
}

/// A pattern that has been read.
#[derive(Debug)]
pub(super) struct Pattern {
    items: Vec<Item>,
    /// Whether it only matches where the search starts.
    pub(super) anchored: bool,
}

impl Pattern {
    /// Reads a pattern; `anchors` says whether `^` at its start is special.
    pub(super) fn read(text: &[u8], anchors: bool) -> Self {
        let anchored = anchors && text.first() == Some(&b'^');
        // Patterns end at a zero byte, as C strings do.
        let text = text[usize::from(anchored)..].split(|&byte| byte == 0).next().unwrap_or_default();
        if text.len() > PATTERN_BYTES_MAX {
            return Self { items: vec![Item::Broken("pattern too complex")], anchored };
        }
        let mut reader = PatternReader { text, at: 0 };
        let mut items = Vec::with_capacity(text.len());
        while reader.at < text.len() {
            let item = reader.item().unwrap_or_else(Item::Broken);
            items.push(item);
            if matches!(item, Item::Broken(_)) {
                break;
            }
        }
        Self { items, anchored }
    }

    /// Whether a pattern is only text, which is looked for as such.
    pub(super) fn is_plain(text: &[u8]) -> bool {
        let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
        !text.iter().any(|byte| b"^$*+?.([%-".contains(byte))
    }
}

struct PatternReader<'a> {
    text: &'a [u8],
    at: usize,
}

impl PatternReader<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn item(&mut self) -> Result<Item, &'static str> {
        match (self.peek(0), self.peek(1)) {
            (Some(b'('), Some(b')')) => Ok(self.skip(2, Item::OpenPosition)),
            (Some(b'('), _) => Ok(self.skip(1, Item::Open)),
            (Some(b')'), _) => Ok(self.skip(1, Item::Close)),
            (Some(b'$'), None) => Ok(self.skip(1, Item::AtEnd)),
            (Some(b'%'), Some(b'b')) => match (self.peek(2), self.peek(3)) {
                (Some(open), Some(close)) => Ok(self.skip(4, Item::Balance(open, close))),
                _ => Err("unbalanced pattern"),
            },
            (Some(b'%'), Some(b'f')) => {
                self.at += 2;
                if self.peek(0) != Some(b'[') {
                    return Err("missing '[' after '%f' in pattern");
                }
                self.set().map(Item::Frontier)
            }
            (Some(b'%'), Some(digit)) if digit.is_ascii_digit() => Ok(self.skip(2, Item::Again(digit - b'0'))),
            _ => {
                let one = self.one()?;
                Ok(Item::One(one, self.times()))
            }
        }
    }

    fn skip(&mut self, bytes: usize, item: Item) -> Item {
        self.at += bytes;
        item
    }

    fn one(&mut self) -> Result<One, &'static str> {
        match self.peek(0) {
            Some(b'[') => self.set().map(One::Of),
            Some(b'%') => {
                let letter = self.peek(1).ok_or("malformed pattern (ends with '%')")?;
                self.at += 2;
                Ok(if letter.is_ascii_alphabetic() { One::Of(Set::class(letter)) } else { One::Byte(letter) })
            }
            other => {
                self.at += 1;
                Ok(other.filter(|&byte| byte != b'.').map_or(One::Any, One::Byte))
            }
        }
    }

    fn times(&mut self) -> Times {
        let times = match self.peek(0) {
            Some(b'?') => Times::AtMostOnce,
            Some(b'*') => Times::Most { least: 0 },
            Some(b'+') => Times::Most { least: 1 },
            Some(b'-') => Times::Fewest,
            _ => return Times::Once,
        };
        self.at += 1;
        times
    }

    /// `[…]`. A bracket that comes first stands for itself.
    fn set(&mut self) -> Result<Set, &'static str> {
        const UNFINISHED: &str = "malformed pattern (missing ']')";
        self.at += 1;
        let inverted = self.peek(0) == Some(b'^');
        self.at += usize::from(inverted);
        let mut set = Set::default();
        let mut first = true;
        loop {
            match self.peek(0).ok_or(UNFINISHED)? {
                b']' if !first => break,
                b'%' => {
                    set.union(Set::class(self.peek(1).ok_or(UNFINISHED)?));
                    self.at += 2;
                }
                low => match (self.peek(1), self.peek(2)) {
                    (Some(b'-'), Some(high)) if high != b']' => {
                        (low..=high).for_each(|byte| set.add(byte));
                        self.at += 3;
                    }
                    _ => {
                        set.add(low);
                        self.at += 1;
                    }
                },
            }
            first = false;
        }
        self.at += 1;
        Ok(if inverted { set.inverse() } else { set })
    }
}

/// Why matching stopped.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Something is wrong with the pattern.
    Broken(&'static str),
    /// The watchdog's answer.
    Asked(mlua::Error),
}

type Found<T> = Result<T, Stopped>;

/// A part of the subject that a match remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capture {
    /// Begun here, not ended.
    Open(usize),
    /// From here to there.
    Text(usize, usize),
    /// A place.
    Position(usize),
}

/// Matches a pattern against a subject.
pub(super) struct Matcher<'a> {
    subject: &'a [u8],
    pattern: &'a Pattern,
    captures: Vec<Capture>,
    depth: usize,
    steps: u32,
    ask: &'a dyn Fn() -> mlua::Result<()>,
}

impl<'a> Matcher<'a> {
    /// A matcher; `ask` is called every so many steps.
    pub(super) fn new(subject: &'a [u8], pattern: &'a Pattern, ask: &'a dyn Fn() -> mlua::Result<()>) -> Self {
        Self { subject, pattern, captures: Vec::new(), depth: 0, steps: 0, ask }
    }

    /// The first match at or after `start`: where it begins and ends.
    pub(super) fn find(&mut self, start: usize) -> Found<Option<(usize, usize)>> {
        for at in start..=self.subject.len() {
            self.captures.clear();
            if let Some(end) = self.run(0, at)? {
                return Ok(Some((at, end)));
            }
            if self.pattern.anchored {
                break;
            }
        }
        Ok(None)
    }

    /// The captures of the last match; the whole match, if the pattern has none.
    pub(super) fn captures(&self, start: usize, end: usize) -> Found<Vec<Capture>> {
        if self.captures.is_empty() {
            return Ok(vec![Capture::Text(start, end)]);
        }
        if self.captures.iter().any(|capture| matches!(capture, Capture::Open(_))) {
            return Err(Stopped::Broken("unfinished capture"));
        }
        Ok(self.captures.clone())
    }

    /// Whether the last match captured anything.
    pub(super) fn has_captures(&self) -> bool {
        !self.captures.is_empty()
    }

    /// One capture of the last match, by its number; 0 is the whole match.
    pub(super) fn capture(&self, number: usize, start: usize, end: usize) -> Found<Capture> {
        match self.captures.get(number.wrapping_sub(1)) {
            _ if number == 0 => Ok(Capture::Text(start, end)),
            Some(Capture::Open(_)) => Err(Stopped::Broken("unfinished capture")),
            Some(&capture) => Ok(capture),
            None if number == 1 && self.captures.is_empty() => Ok(Capture::Text(start, end)),
            None => Err(Stopped::Broken("invalid capture index")),
        }
    }

    fn step(&mut self) -> Found<()> {
        self.steps += 1;
        if self.steps >= STEPS_PER_QUESTION {
            self.steps = 0;
            (self.ask)().map_err(Stopped::Asked)?;
        }
        Ok(())
    }

    fn takes(&self, one: One, at: usize) -> bool {
        self.subject.get(at).is_some_and(|&byte| one.takes(byte))
    }

    /// Matches the rest of the pattern deeper down, from where it can come back.
    fn attempt(&mut self, item: usize, at: usize) -> Found<Option<usize>> {
        if self.depth >= DEPTH_MAX {
            return Err(Stopped::Broken("pattern too complex"));
        }
        self.depth += 1;
        let found = self.run(item, at);
        self.depth -= 1;
        found
    }

    /// Matches the items from `item` on; where the match ends.
    fn run(&mut self, mut item: usize, mut at: usize) -> Found<Option<usize>> {
        let pattern = self.pattern;
        while let Some(&next) = pattern.items.get(item) {
            self.step()?;
            item += 1;
            match next {
                Item::One(one, Times::Once) if self.takes(one, at) => at += 1,
                Item::One(one, Times::AtMostOnce) => {
                    if self.takes(one, at)
                        && let Some(end) = self.attempt(item, at + 1)?
                    {
                        return Ok(Some(end));
                    }
                }
                Item::One(one, Times::Most { least }) => return self.most(one, least, item, at),
                Item::One(one, Times::Fewest) => return self.fewest(one, item, at),
                Item::Open => return self.capturing(Capture::Open(at), item, at),
                Item::OpenPosition => return self.capturing(Capture::Position(at), item, at),
                Item::Close => return self.close(item, at),
                Item::Balance(open, close) => match self.balance(open, close, at)? {
                    Some(end) => at = end,
                    None => return Ok(None),
                },
                Item::Frontier(set) => {
                    let before = at.checked_sub(1).map_or(0, |at| self.subject[at]);
                    let after = self.subject.get(at).copied().unwrap_or(0);
                    if set.has(before) || !set.has(after) {
                        return Ok(None);
                    }
                }
                Item::Again(number) => match self.again(number, at)? {
                    Some(end) => at = end,
                    None => return Ok(None),
                },
                Item::AtEnd if at == self.subject.len() => {}
                Item::One(_, Times::Once) | Item::AtEnd => return Ok(None),
                Item::Broken(reason) => return Err(Stopped::Broken(reason)),
            }
        }
        Ok(Some(at))
    }

    fn most(&mut self, one: One, least: usize, item: usize, at: usize) -> Found<Option<usize>> {
        let mut count = 0;
        while self.takes(one, at + count) {
            self.step()?;
            count += 1;
        }
        if item == self.pattern.items.len() {
            // Nothing follows that could ask for less.
            return Ok((count >= least).then_some(at + count));
        }
        while count >= least {
            if let Some(end) = self.attempt(item, at + count)? {
                return Ok(Some(end));
            }
            if count == 0 {
                break;
            }
            count -= 1;
        }
        Ok(None)
    }

    fn fewest(&mut self, one: One, item: usize, mut at: usize) -> Found<Option<usize>> {
        loop {
            self.step()?;
            if let Some(end) = self.attempt(item, at)? {
                return Ok(Some(end));
            }
            if !self.takes(one, at) {
                return Ok(None);
            }
            at += 1;
        }
    }

    fn capturing(&mut self, capture: Capture, item: usize, at: usize) -> Found<Option<usize>> {
        if self.captures.len() >= CAPTURES_MAX {
            return Err(Stopped::Broken("too many captures"));
        }
        let level = self.captures.len();
        self.captures.push(capture);
        let found = self.attempt(item, at)?;
        if found.is_none() {
            self.captures.truncate(level);
        }
        Ok(found)
    }

    fn close(&mut self, item: usize, at: usize) -> Found<Option<usize>> {
        let open = self.captures.iter().rposition(|capture| matches!(capture, Capture::Open(_)));
        let level = open.ok_or(Stopped::Broken("invalid pattern capture"))?;
        let before = self.captures[level];
        if let Capture::Open(start) = before {
            self.captures[level] = Capture::Text(start, at);
        }
        let found = self.attempt(item, at)?;
        if found.is_none() {
            self.captures[level] = before;
        }
        Ok(found)
    }

    fn balance(&mut self, open: u8, close: u8, at: usize) -> Found<Option<usize>> {
        if self.subject.get(at) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1;
        for end in at + 1..self.subject.len() {
            self.step()?;
            let byte = self.subject[end];
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(end + 1));
                }
            } else if byte == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    /// Matches what a capture holds once more.
    fn again(&self, number: u8, at: usize) -> Found<Option<usize>> {
        let capture = self.captures.get(usize::from(number).wrapping_sub(1));
        match capture {
            Some(&Capture::Text(start, end)) => {
                let text = &self.subject[start..end];
                Ok(self.subject[at..].starts_with(text).then_some(at + text.len()))
            }
            Some(Capture::Position(_)) => Ok(Some(at)),
            _ => Err(Stopped::Broken("invalid capture index")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Match = (usize, usize, Vec<Capture>);

    fn find(subject: &str, pattern: &str) -> Result<Option<Match>, &'static str> {
        let pattern = Pattern::read(pattern.as_bytes(), true);
        let patient = || Ok(());
        let mut matcher = Matcher::new(subject.as_bytes(), &pattern, &patient);
        let found = matcher
            .find(0)
            .and_then(|found| found.map(|(start, end)| Ok((start, end, matcher.captures(start, end)?))).transpose());
        found.map_err(|stopped| match stopped {
            Stopped::Broken(reason) => reason,
            Stopped::Asked(_) => "asked",
        })
    }

    #[test]
    fn patterns_match_as_in_lua() {
        for (subject, pattern, range) in [
            ("hello world", "o w", Some((4, 7))),
            ("hello", "l+", Some((2, 4))),
            ("hello", "l-o", Some((2, 5))),
            ("hello", "^h", Some((0, 1))),
            ("hello", "^e", None),
            ("hello", "o$", Some((4, 5))),
            ("hel$o", "l$o", Some((2, 5))),
            ("abc123", "%d+", Some((3, 6))),
            ("abc123", "%D+", Some((0, 3))),
            ("a-b]c", "[]-]+", Some((1, 2))),
            ("x^y", "[%^]", Some((1, 2))),
            ("key=val", "[^=]*", Some((0, 3))),
            ("f(a(b)c)d", "%b()", Some((1, 8))),
            ("THE (quick) fox", "%f[%a]%a+%f[%A]", Some((0, 3))),
            ("colour", "colou?r", Some((0, 6))),
            ("color", "colou?r", Some((0, 5))),
            ("", ".*", Some((0, 0))),
            ("\"a\" 'b'", "(['\"])(.-)%1", Some((0, 3))),
            ("a.b", "%.", Some((1, 2))),
            ("a-z", "[a-]+", Some((0, 2))),
        ] {
            let found = find(subject, pattern).unwrap().map(|(start, end, _)| (start, end));
            assert_eq!(found, range, "{pattern} in {subject}");
        }
    }

    #[test]
    fn captures_hold_texts_and_places() {
        let (.., captures) = find("key = value", "(%w+)%s*=%s*()(%w+)").unwrap().unwrap();
        assert_eq!(captures, [Capture::Text(0, 3), Capture::Position(6), Capture::Text(6, 11)]);
    }

    #[test]
    fn broken_patterns_are_reported_where_matching_gets_to_them() {
        for (pattern, reason) in [
            ("a%", "malformed pattern (ends with '%')"),
            ("a[b", "malformed pattern (missing ']')"),
            ("a)", "invalid pattern capture"),
            ("(a", "unfinished capture"),
            ("a%1", "invalid capture index"),
            ("a%bx", "unbalanced pattern"),
            ("a%fx", "missing '[' after '%f' in pattern"),
        ] {
            assert_eq!(find("aaa", pattern).unwrap_err(), reason, "{pattern}");
            assert!(find("bbb", pattern).is_ok() || pattern.starts_with('('), "{pattern}");
        }
        assert_eq!(find("a", &"()".repeat(33)).unwrap_err(), "too many captures");
        assert_eq!(find("a", &"a?".repeat(100_000)).unwrap_err(), "pattern too complex");
        assert_eq!(find(&"a".repeat(2_000), &"a?".repeat(1_000)).unwrap_err(), "pattern too complex");
    }

    #[test]
    fn long_matches_ask() {
        let pattern =
            Pattern::read("a*".repeat(30).as_bytes().iter().chain(b"b").copied().collect::<Vec<_>>().as_slice(), true);
        let subject = [b'a'; 60];
        let bites = || Err(mlua::Error::runtime("time"));
        assert!(matches!(Matcher::new(&subject, &pattern, &bites).find(0), Err(Stopped::Asked(_))));
    }
}
