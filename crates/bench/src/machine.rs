//! What the numbers were taken on: without it they mean nothing.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) kernel: String,
    pub(crate) date: String,
    pub(crate) redis: String,
    /// What else wanted the processor when the run ended.
    pub(crate) load: String,
}

pub(crate) fn facts(redis: &Path) -> anyhow::Result<Machine> {
    let processors = std::fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let load = std::fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    let version = said(Command::new(redis).arg("--version"))?;
    Ok(Machine {
        cores: std::thread::available_parallelism()?.get(),
        processor: model.map_or("unknown", |(_, name)| name).trim().to_owned(),
        kernel: said(Command::new("uname").args(["-s", "-r", "-m"]))?,
        date: said(Command::new("date").args(["-u", "+%Y-%m-%d"]))?,
        redis: version.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or("unknown").to_owned(),
        load: load.split_whitespace().next().unwrap_or("unknown").to_owned(),
    })
}

fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{}", command.get_program().display()))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
