# make demo: simulate the bundled 4G3E complex.  make test: run the tests.  Both first create $(VENV), once.
# PIP_ARGS goes to pip, e.g. PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" for a torch without CUDA.
PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
DEMO ?= demo
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

# The PyPI wheel of openmmtorch fits one release of torch, so its tests have an environment of their own (7 GB).
TORCHFORCE_VENV ?= .venv-torchforce
TORCHFORCE_STAMP = $(TORCHFORCE_VENV)/.installed

.PHONY: help venv demo test test-torchforce lint bench
help:
	@echo "make demo   simulate the bundled 4G3E complex, results in $(DEMO)/"
	@echo "make test   run the tests"
	@echo "make test-torchforce   run the tests of the openmm-torch back ends, in $(TORCHFORCE_VENV)/"
	@echo "make lint   check style and types"
	@echo "make bench  measure speed and memory"
	@echo "make venv   create $(VENV) and install everything (the others do it when needed)"

venv: $(STAMP)

$(STAMP): setup.py pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "make: Python 3.10 to 3.13 is needed, $(PYTHON) is '$$($(PYTHON) --version 2>&1)'; say make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "make: $(PYTHON) cannot create environments; on Debian or Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[test]'
	@touch $@

demo: $(STAMP)
	$(BIN)/python examples/4g3e.py --out $(DEMO) --force

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4

$(TORCHFORCE_STAMP): setup.py
	$(PYTHON) -m venv $(TORCHFORCE_VENV)
	$(TORCHFORCE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  torch==2.9.1 openmm==8.6.1 openmmtorch==1.5 -e '.[test]'
	@touch $@

test-torchforce: $(TORCHFORCE_STAMP)
	$(TORCHFORCE_VENV)/bin/python -m pytest tests/simulation/test_backends.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/neuralmd benchmark
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/misato.py --atoms 5166
