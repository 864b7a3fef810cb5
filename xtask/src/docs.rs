//! `docs/commands.md`, written from the command table: what a reader may rely on is what the server itself goes by.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use dormouse_engine::{Command, Grant, Group};

use crate::shell::Shell;

const INTRO: &str = "\
# Commands

<!-- Written by `cargo xtask docs` from the command table in crates/engine. Do not edit. -->

Replies are those of Redis unless [differences.md](differences.md) says otherwise.

- **Arguments**: how many, the name (and the sub-command's) included; `3+` means three or more.
- **Since**: the first Redis version that has it, or the product that brought it.
- **Doors**: where it can be called. What belongs to a connection is RESP only.
- **Read-only**: whether a read-only token may call it.
- **Flags**: as `COMMAND INFO` gives them.
";

pub(crate) fn write(shell: &Shell) -> anyhow::Result<()> {
    let path = path(shell);
    std::fs::write(&path, text()).with_context(|| format!("cannot write {}", path.display()))
}

pub(crate) fn check(shell: &Shell) -> anyhow::Result<()> {
    if std::fs::read_to_string(path(shell)).is_ok_and(|found| found == text()) {
        return Ok(());
    }
    bail!("docs/commands.md is not what the command table says: run `cargo xtask docs`");
}

fn path(shell: &Shell) -> PathBuf {
    shell.root().join("docs/commands.md")
}

fn text() -> String {
    let mut groups: Vec<(Group, Vec<Row>)> = Vec::new();
    for command in dormouse_engine::all() {
        let position = groups.iter().position(|(group, _)| *group == command.group).unwrap_or_else(|| {
            groups.push((command.group, Vec::new()));
            groups.len() - 1
        });
        groups[position].1.extend(rows(command));
    }
    groups.sort_by_key(|(group, _)| *group);
    let count: usize = groups.iter().map(|(_, rows)| rows.len()).sum();
    let mut out = format!("{INTRO}\n{count} commands, sub-commands included.\n");
    for (group, mut rows) in groups {
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        let _ = write!(out, "\n## {}\n\n", title(group.name()));
        out.push_str("| Command | Arguments | Since | Doors | Read-only | Flags | Summary |\n");
        out.push_str("|---|---|---|---|---|---|---|\n");
        for row in rows {
            row.write(&mut out);
        }
    }
    out
}

struct Row {
    name: String,
    command: &'static Command,
    rest: bool,
    read_only: bool,
}

/// The command itself, unless it only holds others, and its sub-commands.
fn rows(command: &'static Command) -> impl Iterator<Item = Row> {
    let holds_only = matches!(command.run, dormouse_engine::Run::Container);
    let own = (!holds_only).then(|| row(command.name.to_owned(), command));
    let subcommands = command.subcommands.iter().map(|sub| row(format!("{} {}", command.name, sub.name), sub));
    own.into_iter().chain(subcommands)
}

fn row(name: String, command: &'static Command) -> Row {
    let rest = !command.is_no_rest() && !command.may_block();
    Row { name, command, rest, read_only: command.permits(Grant::ReadOnly) }
}

impl Row {
    fn write(&self, out: &mut String) {
        let command = self.command;
        let arguments = match command.arity {
            exact @ 0.. => exact.to_string(),
            least => format!("{}+", least.unsigned_abs()),
        };
        let doors = if self.rest { "REST, RESP" } else { "RESP" };
        let read_only = if self.read_only { "yes" } else { "no" };
        let flags = command.flag_names().join(" ");
        let summary = command.summary.replace('|', "\\|");
        let _ = writeln!(
            out,
            "| `{}` | {arguments} | {} | {doors} | {read_only} | {flags} | {summary} |",
            self.name, command.since
        );
    }
}

/// `sorted-set` as a heading.
fn title(name: &str) -> String {
    if name == "pubsub" {
        return "Pub/sub".to_owned();
    }
    let words = name.replace('-', " ");
    words[..1].to_uppercase() + &words[1..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_row() {
        let text = text();
        assert!(text.contains("| `GET` | 2 | 1.0.0 | REST, RESP | yes | readonly fast |"), "{text}");
        assert!(text.contains("| `CLIENT SETNAME` | 3 |") && !text.contains("| `CLIENT` |"), "{text}");
        for command in dormouse_engine::all() {
            assert!(text.contains(&format!("| `{}", command.name)), "{}", command.name);
        }
    }

    #[test]
    fn groups_are_titled() {
        assert_eq!(title("sorted-set"), "Sorted set");
        assert_eq!(title("pubsub"), "Pub/sub");
    }
}
