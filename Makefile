# Two commands a newcomer needs: `make demo` and `make test`. Everything lives in .venv; nothing else is touched.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
WORKERS ?= 2
STAMP := $(VENV)/.installed

.PHONY: help install demo test soak check bench clean

help:  ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## make .venv and install Foveate in it

$(STAMP): pyproject.toml infra/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c infra/constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)  ## simulate, sweep, train, serve and ask; ARGS=--once stops afterwards
	$(BIN)/foveate demo $(ARGS)

test: $(STAMP)  ## run every test, two files at a time; WORKERS=0 runs them one by one
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

soak: $(STAMP)  ## run the tests that take too long for every change
	$(BIN)/pytest -m soak --timeout 1800 $(ARGS)

check: $(STAMP)  ## lint, types, floors of the house, layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit/test_layout.py

bench: $(STAMP)  ## run every benchmark and print its ratios
	@for file in infra/bench/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean:  ## remove what the commands above made
	rm -rf $(VENV) runs dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
