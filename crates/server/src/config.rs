//! What an operator may choose: flags, then environment, then a TOML file, then defaults.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytesize::ByteSize;
use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand};
use dormouse_storage::Durability;
use serde::Deserialize;

use crate::backups::Schedule;
use crate::check::Check;
use crate::cli::{Backup, Db, Restore};
use crate::tls::Files;
use crate::transfer::{Export, Import};

/// Where REST listens unless told otherwise.
const HTTP_DEFAULT: &str = "127.0.0.1:8079";
/// Where RESP listens unless told otherwise.
const RESP_DEFAULT: &str = "127.0.0.1:6379";
/// Where data lives unless told otherwise.
pub(crate) const DATA_DEFAULT: &str = "./dormouse-data";
/// Bytes of log between checkpoints unless told otherwise.
const CHECKPOINT_DEFAULT: Size = Size(ByteSize::mib(64));
/// Fewer would checkpoint at each write.
const CHECKPOINT_MIN: Size = Size(ByteSize::kib(1));
/// Memory for data unless told otherwise.
const MEMORY_DEFAULT: Size = Size(ByteSize::gib(1));
/// Less is a unit forgotten.
const MEMORY_MIN: Size = Size(ByteSize::kib(64));

/// How long a database goes unused before it leaves memory unless told otherwise.
const SLEEP_AFTER_DEFAULT: Duration = Duration::from_mins(5);

/// From one scheduled backup to the next unless told otherwise.
const BACKUP_EVERY_DEFAULT: Duration = Duration::from_hours(24);
/// More often, two would have the same name.
const BACKUP_EVERY_MIN: Duration = Duration::from_secs(1);
/// How many of them are kept unless told otherwise.
const BACKUP_KEEP_DEFAULT: usize = 7;

/// A complete, durable Redis over HTTP and RESP that sleeps when you do.
#[derive(Debug, Parser)]
#[command(version, about, long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (what happens without a command, too).
    Serve(Box<Settings>),
    /// Databases of a running server: create, list, show, rename, rotate-tokens, delete
    Db(Db),
    /// Back a database up while the server runs
    Backup(Backup),
    /// Make a database of a backup
    Restore(Restore),
    /// Write a database as an RDB file for Redis or Valkey
    Export(Export),
    /// Bring the keys of an RDB file of Redis or Valkey into a database
    Import(Import),
    /// Say whether a data directory is sound, while no server uses it
    Check(Check),
}

/// What to do.
pub(crate) enum Task {
    /// Run the server.
    Serve(Config),
    /// Ask a running one.
    Db(Db),
    /// Have a running one write a backup.
    Backup(Backup),
    /// Have a running one read a backup.
    Restore(Restore),
    /// Have a running one write an RDB file.
    Export(Export),
    /// Have a running one read an RDB file.
    Import(Import),
    /// Check a data directory.
    Check(Check),
}

const LONG_ABOUT: &str = "\
A complete, durable Redis over HTTP and RESP that sleeps when you do.

Unmodified @upstash/redis, @upstash/ratelimit and upstash-redis talk to it over HTTP; redis-cli, ioredis and every other \
Redis client talk to it over TCP, on the same data. Every acknowledged write is on disk. Memory is a cache: data may be \
larger than it.

On the first start it makes a database with a token and a read-only token, keeps them in DATA/credentials.env, and prints \
lines to paste into .env.local.";

const EXAMPLES: &str = "\
Examples:
  dormouse                                    data in ./dormouse-data, REST on :8079, RESP on :6379, loopback only
  dormouse --data /var/lib/dormouse --http 0.0.0.0:8079 --resp off
  dormouse --token local-dev-token --http 127.0.0.1:0
  dormouse db create shop                     one more database on the running server, with tokens of its own
  redis-cli -u \"$(grep ^REDIS_URL dormouse-data/credentials.env | cut -d= -f2-)\" PING

A TOML file given with --config has the same names as the flags:
  data = \"/var/lib/dormouse\"
  http = \"0.0.0.0:8079\"
  memory = \"2GiB\"";

