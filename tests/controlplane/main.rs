//! tests/controlplane/build, with a `go` that builds nothing.

#![allow(
    clippy::disallowed_methods,
    reason = "a script is waited for, by the time of the machine"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Prints what `go build -v` prints, and ends when the file `end` is there, with the exit code in the file `code`.
const GO: &str = r#"#!/bin/bash
dir=$(dirname "$0")
case $3 in
version) echo "go version of the test"; exit ;;
esac
echo "go: downloading example.com/module v1.0.0" >&2
echo "example.com/one" >&2
echo "example.com/two" >&2
echo $$ >"$dir/pid.new"
mv "$dir/pid.new" "$dir/pid"
until [ -e "$dir/end" ]; do sleep 0.02; done
while [ $# -gt 0 ]; do
    case $1 in
    -o) out=$2; shift ;;
    ./cmd/*) install -m 0755 /dev/null "$out/${1##*/}" ;;
    .) install -m 0755 /dev/null "$out/etcd"; install -m 0755 /dev/null "$out/helm"; install -m 0755 /dev/null "$out/kubelet-stub" ;;
    esac
    shift
done
code=$(cat "$dir/code" 2>/dev/null || echo 0)
[ "$code" = 0 ] || echo "one.go:1:1: it does not compile" >&2
exit "$code"
"#;

/// A directory with the `go` of the test and what the script makes.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("controlplane-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("go"), GO).unwrap();
        fs::set_permissions(place.join("go"), fs::Permissions::from_mode(0o755)).unwrap();
        Self(place)
    }

    fn start(&self) -> Child {
        let path = format!("{}:{}", self.0.display(), std::env::var("PATH").unwrap());
        self.command(&path)
            .env_remove("KUBEBUILDER_ASSETS")
            .spawn()
            .unwrap()
    }

    fn command(&self, path: &str) -> Command {
        let mut command = Command::new("/usr/bin/env");
        // A shell cannot trap what its parent ignores, and one that is started in the background ignores SIGINT.
        command
            .arg("--default-signal=INT")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/controlplane/build"))
            .env("PATH", path)
            .env("CARGO_TARGET_DIR", &self.0)
            .env("PROGRESS_SECONDS", "0.05")
            .stdout(fs::File::create(self.0.join("said")).unwrap())
            .stderr(Stdio::piped());
        command
    }

    fn said(&self) -> String {
        fs::read_to_string(self.0.join("said")).unwrap()
    }

    fn ends(&self, code: &str) {
        fs::write(self.0.join("code"), code).unwrap();
        fs::write(self.0.join("end"), "").unwrap();
    }

    /// Whether the `go` of the test runs.
    fn builds(&self) -> bool {
        let pid = fs::read_to_string(self.0.join("pid")).unwrap();
        let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        // One that nobody has waited for yet has ended, too.
        !state.is_empty() && !state.contains(") Z ")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_build_tells_how_far_it_is_until_it_is_done() {
    let place = Place::new("progress");
    let build = place.start();
    let line = "1 modules downloaded, 2 packages compiled";
    until("no progress", || place.said().matches(line).count() > 1);
    place.ends("0");
    let output = build.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?} {}", place.said());
    assert_eq!(told(&output), "", "nothing of what -v says is passed on");
    let said = place.said();
    assert!(!said.contains('\u{1b}') && !said.contains('\r'), "{said}");
    for program in ["kube-apiserver", "kubectl", "etcd", "kubelet-stub", "helm"] {
        assert!(place.0.join("controlplane/bin").join(program).exists(), "{said}");
    }

    // What is there is not built again, and nothing advances.
    let again = place.start().wait_with_output().unwrap();
    assert!(again.status.success(), "{again:?}");
    assert_eq!(place.said().lines().count(), 1, "{}", place.said());
}

#[test]
fn go_is_not_needed_when_every_program_is_there() {
    const PROGRAMS: [&str; 7] = [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kubectl",
        "etcd",
        "kubelet-stub",
        "helm",
    ];
    let place = Place::new("assets");
    let (assets, tools) = (place.0.join("assets"), place.0.join("tools"));
    fs::create_dir_all(&assets).unwrap();
    fs::create_dir_all(&tools).unwrap();
    for program in PROGRAMS {
        fs::copy(place.0.join("go"), assets.join(program)).unwrap();
    }
    // What the script needs, and no `go`.
    for tool in [
        "awk", "bash", "dirname", "flock", "ln", "mkdir", "mv", "readlink", "rm",
    ] {
        symlink(Path::new("/usr/bin").join(tool), tools.join(tool)).unwrap();
    }
    let build = |assets: &Path| {
        let mut command = place.command(tools.to_str().unwrap());
        command.env("KUBEBUILDER_ASSETS", assets).output().unwrap()
    };
    let output = build(&assets);
    assert!(output.status.success(), "{output:?}");
    for program in PROGRAMS {
        let link = place.0.join("controlplane/bin").join(program);
        assert_eq!(fs::read_link(link).unwrap(), assets.join(program));
    }

    // Without it, what is missing is named.
    fs::remove_file(assets.join("helm")).unwrap();
    let output = build(&assets);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = told(&output);
    assert!(
        told.contains("Go 1.26 or newer is needed to build Helm"),
        "{told}"
    );
}

#[test]
fn a_build_that_fails_says_why_and_keeps_the_exit_code() {
    let place = Place::new("failure");
    place.ends("7");
    let output = place.start().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(told(&output), "one.go:1:1: it does not compile\n");
    assert!(!place.0.join("controlplane/new").exists());
}

#[test]
fn a_build_ends_with_the_script() {
    for (signal, code) in [("TERM", Some(143)), ("INT", Some(130)), ("KILL", None)] {
        let place = Place::new(signal);
        let mut script = place.start();
        until("no build", || place.0.join("pid").exists());
        let pid = script.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        until("it does not end", || script.try_wait().unwrap().is_some());
        let output = script.wait_with_output().unwrap();
        assert_eq!(output.status.code(), code, "{signal}: {output:?}");
        until("it goes on to build", || !place.builds());
    }
}
