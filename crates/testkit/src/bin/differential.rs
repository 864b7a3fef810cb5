//! Runs random commands on Dormouse and on a real Redis until they disagree.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use dormouse_testkit::differential::{Pair, json_sequence, sequence};
use dormouse_testkit::door::{Door, RealServer, RespDoor, SessionDoor};

/// Runs random commands on Dormouse and on a real Redis, and shows the shortest sequence where they disagree.
#[derive(Parser)]
struct Options {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Commands for each seed.
    #[arg(long, default_value_t = 1_000)]
    commands: usize,
    /// Goes on after a disagreement.
    #[arg(long)]
    all: bool,
    /// A module for that server: with `rejson.so`, JSON is compared and nothing else.
    #[arg(long)]
    module: Option<PathBuf>,
    /// A redis-server or valkey-server binary to start; one on the search path otherwise.
    #[arg(long)]
    against: Option<PathBuf>,
    /// A Dormouse that speaks RESP, host:port, instead of sessions in this process. Its database is emptied.
    #[arg(long)]
    resp: Option<String>,
    /// Its token.
    #[arg(long, env = "DORMOUSE_TOKEN")]
    token: Option<String>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let binary = options.against.or_else(RealServer::installed).context("no redis-server: name one with --against")?;
    let server = RealServer::start_with(&binary, options.module.as_deref())?;
    let mut theirs = server.door()?;
    let mut ours: Box<dyn Door> = match &options.resp {
        Some(address) => Box::new(RespDoor::dormouse(address, options.token.as_deref())?),
        None => Box::new(SessionDoor::open()?),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} and {}", ours.name(), theirs.name())?;
    let version = theirs.abilities().version;
    let mut failed = false;
    for seed in options.seed..options.seed.saturating_add(options.seeds) {
        let steps = match options.module {
            Some(_) => json_sequence(seed, options.commands),
            None => sequence(seed, options.commands, version, true),
        };
        let found = Pair { ours: &mut *ours, theirs: &mut theirs }.run_and_shrink(&steps)?;
        let Some(found) = found else { continue };
        failed = true;
        writeln!(out, "seed {seed}: they disagree after {} steps\n{found}", found.steps.len())?;
        if !options.all {
            break;
        }
    }
    if !failed {
        writeln!(out, "{} seeds of {} commands: no disagreement", options.seeds, options.commands)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
