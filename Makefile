# make demo   set up .venv, then run the main job end to end
# make test   set up .venv, then lint, type checks, import rules and all tests
# make fuzz   send thousands of generated requests to a running aggregator
# make chaos  disturb runs of a federation for minutes; CHAOS_SEED=... repeats what it printed
# make test-no-ext  install where no C compiler works, and test what is compiled elsewhere
# make sanitize  the compiled parts under the sanitizers: addresses, undefined behaviour, data races
# make docs   build the documentation site in build/site
# make install  only set up .venv

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Tests that compare the compiled modules with their counterparts in Python, and feed them bad input.
COMPILED_TESTS := tests/paillier tests/secure_sum/test_slots.py \
	$(addprefix tests/boosting/test_,engine.py engine_refusals.py histogram.py workers.py)

.PHONY: demo test test-no-ext sanitize fuzz chaos docs install lint format clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

$(STAMP): setup.cfg setup.py pyproject.toml $(shell find fraudfed -name "*.[ch]")
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

chaos: $(STAMP)
	$(BIN)/python -m pytest -m chaos --timeout 3600 tests/chaos tests/aggregator/test_run_machine.py

test-no-ext: $(STAMP)
	rm -rf build
	CC=/bin/false $(BIN)/python -m pip install --quiet --no-deps --target build/no-ext .
	cd build/no-ext && ! find . -name '*.so' | grep .
	PYTHONPATH=build/no-ext $(BIN)/pytest -n 2 tests/paillier tests/secure_sum tests/boosting

# Address and undefined behaviour, then data races (of the boosting engine, which has threads).
sanitize: $(STAMP)
	rm -rf build/sanitize
	FRAUDFED_EXTRA_CFLAGS="-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined" \
	FRAUDFED_EXTRA_LDFLAGS="-fsanitize=address,undefined" \
		$(BIN)/python setup.py -q build --build-base build/sanitize/a --build-lib build/sanitize/address
	FRAUDFED_EXTRA_CFLAGS="-g -O1 -fsanitize=thread" FRAUDFED_EXTRA_LDFLAGS="-fsanitize=thread" \
		$(BIN)/python setup.py -q build --build-base build/sanitize/t --build-lib build/sanitize/thread
	ls build/sanitize/*/fraudfed/paillier/_ifma*.so build/sanitize/*/fraudfed/boosting/engine/_engine*.so build/sanitize/*/fraudfed/secure_sum/_packing*.so
	LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc PYTHONPATH=build/sanitize/address \
		$(BIN)/pytest -s --timeout 1800 $(COMPILED_TESTS)
	LD_PRELOAD="$$(cc -print-file-name=libtsan.so)" TSAN_OPTIONS=halt_on_error=1 \
	PYTHONPATH=build/sanitize/thread \
		$(BIN)/pytest -s --timeout 1800 tests/boosting/test_engine.py tests/boosting/test_workers.py

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info fraudfed-demo
