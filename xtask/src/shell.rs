//! Running other programs: from the root of the repository, with their output shown as it comes and counted on the way.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::counts::Counts;

/// Where the repository and what is built of it are.
pub(crate) struct Shell {
    root: PathBuf,
    target: PathBuf,
}

impl Shell {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the repository")?.to_owned();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        Ok(Self { root, target })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// A command that will run at the root.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// Cargo as from a terminal. What it tells this tool about this tool's own package is for nobody else: there are build
    /// scripts that look at it, so that a build from here and one from a terminal would undo each other.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut command = self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in std::env::vars_os() {
            if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| name.to_string_lossy().starts_with(own)) {
                command.env_remove(name);
            }
        }
        command.args(args);
        command
    }
}

/// Runs a command to its end; tells how many tests it said have passed and failed.
pub(crate) fn run(mut command: Command) -> anyhow::Result<Counts> {
    let line = describe(&command);
    println!("$ {line}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {line}"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let counts = std::thread::scope(|scope| {
        let errors = scope.spawn(|| stderr.map_or_else(Counts::default, echo));
        let mut counts = stdout.map_or_else(Counts::default, echo);
        counts.add(errors.join().unwrap_or_default());
        counts
    });
    let status = child.wait()?;
    if !status.success() {
        return Err(Failed { line, status: status.to_string(), counts }.into());
    }
    Ok(counts)
}

/// What a command prints, without its last newline.
pub(crate) fn output(mut command: Command) -> anyhow::Result<String> {
    let line = describe(&command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {line}"))?;
    if !output.status.success() {
        bail!("{line}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// As [`run`], showing what the command says only if it ends badly; returns that. Its errors are what is read.
pub(crate) fn quietly(mut command: Command) -> anyhow::Result<String> {
    let line = describe(&command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {line}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        println!("$ {line}\n{said}");
        return Err(Failed { line, status: output.status.to_string(), counts: Counts::default() }.into());
    }
    Ok(said)
}

/// The program of that name, if there is one on the path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// A program ended badly; what it had counted until then is still worth telling.
#[derive(Debug)]
pub(crate) struct Failed {
    line: String,
    status: String,
    pub(crate) counts: Counts,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.line, self.status)
    }
}

impl std::error::Error for Failed {}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Shows a stream line by line; bytes that are not text are shown as well as they can be.
fn echo(stream: impl Read) -> Counts {
    let mut counts = Counts::default();
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(1..) = reader.read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        println!("{text}");
        counts.add(Counts::of_line(text));
        line.clear();
    }
    counts
}
