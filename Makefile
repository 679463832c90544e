# Every target makes its own virtual environment first; a second run finds it and installs nothing.
#
#   make demo          the whole chain on the embedded sample: map, report and table under runs/demo
#   make demo-full     three seeds, longer pretraining, and more rows (about forty minutes on two cores)
#   make demo-series SERIES=FOLDER   a map from several dates, of the WorldCereal sites in that folder
#   make test          linters, types, import walls and the quick tests
#   make test-slow     the slow tests: the wheel in a clean environment, the demo, training runs
#   make test-stac-api   a real STAC API on PostgreSQL, searched (installs Debian packages)
#   make test-oldest   the quick tests on the lowest versions that pyproject.toml allows
#   make lint          linters, types and import walls only
#   make ledger        what equals what: the test vectors of published codes, and the fast paths
#   make ledger-docs   the same for the fast paths, written to docs/ledger.md
#   make bench-pretrain    measure pretraining against the same models written plainly
#   make bench-visible     what ST-SwinMAE's encoder on visible tokens alone gains in speed and loses in learning
#   make bench-attention   measure the attention kernels and write the table that picks one
#   make bench-data    measure how fast records reach a batch: shards, GeoTIFFs, WebDataset, HDF5; about ten minutes
#   make bench-transfer DATA=FOLDER   measure transfer on data sets that lie in a folder, pretrained against scratch; hours
#   make transfer-docs the tables of docs/transfer.md from their records
#   make bench-scenes  measure memory and speed of maps, against the bare forward pass and a plain loop; about an hour
#   make bench-scenes-huge   the same for 50,000 x 50,000 pixels
#
# ARGS="..." goes to the command (`make demo ARGS="--quick true"`, `make test ARGS="-k cube"`).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.swath-installed
OLDEST := .venv-oldest
OLDEST_STAMP := $(OLDEST)/.swath-installed
ARGS ?=
# One pytest process per core; tests/conftest.py gives each one thread.
WORKERS ?= auto
PYTEST := $(BIN)/python -m pytest

# The first of these that runs and is new enough. Merely being on the path proves nothing: a version manager's
# stand-in is there too when the version behind it is not installed.
find_python = for p in $(1); do \
	  if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found="$$p"; break; fi; \
	done

# uv resolves and installs in seconds what takes pip minutes. Where it cannot be had or does not succeed, pip does it:
# uv does not read pip's settings, but for the folders of wheels that it is told of here. Bytecode is compiled as pip does
# it: where Python may not write it, every command would compile thousands of modules again.
define install_tests
links="$$($(BIN)/python -m pip config get global.find-links 2>/dev/null || true)"; \
links="$${PIP_FIND_LINKS:-$$links}"; \
{ $(BIN)/python -m pip install --quiet --disable-pip-version-check uv \
  && $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python $${links:+--find-links $$links} -c constraints.txt -e ".[test]"; } \
|| $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
endef

.PHONY: help install demo demo-full demo-series test test-slow test-stac-api test-oldest lint ledger ledger-docs bench-attention bench-visible bench-pretrain bench-data bench-scenes bench-scenes-huge bench-transfer transfer-docs

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@if ! $(BIN)/python -c '' 2>/dev/null; then \
	  found=""; $(call find_python,$(PYTHON) python3 python3.12 python3.11 python3.13 python3.14 python); \
	  if [ -z "$$found" ]; then \
	    echo "swath needs Python 3.11 or newer and found none; install one or run: make PYTHON=/path/to/python3.11" >&2; \
	    exit 1; \
	  fi; \
	  echo "making $(VENV) with $$("$$found" --version)"; \
	  "$$found" -m venv --clear $(VENV) || { \
	    rm -rf $(VENV); \
	    echo "$$found cannot make a virtual environment; on Debian and Ubuntu install python3-venv" >&2; exit 1; }; \
	fi
	@$(install_tests)
	@touch $@

demo: $(STAMP)
	$(BIN)/swath demo --overwrite true $(ARGS)

demo-full: $(STAMP)
	$(BIN)/swath demo --full true --seeds 3 --overwrite true $(ARGS)

demo-series: $(STAMP)
	@if [ ! -d "$(SERIES)" ]; then echo "name the folder of the WorldCereal sites: make demo-series SERIES=/path/to/worldcereal-sites" >&2; exit 1; fi
	$(BIN)/swath demo --series "$(SERIES)" --output runs/demo-series --overwrite true $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: lint
	$(PYTEST) -m "not slow and not gpu" -n $(WORKERS) --maxprocesses 8 $(ARGS)

# Starts PostgreSQL and a STAC API of its own; installs Debian packages where they are missing.
test-stac-api: $(STAMP)
	tools/stac_api.sh $(ARGS)

test-slow: $(STAMP)
	$(PYTEST) -m "slow and not gpu" $(ARGS)

ledger: $(STAMP)
	$(BIN)/swath ledger --golden tests/golden --paths $(ARGS)

ledger-docs: $(STAMP)
	$(BIN)/swath ledger --paths --write docs/ledger.md $(ARGS)

bench-pretrain: $(STAMP)
	$(BIN)/python -m swath.bench.pretrain $(ARGS)

bench-data: $(STAMP)
	$(BIN)/python -m swath.bench.data $(ARGS)

# TerraTorch is compared with where a Python has it: ARGS="--peer-python /path/to/python".
bench-transfer: $(STAMP)
	@if [ -z "$(DATA)" ]; then echo "name the folder of the data sets: make bench-transfer DATA=/path/to/data" >&2; exit 1; fi
	$(BIN)/python -m swath.bench.transfer --data "$(DATA)" $(ARGS)

transfer-docs: $(STAMP)
	$(BIN)/python -m swath.bench.transfer_docs $(ARGS)

bench-scenes: $(STAMP)
	$(BIN)/python -m swath.bench.scenes $(ARGS)

bench-scenes-huge: $(STAMP)
	$(BIN)/python -m swath.bench.scenes --huge $(ARGS)

bench-visible: $(STAMP)
	$(BIN)/python -m swath.bench.visible $(ARGS)

bench-attention: $(STAMP)
	$(BIN)/python -m swath.bench.attention $(ARGS)

# Python 3.12 with torch 2.11 is what CUDA images carry; another Python is used, and said, where 3.12 is missing.
$(OLDEST_STAMP): pyproject.toml constraints.txt tools/oldest.py | $(STAMP)
	@if ! $(OLDEST)/bin/python -c '' 2>/dev/null; then \
	  found=""; $(call find_python,python3.12 $(wildcard $(HOME)/.pyenv/versions/3.12.*/bin/python)); \
	  if [ -z "$$found" ]; then \
	    found="$(BIN)/python"; echo "Python 3.12 is not installed: using $$($(BIN)/python --version)"; \
	  fi; \
	  "$$found" -m venv --clear $(OLDEST); \
	fi
	$(BIN)/python tools/oldest.py > $(OLDEST)/oldest.txt
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -r $(OLDEST)/oldest.txt -e .
	@touch $@

# Old versions warn of what has since changed; those warnings are not errors here.
test-oldest: $(OLDEST_STAMP)
	@$(OLDEST)/bin/python -c 'import sys, torch; print("Python", sys.version.split()[0], "torch", torch.__version__)'
	$(OLDEST)/bin/python -m pytest -m "not slow and not gpu" -n $(WORKERS) --maxprocesses 8 -W default $(ARGS)
