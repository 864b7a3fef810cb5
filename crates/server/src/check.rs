//! What `dormouse check` does: says whether a data directory is sound, and how it found out.
//!
//! The directory must be nobody's meanwhile. The answer is for people and for scripts: lines on standard output, and an exit
//! code of its own for damage, so that "it could not be checked" is never taken for either answer.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use dormouse_database::Report;

/// The exit code when there is damage.
const DAMAGED: u8 = 3;

/// A directory to be checked.
#[derive(Args, Clone, Debug)]
pub(crate) struct Check {
    /// Data directory, which no server may be using
    #[arg(value_name = "DIR", env = "DORMOUSE_DATA", default_value = crate::config::DATA_DEFAULT)]
    data: PathBuf,
}

/// Checks a data directory.
pub(crate) fn run(asked: &Check) -> anyhow::Result<ExitCode> {
    if !asked.data.is_dir() {
        bail!("there is no directory {}", asked.data.display());
    }
    // What a library says when it gives up over damage is not for people.
    std::panic::set_hook(Box::new(|_| {}));
    let report = dormouse_database::check(&asked.data)?;
    std::io::stdout().write_all(told(&report).as_bytes()).context("cannot print")?;
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) })
}

fn told(report: &Report) -> String {
    let Report { files, databases, keys, deadlines, others, log_records, notices, problems, more_problems, .. } =
        report;
    let mut lines = vec![
        format!("store: {} files, {} bytes, {keys} records, {deadlines} deadlines, {others} others", files.0, files.1),
        format!("log: {log_records} records that the store does not cover"),
        format!("catalogue: {databases} databases"),
    ];
    lines.extend(notices.iter().map(|notice| format!("note: {notice}")));
    lines.extend(problems.iter().map(|problem| format!("damage: {problem}")));
    if *more_problems > 0 {
        lines.push(format!("damage: {more_problems} more"));
    }
    lines.push(if report.is_sound() { "sound".to_owned() } else { "DAMAGED".to_owned() });
    lines.join("\n") + "\n"
}
