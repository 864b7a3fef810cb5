//! What `dormouse db` does: it asks the running server through its admin socket, and prints the answer.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use clap::{Args, Subcommand};
use dormouse_database::Credentials;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use crate::admin;
use crate::welcome;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Databases of a running server.
#[derive(Args, Clone, Debug)]
pub(crate) struct Db {
    /// Data directory of the running server
    #[arg(long, value_name = "DIR", env = "DORMOUSE_DATA", default_value = crate::config::DATA_DEFAULT, global = true)]
    data: PathBuf,
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
fn segment(name: &str) -> anyhow::Result<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        bail!("there is no database '{name}'");
    }
    Ok(name)
}

/// Does what was asked for.
pub(crate) fn run(db: &Db) -> anyhow::Result<()> {
    let (method, path, body) = match &db.act {
        Act::Create { name } => {
            (Method::POST, "/v2/redis/database".to_owned(), Some(json!({ "database_name": name })))
        }
        Act::List => (Method::GET, "/v2/redis/databases".to_owned(), None),
        Act::Show { name } => (Method::GET, format!("/v2/redis/database/{}", segment(name)?), None),
        Act::Rename { name, new } => {
            (Method::POST, format!("/v2/redis/rename/{}", segment(name)?), Some(json!({ "name": new })))
        }
        Act::RotateTokens { name } => (Method::POST, format!("/v2/redis/reset-password/{}", segment(name)?), None),
        Act::Delete { name } => (Method::DELETE, format!("/v2/redis/database/{}", segment(name)?), None),
    };
    let answer = ask(&db.data, method, &path, body.as_ref())?;
    let text = if db.json { format!("{answer}\n") } else { shown(&db.act, &answer)? };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot print")
}

/// Sends one request to the admin socket of a data directory. An error of the server is one here.
fn ask(data: &Path, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
    let socket = admin::socket(data);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exchange = async {
        let stream = UnixStream::connect(&socket).await.with_context(|| {
            format!("no server runs on {}: start one, or name its directory with --data", data.display())
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = Request::builder().method(method).uri(path).header("host", "dormouse").body(Full::new(body))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        let value: Value = serde_json::from_slice(&bytes).context("the server's answer is not JSON")?;
        if status.is_success() {
            return Ok(value);
        }
        Err(anyhow!("{}", value["error"].as_str().unwrap_or("the server refused without a reason")))
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, exchange).await }).context("the server does not answer")?
}

/// An answer as people read it.
fn shown(act: &Act, answer: &Value) -> anyhow::Result<String> {
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
                out.push_str(&format!("{name:width$}  {id:36}  {state}\n"));
            }
            out
        }
        Act::Create { .. } | Act::Show { .. } | Act::RotateTokens { .. } => {
            let http = text(answer, "endpoint").parse().context("the server's answer has no address")?;
            let resp = answer["resp_endpoint"].as_str().and_then(|address| address.parse().ok());
            let credentials = Credentials {
                token: text(answer, "rest_token"),
                read_only_token: text(answer, "read_only_rest_token"),
            };
            welcome::lines(http, resp, &credentials)
        }
        Act::Rename { .. } => format!("renamed to {}\n", text(answer, "database_name")),
        Act::Delete { name } => format!("deleted {name}\n"),
    })
}
