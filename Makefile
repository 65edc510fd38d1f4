# The commands of a newcomer: `make first` (real galaxies, a minute), `make demo` (survey files to catalogue and report)
# and `make test`.
# `make TORCH=cuda ...` installs the CUDA build of torch; the default is the CPU build.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH ?= cpu
SETTINGS ?=

# On Linux PyPI's wheel carries CUDA; PyTorch's own index has a CPU wheel, and a local one (PIP_FIND_LINKS) is taken first:
# make TORCH_SPEC="torch --index-url https://download.pytorch.org/whl/cpu" ...
ifeq ($(TORCH),cpu)
TORCH_SPEC ?= torch==2.13.0
else
TORCH_SPEC ?= torch
endif

.PHONY: install first demo test test-slow test-all test-faults test-fuzz test-rail test-lowest lint types docs bench lock clean

install: $(VENV)/.installed

first: $(VENV)/.installed
	$(BIN)/photoz first

demo: $(VENV)/.installed
	$(BIN)/python jobs/demo.py $(SETTINGS)

# What takes longest apart, so that the rest is done in ten minutes; both is what must pass before a change lands.
test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "not slow and not faults and not network" $(ARGS)

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "slow and not faults and not network" $(ARGS)

test-all: test test-slow

# Kills processes and nodes, fills a disk, damages tiles, cuts connections; ends with a table of rows in and out.
test-faults: $(VENV)/.installed-test
	$(BIN)/python -m pytest tests -m faults -p no:cacheprovider $(ARGS)

# Odd tables, files, headers and settings, for an hour: make SECONDS=600 test-fuzz. `make test` goes on for a minute.
SECONDS ?= 3600
test-fuzz: $(VENV)/.installed-test
	PHOTOZ_FUZZ_SECONDS=$(SECONDS) $(BIN)/python -m pytest tests/fuzz -s -p no:cacheprovider $(ARGS)

# The stages of photoz/rail.py within RAIL itself, on its own example, in an environment of their own: without what the other
# tests share, and the options of plugins that it has not.
test-rail: $(VENV)-rail/.installed
	$(VENV)-rail/bin/python -m pytest tests/top/test_rail.py -p no:cacheprovider --noconftest --override-ini addopts= $(ARGS)

# With the lowest versions that pyproject.toml allows, in an environment of their own.
test-lowest: $(VENV)-lowest/.installed
	$(VENV)-lowest/bin/python -m pytest -p no:cacheprovider -m "not slow and not faults and not network" $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

# The site, in docs/_build/html; with PHOTOZ_DOCS_NOTEBOOKS=force its notebooks are run, for what they show.
docs: $(VENV)/.installed-docs
	rm -rf docs/_api
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs docs/_build/html

bench: $(VENV)/.installed-test
	$(BIN)/python -m pytest tests/benchmarks -s --benchmark-only --bench-report docs/benchmarks $(ARGS)

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet $(TORCH_SPEC)
	$(BIN)/pip install --quiet --editable ".[demo]"
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet --editable ".[demo,test]"
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/pip install --quiet --editable ".[demo,docs]"
	touch $@

$(VENV)-rail/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-rail
	$(VENV)-rail/bin/pip install --quiet --upgrade pip
	$(VENV)-rail/bin/pip install --quiet $(TORCH_SPEC)
	$(VENV)-rail/bin/pip install --quiet --editable ".[rail,qp]" pytest
	touch $@

$(VENV)-lowest/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/pip install --quiet uv
	$(VENV)-lowest/bin/pip install --quiet $(TORCH_SPEC)
	# But for torch, of which the one just installed stays: its oldest wheel would bring CUDA.
	echo torch > $(VENV)-lowest/overrides.txt
	$(VENV)-lowest/bin/uv pip install --quiet --python $(VENV)-lowest/bin/python --resolution lowest-direct \
		--overrides $(VENV)-lowest/overrides.txt --editable ".[demo,test]"
	touch $@

# The packages of the image, with hashes. The CPU build of torch comes from PyTorch's own index, or a local folder with
# its wheel: make LOCK_CPU="--find-links FOLDER" lock
LOCK_CPU ?= --index https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match
LOCK := uv pip compile --extra demo --extra store --python-version 3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes \
	--no-annotate --custom-compile-command "make lock" --quiet pyproject.toml

lock: $(VENV)/.installed
	$(BIN)/pip install --quiet uv
	printf 'torch==2.13.0+cpu\nsetuptools\n' | $(BIN)/$(LOCK) $(LOCK_CPU) - --output-file deploy/locks/cpu.txt
	printf 'torch==2.13.0\nsetuptools\n' | $(BIN)/$(LOCK) - --output-file deploy/locks/cuda.txt

clean:
	rm -rf $(VENV) $(VENV)-rail $(VENV)-lowest data
