//! The rules of the house: which part may know which, and how long a file may be.
//!
//! Paths are found in the text of the code, without comments, strings and tests: `use` lines with their braces, and
//! paths in the middle of code that begin with a crate's name or `crate::`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const LONGEST_FILE: usize = 500;

/// What a part of the tree may name. A name is a crate, or a module of ours as `crate::domain`.
struct Rule {
    part: &'static str,
    /// `None`: any crate.
    crates: Option<&'static [&'static str]>,
    modules: &'static [&'static str],
}

/// The arrows: data moves one way.
const RULES: [Rule; 9] = [
    Rule {
        part: "domain",
        crates: Some(&["std", "serde", "thiserror"]),
        modules: &["domain"],
    },
    Rule {
        part: "validate",
        crates: Some(&["std", "serde", "thiserror", "k8s_openapi", "serde_json", "sha2"]),
        modules: &["api", "domain", "render", "validate"],
    },
    Rule {
        part: "rehearse",
        crates: Some(&["std", "serde", "thiserror"]),
        modules: &["api", "domain", "rehearse", "validate"],
    },
    Rule {
        part: "render",
        crates: Some(&["std", "serde", "thiserror", "k8s_openapi", "serde_json", "sha2"]),
        modules: &["api", "domain", "render", "validate"],
    },
    Rule {
        part: "api",
        crates: None,
        modules: &["api"],
    },
    Rule {
        part: "probe",
        crates: None,
        modules: &["probe", "domain", "clock", "metrics"],
    },
    Rule {
        part: "k8s",
        crates: None,
        modules: &[
            "k8s",
            "api",
            "domain",
            "render",
            "validate",
            "runtime",
            "clock",
            "metrics",
            "telemetry",
        ],
    },
    Rule {
        part: "admin",
        crates: None,
        modules: &["admin", "clock", "domain", "metrics", "runtime", "k8s"],
    },
    Rule {
        part: "clock",
        crates: None,
        modules: &["clock", "domain"],
    },
];

/// Words of time and of asynchrony that the pure parts do not have.
const IMPURE_WORDS: [&str; 4] = ["async", "await", "SystemTime", "Instant"];
/// Crates that the code can name without a `use`.
const CRATES: [&str; 33] = [
    "axum",
    "bytes",
    "clap",
    "fallible_iterator",
    "futures",
    "hickory_resolver",
    "ipnet",
    "jiff",
    "k8s_openapi",
    "kube",
    "nix",
    "postgres_protocol",
    "prometheus_client",
    "rustls",
    "rustls_native_certs",
    "schemars",
    "serde",
    "serde_json",
    "serde_yaml",
    "sha2",
    "similar",
    "socket2",
    "std",
    "core",
    "alloc",
    "thiserror",
    "tokio",
    "tokio_postgres",
    "tokio_postgres_rustls",
    "tokio_util",
    "tower",
    "tracing",
    "tracing_subscriber",
];

/// The code without comments, and with every string and character literal empty.
fn stripped(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest) {
            code.push_str("\"\"");
            length
        } else if first == '"' {
            code.push_str("\"\"");
            string(rest)
        } else if let Some(length) = character(rest) {
            code.push_str("' '");
            length
        } else {
            code.push(first);
            first.len_utf8()
        };
        rest = &rest[skipped..];
    }
    code
}

fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.strip_prefix('r')?.chars().take_while(|c| *c == '#').count();
    rest[1 + hashes..].starts_with('"').then_some(())?;
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    Some(
        rest[body..]
            .find(&end)
            .map_or(rest.len(), |at| body + at + end.len()),
    )
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    let mut chars = body.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        return body[2..].find('\'').map(|end| end + 4);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 2)
}

/// The code up to its unit tests, and without items that only tests have.
fn production(code: &str) -> &str {
    code.find("#[cfg(test)]\nmod ").map_or(code, |at| &code[..at])
}

/// Every path that the code names: the first segment, two where the first is `crate`.
fn names(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for statement in code.split(';') {
        let statement = statement.trim_start_matches(|c: char| c.is_whitespace() || c == '}');
        let imported = statement
            .split_once("use ")
            .filter(|(before, _)| matches!(before.trim(), "" | "pub" | "pub(crate)" | "pub(super)"));
        if let Some((_, tree)) = imported {
            expand("", tree, &mut names);
        }
    }
    let words: Vec<&str> = code.split("::").collect();
    for (at, pair) in words.windows(2).enumerate() {
        let first = last_word(pair[0]);
        let second = first_word(pair[1]);
        // A module of another crate, as in `k8s_openapi::jiff::Timestamp`.
        let inner = at > 0 && pair[0].trim() == first && !last_word(words[at - 1]).is_empty();
        if first == "crate" && !second.is_empty() {
            names.insert(format!("crate::{second}"));
        } else if CRATES.contains(&first) && !inner {
            names.insert(first.to_owned());
        }
    }
    names
}

