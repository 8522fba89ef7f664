# `make demo` and `make test` are all a newcomer needs: each makes .venv on first use. Python ≥ 3.11 and a package index suffice.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
SOURCES := actors cli client core model protocol records server storage telemetry tui src/klamm/__init__.py src/klamm/__main__.py tests bench examples

.PHONY: help demo test check lint types contract bench bench-full sim kills test-collector clean setup

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml tests/constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "klamm needs Python 3.11 or newer$(if $(PYTHON),; $(PYTHON) is none); set PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c tests/constraints.txt -e '.[dev]'
	$(BIN)/python -m compileall -q $(filter-out tests bench examples,$(SOURCES))  # no start needs the compiler, even where Python may not write caches
	@touch $@

setup: $(VENV)/.ready  ## .venv with all that tests need; the others make it by themselves

demo: $(VENV)/.ready  ## the embedded broker at work: orders go in, come out, nothing is lost
	$(BIN)/python examples/demo.py

test: $(VENV)/.ready  ## every test; what this machine lacks is skipped loudly
	$(BIN)/python -m pytest -q -n logical --dist loadgroup

lint: $(VENV)/.ready  ## format and lint
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)

types: $(VENV)/.ready  ## mypy and pyright
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

contract: $(VENV)/.ready  ## which folder may import which
	$(BIN)/lint-imports

SEEDS ?= 1000
sim: $(VENV)/.ready  ## many seeds of the simulation: make sim SEEDS=10000
	$(BIN)/python -m tests.simulation.run_seeds --seeds $(SEEDS)

KILLS ?= 100
kills: $(VENV)/.ready  ## kill -9 while a client writes and another reads, and look for it all: make kills KILLS=1000
	$(BIN)/python -m tests.clients.kills --rounds $(KILLS)

test-collector: $(VENV)/.ready  ## with a stock OpenTelemetry Collector; needs Go, and some minutes to build it once
	$(BIN)/python -m pytest -q tests/cli/check_collector.py

check: lint types contract test  ## all that CI runs

bench: $(VENV)/.ready  ## klamm beside Apache Kafka, 10 minutes at most; needs a C compiler, Java 17 and Maven
	$(BIN)/python bench/run.py --quick

bench-full: $(VENV)/.ready  ## every row, hours
	$(BIN)/python bench/run.py --full

clean:  ## removes .venv and what was built
	rm -rf $(VENV) build *.egg-info src/*.egg-info
