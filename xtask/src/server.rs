//! A Dormouse of our own, for tools that want one running: free ports, a new data folder, both gone in the end.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::shell::Shell;

const START_PATIENCE: Duration = Duration::from_secs(20);

/// Ends with its value.
pub(crate) struct Server {
    child: Child,
    data: PathBuf,
    pub(crate) rest: SocketAddr,
    pub(crate) resp: SocketAddr,
    pub(crate) token: &'static str,
}

impl Server {
    pub(crate) fn start(shell: &Shell, program: &Path) -> anyhow::Result<Self> {
        let data = shell.target().join(format!("xtask-server-{}", std::process::id()));
        let (rest, resp, token) = (free_address()?, free_address()?, "conformance-token");
        let mut command = shell.command(program);
        command.arg("--data").arg(&data).args(["--http", &rest.to_string(), "--resp", &resp.to_string()]);
        command.env("DORMOUSE_TOKEN", token).env("DORMOUSE_LOG", "warn");
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("the server cannot be started")?;
        let mut server = Self { child, data, rest, resp, token };
        server.wait()?;
        Ok(server)
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while TcpStream::connect(self.rest).is_err() || TcpStream::connect(self.resp).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server has ended: {status}");
            }
            if begun.elapsed() > START_PATIENCE {
                bail!("the server does not listen on {}", self.rest);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its data is thrown away with it: no need to ask it nicely.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// An address nobody listens on now. Somebody might before the server does, which then fails loudly.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
