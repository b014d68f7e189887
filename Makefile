# What is compiled is kept: each of the tests' processes, and every command that a test runs, would compile it again.
export PYTHONDONTWRITEBYTECODE :=

PYTHON ?= python3
VENV ?= .venv
# Test processes at a time; each uses one thread.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(4, os.cpu_count() or 1))")

BIN := $(VENV)/bin
STAMP := $(VENV)/.semcorr-installed
TORCH := $(shell grep '^torch==' constraints.txt)
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

# What PyTorch and the libraries below it may use of a processor, as an older one would have it.
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 OPENBLAS_CORETYPE=Haswell
SSE := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 OPENBLAS_CORETYPE=Nehalem
# Tests in which networks run; those of files, of the hub, of commands and of pages round nothing.
NETWORKS := tests/matchers tests/models/diffusion tests/models/dino tests/models/test_finite.py \
	tests/transfer/test_supports.py tests/evaluation/test_ablation.py tests/benchmarks/test_plain_method.py \
	$(addprefix --ignore=tests/,models/diffusion/test_hub.py models/diffusion/test_load.py \
	models/diffusion/test_layers.py models/dino/test_hub.py models/dino/test_load_folder.py \
	matchers/prompt/test_settings.py matchers/prompt/test_random_streams.py matchers/test_results.py)
# $(1): threads of a test process; $(2): its environment.
network-tests = $(2) OMP_NUM_THREADS=$(1) MKL_NUM_THREADS=$(1) SEMCORR_TEST_THREADS=$(1) \
	$(BIN)/python -m pytest -n $$(( $(WORKERS) > $(1) ? $(WORKERS) / $(1) : 1 )) $(NETWORKS)

# Another environment, for slow tests: the own readers of tools that annotate and train.
IMPORTERS := $(VENV)-importers
IMPORTERS_STAMP := $(IMPORTERS)/.semcorr-installed

.PHONY: help setup importers demo test test-slow test-processors test-sse coverage mutation dist release-test lint format docs clean

help:
	@echo "make setup        install everything into $(VENV)"
	@echo "make demo         find points of one drawing in three others; writes output/demo.png"
	@echo "make lint         style, format, types, import layers"
	@echo "make test         the quick tests;  make test-slow: the others"
	@echo "make test-processors  the quick tests of networks as on three kinds of processor, with 1 and 2 threads"
	@echo "make coverage     the quick tests, and how many lines they run;  MARKS='slow or not slow': all tests"
	@echo "make mutation     does a test fail for each small change to the core arithmetic?"
	@echo "make dist         the wheel and the sdist;  make release-test: the wheel in a clean environment"
	@echo "make docs         the documentation as a site in site/, warnings as errors"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; v = sys.version_info; sys.exit(f'semcorr needs Python 3.11 or newer; $(PYTHON) is {v[0]}.{v[1]}. Try: make setup PYTHON=python3.12' if v < (3, 11) else 0)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $(STAMP)

importers: $(IMPORTERS_STAMP)

$(IMPORTERS_STAMP): tests/transfer/importers.txt
	$(PYTHON) -m venv $(IMPORTERS)
	$(IMPORTERS)/bin/python -m pip install --quiet --no-deps --requirement tests/transfer/importers.txt
	@touch $(IMPORTERS_STAMP)

demo: setup
	$(BIN)/semcorr demo --output output/demo.png

test: setup
	$(PYTEST)

# Exit status 5 is pytest's for "nothing was selected". Stealing keeps a file's tests, which share servers and clusters,
# together for the most part.
test-slow: setup importers
	SEMCORR_IMPORTERS_PYTHON=$(abspath $(IMPORTERS))/bin/python $(PYTEST) --dist worksteal -m slow || [ $$? -eq 5 ]

test-processors: setup
	$(call network-tests,1)
	$(call network-tests,2)
	$(call network-tests,1,$(AVX2))
	$(call network-tests,2,$(AVX2))
	$(call network-tests,1,$(SSE))
	$(call network-tests,2,$(SSE))

# One of them, for continuous integration: the one that rounds most unlike a machine of today.
test-sse: setup
	$(call network-tests,1,$(SSE))

# Which tests are counted; the quick ones are the default, as for pytest.
MARKS ?= not slow

coverage: setup importers
	$(BIN)/coverage erase
	SEMCORR_IMPORTERS_PYTHON=$(abspath $(IMPORTERS))/bin/python OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 \
		$(BIN)/coverage run -m pytest -n $(WORKERS) -m "$(MARKS)"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --sort=cover

# Exit status of mutmut is 0 whatever survives.
mutation: setup
	rm -rf mutants
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/mutmut run --max-children $(WORKERS)
	$(BIN)/mutmut results

dist: setup
	rm -rf dist
	$(BIN)/python -m build --no-isolation

# The environment is made anew each time, elsewhere, without extras, and thrown away.
release-test: dist
	place=$$(mktemp -d) && trap 'rm -rf "$$place"' EXIT && $(PYTHON) -m venv "$$place" && \
		"$$place"/bin/python -m pip install --quiet --no-compile $(TORCH) && \
		"$$place"/bin/python -m pip install --quiet --no-compile --constraint constraints.txt dist/*.whl && \
		SEMCORR_RELEASE_PYTHON="$$place"/bin/python $(BIN)/python -m pytest -m slow tests/release/test_installed.py

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
	rm -rf $(VENV) $(IMPORTERS) site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage* mutants build dist
