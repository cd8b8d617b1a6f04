# Two commands a newcomer needs: `make demo` and `make test`. Everything lives in .venv; nothing else is touched.
# The first of these that Foveate runs on; the versions in infra/constraints.txt were tested on 3.11.
PYTHON ?= $(shell for one in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$one -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$one && break; done)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
WORKERS ?= 2
RUN_STAMP := $(VENV)/.installed-to-run
STAMP := $(VENV)/.installed
# uv installs in a fraction of pip's time, where it is there.
UV := $(shell command -v uv 2>/dev/null)
MAKE_VENV = $(if $(UV),$(UV) venv --quiet --allow-existing --python $(PYTHON),$(PYTHON) -m venv) $(VENV)
PIP_INSTALL = $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/pip install --quiet --disable-pip-version-check)

.PHONY: help install demo test variant soak check docs pictures bench results clean

help:  ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## make .venv and install Foveate in it

$(RUN_STAMP): pyproject.toml infra/constraints.txt
	@test -n "$(PYTHON)" || { echo "Foveate needs Python 3.11 or later: install one, or name it with PYTHON=..."; exit 1; }
	$(MAKE_VENV)
	$(PIP_INSTALL) -c infra/constraints.txt -e .
	@touch $@

$(STAMP): $(RUN_STAMP)
	$(PIP_INSTALL) -c infra/constraints.txt -e '.[dev]'
	@touch $@

demo: $(RUN_STAMP)  ## simulate, sweep, train, serve and ask; ARGS=--once stops afterwards
	$(BIN)/foveate demo $(ARGS)

test: $(STAMP)  ## run every test, two files at a time; WORKERS=0 runs them one by one
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

variant: $(STAMP)  ## test one variant alone, in seconds: make variant NAME=gated
	$(BIN)/pytest tests/contract --variant $(or $(NAME),$(error name it: make variant NAME=gated)) $(ARGS)

soak: $(STAMP)  ## run the tests that take too long for every change
	$(BIN)/pytest -m soak --timeout 1800 $(ARGS)
	$(BIN)/python infra/mutants/run.py

check: $(STAMP)  ## lint, types, floors of the house, layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit/test_layout.py

docs: $(STAMP)  ## build the site of the documents in build/docs; a broken link fails
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env -c infra/docs . build/docs

pictures: $(STAMP)  ## draw the pictures of the documents and take their screenshot anew; needs Chromium
	$(BIN)/python infra/docs/draw.py
	$(BIN)/python infra/docs/screenshot.py

bench: $(STAMP)  ## run every benchmark and print its ratios
	@for file in infra/bench/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

results: $(STAMP)  ## remake docs/results.md: what was measured on published sets; ARGS="--run all" measures them
	$(BIN)/python infra/bench/results.py $(ARGS)

clean:  ## remove what the commands above made
	rm -rf $(VENV) runs dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
