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
- **REST**: whether it can be called there. *on request*: it waits for a key, so it is refused unless the request asks for a
  [long-poll](rest.md#long-polls). *without BLOCK*: the same goes for it with that option. `SUBSCRIBE`, `PSUBSCRIBE` and `MONITOR` are
  [endpoints of their own](rest.md) there.
- **RESP**: everything, so there is no column for it.
- **Read-only**: whether a read-only token may call it.
- **Flags**: as `COMMAND INFO` gives them.
- **Differs**: the sections of differences.md that name it.
";

pub(crate) fn write(shell: &Shell) -> anyhow::Result<()> {
    let path = path(shell);
    let text = text(&differences(shell)?);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

pub(crate) fn check(shell: &Shell) -> anyhow::Result<()> {
    let text = text(&differences(shell)?);
    if std::fs::read_to_string(path(shell)).is_ok_and(|found| found == text) {
        return Ok(());
    }
    bail!("docs/commands.md is not what the command table says: run `cargo xtask docs`");
}

fn path(shell: &Shell) -> PathBuf {
    shell.root().join("docs/commands.md")
}

/// A section of `docs/differences.md`.
struct Difference {
    /// What a link to it ends with.
    anchor: String,
    /// Heading and body.
    text: String,
}

impl Difference {
    /// Whether it names a command, as code.
    fn names(&self, command: &str) -> bool {
        let code = self.text.split('`').skip(1).step_by(2);
        let mut starts = code.filter_map(|code| code.strip_prefix(command));
        starts
            .any(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || matches!(next, '.' | '-' | '_')))
    }
}

fn differences(shell: &Shell) -> anyhow::Result<Vec<Difference>> {
    let path = shell.root().join("docs/differences.md");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.split("\n### ").skip(1).map(difference).collect())
}

/// A section as it begins behind the marks of its heading, with the anchor that Markdown gives it.
fn difference(text: &str) -> Difference {
    let section = text.split("\n## ").next().unwrap_or_default();
    let heading = section.lines().next().unwrap_or_default().to_lowercase();
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-'));
    Difference { anchor: kept.collect::<String>().replace(' ', "-"), text: section.to_owned() }
}

fn text(differences: &[Difference]) -> String {
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
        out.push_str("| Command | Arguments | Since | REST | Read-only | Flags | Summary | Differs |\n");
        out.push_str("|---|---|---|---|---|---|---|---|\n");
        for row in rows {
            row.write(differences, &mut out);
        }
    }
    out
}

struct Row {
    name: String,
    command: &'static Command,
    rest: &'static str,
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
    let rest = match () {
        () if command.is_no_rest() => "no",
        () if command.blocks_if_asked() => "without BLOCK",
        () if command.may_block() => "on request",
        () => "yes",
    };
    Row { name, command, rest, read_only: command.permits(Grant::ReadOnly) }
}

impl Row {
    fn write(&self, differences: &[Difference], out: &mut String) {
        let command = self.command;
        let arguments = match command.arity {
            exact @ 0.. => exact.to_string(),
            least => format!("{}+", least.unsigned_abs()),
        };
        let links = differences.iter().filter(|difference| difference.names(&self.name)).enumerate();
        let links = links.map(|(at, found)| format!("[{}](differences.md#{})", at + 1, found.anchor));
        let links = links.collect::<Vec<_>>().join(" ");
        let read_only = if self.read_only { "yes" } else { "no" };
        let flags = command.flag_names().join(" ");
        let summary = command.summary.replace('|', "\\|");
        let _ = writeln!(
            out,
            "| `{}` | {arguments} | {} | {} | {read_only} | {flags} | {summary} | {links} |",
            self.name, command.since, self.rest
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
        let text = text(&[]);
        assert!(text.contains("| `GET` | 2 | 1.0.0 | yes | yes | readonly fast |"), "{text}");
        assert!(text.contains("| `BLPOP` | 3+ | 2.0.0 | on request | no |"), "{text}");
        assert!(text.contains("| `CLIENT SETNAME` | 3 |") && !text.contains("| `CLIENT` |"), "{text}");
        for command in dormouse_engine::all() {
            assert!(text.contains(&format!("| `{}", command.name)), "{}", command.name);
        }
    }

    #[test]
    fn a_difference_is_linked_from_the_commands_it_names() {
        let text = "A key copied, onto itself\n\n`COPY … DB` and `GETEX`.\n\n## Next\n\n`SET`";
        let found = difference(text);
        assert_eq!(found.anchor, "a-key-copied-onto-itself");
        assert!(found.names("COPY") && found.names("GETEX"));
        assert!(!found.names("GET") && !found.names("SET") && !found.names("DB"));
    }

    #[test]
    fn groups_are_titled() {
        assert_eq!(title("sorted-set"), "Sorted set");
        assert_eq!(title("pubsub"), "Pub/sub");
    }
}
