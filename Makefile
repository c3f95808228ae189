# make demo       three Docker hosts on this machine, one network for their containers
# make test       all tests; ends with `N passed, N failed`
# make bench      mesh and other overlays side by side; the report is target/bench/report.md
# make soak       10 GB through each datapath of mesh, with checksums
# make dnsbench   DNS queries per second of a router, measured with dnsperf
# make netbench   what networks cost: throughput, round trip and memory with 1, 10 and 100 of them
# make sim        a large mesh in the simulator, measured against its goals: N=1000 SEED=1 SCENARIO=table JSON=1
# make many       60 real routers on this machine: agreement, idle cost, crash and restart of many at once; N=60
# make plugin     the managed plugin for Docker's Swarm, in target/plugin (docs/SWARM.md)
# make swarmbench forced updates of services: stale answers of mesh and of Docker's overlay, in one run; UPDATES=1000
# make install    installs to PREFIX (default: /usr/local) under DESTDIR
PREFIX  ?= /usr/local
DESTDIR ?=
CARGO   ?= cargo
TARGET  ?= $(or $(CARGO_TARGET_DIR),target)

export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/sbin:/sbin

bin        = $(DESTDIR)$(PREFIX)/bin
share      = $(DESTDIR)$(PREFIX)/share
units      = $(DESTDIR)/etc/systemd/system
etc        = $(DESTDIR)/etc
completion = $(share)/bash-completion/completions/mesh $(share)/zsh/site-functions/_mesh \
             $(share)/fish/vendor_completions.d/mesh.fish

.PHONY: build demo test unit-test bench soak dnsbench netbench swarmbench many sim plugin install uninstall lint clean-testbed

build:
	$(CARGO) build --release -p mesh-cli -p mesh-router

demo:
	tests/testbed/install-deps.sh
	demo/demo.sh

test:
	@tests/testbed/install-deps.sh
	@tests/run.sh

# Needs neither root nor network namespaces.
unit-test:
	@tests/run.sh unit

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --workspace check; \
	else echo 'cargo-deny is not installed: licences and advisories were not checked'; fi

# ROUNDS=3 SECS=5 UNDERLAY='veth nic' CONTENDERS='mesh vxlan …' PATIENCE=60 REPORT=docs/PERFORMANCE.md; ARGS for other
# options of benches/compare/run.py, which has the defaults.
bench:
	tests/testbed/install-deps.sh build
	$(MAKE) build
	$(CARGO) build --release -p mesh-benches --bin mesh-rr
	benches/compare/install-peers.sh $(TARGET)/bench-peers
	$(if $(filter-out 0,$(shell id -u)),sudo) benches/compare/run.py --work $(TARGET)/bench \
	    --bin $(TARGET)/release --bin $(TARGET)/bench-peers/bin \
	    $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECS),--seconds $(SECS)) $(if $(PATIENCE),--patience $(PATIENCE)) \
	    $(if $(UNDERLAY),--underlay '$(UNDERLAY)') $(if $(CONTENDERS),--contenders '$(CONTENDERS)') \
	    $(if $(REPORT),--report $(REPORT)) $(ARGS)

# GB=10 gigabytes through each datapath; ARGS for other options of benches/compare/soak.py.
soak:
	tests/testbed/install-deps.sh build
	$(MAKE) build
	$(if $(filter-out 0,$(shell id -u)),sudo) benches/compare/soak.py --bin $(TARGET)/release \
	    $(if $(GB),--gigabytes $(GB)) $(ARGS)

# SECS=10 seconds each for local names, names of another host, and reverse queries; ARGS for other options of
# benches/compare/dnsbench.py.
dnsbench:
	tests/testbed/install-deps.sh build
	@command -v dnsperf >/dev/null || { echo 'dnsbench needs dnsperf: apt-get install dnsperf' >&2; exit 1; }
	$(MAKE) build
	$(if $(filter-out 0,$(shell id -u)),sudo) benches/compare/dnsbench.py --bin $(TARGET)/release \
	    $(if $(SECS),--seconds $(SECS)) $(ARGS)

