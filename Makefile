# Everything a fresh machine needs: Python 3.11 or newer, git and make.
PYTHON ?= python3
BIN := .venv/bin

# Pure tests: no engine, no run, no terminal.
QUICK := tests/session tests/logs tests/python_source tests/util tests/lab/test_goal.py tests/lab/test_settings.py \
	tests/lab/test_settings_file.py tests/engine/proposing/test_base_choice.py tests/engine/proposing/test_duplicates.py \
	tests/engine/proposing/test_preflight.py tests/engine/proposing/test_risk.py tests/researchers/test_prompt.py \
	tests/researchers/test_retry_time.py tests/cockpit/test_status.py tests/test_layers.py
NOT_QUICK := tests/session/test_failures.py tests/session/test_recorded.py tests/util/test_trees.py

.PHONY: help env lock demo demo-cluster check quick test lint types imports lengths docs clean

help:
	@echo "make demo    install and open the cockpit on a small lab: no key, no GPU, no download"
	@echo "make demo-cluster  the same, its runs on a Ray cluster of two nodes, all on this machine"
	@echo "make test    install and run the whole test suite"
	@echo "make check   lint, types, import contracts, file lengths"
	@echo "make quick   make check, and the tests that start no engine and no terminal: under a minute"

env: .venv/ready

# constraints.txt has the exact versions that the suite was last run with.
.venv/ready: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing (the first time takes a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Newest versions that fit pyproject.toml; run the suite before committing what changed.
lock:
	@rm -rf build/lock && $(PYTHON) -m venv build/lock
	@build/lock/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' torch==2.13.0
	@{ echo "# Written by \`make lock\`; what \`make env\` installs."; \
	  build/lock/bin/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.txt
	@rm -rf build/lock

demo: env
	@$(BIN)/autoresearch-tui demo $(ARGS)

demo-cluster: env
	@$(BIN)/autoresearch-tui demo --nodes 2 $(ARGS)

check: env lint types imports lengths

docs: env
	@$(BIN)/python docs/configuration.py

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

imports:
	$(BIN)/lint-imports

lengths:
	$(BIN)/python tests/file_lengths.py

quick: check
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n 2 $(addprefix --ignore=,$(NOT_QUICK)) $(QUICK)

# Five workers even on two cores: many tests wait for what a process does.
# A make that a test starts gets none of our variables: ARGS here are pytest's, and the command line's there.
# Without bytecode on disk, each worker and each process that a test starts compiles all of the source again.
test: env
	env -u PYTHONDONTWRITEBYTECODE -u MAKEFLAGS -u MFLAGS -u MAKEOVERRIDES -u ARGS $(BIN)/python -m pytest -n 5 --dist loadfile $(ARGS)

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
