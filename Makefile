# Two commands do everything from a fresh checkout: `make start` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# The build runs inside the environment itself, so that a rebuild compiles only what changed.
BUILD_TOOLS := scikit-build-core nanobind cmake ninja

.PHONY: start test check lint types native fuzz clean help system-packages

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
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks

types: $(VENV)/installed-dev
	$(BIN)/mypy

# The environment's Python runs the copy of the extension in its site-packages, built in INSTALLED_BUILD.
# Without an environment the extension goes beside the sources, for PYTHONPATH=src.
ifneq ($(wildcard $(VENV)/installed),)
INSTALLED_BUILD = build/$(shell $(BIN)/python -c 'import sys; print(sys.implementation.cache_tag)')
SITE_PACKAGES = $(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')

native:  ## rebuild only the C++ extension, quickly, for development
	@test -f $(INSTALLED_BUILD)/CMakeCache.txt || $(INSTALL) --no-build-isolation --no-deps -e .
	$(BIN)/cmake --build $(INSTALLED_BUILD)
	@$(BIN)/cmake --install $(INSTALLED_BUILD) --prefix "$(SITE_PACKAGES)" >/dev/null
else
native:
	cmake -S . -B build/native -G Ninja -DPython_EXECUTABLE=$$(command -v python) -DCMAKE_LIBRARY_OUTPUT_DIRECTORY=$(CURDIR)/src/tropilla >/dev/null
	cmake --build build/native
endif

FUZZ_SECONDS ?= 60
FUZZ_SEED ?= 0

# The sanitizers' libraries must be in the process before Python is; any report of theirs ends the run.
fuzz: $(VENV)/installed-dev  ## feed damaged model files to a build that checks every access to memory
	$(BIN)/cmake -S . -B build/asan -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) \
	  -DPython_EXECUTABLE=$(abspath $(BIN)/python) -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DTROPILLA_SANITIZE=address,undefined -DCMAKE_LIBRARY_OUTPUT_DIRECTORY=$(CURDIR)/build/asan/out >/dev/null
	$(BIN)/cmake --build build/asan --target _native
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0:max_allocation_size_mb=1024:hard_rss_limit_mb=4096 \
	  UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	  $(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED) --native build/asan/out/_native*.so

system-packages:  ## install the Debian packages of system-packages.txt (needs root)
	apt-get update -qq && grep -v '^#' system-packages.txt | xargs apt-get install -y -qq --no-install-recommends

clean:  ## remove the environment and everything built
	rm -rf $(VENV) build dist src/tropilla/_native*.so src/tropilla/_native*.pyd
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests tools benchmarks -name __pycache__ -prune -exec rm -rf {} +

SOURCES := pyproject.toml constraints.txt CMakeLists.txt $(shell find csrc -type f)

$(VENV)/bin/python:
	@$(PYTHON) tools/preflight.py
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python $(SOURCES)
	@echo "Setting up Tropilla (about two minutes the first time) ..." >&2
	@$(INSTALL) $(BUILD_TOOLS)
	@$(INSTALL) --no-build-isolation -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/bin/python $(SOURCES)
	@echo "Setting up Tropilla with its test tools (a few minutes the first time) ..." >&2
	@$(INSTALL) $(BUILD_TOOLS)
	@$(INSTALL) --no-build-isolation -e '.[dev]'
	@touch $@ $(VENV)/installed
