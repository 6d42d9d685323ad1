# Every way into the project: `make demo` shows it, `make test` proves it, `make lint` and `make bench` keep it honest.
# Works on a fresh Debian or Ubuntu machine with Rust, as root or with sudo; what is missing is installed.

CARGO ?= cargo
TARGET_DIR := $(abspath $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target))
TRIPLE := $(shell uname -m)-unknown-linux-gnu
# Without tables for unwinding, which are a seventh of the file: it aborts where it panics. Instructions that recur are
# outlined, and SHA-2 is a loop and not unrolled (where the processor has no instructions for it).
AGENT_FLAGS := -C llvm-args=-enable-machine-outliner=always --cfg sha2_backend_soft=\"compact\" \
               -C force-unwind-tables=no -C link-arg=-Wl,--no-eh-frame-hdr -C link-arg=-Wl,-T,$(abspath agent/agent.ld)
AGENT := $(TARGET_DIR)/$(TRIPLE)/agent/okd-agent
PROGRAM := $(TARGET_DIR)/release/okd-play
SCRIPTS := .ci/run tests/tools tests/agent-size tests/run tests/demo tests/demo-site tests/kill-site tests/site.sh tests/bench tests/fuzz/run tests/lab/lab tests/lab/selftest tests/lab/host.sh tests/lab/guest.sh \
           tests/lab/layers/build $(wildcard tests/lab/layers/*.sh) $(addprefix tests/lab/guest/,init live node lease)
export OKD_AGENT := $(AGENT)
export OKD_PLAY := $(PROGRAM)

.PHONY: help build agent demo demo-site kill-site chaos fuzz stand-ins test unit e2e lint bench lab clean install tools test-tools

help:                 ## say what there is
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

tools:
	@tests/tools

test-tools:
	@tests/tools test

agent: tools          ## the program that is pushed to hosts: one small file
	@RUSTFLAGS="$(AGENT_FLAGS)" $(CARGO) build --locked -p okd-agent --profile agent --target $(TRIPLE)
	@tests/agent-size $(AGENT)

build: agent          ## okd-play with the agent in it
	$(CARGO) build --locked --release -p okd-play
	@echo "built $(PROGRAM)"

demo: build           ## take two blank lab hosts to services hosts, prove it from a third, run again
	@tests/demo

stand-ins:
	@$(CARGO) build -q --locked -p okd-tests --bins

demo-site: build stand-ins test-tools ## the whole site: a bare hypervisor (a stand-in) becomes a finished cluster (a stand-in), and is taken away
	@tests/demo-site

kill-site: build stand-ins test-tools ## the same, killed at each step and run again: it ends as if nothing had been
	@tests/kill-site

lab: tools            ## prepare what lab hosts stand on (once per machine)
	@tests/lab/lab prepare

test: build stand-ins lab test-tools ## all tests
	@tests/run unit e2e

unit: agent test-tools ## the tests that need no lab
	@tests/run unit

e2e: build stand-ins lab        ## the tests on lab hosts
	@tests/run e2e

chaos: build stand-ins lab ## kills at random points of services.yaml, N of them (300), each made good by the next run
	OKD_CHAOS_KILLS=$(or $(N),300) $(CARGO) test --locked -p okd-tests --test chaos -- --nocapture

fuzz:                 ## looks for bytes that a reader cannot stand, SECONDS (60) for each reader
	@tests/fuzz/run $(or $(SECONDS),60)

lint: agent           ## formatting, clippy, shell scripts
	$(CARGO) fmt --all --check
	$(CARGO) clippy -q --locked --workspace --all-targets -- -D warnings
	for script in $(SCRIPTS); do bash -n $$script || exit 1; done

bench: build lab      ## figures: wall time against OpenSSH, round trips, the agent's size
	@tests/bench

install: build        ## put okd-play into /usr/local/bin
	install -m 755 $(PROGRAM) $(DESTDIR)/usr/local/bin/okd-play

clean:                ## remove what was built and the labs (the lab's layers stay in its cache)
	$(CARGO) clean
	-@tests/lab/lab down
