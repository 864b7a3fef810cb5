//! What a database should be: the engine on keys in memory, and nothing else.
//!
//! A model has no log, no store and no recovery. It is made again from its commands whenever a crash has cut them short, which
//! is what makes it a judge: whatever a database has forgotten, or remembers too well, is not what its commands say.

use std::collections::BTreeSet;

use dormouse_engine::{Client, ClientId, Door, Grant, Hub, Keyspace, Moment, Nothing, Parts, Patient, Stop, Txn, find};
use dormouse_proto::Reply;
use dormouse_testkit::door::as_resp2;
use dormouse_testkit::reply_text;

/// One command.
pub type Words = Vec<Vec<u8>>;

/// See the module's text.
#[derive(Default)]
pub struct Model {
    space: Keyspace,
    hub: Hub,
    seq: u64,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Model").field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl Model {
    /// An empty database.
    pub fn new(entropy: fn(&mut [u8])) -> Self {
        let mut hub = Hub::default();
        hub.entropy = Some(entropy);
        Self { hub, ..Self::default() }
    }

    /// Runs commands as one, and shows each of their replies. What would wait gives up.
    pub fn run(&mut self, commands: &[Words], together: bool, moment: Moment) -> Vec<Reply> {
        self.attempt(commands, together, moment, true)
    }

    /// What it would answer, without doing it.
    pub fn would(&mut self, commands: &[Words], together: bool, moment: Moment) -> Vec<Reply> {
        self.attempt(commands, together, moment, false)
    }

    fn attempt(&mut self, commands: &[Words], together: bool, moment: Moment, for_good: bool) -> Vec<Reply> {
        self.seq += 1;
        let mut client = Client::new(ClientId(1), Door::Resp, Grant::Full);
        let parts = Parts {
            space: &mut self.space,
            source: &Nothing,
            hub: &mut self.hub,
            client: &mut client,
            watchdog: &Patient,
            moment,
            seq: self.seq,
        };
        let mut txn = Txn::begin(parts, !for_good || together);
        // So that a walk meets no dead key; in a database that is housekeeping's part.
        while txn.reap(usize::MAX).more {}
        if together {
            txn.forbid_blocking();
        }
        let mut replies = Vec::new();
        for command in commands {
            let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            let outcome = match find(&args) {
                Ok(found) => txn.run(found.command, &args),
                Err(error) => Err(error.into()),
            };
            replies.push(match outcome {
                Ok(reply) => reply,
                Err(Stop::Error(error)) => error.into(),
                Err(Stop::Block(block)) => block.on_timeout,
                Err(Stop::Aborted | Stop::Unfinished(_)) => Reply::status("neither may happen here"),
            });
        }
        if for_good {
            txn.finish();
        } else {
            txn.rollback();
        }
        replies.iter().flat_map(as_resp2).collect()
    }
}

/// Everything a database shows, line by line: what two of them are compared by. `ask` answers one command.
pub fn census(ask: &mut dyn FnMut(&[&[u8]]) -> Option<Reply>) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    let names: BTreeSet<Vec<u8>> = strings(&ask(&[b"KEYS", b"*"])?).into_iter().collect();
    for key in &names {
        let key = key.as_slice();
        let kind = strings(&ask(&[b"TYPE", key])?).concat();
        let deadline = reply_text::text(&ask(&[b"PEXPIRETIME", key])?);
        let mut line = format!("{} {} dies {deadline}", reply_text::quote(key), String::from_utf8_lossy(&kind));
        let (args, is_ordered): (Vec<&[u8]>, bool) = match kind.as_slice() {
            b"string" => (vec![b"GET", key], true),
            b"list" => (vec![b"LRANGE", key, b"0", b"-1"], true),
            b"set" => (vec![b"SMEMBERS", key], false),
            b"zset" => (vec![b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"], true),
            b"hash" => (vec![b"HKEYS", key], false),
            b"stream" => (vec![b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"], true),
            b"ReJSON-RL" => (vec![b"JSON.GET", key], true),
            b"array" => (vec![b"ARSCAN", key, b"0", b"18446744073709551614"], true),
            _ => (vec![b"DUMP", key], true),
        };
        let value = ask(&args)?;
        if kind == b"hash" {
            for field in strings(&value).into_iter().collect::<BTreeSet<_>>() {
                let held = ask(&[b"HGET", key, &field])?;
                let dies = ask(&[b"HPEXPIRETIME", key, b"FIELDS", b"1", &field])?;
                let texts = [reply_text::quote(&field), reply_text::text(&held), reply_text::text(&dies)];
                line = format!("{line}\n  {}", texts.join(" "));
            }
        } else {
            let mut texts: Vec<String> = match &value {
                Reply::Array(items) => items.iter().map(reply_text::text).collect(),
                other => vec![reply_text::text(other)],
            };
            if !is_ordered {
                texts.sort();
            }
            line = format!("{line} {}", texts.join(" "));
        }
        lines.push(line);
    }
    for (args, name) in [(&[b"FUNCTION" as &[u8], b"LIST", b"WITHCODE"][..], "library"), (&[b"ACL", b"LIST"], "user")] {
        if let Reply::Array(items) = ask(args)? {
            let mut texts: Vec<String> =
                items.iter().map(|item| format!("{name} {}", reply_text::text(item))).collect();
            texts.sort();
            lines.extend(texts);
        }
    }
    Some(lines)
}

fn strings(reply: &Reply) -> Vec<Vec<u8>> {
    match reply {
        Reply::Bulk(text) | Reply::Status(text) => vec![text.to_vec()],
        Reply::Array(items) => items.iter().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}
