PYTHON ?= python3
VENV ?= .venv
# Test processes at a time; each uses one thread.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(4, os.cpu_count() or 1))")

BIN := $(VENV)/bin
STAMP := $(VENV)/.semcorr-installed
TORCH := $(shell grep '^torch==' constraints.txt)
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

# Another environment, for one slow test: Label Studio's and CVAT's own readers.
IMPORTERS := $(VENV)-importers
IMPORTERS_STAMP := $(IMPORTERS)/.semcorr-installed

.PHONY: help setup importers demo demo-photos test test-slow lint format docs clean

help:
	@echo "make setup        install everything into $(VENV)"
	@echo "make demo         find points of one drawing in three others; writes output/demo.png"
	@echo "make demo-photos  the same on photographs that SEMCORR_TEST_DATA holds: a check of the pipeline only"
	@echo "make lint         style, format, types, import layers"
	@echo "make test         the quick tests;  make test-slow: the others"
	@echo "make docs         the documentation as a site in site/, warnings as errors"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; v = sys.version_info; sys.exit(f'semcorr needs Python 3.11 or newer; $(PYTHON) is {v[0]}.{v[1]}. Try: make setup PYTHON=python3.12' if v < (3, 11) else 0)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $(STAMP)

importers: $(IMPORTERS_STAMP)

$(IMPORTERS_STAMP): tests/annotations/importers.txt
	$(PYTHON) -m venv $(IMPORTERS)
	$(IMPORTERS)/bin/python -m pip install --quiet --no-deps --requirement tests/annotations/importers.txt
	@touch $(IMPORTERS_STAMP)

demo: setup
	$(BIN)/semcorr demo --output output/demo.png

demo-photos: setup
	$(BIN)/semcorr demo-photos --output output/demo-photos.png

test: setup
	$(PYTEST)

# Exit status 5 is pytest's for "nothing was selected".
test-slow: setup importers
	SEMCORR_IMPORTERS_PYTHON=$(abspath $(IMPORTERS))/bin/python $(PYTEST) -m slow || [ $$? -eq 5 ]

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# mkdocs-material's notice of its successor is no warning about these pages.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(IMPORTERS) site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build dist
