# kubelet-bridge: `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-down test test-fast rights-audit cluster-binaries test-binaries images runtime-image image fmt lint types layers golden docs docs-verify proto proto-verify agent bench bench-store check clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "kubelet-bridge needs Python 3.11 or later; $$($(PYTHON) --version) is not. Set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "==> virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "python venv is missing: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@

setup: $(STAMP) ## Make .venv with everything that development needs

demo: $(STAMP) ## Bring up a cluster, the bridge and a three-replica Deployment of VMs
	@$(BIN)/kubelet-bridge dev demo examples/web.yaml

demo-down: $(STAMP) ## Remove everything that `make demo` started
	@$(BIN)/kubelet-bridge dev down

cluster-binaries: $(STAMP) ## Build (once) and check the control plane's binaries
	@$(BIN)/kubelet-bridge dev binaries

test-binaries: $(STAMP) # Built before the tests: a compiler beside them makes their waits run out
	@$(BIN)/kubelet-bridge dev binaries --for-tests

images: $(STAMP) ## Build (once) the disks and application images for real guests
	@$(BIN)/kubelet-bridge dev images build

runtime-image: $(STAMP) ## The image that runs application images: build/runtime.qcow2 and a container disk's OCI layout
	@$(BIN)/kubelet-bridge dev images container-disk runtime build

image: $(STAMP) ## Build the daemon's container image with buildah: IMAGE, ARCH, BASE (images/bridge/build)
	@PYTHON=$(BIN)/python images/bridge/build

test: $(STAMP) test-binaries ## Run every test: pure, integration, whole cluster, crashes
	@$(BIN)/python -m pytest -n 2 --reruns 1 --only-rerun '^AssertionError: not within [0-9]+ s' --rerun-show-tracebacks -rR

rights-audit: $(STAMP) test-binaries ## Run the tests on a cluster, and fail when the chart grants more or less than they used
	@mkdir -p build && rm -f build/audit.log
	@KUBELET_BRIDGE_AUDIT_TO=$(CURDIR)/build/audit.log $(BIN)/python -m pytest tests/integration tests/e2e tests/crash -n 2 --reruns 1 --only-rerun '^AssertionError: not within [0-9]+ s'
	@$(BIN)/python -m tests.support.rightsaudit build/audit.log

test-fast: $(STAMP) ## Run the tests that need no cluster
	@$(BIN)/python -m pytest -m 'not cluster and not crash and not helm' --failed-first

fmt: $(STAMP) ## Format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix --quiet . || true

lint: $(STAMP) ## Lint and check the format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(STAMP) ## Type-check
	@$(BIN)/mypy

layers: $(STAMP) ## Check the import contracts
	@$(BIN)/lint-imports

golden: $(STAMP) ## Rewrite the golden files from what the code says now
	@$(BIN)/python -m pytest tests/golden tests/chart --update-golden

docs: $(STAMP) ## Rewrite the generated documentation
	@$(BIN)/kubelet-bridge docs --write docs

docs-verify: $(STAMP) ## Fail when the generated documentation is stale
	@$(BIN)/kubelet-bridge docs --check docs

proto: $(STAMP) ## Generate the guests' protocol from proto/
	@PYTHON=$(CURDIR)/$(BIN)/python proto/generate

proto-verify: $(STAMP) ## Fail when the generated protocol is stale
	@PYTHON=$(CURDIR)/$(BIN)/python proto/verify

agent: $(STAMP) ## Build the in-guest agent into dist/
	@$(BIN)/kubelet-bridge agent build --output dist/agent.pyz

bench: $(STAMP) cluster-binaries ## Measure: 100 and 1,000 Pods through the whole corridor
	@$(BIN)/python bench/corridor.py

bench-store: $(STAMP) ## Measure the intent store alone
	@$(BIN)/python bench/store.py

check: lint types layers docs-verify proto-verify test ## Everything that must hold before a change lands

clean: ## Remove what the tools left in the tree
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist build
