//! The documentation says what the code says. `UPDATE_DOCS=1` rewrites what is generated.

mod alerts;
mod chart;
mod examples;
mod generated;
mod names;
mod pages;
mod policies;
mod reference;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The generated text must be there; `UPDATE_DOCS=1` puts it there.
fn must_be(path: &str, generated: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(root().join(path), generated).unwrap();
    }
    let found = fs::read_to_string(root().join(path)).unwrap_or_default();
    assert!(
        found == generated,
        "{path} differs from the code: UPDATE_DOCS=1 cargo test --test docs"
    );
}

/// Every file with this extension below a directory of the repository, as paths from its root.
fn below(directory: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// README.md and its neighbours, and everything in docs/.
fn pages() -> Vec<PathBuf> {
    let beside = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = beside
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| path.strip_prefix(root()).unwrap().to_owned())
        .collect();
    pages.extend(below("docs", "md"));
    pages.extend(below("charts", "md"));
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// A fenced block: its language, its text, and the comment on the line before it.
struct Block {
    language: String,
    text: String,
    comment: Option<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    let mut before = "";
    while let Some(line) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let text: String = lines
                .by_ref()
                .take_while(|line| !line.trim_start().starts_with("```"))
                .flat_map(|line| [line, "\n"])
                .collect();
            let comment = before
                .strip_prefix("<!-- ")
                .and_then(|comment| comment.strip_suffix(" -->"));
            blocks.push(Block {
                language: language.to_owned(),
                text,
                comment: comment.map(ToOwned::to_owned),
            });
        }
        before = line;
    }
    blocks
}

/// Every line of a page without its fenced blocks.
fn prose(page: &str) -> Vec<&str> {
    let mut fenced = false;
    let outside = |line: &&str| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    };
    page.lines().filter(outside).collect()
}

/// Each of `names` must stand in code marks on the page.
fn must_name(page: &str, names: &[String]) {
    assert!(!names.is_empty());
    let text = read(page);
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !text.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "{page} does not name {missing:?}");
}

fn schema() -> Value {
    distributary_api::crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}
