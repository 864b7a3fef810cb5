//! A server process: started, measured, and ended with what started it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// The kernel counts in hundredths of a second for everyone who asks through /proc, whatever its own clock.
const TICK: Duration = Duration::from_millis(10);
const START_PATIENCE: Duration = Duration::from_secs(10);

/// Ends its process when dropped.
pub(crate) struct Process {
    child: Child,
    name: &'static str,
}

impl Process {
    /// Starts a server, and waits until it accepts connections.
    pub(crate) fn start(name: &'static str, mut command: Command, log: &Path, port: u16) -> anyhow::Result<Self> {
        let out = std::fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        let mut process = Self { child, name };
        process.wait_for(port, log)?;
        Ok(process)
    }

    fn wait_for(&mut self, port: u16, log: &Path) -> anyhow::Result<()> {
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} has ended ({status}): {}", self.name, std::fs::read_to_string(log).unwrap_or_default());
            }
            if begun.elapsed() > START_PATIENCE {
                bail!("{} does not listen on port {port}", self.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Processor time of all its threads so far, in user code and in the kernel for it.
    pub(crate) fn processor_time(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))
            .with_context(|| format!("{} is gone", self.name))?;
        ticks(&stat).map(|ticks| TICK * ticks).context("/proc/PID/stat looks unlike itself")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ours to end, and its data is thrown away: no need to ask it nicely.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// utime + stime. The name before them is in parentheses and may hold anything.
fn ticks(stat: &str) -> Option<u32> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_times_are_added() {
        let stat = "42 (a (odd) name) S 1 42 42 0 -1 4194560 900 0 0 0 31 11 0 0 20 0 5 0 100 1000 200";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("nonsense"), None);
    }
}
