# make demo   set up .venv, then run the main job end to end
# make test   set up .venv, then lint, type checks, import rules and all tests
# make lint   form, types and import rules, without tests
# make format  give the code its form, and mend what ruff can mend
# make fuzz   send thousands of generated requests to both services
# make chaos  disturb runs of a federation for minutes; CHAOS_SEED=... repeats what it printed
# make test-no-ext  install where no C compiler works, and test what is compiled elsewhere
# make sanitize  the compiled parts under the sanitizers: addresses, undefined behaviour, data races
# make docs   build the documentation site in build/site
# make test-roles  a federation in which each program has the packages of its role alone
# make types  mypy alone, as CI does on each Python
# make test-python  types, and all tests that start no processes: what another Python can change
# make test-newest  lint, types and some tests with the newest release of every package, not the locked ones
# make deploy-tools  Helm, hadolint and others in an environment of their own, for tests of deploy/
# make mlflow  a server of MLflow in an environment of its own, for the test of tracking
# make install  only set up .venv; ROLE=bank, aggregator or lab installs what that role needs
# make wheel  the wheel of the last commit in dist/, built twice and kept if both have the same bytes
# make sbom   what each role installs, as CycloneDX, in dist/
# make release  the wheel, the bills of materials, and an unsigned statement of where they come from
# make lock   write requirements/*.txt anew, with the newest release of every package
# make clean  remove .venv and everything that was built, and the folder of the demo
# With PYTHON=python3.12 each of these uses a virtual environment of that Python's own, .venv-3.12.

PYTHON ?= python3
ROLE ?= dev
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(ROLE)
PIP := -m pip --disable-pip-version-check --quiet
# CI adds --no-compile: most modules of our dependencies are never imported.
PIP_INSTALL := $(PIP) install $(PIP_FLAGS)
# Where make test has checked the laws already, and only the Python, the packages or the missing compiler are
# others, a tenth of the examples of each drawn test shows whether they still hold (tests/conftest.py).
FEW_DRAWS := FRAUDFED_TEST_DRAWS=0.1
# Tests start hundreds of programs: each would compile all of its modules anew, most of a second a start.
unexport PYTHONDONTWRITEBYTECODE
C_SOURCES := $(shell find fraudfed -name '*.[ch]')

# Tests that compare the compiled modules with their counterparts in Python, and feed them bad input.
COMPILED_TESTS := tests/paillier tests/secure_sum/test_slots.py tests/privacy/test_sampler.py \
	$(addprefix tests/boosting/test_,engine.py engine_refusals.py histogram.py workers.py)

.PHONY: help deploy-tools wheel sbom release mlflow demo test test-no-ext test-roles types test-python test-newest sanitize fuzz chaos docs install lock lint format clean
.DEFAULT_GOAL := help

help:
	@sed -n '/^$$/q; s/^# //p' Makefile

$(STAMP): setup.cfg setup.py pyproject.toml requirements/$(ROLE).txt $(C_SOURCES)
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"fraudfed needs Python 3.11 or newer, {sys.executable} is {v.major}.{v.minor}: call make with PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --require-hashes --requirement requirements/$(ROLE).txt
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

install: $(STAMP)

demo: $(STAMP)
	$(BIN)/fraudfed demo

mlflow:
	.ci/mlflow

deploy-tools:
	.ci/deploy-tools

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
	rm -rf build/no-ext build/lib* build/temp* build/bdist*
	CC=/bin/false $(BIN)/python $(PIP) install --no-deps --no-build-isolation --target build/no-ext .
	cd build/no-ext && ! find . -name '*.so' | grep .
	$(FEW_DRAWS) PYTHONPATH=build/no-ext $(BIN)/pytest -n 2 --dist worksteal $(COMPILED_TESTS) tests/secure_sum \
		tests/privacy/test_noise.py $(addprefix tests/boosting/test_,parity.py train.py)

test-roles:
	PYTHON=$(PYTHON) .ci/roles

test-newest:
	PYTHON=$(PYTHON) .ci/newest

# What another Python can change: what its packages' types say, and what runs. Real processes on it are in test-roles.
types: $(STAMP)
	$(BIN)/mypy

test-python: types
	$(FEW_DRAWS) $(BIN)/python -m pytest -n 2 --dist worksteal -m 'not e2e and not fuzz and not chaos'

# Address and undefined behaviour, then data races (of the boosting engine, which has threads).
sanitize: $(STAMP)
	rm -rf build/sanitize
	FRAUDFED_EXTRA_CFLAGS="-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined" \
	FRAUDFED_EXTRA_LDFLAGS="-fsanitize=address,undefined" \
		$(BIN)/python setup.py -q build --build-base build/sanitize/a --build-lib build/sanitize/address
	FRAUDFED_EXTRA_CFLAGS="-g -O1 -fsanitize=thread" FRAUDFED_EXTRA_LDFLAGS="-fsanitize=thread" \
		$(BIN)/python setup.py -q build --build-base build/sanitize/t --build-lib build/sanitize/thread
	for part in _adx _ifma _engine _packing _sampler; do \
		for kind in address thread; do find build/sanitize/$$kind -name "$$part.*.so" | grep . || exit 1; done; \
	done
	LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc PYTHONPATH=build/sanitize/address \
		$(BIN)/pytest -s -n 2 --dist worksteal --timeout 1800 $(COMPILED_TESTS)
	LD_PRELOAD="$$(cc -print-file-name=libtsan.so)" TSAN_OPTIONS=halt_on_error=1 \
	PYTHONPATH=build/sanitize/thread \
		$(BIN)/pytest -s -n 2 --dist worksteal --timeout 1800 tests/boosting/test_engine.py tests/boosting/test_workers.py

wheel: $(STAMP)
	$(BIN)/python deploy/release/wheel.py --out dist

sbom: $(STAMP)
	$(BIN)/python deploy/release/sbom.py --out dist

# BUILDER is a URI of the machine or the service that runs this, and stands in the statement.
BUILDER ?= urn:fraudfed:builder:unnamed
release: $(STAMP)
	rm -rf dist && mkdir dist && date -u +%FT%TZ > dist/.started
	$(MAKE) --no-print-directory wheel sbom
	$(BIN)/python deploy/release/provenance.py --builder "$(BUILDER)" --started "$$(cat dist/.started)" \
		--out dist/fraudfed.intoto.json dist/*.whl dist/*.cdx.json
	rm dist/.started && cd dist && sha256sum * > SHA256SUMS
	$(BIN)/python deploy/release/provenance.py --check dist/fraudfed.intoto.json

# All Python versions in one file. The roles take the versions that dev has, which are the ones tested.
LOCK = build/lock/bin/uv pip compile --quiet --universal --python build/lock/bin/python --python-version 3.11 \
	--generate-hashes --custom-compile-command "make lock" setup.cfg - < build/lock/requires
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python $(PIP) install --upgrade uv
	build/lock/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
		> build/lock/requires
	$(LOCK) --upgrade --extra dev --output-file requirements/dev.txt
	for role in lab bank bank-full aggregator; do \
		$(LOCK) --extra $$role --constraint requirements/dev.txt --output-file requirements/$$role.txt || exit; \
	done

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info fraudfed-demo
