//! The rules of the house: which room may know which, that no two know each other, what a crate is built with, and how
//! long a file may be.

mod code;
mod dependencies;
mod tree;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use code::Code;
use serde_json::Value;
use tree::{CRATES, File, Graph, circles, file, files, rooms, root, uses};

const LONGEST_FILE: usize = 500;

/// What a room may name.
struct Rule {
    /// The folder of the crate, and the room in it; no room: all of the crate.
    part: (&'static str, Option<&'static str>),
    crates: Crates,
    /// Rooms of the same crate; `None`: any.
    rooms: Option<&'static [&'static str]>,
}

/// Crates that a room may name, beside std.
enum Crates {
    /// These: the room is pure.
    Only(&'static [&'static str]),
    /// Whatever the package depends on, but these.
    AllBut(&'static [&'static str]),
}

/// Who starts probes: neither the rooms that write nor those that show. Time they have from the clock.
const PROBER: &[&str] = &["distributary_probe"];

/// The arrows: data moves one way.
const RULES: [Rule; 23] = [
    Rule {
        part: ("core/src", None),
        // schemars: behind the feature `schema`.
        crates: Crates::Only(&["schemars", "serde", "serde_json", "sha2", "strum", "thiserror"]),
        rooms: None,
    },
    Rule {
        part: ("api/src", Some("validate")),
        crates: Crates::Only(&["distributary_core", "serde", "serde_json", "strsim", "thiserror"]),
        rooms: None,
    },
    Rule {
        part: ("api/src", None),
        crates: Crates::AllBut(&[]),
        rooms: None,
    },
    Rule {
        part: ("probe/src", None),
        crates: Crates::AllBut(&[]),
        rooms: None,
    },
    Rule {
        part: ("client/src", Some("routes")),
        crates: Crates::Only(&[]),
        rooms: Some(&[]),
    },
    Rule {
        part: ("client/src", Some("config_map")),
        crates: Crates::AllBut(&["distributary"]),
        rooms: None,
    },
    Rule {
        part: ("client/src", None),
        crates: Crates::AllBut(&["distributary", "k8s_openapi", "kube"]),
        rooms: None,
    },
    Rule {
        part: ("src", Some("rehearse")),
        crates: Crates::Only(&["distributary_api", "distributary_core", "serde", "thiserror"]),
        rooms: Some(&[]),
    },
    Rule {
        part: ("src", Some("render")),
        crates: Crates::Only(&[
            "distributary_api",
            "distributary_core",
            "k8s_openapi",
            "serde",
            "serde_json",
            "sha2",
            "strum",
            "thiserror",
        ]),
        rooms: Some(&[]),
    },
    Rule {
        part: ("src", Some("writing")),
        crates: Crates::Only(&[
            "distributary_api",
            "distributary_core",
            "k8s_openapi",
            "serde_json",
        ]),
        rooms: Some(&["render"]),
    },
    Rule {
        part: ("src", Some("clock")),
        crates: Crates::AllBut(&[]),
        rooms: Some(&[]),
    },
    Rule {
        part: ("src", Some("metrics")),
        crates: Crates::AllBut(PROBER),
        rooms: Some(&["clock", "engine", "render"]),
    },
    Rule {
        part: ("src", Some("engine")),
        crates: Crates::AllBut(&[]),
        rooms: Some(&["clock", "render", "writing"]),
    },
    Rule {
        part: ("src", Some("k8s")),
        crates: Crates::AllBut(PROBER),
        rooms: Some(&["clock", "engine", "metrics", "render", "telemetry", "writing"]),
    },
    Rule {
        part: ("src", Some("admin")),
        crates: Crates::AllBut(PROBER),
        rooms: Some(&["clock", "http", "k8s"]),
    },
    Rule {
        part: ("src", Some("http")),
        crates: Crates::AllBut(PROBER),
        rooms: Some(&["clock", "metrics"]),
    },
    Rule {
        part: ("src", Some("change")),
        crates: Crates::AllBut(PROBER),
        rooms: Some(&["k8s", "render"]),
    },
    Rule {
        part: ("src", Some("http_api")),
        crates: Crates::AllBut(PROBER),
        rooms: Some(&[
            "change",
            "clock",
            "dashboard",
            "engine",
            "http",
            "k8s",
            "render",
            "telemetry",
        ]),
    },
    Rule {
        part: ("src", Some("dashboard")),
        crates: Crates::AllBut(PROBER),
        rooms: Some(&[]),
    },
    Rule {
        part: ("src", Some("telemetry")),
        crates: Crates::AllBut(&[]),
        rooms: Some(&[]),
    },
    Rule {
        part: ("src", Some("process")),
        crates: Crates::AllBut(&[]),
        rooms: Some(&[
            "admin", "clock", "engine", "http", "http_api", "k8s", "metrics", "render",
        ]),
    },
    Rule {
        part: ("src", Some("cli")),
        crates: Crates::AllBut(&[]),
        rooms: Some(&[
            "clock",
            "http_api",
            "k8s",
            "process",
            "rehearse",
            "render",
            "telemetry",
            "writing",
        ]),
    },
    Rule {
        part: ("src", Some("kubectl")),
        crates: Crates::AllBut(PROBER),
        rooms: Some(&[
            "change",
            "cli",
            "clock",
            "dashboard",
            "http",
            "http_api",
            "k8s",
            "render",
            "telemetry",
        ]),
    },
];