# COUNTS='1 10 100' ROUNDS=3 SECS=3; ARGS for other options of benches/compare/networks.py.
netbench:
	tests/testbed/install-deps.sh build
	@command -v iperf3 >/dev/null || { echo 'netbench needs iperf3: apt-get install iperf3' >&2; exit 1; }
	$(MAKE) build
	$(CARGO) build --release -p mesh-benches --bin mesh-rr
	$(if $(filter-out 0,$(shell id -u)),sudo) benches/compare/networks.py --bin $(TARGET)/release \
	    $(if $(COUNTS),--counts '$(COUNTS)') $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECS),--seconds $(SECS)) $(ARGS)

# UPDATES=1000 of 5 services on three engines; ARGS for other options of benches/compare/swarm.py.
swarmbench:
	tests/testbed/install-deps.sh
	$(MAKE) build
	$(if $(filter-out 0,$(shell id -u)),sudo) benches/compare/swarm.py --bin $(TARGET)/release \
	    $(if $(UPDATES),--updates $(UPDATES)) $(ARGS)

# N=60 real routers in namespaces on this machine; some are killed, then all are restarted.
many:
	tests/testbed/install-deps.sh
	$(CARGO) build --release -p mesh-cli -p mesh-router -p mesh-tests --bins
	$(if $(filter-out 0,$(shell id -u)),sudo) $(TARGET)/release/mesh-many $(N)

# N=100 SEED=1 SCENARIO=table|all|NAME ONLY=restart,link AT_REST=1 JSON=1 VERBOSE=1. Exit status 1 if a goal is missed
# or a promise broken (docs/SCALE.md).
sim:
	@tests/testbed/install-deps.sh build >&2
	@$(CARGO) build --quiet --release -p mesh-tests --bin mesh-scale
	@$(TARGET)/release/mesh-scale --routers $(or $(N),100) --seed $(or $(SEED),1) \
	    --scenario $(or $(SCENARIO),table) $(if $(ONLY),--only '$(ONLY)') \
	    $(if $(AT_REST),--at-rest) $(if $(JSON),--json) $(if $(VERBOSE),--verbose)

# The same files on all nodes; installed with `docker plugin create mesh:swarm target/plugin`.
plugin:
	@test -x $(TARGET)/release/mesh-router || { tests/testbed/install-deps.sh build && $(MAKE) build; }
	packaging/plugin/build.sh $(TARGET)/release $(TARGET)/plugin
	@echo 'On each node: docker plugin create mesh:swarm $(TARGET)/plugin && docker plugin enable mesh:swarm'

# Builds only if binaries are missing: after `make build`, `sudo make install` leaves no file of root's in the checkout.
install:
	@test -x $(TARGET)/release/mesh-router || { tests/testbed/install-deps.sh build && $(MAKE) build; }
	install -D -m 755 $(TARGET)/release/mesh $(bin)/mesh
	install -D -m 755 $(TARGET)/release/mesh-router $(bin)/mesh-router
	install -d $(dir $(completion))
	$(TARGET)/release/mesh completions bash >$(word 1,$(completion))
	$(TARGET)/release/mesh completions zsh >$(word 2,$(completion))
	$(TARGET)/release/mesh completions fish >$(word 3,$(completion))
	install -d $(units)
	sed 's|@PREFIX@|$(PREFIX)|g' packaging/mesh.service >$(units)/mesh.service
	install -D -m 644 packaging/networkmanager.conf $(etc)/NetworkManager/conf.d/mesh.conf
	install -D -m 644 packaging/systemd-networkd.network $(etc)/systemd/network/10-mesh.network
	test -e $(etc)/mesh/mesh.toml || install -D -m 600 packaging/mesh.toml $(etc)/mesh/mesh.toml

# /etc/mesh stays: it may hold the secret of the mesh. Run `mesh reset` first to remove the router's state.
uninstall:
	rm -f $(bin)/mesh $(bin)/mesh-router $(completion) $(units)/mesh.service
	rm -f $(etc)/NetworkManager/conf.d/mesh.conf $(etc)/systemd/network/10-mesh.network

# Removes testbeds whose test or demo was killed.
clean-testbed:
	tests/testbed/testbed.sh sweep
	TESTBED_ROOT=/dev/shm/mesh-testbed tests/testbed/testbed.sh sweep
	-TESTBED=demo tests/testbed/testbed.sh stop
