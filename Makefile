VERSION ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
IMAGE   ?= distributary
KEEP    ?=

# One answer for cargo, for tests/controlplane/build and for the recipes below.
export CARGO_TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
# nft and ip are there, and not every shell looks there.
export PATH := $(PATH):/usr/sbin:/sbin

# Processors, as Kubernetes and as Rust names them.
TRIPLE_amd64 := x86_64-unknown-linux-gnu
TRIPLE_arm64 := aarch64-unknown-linux-gnu
OURS         := $(if $(filter aarch64,$(shell uname -m)),arm64,amd64)
ARCH         ?= $(OURS)

.DEFAULT_GOAL := help
.PHONY: help setup controlplane clients build lint test test-api outage upgrade mutants proof-mutants simulate model demo crd image bench-failover bench-calm bench-scale bench-handover bench-api bench-memory bench-plan bench-client bench-offload bench-offload-tell test-bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

# What the tests, the demo and the image need, and the Debian package that has it.
NEEDS := /usr/lib/postgresql/15/bin/postgres=postgresql-15 nft=nftables ip=iproute2 nsenter=util-linux \
         buildah=buildah jq=jq cc=build-essential /etc/ssl/certs/ca-certificates.crt=ca-certificates \
         /usr/lib/python3/dist-packages/pip=python3-pip javac=openjdk-17-jdk-headless /usr/share/java/postgresql.jar=libpostgresql-jdbc-java \
         /usr/sbin/pgbouncer=pgbouncer /usr/sbin/pgpool=pgpool2

define SETUP
set -eu
say() { echo "setup: $$*" >&2; }
missing() {
    for need in $(NEEDS); do
        [ -e "$${need%=*}" ] || command -v "$${need%=*}" >/dev/null || echo "$${need#*=}"
    done | xargs
}
command -v cargo >/dev/null || { say "Rust is missing, see https://rustup.rs"; exit 1; }
[ -n "$$(missing)" ] || exit 0
command -v apt-get >/dev/null || { say "missing: $$(missing) (names of Debian packages); install them, then try again"; exit 1; }
[ "$$(id -u)" = 0 ] || { say "missing: $$(missing); run 'make setup' as root"; exit 1; }
# apt-get gives up when another one runs; a setup from another clone may.
exec 9<"$$(command -v apt-get)"
flock 9
packages=$$(missing)
[ -n "$$packages" ] || exit 0
say "installing $$packages"
case $$packages in *postgresql-15*)
    # The tests start servers of their own; the package must not start one.
    mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/distributary.conf
esac
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q install -y --no-install-recommends $$packages
for service in haproxy pgbouncer pgpool2 prometheus prometheus-node-exporter; do
    # Nor may these: tests and benchmarks start their own.
    case " $$packages " in *" $$service "*) [ ! -d /run/systemd/system ] || systemctl disable --now $$service ;; esac
done
endef
export SETUP

setup: ## Install what a Debian 12 machine lacks, as root (Rust and Go excepted)
	@sh -c "$$SETUP"

controlplane: ## Build the Kubernetes control plane of the tests, about 13 minutes the first time on 2 cores
	@tests/controlplane/build

clients: setup ## Install a newer libpq than Debian's, for the tests
	@tests/clients/install

build: ## Build the release binary
	cargo build --release

lint: ## Check format and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@# What --all-targets leaves out, as `cargo test` does.
	cargo clippy --package distributary --test timing --test outage --test monitoring --test dashboard --test upgrade -- -D warnings
	cargo clippy --package distributary --features seeded-faults --test mutants -- -D warnings
	@# As others depend on them: without the features that the operator turns on.
	cargo clippy --package distributary-core --all-targets -- -D warnings
	cargo clippy --package distributary-api --all-targets -- -D warnings
	@# Of `make compat`.
	cargo clippy --package distributary --test compat -- -D warnings

# Outside of the recipe, which `make -n` would run if it named MAKE itself. One at a time: two of these may run in one clone.
IMAGE_TEST = flock '$(CARGO_TARGET_DIR)/image.lock' sh -c '$(MAKE) --no-print-directory image && tests/image/check && $(PLUGIN_TEST)'
# The plugin of this processor is the program of the image by another name: it is packed, and not compiled again.
PLUGIN_TEST = $(MAKE) --no-print-directory plugin-check PLATFORMS=linux/$(OURS) PLUGIN="$(CARGO_TARGET_DIR)/plugin/test"

# What waits runs beside what works: the stops of control plane and operator from the beginning on, and the tests of the client beside
# all that is neither `cluster` nor `client`, which lets everybody else go first. The output of what ran beside comes later.
define TESTS
logs='$(CARGO_TARGET_DIR)'
others=$$(cargo metadata --no-deps --format-version 1 | jq -r '[.packages[].targets[]
    | select(.test and ."required-features" == null and .name != "cluster" and .name != "client")
    | select(.kind[0] == "test" or .kind[0] == "bin") | "--\(.kind[0])=\(.name)"] | join(" ")')
