//! Runs the conformance pages against running servers, and against a real Redis.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use dormouse_testkit::door::{Door, EngineDoor, RealServer, RespDoor, RestDoor, SessionDoor};
use dormouse_testkit::page::Page;
use dormouse_testkit::run;

/// Runs the conformance pages against the engine and whatever else is named.
#[derive(Parser)]
struct Options {
    /// The folder with the pages.
    #[arg(long, default_value = "conformance")]
    pages: PathBuf,
    /// Only pages whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// A Dormouse that speaks RESP, host:port. Its database is emptied.
    #[arg(long)]
    resp: Option<String>,
    /// A Dormouse that speaks REST, host:port. Its database is emptied.
    #[arg(long)]
    rest: Option<String>,
    /// The token of both.
    #[arg(long, env = "DORMOUSE_TOKEN")]
    token: Option<String>,
    /// A module for that server: with `rejson.so`, JSON is compared, too.
    #[arg(long)]
    module: Option<PathBuf>,
    /// A redis-server or valkey-server binary to start.
    #[arg(long)]
    redis: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let mut pages = Page::load_all(&options.pages).context("reading the pages")?;
    if let Some(only) = &options.only {
        pages.retain(|page| page.name.contains(only.as_str()));
    }
    let server = options.redis.as_deref();
    let server = server.map(|binary| RealServer::start_with(binary, options.module.as_deref())).transpose()?;
    let mut doors: Vec<Box<dyn Door>> = vec![Box::new(EngineDoor::default()), Box::new(SessionDoor::open()?)];
    if let Some(address) = &options.resp {
        doors.push(Box::new(RespDoor::dormouse(address, options.token.as_deref())?));
    }
    if let Some(address) = &options.rest {
        let token = options.token.as_deref().context("REST needs --token")?;
        doors.push(Box::new(RestDoor::dormouse(address, token)?));
    }
    if let Some(server) = &server {
        doors.push(Box::new(server.door()?));
    }
    let mut out = std::io::stdout().lock();
    let mut failed = false;
    for door in &mut doors {
        let report = run::pages(&mut **door, &pages)?;
        writeln!(out, "== {}\n{report}\n", door.name())?;
        failed |= !report.failures.is_empty();
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