/// A `use` tree: `{a, b::c}` after a prefix.
fn expand(prefix: &str, tree: &str, names: &mut BTreeSet<String>) {
    let tree = tree.trim().trim_start_matches("::");
    if let Some(inner) = tree.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        for item in top_level(inner) {
            expand(prefix, item, names);
        }
        return;
    }
    let first = first_word(tree);
    let rest = tree[first.len()..].trim_start().strip_prefix("::");
    match (prefix, first, rest) {
        (_, "" | "self" | "super", _) => {}
        ("", "crate", Some(rest)) => expand("crate", rest, names),
        ("crate", module, _) => {
            names.insert(format!("crate::{module}"));
        }
        (_, module, _) => {
            names.insert(module.to_owned());
        }
    }
}

/// The parts between commas that no brace encloses.
fn top_level(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_usize, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

fn last_word(text: &str) -> &str {
    let start = text
        .char_indices()
        .rev()
        .find(|(_, c)| !is_word(*c))
        .map_or(0, |(at, c)| at + c.len_utf8());
    &text[start..]
}

/// What a file of a part names and may not.
fn violations(rule: &Rule, source: &str) -> Vec<String> {
    let code = stripped(source);
    let code = production(&code);
    let mut found = Vec::new();
    for name in names(code) {
        let allowed = match name.strip_prefix("crate::") {
            Some(module) => rule.modules.contains(&module),
            // A path that begins with none of the crates is of a module beside it, or an enum.
            None if !CRATES.contains(&name.as_str()) => true,
            None => rule.crates.is_none_or(|crates| crates.contains(&name.as_str())),
        };
        if !allowed {
            found.push(name);
        }
    }
    if rule.crates.is_some() {
        let words: BTreeSet<_> = code.split(|c| !is_word(c)).collect();
        let impure = IMPURE_WORDS.iter().filter(|word| words.contains(**word));
        found.extend(impure.map(|word| format!("the word {word}")));
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files under `src/`, by their path from there.
fn sources() -> Vec<(PathBuf, String)> {
    let src = root().join("src");
    let (mut folders, mut files) = (vec![src.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("src/ can be read") {
            let path = entry.expect("src/ can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("Rust is UTF-8");
                files.push((
                    path.strip_prefix(&src).expect("it is under src/").to_owned(),
                    text,
                ));
            }
        }
    }
    files.sort();
    files
}

fn is_test(path: &Path) -> bool {
    let tests = path.components().any(|part| part.as_os_str() == "tests");
    tests || path.ends_with("tests.rs") || path.ends_with("fake.rs")
}

/// The files of production, each with the part that it belongs to.
fn parts() -> Vec<(String, PathBuf, String)> {
    let part = |path: &Path| {
        let first = path.components().next().expect("a file has a name");
        first
            .as_os_str()
            .to_string_lossy()
            .trim_end_matches(".rs")
            .to_owned()
    };
    sources()
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| (part(&path), path, text))
        .collect()
}

#[test]
fn every_part_knows_only_what_it_may() {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (part, path, text) in parts() {
        if let Some(rule) = RULES.iter().find(|rule| rule.part == part) {
            seen.insert(rule.part);
            for name in violations(rule, &text) {
                found.push(format!("{} names {name}", path.display()));
            }
        }
    }
    assert_eq!(seen.len(), RULES.len(), "every rule has a part of the tree");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn only_the_clock_reads_time() {
    const READS: [&str; 6] = [
        "Instant::now",
        "SystemTime::now",
        "Timestamp::now",
        "Zoned::now",
        "time::sleep",
        "time::interval",
    ];
    for (part, path, text) in parts() {
        let code = stripped(&text);
        let code = production(&code);
        for read in READS {
            assert!(
                part == "clock" || !code.contains(read),
                "{} has {read}",
                path.display()
            );
        }
    }
}

#[test]
fn clippy_bans_every_clock() {
    let text = std::fs::read_to_string(root().join("clippy.toml")).expect("clippy.toml");
    for path in [
        "std::time::Instant::now",
        "std::time::SystemTime::now",
        "std::thread::sleep",
        "tokio::time::sleep",
        "tokio::time::interval",
        "jiff::Timestamp::now",
    ] {
        assert!(text.contains(&format!("\"{path}\"")), "{path} is not banned");
    }
}

#[test]
fn no_production_file_is_too_long() {
    for (_, path, text) in parts() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines", path.display());
    }
}

#[test]
fn nothing_unwraps_outside_tests() {
    for (_, path, text) in parts() {
        let code = stripped(&text);
        let code = production(&code);
        for call in [".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!("] {
            assert!(!code.contains(call), "{} has {call}", path.display());
        }
    }
}

#[test]
fn no_file_is_named_after_nothing() {
    for (path, _) in sources() {
        let name = path.to_string_lossy().to_lowercase();
        for word in ["manager", "helper", "util"] {
            assert!(!name.contains(word), "{name}");
        }
    }
}

#[test]
fn unsafe_code_is_forbidden() {
    for (path, text) in sources() {
        if path == Path::new("lib.rs") {
            assert!(text.contains("#![forbid(unsafe_code)]"));
        }
    }
}

fn found(part: &str, source: &str) -> Vec<String> {
    let rule = RULES.iter().find(|rule| rule.part == part).expect("a rule");
    violations(rule, source)
}

#[test]
fn the_checker_sees_what_is_forbidden() {
    for (part, source, expected) in [
        ("domain", "use tokio::sync::mpsc;", "tokio"),
        ("domain", "use crate::api::Mode;", "crate::api"),
        ("domain", "use crate::{domain::policy, render};", "crate::render"),
        ("domain", "fn f() -> crate::k8s::Scope { todo() }", "crate::k8s"),
        ("domain", "fn f() { let x = serde_json::json!(1); }", "serde_json"),
        ("domain", "async fn f() {}", "the word async"),
        ("domain", "use std::{fmt, time::Instant};", "the word Instant"),
        ("render", "use kube::Client;", "kube"),
        ("render", "fn f() { a(jiff::Span::new()) }", "jiff"),
        (
            "render",
            "pub(crate) use {serde_json::json, tracing::info};",
            "tracing",
        ),
        (
            "render",
            "use crate::{\n    domain::plan,\n    k8s::{self, apply},\n};",
            "crate::k8s",
        ),
        ("validate", "use crate::probe::Registry;", "crate::probe"),
        ("probe", "use crate::k8s::Scope;", "crate::k8s"),
        ("k8s", "use crate::probe::Registry;", "crate::probe"),
        ("api", "use crate::domain::Moment;", "crate::domain"),
    ] {
        assert_eq!(found(part, source), [expected], "{part}: {source}");
    }
}

#[test]
fn the_checker_leaves_alone_what_is_allowed() {
    for (part, source) in [
        (
            "domain",
            "use std::fmt;\nuse super::policy::Policy;\nuse crate::domain::Moment;",
        ),
        ("domain", "// use tokio::sync;\n/* use kube::Client; */ fn f() {}"),
        ("domain", "const A: &str = \"use kube::Client; async\";"),
        ("domain", "const A: &str = r#\"a \" use kube::Client; async\"#;"),
        ("domain", "fn f<'a>(x: &'a str) -> char { '\"' } // kube::x"),
        (
            "domain",
            "fn f() {}\n#[cfg(test)]\nmod tests { use tokio::test; }",
        ),
        ("render", "use k8s_openapi::api::core;\nuse crate::api::Mode;"),
        (
            "render",
            "use k8s_openapi::jiff::Timestamp;\nfn f() { k8s_openapi::jiff::Span::new() }",
        ),
        ("domain", "enum Host { Name } fn f() -> Host { Host::Name }"),
    ] {
        assert_eq!(found(part, source), Vec::<String>::new(), "{part}: {source}");
    }
}

#[test]
fn every_crate_that_the_package_depends_on_is_known_to_the_checker() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let section = manifest.split("\n[dependencies]\n").nth(1).expect("dependencies");
    let section = section.split("\n[").next().unwrap_or_default();
    for line in section
        .lines()
        .filter(|line| line.contains('=') && !line.starts_with('#'))
    {
        let name = line
            .split('=')
            .next()
            .unwrap_or_default()
            .trim()
            .trim_end_matches(".workspace");
        let name = name.replace('-', "_");
        assert!(CRATES.contains(&name.as_str()), "{name}");
    }
}