[ -n "$$others" ] || exit 1
cargo test --workspace --no-run && cargo test --workspace --test outage --no-run || exit 1

failed=0
cargo test --workspace --test outage >"$$logs/outage.log" 2>&1 & outage=$$!
nice sh -c "cargo test --workspace --lib $$others && cargo test --workspace --doc" >"$$logs/others.log" 2>&1 & others=$$!
cargo test --workspace --test client || failed=1
wait $$others || failed=1
cat "$$logs/others.log"
[ $$failed = 1 ] || cargo test --workspace --test cluster || failed=1
wait $$outage || failed=1
cat "$$logs/outage.log"
exit $$failed
endef
export TESTS

test: setup controlplane clients ## Run every test
	@sh -c "$$TESTS"
	@# What measures time, alone.
	cargo test --workspace --test timing
	@$(IMAGE_TEST)

# Makes requests of every kind from the description of the HTTP API.
SCHEMATHESIS := target/schemathesis/bin/schemathesis
$(SCHEMATHESIS):
	python3 -m venv target/schemathesis
	target/schemathesis/bin/pip install --quiet schemathesis==4.32.5

# What reads the metrics, and what asks the HTTP API.
test-api: NEEDS += promtool=prometheus /usr/lib/python3.11/ensurepip/__init__.py=python3-venv
test-api: setup controlplane $(SCHEMATHESIS) ## Test what others read: the alerts, with Prometheus' own tools; the HTTP API, with Schemathesis
	promtool check rules deploy/monitoring/rules.yaml
	promtool test rules tests/monitoring/rules.test.yaml
	cd tests/monitoring/dashboard && PATH="$$PATH:/usr/local/go/bin" go run . ../../../deploy/monitoring/dashboard.json
	cargo test --workspace --test monitoring

outage: setup controlplane ## Stop the control plane, and the operator before and after each of its writes, about 10 minutes
	cargo test --workspace --test outage

upgrade: setup controlplane ## Upgrade from the operator of another revision to this one, and back (FROM; the newest tag)
	@from=$$(tests/upgrade/build '$(FROM)') && UPGRADE_FROM="$$from" cargo test --workspace --test upgrade

.PHONY: test-dashboard
test-dashboard: NEEDS += chromium=chromium npm=npm
test-dashboard: setup controlplane ## Test the dashboard in a Chromium (UPDATE_SCREENSHOTS=1 makes the pictures of docs/images anew)
	tests/dashboard/install
	cargo test --workspace --test dashboard

.PHONY: compat deny image-all
compat: NEEDS += mvn=maven unzip=unzip xz=xz-utils
compat: setup controlplane ## Every major version of PostgreSQL from 12 on, standbys of every sort, Patroni, about 8 minutes
	tests/compat/install
	cargo test --workspace --test compat

# Tools of a version, where they are not there yet: they stay under target/.
TOOLS     := target/tools/bin
MUTANTS   := $(TOOLS)/cargo-mutants
DENY      := $(TOOLS)/cargo-deny
CYCLONEDX := $(TOOLS)/cargo-cyclonedx
$(MUTANTS): TOOL := 27.1.0
$(DENY): TOOL := 0.20.2
$(CYCLONEDX): TOOL := 0.5.9
$(MUTANTS) $(DENY) $(CYCLONEDX):
	cargo install $(notdir $@) --version $(TOOL) --locked --root target/tools

deny: $(DENY) ## Check licences, sources and known vulnerabilities of every crate (OFFLINE=1: by the advisories of the last run)
	$(DENY) --locked $(if $(OFFLINE),--offline) check

mutants: $(MUTANTS) ## Change each rule of core/src and see that a test fails, more than an hour on 2 cores (FILE)
	@# 3: some changes make a test run for ever, which finds them too.
	$(MUTANTS) mutants --package distributary-core --jobs 2 --timeout 5 --output target $(if $(FILE),--file '$(FILE)') || [ $$? = 3 ]

proof-mutants: ## Put one fault after the other into the protocol and see that the simulation finds it (FAULTS, PLANS)
	cargo test --package distributary --features seeded-faults --test mutants -- --nocapture

# Seeds of the simulation; the first one is FIRST, 0 where it is not set.
PLANS ?= 5000

simulate: ## Simulate PLANS plans of faults with one operator, and as many with two (PLANS, FIRST)
	PLANS='$(PLANS)' FIRST='$(or $(FIRST),0)' cargo test --test simulation -- --nocapture

