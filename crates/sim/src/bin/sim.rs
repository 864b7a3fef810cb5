//! Runs simulated lives from seeds, and shows the first that was not as it must be.
#![expect(clippy::print_stdout, reason = "a command for people")]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use dormouse_sim::{Mutant, Report, run};

/// Simulates Dormouse on a disk that fails.
#[derive(Parser)]
struct Args {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Steps of each life.
    #[arg(long, default_value_t = 400)]
    steps: u64,
    /// Shows what happened even if all was well.
    #[arg(long)]
    report: bool,
    /// Tells whether the judge notices each kind of bug.
    #[arg(long)]
    mutants: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let began = Instant::now();
    if args.mutants {
        return mutants(&args);
    }
    let mut sum = Report::default();
    for seed in args.seed..args.seed + args.seeds {
        match run(seed, args.steps, None) {
            Ok(report) => {
                if args.report {
                    println!("seed {seed}: {report:?}");
                }
                sum += report;
            }
            Err(failure) => {
                println!("{failure}");
                println!("again: sim --seed {seed} --steps {}", args.steps);
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{} seeds of {} steps in {:?}: {sum:?}", args.seeds, args.steps, began.elapsed());
    ExitCode::SUCCESS
}

/// For each mutant, how many seeds it took until it was noticed.
fn mutants(args: &Args) -> ExitCode {
    let mut all = true;
    for mutant in Mutant::ALL {
        let noticed = (args.seed..args.seed + args.seeds).find_map(|seed| run(seed, args.steps, Some(mutant)).err());
        if let Some(failure) = noticed {
            let what: Vec<&str> = failure.what.lines().take(3).collect();
            println!("{mutant:?}: seed {}: {}", failure.seed, what.join(" | "));
        } else {
            println!("{mutant:?}: not noticed");
            all = false;
        }
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
