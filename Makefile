# Needs Python 3.11 or newer, make and a C++ compiler; everything else goes into .venv.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test fuzz faults lint format bench clean

run: .venv/installed
	@if [ -t 0 ] && [ -t 1 ]; then $(BIN)/mlx-mixer; else $(BIN)/mlx-mixer demo; fi

test: lint
	$(BIN)/pytest --numprocesses 2 --dist worksteal

# Every reader of foreign files against FUZZ_INPUTS inputs from FUZZ_SEED; a failing input is kept in fuzz-failures.
FUZZ_INPUTS ?= 10000
FUZZ_SEED ?= 0
fuzz: .venv/installed-test
	FUZZ_INPUTS=$(FUZZ_INPUTS) FUZZ_SEED=$(FUZZ_SEED) FUZZ_FAILURES=fuzz-failures \
		$(BIN)/pytest tests/fuzz --numprocesses 0 --capture no --timeout 0

lint: .venv/installed-test
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed-test
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# What takes too long for every day: 200 processes killed at random moments, a folder of a million files.
faults: .venv/installed-test
	MLX_MIXER_FAULT_ROUNDS=200 MLX_MIXER_FAULT_FILES=1000000 $(BIN)/pytest -n0 tests/mlx_mixer/documents/test_crash.py tests/mlx_mixer/documents/test_faults.py

bench: .venv/installed
	$(BIN)/mlx-mixer bench

clean:
	rm -rf .venv build *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mlx-mixer needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1); try: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ .venv/installed
