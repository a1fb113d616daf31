# `make demo` and `make test` are all a new user needs: they install what is missing, or name it.

CARGO ?= cargo
BUILD_PACKAGES := pkg-config libhwloc-dev libudev-dev
TEST_PACKAGES := $(BUILD_PACKAGES) g++ dpdk dpdk-dev ethtool iproute2 iputils-ping python3-jsonschema tshark util-linux \
	valgrind

# How long `make soak` searches: rounds of each kill storm, cases of each property. SEED repeats a storm.
ROUNDS ?= 100
PROPTEST_CASES ?= 5000
SEED ?=

.PHONY: demo test soak bench schema deps deps-build fmt lint doc miri loom sanitize ci

demo: deps-build
	$(CARGO) run --release --locked --package lport -- demo

# Programs that tests start are built before any test's time begins. The documentation's examples are run before the
# tests, so that the runner's own closing lines stand last.
test: deps
	$(CARGO) build --locked --package lport --bin lport
	$(CARGO) build --locked --package pmd-memif --package pmd-af-xdp --package pmd-plugin --examples
	$(CARGO) bench --locked --package pmd-memif --bench hot_loops --no-run
	$(CARGO) bench --locked --package pmd-core --bench rounds --no-run
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) test --locked --workspace --doc && $(CARGO) nextest run --locked --workspace; \
	else \
		$(CARGO) test --locked --workspace; \
	fi

soak: deps
	PROPTEST_CASES=$(PROPTEST_CASES) $(CARGO) test --locked --package lport-config --package pmd-memif
	ROUNDS=$(ROUNDS) SEED=$(SEED) $(CARGO) test --locked --package lport-tests --test kill_storm -- \
		--nocapture --test-threads=1

bench: deps
	$(CARGO) build --release --locked --package lport --bin lport
	$(CARGO) bench --locked --package pmd-memif --bench hot_loops --no-run
	$(CARGO) run --release --locked --package lport-tests --bin side-by-side -- $(if $(QUICK),--quick)

# The schema that editors complete lport files by; a test compares it with what the program prints.
schema: deps-build
	$(CARGO) run --locked --package lport -- schema > configs/lport.schema.json.new
	mv configs/lport.schema.json.new configs/lport.schema.json

deps:
	.ci/install-packages $(TEST_PACKAGES)

deps-build:
	.ci/install-packages $(BUILD_PACKAGES)

fmt:
	$(CARGO) fmt --all --check

lint: deps-build
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings

doc: deps-build
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items \
		--features pmd-core/conformance

miri: deps-build
	.ci/miri

loom: deps-build
	.ci/loom

sanitize: deps-build
	.ci/sanitize

ci:
	.ci/run
