# Everything a newcomer or CI runs. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCAL := $(VENV)/.installed-local
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-alerts bench bench-cluster e2e e2e-full lint format verify proto crds lock lock-full images images-full test-images cluster clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# What a local session needs: enough for a first picture.
$(LOCAL): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	@echo "Setting up $(VENV) (about a minute, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(PYTHON) deploy/images/pinned.py constraints.txt pyproject.toml base,agent,local >$(VENV)/local.txt
	@$(PIP) --no-deps --require-hashes -r $(VENV)/local.txt
	@PYTHONWARNINGS=ignore $(PIP) --no-deps -e .
	@touch $@

# And what developing it needs.
$(STAMP): $(LOCAL)
	@echo "Installing what tests and benchmarks need (some minutes, once)"
	@$(PIP) --require-hashes -r constraints.txt
	@$(BIN)/python -m sandbox_runtime.typecheck || echo "No type checker: TypeScript runs, and its types are not checked"
	@touch $@

setup: $(STAMP) ## Make .venv with everything pinned

demo: $(LOCAL) ## A local session: Python, JavaScript, TypeScript, shell, files, a chart
	@$(BIN)/python examples/demo.py

test: $(STAMP) ## Unit and integration tests: no root, no cluster
	$(BIN)/python -m pytest -n auto --dist loadfile

bench: $(STAMP) ## Speed beside a Jupyter kernel and bare gRPC; ARGS="--quick --only execute", ARGS=--help
	@$(BIN)/python -m benchmarks $(ARGS)

bench-cluster: $(STAMP) ## The operator at scale, on 100 fake nodes: needs the test cluster's binaries and kwok
	@$(BIN)/python -m benchmarks.cluster $(ARGS)

test-alerts: $(STAMP) ## The chart's alerts and dashboard in a real Prometheus, which is built first (Go; some minutes, once)
	tests/e2e/cluster/sandbox-cluster prometheus
	$(BIN)/python -m pytest tests/monitoring

e2e: $(STAMP) ## Tests on a real cluster: KUBECONFIG if set, else an own one-node cluster (root, Debian)
	$(BIN)/python -m pytest tests/e2e -m e2e --timeout 900 --capture=tee-sys

e2e-full: $(STAMP) ## The full image in a pod: after make cluster and make images-full
	$(BIN)/python -m pytest tests/e2e -m full_image --timeout 900

cluster: ## Start the one-node test cluster and leave it running (root, Debian; the first build takes half an hour)
	tests/e2e/cluster/sandbox-cluster build
	tests/e2e/cluster/sandbox-cluster up

images: ## Build the three images with buildah and load them into the test cluster
	tests/e2e/cluster/sandbox-cluster images

images-full: ## Build the image with 200+ libraries: docker, ENGINE=podman, or buildah as `make images` (docs/images.md)
	deploy/images/sandbox-full/image build

test-images: ## Import the named libraries in that image, count the others, run cells in it
	deploy/images/sandbox-full/image test

lint: $(STAMP) ## Format check, ruff, mypy, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format and apply safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

verify: $(STAMP) ## Fail where generated files differ from what is checked in
	$(BIN)/python tools/generate_proto.py --check
	$(BIN)/python tools/generate_crds.py --check

proto: $(STAMP) ## Regenerate the protocol's code
	$(BIN)/python tools/generate_proto.py

crds: $(STAMP) ## Regenerate the custom resource definitions
	$(BIN)/python tools/generate_crds.py

lock: $(STAMP) ## Pin the dependencies anew (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --extra dev pyproject.toml --output-file constraints.txt

# The slim image's pins hold in the full one; nvidia-nccl is CUDA, which xgboost imports without.
lock-full: $(STAMP) ## Pin the libraries of the full image anew (needs uv)
	$(BIN)/python deploy/images/pinned.py constraints.txt pyproject.toml local >$(VENV)/slim.txt
	cd deploy/images/sandbox-full && uv pip compile --quiet --python-version 3.13 --python-platform x86_64-manylinux_2_36 \
	  --only-binary :all: --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --no-emit-package nvidia-nccl-cu13 --constraints ../../../$(VENV)/slim.txt --override overrides.txt requirements.in \
	  --output-file requirements.txt

clean: ## Remove what the other targets made
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
