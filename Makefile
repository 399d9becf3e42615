# Needs make and Python >= 3.11; uses uv where it is installed, for speed. `make` alone says what there is.

# python3 if it is new enough, else the newest that is; or say which: `make test PYTHON=python3.13 VENV=.venv-3.13`.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && echo $$python && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
TOOLS := .venv-protos
MLFLOW := .venv-mlflow
# What part of the benchmarks to run.
BENCH ?=
SOAK ?=
# What to test, and what else to tell pytest: `make test TESTS=tests/client PYTEST="-x -k predict"`.
TESTS ?= tests
PYTEST ?=
# In how many processes: most tests keep one core busy, with the servers that they start.
JOBS ?= $(shell $(PYTHON) -c 'import os; print(min(4, max(2, os.cpu_count() or 2)))')
UV := $(shell command -v uv 2> /dev/null)
export UV_PYTHON_DOWNLOADS := never
# Where it is set, each of the many processes that are started here compiles all that it imports: 2 s instead of 1 for a server.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/.tools/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup tools mlflow demo test coverage check format format-check lint types layers contract generated reference protos baseline lock chaos bench bench-jobs soak peers wheel clean

help: ## this list
	@echo "modelwire: make <target>"
	@test -t 1 && blue=$$(printf '\033[36m') plain=$$(printf '\033[0m'); \
	awk -v blue="$$blue" -v plain="$$plain" 'BEGIN { FS = ":.*## " } \
		/^[a-z-]+:.*## / { printf "  %s%-13s%s %s\n", blue, $$1, plain, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.ready ## the virtual environment, with everything in it

tools: .tools/bin/grpcurl .tools/bin/h2spec ## grpcurl and h2spec, for the tests that use them (needs Go)

mlflow: $(MLFLOW)/.ready ## an MLflow server, for the tests that use it

demo: setup ## a server with an example model, and a tour of it
	$(BIN)/modelwire demo

test: setup mlflow ## the whole test suite, in two to four processes, as there are cores; JOBS=1 for one
	$(BIN)/python $(MEASURE) -m pytest $(TESTS) $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist loadfile) $(PYTEST)

chaos: setup ## jobs while servers are killed, the long form; CHAOS="sqlite --seed 7" for less
	PYTHONPATH=tests:tests/acceptance $(BIN)/python -m chaos $(CHAOS)

coverage: ## the same, measured: at least 90 % of client, runners and server
	rm -f .coverage .coverage.*
	$(MAKE) --no-print-directory test MEASURE="-m coverage run"
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

check: format-check lint types layers contract generated reference ## everything short of the tests

format-check: setup ## formatting; fix: make format
	@$(BIN)/ruff format --check . || { echo "fix: make format"; exit 1; }

lint: setup ## ruff; fix: make format, the rest by hand
	@$(BIN)/ruff check . || { echo "fix: make format"; exit 1; }

types: setup ## mypy --strict and pyright
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

layers: setup ## who may import whom (pyproject.toml, tool.importlinter)
	$(BIN)/lint-imports

contract: setup .googleapis/.ready ## the protos: lint, format, and nothing broken since protos/baseline.binpb; fix: make format
	$(BIN)/buf lint
	@$(BIN)/buf format protos --diff --exit-code || { echo "fix: make format"; exit 1; }
	$(BIN)/buf breaking protos --against protos/baseline.binpb

generated: setup $(TOOLS)/.ready ## generated code is what the sources say; fix: make protos
	$(TOOLS)/bin/python protos/generate.py --check
	$(BIN)/python scripts/generate_client.py --check

reference: setup $(TOOLS)/.ready ## the reference pages are what protos and settings say; fix: make protos
	$(TOOLS)/bin/python scripts/generate_reference.py --check
	$(BIN)/python scripts/generate_settings.py --check

format: setup .googleapis/.ready ## format and mend what can be mended by itself
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/buf format protos --write

