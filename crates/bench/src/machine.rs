//! What the numbers were taken on: without it they mean nothing.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) kernel: String,
    pub(crate) date: String,
    pub(crate) redis: String,
    /// The share of all cores that others used in the second before the run.
    pub(crate) busy: f64,
}

pub(crate) fn facts(redis: &Path) -> anyhow::Result<Machine> {
    let processors = std::fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let version = said(Command::new(redis).arg("--version"))?;
    Ok(Machine {
        cores: std::thread::available_parallelism()?.get(),
        processor: model.map_or("unknown", |(_, name)| name).trim().to_owned(),
        kernel: said(Command::new("uname").args(["-s", "-r", "-m"]))?,
        date: said(Command::new("date").args(["-u", "+%Y-%m-%d"]))?,
        redis: version.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or("unknown").to_owned(),
        busy: busy()?,
    })
}

/// Looks at the processors for a second.
fn busy() -> anyhow::Result<f64> {
    let look = || -> anyhow::Result<(u64, u64)> {
        let stat = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
        times(&stat).context("/proc/stat looks unlike itself")
    };
    let (work_before, all_before) = look()?;
    std::thread::sleep(Duration::from_secs(1));
    let (work, all) = look()?;
    Ok((work - work_before) as f64 / (all - all_before).max(1) as f64)
}

/// Time at work and time altogether, of all cores, in ticks. Guests' time is in the users' already.
fn times(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line.split_whitespace().take(8).map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let all: u64 = fields.iter().sum();
    let idle = fields.get(3)? + fields.get(4)?;
    Some((all - idle, all))
}

fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{}", command.get_program().display()))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_not_work() {
        assert_eq!(times("cpu  10 1 5 80 4 0 0 0 7 0\ncpu0 1"), Some((16, 100)));
        assert_eq!(times("intr 1"), None);
    }
}
