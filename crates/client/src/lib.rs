//! A client for Redis over HTTP: Dormouse, Upstash, and whatever speaks their REST protocol.
//!
//! ```
//! use std::time::Duration;
//! use dormouse_client::{Client, SetOptions};
//!
//! # async fn from_env() -> dormouse_client::Result<()> {
//! // UPSTASH_REDIS_REST_URL and _TOKEN, KV_REST_API_URL and _TOKEN, or DORMOUSE_URL and _TOKEN.
//! let client = Client::from_env()?;
//! # Ok(()) }
//! # dormouse_client::example(async |client| {
//! client.set_with("session:7", "data", SetOptions::new().expires_in(Duration::from_secs(600))).await?;
//! let data: Option<String> = client.get("session:7").await?;
//! assert_eq!(data.as_deref(), Some("data"));
//! # Ok(()) });
//! ```
//!
//! # How it is made
//!
//! | to | there is |
//! |---|---|
//! | run a command | a method of [`Client`] for each, which returns a [`Command`]: awaiting it sends it |
//! | run any command | [`Client::command`] with its words, [`Client::cmd`] word by word |
//! | send several at once | [`Client::pipeline`], each for itself; [`Client::transaction`], with nobody in between; tuples, arrays and `Vec`s of commands, answered in the same shape, with a `Result` each or [`all`](Pipeline::all) together |
//! | have that done by itself | [`Client::auto_pipeline`] |
//! | run a script | [`Script`]: by its hash, and whole where the server does not keep it |
//! | listen to messages | [`Client::subscribe`]: a `Stream` that reconnects and says when something may be missing |
//! | give a call its own patience | [`Command::timeout`], [`Command::never_retry`] |
//! | repeat a write safely | [`Command::idempotency_key`] (Dormouse only) |
//! | test without a network | [`TestServer`] (feature `test-server`), or a function as [transport] |
//!
//! **Arguments** are bytes: [`ToArg`] is one (text, bytes, numbers, [`Json`]), [`ToArgs`] any number (arrays, pairs, maps, options). All bytes
//! survive in both directions.
//!
//! **Answers** are made into the type that is asked for ([`FromValue`]) and nothing is guessed: `String` is text, `i64` exact to
//! the last digit, [`Bytes`] whatever there is, [`Json<T>`](Json) a document by serde. [`get_json`](Client::get_json), [`set_json`](Client::set_json) and
//! [`get_bytes`](Client::get_bytes) say so by name.
//!
//! **Failures** are one [`Error`], which knows its [`code`](Error::code), whether the same may succeed later
//! ([`is_retryable`](Error::is_retryable)) and whether a write may have run all the same ([`is_ambiguous`](Error::is_ambiguous)). The client repeats by itself what is safe: reads, what
//! was never sent, and writes under an idempotency key; with full jitter, within a [budget](Retry), and not before the endpoint's
//! `Retry-After`. A write whose answer was lost is an error, and never sent twice.
//!
//! **Reads see this client's writes** also where replicas answer: the endpoint's sync token goes with each request.
//!
//! # Patterns
//!
//! What Redis is used for, done right: each module says what it guarantees, and what it does not.
//!
//! | for | there is |
//! |---|---|
//! | keys that are written once, typed, and invalidated together | [`keys`] |
//! | caching without stampedes, stale overwrites or outages | [`cache`] |
//! | rate limits that all processes share | [`limit`] |
//! | locks with fences | [`lock`] |
//! | sessions that cannot be guessed, lost or brought back | [`session`] |
//! | work that survives a crash, and events that are read again | [`queue`] |
//! | feature flags, decided locally | [`flags`] |
//!
//! # What is logged
//!
//! A `tracing` span for each request, with OpenTelemetry's names for databases: the command's name, how many commands a pipeline has,
//! the host, the status, how often it was repeated, and the kind of error. Never a key, a value or a token.
//!
//! # Features
//!
//! | feature | default | what |
//! |---|---|---|
//! | `reqwest` | yes | HTTP by reqwest; with WebAssembly by `fetch` |
//! | `rustls` | yes | https with rustls and the system's certificates |
//! | `msgpack` | no | [`cache::MessagePack`] |
//! | `compression` | no | [`cache::Compressed`] |
//! | `test-server` | no | [`TestServer`], a Dormouse within the process |
//!
//! Without `reqwest` a [transport] of one's own must be given.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod args;
mod auto;
mod builder;
pub mod cache;
mod client;
mod command;
mod commands;
mod error;
pub mod flags;
pub mod keys;
pub mod limit;
pub mod lock;
mod pipeline;
pub mod queue;
mod retry;
mod rt;
mod script;
pub mod session;
mod subscribe;
#[cfg(all(feature = "test-server", not(target_family = "wasm")))]
mod test_server;
pub mod transport;
mod value;
mod wire;

pub use bytes::Bytes;

pub use crate::args::{Args, ToArg, ToArgs};
pub use crate::auto::AutoPipeline;
pub use crate::builder::Builder;
pub use crate::client::Client;
pub use crate::command::Command;
pub use crate::commands::*;
pub use crate::error::{Error, Result, ServerError};
pub use crate::pipeline::{All, Commands, Pipeline};
pub use crate::retry::Retry;
pub use crate::script::{Call, Run, Script};
pub use crate::subscribe::{Event, Subscription};
#[cfg(all(feature = "test-server", not(target_family = "wasm")))]
pub use crate::test_server::{TestServer, example};
pub use crate::value::{FromValue, Json, Mismatch, Pairs, Value};
