# `make demo` and `make test` work on a fresh clone: they create .venv and install what they need.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench bench-video docs clean

demo: $(VENV)/.demo  ## compose two pictures that come with scikit-image
	$(BIN)/python tools/demo.py demo

test: $(VENV)/.dev  ## all tests
	$(BIN)/python -m pytest

check: $(VENV)/.dev  ## format, lint, types, architecture
	$(BIN)/ruff format --check src tests tools runs
	$(BIN)/ruff check src tests tools runs
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

bench: $(VENV)/.dev  ## one JSON object a line: stage, size, seconds, peak_mb
	@$(BIN)/python tools/bench.py

bench-video: $(VENV)/.dev  ## one JSON object a line: size, fps, peak_mb, shares; CLIP=file for a clip of your own
	@$(BIN)/python tools/bench_video.py $(CLIP)

docs: $(VENV)/.dev  ## write docs/cli.md again from the commands' own help
	$(BIN)/python tools/document_commands.py

clean:
	rm -rf $(VENV) demo build dist

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "hpbnet needs Python 3.11 or later; set PYTHON=/path/to/it" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[demo]"
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@
