//! Conformance pages: Markdown whose fenced `redis` blocks hold a session as redis-cli prints it.
//!
//! A page is cut into sections at its `##` headings; each starts from an empty database. Only blocks whose fence begins
//! with the word `redis` are read, the rest is prose. Everything remembers the line it came from, because what a failure
//! names must be found at once. The format is described for authors in `conformance/README.md`.

use std::path::Path;

use crate::expect::{self, Expect};
use crate::server::Server;

/// One file.
#[derive(Debug)]
pub struct Page {
    /// Its path as shown in failures.
    pub name: String,
    /// Its sections in order; blocks before the first heading form one without a title.
    pub sections: Vec<Section>,
}

/// What shares one database.
#[derive(Debug, Default)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// Its blocks in order.
    pub blocks: Vec<Block>,
}

/// One fenced block.
#[derive(Debug)]
pub struct Block {
    /// Words behind `redis` on the fence.
    pub rules: Rules,
    /// What happens in it.
    pub steps: Vec<Step>,
}

/// Where a block runs and how its replies compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word on the fence, there or not")]
pub struct Rules {
    /// Top-level arrays compare as multisets.
    pub unordered: bool,
    /// Only on Dormouse: a deliberate difference.
    pub dormouse: bool,
    /// Only where there is a connection that stays.
    pub resp: bool,
    /// Several clients.
    pub clients: bool,
    /// Only where there are JSON documents.
    pub json: bool,
    /// Only from this version of a real Redis on.
    pub since: Option<Version>,
    /// Only on a real Redis older than this version, and on Dormouse, which does as that did.
    pub before: Option<Version>,
    /// Not on this server, which does something else.
    pub except: Option<Server>,
}

/// A version, compared number by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl Version {
    /// Newer than any other: what Dormouse claims to be.
    pub const NEWEST: Self = Self(u32::MAX, 0);

    /// Reads the first two numbers of `8.2.0`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next().map_or(Some(0), |minor| minor.parse().ok())?;
        Some(Self(major, minor))
    }
}

/// One thing that happens, and its line.
#[derive(Debug)]
pub struct Step {
    /// Counted from one.
    pub line: usize,
    /// What it is.
    pub act: Act,
}

/// What happens.
#[derive(Debug)]
pub enum Act {
    /// A client sends a command and reads its reply.
    Command {
        /// The client's name; empty where there is one alone.
        client: String,
        /// The command.
        args: Vec<Vec<u8>>,
        /// What it must answer.
        expected: Expected,
    },
    /// A client hears something it did not ask for just now: a message, or the answer to a blocked command.
    Hears {
        /// The client's name.
        client: String,
        /// What it must hear.
        expected: Vec<Expect>,
    },
    /// A client is still blocked.
    Waits {
        /// The client's name.
        client: String,
    },
    /// Time passes.
    Passes {
        /// How much.
        ms: u64,
    },
}

/// What a command must answer.
#[derive(Debug, PartialEq)]
pub enum Expected {
    /// These replies, nearly always one.
    Replies(Vec<Expect>),
    /// Nothing yet.
    Blocked,
}

/// A page that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{page}:{line}: {why}")]
pub struct PageError {
    page: String,
    line: usize,
    why: String,
}

