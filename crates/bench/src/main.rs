//! The benchmark: Dormouse, webdis with Redis, and Redis, under the same load in one run.
//!
//! Contestants take turns, round by round, so that whatever else the machine does hits all of them; the median of the rounds
//! counts. Besides requests a second it measures what a request costs the servers' processes in processor time, which
//! says more than throughput does when the load generator runs on the same cores. Results become a table of
//! `docs/benchmarks.md`. It measures; it never decides whether a number is good enough.

#![expect(clippy::print_stdout, reason = "a tool for people")]

mod contestant;
mod load;
mod machine;
mod memory;
mod process;
mod report;
mod scenario;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::contestant::Stage;
use crate::scenario::{Scenario, scenarios};

#[derive(Debug, Parser)]
#[command(about = "Measures Dormouse beside webdis and Redis")]
struct Options {
    /// The Dormouse to measure
    #[arg(long, value_name = "FILE")]
    dormouse: PathBuf,
    /// The Redis to measure
    #[arg(long, value_name = "FILE", default_value = "redis-server")]
    redis: PathBuf,
    /// The webdis to measure
    #[arg(long, value_name = "FILE", default_value = "webdis")]
    webdis: PathBuf,
    /// Where the servers keep their data: a real disk, or strict durability means nothing
    #[arg(long, value_name = "DIR")]
    scratch: PathBuf,
    /// Where to write the tables, between its markers
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Fewer and shorter rounds: for a first look
    #[arg(long)]
    quick: bool,
    /// Measure memory and waking instead
    #[arg(long)]
    memory: bool,
    /// Rounds per contestant [default: 5; quick: 3]
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds per round [default: 3; quick: 1]
    #[arg(long)]
    seconds: Option<f64>,
    /// Only scenarios whose name contains this; nothing is written then
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let (rounds, seconds) = if options.quick { (3, 1.0) } else { (5, 3.0) };
    let plan = load::Plan {
        rounds: options.rounds.unwrap_or(rounds),
        round: Duration::from_secs_f64(options.seconds.unwrap_or(seconds)),
    };
    let chosen: Vec<Scenario> = scenarios()
        .into_iter()
        .filter(|scenario| options.only.as_ref().is_none_or(|only| scenario.name().contains(only)))
        .collect();
    let machine = machine::facts(&options.redis)?;
    if options.memory {
        let place = memory::Place { dormouse: &options.dormouse, redis: &options.redis, scratch: &options.scratch };
        let text = report::memory(&machine, &place.measure(memory::Size::of(options.quick))?);
        println!("\n{text}");
        return options.report.filter(|_| !options.quick).map_or(Ok(()), |path| report::write_memory(&path, &text));
    }
    let stage = Stage::open(&options.scratch, &options.dormouse, &options.redis, &options.webdis)?;
    let results = load::run_all(&stage, &chosen, plan)?;
    let report = report::Report { machine, plan, results };
    println!("\n{}", report.markdown());
    match options.report.filter(|_| options.only.is_none()) {
        Some(path) => report.write(&path),
        None => Ok(()),
    }
}
