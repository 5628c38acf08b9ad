# make demo   set up .venv, then run the main job end to end
# make test   set up .venv, then lint, type checks, import rules and all tests
# make fuzz   send thousands of generated requests to a running aggregator
# make install  only set up .venv

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test fuzz install lint format clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

$(STAMP): setup.cfg setup.py pyproject.toml $(wildcard fraudfed/*/*.c)
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"fraudfed needs Python 3.11 or newer, {sys.executable} is {v.major}.{v.minor}: call make with PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(STAMP)

install: $(STAMP)

demo: $(STAMP)
	$(BIN)/fraudfed demo

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

fuzz: $(STAMP)
	$(BIN)/python -m pytest -m fuzz --timeout 1800 -rP tests/fuzz

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info fraudfed-demo