impl Page {
    /// Reads a file.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self::parse(&format!("conformance/{name}"), &std::fs::read_to_string(path)?)?)
    }

    /// Every page of a folder, by name.
    pub fn load_all(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let is_page = path.extension().is_some_and(|extension| extension == "md");
            if is_page && path.file_name().is_some_and(|name| name != "README.md") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.iter().map(|path| Self::load(path)).collect()
    }

    /// Reads the text of a page.
    pub fn parse(name: &str, text: &str) -> Result<Self, PageError> {
        let fail = |line: usize, why: String| PageError { page: name.to_owned(), line, why };
        let mut sections = vec![Section::default()];
        let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
        while let Some((number, line)) = lines.next() {
            if let Some(title) = line.strip_prefix("## ") {
                sections.push(Section { title: title.trim().to_owned(), blocks: Vec::new() });
            }
            let Some(words) = line.strip_prefix("```") else { continue };
            let body: Vec<(usize, &str)> = lines.by_ref().take_while(|(_, line)| !line.starts_with("```")).collect();
            let mut words = words.split_whitespace();
            if words.next() != Some("redis") {
                continue;
            }
            let rules = Rules::parse(words).map_err(|why| fail(number, why))?;
            let steps = steps(&body, &rules).map_err(|(line, why)| fail(line, why))?;
            let section = sections.last_mut().expect("there is a section from the start");
            section.blocks.push(Block { rules, steps });
        }
        sections.retain(|section| !section.blocks.is_empty());
        Ok(Self { name: name.to_owned(), sections })
    }

    /// Every command on the page.
    pub fn commands(&self) -> impl Iterator<Item = &[Vec<u8>]> {
        let blocks = self.sections.iter().flat_map(|section| &section.blocks);
        blocks.flat_map(|block| &block.steps).filter_map(|step| match &step.act {
            Act::Command { args, .. } => Some(args.as_slice()),
            Act::Hears { .. } | Act::Waits { .. } | Act::Passes { .. } => None,
        })
    }
}

impl Rules {
    fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut rules = Self::default();
        for word in words {
            match word.split_once('=') {
                None if word == "unordered" => rules.unordered = true,
                None if word == "dormouse" => rules.dormouse = true,
                None if word == "resp" => rules.resp = true,
                None if word == "clients" => rules.clients = true,
                None if word == "json" => rules.json = true,
                Some(("since", version)) => {
                    rules.since = Some(Version::parse(version).ok_or_else(|| format!("{version} is no version"))?);
                }
                Some(("before", version)) => {
                    rules.before = Some(Version::parse(version).ok_or_else(|| format!("{version} is no version"))?);
                }
                Some(("except", name)) => {
                    rules.except = Some(Server::named(name).ok_or_else(|| format!("{name} is no server"))?);
                }
                _ => return Err(format!("unknown word on a fence: {word}")),
            }
        }
        Ok(rules)
    }
}

type Failed = (usize, String);

/// A line that starts a step, taken apart.
enum Start<'a> {
    Command { client: &'a str, text: &'a str },
    Hears { client: &'a str, text: &'a str },
    Blocked { client: &'a str },
    Passes(&'a str),
}

fn start<'a>(line: &'a str, rules: &Rules) -> Option<Start<'a>> {
    if let Some(text) = line.strip_prefix("> ") {
        return Some(Start::Command { client: "", text });
    }
    if let Some(text) = line.strip_prefix("@ ") {
        return Some(Start::Passes(text));
    }
    if !rules.clients {
        return None;
    }
    let end = line.find(|letter: char| !letter.is_ascii_alphanumeric())?;
    let (client, rest) = line.split_at(end);
    if client.is_empty() {
        return None;
    }
    if let Some(text) = rest.strip_prefix("> ") {
        return Some(Start::Command { client, text });
    }
    if let Some(text) = rest.strip_prefix("< ") {
        return Some(Start::Hears { client, text });
    }
    (rest.trim() == ": (blocked)").then_some(Start::Blocked { client })
}

