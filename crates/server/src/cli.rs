//! What `dormouse db`, `backup` and `restore` do: they ask the running server through its admin socket.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use clap::{Args, Subcommand};
use dormouse_database::Credentials;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::net::UnixStream;

use crate::admin;
use crate::welcome;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Bytes of a file that are sent at once.
const PIECE_BYTES: usize = 256 << 10;

/// Which server is meant.
#[derive(Args, Clone, Debug)]
pub(crate) struct Of {
    /// Data directory of the running server
    #[arg(long, value_name = "DIR", env = "DORMOUSE_DATA", default_value = crate::config::DATA_DEFAULT, global = true)]
    pub(crate) data: PathBuf,
}

/// A backup to be taken.
#[derive(Args, Clone, Debug)]
pub(crate) struct Backup {
    #[command(flatten)]
    of: Of,
    /// The database's name or UUID
    #[arg(required_unless_present = "all")]
    name: Option<String>,
    /// Back up all databases, into one file
    #[arg(long, conflicts_with = "name")]
    all: bool,
    /// File to write, or "-" for standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    to: String,
}

/// A backup to be restored.
#[derive(Args, Clone, Debug)]
pub(crate) struct Restore {
    #[command(flatten)]
    of: Of,
    /// Name of the database to make; there must be none of that name
    name: String,
    /// File to read, or "-" for standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    from: String,
    /// Of a backup of several databases, the name of the one that is meant
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
}

/// Databases of a running server.
#[derive(Args, Clone, Debug)]
pub(crate) struct Db {
    #[command(flatten)]
    of: Of,
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    act: Act,
}

#[derive(Clone, Debug, Subcommand)]
enum Act {
    /// Make a database, and print how to connect
    Create {
        /// Letters, digits, '-', '_' and '.'
        name: String,
    },
    /// List all databases
    List,
    /// Show a database, with its tokens
    Show {
        /// Its name or UUID
        name: String,
    },
    /// Give a database another name
    Rename {
        /// Its name or UUID
        name: String,
        /// The new name
        new: String,
    },
    /// Give a database new tokens; whoever uses the old ones is cut off
    RotateTokens {
        /// Its name or UUID
        name: String,
    },
    /// Delete a database and all it holds, for good
    Delete {
        /// Its name or UUID
        name: String,
    },
}

/// A path segment: names that could not be one are refused by the server anyway.
pub(crate) fn segment(name: &str) -> anyhow::Result<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        bail!("there is no database '{name}'");
    }
    Ok(name)
}

/// Does what was asked for.
pub(crate) fn run(db: &Db) -> anyhow::Result<()> {
    let (method, path, body) = match &db.act {
        Act::Create { name } => (Method::POST, "/v2/redis/database".to_owned(), Some(json!({ "database_name": name }))),
        Act::List => (Method::GET, "/v2/redis/databases".to_owned(), None),
        Act::Show { name } => (Method::GET, format!("/v2/redis/database/{}", segment(name)?), None),
        Act::Rename { name, new } => {
            (Method::POST, format!("/v2/redis/rename/{}", segment(name)?), Some(json!({ "name": new })))
        }
        Act::RotateTokens { name } => (Method::POST, format!("/v2/redis/reset-password/{}", segment(name)?), None),
        Act::Delete { name } => (Method::DELETE, format!("/v2/redis/database/{}", segment(name)?), None),
    };
    let answer = ask(&db.of.data, method, &path, body.as_ref())?;
    let text = if db.json { format!("{answer}\n") } else { shown(&db.act, &answer)? };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot print")
}

pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Sends one request to the admin socket of a data directory.
pub(crate) async fn send<B>(data: &Path, method: Method, path: &str, body: B) -> anyhow::Result<Response<Incoming>>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = UnixStream::connect(admin::socket(data)).await.with_context(|| {
        format!("no server runs on {}: start one, or name its directory with --data", data.display())
    })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "dormouse").body(body)?;
    Ok(sender.send_request(request).await?)
}

/// The JSON of an answer. An error of the server is one here.
pub(crate) async fn read(response: Response<Incoming>) -> anyhow::Result<Value> {
    let status = response.status();
    let bytes = response.into_body().collect().await?.to_bytes();
    let value: Value = serde_json::from_slice(&bytes).context("the server's answer is not JSON")?;
    if status.is_success() {
        return Ok(value);
    }
    Err(anyhow!("{}", value["error"].as_str().unwrap_or("the server refused without a reason")))
}

/// Asks for something small.
fn ask(data: &Path, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
    let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let exchange = async { read(send(data, method, path, Full::new(body)).await?).await };
    let answered = runtime()?.block_on(async { tokio::time::timeout(PATIENCE, exchange).await });
    answered.context("the server does not answer")?
}

/// Shows how far a stream has got, to people.
pub(crate) fn progress(what: &'static str, of: Option<u64>) -> anyhow::Result<ProgressBar> {
    if !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let (bar, style) = match of {
        Some(bytes) => (ProgressBar::new(bytes), "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}"),
        None => (ProgressBar::new_spinner(), "{msg} {spinner} {bytes} {bytes_per_sec}"),
    };
    bar.set_style(ProgressStyle::with_template(style)?);
    bar.set_message(what);
    Ok(bar)
}

