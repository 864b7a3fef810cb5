//! Random commands on Dormouse and on a real Redis: the same replies, the same keys in the end.
//!
//! A sequence is drawn from a seed. Each command goes to both; their replies are compared as its [template](templates)
//! says, and now and then the whole content is. Where they differ and no [deliberate difference](differences) explains it,
//! steps are taken out of the sequence for as long as it still fails, and what is left is the report.
//!
//! What is drawn by chance is judged by what it was drawn from, and payloads by restoring each server's on the other.

mod compare;
mod differences;
mod draw;
mod json;
mod templates;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use dormouse_proto::Reply;

use crate::door::Door;
use crate::page::Version;
use crate::reply_text;
use crate::server::Server;
use compare::Urn;
pub use compare::{alike, compare_of, same, subject};
pub use differences::{DIFFERENCES, Difference};
pub use draw::{Act, Draw, MAIN, OTHER, Step, WAITER, keys};
pub use json::{TEMPLATES as JSON_TEMPLATES, json_sequence};
pub use templates::{Compare, FUNCTIONS, LIBRARIES, NOT_DRAWN, SCRIPTS, TEMPLATES, Template};

/// The content is compared after so many steps, and at the end.
const CONTENT_EVERY: usize = 100;
/// How long a reply may be on its way to a client that did not ask just now.
const DELIVERY: Duration = Duration::from_millis(2);
/// How much longer, once the other server has sent its own.
const LATE: Duration = Duration::from_millis(500);
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
            match &step.act {
                Act::Runs(args) => writeln!(out, "{}> {}", step.client, reply_text::command(args))?,
                Act::Waits(args) => writeln!(out, "{}> {} (may wait)", step.client, reply_text::command(args))?,
                Act::Leaves => writeln!(out, "{} leaves", step.client)?,
            }
            if step.pause_ms > 0 {
                writeln!(out, "@ +{}ms", step.pause_ms)?;
            }
        }
        writeln!(out, "{}\n--- Dormouse\n{}\n--- Redis\n{}", self.question, self.ours, self.theirs)
    }
}