fn steps(body: &[(usize, &str)], rules: &Rules) -> Result<Vec<Step>, Failed> {
    let mut steps: Vec<Step> = Vec::new();
    let mut at = 0;
    while let Some(&(line, text)) = body.get(at) {
        at += 1;
        if text.trim().is_empty() {
            continue;
        }
        let fail = |why: String| (line, why);
        let Some(start) = start(text, rules) else {
            return Err(fail(format!("a reply without a command: {text}")));
        };
        let until = body[at..].iter().position(|(_, text)| self::start(text, rules).is_some());
        let follows = &body[at..until.map_or(body.len(), |until| at + until)];
        let act = match start {
            Start::Passes(amount) => {
                Act::Passes { ms: duration(amount).ok_or_else(|| fail(format!("not a time: {amount}")))? }
            }
            Start::Blocked { client } => match steps.last_mut() {
                Some(Step { act: Act::Command { client: sender, expected, .. }, .. })
                    if sender == client && *expected == Expected::Replies(Vec::new()) =>
                {
                    *expected = Expected::Blocked;
                    continue;
                }
                _ => Act::Waits { client: client.to_owned() },
            },
            Start::Hears { client, text } => {
                let lines: Vec<(usize, &str)> = std::iter::once((line, text)).chain(follows.iter().copied()).collect();
                at += follows.len();
                Act::Hears { client: client.to_owned(), expected: expect::parse(&lines)? }
            }
            Start::Command { client, text } => {
                let args = expect::split_command(text).ok_or_else(|| fail(format!("unbalanced quotes: {text}")))?;
                let replies = expect::parse(follows)?;
                at += follows.len();
                Act::Command { client: client.to_owned(), args, expected: Expected::Replies(replies) }
            }
        };
        steps.push(Step { line, act });
    }
    let speechless = steps.iter().find(
        |step| matches!(&step.act, Act::Command { expected: Expected::Replies(replies), .. } if replies.is_empty()),
    );
    match speechless {
        Some(step) => Err((step.line, "a command without a reply".to_owned())),
        None => Ok(steps),
    }
}

/// `+100ms` or `+2s`.
fn duration(text: &str) -> Option<u64> {
    let text = text.trim().strip_prefix('+')?;
    match text.strip_suffix("ms") {
        Some(ms) => ms.trim().parse().ok(),
        None => Some(text.strip_suffix('s')?.trim().parse::<u64>().ok()? * 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Title\n\nprose\n\n## First\n```redis since=7.2 unordered\n> SET k \"a\\x00b\"\nOK\n@ +2s\n> GET k\n\"a\\x00b\"\n```\n```sh\n> ls\n```\n## Second\n```redis clients\na> BLPOP l 0\na: (blocked)\nb> RPUSH l v\n(integer) 1\na< 1) \"l\"\n   2) \"v\"\n```\n";

    #[test]
    fn a_page_is_cut_into_sections_blocks_and_steps() {
        let page = Page::parse("p.md", PAGE).unwrap();
        assert_eq!(page.sections.iter().map(|section| section.title.as_str()).collect::<Vec<_>>(), ["First", "Second"]);
        let first = &page.sections[0].blocks;
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].rules, Rules { unordered: true, since: Some(Version(7, 2)), ..Rules::default() });
        assert_eq!(first[0].steps.iter().map(|step| step.line).collect::<Vec<_>>(), [7, 9, 10]);
        assert!(matches!(first[0].steps[1].act, Act::Passes { ms: 2_000 }));
        let second = &page.sections[1].blocks[0].steps;
        assert!(matches!(&second[0].act, Act::Command { client, expected: Expected::Blocked, .. } if client == "a"));
        assert!(matches!(&second[2].act, Act::Hears { client, expected } if client == "a" && expected.len() == 1));
        assert_eq!(page.commands().count(), 4);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (block, why) in [
            ("```redis\nOK\n```", "p.md:2: a reply without a command: OK"),
            ("```redis\n> GET k\n> GET k\n\"v\"\n```", "p.md:2: a command without a reply"),
            ("```redis sometimes\n```", "p.md:1: unknown word on a fence: sometimes"),
            ("```redis except=nobody\n```", "p.md:1: nobody is no server"),
            ("```redis\n> GET \"k\n(nil)\n```", "p.md:2: unbalanced quotes: GET \"k"),
            ("```redis\n@ soon\n```", "p.md:2: not a time: soon"),
        ] {
            assert_eq!(Page::parse("p.md", block).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(Version::parse("7.2").unwrap() < Version::parse("7.10.1").unwrap());
        assert!(Version::parse("8.4.0").unwrap() < Version::NEWEST);
        assert_eq!(Version::parse("x"), None);
    }
}
