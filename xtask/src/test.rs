//! Every check there is, one after another, with a heading, a time and a count for each.
//!
//! One build profile (dev, lightly optimised) serves all steps, so that the workspace is compiled once for the tests and
//! once for the lints. The first failure ends the run; the last line is always `N passed, N failed`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::counts::Counts;
use crate::server::Server;
use crate::shell::{self, Failed, Shell};
use crate::{docs, fuzz, setup};

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Shell) -> anyhow::Result<Done>,
}

/// How a step that did not fail ended.
enum Done {
    Ran(Counts),
    /// It could not run here, and why that is no failure.
    Skipped(&'static str),
}

impl From<Counts> for Done {
    fn from(counts: Counts) -> Self {
        Self::Ran(counts)
    }
}

const STEPS: &[Step] = &[
    Step { name: "setup", about: "what the tests need is installed", run: setup_step },
    Step { name: "format", about: "rustfmt has nothing to change", run: format },
    Step { name: "lint", about: "clippy has nothing to say", run: lint },
    Step { name: "tests", about: "unit, property and crash tests of the workspace", run: tests },
    Step { name: "doc-tests", about: "examples in the documentation run", run: doc_tests },
    Step { name: "docs", about: "generated documentation is fresh", run: docs_are_fresh },
    Step { name: "conformance", about: "the pages hold on every door and on a real Redis", run: conformance },
    Step { name: "differential", about: "random commands: the same replies as real servers", run: differential },
    Step { name: "valkey", about: "the pages and random commands beside Valkey", run: valkey },
    Step { name: "redis-8", about: "the pages and random commands beside Redis 8.2", run: redis_8 },
    Step { name: "rejson", about: "JSON: the page and random commands beside RedisJSON", run: rejson },
    Step { name: "sdk-js", about: "the unmodified JavaScript SDKs", run: sdk_js },
    Step { name: "sdk-python", about: "the unmodified Python SDKs", run: sdk_python },
    Step { name: "fuzz", about: "every fuzz target, for a little while", run: fuzz_targets },
    Step { name: "deny", about: "licences and sources of dependencies", run: deny },
];

/// The first seed of the differential check, always the same, so that a failure means that something changed here.
const SEED: &str = "1";
/// How many there are.
const SEEDS: &str = "24";

/// As many for JSON, whose commands are quicker.
const JSON_SEEDS: &str = "40";

/// How long each target runs; `cargo xtask fuzz` is for more.
const FUZZ_TIME: Duration = Duration::from_secs(5);

pub(crate) fn list() {
    for Step { name, about, .. } in STEPS {
        println!("{name:<14}{about}");
    }
}

/// Runs the steps named, or all.
pub(crate) fn run(shell: &Shell, only: &[&str]) -> anyhow::Result<()> {
    if let Some(unknown) = only.iter().find(|name| !STEPS.iter().any(|step| step.name == **name)) {
        bail!("no step is called '{unknown}': see `cargo xtask test --list`");
    }
    let begun = Instant::now();
    let mut total = Counts::default();
    let mut summary = Vec::new();
    let mut failure = None;
    for step in STEPS.iter().filter(|step| only.is_empty() || only.contains(&step.name)) {
        println!("\n==> {}: {}", step.name, step.about);
        let started = Instant::now();
        let result = (step.run)(shell);
        let (counts, outcome) = judge(&result);
        total.add(counts);
        summary.push(row(step.name, started.elapsed(), &outcome));
        if let Err(error) = result {
            failure = Some((step.name, error));
            break;
        }
    }
    println!("\n==> summary, {}", seconds(begun.elapsed()));
    for row in summary {
        println!("{row}");
    }
    if let Some((name, error)) = &failure {
        println!("\n{name} failed: {error:#}\nAgain, alone: cargo xtask test --only {name}");
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    if failure.is_some() { std::process::exit(1) } else { Ok(()) }
}

/// What a step adds to the total, and its outcome in words. A step without tests of its own counts as one.
fn judge(result: &anyhow::Result<Done>) -> (Counts, String) {
    match result {
        Ok(Done::Skipped(why)) => (Counts::default(), format!("skipped: {why}")),
        Ok(Done::Ran(counts)) if counts.passed == 0 => (Counts { passed: 1, failed: 0 }, "ok".into()),
        Ok(Done::Ran(counts)) => (*counts, format!("ok, {} passed", counts.passed)),
        Err(error) => {
            let mut counts = error.downcast_ref::<Failed>().map_or_else(Counts::default, |failed| failed.counts);
            counts.failed = counts.failed.max(1);
            (counts, format!("FAILED, {} passed, {} failed", counts.passed, counts.failed))
        }
    }
}

fn row(name: &str, time: Duration, outcome: &str) -> String {
    format!("{name:<14}{:>8}  {outcome}", seconds(time))
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// The server of the dev profile, built now: together with the tests, which ask for more of some dependencies, so that
/// nothing is compiled again without that.
fn server(shell: &Shell) -> anyhow::Result<PathBuf> {
    shell::run(shell.cargo(&["build", "--workspace", "--bins", "--tests"]))?;
    Ok(shell.target().join("debug/dormouse"))
}

fn setup_step(shell: &Shell) -> anyhow::Result<Done> {
    setup::run(shell)?;
    Ok(Counts::default().into())
}

fn format(shell: &Shell) -> anyhow::Result<Done> {
    Ok(shell::run(shell.cargo(&["fmt", "--all", "--", "--check"]))?.into())
}

fn lint(shell: &Shell) -> anyhow::Result<Done> {
    Ok(shell::run(shell.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?.into())
}

fn tests(shell: &Shell) -> anyhow::Result<Done> {
    let cargo = if shell::find("cargo-nextest").is_some() {
        shell.cargo(&["nextest", "run", "--workspace", "--no-fail-fast"])
    } else {
        shell.cargo(&["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"])
    };
    Ok(shell::run(cargo)?.into())
}

fn doc_tests(shell: &Shell) -> anyhow::Result<Done> {
    Ok(shell::run(shell.cargo(&["test", "--workspace", "--doc"]))?.into())
}

fn docs_are_fresh(shell: &Shell) -> anyhow::Result<Done> {
    docs::check(shell)?;
    Ok(Counts::default().into())
}

/// The engine in the tool's own process, a server's two doors, and a real server.
fn conformance(shell: &Shell) -> anyhow::Result<Done> {
    let program = server(shell)?;
    let server = Server::start(shell, &program)?;
    let mut command = shell.command(shell.target().join("debug/conformance"));
    command.args(["--resp", &server.resp.to_string(), "--rest", &server.rest.to_string(), "--token", server.token]);
    command.args(["--redis", "redis-server"]);
    Ok(shell::run(command)?.into())
}

fn differential(shell: &Shell) -> anyhow::Result<Done> {
    server(shell)?;
    differ(shell, Path::new("redis-server")).map(Done::from)
}

fn differ(shell: &Shell, rival: &Path) -> anyhow::Result<Counts> {
    let mut command = shell.command(shell.target().join("debug/differential"));
    command.args(["--seed", SEED, "--seeds", SEEDS, "--against"]).arg(rival);
    shell::run(command)
}

fn valkey(shell: &Shell) -> anyhow::Result<Done> {
    beside(shell, &setup::run(shell)?.valkey)
}

fn redis_8(shell: &Shell) -> anyhow::Result<Done> {
    beside(shell, &setup::run(shell)?.redis_8)
}

/// The pages and random commands on another server, and its keys in files and on the way here.
fn beside(shell: &Shell, other: &Path) -> anyhow::Result<Done> {
    server(shell)?;
    let mut command = shell.command(shell.target().join("debug/conformance"));
    command.arg("--redis").arg(other);
    let mut counts = shell::run(command)?;
    counts.add(differ(shell, other)?);
    let mut command = shell.cargo(&["test", "--workspace", "--test", "it", "transfer::"]);
    command.env("REAL_REDIS_SERVER", other);
    counts.add(shell::run(command)?);
    Ok(counts.into())
}

fn rejson(shell: &Shell) -> anyhow::Result<Done> {
    server(shell)?;
    let module = setup::run(shell)?.rejson;
    let mut command = shell.command(shell.target().join("debug/conformance"));
    command.args(["--only", "json", "--redis", "redis-server", "--module"]).arg(&module);
    let mut counts = shell::run(command)?;
    let mut command = shell.command(shell.target().join("debug/differential"));
    command.args(["--seed", SEED, "--seeds", JSON_SEEDS, "--against", "redis-server", "--module"]).arg(&module);
    counts.add(shell::run(command)?);
    Ok(counts.into())
}

fn sdk_js(shell: &Shell) -> anyhow::Result<Done> {
    setup::run(shell)?;
    let server = server(shell)?;
    let mut command = shell.command("npm");
    command.current_dir(shell.root().join("tests/sdk/js")).arg("test").env("DORMOUSE_BIN", server);
    Ok(shell::run(command)?.into())
}

fn sdk_python(shell: &Shell) -> anyhow::Result<Done> {
    let server = server(shell)?;
    let mut command = shell.command(setup::run(shell)?.python);
    command.current_dir(shell.root().join("tests/sdk/python"));
    command.args(["-m", "pytest", "--color=no"]).env("DORMOUSE_BIN", server);
    Ok(shell::run(command)?.into())
}

fn fuzz_targets(shell: &Shell) -> anyhow::Result<Done> {
    if !fuzz::is_possible() {
        return Ok(Done::Skipped("libFuzzer needs a C++ compiler (Debian: apt-get install g++)"));
    }
    Ok(Counts { passed: fuzz::run(shell, &[], FUZZ_TIME)?, failed: 0 }.into())
}

/// Advisories need the network and change by themselves: they are `cargo xtask deny`, not part of what must hold.
fn deny(shell: &Shell) -> anyhow::Result<Done> {
    if shell::find("cargo-deny").is_none() {
        return Ok(Done::Skipped("cargo-deny is not installed (cargo install cargo-deny --locked)"));
    }
    Ok(shell::run(shell.cargo(&["deny", "--offline", "check", "licenses", "bans", "sources"]))?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_without_tests_counts_as_one() {
        assert_eq!(judge(&Ok(Counts::default().into())).0, Counts { passed: 1, failed: 0 });
        assert_eq!(judge(&Ok(Counts { passed: 7, failed: 0 }.into())).0, Counts { passed: 7, failed: 0 });
        assert_eq!(judge(&Err(anyhow::anyhow!("no"))).0, Counts { passed: 0, failed: 1 });
        assert_eq!(judge(&Ok(Done::Skipped("why"))).0, Counts::default());
    }

    #[test]
    fn unknown_steps_are_refused() {
        assert!(run(&Shell::new().unwrap(), &["nonsense"]).is_err());
    }
}