/// Words of time and of asynchrony that the pure rooms do not have.
const IMPURE_WORDS: [&str; 4] = ["async", "await", "SystemTime", "Instant"];

/// What a file of a room names and may not. `known`: the crates that code can name.
fn violations(rule: &Rule, code: &Code, known: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for path in code.paths() {
        let (first, second) = (path[0].as_str(), path.get(1).map_or("", String::as_str));
        let own = rule.part.1 == Some(second);
        let is_room = second.starts_with(char::is_lowercase);
        let allowed = match (first, rule.rooms) {
            ("crate", Some(rooms)) => own || !is_room || rooms.contains(&second),
            ("crate", None) => true,
            _ if !known.contains(first) => true,
            _ => match rule.crates {
                Crates::Only(crates) => crates.contains(&first),
                Crates::AllBut(crates) => !crates.contains(&first),
            },
        };
        if !allowed {
            found.push(if first == "crate" {
                format!("crate::{second}")
            } else {
                first.to_owned()
            });
        }
    }
    if matches!(rule.crates, Crates::Only(_)) {
        let words = code.words();
        let impure = IMPURE_WORDS.iter().filter(|word| words.contains(**word));
        found.extend(impure.map(|word| format!("the word {word}")));
    }
    found.dedup();
    found
}

/// The crates that the tree depends on, as code names them.
fn known_crates() -> BTreeSet<String> {
    let mut known = BTreeSet::from(["alloc".to_owned()]);
    known.extend(CRATES.iter().map(|(_, name)| (*name).to_owned()));
    for folder in ["", "core", "api", "probe", "client"] {
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("Cargo.toml");
        let section = manifest.split("\n[dependencies]\n").nth(1).expect("dependencies");
        let section = section.split("\n[").next().unwrap_or_default();
        let named = section
            .lines()
            .filter(|line| line.contains('=') && !line.starts_with('#'));
        known.extend(named.map(|line| {
            let name = line.split('=').next().unwrap_or_default().trim();
            name.trim_end_matches(".workspace").replace('-', "_")
        }));
    }
    known
}

fn rule_of(file: &File) -> Option<&'static Rule> {
    let own = |rule: &&Rule| rule.part == (file.folder, file.room());
    let whole = |rule: &&Rule| rule.part == (file.folder, None);
    RULES.iter().find(own).or_else(|| RULES.iter().find(whole))
}

