# `make demo`, `make studio` and `make test` work on a fresh clone: they create .venv and install what they need.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin

# What a new user needs to know after `make demo` or `make test`: the command is not on the PATH.
define HOW_TO_RUN
@echo
@echo "hpbnet is installed in $(VENV). Run it as $(BIN)/hpbnet, for example: $(BIN)/hpbnet --help"
@echo "To call it as hpbnet, activate the environment first: source $(BIN)/activate"
endef

.PHONY: demo studio test check wheel bench bench-video docs clean

demo: $(VENV)/.demo  ## compose two example pictures, which come with scikit-image
	$(BIN)/python tools/demo.py demo
	$(HOW_TO_RUN)

studio: $(VENV)/.demo  ## the page in the browser; Ctrl-C ends it
	$(BIN)/hpbnet studio

test: $(VENV)/.dev  ## all tests
	$(BIN)/python -m pytest
	$(HOW_TO_RUN)

check: $(VENV)/.dev  ## format, lint, types, architecture
	$(BIN)/ruff format --check src tests tools runs
	$(BIN)/ruff check src tests tools runs
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

wheel: $(VENV)/.dev  ## build the wheel, install it into a new environment, compose a picture with it
	$(BIN)/python tools/check_wheel.py

bench: $(VENV)/.dev  ## one JSON object a line: stage, size, seconds, peak_mb; COMPARE=commit to compare two commits
	@$(BIN)/python tools/bench.py $(if $(COMPARE),--compare $(COMPARE))

bench-video: $(VENV)/.dev  ## one JSON object a line: size, fps, peak_mb, shares; CLIP=file to use another clip
	@$(BIN)/python tools/bench_video.py $(CLIP)

docs: $(VENV)/.dev  ## write docs/cli.md from the commands' help
	$(BIN)/python tools/document_commands.py

clean:
	rm -rf $(VENV) demo build dist

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "hpbnet needs Python 3.11 or later; set PYTHON=/path/to/it" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[demo,web]"
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@
