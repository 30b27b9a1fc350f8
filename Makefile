# Two commands do everything from a fresh checkout: `make start` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# The build runs inside the environment itself, so that a rebuild compiles only what changed.
BUILD_TOOLS := scikit-build-core nanobind cmake ninja

.PHONY: start test check lint types native clean help system-packages

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

start: $(VENV)/installed  ## set everything up and chat with the default model
	@$(BIN)/tropilla pull smollm2 --quiet
	@$(BIN)/tropilla chat smollm2

test: $(VENV)/installed-dev  ## run the whole test suite
	@$(BIN)/tropilla pull smollm2 --quiet
	$(BIN)/python -m pytest

check: lint types  ## linters and type checker

lint: $(VENV)/installed-dev
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests

types: $(VENV)/installed-dev
	$(BIN)/mypy

native:  ## rebuild the C++ extension in place, quickly, for development
	cmake -S . -B build/native -G Ninja -DPython_EXECUTABLE=$$(command -v python) -DCMAKE_LIBRARY_OUTPUT_DIRECTORY=$(CURDIR)/src/tropilla >/dev/null
	cmake --build build/native

system-packages:  ## install the Debian packages of system-packages.txt (needs root)
	apt-get update -qq && grep -v '^#' system-packages.txt | xargs apt-get install -y -qq --no-install-recommends

clean:  ## remove the environment and everything built
	rm -rf $(VENV) build src/tropilla/_native*

SOURCES := pyproject.toml constraints.txt CMakeLists.txt $(shell find csrc -type f)

$(VENV)/bin/python:
	@$(PYTHON) tools/preflight.py
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python $(SOURCES)
	@echo "Setting up Tropilla (about two minutes the first time) ..."
	@$(INSTALL) $(BUILD_TOOLS)
	@$(INSTALL) --no-build-isolation -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/bin/python $(SOURCES)
	@echo "Setting up Tropilla with its test tools (a few minutes the first time) ..."
	@$(INSTALL) $(BUILD_TOOLS)
	@$(INSTALL) --no-build-isolation -e '.[dev]'
	@touch $@ $(VENV)/installed