#[test]
fn every_room_knows_only_what_it_may() {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    let known = known_crates();
    for file in files() {
        let Some(rule) = rule_of(&file) else {
            // The root connects the rooms.
            if file.room().is_some() {
                found.push(format!("{} has no rule", file.name()));
            }
            continue;
        };
        seen.insert(rule.part);
        for name in violations(rule, &file.code, &known) {
            found.push(format!("{} names {name}", file.name()));
        }
    }
    assert_eq!(seen.len(), RULES.len(), "every rule has a part of the tree");
    assert!(found.is_empty(), "{found:#?}");
}

fn in_folder<'a>(files: &'a [File], folder: &'a str) -> impl Iterator<Item = &'a File> + Clone {
    files.iter().filter(move |file| file.folder == folder)
}

#[test]
fn no_two_rooms_of_the_operator_know_each_other() {
    let files = files();
    let graph = rooms(in_folder(&files, "src"));
    assert!(graph.len() > 8, "{graph:?}");
    assert_eq!(circles(&graph), Vec::<String>::new());
}

#[test]
fn no_two_files_of_the_core_the_prober_or_the_client_know_each_other() {
    let files = files();
    for (folder, least) in [("core/src", 20), ("probe/src", 15), ("client/src", 15)] {
        let graph = uses(in_folder(&files, folder));
        assert!(graph.len() > least, "{graph:?}");
        assert_eq!(circles(&graph), Vec::<String>::new(), "{folder}");
    }
}

/// Wire types name each other, as fields of fields do.
#[test]
fn no_wire_type_of_the_api_knows_its_validation() {
    let files = files();
    let graph = rooms(in_folder(&files, "api/src"));
    assert!(graph.len() > 8, "{graph:?}");
    let circles = circles(&graph).into_iter();
    let with_validation: Vec<_> = circles.filter(|way| way.contains("validate")).collect();
    assert_eq!(with_validation, Vec::<String>::new());
}

/// Who reads time, and how: the prober's clock for whatever is decided, the operator's for what people read.
const CLOCKS: [(&str, &[&str]); 2] = [
    ("probe/src", &["Instant::now", "time::sleep"]),
    ("src", &["Timestamp::now"]),
];

/// Without one, cargo-deny and a registry would take any version.
#[test]
fn every_path_dependency_names_its_version() {
    let metadata = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--offline",
            "--locked",
            "--no-deps",
            "--format-version",
            "1",
        ])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    assert!(
        metadata.status.success(),
        "{}",
        String::from_utf8_lossy(&metadata.stderr)
    );
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let (mut by_path, mut any_version) = (0, Vec::new());
    for package in metadata["packages"].as_array().expect("packages") {
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            by_path += usize::from(dependency["path"].is_string());
            if dependency["req"] == "*" {
                any_version.push(format!("{}: {}", package["name"], dependency["name"]));
            }
        }
    }
    assert!(by_path > 5, "{by_path}");
    assert_eq!(any_version, Vec::<String>::new());
}

