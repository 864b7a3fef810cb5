//! A real Redis (or a relative), started on a private port in an empty folder, and gone when dropped.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::{PATIENCE, RespDoor};

/// Names under which a server may be installed.
const NAMES: &[&str] = &["redis-server", "valkey-server"];

/// See the module's text.
#[derive(Debug)]
pub struct RealServer {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl RealServer {
    /// A server binary on the search path, if there is one.
    pub fn installed() -> Option<PathBuf> {
        let path = std::env::var_os("PATH")?;
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        NAMES.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()))
    }

    /// Starts a server and waits until it answers.
    pub fn start(binary: &Path) -> Result<Self> {
        Self::start_with(binary, None)
    }

    /// As [`Self::start`], with a module.
    pub fn start_with(binary: &Path, module: Option<&Path>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // Whoever else wants the port between here and the start gets it, and the start fails with a message.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(binary)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(folder.path())
            .args(module.into_iter().flat_map(|module| [OsStr::new("--loadmodule"), module.as_os_str()]))
            // It looks this often whether a blocked client's time is up.
            .args(["--hz", "500"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let mut server = Self { child, address: format!("127.0.0.1:{port}"), _folder: folder };
        let until = Instant::now() + PATIENCE;
        while server.door().is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{} ended with {status}", binary.display());
            }
            if Instant::now() > until {
                bail!("{} does not answer", binary.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// A door to it.
    pub fn door(&self) -> Result<RespDoor> {
        RespDoor::redis(&self.address)
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        // Nothing can be done about a server that will not die.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