protos: setup $(TOOLS)/.ready ## write all generated code and reference pages
	$(TOOLS)/bin/python protos/generate.py
	$(BIN)/python scripts/generate_client.py
	$(TOOLS)/bin/python scripts/generate_reference.py
	$(BIN)/python scripts/generate_settings.py

baseline: contract ## release: from now on this contract must not be broken
	$(BIN)/buf build protos --output protos/baseline.binpb

lock: ## all lock files anew (needs uv); UPGRADE=--upgrade for newer versions
	uv pip compile pyproject.toml --all-extras $(LOCK) --output-file requirements.lock
	uv pip compile pyproject.toml $(IMAGE) $(LOCK) --constraint requirements.lock --output-file requirements-server.lock
	uv pip compile protos/requirements.in $(LOCK) --output-file protos/requirements.lock
	uv pip compile tests/mlflow_registry/requirements.in $(LOCK) --output-file tests/mlflow_registry/requirements.lock
# What the image is made of: the server, buckets, models from elsewhere, the library of the example, and the build backend.
IMAGE = --extra server --extra objects --extra imports --extra mlflow --extra examples --extra build
LOCK = --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	--python $$($(PYTHON) -c 'import sys; print(sys.executable)') $(UPGRADE)

bench: setup ## the benchmarks (see benchmarks/README.md); BENCH="--only unary --peers echo,modelwire --seconds 1" for less
	$(BIN)/python -m benchmarks.serving bench $(or $(BENCH),--record)
	$(if $(BENCH),,$(MAKE) --no-print-directory bench-jobs)

soak: setup ## half an hour of predictions and reloads: whether memory grows; SOAK="--minutes 3 --reloads 100" for less
	$(BIN)/python -m benchmarks.serving soak $(or $(SOAK),--record)

peers: setup ## the servers that `make bench` compares with, each in an environment of its own
	$(BIN)/python -m benchmarks.serving install

bench-jobs: setup ## of the benchmarks, those of jobs, watchers, REST and frames
	$(BIN)/python benchmarks/jobs.py
	$(BIN)/python benchmarks/watchers.py
	$(BIN)/python benchmarks/rest.py
	$(BIN)/python benchmarks/rest_frames.py

wheel: setup ## dist/*.whl and dist/*.tar.gz
	rm -rf dist
	$(BIN)/hatchling build

clean: ## remove what was made here, environments too
	rm -rf .venv .venv-* .bench .tools .googleapis dist build htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip refuses an editable install among hashes; hence in two steps, the second with the build tools of the first.
$(VENV)/.ready: requirements.lock pyproject.toml
	$(call environment,$(VENV),requirements.lock)
ifdef UV
	@uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
else
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
endif
	@touch $@

$(TOOLS)/.ready: protos/requirements.lock
	$(call environment,$(TOOLS),protos/requirements.lock)
	@touch $@

$(MLFLOW)/.ready: tests/mlflow_registry/requirements.lock
	$(call environment,$(MLFLOW),tests/mlflow_registry/requirements.lock)
	@touch $@

.tools/bin/grpcurl:
	GOBIN=$(CURDIR)/.tools/bin go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3

# The newest version that Go can install by its name.
.tools/bin/h2spec:
	GOBIN=$(CURDIR)/.tools/bin go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible

.googleapis/.ready: $(TOOLS)/.ready protos/generate.py
	$(TOOLS)/bin/python protos/generate.py --imports
	@touch $@

# $(call environment,folder,lock)
define environment
	@test -n "$(PYTHON)" || { echo "modelwire needs Python 3.11 or newer: make PYTHON=/path/to/python"; exit 1; }
	@test -x $(1)/bin/python || echo "making $(1) with $$($(PYTHON) --version)"
	@test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	@$(if $(UV),uv pip install --quiet --python $(1)/bin/python,$(1)/bin/python -m pip install --quiet --disable-pip-version-check) --require-hashes -r $(2)
endef
