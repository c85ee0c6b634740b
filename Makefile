# Everything a fresh machine needs: Python 3.11 or newer, git and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help env demo check test lint types imports lengths docs clean

help:
	@echo "make demo    install and open the cockpit on a small lab: no key, no GPU, no download"
	@echo "make test    install and run the whole test suite"
	@echo "make check   lint, types, import contracts, file lengths"

env: .venv/ready

.venv/ready: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing (the first time takes a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: env
	@$(BIN)/autoresearch-tui demo $(ARGS)

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

test: env
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile $(ARGS)

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
