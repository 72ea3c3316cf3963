# On a fresh machine: `make tour` or `make test`; each makes .venv where there is none.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# A failing test must fail through the pipe to its results file too.
SHELL       := bash
.SHELLFLAGS := -o pipefail -c
# Test workers share the cores: they must not spin while they wait for each other.
export OMP_WAIT_POLICY := passive
export OMP_NUM_THREADS ?= 1

.PHONY: help install tour test test-all check docs atlas format clean

help:
	@echo "make tour      install into .venv and take the tour"
	@echo "make test      install into .venv and run the tests"
	@echo "make test-all  the tests over every network of the registry; writes benchmarks/results/contract.txt"
	@echo "make check     ruff, mypy and import-linter"
	@echo "make docs      the documentation, in docs/_build/html"
	@echo "make atlas     capture every network's graph again, after a change in nets/ or facts/"

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

tour: install
	env -u OMP_NUM_THREADS $(BIN)/convatlas tour

test: install
	$(BIN)/pytest -n 2 --dist worksteal -m 'not slow'

test-all: install
	mkdir -p benchmarks/results
	$(BIN)/python -m benchmarks.machine > benchmarks/results/contract.txt
	$(BIN)/pytest -q --no-header -n 2 --dist worksteal | tee -a benchmarks/results/contract.txt

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build/html

atlas: install
	$(BIN)/python -m convatlas.graph.atlas

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