/// Everything that can be set. Absent means "ask the next source".
#[expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would show")]
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Settings {
    /// Directory that holds all data [default: ./dormouse-data]
    ///
    /// Made if it is missing, for this user only. One process at a time may use it.
    #[arg(long, value_name = "DIR", env = "DORMOUSE_DATA")]
    data: Option<PathBuf>,

    /// Where REST listens [default: 127.0.0.1:8079]
    ///
    /// If the default port is taken, a free one is used instead and printed; a port given here must be free. Port 0 takes
    /// a free one and prints it.
    #[arg(long, value_name = "ADDR:PORT", env = "DORMOUSE_HTTP")]
    http: Option<String>,

    /// Where RESP (the Redis protocol) listens, or "off" [default: 127.0.0.1:6379]
    ///
    /// If the default port is taken, a free one is used instead and printed; a port given here must be free. Port 0 takes
    /// a free one and prints it.
    #[arg(long, value_name = "ADDR:PORT", env = "DORMOUSE_RESP")]
    resp: Option<String>,

    /// Let RESP clients in without AUTH, for tools that cannot send one
    ///
    /// Refused unless RESP listens on a loopback address.
    #[arg(long, env = "DORMOUSE_RESP_OPEN", value_parser = FalseyValueParser::new())]
    #[serde(default)]
    resp_open: bool,

    /// Let commands that wait for a key (BLPOP and kin) wait over REST, too
    ///
    /// Each request can choose with the header "Dormouse-Block: true" or "false"; this is for those that do not. Without
    /// either they are refused, as Upstash refuses them.
    #[arg(long, env = "DORMOUSE_BLOCK_OVER_REST", value_parser = FalseyValueParser::new())]
    #[serde(default)]
    block_over_rest: bool,

    /// Allow DEBUG, for test suites and the curious
    ///
    /// Like Redis's enable-debug-command. Whoever may run administrative commands can then hold up everybody (DEBUG SLEEP).
    #[arg(long, env = "DORMOUSE_DEBUG_COMMAND", value_parser = FalseyValueParser::new())]
    #[serde(default)]
    debug_command: bool,

    /// Token of the default database, instead of a generated one
    ///
    /// At least 8 printable characters, none of them a quote, $, ` or \\. It is also the password over RESP (user "default").
    /// Kept for later starts, instead of the one before. Prefer the environment variable: other users can see flags.
    #[arg(long, value_name = "TOKEN", env = "DORMOUSE_TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// Read-only token of the default database, instead of a generated one
    ///
    /// It may read, except commands that walk the whole keyspace (KEYS, SCAN). Over RESP the user is "default_ro".
    #[arg(long, value_name = "TOKEN", env = "DORMOUSE_READ_ONLY_TOKEN", hide_env_values = true)]
    read_only_token: Option<String>,

    /// Memory for data, the cache of the store and checkpoints, such as 256MiB or 4GB [default: 1GiB]
    ///
    /// Keys that were not used lately leave memory when it is reached; they stay on disk and come back when asked for.
    #[arg(long, value_name = "SIZE", env = "DORMOUSE_MEMORY")]
    memory: Option<Size>,

    /// How long a database goes unused before it leaves memory, such as 30s or 10m [default: 5m]
    ///
    /// It stays on disk, takes no memory, and wakes with the next request, in milliseconds.
    #[arg(long, value_name = "DURATION", env = "DORMOUSE_SLEEP_AFTER")]
    sleep_after: Option<Span>,

    /// End the process when nobody has used it for so long, such as 15m
    ///
    /// For platforms that start it again with the next connection (systemd's socket activation). A client that waits for
    /// a message or an element keeps it up.
    #[arg(long, value_name = "DURATION", env = "DORMOUSE_IDLE_EXIT")]
    idle_exit: Option<Span>,

    /// Back all databases up into this directory at intervals
    ///
    /// One file each time, "dormouse-<time>.backup", which "dormouse restore" takes.
    #[arg(long, value_name = "DIR", env = "DORMOUSE_BACKUP_DIR")]
    backup_dir: Option<PathBuf>,

    /// How long from one backup to the next [default: 24h]
    #[arg(long, value_name = "DURATION", env = "DORMOUSE_BACKUP_EVERY")]
    backup_every: Option<Span>,

    /// How many of these backups are kept; the oldest go [default: 7]
    #[arg(long, value_name = "N", env = "DORMOUSE_BACKUP_KEEP")]
    backup_keep: Option<usize>,

    /// What a write waits for: always, everysec or none [default: always]
    ///
    /// always: on disk before it is acknowledged; nothing acknowledged is lost, not even by a power cut.
    /// everysec: on disk within a second; a power cut may lose that second, a crash of the process nothing.
    /// none: on disk when the operating system likes; a power cut may lose more.
    #[arg(long, value_name = "WHEN", env = "DORMOUSE_DURABILITY", verbatim_doc_comment)]
    durability: Option<DurabilityName>,

    /// Advanced: bytes of log after which a checkpoint moves what they changed into the store [default: 64MiB]
    ///
    /// Bounds what a start after a crash has to read. Smaller makes such a start faster and everything else slower.
    #[arg(long, value_name = "SIZE", env = "DORMOUSE_CHECKPOINT_BYTES", hide_short_help = true)]
    checkpoint_bytes: Option<Size>,

    /// Certificate for TLS on both doors, a PEM file with the server's own first; needs --tls-key
    ///
    /// REST is then https:// (HTTP/2 or HTTP/1.1 by ALPN), RESP rediss://. Read again when it changes, and on SIGHUP.
    #[arg(long, value_name = "FILE", env = "DORMOUSE_TLS_CERT")]
    tls_cert: Option<PathBuf>,

    /// Private key of that certificate, a PEM file
    #[arg(long, value_name = "FILE", env = "DORMOUSE_TLS_KEY")]
    tls_key: Option<PathBuf>,

    /// TOML file with the same names as these flags
    #[arg(long, value_name = "FILE", env = "DORMOUSE_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
}

