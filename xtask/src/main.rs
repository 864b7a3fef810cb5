//! `cargo xtask`: what needs logic and is not part of the product.
//!
//! `setup` installs what the tests need, `test` runs every check there is, `docs` writes what comes from the command table,
//! `deny` asks about advisories, `torture` kills the server again and again, `fuzz` runs what parses bytes for as long as one likes, `bench` measures against others. Tidiness of the tree (`tidy`) is an ordinary test.

#![expect(clippy::print_stdout, reason = "a tool for people and build logs")]

mod counts;
mod docs;
mod fuzz;
mod server;
mod setup;
mod shell;
mod test;
#[cfg(test)]
mod tidy;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::shell::Shell;

const USAGE: &str = "\
cargo xtask <command>

  setup                  install what the tests need (apt, npm, pip), if it is missing
  test [--only STEP]...  every check, one after another; stops at the first failure
  test --list            the steps
  fuzz [--seconds N] [TARGET]...
                         every target of fuzz/, or those named, for N seconds each (60)
  torture [--rounds N] [--seed N]
                         kill the real server under load so often (500), and look what is left each time
  docs [--check]         write docs/commands.md from the command table, or check that it is fresh
  deny                   licences, sources and advisories of the dependencies (needs cargo-deny and a network)
  bench [--memory] [--quick] ...
                         build for release, measure against webdis and Redis, write docs/benchmarks.md";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> anyhow::Result<()> {
    let shell = Shell::new()?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match &args[..] {
        ["setup"] => setup::run(&shell).map(drop),
        ["test", "--list"] => {
            test::list();
            Ok(())
        }
        ["test", rest @ ..] => test::run(&shell, &only(rest)?),
        ["fuzz", rest @ ..] => fuzz(&shell, rest),
        ["torture", rest @ ..] => torture(&shell, rest),
        ["docs"] => docs::write(&shell),
        ["docs", "--check"] => docs::check(&shell),
        ["deny"] => shell::run(shell.cargo(&["deny", "check"])).map(drop),
        ["bench", rest @ ..] => bench(&shell, rest),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("'{}' is not understood\n\n{USAGE}", args.join(" ")),
    }
}

/// The steps that `--only` names; none means all.
fn only<'a>(args: &[&'a str]) -> anyhow::Result<Vec<&'a str>> {
    let mut names = Vec::new();
    for pair in args.chunks(2) {
        match pair {
            ["--only", name] => names.push(*name),
            _ => bail!("'test {}' is not understood\n\n{USAGE}", args.join(" ")),
        }
    }
    Ok(names)
}

/// Fuzzes for as long as one likes.
fn fuzz(shell: &Shell, args: &[&str]) -> anyhow::Result<()> {
    let (seconds, names) = match args {
        ["--seconds", seconds, names @ ..] => {
            (seconds.parse().with_context(|| format!("'{seconds}' is not a number of seconds"))?, names)
        }
        names => (60, names),
    };
    let count = fuzz::run(shell, names, Duration::from_secs(seconds))?;
    println!("\n{count} passed, 0 failed");
    Ok(())
}

/// The crash test, for longer than among the others.
fn torture(shell: &Shell, args: &[&str]) -> anyhow::Result<()> {
    let (mut rounds, mut seed) = ("500", "42");
    for pair in args.chunks(2) {
        match pair {
            ["--rounds", number] => rounds = number,
            ["--seed", number] => seed = number,
            _ => bail!("'torture {}' is not understood\n\n{USAGE}", args.join(" ")),
        }
    }
    let name = "crash::what_was_acknowledged_survives_every_kill";
    let mut command = shell.cargo(&["test", "--workspace", "--test", "it", name, "--", "--nocapture"]);
    command.env("DORMOUSE_CRASH_ROUNDS", rounds).env("DORMOUSE_CRASH_SEED", seed);
    shell::run(command).map(drop)
}

/// Builds both sides for release and hands over to the load generator.
fn bench(shell: &Shell, args: &[&str]) -> anyhow::Result<()> {
    shell::run(shell.cargo(&["build", "--release", "-p", "dormouse", "-p", "dormouse-bench"]))?;
    let release = shell.target().join("release");
    let mut command = shell.command(release.join("dormouse-bench"));
    command.arg("--dormouse").arg(release.join("dormouse"));
    command.arg("--scratch").arg(shell.target().join("bench"));
    command.arg("--report").arg(shell.root().join("docs/benchmarks.md")).args(args);
    shell::run(command).map(drop)
}
