//! The engine in this process, with a clock that moves when told.
//!
//! It runs on the engine's own bench, so that every command of every page is also rolled back and replayed. There is no
//! layer above it: nothing is queued after `MULTI`, nobody else is connected, and a command that blocks gets its answer for
//! the case that nothing came, as time passes at once.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use dormouse_engine::testing::Bench;
use dormouse_engine::{Block, Run, Stop};
use dormouse_proto::Reply;

use super::{Abilities, Door, as_resp2, row};
use crate::page::Version;
use crate::server::Server;

/// See the module's text.
#[derive(Debug)]
pub struct EngineDoor {
    bench: Bench,
    replies: VecDeque<Reply>,
}

impl Default for EngineDoor {
    fn default() -> Self {
        Self { bench: Bench::new(), replies: VecDeque::new() }
    }
}

impl Door for EngineDoor {
    fn name(&self) -> &'static str {
        "the engine"
    }

    fn abilities(&self) -> Abilities {
        Abilities { server: Server::Dormouse, connection: false, clients: false, version: Version::NEWEST, json: true }
    }

    /// Not what the layer above runs.
    fn can_run(&self, args: &[Vec<u8>]) -> bool {
        row(args).is_none_or(|row| !matches!(row.run, Run::Session(_)))
    }

    fn reset(&mut self) -> Result<()> {
        let now_us = self.bench.now_us;
        *self = Self::default();
        self.bench.now_us = now_us;
        Ok(())
    }

    fn send(&mut self, _: &str, args: &[Vec<u8>]) -> Result<()> {
        let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let bench = &mut self.bench;
        let attempt = catch_unwind(AssertUnwindSafe(|| bench.attempt(&words))).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            anyhow!("panicked: {}", text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?"))
        })?;
        let reply = match attempt {
            Ok(reply) => reply,
            Err(Stop::Error(error)) => Reply::Error(error),
            Err(Stop::Block(Block { timeout_ms: Some(ms), on_timeout, .. })) => {
                self.bench.pass_ms(ms);
                on_timeout
            }
            Err(Stop::Block(_)) => bail!("would wait for ever"),
            Err(Stop::Aborted | Stop::Unfinished(_)) => bail!("was aborted"),
        };
        self.replies.extend(as_resp2(&reply));
        Ok(())
    }

    fn receive(&mut self, _: &str, _: Duration) -> Result<Option<Reply>> {
        Ok(self.replies.pop_front())
    }

    fn pass(&mut self, ms: u64) {
        self.bench.pass_ms(ms);
    }

    fn follow_clock(&mut self, now_ms: u64) {
        self.bench.now_us = self.bench.now_us.max(now_ms * 1_000);
    }

    fn run(&mut self, client: &str, args: &[Vec<u8>]) -> Result<Vec<Reply>> {
        self.send(client, args)?;
        Ok(self.replies.drain(..).collect())
    }
}