/// A number of bytes as people write it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd)]
#[serde(try_from = "String")]
pub(crate) struct Size(ByteSize);

impl Size {
    /// The bytes, if they are enough.
    fn at_least(self, min: Self, flag: &str) -> anyhow::Result<u64> {
        if self < min {
            bail!("{flag} {}: at least {} are needed", self.0.display().iec(), min.0.display().iec());
        }
        Ok(self.0.as_u64())
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("'{text}' is not a size such as 256MiB or 4GB"))
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A stretch of time as people write it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd)]
#[serde(try_from = "String")]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = humantime::parse_duration(text);
        span.map(Self).map_err(|_| format!("'{text}' is not a duration such as 500ms, 30s, 10m or 2h"))
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A durability by name.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(crate) struct DurabilityName(pub(crate) Durability);

impl FromStr for DurabilityName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(match text {
            "always" => Durability::Always,
            "everysec" => Durability::EverySec,
            "none" => Durability::None,
            other => return Err(format!("'{other}' is none of always, everysec, none")),
        }))
    }
}

impl TryFrom<String> for DurabilityName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// An address, and whether the operator chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    pub(crate) chosen: bool,
}

impl fmt::Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(out)
    }
}

/// The decisions, complete and checked.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) data: PathBuf,
    pub(crate) http: Listen,
    pub(crate) resp: Option<Listen>,
    pub(crate) resp_open: bool,
    pub(crate) block_over_rest: bool,
    pub(crate) debug_command: bool,
    pub(crate) token: Option<String>,
    pub(crate) read_only_token: Option<String>,
    pub(crate) memory_bytes_max: u64,
    pub(crate) sleep_after: Duration,
    pub(crate) idle_exit: Option<Duration>,
    pub(crate) backups: Option<Schedule>,
    pub(crate) durability: Durability,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) tls: Option<Files>,
}

impl Cli {
    /// What the command line asks for.
    pub(crate) fn task(self) -> anyhow::Result<Task> {
        let mut settings = self.serve;
        match self.command {
            Some(Command::Db(db)) => return Ok(Task::Db(db)),
            Some(Command::Backup(backup)) => return Ok(Task::Backup(backup)),
            Some(Command::Restore(restore)) => return Ok(Task::Restore(restore)),
            Some(Command::Export(export)) => return Ok(Task::Export(export)),
            Some(Command::Check(check)) => return Ok(Task::Check(check)),
            Some(Command::Import(import)) => return Ok(Task::Import(import)),
            Some(Command::Serve(more)) => settings = more.or(settings),
            None => {}
        }
        settings.config().map(Task::Serve)
    }
}

