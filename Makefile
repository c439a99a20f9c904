# make help lists the targets. Variables go straight to the workflow's configuration:
#   make study papers=zoflat scale=smoke tier=extended seeds=dev
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
CONFIG := $(foreach key,scale papers tier seeds bench retry_imports results reports,$(if $($(key)),$(key)=$($(key))))
SNAKEMAKE = snakemake $(if $(CONFIG),--config $(CONFIG))
READY := .venv/.ready

KNOWN := scale papers tier seeds bench retry_imports results reports PYTHON PORT paper count
GIVEN := $(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(v)))),$(v)))
ifneq ($(filter-out $(KNOWN) MAKEFLAGS MAKEOVERRIDES,$(GIVEN)),)
$(error there is no variable $(firstword $(filter-out $(KNOWN) MAKEFLAGS MAKEOVERRIDES,$(GIVEN))); known: $(KNOWN))
endif
ifneq ($(paper),)
ifeq ($(filter mutants,$(MAKECMDGOALS)),)
$(error paper= is for `make mutants`; to run one paper write papers=$(paper))
endif
endif
export PIP_USER := 0
export PYTHONPATH := $(CURDIR)/pkg
ifneq ($(shell test -d "$$HOME" && test -w "$$HOME" && echo yes),yes)
export XDG_CACHE_HOME := $(CURDIR)/.snakemake/cache
endif

.DEFAULT_GOAL := help
.PHONY: help study smoke data fetched test lint check costs soak bench front dry-runs error-rates mutants ui docs clean clean-env

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

study: fetched ## Rebuild the whole study: environment, data, training, report, MLflow
	@python -m descent unlock
	@$(SNAKEMAKE)
	@echo "The report: reports/$(or $(scale),study)/index.html    The runs: make ui"

smoke: $(READY) ## Every code path in minutes, without verdicts
	@$(MAKE) --no-print-directory study scale=smoke

data: $(READY) ## Fetch the datasets: those in the repository, and the public ones where the network allows
	@python -m descent.data fetch

# A public file whose URL gives something else is an error of `make data`; here its jobs are left out, and the page says why.
fetched: $(READY)
	@python -m descent.data fetch || [ $$? -eq 1 ]

test: fetched ## The whole test suite
	@python -m pytest -n 2 --dist loadfile

lint: $(READY) ## Style, unused code, types and spelling (what requirements-dev.txt installs, where it is installed)
	@ruff check . && ruff format --check .
	@if command -v snakefmt > /dev/null; then snakefmt --check Snakefile workflow; else echo "snakefmt is not installed: skipped"; fi
	@if command -v codespell > /dev/null; then codespell; else echo "codespell is not installed: skipped"; fi
	@if command -v basedpyright > /dev/null; then basedpyright; else echo "basedpyright is not installed: skipped"; fi

check: fetched ## The study compared with the committed report
	@python -m descent check $(if $(papers),--papers $(papers)) --scale $(or $(scale),study)

costs: $(READY) ## Put what the jobs took on this machine into the report
	@python -m descent costs --scale $(or $(scale),study)

soak: $(READY) ## The long robustness runs
	@python -m pytest -n 0 -m soak

bench: $(READY) ## Speed against the plain implementations: prints one table a paper
	@for file in benchmarks/[a-z]*.py; do python $$file || exit 1; done

front: $(READY) ## The joint report files from the committed paper folders, training nothing
	@python -m descent front --scale $(or $(scale),study)

dry-runs: $(READY) ## Judge every claim in draws of its paper's world: docs/dry-runs.md (a quarter of an hour)
	@python -m descent.workflow.dry_runs > docs/dry-runs.tmp && mv docs/dry-runs.tmp docs/dry-runs.md

error-rates: $(READY) ## How often each estimator errs, simulated: docs/error-rates.md
	@python -m descent.claims.error_rates > docs/error-rates.tmp && mv docs/error-rates.tmp docs/error-rates.md

mutants: $(READY) ## Change lines of one room and see whether its tests notice: make mutants paper=zoflat
	@python -m descent mutants $(paper) $(if $(count),--count $(count))

ui: $(READY) ## Browse the runs in MLflow
	@python -m descent ui

docs: $(READY) ## Rewrite the pages of docs/ that are made from the code
	@python -m descent docs && python -m descent.data cards --write

clean: ## Remove results, logs and smoke reports; keep the data and the environment
	rm -rf results reports/smoke reports/*-dev .snakemake .pytest_cache .ruff_cache .hypothesis

clean-env: ## Remove the environment
	rm -rf .venv

$(READY): requirements.txt requirements-no-deps.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11, which the study needs: name another, make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2> /dev/null || { echo "$(PYTHON) has no module venv: install it (Debian: apt-get install python3-venv)"; exit 1; }
	@test ! -d .venv || $(BIN)/python -m pip --version > /dev/null 2>&1 || { echo "Removing a half-made .venv"; rm -rf .venv; }
	@test -d .venv || $(PYTHON) -m venv .venv
	@echo "Installing the environment (a few minutes the first time)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-no-deps.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@
