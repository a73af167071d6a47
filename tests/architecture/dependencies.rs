//! What our crates are built with, as cargo lists it.

use std::collections::BTreeSet;
use std::process::Command;

use crate::tree::root;

/// The crates that a package is built with, itself among them; `more`: further arguments of `cargo tree`.
fn built_with(package: &str, more: &[&str]) -> BTreeSet<String> {
    const TREE: [&str; 7] = [
        "tree",
        "--offline",
        "--locked",
        "--edges",
        "no-dev",
        "--prefix",
        "none",
    ];
    let tree = Command::new(env!("CARGO"))
        .args(TREE)
        .args(["--package", package])
        .args(more)
        .current_dir(root())
        .output()
        .expect("cargo tree");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let listed = String::from_utf8(tree.stdout).expect("names of crates");
    let names = listed.lines().filter_map(|line| line.split(' ').next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_core_depends_on_nothing_that_reads_time_or_does_io() {
    let allowed = [
        "distributary-core",
        "serde",
        "serde_json",
        "sha2",
        "strum",
        "thiserror",
    ];
    let names = built_with("distributary-core", &["--depth", "1"]);
    assert!(names.contains("thiserror"), "{names:?}");
    assert!(names.is_subset(&allowed.map(str::to_owned).into()), "{names:?}");
}

#[test]
fn the_prober_needs_nothing_of_kubernetes_and_nothing_of_the_operator() {
    const NEEDED: [&str; 4] = [
        "distributary-core",
        "hickory-resolver",
        "rustls",
        "tokio-postgres",
    ];
    const FOREIGN: [&str; 6] = [
        "axum",
        "clap",
        "distributary",
        "distributary-api",
        "k8s-openapi",
        "prometheus-client",
    ];
    let names = built_with("distributary-probe", &[]);
    for needed in NEEDED {
        assert!(names.contains(needed), "{needed}: {names:?}");
    }
    let foreign = |name: &&String| name.starts_with("kube") || FOREIGN.contains(&name.as_str());
    let foreign: Vec<_> = names.iter().filter(foreign).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[test]
fn the_client_needs_nothing_of_kubernetes_and_nothing_of_the_operator() {
    const FOREIGN: [&str; 4] = ["axum", "clap", "distributary", "k8s-openapi"];
    let names = built_with("distributary-client", &[]);
    for needed in ["arc-swap", "deadpool", "distributary-probe"] {
        assert!(names.contains(needed), "{needed}: {names:?}");
    }
    let foreign = |name: &&String| name.starts_with("kube") || FOREIGN.contains(&name.as_str());
    let foreign: Vec<_> = names.iter().filter(foreign).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    assert!(!built_with("distributary", &[]).contains("distributary-client"));
}

/// The feature that lets a test put faults into the protocol.
const FAULTS: &str = "seeded-faults";

#[test]
fn no_crate_is_built_with_faults_unless_somebody_asks_for_them() {
    let features = |more: &[&str]| {
        let tree = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--locked",
                "--workspace",
                "--prefix",
                "none",
                "--format",
                "{p} {f}",
            ])
            .args(more)
            .current_dir(root())
            .output()
            .expect("cargo tree");
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        String::from_utf8(tree.stdout).expect("names of features")
    };
    assert!(!features(&[]).contains(FAULTS));
    let asked = features(&["--features", "distributary/seeded-faults"]);
    assert!(asked.contains(FAULTS), "the tree tells features");
}

#[test]
fn only_the_proof_asks_for_faults() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).expect("a text");
    let makefile = read("Makefile");
    let asks = |line: &&str| line.contains(FAULTS) || line.contains("--all-features");
    let asking: Vec<_> = makefile.lines().filter(asks).map(str::trim).collect();
    assert!(!asking.is_empty(), "the proof is run");
    for line in asking {
        assert!(line.contains("--test mutants"), "{line}");
    }
    assert!(!read("Dockerfile").contains(FAULTS));
    let refused = "#[cfg(all(feature = \"seeded-faults\", not(debug_assertions)))]\ncompile_error!(";
    assert!(
        read("core/src/seeded.rs").contains(refused),
        "a release is refused"
    );
}
