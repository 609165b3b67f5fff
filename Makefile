# Everything that a newcomer or CI runs; `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCAL := $(VENV)/.installed-local

.DEFAULT_GOAL := help
.PHONY: help demo setup test test-differential test-grpc test-install test-readme release lint format verify docs hooks proto proto-baseline crds \
  faults lock lock-full clean images images-full \
  test-images test-agents test-attacks bench bench-cluster cluster e2e e2e-full test-alerts

help: ## Show this list
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The dependencies of a local session: enough for a first picture.
$(LOCAL): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	@echo "Setting up $(VENV) (once; about a minute, less with uv)"
	@$(PYTHON) tools/set_up.py local
	@touch $@

# The dependencies of development.
$(STAMP): $(LOCAL)
	@echo "Installing the tools for tests, documents and benchmarks (once; some minutes, less with uv)"
	@$(PYTHON) tools/set_up.py dev
	@$(BIN)/python -m sandbox_runtime.typecheck || echo "No type checker: TypeScript runs, and its types are not checked"
	@touch $@

##@ Try it

demo: $(LOCAL) ## Run a local session: Python, JavaScript, TypeScript, shell, files, a chart
	@$(BIN)/python examples/demo.py

setup: $(STAMP) ## Create .venv with everything pinned

##@ Develop

format: $(STAMP) ## Format the code and apply safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: $(STAMP) ## Regenerate the protocol's code
	$(BIN)/python tools/generate_proto.py

proto-baseline: $(STAMP) ## Make the protocol of this release the one that later changes may not break
	$(BIN)/buf build proto --exclude-source-info --output proto/baseline.binpb

crds: $(STAMP) ## Regenerate the custom resource definitions
	$(BIN)/python tools/generate_crds.py

faults: $(STAMP) ## Regenerate docs/faults.md from the fault tests
	$(BIN)/python tools/generate_faults.py

lock: ## Pin the dependencies again (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --extra dev pyproject.toml --output-file constraints.txt

# The slim image's pins hold in the full one; nvidia-nccl is CUDA, which xgboost imports without.
lock-full: $(STAMP) ## Pin the libraries of the full image again (needs uv)
	$(BIN)/python deploy/images/pinned.py constraints.txt pyproject.toml local >$(VENV)/slim.txt
	cd deploy/images/sandbox-full && uv pip compile --quiet --python-version 3.13 --python-platform x86_64-manylinux_2_36 \
	  --only-binary :all: --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --no-emit-package nvidia-nccl-cu13 --constraints ../../../$(VENV)/slim.txt --override overrides.txt requirements.in \
	  --output-file requirements.txt

clean: ## Remove what the other targets created
	rm -rf $(VENV) .demo dist site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

##@ Check

test: $(STAMP) ## Run unit and integration tests: no root, no cluster
	$(BIN)/python -m pytest -n auto --dist loadfile

test-differential: $(STAMP) ## Run 15,000 cells in a notebook kernel and in a session, and compare what they show (slow)
	$(BIN)/python -m pytest tests/differential -rP

test-grpc: $(STAMP) ## Run the clients of docs/grpc.md: needs Go, Node and Maven (the first run downloads and builds)
	$(BIN)/python -m pytest tests/clients

test-readme: $(STAMP) ## Run each snippet of README.md in a fresh copy of the sources
	$(BIN)/python -m pytest tests/readme

test-agents: $(STAMP) ## Run examples/agents with the real frameworks and a scripted model (downloads them once)
	$(BIN)/python tools/check_agents.py

lint: $(STAMP) ## Check format, ruff, types, import contracts, layout and English
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_layout.py
	$(BIN)/python tools/check_english.py

verify: $(STAMP) ## Fail if generated files differ from what is checked in, or the protocol breaks its clients
	$(BIN)/python tools/generate_proto.py --check
	$(BIN)/python tools/generate_crds.py --check
	$(BIN)/python tools/generate_faults.py --check
	$(BIN)/buf lint proto
	$(BIN)/buf breaking proto --against proto/baseline.binpb

# The images' Pythons: Debian 12 has 3.11 and glibc 2.36, Debian 13 has 3.13 and glibc 2.41.
ARM64 = $(BIN)/uv pip install --dry-run --quiet --no-deps --only-binary :all: --require-hashes --target $(VENV)/arm64

test-install: $(STAMP) ## Install each extra of the wheel with pip, resolve it for each Python with uv, look for arm64 wheels
	$(BIN)/python tools/check_install.py
	$(ARM64) --python-version 3.11 --python-platform aarch64-manylinux_2_36 -r constraints.txt
	$(ARM64) --python-version 3.13 --python-platform aarch64-manylinux_2_40 -r constraints.txt
	$(ARM64) --python-version 3.13 --python-platform aarch64-manylinux_2_40 -r deploy/images/sandbox-full/requirements.txt

docs: $(STAMP) ## Build the documents and the API reference in site/; fail on a broken link
	$(BIN)/properdocs build --strict

hooks: $(STAMP) ## Run the linters before each commit
	$(BIN)/pre-commit install

test-alerts: $(STAMP) ## Test the chart's alerts and dashboard in a real Prometheus, built first (Go; some minutes, once)
	tests/e2e/cluster/sandbox-cluster prometheus
	$(BIN)/python -m pytest tests/monitoring

##@ Build images

images: ## Build the three images with buildah and load them into the test cluster
	tests/e2e/cluster/sandbox-cluster images

images-full: ## Build the image with 200+ libraries: docker, ENGINE=podman, or buildah (docs/images.md)
	deploy/images/sandbox-full/image build

test-images: ## Import the named libraries in that image, count the others, run cells in it
	deploy/images/sandbox-full/image test

##@ Release

release: $(STAMP) ## Build wheel, sdist, images (OCI), chart, protocol, constraints and checksums into dist/; ARGS=--help
	@$(BIN)/python tools/release.py $(ARGS)

##@ Measure

bench: $(STAMP) ## Compare with a Jupyter kernel and bare gRPC; ARGS="--quick --only execute", ARGS=--help
	@$(BIN)/python -m benchmarks $(ARGS)

bench-cluster: $(STAMP) ## Measure the operator on 100 fake nodes: needs the test cluster's binaries and kwok
	@$(BIN)/python -m benchmarks.cluster $(ARGS)

##@ Use a cluster

cluster: ## Start the one-node test cluster and leave it running (root, Debian; the first build takes half an hour)
	tests/e2e/cluster/sandbox-cluster build
	tests/e2e/cluster/sandbox-cluster up

e2e: $(STAMP) ## Run tests on a real cluster: KUBECONFIG if set, else a one-node cluster of its own (root, Debian)
	$(BIN)/python -m pytest tests/e2e -m e2e --timeout 900 --capture=tee-sys

test-attacks: $(STAMP) ## Run all attacks of docs/threat-model.md on a real cluster, also those that take minutes
	$(BIN)/python -m pytest tests/e2e -m "e2e or long_attack" -k attack --timeout 1800 --capture=tee-sys

e2e-full: $(STAMP) ## Test the full image in a pod, after make cluster and make images-full
	$(BIN)/python -m pytest tests/e2e -m full_image --timeout 900
