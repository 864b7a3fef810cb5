//! Runs pages through a door and says where it differs from them.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use dormouse_proto::Reply;

use crate::door::{Abilities, Door, PATIENCE};
use crate::expect::{self, Expect};
use crate::page::{Act, Block, Expected, Page, Rules, Step};
use crate::reply_text;
use crate::server::Server;

/// How long a command must stay silent to count as blocked.
const BLOCKED_FOR: Duration = Duration::from_millis(100);

/// What came of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// Replies that were as expected.
    pub passed: usize,
    /// Blocks that this door cannot run.
    pub skipped: usize,
    /// The others.
    pub failures: Vec<Failure>,
}

/// A reply that was not as expected.
#[derive(Debug)]
pub struct Failure {
    /// The page.
    pub page: String,
    /// The line of the command.
    pub line: usize,
    /// The command.
    pub command: String,
    /// What was expected, as the page shows it.
    pub expected: String,
    /// What came, likewise.
    pub got: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indent = |text: &str| text.replace('\n', "\n              ");
        writeln!(out, "{}:{}: > {}", self.page, self.line, self.command)?;
        writeln!(out, "    expected: {}", indent(&self.expected))?;
        write!(out, "         got: {}", indent(&self.got))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(out, "{failure}\n")?;
        }
        write!(out, "{} passed, {} failed, {} blocks skipped", self.passed, self.failures.len(), self.skipped)
    }
}

/// Whether a block holds behind a door with these abilities.
pub fn applies(rules: &Rules, abilities: Abilities) -> bool {
    (!rules.dormouse || abilities.server == Server::Dormouse)
        && rules.except != Some(abilities.server)
        && (!rules.resp || abilities.connection)
        && (!rules.clients || abilities.clients)
        && (!rules.json || abilities.json)
        && rules.since.is_none_or(|since| since <= abilities.version)
        && rules.before.is_none_or(|before| abilities.server == Server::Dormouse || abilities.version < before)
}

/// Runs pages. An error is one of the door, such as a lost connection at a reset; the pages' are in the report.
pub fn pages(door: &mut dyn Door, pages: &[Page]) -> Result<Report> {
    let mut report = Report::default();
    for page in pages {
        for section in &page.sections {
            door.reset()?;
            for block in &section.blocks {
                if applies(&block.rules, door.abilities()) && can_run(door, block) {
                    run_block(door, page, block, &mut report);
                } else {
                    report.skipped += 1;
                }
            }
        }
    }
    Ok(report)
}

/// Whether a door takes every command of a block. Of half a block, the rest would not hold.
fn can_run(door: &dyn Door, block: &Block) -> bool {
    block.steps.iter().all(|step| match &step.act {
        Act::Command { args, .. } => door.can_run(args),
        Act::Hears { .. } | Act::Waits { .. } | Act::Passes { .. } => true,
    })
}

fn run_block(door: &mut dyn Door, page: &Page, block: &Block, report: &mut Report) {
    for step in &block.steps {
        match run_step(door, step, block.rules.unordered) {
            Ok(None) => report.passed += 1,
            Ok(Some((expected, got))) => report.failures.push(failure(page, step, expected, got)),
            Err(error) => {
                report.failures.push(failure(page, step, "a reply".to_owned(), format!("{error:#}")));
                // Whatever follows would only repeat it.
                return;
            }
        }
    }
}

fn failure(page: &Page, step: &Step, expected: String, got: String) -> Failure {
    let command = match &step.act {
        Act::Command { client, args, .. } if client.is_empty() => reply_text::command(args),
        Act::Command { client, args, .. } => format!("({client}) {}", reply_text::command(args)),
        Act::Hears { client, .. } => format!("({client} hears)"),
        Act::Waits { client } => format!("({client} waits)"),
        Act::Passes { ms } => format!("({ms} ms pass)"),
    };
    Failure { page: page.name.clone(), line: step.line, command, expected, got }
}

/// What was expected and what came, if they differ.
type Difference = Option<(String, String)>;

