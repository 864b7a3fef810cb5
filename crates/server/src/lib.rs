//! Dormouse, the server: sockets, the clock, configuration, and nothing that Redis would recognise as its own.
//!
//! [`main`] opens the data directory, starts a worker per core and a housekeeper, prints how to connect, and waits for a
//! signal. Then workers drain, a last checkpoint is written, and the process ends with 0. [`Server`] is the same within a
//! process that does something else, such as a test.

mod admin;
mod backups;
mod check;
mod cli;
mod clock;
mod config;
mod durable;
mod embedded;
mod housekeeping;
mod http;
mod live;
mod mailbox;
mod panics;
mod patience;
mod perform;
mod resp;
mod running;
#[cfg(test)]
mod testing;
mod tls;
mod transfer;
mod welcome;
mod worker;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use dormouse_database::{Options, Service};
use dormouse_engine::{Facts, Limits};
use dormouse_storage::Durability;
use listenfd::ListenFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tracing_subscriber::EnvFilter;

use crate::admin::Admin;
use crate::backups::Backups;
use crate::config::{Cli, Config, Listen, Task};
use crate::running::Running;
use crate::tls::Tls;
use crate::worker::{bind, is_taken};

pub use crate::embedded::{Error, Server, Settings};

/// What the program does; it is this crate's `main`, kept where tests can reach what it is made of.
#[must_use]
pub fn main() -> ExitCode {
    // What the store's library says at each start looks like a repair, and is none.
    let filter = EnvFilter::try_from_env("DORMOUSE_LOG").unwrap_or_else(|_| EnvFilter::new("info,lsm_tree=warn"));
    let in_colour =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // A log that cannot be written (nobody reads it any more) is no reason to stop.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(in_colour)
        .with_target(false)
        .log_internal_errors(false)
        .init();
    let task = Cli::parse().task();
    if let Ok(Task::Check(check)) = &task {
        return check::run(check).inspect_err(complain).unwrap_or(ExitCode::FAILURE);
    }
    panics::end_the_process();
    let logged = |error: &anyhow::Error| tracing::error!("{error:#}");
    let outcome = match task {
        Ok(Task::Serve(config)) => serve(&config).inspect_err(logged),
        Ok(Task::Db(db)) => cli::run(&db).inspect_err(complain),
        Ok(Task::Backup(backup)) => cli::backup(&backup).inspect_err(complain),
        Ok(Task::Restore(restore)) => cli::restore(&restore).inspect_err(complain),
        Ok(Task::Export(export)) => transfer::export(&export).inspect_err(complain),
        Ok(Task::Import(import)) => transfer::import(&import).inspect_err(complain),
        Ok(Task::Check(_)) => Ok(()),
        Err(error) => Err(error).inspect_err(logged),
    };
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a command that is not the server has to say, without the trimmings of a log.
fn complain(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
}

fn serve(config: &Config) -> anyhow::Result<()> {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let tls = config.tls.as_ref().map(Tls::open).transpose()?.map(Arc::new);
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // A second start in one directory is told of that before it takes a port, a first one without a port makes nothing.
    let lock = config.data.is_dir().then(|| Service::lock(&config.data)).transpose()?;
    let mut given = Given::from_environment();
    let mut open = |listen, name, at| match given.take(name, at)? {
        Some(socket) => Doors::given(socket, workers),
        None => Doors::open(listen, workers),
    };
    let http = open(config.http, "http", 0).context("REST cannot listen")?;
    let resp = config.resp.map(|listen| open(listen, "resp", 1)).transpose().context("RESP cannot listen")?;
    // Whatever is made from here on is for this user only, in a directory of somebody else's making, too.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    welcome::make_private(&config.data)?;
    let lock = lock.map_or_else(|| Service::lock(&config.data), Ok)?;
    let service = Arc::new(Service::open(&options(config, resp.as_ref()), lock, clock::moment())?);
    let lines = welcome::keep_credentials(config, &http, resp.as_ref(), service.default_credentials())?;
    let idle = Arc::new(Notify::new());
    let (http_address, resp_address) = (http.address, resp.as_ref().map(|doors| doors.address));
    let running = Running::start(config, &service, (http, resp), tls.clone(), &idle)?;
    let socket = admin::socket(&config.data);
    let admin = Admin::start(socket, &service, (http_address, resp_address, tls.is_some()), running.stopping())?;
    let backups = config.backups.clone().map(|schedule| Backups::start(&service, schedule)).transpose()?;
    welcome::print(config, lines, http_address, resp_address, service.default_credentials());
    let why = wait_for_end(&idle, tls.as_deref())?;
    tracing::info!("stopping{why}: finishing what is under way");
    running.stop(|| {
        if let Some(backups) = backups {
            backups.stop();
        }
        admin.join();
    })?;
    tracing::info!("stopped");
    Ok(())
}

/// The listeners of one door, one for each worker.
pub(crate) struct Doors {
    pub(crate) address: std::net::SocketAddr,
    sockets: Vec<std::net::TcpListener>,
}

/// Sockets that whoever started the process listens on already (systemd's socket activation).
struct Given {
    sockets: ListenFd,
    names: Vec<String>,
}

impl Given {
    fn from_environment() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.split(':').map(str::to_owned).collect();
        Self { sockets: ListenFd::from_env(), names }
    }

    /// The socket of a name; without names, the one in its place.
    fn take(&mut self, name: &str, at: usize) -> anyhow::Result<Option<std::net::TcpListener>> {
        let named = self.names.iter().any(|name| matches!(name.as_str(), "http" | "resp"));
        let at = if named { self.names.iter().position(|known| known == name) } else { Some(at) };
        let Some(at) = at.filter(|at| *at < self.sockets.len()) else { return Ok(None) };
        self.sockets.take_tcp_listener(at).context("the socket it was started with is no TCP listener")
    }
}

