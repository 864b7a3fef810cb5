//! What `dormouse import` and `export` do: keys of a Redis or Valkey into a database of the running server, and back.
//!
//! The server reads, checks and decides; here a file is opened, sent through the admin socket, and people are shown how far it
//! got. Nothing is imported unless all of it is, so whatever fails here is tried again from the beginning.

use std::io::{self, Read, Write};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use http::Method;
use parking_lot::Mutex;
use serde_json::Value;

use crate::cli::{Of, Upload, download, open_input, progress, read, runtime, segment, send};
use crate::live::{self, Address, Live};

/// Keys to be brought here.
#[derive(Args, Clone, Debug)]
pub(crate) struct Import {
    #[command(flatten)]
    of: Of,
    /// RDB file of Redis or Valkey, "-" for standard input, or a running server: redis://[[user]:password@]host[:port][/index]
    source: String,
    /// Name or UUID of the database to put the keys into
    #[arg(long, value_name = "NAME", default_value = dormouse_database::DEFAULT_NAME)]
    into: String,
    /// Which of the numbered databases in the file is meant [default: the only one that has keys]
    #[arg(long, value_name = "N")]
    index: Option<u64>,
    /// Remove the keys and functions that are there; without it the database must have no keys
    #[arg(long)]
    replace: bool,
    /// Leave out values of modules that are not known, instead of refusing the file
    #[arg(long)]
    skip_modules: bool,
}

/// A database to be written for Redis.
#[derive(Args, Clone, Debug)]
pub(crate) struct Export {
    #[command(flatten)]
    of: Of,
    /// The database's name or UUID
    #[arg(default_value = dormouse_database::DEFAULT_NAME)]
    name: String,
    /// RDB file to write, or "-" for standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    rdb: String,
    /// Version of the format: 10 is for Redis 7.0 and later and for Valkey, 12 for 7.4, 14 for 8.8
    ///
    /// 12 has a place for deadlines of hash fields, and for JSON where Redis has its type.
    #[arg(long, value_name = "N", default_value_t = dormouse_database::RDB_VERSIONS[0])]
    rdb_version: u16,
}

/// An RDB file, from the server.
pub(crate) fn export(asked: &Export) -> anyhow::Result<()> {
    let path = format!("/v2/dormouse/export/{}?version={}", segment(&asked.name)?, asked.rdb_version);
    download(&asked.of.data, &path, &asked.rdb, "exporting")
}

impl Import {
    fn path(&self) -> anyhow::Result<String> {
        let mut words = Vec::new();
        words.extend(self.index.map(|index| format!("index={index}")));
        words.extend(self.replace.then(|| "replace".to_owned()));
        words.extend(self.skip_modules.then(|| "skip-modules".to_owned()));
        Ok(format!("/v2/dormouse/import/{}?{}", segment(&self.into)?, words.join("&")))
    }
}

/// An RDB file, into a database.
pub(crate) fn import(asked: &Import) -> anyhow::Result<()> {
    let path = asked.path()?;
    let failure = Arc::default();
    let (input, bar): (Box<dyn Read + Send>, _) = if live::is_address(&asked.source) {
        if asked.index.is_some() {
            bail!("--index is for files; of a server the address names the database: redis://host/3");
        }
        let address = Address::parse(&asked.source)?;
        let bar = progress("importing", None)?;
        (Box::new(Told { input: Live::connect(&address, bar.clone())?, failure: Arc::clone(&failure) }), bar)
    } else {
        let (input, bytes) = open_input(&asked.source)?;
        (input, progress("importing", bytes)?)
    };
    let upload = Upload { input, bar: bar.clone() };
    let exchange = async { read(send(&asked.of.data, Method::POST, &path, upload).await?).await };
    let answer = runtime()?.block_on(exchange);
    if let Some(failure) = failure.lock().take() {
        bail!("{failure}. Nothing was imported.");
    }
    let answer = answer?;
    bar.finish();
    io::stdout().write_all(told(&answer, &asked.into).as_bytes()).context("cannot print")
}

/// Keeps the words of what went wrong: a request that breaks off does not carry them.
struct Told<R> {
    input: R,
    failure: Arc<Mutex<Option<String>>>,
}

impl<R: Read> Read for Told<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.input.read(into).inspect_err(|error| *self.failure.lock() = Some(error.to_string()))
    }
}

/// What was imported, and what was not.
fn told(answer: &Value, into: &str) -> String {
    let count = |name: &str| answer[name].as_u64().unwrap_or(0);
    let mut lines = vec![format!("{} keys are in {into} now", count("keys"))];
    let others = [
        ("libraries", "libraries of functions"),
        ("expired", "keys left out that were dead"),
        ("empty", "keys left out that had no elements"),
        ("skipped", "keys left out that were values of unknown modules"),
    ];
    lines.extend(
        others.iter().filter(|(name, _)| count(name) > 0).map(|(name, what)| format!("{} {what}", count(name))),
    );
    let modules: Vec<&str> = answer["modules"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !modules.is_empty() {
        lines.push(format!("not imported: what is kept by {}", modules.join(", ")));
    }
    lines.join("\n") + "\n"
}