/// A backup, from the server into a file.
pub(crate) fn backup(asked: &Backup) -> anyhow::Result<()> {
    let path = match &asked.name {
        Some(name) => format!("/v2/dormouse/backup/{}", segment(name)?),
        None => "/v2/dormouse/backups".to_owned(),
    };
    download(&asked.of.data, &path, &asked.to, "backing up")
}

/// What the server streams, into a file.
pub(crate) fn download(data: &Path, path: &str, to: &str, what: &'static str) -> anyhow::Result<()> {
    let bar = progress(what, None)?;
    let exchange = async {
        let response = send(data, Method::GET, path, Full::<Bytes>::default()).await?;
        if !response.status().is_success() {
            return read(response).await.map(drop);
        }
        let mut out = Output::open(to)?;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.context("the server stopped before all of it was there; see its log")?;
            if let Ok(piece) = frame.into_data() {
                out.write.write_all(&piece).with_context(|| format!("cannot write {to}"))?;
                bar.inc(piece.len() as u64);
            }
        }
        out.finish().with_context(|| format!("cannot write {to}"))
    };
    runtime()?.block_on(exchange)?;
    bar.finish();
    Ok(())
}

/// Where a backup goes: a file appears when all of it is there.
struct Output {
    write: Box<dyn Write>,
    file: Option<(File, PathBuf, PathBuf)>,
}

impl Output {
    fn open(to: &str) -> anyhow::Result<Self> {
        if to == "-" {
            if io::stdout().is_terminal() {
                bail!("this is not for a terminal: name a file, or redirect the output");
            }
            return Ok(Self { write: Box::new(io::stdout()), file: None });
        }
        let (path, part) = (PathBuf::from(to), PathBuf::from(format!("{to}.part")));
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let file = opened.with_context(|| format!("cannot write {}", part.display()))?;
        Ok(Self { write: Box::new(file.try_clone()?), file: Some((file, part, path)) })
    }

    fn finish(mut self) -> io::Result<()> {
        self.write.flush()?;
        if let Some((file, part, path)) = self.file {
            file.sync_all()?;
            std::fs::rename(part, path)?;
        }
        Ok(())
    }
}

/// A backup on its way to the server.
pub(crate) struct Upload {
    pub(crate) input: Box<dyn Read + Send>,
    pub(crate) bar: ProgressBar,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    /// Reading a file holds up nobody: nothing else runs here.
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Poller<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut piece = vec![0; PIECE_BYTES];
        Poll::Ready(match self.input.read(&mut piece) {
            Ok(0) => None,
            Ok(count) => {
                piece.truncate(count);
                self.bar.inc(count as u64);
                Some(Ok(Frame::data(piece.into())))
            }
            Err(error) => Some(Err(error)),
        })
    }
}

/// A file or standard input, and how long it is if that is known.
pub(crate) fn open_input(from: &str) -> anyhow::Result<(Box<dyn Read + Send>, Option<u64>)> {
    if from == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let file = File::open(from).with_context(|| format!("cannot read {from}"))?;
    let about = file.metadata()?;
    Ok((Box::new(file), about.is_file().then_some(about.len())))
}

/// A backup, from a file into a new database.
pub(crate) fn restore(asked: &Restore) -> anyhow::Result<()> {
    let mut path = format!("/v2/dormouse/restore/{}", segment(&asked.name)?);
    if let Some(database) = &asked.database {
        path = format!("{path}?database={}", segment(database)?);
    }
    let (input, bytes) = open_input(&asked.from)?;
    let bar = progress("restoring", bytes)?;
    let upload = Upload { input, bar: bar.clone() };
    let exchange = async { read(send(&asked.of.data, Method::POST, &path, upload).await?).await };
    let answer = runtime()?.block_on(exchange)?;
    bar.finish();
    let text = format!("# {} keys\n{}", answer["backup"]["keys"], how_to_connect(&answer)?);
    io::stdout().write_all(text.as_bytes()).context("cannot print")
}

/// The lines to paste for a database.
fn how_to_connect(answer: &Value) -> anyhow::Result<String> {
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let http = text("endpoint").parse().context("the server's answer has no address")?;
    let resp = answer["resp_endpoint"].as_str().and_then(|address| address.parse().ok());
    let credentials = Credentials { token: text("rest_token"), read_only_token: text("read_only_rest_token") };
    let tls = answer["tls"].as_bool().unwrap_or(false);
    Ok(welcome::lines(http, resp, tls, &credentials))
}

/// An answer as people read it.
fn shown(act: &Act, answer: &Value) -> anyhow::Result<String> {
    use std::fmt::Write;
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or("-").to_owned();
    Ok(match act {
        Act::List => {
            let none = Vec::new();
            let databases = answer.as_array().unwrap_or(&none);
            let width = databases.iter().map(|row| text(row, "database_name").len()).max().unwrap_or(0).max(4);
            let mut out = format!("{:width$}  {:36}  state\n", "name", "id");
            for row in databases {
                let (name, id) = (text(row, "database_name"), text(row, "database_id"));
                let state = if text(row, "state") == "active" { "awake" } else { "asleep" };
                let _ = writeln!(out, "{name:width$}  {id:36}  {state}");
            }
            out
        }
        Act::Create { .. } | Act::Show { .. } | Act::RotateTokens { .. } => how_to_connect(answer)?,
        Act::Rename { .. } => format!("renamed to {}\n", text(answer, "database_name")),
        Act::Delete { name } => format!("deleted {name}\n"),
    })
}