impl Doors {
    /// Doors at a socket that somebody else has opened: all workers share it.
    fn given(socket: std::net::TcpListener, workers: usize) -> anyhow::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let mut sockets = vec![socket];
        while sockets.len() < workers {
            sockets.push(sockets[0].try_clone()?);
        }
        Ok(Self { address, sockets })
    }

    fn open(listen: Listen, workers: usize) -> anyhow::Result<Self> {
        let mut address = listen.address;
        if is_taken(address) {
            if listen.chosen {
                bail!("{address} is taken by another process");
            }
            tracing::warn!("{address} is taken by another process: taking a free port instead");
            address.set_port(0);
        }
        let first = bind(address).with_context(|| address.to_string())?;
        let address = first.local_addr()?;
        let mut sockets = vec![first];
        while sockets.len() < workers {
            sockets.push(bind(address).with_context(|| address.to_string())?);
        }
        Ok(Self { address, sockets })
    }
}

fn options(config: &Config, resp: Option<&Doors>) -> Options {
    let mut run_id = [0; 16];
    clock::entropy(&mut run_id);
    Options {
        dir: config.data.clone(),
        durability: config.durability,
        memory_bytes_max: config.memory_bytes_max,
        entropy: clock::entropy,
        token: config.token.clone(),
        read_only_token: config.read_only_token.clone(),
        limits: Limits::default(),
        facts: Facts {
            version: env!("CARGO_PKG_VERSION"),
            process_id: std::process::id(),
            tcp_port: resp.map_or(0, |doors| doors.address.port()),
            run_id: format!("{:040x}", u128::from_be_bytes(run_id)),
            started_ms: clock::moment().now_ms(),
            memory_bytes_max: config.memory_bytes_max,
            cpu_us: Some(clock::cpu_us),
            machine_bytes: machine_bytes(),
            clock_s: Some(|| clock::moment().now_ms() / 1_000),
            clock_us: Some(clock::clock_us),
            sleep_us: Some(|us| std::thread::sleep(Duration::from_micros(us))),
            allows_debug: config.debug_command,
            resident_bytes: Some(|| memory_stats::memory_stats().map_or(0, |stats| stats.physical_mem as u64)),
            durability: match config.durability {
                Durability::Always => "always",
                Durability::EverySec => "everysec",
                Durability::None => "no",
            },
            ..Facts::default()
        },
    }
}

/// How much memory the machine has, in bytes; 0 if nobody says.
fn machine_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kilobytes.map_or(0, |kilobytes| kilobytes << 10)
}

/// Waits for a signal, or until nobody has used the process for as long as it may be idle. Returns what to say of that.
/// Meanwhile it minds the certificate.
fn wait_for_end(idle: &Notify, tls: Option<&Tls>) -> anyhow::Result<&'static str> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mind = async {
            let Some(tls) = tls else { return std::future::pending().await };
            let mut hangup = signal(SignalKind::hangup())?;
            loop {
                tokio::select! {
                    _ = hangup.recv() => tls.reload(),
                    () = tokio::time::sleep(tls::LOOK_EVERY) => tls.look(),
                }
            }
        };
        Ok(tokio::select! {
            _ = terminate.recv() => "",
            _ = interrupt.recv() => "",
            () = idle.notified() => " because nobody has used it for long",
            failed = mind => return failed,
        })
    })
}