# How often each kind of fault happens at most, and for how long a run goes on: see tests/model/bound.rs.
model: ## Take two operators through every run within a bound of faults (TICKS in seconds; CRASHES, LATE, STALE, FREEZES, SLIPS, PARTS, DEATHS, PROMOTIONS, MEDDLING)
	cargo test --test model -- --ignored --nocapture

demo: setup controlplane ## Watch a replica fail and come back, on real servers (KEEP=1 leaves them running)
	cargo build --package distributary --package harness --bin distributary --bin demo
	@KEEP='$(KEEP)' '$(CARGO_TARGET_DIR)/debug/demo'

crd: ## Write crds/, and the chart's copy, from the code
	@mkdir -p crds
	cargo run --quiet -- crd >'$(CARGO_TARGET_DIR)/crd.yaml'
	mv '$(CARGO_TARGET_DIR)/crd.yaml' crds/replicasetpolicies.distributary.dev.yaml
	cp crds/replicasetpolicies.distributary.dev.yaml charts/distributary/files/crd.yaml

# The image of another processor than ours has a directory of its own.
TRIPLE = $(TRIPLE_$(ARCH))
OUT    = target/image$(if $(filter-out $(OURS),$(ARCH)),-$(ARCH))
# The storage stays in the tree; vfs needs neither overlayfs nor FUSE.
BUILDAH = buildah --root $(OUT)/storage --runroot $(OUT)/run --storage-driver vfs
# The same sources make the same bytes: no path of this machine is in the program, and all files are of the time of the last commit.
SOURCE_DATE_EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || echo 0))
image: export SOURCE_DATE_EPOCH := $(SOURCE_DATE_EPOCH)
SOURCES := $(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src
PROGRAM = RUSTFLAGS='-C target-feature=+crt-static --remap-path-prefix=$(CURDIR)=. --remap-path-prefix=$(SOURCES)=crates' \
          CFLAGS='-ffile-prefix-map=$(CURDIR)=. -ffile-prefix-map=$(SOURCES)=crates' \
          CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
          cargo build --release --bin distributary --target $(TRIPLE)

# Ours has the linker and the C library that are there; those for another processor come from Debian.
image image-all: NEEDS += $(if $(filter-out $(OURS),$(ARCH)),$(CROSS_$(ARCH)))
CROSS_arm64 := aarch64-linux-gnu-gcc=gcc-aarch64-linux-gnu qemu-aarch64=qemu-user
CROSS_amd64 := x86_64-linux-gnu-gcc=gcc-x86-64-linux-gnu qemu-x86_64=qemu-user

image: setup $(CYCLONEDX) ## Build the container image, target/image/distributary.tar, and its SBOM, distributary.cdx.json (VERSION, IMAGE, ARCH)
	[ -d "$$(rustc --print target-libdir --target $(TRIPLE))" ] || rustup target add $(TRIPLE)
	$(PROGRAM)
	rm -rf $(OUT)
	install -D -m 0755 '$(CARGO_TARGET_DIR)/$(TRIPLE)/release/distributary' $(OUT)/context/distributary
	install -D -m 0644 /etc/ssl/certs/ca-certificates.crt $(OUT)/context/ca-certificates.crt
	$(BUILDAH) build --isolation chroot --platform linux/$(ARCH) --timestamp $(SOURCE_DATE_EPOCH) --build-arg VERSION=$(VERSION) \
	    --tag $(IMAGE):$(VERSION) --file Dockerfile $(OUT)/context
	$(BUILDAH) push $(IMAGE):$(VERSION) oci-archive:$(OUT)/distributary.tar:$(IMAGE):$(VERSION)
	@# It writes one file beside the manifest of each crate of ours.
	$(CYCLONEDX) cyclonedx --quiet --format json --spec-version 1.5 --target $(TRIPLE) --override-filename distributary.cdx
	sed 's|$(CURDIR)|/distributary|g' distributary.cdx.json >$(OUT)/distributary.cdx.json
	find . -name distributary.cdx.json -not -path './target*' -delete

image-all: setup ## Build the image for amd64 and arm64 and run both, and build ours again elsewhere to compare the digests, about 30 minutes
	$(MAKE) --no-print-directory image ARCH=amd64
	tests/image/check amd64
	$(MAKE) --no-print-directory image ARCH=arm64
	tests/image/check arm64
	tests/image/reproducible

# The plugin of kubectl is the operator's program by another name. A platform of darwin needs a linker and an SDK of Apple, as on a Mac.
TRIPLE_darwin_amd64 := x86_64-apple-darwin
TRIPLE_darwin_arm64 := aarch64-apple-darwin
TRIPLE_linux_amd64  := $(TRIPLE_amd64)
TRIPLE_linux_arm64  := $(TRIPLE_arm64)
PLATFORMS  ?= linux/amd64 linux/arm64
# Where the archives will be.
PLUGIN_URL ?= https://example.com/distributary/v$(VERSION)
PLUGIN     = $(CARGO_TARGET_DIR)/plugin/$(VERSION)

.PHONY: plugin plugin-check
plugin: export SOURCE_DATE_EPOCH := $(SOURCE_DATE_EPOCH)
plugin: NEEDS += $(if $(findstring linux/arm64,$(PLATFORMS)),$(if $(filter amd64,$(OURS)),$(CROSS_arm64))) $(if $(findstring linux/amd64,$(PLATFORMS)),$(if $(filter arm64,$(OURS)),$(CROSS_amd64)))
plugin: setup ## Build the plugin of kubectl: archives and a krew manifest in target/plugin/VERSION (PLATFORMS, PLUGIN_URL, VERSION)
	$(foreach platform,$(PLATFORMS),$(MAKE) --no-print-directory .program TRIPLE=$(TRIPLE_$(subst /,_,$(platform))) &&) true
	deploy/krew/package $(VERSION) '$(PLUGIN_URL)' '$(PLUGIN)' \
	    $(foreach platform,$(PLATFORMS),'$(platform)=$(CARGO_TARGET_DIR)/$(TRIPLE_$(subst /,_,$(platform)))/release/distributary')

.PHONY: .program
.program:
	[ -d "$$(rustc --print target-libdir --target $(TRIPLE))" ] || rustup target add $(TRIPLE)
	$(PROGRAM)

plugin-check: plugin ## Check the plugin's manifest and install it with krew's own tools (PLATFORMS); `make test` does it for ours
	tests/plugin/check '$(PLUGIN)'

# A benchmark and the operator that it measures, both as they are released.
BENCH := cargo build --release --package distributary --package benches --bin distributary
RUN   := '$(CARGO_TARGET_DIR)/release'

# What the benchmarks need beside that: whom they compare with.
bench-failover bench-calm bench-scale bench-offload test-bench: NEEDS += haproxy=haproxy

bench-failover: setup controlplane ## Compare how soon faults are seen with HAProxy and Pgpool-II (RUNS, FAULTS, READS)
	$(BENCH) --bin failover
	$(RUN)/failover

bench-calm: setup controlplane ## Look for false alarms on a busy machine, 10 minutes (MINUTES, BURNERS, KILLS, READS)
	$(BENCH) --bin calm
	$(RUN)/calm

bench-scale: setup controlplane ## Measure thousands of endpoints and policies (FIGURES; ENDPOINTS, MINUTES, KILLS, POLICIES, FLIPS, SLICES, SIZES, RUNS)
	$(BENCH) --bin scale
	$(RUN)/scale

bench-handover: setup controlplane ## Measure handovers between two operators, about an hour (RUNS; QUIET, WAYS, POLICIES, MINUTES, LEASE)
	$(BENCH) --bin handover
	$(RUN)/handover

bench-api: setup controlplane ## Measure what clients of the HTTP API cost the routes, about 10 minutes (MINUTES, KILLS, STREAMS, REQUESTS, UNREAD, HALVES, POLICIES)
	$(BENCH) --bin api
	$(RUN)/api

bench-memory: setup controlplane ## Measure the operator's peak memory: 10 policies over TLS, 10 minutes
	$(BENCH) --bin memory
	$(RUN)/memory

bench-client: NEEDS += haproxy=haproxy
bench-client: setup ## Measure the Rust client beside a bare pool, PgBouncer and HAProxy, and a pick, with criterion (ROUNDS)
	cargo bench --package benches --bench pick
	cargo test --package distributary-client --test allocations
	cargo build --release --package benches --bin client
	$(RUN)/client

bench-offload: setup controlplane ## Measure what routing brings beside more hardware, about 75 minutes (SHORT, BLOCKS, SECONDS, FAULT_MINUTES, SEED, PARTS)
	$(BENCH) --bin offload
	$(RUN)/offload

# The results that are told: copies of target/bench/offload.json of two runs.
bench-offload-tell: ## Write what two results of bench-offload say into the documentation (FIRST, SECOND)
	$(BENCH) --bin offload
	$(RUN)/offload tell '$(FIRST)' $(if $(SECOND),'$(SECOND)')

test-bench: setup controlplane ## Run bench-offload in its short mode and check its result, about 5 minutes
	cargo build --workspace --bin distributary --bin offload
	SHORT=1 '$(CARGO_TARGET_DIR)/debug/offload'
	'$(CARGO_TARGET_DIR)/debug/offload' check '$(CARGO_TARGET_DIR)/bench/offload.json'

bench-plan: ## Measure how long it takes to plan 1,000 policies of 10 endpoints, with criterion
	cargo bench --package benches --bench plan

clean: ## Remove everything that was built
	cargo clean
	rm -rf target