#[test]
fn only_the_clocks_read_time() {
    const READS: [&str; 6] = [
        "Instant::now",
        "SystemTime::now",
        "Timestamp::now",
        "Zoned::now",
        "time::sleep",
        "time::interval",
    ];
    for file in files() {
        let clock = CLOCKS.iter().find(|(folder, _)| file.folder == *folder);
        let own = clock.filter(|_| file.room() == Some("clock"));
        for read in READS {
            let may = own.is_some_and(|(_, reads)| reads.contains(&read));
            assert!(may || !file.code.contains(read), "{} has {read}", file.name());
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
    // One of its own replaces that of the workspace: it bans all that the crate can name.
    for (folder, _) in CRATES.iter().filter(|(folder, _)| *folder != "src") {
        let own = root().join(folder).with_file_name("clippy.toml");
        let Ok(own) = std::fs::read_to_string(own) else {
            continue;
        };
        assert_eq!(*folder, "core/src", "it can name what the workspace bans");
        for path in text.lines().filter(|line| line.contains("\"std::")) {
            let path = path.split('"').nth(1).expect("a path");
            assert!(
                own.contains(&format!("\"{path}\"")),
                "{path} is not banned in {folder}"
            );
        }
    }
}

#[test]
fn one_seed_gives_one_trace() {
    for file in files() {
        if file.folder == "core/src" || matches!(file.room(), Some("render" | "writing")) {
            for unordered in ["HashMap", "HashSet"] {
                assert!(
                    !file.code.words().contains(unordered),
                    "{} has a {unordered}",
                    file.name()
                );
            }
        }
    }
}

#[test]
fn no_production_file_is_too_long() {
    for file in files() {
        let lines = file.text.lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines", file.name());
    }
}

#[test]
fn nothing_unwraps_outside_tests() {
    for file in files() {
        for call in [".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!("] {
            assert!(!file.code.contains(call), "{} has {call}", file.name());
        }
    }
}

#[test]
fn no_file_is_named_after_nothing() {
    for file in files() {
        let name = file.name().to_lowercase();
        for word in ["manager", "helper", "util"] {
            assert!(!name.contains(word), "{name}");
        }
    }
}

#[test]
fn unsafe_code_is_forbidden() {
    for (folder, _) in CRATES {
        let text = std::fs::read_to_string(root().join(folder).join("lib.rs")).expect("lib.rs");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{folder}");
    }
}

fn found(part: (&'static str, Option<&'static str>), source: &str) -> Vec<String> {
    let rule = RULES.iter().find(|rule| rule.part == part).expect("a rule");
    violations(rule, &Code::of(source), &known_crates())
}

const CORE: (&str, Option<&str>) = ("core/src", None);
const RENDER: (&str, Option<&str>) = ("src", Some("render"));

#[test]
fn the_checker_sees_what_is_forbidden() {
    for (part, source, expected) in [
        (CORE, "use tokio::sync::mpsc;", "tokio"),
        (CORE, "fn f() -> kube::Client { todo() }", "kube"),
        (CORE, "async fn f() {}", "the word async"),
        (CORE, "use std::{fmt, time::Instant};", "the word Instant"),
        (RENDER, "use kube::Client;", "kube"),
        (RENDER, "fn f() { a(jiff::Span::new()) }", "jiff"),
        (
            RENDER,
            "pub(crate) use {serde_json::json, tracing::info};",
            "tracing",
        ),
        (
            RENDER,
            "use crate::{\n    render::labels,\n    k8s::{self, apply},\n};",
            "crate::k8s",
        ),
        (("api/src", Some("validate")), "use kube::Client;", "kube"),
        (("src", Some("engine")), "use crate::k8s::Scope;", "crate::k8s"),
        (
            ("src", Some("k8s")),
            "use distributary_probe::Registry;",
            "distributary_probe",
        ),
        (
            ("src", Some("admin")),
            "fn f() { distributary_probe::Clock::new() }",
            "distributary_probe",
        ),
        (
            ("src", Some("cli")),
            "use crate::engine::Handle;",
            "crate::engine",
        ),
        (
            CORE,
            "#[cfg(test)]\nmod tests { fn f() { a() } }\nuse tokio::sync::mpsc;",
            "tokio",
        ),
        (
            CORE,
            "#[cfg(test)]\nmod tests;\nfn f() -> kube::Client { todo() }",
            "kube",
        ),
        (
            CORE,
            "#[cfg(any(test, feature = \"fixture\"))]\n#[must_use]\nfn f() {}\nuse kube::Client;",
            "kube",
        ),
    ] {
        assert_eq!(found(part, source), [expected], "{part:?}: {source}");
    }
}

#[test]
fn the_checker_leaves_alone_what_is_allowed() {
    for (part, source) in [
        (
            CORE,
            "use std::fmt;\nuse super::policy::Policy;\nuse crate::moment::Moment;",
        ),
        (CORE, "// use tokio::sync;\n/* use kube::Client; */ fn f() {}"),
        (CORE, "const A: &str = \"use kube::Client; async\";"),
        (CORE, "const A: &str = r#\"a \" use kube::Client; async\"#;"),
        (CORE, "fn f<'a>(x: &'a str) -> char { '\"' } // kube::x"),
        (CORE, "fn f() {}\n#[cfg(test)]\nmod tests { use tokio::test; }"),
        (CORE, "#[cfg(test)]\nuse tokio::{sync, test};\nfn f() {}"),
        (
            CORE,
            "#[cfg(any(test, feature = \"fixture\"))]\nimpl A { fn f() { tokio::spawn(a) } }",
        ),
        (CORE, "enum Host { Name } fn f() -> Host { Host::Name }"),
        (RENDER, "use k8s_openapi::api::core;\nuse distributary_api::Mode;"),
        (
            RENDER,
            "use k8s_openapi::jiff::Timestamp;\nfn f() { k8s_openapi::jiff::Span::new() }",
        ),
        (
            ("src", Some("engine")),
            "use crate::clock::Clock;\nuse distributary_probe::Registry;",
        ),
    ] {
        assert_eq!(found(part, source), Vec::<String>::new(), "{part:?}: {source}");
    }
}

fn graph_of(sources: &[(&str, &str)], graph: impl Fn(&[File]) -> Graph) -> Vec<String> {
    let files: Vec<_> = sources
        .iter()
        .map(|(path, text)| file("src", PathBuf::from(path), (*text).to_owned()))
        .collect();
    circles(&graph(&files))
}

#[test]
fn the_checker_sees_a_circle_between_files() {
    let circles = |sources: &[(&str, &str)]| graph_of(sources, |files| uses(files));
    let policy = ("policy.rs", "use super::{fmt, routing::Class};");
    assert_eq!(
        circles(&[policy, ("routing.rs", "fn f() -> crate::policy::Policy { a() }")]),
        ["policy → routing → policy"]
    );
    assert_eq!(
        circles(&[
            policy,
            ("routing.rs", "use super::ids::Id;"),
            ("ids.rs", "use crate::policy;")
        ]),
        ["ids → policy → routing → ids"]
    );
    assert_eq!(
        circles(&[
            ("world.rs", "mod samples;\nuse samples::Sample;"),
            ("world/samples.rs", "use super::World;")
        ]),
        ["world → world::samples → world"]
    );
    assert_eq!(
        circles(&[
            policy,
            ("routing.rs", "mod a;"),
            ("routing/a.rs", "use super::Class;")
        ]),
        Vec::<String>::new()
    );
}

#[test]
fn the_checker_sees_a_circle_between_rooms() {
    let circles = |sources: &[(&str, &str)]| graph_of(sources, |files| rooms(files));
    let engine = ("engine/mod.rs", "use crate::k8s::writer::Writer;");
    assert_eq!(
        circles(&[
            engine,
            ("k8s/watch.rs", "use crate::engine::Handle;"),
            ("k8s/writer.rs", "")
        ]),
        ["engine → k8s → engine"]
    );
    assert_eq!(
        circles(&[
            engine,
            ("k8s/writer.rs", "use super::watch::Watch;"),
            ("k8s/watch.rs", "use super::writer::Writer;")
        ]),
        Vec::<String>::new(),
        "files of one room"
    );
}

#[test]
fn one_file_of_the_operator_and_one_of_the_client_know_the_crate_for_yaml() {
    let files = files();
    let with_yaml = files.iter().filter(|file| file.text.contains("serde_yaml"));
    let mut named: Vec<_> = with_yaml.map(File::name).collect();
    named.sort();
    assert_eq!(named, ["client/src/policy_file.rs", "src/cli/yaml.rs"]);
}