fn run_step(door: &mut dyn Door, step: &Step, unordered: bool) -> Result<Difference> {
    Ok(match &step.act {
        Act::Passes { ms } => {
            door.pass(*ms);
            None
        }
        Act::Command { client, args, expected: Expected::Replies(expected) } => {
            compare(door.abilities().server, expected, &door.run(client, args)?, unordered)
        }
        Act::Command { client, args, expected: Expected::Blocked } => {
            door.send(client, args)?;
            let early = door.receive(client, BLOCKED_FOR)?;
            early.map(|reply| ("(blocked)".to_owned(), reply_text::text(&reply)))
        }
        Act::Waits { client } => {
            let early = door.receive(client, BLOCKED_FOR)?;
            early.map(|reply| ("(blocked)".to_owned(), reply_text::text(&reply)))
        }
        Act::Hears { client, expected } => {
            let mut heard = Vec::new();
            while heard.len() < expected.len()
                && let Some(reply) = door.receive(client, PATIENCE)?
            {
                heard.push(reply);
            }
            compare(door.abilities().server, expected, &heard, unordered)
        }
    })
}

fn compare(server: Server, expected: &[Expect], got: &[Reply], unordered: bool) -> Difference {
    let expected: Vec<Expect> = expected.iter().map(|expected| server.expects(expected)).collect();
    let fits = expected.len() == got.len()
        && expected.iter().zip(got).all(|(expected, reply)| expected.accepts(reply, unordered));
    if fits {
        return None;
    }
    let expected = expected.iter().map(expect::text).collect::<Vec<_>>().join("\n");
    Some((expected, reply_text::all(got)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::EngineDoor;
    use crate::page::Version;

    #[test]
    fn a_difference_names_its_line_and_both_replies() {
        let page = Page::parse("p.md", "```redis\n> SET k v\nOK\n> GET k\n\"w\"\n```\n").unwrap();
        let report = pages(&mut EngineDoor::default(), &[page]).unwrap();
        assert_eq!((report.passed, report.failures.len()), (1, 1));
        assert_eq!(report.failures[0].to_string(), "p.md:4: > GET k\n    expected: \"w\"\n         got: \"v\"");
    }

    #[test]
    fn sections_start_empty_and_the_clock_moves() {
        let text = "## A\n```redis\n> SET k v PX 50\nOK\n@ +50ms\n> GET k\n(nil)\n> SET k v\nOK\n```\n\
                    ## B\n```redis\n> GET k\n(nil)\n> BLPOP l 1\n(nil)\n```\n";
        let report = pages(&mut EngineDoor::default(), &[Page::parse("p.md", text).unwrap()]).unwrap();
        assert!(report.failures.is_empty(), "{report}");
    }

    #[test]
    fn blocks_run_where_they_can() {
        let redis =
            Abilities { server: Server::Redis, connection: true, clients: true, version: Version(7, 0), json: false };
        let rest = Abilities {
            server: Server::Dormouse,
            connection: false,
            clients: false,
            version: Version::NEWEST,
            json: true,
        };
        let rules = Rules::default();
        for (rules, on_redis, on_rest) in [
            (rules.clone(), true, true),
            (Rules { dormouse: true, ..rules.clone() }, false, true),
            (Rules { resp: true, ..rules.clone() }, true, false),
            (Rules { clients: true, ..rules.clone() }, true, false),
            (Rules { since: Some(Version(7, 0)), ..rules.clone() }, true, true),
            (Rules { except: Some(Server::Redis), ..rules.clone() }, false, true),
            (Rules { since: Some(Version(7, 2)), ..rules.clone() }, false, true),
            (Rules { before: Some(Version(7, 0)), ..rules.clone() }, false, true),
            (Rules { before: Some(Version(7, 2)), ..rules }, true, true),
        ] {
            assert_eq!((applies(&rules, redis), applies(&rules, rest)), (on_redis, on_rest), "{rules:?}");
        }
    }
}
