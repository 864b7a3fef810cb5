//! The contestants: which servers run, how they are configured, and how to reach each.
//!
//! All of them are started once, on free loopback ports, with their data in one scratch folder, and idle while it is not
//! their turn.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::process::Process;
use crate::wire::Wire;

/// Dormouse's token in these runs.
pub(crate) const TOKEN: &str = "benchmark-token";
/// Memory that is enough for every key, so that nobody evicts.
const DORMOUSE_MEMORY: &str = "1GiB";

/// Somebody to send load to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// Dormouse as it comes: strict durability.
    DormouseRest,
    /// The same with `--durability none`.
    DormouseRestNone,
    /// Dormouse as it comes, over RESP.
    DormouseResp,
    /// The same with `--durability none`.
    DormouseRespNone,
    /// webdis in front of a Redis without persistence.
    Webdis,
    /// Redis without persistence.
    Redis,
    /// Redis with `appendfsync always`.
    RedisAlways,
}

impl Contestant {
    pub(crate) const fn wire(self) -> Wire {
        match self {
            Self::DormouseRest | Self::DormouseRestNone => Wire::Upstash,
            Self::Webdis => Wire::Webdis,
            Self::DormouseResp | Self::DormouseRespNone => Wire::RespAuth,
            Self::Redis | Self::RedisAlways => Wire::Resp,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::DormouseRest => "Dormouse, REST",
            Self::DormouseRestNone => "Dormouse, REST, `none`",
            Self::DormouseResp => "Dormouse, RESP",
            Self::DormouseRespNone => "Dormouse, RESP, `none`",
            Self::Webdis => "webdis + Redis",
            Self::Redis => "Redis",
            Self::RedisAlways => "Redis, `appendfsync always`",
        }
    }

    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::DormouseRest | Self::DormouseRestNone | Self::DormouseResp | Self::DormouseRespNone)
    }
}

/// The servers, running.
pub(crate) struct Stage {
    strict: Dormouse,
    none: Dormouse,
    redis: Redis,
    redis_always: Redis,
    webdis: (Process, SocketAddr),
    _data: tempfile::TempDir,
}

struct Dormouse {
    process: Process,
    http: SocketAddr,
    resp: SocketAddr,
}

struct Redis {
    process: Process,
    address: SocketAddr,
}

impl Stage {
    pub(crate) fn open(scratch: &Path, dormouse: &Path, redis: &Path, webdis: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
        let data = tempfile::tempdir_in(scratch)?;
        let plain = Redis::start(redis, data.path(), "redis", &["--appendonly", "no"])?;
        Ok(Self {
            strict: Dormouse::start(dormouse, data.path(), "always")?,
            none: Dormouse::start(dormouse, data.path(), "none")?,
            redis_always: Redis::start(
                redis,
                data.path(),
                "redis-always",
                &["--appendonly", "yes", "--appendfsync", "always"],
            )?,
            webdis: start_webdis(webdis, data.path(), plain.address)?,
            redis: plain,
            _data: data,
        })
    }

    pub(crate) fn address(&self, contestant: Contestant) -> SocketAddr {
        match contestant {
            Contestant::DormouseRest => self.strict.http,
            Contestant::DormouseRestNone => self.none.http,
            Contestant::DormouseResp => self.strict.resp,
            Contestant::DormouseRespNone => self.none.resp,
            Contestant::Webdis => self.webdis.1,
            Contestant::Redis => self.redis.address,
            Contestant::RedisAlways => self.redis_always.address,
        }
    }

    /// Processor time so far of all processes that a contestant needs.
    pub(crate) fn processor_time(&self, contestant: Contestant) -> anyhow::Result<Duration> {
        match contestant {
            Contestant::DormouseRest | Contestant::DormouseResp => self.strict.process.processor_time(),
            Contestant::DormouseRestNone | Contestant::DormouseRespNone => self.none.process.processor_time(),
            Contestant::Webdis => Ok(self.webdis.0.processor_time()? + self.redis.process.processor_time()?),
            Contestant::Redis => self.redis.process.processor_time(),
            Contestant::RedisAlways => self.redis_always.process.processor_time(),
        }
    }
}

impl Dormouse {
    fn start(program: &Path, data: &Path, durability: &str) -> anyhow::Result<Self> {
        let [http, resp] = [free_address()?, free_address()?];
        let mut command = Command::new(program);
        command.arg("--data").arg(data.join(format!("dormouse-{durability}")));
        command.args(["--http", &http.to_string(), "--resp", &resp.to_string(), "--durability", durability]);
        command.args(["--memory", DORMOUSE_MEMORY]).env("DORMOUSE_TOKEN", TOKEN);
        let log = data.join(format!("dormouse-{durability}.log"));
        let process = Process::start("dormouse", command, &log, http.port())?;
        Ok(Self { process, http, resp })
    }
}

impl Redis {
    fn start(program: &Path, data: &Path, name: &str, persistence: &[&str]) -> anyhow::Result<Self> {
        let address = free_address()?;
        let folder = data.join(name);
        std::fs::create_dir(&folder)?;
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""]);
        command.arg("--dir").arg(folder).args(persistence);
        let process = Process::start("redis-server", command, &data.join(format!("{name}.log")), address.port())?;
        Ok(Self { process, address })
    }
}

/// webdis takes its settings from a JSON file only.
fn start_webdis(program: &Path, data: &Path, redis: SocketAddr) -> anyhow::Result<(Process, SocketAddr)> {
    let address = free_address()?;
    let settings = format!(
        r#"{{"redis_host":"127.0.0.1","redis_port":{},"redis_auth":null,"http_host":"127.0.0.1","http_port":{},"threads":2,"pool_size":20,"daemonize":false,"database":0,"verbosity":1,"logfile":"{}"}}"#,
        redis.port(),
        address.port(),
        data.join("webdis-own.log").display()
    );
    let file = data.join("webdis.json");
    std::fs::write(&file, settings)?;
    let mut command = Command::new(program);
    command.arg(file);
    Ok((Process::start("webdis", command, &data.join("webdis.log"), address.port())?, address))
}

/// An address nobody listens on now. Somebody might before we do, which then fails loudly.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
