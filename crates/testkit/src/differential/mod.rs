//! Random commands on Dormouse and on a real Redis: the same replies, the same keys in the end.
//!
//! A sequence is drawn from a seed. Each command goes to both; their replies are compared as its [template](templates)
//! says, and now and then the whole content is. Where they differ and no [deliberate difference](differences) explains it,
//! steps are taken out of the sequence for as long as it still fails, and what is left is the report.

mod differences;
mod draw;
mod templates;

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use dormouse_proto::{Reply, parse_double};

use crate::door::Door;
use crate::page::Version;
use crate::reply_text;
pub use differences::{DIFFERENCES, Difference};
pub use draw::{Draw, Step, keys};
pub use templates::{Compare, NOT_DRAWN, TEMPLATES, Template};

/// The content is compared after so many steps, and at the end.
const CONTENT_EVERY: usize = 100;
/// Shrinking ends after so many attempts.
const SHRINK_ATTEMPTS_MAX: usize = 400;

/// Two servers that should agree.
pub struct Pair<'a> {
    /// Dormouse.
    pub ours: &'a mut dyn Door,
    /// A real Redis.
    pub theirs: &'a mut dyn Door,
}

/// Where they did not.
#[derive(Debug)]
pub struct Disagreement {
    /// What led to it; the last step shows it.
    pub steps: Vec<Step>,
    /// What was asked: the last command, or one about the content.
    pub question: String,
    /// Our answer.
    pub ours: String,
    /// Redis's.
    pub theirs: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(out, "> {}", reply_text::command(&step.args))?;
            if step.pause_ms > 0 {
                writeln!(out, "@ +{}ms", step.pause_ms)?;
            }
        }
        writeln!(out, "{}\n--- Dormouse\n{}\n--- Redis\n{}", self.question, self.ours, self.theirs)
    }
}