impl Settings {
    /// Merges all sources.
    fn config(self) -> anyhow::Result<Config> {
        let settings = self;
        let file = match &settings.config {
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                // The error shows the line itself, over several of its own.
                toml::from_str(&text)
                    .map_err(|error| anyhow!("{}: {}", path.display(), error.to_string().trim_end()))?
            }
            None => Settings::default(),
        };
        settings.without_empty().or(file).check()
    }

    /// What is absent here is taken from `other`.
    fn or(self, other: Self) -> Self {
        Self {
            data: self.data.or(other.data),
            http: self.http.or(other.http),
            resp: self.resp.or(other.resp),
            resp_open: self.resp_open || other.resp_open,
            block_over_rest: self.block_over_rest || other.block_over_rest,
            debug_command: self.debug_command || other.debug_command,
            token: self.token.or(other.token),
            read_only_token: self.read_only_token.or(other.read_only_token),
            memory: self.memory.or(other.memory),
            sleep_after: self.sleep_after.or(other.sleep_after),
            idle_exit: self.idle_exit.or(other.idle_exit),
            backup_dir: self.backup_dir.or(other.backup_dir),
            backup_every: self.backup_every.or(other.backup_every),
            backup_keep: self.backup_keep.or(other.backup_keep),
            durability: self.durability.or(other.durability),
            checkpoint_bytes: self.checkpoint_bytes.or(other.checkpoint_bytes),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
            config: self.config.or(other.config),
        }
    }

    /// An empty variable is one that is not set: `DORMOUSE_TOKEN=${TOKEN:-}` is common.
    fn without_empty(self) -> Self {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            data: self.data.filter(|path| !path.as_os_str().is_empty()),
            tls_cert: self.tls_cert.filter(|path| !path.as_os_str().is_empty()),
            tls_key: self.tls_key.filter(|path| !path.as_os_str().is_empty()),
            backup_dir: self.backup_dir.filter(|path| !path.as_os_str().is_empty()),
            http: given(self.http),
            resp: given(self.resp),
            token: given(self.token),
            read_only_token: given(self.read_only_token),
            ..self
        }
    }

    fn check(self) -> anyhow::Result<Config> {
        let resp = match self.resp.as_deref() {
            Some(off) if off.eq_ignore_ascii_case("off") => None,
            given => Some(listen("--resp", given, RESP_DEFAULT)?),
        };
        if self.resp_open && resp.is_some_and(|resp| !resp.address.ip().is_loopback()) {
            bail!("--resp-open lets anybody in, so RESP must listen on a loopback address such as 127.0.0.1");
        }
        let tls = match (self.tls_cert, self.tls_key) {
            (Some(cert), Some(key)) => Some(Files { cert, key }),
            (None, None) => None,
            (Some(_), None) => bail!("--tls-cert needs the certificate's private key, too: --tls-key"),
            (None, Some(_)) => bail!("--tls-key needs its certificate, too: --tls-cert"),
        };
        Ok(Config {
            tls,
            data: self.data.unwrap_or_else(|| DATA_DEFAULT.into()),
            http: listen("--http", self.http.as_deref(), HTTP_DEFAULT)?,
            resp,
            resp_open: self.resp_open,
            block_over_rest: self.block_over_rest,
            debug_command: self.debug_command,
            token: self.token,
            read_only_token: self.read_only_token,
            memory_bytes_max: self.memory.unwrap_or(MEMORY_DEFAULT).at_least(MEMORY_MIN, "--memory")?,
            sleep_after: self.sleep_after.map_or(SLEEP_AFTER_DEFAULT, |span| span.0),
            idle_exit: self.idle_exit.map(|span| span.0),
            backups: schedule(self.backup_dir, self.backup_every, self.backup_keep)?,
            durability: self.durability.map_or(Durability::Always, |name| name.0),
            checkpoint_bytes: self
                .checkpoint_bytes
                .unwrap_or(CHECKPOINT_DEFAULT)
                .at_least(CHECKPOINT_MIN, "--checkpoint-bytes")?,
        })
    }
}

