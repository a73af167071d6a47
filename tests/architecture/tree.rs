//! The Rust files of the tree, and which of them name which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::code::Code;

/// The folders of our crates, with the names that other crates know them by.
pub const CRATES: [(&str, &str); 5] = [
    ("src", "distributary"),
    ("core/src", "distributary_core"),
    ("api/src", "distributary_api"),
    ("probe/src", "distributary_probe"),
    ("client/src", "distributary_client"),
];

/// A file of production.
pub struct File {
    /// The folder of its crate.
    pub folder: &'static str,
    /// From the folder of its crate.
    pub path: PathBuf,
    /// Its module, from the root of its crate; empty: the root itself.
    pub module: Vec<String>,
    pub text: String,
    pub code: Code,
}

impl File {
    /// Its room: the first module on the way to it; the root has none.
    pub fn room(&self) -> Option<&str> {
        self.module.first().map(String::as_str)
    }

    pub fn name(&self) -> String {
        format!("{}/{}", self.folder, self.path.display())
    }

    /// A path that this file names, from the root of its own crate; `None`: it leads elsewhere.
    fn resolve(&self, path: &[String], is_module: impl Fn(&[String]) -> bool) -> Option<Vec<String>> {
        let child = || {
            let mut child = self.module.clone();
            child.push(path[0].clone());
            is_module(&child)
        };
        let mut from = match path[0].as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.module.clone(),
            _ if child() => {
                let mut whole = self.module.clone();
                whole.extend_from_slice(path);
                return Some(whole);
            }
            _ => return None,
        };
        for word in path {
            match word.as_str() {
                "crate" | "self" => {}
                "super" => {
                    from.pop();
                }
                word => from.push(word.to_owned()),
            }
        }
        Some(from)
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files of production, in the order of their paths.
pub fn files() -> Vec<File> {
    let of_crate = |(folder, _): &(&'static str, &'static str)| {
        let folder = *folder;
        let sources = rust(&root().join(folder)).into_iter();
        sources
            .filter(|(path, _)| !is_test(path))
            .map(move |(path, text)| file(folder, path, text))
    };
    CRATES.iter().flat_map(of_crate).collect()
}

pub fn file(folder: &'static str, path: PathBuf, text: String) -> File {
    let mut module: Vec<_> = path
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if matches!(module.last().map(String::as_str), Some("lib" | "main" | "mod")) {
        module.pop();
    }
    let code = Code::of(&text);
    File {
        folder,
        path,
        module,
        text,
        code,
    }
}

fn is_test(path: &Path) -> bool {
    let tests = path.components().any(|part| part.as_os_str() == "tests");
    tests || ["tests.rs", "fixture.rs"].iter().any(|name| path.ends_with(name))
}

/// The Rust files under a folder, by their path from there.
fn rust(top: &Path) -> Vec<(PathBuf, String)> {
    let (mut folders, mut files) = (vec![top.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("Rust is UTF-8");
                let path = path.strip_prefix(top).expect("it is under the folder");
                files.push((path.to_owned(), text));
            }
        }
    }
    files.sort();
    files
}

/// Which node names which others.
pub type Graph = BTreeMap<String, BTreeSet<String>>;

/// Which file of one crate names which, by their modules. Declaring a child (`mod child`) is no use of it.
pub fn uses<'a>(files: impl IntoIterator<Item = &'a File> + Clone) -> Graph {
    let modules: BTreeSet<_> = files
        .clone()
        .into_iter()
        .map(|file| file.module.clone())
        .collect();
    let name = |module: &[String]| {
        if module.is_empty() {
            "the root".to_owned()
        } else {
            module.join("::")
        }
    };
    let mut graph = Graph::new();
    for file in files {
        let mut named = BTreeSet::new();
        for path in file.code.paths() {
            let Some(mut whole) = file.resolve(&path, |module| modules.contains(module)) else {
                continue;
            };
            while !modules.contains(&whole) && whole.pop().is_some() {}
            if modules.contains(&whole) && whole != file.module {
                named.insert(name(&whole));
            }
        }
        graph.insert(name(&file.module), named);
    }
    graph
}

/// Which room of one crate names which; its root connects them and is none.
pub fn rooms<'a>(files: impl IntoIterator<Item = &'a File> + Clone) -> Graph {
    let room = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
    let mut graph = Graph::new();
    for (file, named) in uses(files) {
        let others = named.iter().map(|other| room(other));
        let own = room(&file);
        let others: Vec<_> = others
            .filter(|other| *other != own && other != "the root")
            .collect();
        if own != "the root" {
            graph.entry(own).or_default().extend(others);
        }
    }
    graph
}

/// The nodes that lead back to themselves, each with the way.
pub fn circles(graph: &Graph) -> Vec<String> {
    let mut found = BTreeMap::new();
    for start in graph.keys() {
        if let Some(way) = way_back(graph, start) {
            let members: BTreeSet<_> = way.iter().cloned().collect();
            found
                .entry(members)
                .or_insert_with(|| format!("{start} → {}", way.join(" → ")));
        }
    }
    found.into_values().collect()
}

/// The shortest way from a node to itself.
fn way_back(graph: &Graph, start: &str) -> Option<Vec<String>> {
    let (mut ways, mut seen) = (vec![vec![start.to_owned()]], BTreeSet::new());
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in graph.get(way.last()?).into_iter().flatten() {
                let mut way = way.clone();
                way.push(next.clone());
                if next == start {
                    way.remove(0);
                    return Some(way);
                }
                if seen.insert(next.clone()) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}