/// The sequence that a seed names, for servers that both know `version`.
pub fn sequence(seed: u64, commands: usize, version: Version) -> Vec<Step> {
    Draw::new(seed, version, now_ms()).sequence(commands)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl Pair<'_> {
    /// Runs a sequence on both from empty databases. The disagreement has all steps up to where it showed.
    pub fn run(&mut self, steps: &[Step]) -> Result<Option<Disagreement>> {
        self.ours.reset()?;
        self.theirs.reset()?;
        for (at, step) in steps.iter().enumerate() {
            let mut found = self.ask(&step.args, compare_of(&step.args))?;
            if step.pause_ms > 0 {
                self.theirs.pass(step.pause_ms);
                self.ours.follow_clock(now_ms());
            }
            if found.is_none() && (at + 1 == steps.len() || at % CONTENT_EVERY == CONTENT_EVERY - 1) {
                found = self.content()?;
            }
            if let Some((question, ours, theirs)) = found {
                return Ok(Some(Disagreement { steps: steps[..=at].to_vec(), question, ours, theirs }));
            }
        }
        Ok(None)
    }

    /// As [`Self::run`], and makes the sequence as short as it can.
    pub fn run_and_shrink(&mut self, steps: &[Step]) -> Result<Option<Disagreement>> {
        let Some(mut shortest) = self.run(steps)? else { return Ok(None) };
        let mut attempts = 0;
        let mut size = shortest.steps.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < shortest.steps.len() && attempts < SHRINK_ATTEMPTS_MAX {
                let mut fewer = shortest.steps.clone();
                fewer.drain(at..(at + size).min(fewer.len()));
                attempts += 1;
                match self.run(&fewer)? {
                    Some(shorter) => shortest = shorter,
                    None => at += size,
                }
            }
            size /= 2;
        }
        Ok(Some(shortest))
    }

    /// Asks both the same, and compares what they say.
    fn ask(&mut self, args: &[Vec<u8>], compare: Compare) -> Result<Option<(String, String, String)>> {
        let now_ms = now_ms();
        self.ours.follow_clock(now_ms);
        self.theirs.follow_clock(now_ms);
        let shown = || reply_text::command(args);
        let ours = one(self.ours.run("", args).with_context(|| format!("Dormouse, at {}", shown()))?);
        let theirs = one(self.theirs.run("", args).with_context(|| format!("Redis, at {}", shown()))?);
        let server = self.theirs.abilities().server;
        let ours = server.says(&ours);
        if same(compare, &ours, &theirs) {
            return Ok(None);
        }
        if differences::explained(server, args, &ours, &theirs).is_some() {
            // What it left behind may differ, too.
            if let Some(key) = args.get(1) {
                let delete = [b"DEL".to_vec(), key.clone()];
                self.ours.run("", &delete)?;
                self.theirs.run("", &delete)?;
            }
            return Ok(None);
        }
        let question = format!("? {}", shown());
        Ok(Some((question, reply_text::text(&ours), reply_text::text(&theirs))))
    }

    /// Compares type, value and expiry of every key.
    fn content(&mut self) -> Result<Option<(String, String, String)>> {
        for key in keys() {
            let questions: &[(&str, Compare)] = match self.kind(key)?.as_str() {
                "string" => &[("GET", Compare::Exact)],
                "hash" => &[("HGETALL", Compare::UnorderedPairs)],
                "list" => &[("LRANGE 0 -1", Compare::Exact)],
                "set" => &[("SMEMBERS", Compare::Unordered)],
                "zset" => &[("ZRANGE 0 -1 WITHSCORES", Compare::Doubles)],
                "stream" => &[("XRANGE - +", Compare::Exact), ("XLEN", Compare::Exact)],
                _ => &[],
            };
            let always = [("TYPE", Compare::Exact), ("PTTL", Compare::Within(1_000))];
            for (question, compare) in always.iter().chain(questions) {
                let mut args: Vec<Vec<u8>> = question.split(' ').map(|word| word.as_bytes().to_vec()).collect();
                args.insert(1, key.as_bytes().to_vec());
                if let Some(found) = self.ask(&args, *compare)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    fn kind(&mut self, key: &str) -> Result<String> {
        let reply = self.theirs.run("", &[b"TYPE".to_vec(), key.as_bytes().to_vec()])?;
        Ok(match one(reply) {
            Reply::Status(kind) => String::from_utf8_lossy(&kind).into_owned(),
            _ => String::new(),
        })
    }
}

fn one(replies: Vec<Reply>) -> Reply {
    replies.into_iter().next().unwrap_or(Reply::NullArray)
}

fn compare_of(args: &[Vec<u8>]) -> Compare {
    let named = |template: &&Template| args.first().is_some_and(|name| name == template.name.as_bytes());
    TEMPLATES.iter().find(named).map_or(Compare::Exact, |template| template.compare)
}

/// Whether two replies mean the same.
fn same(compare: Compare, ours: &Reply, theirs: &Reply) -> bool {
    if let (Reply::Error(ours), Reply::Error(theirs)) = (ours, theirs) {
        return ours.to_string().trim_end() == theirs.to_string().trim_end();
    }
    match (compare, ours, theirs) {
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
                    ours_at == theirs_at && sorted(ours, group) == sorted(theirs, group)
                }
                _ => false,
            }
        }
        (Compare::Doubles, Reply::Array(ours), Reply::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| same(compare, ours, theirs))
        }
        (Compare::Pending, Reply::Array(ours), Reply::Array(theirs)) => {
            let untimed = |rows: &[Reply]| rows.iter().map(without_time).collect::<Vec<_>>();
            untimed(ours) == untimed(theirs)
        }
        (Compare::Doubles, Reply::Bulk(ours), Reply::Bulk(theirs)) => {
            ours == theirs || parse_double(ours).is_some_and(|ours| Some(ours) == parse_double(theirs))
        }
        (_, Reply::Null | Reply::NullArray, Reply::Null | Reply::NullArray) => true,
        _ => ours == theirs,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::EngineDoor;

    #[test]
    fn replies_compare_as_their_command_wants() {
        let array = |items: &[&str]| Reply::Array(items.iter().map(Reply::bulk).collect());
        assert!(same(Compare::Unordered, &array(&["a", "b"]), &array(&["b", "a"])));
        assert!(!same(Compare::Exact, &array(&["a", "b"]), &array(&["b", "a"])));
        assert!(!same(Compare::UnorderedPairs, &array(&["a", "1", "b", "2"]), &array(&["a", "2", "b", "1"])));
        assert!(same(Compare::Doubles, &Reply::bulk("0.1"), &Reply::bulk("0.10000000000000001")));
        assert!(!same(Compare::Doubles, &Reply::bulk("0.1"), &Reply::bulk("0.2")));
        assert!(same(Compare::Within(1), &Reply::Integer(9), &Reply::Integer(10)));
        assert!(!same(Compare::Within(1), &Reply::Integer(-1), &Reply::Integer(0)));
    }

    #[test]
    fn the_engine_agrees_with_itself() {
        let (mut ours, mut theirs) = (EngineDoor::default(), EngineDoor::default());
        let mut pair = Pair { ours: &mut ours, theirs: &mut theirs };
        let mut steps = sequence(1, 500, Version(7, 0));
        // Both follow one clock, which no pause needs to move.
        for step in &mut steps {
            step.pause_ms = 0;
        }
        let found = pair.run(&steps).unwrap();
        assert!(found.is_none(), "{}", found.unwrap());
    }
}