/// When to back up, if at all.
fn schedule(dir: Option<PathBuf>, every: Option<Span>, keep: Option<usize>) -> anyhow::Result<Option<Schedule>> {
    let Some(dir) = dir else {
        if every.is_some() || keep.is_some() {
            bail!("--backup-every and --backup-keep need --backup-dir, which says where the backups go");
        }
        return Ok(None);
    };
    let (every, keep) = (every.map_or(BACKUP_EVERY_DEFAULT, |span| span.0), keep.unwrap_or(BACKUP_KEEP_DEFAULT));
    if every < BACKUP_EVERY_MIN {
        bail!("--backup-every: at least 1s is needed");
    }
    if keep == 0 {
        bail!("--backup-keep 0 would keep none");
    }
    Ok(Some(Schedule { dir, every, keep }))
}

fn listen(flag: &str, given: Option<&str>, default: &str) -> anyhow::Result<Listen> {
    use std::net::ToSocketAddrs;
    let text = given.unwrap_or(default);
    let resolved = text.to_socket_addrs().ok().and_then(|mut found| found.next());
    let address = resolved.with_context(|| format!("{flag} {text}: not an address with a port, such as {default}"))?;
    Ok(Listen { address, chosen: given.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(args: &[&str]) -> anyhow::Result<Config> {
        match Cli::try_parse_from([&["dormouse"], args].concat())?.task()? {
            Task::Serve(config) => Ok(config),
            _ => bail!("not the server"),
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn defaults_are_strict_and_local() {
        let config = config(&[]).unwrap();
        assert_eq!(config.http.to_string(), HTTP_DEFAULT);
        assert_eq!(config.resp.unwrap().to_string(), RESP_DEFAULT);
        assert_eq!(config.durability, Durability::Always);
        assert!(!config.resp.unwrap().chosen);
    }

    #[test]
    fn serve_is_the_default_command() {
        let config = config(&["serve", "--http", "127.0.0.1:0", "--resp", "OFF", "--memory", "256MiB"]).unwrap();
        assert!(config.resp.is_none() && config.http.chosen);
        assert_eq!(config.memory_bytes_max, 256 << 20);
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = std::env::temp_dir().join(format!("dormouse-config-{}.toml", std::process::id()));
        std::fs::write(&file, "http = '127.0.0.1:1111'\ndurability = 'everysec'\n").unwrap();
        let path = file.to_str().unwrap();
        let from_file = config(&["--config", path]).unwrap();
        assert_eq!(from_file.http.address.port(), 1111);
        assert_eq!(from_file.durability, Durability::EverySec);
        assert_eq!(config(&["--config", path, "--http", "127.0.0.1:2222"]).unwrap().http.address.port(), 2222);
        std::fs::write(&file, "htp = 'x'").unwrap();
        let error = format!("{:#}", config(&["--config", path]).err().unwrap());
        assert!(error.contains("htp"), "{error}");
        std::fs::write(&file, "memory = 'lots'").unwrap();
        let error = format!("{:#}", config(&["--config", path]).err().unwrap());
        assert!(error.contains("'lots' is not a size such as"), "{error}");
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn what_is_empty_is_not_set() {
        let config = config(&["--token", "", "--http", "", "--resp", "", "--read-only-token", ""]).unwrap();
        assert!(config.token.is_none() && config.read_only_token.is_none() && !config.http.chosen);
        assert_eq!(config.resp.unwrap().to_string(), RESP_DEFAULT);
    }

    #[test]
    fn bad_settings_say_what_is_wrong() {
        for (args, part) in [
            (&["--resp", "0.0.0.0:6379", "--resp-open"][..], "loopback"),
            (&["--http", "nonsense"], "not an address"),
            (&["--durability", "sometimes"], "none of always"),
            (&["--tls-cert", "cert.pem"], "too: --tls-key"),
            (&["--tls-key", "key.pem"], "too: --tls-cert"),
            (&["--backup-keep", "3"], "need --backup-dir"),
            (&["--backup-dir", "b", "--backup-keep", "0"], "would keep none"),
            (&["--backup-dir", "b", "--backup-every", "10ms"], "at least 1s"),
            (&["--memory", "lots"], "'lots' is not a size such as 256MiB"),
            (&["--sleep-after", "soon"], "'soon' is not a duration such as"),
            (&["--memory", "1"], "--memory 1 B: at least 64.0 KiB are needed"),
            (&["--checkpoint-bytes", "10"], "--checkpoint-bytes 10 B: at least 1.0 KiB are needed"),
        ] {
            let error = format!("{:#}", config(args).err().unwrap());
            assert!(error.contains(part), "{error}");
        }
    }
}
