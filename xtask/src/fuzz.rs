//! Fuzzing: builds the targets of `fuzz/` for libFuzzer, and runs each for a while.
//!
//! The flags that make libFuzzer see what code runs are given here, so that the pinned compiler builds the targets and no
//! tool is needed beside it but a C++ compiler, for libFuzzer itself. Our code has nothing unsafe, so there is no sanitizer.
//! What a run finds new stays in the target folder; the seeds in `fuzz/corpus` and the conformance pages are only read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::shell::{self, Shell};

/// What rustc is told: the passes that count branches and tell of comparisons, as libFuzzer wants them.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=4";

/// Longest input.
const INPUT_BYTES_MAX: u32 = 4096;
/// An input that takes longer is a failure: what a handful of commands may cost is far below it, on a busy machine, too.
const INPUT_SECONDS_MAX: u32 = 10;
/// Memory of a target, beyond which it has failed, in MB.
const MEMORY_MB_MAX: u32 = 2048;
/// Targets that run at once.
const AT_ONCE: usize = 2;

/// Those whose first corpus is the commands of the conformance pages.
const OF_PAGES: &[&str] = &["commands", "journal", "stored"];
/// Commands taken together as one seed.
const PAGE_COMMANDS: usize = 8;

/// Whether there is what libFuzzer is built with.
pub(crate) fn is_possible() -> bool {
    ["c++", "g++", "clang++"].iter().any(|compiler| shell::find(compiler).is_some())
}

/// The targets, by name.
pub(crate) fn targets(shell: &Shell) -> anyhow::Result<Vec<String>> {
    let folder = shell.root().join("fuzz/fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for file in files {
        let path = file?.path();
        if let (Some(name), Some("rs")) = (path.file_stem(), path.extension().and_then(|ending| ending.to_str())) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Builds all targets and runs those that are named, or all, each for `time`. Returns how many there were.
pub(crate) fn run(shell: &Shell, only: &[&str], time: Duration) -> anyhow::Result<u64> {
    let all = targets(shell)?;
    if let Some(unknown) = only.iter().find(|name| !all.iter().any(|target| target == **name)) {
        bail!("no target is called '{unknown}': there are {}", all.join(", "));
    }
    let names: Vec<&String> = all.iter().filter(|name| only.is_empty() || only.contains(&name.as_str())).collect();
    let programs = build(shell)?;
    let waiting = Mutex::new(names.iter());
    let failed = AtomicBool::new(false);
    let work = || -> anyhow::Result<()> {
        // The first failure ends the run, as it does for other steps.
        while !failed.load(Ordering::Relaxed) {
            let next = waiting.lock().ok().and_then(|mut names| names.next());
            let Some(name) = next else { break };
            one(shell, &programs, name, time).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let ended: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        ended.into_iter().try_for_each(|ended| ended.unwrap_or_else(|_| bail!("a thread of the tool has panicked")))
    })?;
    Ok(names.len() as u64)
}

/// Builds all targets; returns the folder with the programs.
fn build(shell: &Shell) -> anyhow::Result<PathBuf> {
    let mut rustc = shell.command("rustc");
    rustc.arg("-vV");
    let version = shell::output(rustc)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not name its host")?;
    let target = shell.target().join("fuzz");
    // A target named aloud, so that the flags are not those of build scripts and macros, too.
    let mut cargo =
        shell.cargo(&["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--bins", "--target", host]);
    cargo.env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", RUSTFLAGS);
    shell::run(cargo)?;
    Ok(target.join(host).join("release"))
}

/// Runs one target, from its seeds and what earlier runs have found.
fn one(shell: &Shell, programs: &Path, name: &str, time: Duration) -> anyhow::Result<()> {
    let folder = shell.target().join("fuzz");
    let (found, failures) = (folder.join("corpus").join(name), folder.join("failures").join(name));
    for folder in [&found, &failures] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    if OF_PAGES.contains(&name) {
        write_pages(shell, &found)?;
    }
    let mut command = shell.command(programs.join(name));
    command.arg(&found);
    let seeds = shell.root().join("fuzz/corpus").join(name);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command.args([
        format!("-max_total_time={}", time.as_secs().max(1)),
        format!("-max_len={INPUT_BYTES_MAX}"),
        format!("-timeout={INPUT_SECONDS_MAX}"),
        format!("-rss_limit_mb={MEMORY_MB_MAX}"),
        format!("-artifact_prefix={}/", failures.display()),
        "-verbosity=0".to_owned(),
        "-print_final_stats=1".to_owned(),
    ]);
    let ended = shell::quietly(command).with_context(|| format!("the target {name}"))?;
    let runs = ended.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units: "));
    println!("{name}: {} inputs in {} s", runs.unwrap_or("no").trim(), time.as_secs());
    Ok(())
}

/// The commands of the pages, some to a file.
fn write_pages(shell: &Shell, folder: &Path) -> anyhow::Result<()> {
    let pages = shell.root().join("conformance");
    for page in fs::read_dir(&pages).with_context(|| format!("cannot read {}", pages.display()))? {
        let page = page?.path();
        let text = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
        let name = page.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for (at, seed) in seeds(&text).iter().enumerate() {
            let file = folder.join(format!("page-{name}-{at:03}"));
            fs::write(&file, seed).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    Ok(())
}

/// The commands of a page: those of one session, and not too many, go together.
fn seeds(page: &str) -> Vec<String> {
    let mut seeds = Vec::new();
    for session in page.split("```redis").skip(1) {
        let session = session.split("```").next().unwrap_or_default();
        let commands = session.lines().filter_map(|line| line.split_once("> ")).map(|(_, command)| command);
        // As many values as Lua's stack holds: whether one more fits depends on what ran before.
        let commands: Vec<&str> = commands.filter(|command| !command.contains("7997")).collect();
        seeds.extend(commands.chunks(PAGE_COMMANDS).map(|commands| commands.join("\n")));
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_seeds() {
        let page = "# Page\n```redis\n> SET k v\nOK\na> GET k\n\"v\"\n```\n```redis resp\n> PING\nPONG\n```\n";
        assert_eq!(seeds(page), ["SET k v\nGET k", "PING"]);
    }

    #[test]
    fn every_target_is_built() {
        let shell = Shell::new().unwrap();
        let manifest = fs::read_to_string(shell.root().join("fuzz/Cargo.toml")).unwrap();
        let targets = targets(&shell).unwrap();
        assert!(targets.len() > 10);
        for name in &targets {
            assert!(
                manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
                "{name} is not in fuzz/Cargo.toml"
            );
        }
        assert!(OF_PAGES.iter().all(|name| targets.iter().any(|target| target == name)));
    }
}
