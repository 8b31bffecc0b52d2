# The commands of the project. Each creates .venv if needed, from any Python 3.11 to 3.13.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
READY := .venv/.ready
# Tests wait more than they compute: a few more at once than a small machine has cores.
WORKERS := 3
# The minutes that `make soak` takes.
MINUTES := 10
# The environment that `make rehearsal` creates and destroys.
WORKSPACE := sandbox

.PHONY: help setup demo test test-quick test-wheel test-lowest lint format bench soak rehearsal audit lock clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(READY)  ## create .venv with everything that the project needs

$(BIN)/python:
	@python=; for candidate in $${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; \
	  then python=$$candidate; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo "ratesflow needs Python 3.11, 3.12 or 3.13 with its venv module (on Debian: apt install python3-venv);" >&2; \
	  echo "name yours with: make $(MAKECMDGOALS) PYTHON=/path/to/python" >&2; exit 1; fi; \
	echo "Creating .venv with $$("$$python" --version); the first time takes a minute or two."; \
	rm -rf .venv; "$$python" -m venv .venv

$(READY): requirements/dev.txt setup.cfg | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)  ## a batch from upload to API, on the embedded stack
	@$(BIN)/python -m ratesflow.local.demo

test: $(READY)  ## the tests, against real PostgreSQL servers and the embedded stack
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-quick: $(READY)  ## the tests that need no server, in a minute
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile -m "unit and not slow" $(ARGS)

# The tools of the next two: pytest and what the tests import, in the locked versions.
TOOLS = grep -oE '^(hypothesis|pytest|pytest-timeout|pytest-xdist)==[0-9.]+' requirements/dev.txt

test-wheel: $(READY)  ## the wheel in new environments, one for each Python (needs the package index)
	@rm -rf build/wheel && mkdir -p build/wheel && $(TOOLS) >build/wheel/tools.txt
	@$(BIN)/uv build --quiet --out-dir build/wheel/dist
	@for version in 3.11 3.12 3.13; do \
	  python=$$($(BIN)/uv python find --system --no-python-downloads $$version 2>/dev/null) || { echo "no Python $$version"; continue; }; \
	  environment=$$(mktemp -d); trap 'rm -rf "$$environment"' EXIT; \
	  $(BIN)/uv venv --quiet --python "$$python" "$$environment/venv"; \
	  $(BIN)/uv pip install --quiet --python "$$environment/venv" --requirement build/wheel/tools.txt \
	    "ratesflow[local] @ file://$$(ls $(CURDIR)/build/wheel/dist/*.whl)"; \
	  "$$environment/venv/bin/python" -m pytest -p no:cacheprovider tests/local/test_hostile_directory.py; \
	  rm -rf "$$environment"; done

# What depends on the versions of other packages: the SDK, pandas and pyarrow, migrations, Granian's workers, a stack.
# Without a test that writes columns of string_view, which the lowest pyarrow cannot write.
LOWEST_TESTS := tests/workflow/test_definition.py tests/loader/files tests/database/test_migrate.py \
  tests/api/server tests/api/resources/test_rates.py tests/local/test_hostile_directory.py

test-lowest: $(READY)  ## some tests on the lowest versions that setup.cfg allows (needs the package index)
	@rm -rf build/lowest && mkdir -p build/lowest && $(TOOLS) >build/lowest/tools.txt
	@$(BIN)/uv pip compile --quiet --resolution lowest-direct --python-version 3.11 --extra local --extra sdk setup.cfg \
	  --output-file build/lowest/requirements.txt
	@$(BIN)/uv venv --quiet --python 3.11 build/lowest/venv
	@$(BIN)/uv pip install --quiet --python build/lowest/venv --requirement build/lowest/requirements.txt \
	  --requirement build/lowest/tools.txt
	@$(BIN)/uv pip install --quiet --python build/lowest/venv --no-deps --editable .
	@build/lowest/venv/bin/python -m pytest -p no:cacheprovider --numprocesses $(WORKERS) --dist loadfile $(LOWEST_TESTS) \
	  -k "not test_columns_are_read_as_the_contract_says_and_copied"

# One folder in the layout of the installed package: mypy and import-linter do not follow the mapping of setup.cfg.
LINKS := build/links

lint: $(READY)  ## ruff, mypy and import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@rm -rf $(LINKS) && mkdir -p $(LINKS)/ratesflow && ln -s $(CURDIR)/ratesflow/* $(LINKS)/ratesflow/ \
	  && ln -s $(foreach part,workflow loader api database local,$(CURDIR)/$(part)) $(LINKS)/ratesflow/
	@MYPYPATH=$(LINKS) $(BIN)/mypy
	@cd $(LINKS) && $(CURDIR)/$(BIN)/lint-imports --config $(CURDIR)/.importlinter --no-cache 2>&1 | tail -n +12

format: $(READY)  ## ruff fixes and formats the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(READY)  ## pin every dependency again, with hashes (needs the package index)
	@export UV_CUSTOM_COMPILE_COMMAND="make lock"; for lock in api:api loader:loader dev:local,sdk,test; do \
	  extras=; for extra in $$(tr , ' ' <<<"$${lock#*:}"); do extras+=" --extra $$extra"; done; \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-package ratesflow $$extras setup.cfg --output-file requirements/$${lock%%:*}.txt $(LOCKFLAGS); done

bench: $(READY)  ## the benchmarks, side by side with the alternatives
	@$(BIN)/python -m benchmarks $(ARGS)

soak: $(READY)  ## random faults on the embedded stack (MINUTES=10), and a table of what was lost
	@$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) $(ARGS)

rehearsal: $(READY)  ## create, try and destroy an environment on AWS (WORKSPACE=sandbox), after a confirmation
	@$(BIN)/python -m tests.rehearsal --workspace $(WORKSPACE) $(ARGS)

audit: $(READY)  ## bandit, and known vulnerabilities of the dependencies (needs the network)
	@$(BIN)/bandit --quiet --recursive --severity-level medium --skip B608,B310,B104 ratesflow workflow loader api database local
	@for lock in api loader dev; do \
	  $(BIN)/uv tool run pip-audit --strict --require-hashes --disable-pip --requirement requirements/$$lock.txt; done

clean:  ## remove .venv and all caches and builds
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
