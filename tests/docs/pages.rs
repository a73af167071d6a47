//! Links, commands, and what the pages list.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use distributary::cli::{command_names, known_variables};

use crate::{below, blocks, must_name, pages, prose, read, root};

/// As GitHub makes an anchor of a heading.
pub fn anchor(heading: &str) -> String {
    let kept = heading
        .trim()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    for page in pages() {
        let text = read(&page);
        for link in prose(&text).iter().flat_map(|line| line.split("](").skip(1)) {
            let link = link.split(')').next().unwrap();
            if link.starts_with("https://") {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            assert!(root().join(&target).exists(), "{}: {link}", page.display());
            if !fragment.is_empty() {
                let text = read(&target);
                let mut headings = text.lines().filter_map(|line| line.strip_prefix('#'));
                let found = headings.any(|heading| anchor(heading.trim_start_matches('#')) == fragment);
                assert!(found, "{}: {link}", page.display());
            }
        }
    }
}

#[test]
fn every_command_of_the_readme_is_one_that_is_tested() {
    // The directory of the image of this machine's own processor.
    let makefile = read("Makefile").replace("$(OUT)", "target/image");
    for block in blocks(&read("README.md"))
        .iter()
        .filter(|block| block.language == "sh")
    {
        for command in block.text.lines() {
            match command.split(' ').collect::<Vec<_>>()[..] {
                ["make", target] => assert!(makefile.contains(&format!("\n{target}: ")), "{command}"),
                [
                    "helm",
                    "install",
                    "distributary",
                    "charts/distributary",
                    "--namespace",
                    _,
                    "--create-namespace",
                    "--set",
                    _,
                ]
                | ["kubectl", "apply", "-k", "deploy"]
                | ["cargo", "install", "--locked", "--path", "."] => {}
                ["cargo", "run", "--example", name] => {
                    assert!(
                        read("Cargo.toml").contains(&format!("[[example]]\nname = \"{name}\"")),
                        "{command}"
                    );
                }
                // Of what `make image` writes; no test has a registry.
                ["skopeo", "copy", from, _] => assert!(makefile.contains(&format!(" {from}:")), "{command}"),
                ["distributary", ..] => runs(command),
                _ => panic!("no test runs {command:?}"),
            }
        }
    }
}

/// Runs a command of the binary from the root of the repository: all is well.
fn runs(command: &str) {
    let arguments: Vec<_> = command.split(' ').skip(1).collect();
    let binary = env!("CARGO_BIN_EXE_distributary");
    let output = Command::new(binary)
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
}

#[test]
fn every_offline_command_of_the_pages_runs() {
    let mut found = 0;
    // All of these run against a cluster: tests/cluster/tutorial.rs and rollout.rs.
    let is_run = |page: &std::path::Path| page.ends_with("tutorial.md") || page.ends_with("rollout.md");
    for page in pages().into_iter().filter(|page| !is_run(page)) {
        let text = read(&page);
        let offline =
            |line: &&str| line.starts_with("distributary plan ") || line.starts_with("distributary drill ");
        for block in blocks(&text).iter().filter(|block| block.language == "sh") {
            for command in block.text.lines().filter(offline) {
                runs(command);
                found += 1;
            }
        }
    }
    assert!(found > 3, "{found}");
}

#[test]
fn every_policy_of_the_pages_and_samples_is_planned() {
    let binary = env!("CARGO_BIN_EXE_distributary");
    let plan = |from: &str, text: &str| {
        let mut child = Command::new(binary)
            .args(["plan", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{from}: {text}");
    };
    let mut found = 0;
    for page in pages() {
        let from = page.display().to_string();
        for block in blocks(&read(&page))
            .iter()
            .filter(|block| block.text.contains("kind: ReplicaSetPolicy"))
        {
            plan(&from, &block.text);
            found += 1;
        }
    }
    for sample in below("deploy/samples", "yaml") {
        let text = read(&sample);
        if text.contains("kind: ReplicaSetPolicy") {
            plan(&sample.display().to_string(), &text);
            found += 1;
        }
    }
    assert!(found > 3, "{found}");
}

#[test]
fn every_command_and_every_variable_of_import_is_on_its_page() {
    /// These have no section: `run` has its flags in docs/operations.md, `crd` has no arguments.
    const IN_THE_TABLE_ONLY: [&str; 2] = ["run", "crd"];
    let page = read("docs/cli.md");
    let commands = command_names();
    assert!(commands.len() > 5, "{commands:?}");
    for command in &commands {
        let has_section = page.contains(&format!("\n## {command}\n"));
        assert_eq!(
            has_section,
            !IN_THE_TABLE_ONLY.contains(&command.as_str()),
            "{command}"
        );
        let row = [format!("\n| [`{command}`]"), format!("\n| `{command}` |")];
        assert!(row.iter().any(|row| page.contains(row)), "{command}");
    }
    must_name("docs/cli.md", &known_variables());
}

#[test]
fn every_command_of_the_plugin_is_on_its_page_with_its_exit_codes() {
    let page = read("docs/cli.md");
    let commands = distributary::kubectl::command_names();
    assert!(commands.len() > 5, "{commands:?}");
    for command in &commands {
        // It serves until it is interrupted: the tests of the dashboard run it.
        if command == "dashboard" {
            assert!(read("docs/dashboard.md").contains("kubectl distributary dashboard"));
            continue;
        }
        let row = format!("\n| `kubectl distributary {command} ");
        assert!(page.contains(&row), "{command}");
    }
}

#[test]
fn the_observations_of_the_page_are_understood() {
    let page = read("docs/cli.md");
    let found = blocks(&page);
    let block = found
        .iter()
        .find(|block| block.comment.as_deref() == Some("observations"))
        .unwrap();
    let file = std::env::temp_dir().join(format!("observations-{}.yaml", std::process::id()));
    fs::write(&file, &block.text).unwrap();
    let arguments = [
        "plan",
        "-f",
        "deploy/samples/full.yaml",
        "-o",
        "json",
        "--observations",
    ];
    let binary = env!("CARGO_BIN_EXE_distributary");
    let output = Command::new(binary)
        .args(arguments)
        .arg(&file)
        .current_dir(root())
        .output()
        .unwrap();
    fs::remove_file(&file).unwrap();
    let planned: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        planned["policies"][0]["endpoints"][1]["reason"], "CircuitOpen",
        "{planned:#}"
    );
}

/// kubectl picks one Pod of a Deployment, which may be the one that follows.
#[test]
fn every_command_that_shows_the_log_shows_that_of_every_pod() {
    let notes = root().join("charts/distributary/templates/NOTES.txt");
    let mut told = 0;
    for page in pages().into_iter().chain([notes]) {
        let text = read(&page);
        for line in text
            .lines()
            .filter(|line| line.contains("kubectl") && line.contains(" logs "))
        {
            told += 1;
            let is_of_all = ["-l ", "--prefix", "--tail=-1"]
                .iter()
                .all(|part| line.contains(part));
            assert!(is_of_all, "{}: {line}", page.display());
        }
    }
    assert!(told >= 2, "{told}");
}

/// What `run --help` names: options, their variables and their defaults.
fn run_options() -> Vec<String> {
    let binary = env!("CARGO_BIN_EXE_distributary");
    let output = Command::new(binary).args(["run", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let mut options = Vec::new();
    for line in help.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("--") {
            options.push(format!("--{}", rest.split([' ', '[']).next().unwrap()));
        } else if let Some(rest) = line.strip_prefix("[env: ") {
            options.push(rest.split('=').next().unwrap().to_owned());
        } else if let Some(rest) = line.strip_prefix("[default: ") {
            options.push(rest.trim_end_matches(']').to_owned());
        }
    }
    assert!(options.len() > 10, "{help}");
    options
}

#[test]
fn every_command_line_option_is_listed() {
    must_name("docs/operations.md", &run_options());
}

#[test]
fn of_every_command_line_option_it_is_told_what_its_default_costs() {
    let page = read("docs/operations.md");
    let section = page.split("\n## Flags\n").nth(1).unwrap();
    let mut told = BTreeSet::new();
    for row in section.lines().filter(|line| line.starts_with("| `--")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        // Flag, variable, default, what it is, and the cost; beside them what is before and after the row.
        let [_, flag, _, _, _, cost, _] = cells[..] else {
            panic!("{row}");
        };
        assert!(cost.contains(' '), "{row}");
        told.insert(flag.trim_matches('`').to_owned());
    }
    let options = run_options().into_iter();
    let flags: BTreeSet<_> = options.filter(|option| option.starts_with("--")).collect();
    assert_eq!(told, flags);
    let security = read("docs/security.md");
    let section = security.split("\n## What the defaults cost\n").nth(1).unwrap();
    for flag in section.split('`').filter(|text| text.starts_with("--")) {
        assert!(flags.contains(flag), "{flag}");
    }
}

#[test]
fn no_page_knows_the_machine_that_it_was_written_on() {
    for page in pages() {
        for path in ["/root", "/home", "/tmp", "/work"] {
            let text = read(&page);
            assert!(!text.contains(&format!("{path}/")), "{}: {path}", page.display());
        }
    }
}

#[test]
fn every_directory_of_the_source_is_on_the_map() {
    let map = read("ARCHITECTURE.md");
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        let (name, is_directory) = (entry.file_name(), entry.file_type().unwrap().is_dir());
        let name = name.to_str().unwrap();
        let file = format!("{name}.rs");
        let shown = if is_directory && root().join("src").join(&file).exists() {
            // It holds the tests of that file.
            file
        } else if is_directory {
            format!("src/{name}/")
        } else {
            name.to_owned()
        };
        assert!(map.contains(&shown), "{shown}");
    }
    let crates = ["api/", "core/", "probe/", "src/"];
    for folder in crates {
        assert!(map.contains(&format!("\n{folder}")), "{folder}");
    }
    let is_place = |line: &&str| crates.iter().any(|folder| line.starts_with(folder));
    for place in map.lines().filter(is_place) {
        let place = place.split([' ', ',']).next().unwrap();
        assert!(root().join(place).exists(), "{place}");
    }
}

#[test]
fn a_decision_is_short_and_in_the_list() {
    let list = read("docs/decisions/README.md");
    for file in below("docs/decisions", "md") {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let text = read(&file);
        if name != "README.md" {
            assert!(text.lines().count() <= 25, "{name}");
            assert!(list.contains(&format!("]({name})")), "{name}");
            for part in ["**Context.**", "**Decision.**", "**Consequence.**"] {
                assert!(text.contains(part), "{name}: {part}");
            }
        }
    }
}