/// The sequence that a seed names, for servers that both know `version`; with several clients if they stay connected.
pub fn sequence(seed: u64, steps: usize, version: Version, connected: bool) -> Vec<Step> {
    Draw::new(seed, version, connected, now_ms()).sequence(steps)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// What was asked, our answer, and theirs.
type Found = Option<(String, String, String)>;

/// What happens in a run besides.
#[derive(Default)]
struct State {
    /// Commands since `MULTI`, of the main client.
    queued: Option<Vec<Vec<Vec<u8>>>>,
    /// What the waiter waits for.
    waiting: Option<Vec<Vec<u8>>>,
    since_content: usize,
    /// What others ran since the last transaction.
    others: Vec<Vec<Vec<u8>>>,
}

impl Pair<'_> {
    /// Runs a sequence on both from empty databases. The disagreement has all steps up to where it showed.
    pub fn run(&mut self, steps: &[Step]) -> Result<Option<Disagreement>> {
        self.ours.reset()?;
        self.theirs.reset()?;
        let mut state = State::default();
        for (at, step) in steps.iter().enumerate() {
            let mut found = self.step(step, &mut state)?;
            if step.pause_ms > 0 {
                self.theirs.pass(step.pause_ms);
                self.ours.follow_clock(now_ms());
            }
            if found.is_none() && state.waiting.is_some() {
                found = self.hear(&mut state)?;
            }
            state.since_content += 1;
            if found.is_none()
                && state.queued.is_none()
                && (at + 1 == steps.len() || state.since_content >= CONTENT_EVERY)
            {
                state.since_content = 0;
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

    fn step(&mut self, step: &Step, state: &mut State) -> Result<Found> {
        match &step.act {
            Act::Runs(args) if step.client == MAIN => self.main(args, state),
            Act::Runs(args) => {
                state.others.push(args.clone());
                self.ask(step.client, args, compare_of(args))
            }
            // Only in a sequence made shorter can someone wait twice.
            Act::Waits(_) if state.waiting.is_some() => Ok(None),
            Act::Waits(args) => {
                self.follow_clocks();
                self.ours.send(step.client, args)?;
                self.theirs.send(step.client, args)?;
                state.waiting = Some(args.clone());
                self.round_trip()
            }
            Act::Leaves => {
                state.waiting = None;
                self.ours.leave(step.client);
                self.theirs.leave(step.client);
                self.round_trip()
            }
        }
    }

    /// What another client sent before is done when this is.
    fn round_trip(&mut self) -> Result<Found> {
        self.ask(OTHER, &[b"PING".to_vec()], Compare::Exact)
    }

    /// The main client, which queues.
    fn main(&mut self, args: &[Vec<u8>], state: &mut State) -> Result<Found> {
        let name = args[0].as_slice();
        if name == b"EXEC" {
            return self.exec(state);
        }
        if name == b"DISCARD" {
            state.queued = None;
        }
        if let Some(queue) = &mut state.queued {
            // Only in a sequence made shorter do these stand here.
            if name == b"MULTI" || name == b"WATCH" {
                return Ok(None);
            }
            let (ours, theirs) = self.both(MAIN, args)?;
            if ours == Reply::status("QUEUED") {
                queue.push(args.to_vec());
            }
            let found = self.judge(args, Compare::Exact, &ours, &theirs);
            if found.is_none() && matches!(theirs, Reply::Error(_)) != matches!(ours, Reply::Error(_)) {
                // Only one of them would run the transaction.
                state.queued = None;
                self.both(MAIN, &[b"DISCARD".to_vec()])?;
            }
            return Ok(found);
        }
        if name == b"MULTI" {
            state.queued = Some(Vec::new());
        }
        match compare_of(args) {
            Compare::Chance => self.draw(args),
            Compare::Payload => self.exchange(args),
            compare => self.ask(MAIN, args, compare),
        }
    }

    /// Each reply of a transaction is compared as its command wants.
    fn exec(&mut self, state: &mut State) -> Result<Found> {
        let exec = [b"EXEC".to_vec()];
        let queue = state.queued.take().unwrap_or_default();
        let (ours, theirs) = self.both(MAIN, &exec)?;
        let others = std::mem::take(&mut state.others);
        let server = self.theirs.abilities().server;
        let ran_on_one = matches!(ours, Reply::Array(_)) != matches!(theirs, Reply::Array(_));
        if ran_on_one && others.iter().any(|args| differences::watched(server, args)) {
            let keys: Vec<Vec<u8>> = queue.iter().flat_map(|args| named(args)).cloned().collect();
            self.remove(keys.iter())?;
            return Ok(None);
        }
        let (Reply::Array(ours), Reply::Array(theirs)) = (&ours, &theirs) else {
            return Ok(self.judge(&exec, Compare::Exact, &ours, &theirs));
        };
        if ours.len() != theirs.len() || ours.len() != queue.len() {
            let text = |items: &[Reply]| reply_text::text(&Reply::Array(items.to_vec()));
            return Ok(Some(("? EXEC".to_owned(), text(ours), text(theirs))));
        }
        // What a deliberate difference has left behind: whatever the rest of the transaction did with it says nothing.
        let mut apart: Vec<Vec<u8>> = Vec::new();
        for (args, (ours, theirs)) in queue.iter().zip(ours.iter().zip(theirs)) {
            let compare = compare_of(args);
            let ours = self.theirs.abilities().server.says(ours);
            let is_apart = named(args).any(|key| apart.contains(key));
            let loose = matches!(compare, Compare::Chance | Compare::Payload);
            let fine = same(compare, &ours, theirs) || loose && alike(&ours, theirs);
            if !is_apart && fine {
                continue;
            }
            if !is_apart && let Some(found) = self.judge(subject(args), compare, &ours, theirs) {
                return Ok(Some(found));
            }
            apart.extend(named(args).cloned());
        }
        self.remove(apart.iter())?;
        Ok(None)
    }

    /// Removes keys from both.
    fn remove<'a>(&mut self, keys: impl Iterator<Item = &'a Vec<u8>>) -> Result<()> {
        let mut delete = vec![b"DEL".to_vec()];
        delete.extend(keys.cloned());
        if delete.len() > 1 {
            self.ours.run(MAIN, &delete)?;
            self.theirs.run(MAIN, &delete)?;
        }
        Ok(())
    }

    /// Whether the waiter has heard the same from both, or nothing.
    fn hear(&mut self, state: &mut State) -> Result<Found> {
        let Some(args) = &state.waiting else { return Ok(None) };
        let mut theirs = self.theirs.receive(WAITER, DELIVERY)?;
        self.follow_clocks();
        let mut ours = self.ours.receive(WAITER, DELIVERY)?;
        // On a busy machine one of them may be late.
        if ours.is_some() && theirs.is_none() {
            theirs = self.theirs.receive(WAITER, LATE)?;
        } else if ours.is_none() && theirs.is_some() {
            ours = self.ours.receive(WAITER, LATE)?;
        }
        let question = || format!("{WAITER} hears, after {}", reply_text::command(args));
        let nothing = || "(nothing)".to_owned();
        match (ours, theirs) {
            (None, None) => Ok(None),
            (Some(ours), Some(theirs)) => {
                let args = state.waiting.take().unwrap_or_default();
                self.settle(&args, compare_of(&args), &ours, &theirs)
            }
            (ours, theirs) => {
                let text = |reply: Option<Reply>| reply.map_or_else(nothing, |reply| reply_text::text(&reply));
                Ok(Some((question(), text(ours), text(theirs))))
            }
        }
    }

    /// Draws by chance must be of one shape, and from what is there. What was popped is then made the same.
    fn draw(&mut self, args: &[Vec<u8>]) -> Result<Found> {
        let question = Urn::question(args);
        let (ours_has, theirs_has) = self.both(MAIN, &question)?;
        let (ours, theirs) = self.both(MAIN, args)?;
        let gives = Urn::new(args, &ours_has).gives(&ours) && Urn::new(args, &theirs_has).gives(&theirs);
        if !alike(&ours, &theirs) || !gives {
            return Ok(Some(shown(args, &ours, &theirs)));
        }
        if args[0] != b"SPOP" {
            return Ok(None);
        }
        let (ours, theirs) = (members(&ours), members(&theirs));
        let differ = |some: &[Vec<u8>], others: &[Vec<u8>]| -> Vec<Vec<u8>> {
            some.iter().filter(|member| !others.contains(member)).cloned().collect()
        };
        for (name, members) in [("SADD", differ(&theirs, &ours)), ("SREM", differ(&ours, &theirs))] {
            if !members.is_empty() {
                let head = [name.as_bytes().to_vec(), args[1].clone()];
                self.theirs.run(MAIN, &[&head[..], &members].concat())?;
            }
        }
        Ok(None)
    }

    /// Restores each server's payload on the other, in place. That they are the same then, the content tells.
    fn exchange(&mut self, args: &[Vec<u8>]) -> Result<Found> {
        let (ours, theirs) = self.both(MAIN, args)?;
        let (Reply::Bulk(our_payload), Reply::Bulk(their_payload)) = (&ours, &theirs) else {
            return Ok(self.judge(args, Compare::Exact, &ours, &theirs));
        };
        let restore = |payload: &[u8]| {
            [b"RESTORE".to_vec(), args[1].clone(), b"0".to_vec(), payload.to_vec(), b"REPLACE".to_vec()]
        };
        // Valkey's payloads are of a version of its own.
        let is_valkey = self.theirs.abilities().server == Server::Valkey;
        let restored_here = one(self.ours.run(MAIN, &restore(if is_valkey { our_payload } else { their_payload }))?);
        let restored_there = one(self.theirs.run(MAIN, &restore(our_payload))?);
        if restored_here == Reply::OK && restored_there == Reply::OK {
            return self.content_of(&args[1]);
        }
        Ok(Some(shown(args, &restored_here, &restored_there)))
    }

    fn follow_clocks(&mut self) {
        let now_ms = now_ms();
        self.ours.follow_clock(now_ms);
        self.theirs.follow_clock(now_ms);
    }

    /// Asks both the same; ours is put in the other's words.
    fn both(&mut self, client: &str, args: &[Vec<u8>]) -> Result<(Reply, Reply)> {
        self.follow_clocks();
        let shown = || reply_text::command(args);
        let ours = one(self.ours.run(client, args).with_context(|| format!("Dormouse, at {}", shown()))?);
        let theirs = one(self.theirs.run(client, args).with_context(|| format!("Redis, at {}", shown()))?);
        Ok((self.theirs.abilities().server.says(&ours), theirs))
    }

    /// Asks both the same, and compares what they say.
    fn ask(&mut self, client: &str, args: &[Vec<u8>], compare: Compare) -> Result<Found> {
        let (ours, theirs) = self.both(client, args)?;
        self.settle(args, compare, &ours, &theirs)
    }

    fn judge(&self, args: &[Vec<u8>], compare: Compare, ours: &Reply, theirs: &Reply) -> Found {
        let server = self.theirs.abilities().server;
        let fine = same(compare, ours, theirs) || differences::explained(server, args, ours, theirs).is_some();
        (!fine).then(|| shown(args, ours, theirs))
    }

    /// Compares, and takes away what a deliberate difference may have left behind.
    fn settle(&mut self, args: &[Vec<u8>], compare: Compare, ours: &Reply, theirs: &Reply) -> Result<Found> {
        let ours = &self.theirs.abilities().server.says(ours);
        if same(compare, ours, theirs) {
            return Ok(None);
        }
        let found = self.judge(subject(args), compare, ours, theirs);
        if found.is_none() {
            self.remove(named(args))?;
        }
        Ok(found)
    }

    /// Compares type, value and expiry of every key.
    fn content(&mut self) -> Result<Found> {
        for key in keys().chain(json::KEYS.iter().copied()) {
            if let Some(found) = self.content_of(key.as_bytes())? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn content_of(&mut self, key: &[u8]) -> Result<Found> {
        let questions: &[(&str, Compare)] = match self.kind(key)?.as_str() {
            "string" => &[("GET", Compare::Exact)],
            "hash" => &[("HGETALL", Compare::UnorderedPairs)],
            "list" => &[("LRANGE 0 -1", Compare::Exact)],
            "set" => &[("SMEMBERS", Compare::Unordered)],
            "zset" => &[("ZRANGE 0 -1 WITHSCORES", Compare::Doubles)],
            "ReJSON-RL" => &[("JSON.GET .", Compare::Exact)],
            "stream" => &[("XRANGE - +", Compare::Exact), ("XLEN", Compare::Exact)],
            _ => &[],
        };
        let always = [("TYPE", Compare::Exact), ("PTTL", Compare::Within(1_000))];
        for (question, compare) in always.iter().chain(questions) {
            let mut args: Vec<Vec<u8>> = question.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            args.insert(1, key.to_vec());
            if let Some(found) = self.ask(MAIN, &args, *compare)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn kind(&mut self, key: &[u8]) -> Result<String> {
        let reply = self.theirs.run(MAIN, &[b"TYPE".to_vec(), key.to_vec()])?;
        Ok(match one(reply) {
            Reply::Status(kind) => String::from_utf8_lossy(&kind).into_owned(),
            _ => String::new(),
        })
    }
}

/// The keys that a command names.
fn named(args: &[Vec<u8>]) -> impl Iterator<Item = &Vec<u8>> {
    args.iter()
        .skip(1)
        .filter(|arg| keys().chain(json::KEYS.iter().copied()).any(|key| key.as_bytes() == arg.as_slice()))
}

fn one(replies: Vec<Reply>) -> Reply {
    replies.into_iter().next().unwrap_or(Reply::NullArray)
}

fn shown(args: &[Vec<u8>], ours: &Reply, theirs: &Reply) -> (String, String, String) {
    (format!("? {}", reply_text::command(args)), reply_text::text(ours), reply_text::text(theirs))
}

/// One member, or those of an array.
fn members(reply: &Reply) -> Vec<Vec<u8>> {
    match reply {
        Reply::Bulk(member) => vec![member.to_vec()],
        Reply::Array(items) => items.iter().flat_map(members).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::{EngineDoor, SessionDoor};

    #[test]
    fn dormouse_agrees_with_itself() {
        let mut engine = EngineDoor::default();
        let mut first = SessionDoor::open().unwrap();
        let mut second = SessionDoor::open().unwrap();
        let agree = |ours: &mut dyn Door, theirs: &mut dyn Door, connected: bool| {
            let mut steps = sequence(1, 500, Version(7, 0), connected);
            // Both follow one clock, which no pause needs to move.
            for step in &mut steps {
                step.pause_ms = 0;
            }
            let found = Pair { ours, theirs }.run(&steps).unwrap();
            assert!(found.is_none(), "{}", found.unwrap());
        };
        agree(&mut engine, &mut first, false);
        agree(&mut second, &mut first, true);
    }
}
