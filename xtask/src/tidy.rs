//! Tidiness, as ordinary tests: what every file of the tree keeps to and no other tool looks at.

use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 1_000;
/// Joined here so that this file does not contain what it forbids.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "finish it, or write an issue"),
    (concat!("FIX", "ME"), "fix it"),
    (concat!("dbg", "!("), "a leftover"),
    (concat!("todo", "!("), "a stub"),
    (concat!("unimplemented", "!("), "a stub"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/Us", "ers/"), "a path of one machine"),
    (concat!("/tmp/tar", "get"), "a path of one machine"),
];
/// Folders that hold what others wrote, or what was built.
const NOT_OURS: &[&str] = &["target", ".git", "node_modules", "corpus", "artifacts", ".venv", "__pycache__"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Our files with one of these endings, as paths from the root.
fn files(endings: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if !NOT_OURS.contains(&name) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted)) {
                // A file that an editor has just replaced is not ours to judge.
                if let Ok(text) = fs::read_to_string(&path) {
                    found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
                }
            }
        }
    }
    assert!(found.len() > 5, "the tree is somewhere else: {}", root().display());
    found
}

fn complain(what: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{what}:\n{}", complaints.join("\n"));
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<_> = files(&["rs"])
        .iter()
        // A fuzz target's first line must be an attribute.
        .filter(|(_, text)| {
            !text.lines().find(|line| !line.starts_with("#![")).is_some_and(|line| line.starts_with("//!"))
        })
        .map(|(path, _)| path.display().to_string())
        .collect();
    complain("these files do not open with a //! doc", &silent);
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<_> = files(&["rs"])
        .iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{}: {lines} lines; a folder would read better", path.display()))
        .collect();
    complain("these files are too long", &long);
}

#[test]
fn nothing_is_left_over() {
    let mut left = Vec::new();
    for (path, text) in files(&["rs", "md", "toml", "js", "mjs", "py", "yml", "yaml", "sh"]) {
        for (number, line) in text.lines().enumerate() {
            for (word, why) in FORBIDDEN.iter().filter(|(word, _)| line.contains(word)) {
                left.push(format!("{}:{}: {word} ({why})", path.display(), number + 1));
            }
        }
    }
    complain("left over", &left);
}

/// Of the workspace; helpers outside it say in a comment what they are.
fn is_member(manifest: &Path) -> bool {
    manifest.starts_with("xtask") || (manifest.starts_with("crates") && manifest.components().count() == 3)
}

#[test]
fn every_crate_is_described() {
    let bare: Vec<_> = files(&["toml"])
        .iter()
        .filter(|(path, _)| path.ends_with("Cargo.toml") && is_member(path))
        .filter(|(_, text)| {
            let description = text.lines().find_map(|line| line.strip_prefix("description = "));
            description.is_none_or(|text| text.len() <= 20)
        })
        .map(|(path, _)| path.display().to_string())
        .collect();
    complain("these crates have no description", &bare);
}

#[test]
fn guides_name_files_that_exist() {
    let mut missing = Vec::new();
    for guide in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(guide)).unwrap();
        let quoted = text.split('`').skip(1).step_by(2).filter(|text| text.contains("/src/") && !text.contains('<'));
        for name in quoted.filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "rs")) {
            if !root().join(name).exists() && !root().join("crates").join(name).exists() {
                missing.push(format!("{guide}: {name}"));
            }
        }
    }
    complain("these are not there", &missing);
}
