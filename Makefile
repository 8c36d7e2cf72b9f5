# The two commands: `make run` makes the ranked list from real data, `make test` checks everything.
# Each sets itself up first, in a folder of its own (.venv), and can be interrupted and repeated.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP_DONE := $(VENV)/.set-up
SPARK_DONE := $(VENV)/.with-spark

export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PYTHONUNBUFFERED := 1
unexport PYTHONPATH
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONHOME

.PHONY: run test check test-long test-kills lint benchmark lock clean

run: $(SETUP_DONE)
	@echo "lapse: running the pipeline (dvc repro)"
	@# DVC writes its lock in place: killed at that moment, it leaves an empty one, which it then refuses.
	@if [ -e dvc.lock ] && [ ! -s dvc.lock ]; then git checkout -- dvc.lock 2>/dev/null || rm -f dvc.lock; fi
	@PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro
	@echo "lapse: done. Next: open data/lists/at_risk.xlsx, look at data/reports/pictures, or run"
	@echo "lapse:   $(BIN)/lapse at-risk --top 10"

test: $(SPARK_DONE) lint
	@echo "lapse: pytest"
	@PATH="$(CURDIR)/$(BIN):$$PATH" pytest --durations=10
	@PATH="$(CURDIR)/$(BIN):$$PATH" pytest --nbmake notebooks
	@echo "lapse: all checks passed. Next: make run"

# Lint, types, and the tests that fit no model and run no stage: while one works.
check: $(SETUP_DONE) lint
	@PATH="$(CURDIR)/$(BIN):$$PATH" pytest -m "not slow" tests/unit tests/project
	@echo "lapse: checked. Before you hand it on: make test"

# Everything, on whole data sets and with many more examples: for a night.
test-long: $(SPARK_DONE) lint
	@PATH="$(CURDIR)/$(BIN):$$PATH" LAPSE_TESTS=long pytest --durations=25

# The night killed at 200 random points of each of its commands.
test-kills: $(SETUP_DONE)
	@PATH="$(CURDIR)/$(BIN):$$PATH" LAPSE_KILLS=$(or $(KILLS),200) pytest -s -k killed tests/unit/night tests/unit/registry

lint: $(SETUP_DONE)
	@echo "lapse: ruff, mypy"
	@PATH="$(CURDIR)/$(BIN):$$PATH" ruff check .
	@PATH="$(CURDIR)/$(BIN):$$PATH" ruff format --check .
	@PATH="$(CURDIR)/$(BIN):$$PATH" mypy

# uv is used when it is there, because it is faster; pip does the same. Both check every hash of the lock.
$(SETUP_DONE): requirements.lock pyproject.toml
	@echo "lapse: setting up $(VENV) (once, about two minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "lapse: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	@rm -f "$@"
	@test -x "$(BIN)/python" && "$(BIN)/python" -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear "$(VENV)"
	@if command -v uv >/dev/null 2>&1; then \
		uv pip install --quiet --compile-bytecode --python "$(BIN)/python" --require-hashes -r requirements.lock && \
		uv pip install --quiet --compile-bytecode --python "$(BIN)/python" --no-deps --no-build-isolation -e . ; \
	else \
		"$(BIN)/python" -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements.lock && \
		"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	fi
	@touch "$@"
	@echo "lapse: set up"

# Spark is 434 MB that only its tests need: `make run` does without.
$(SPARK_DONE): $(SETUP_DONE) requirements-spark.lock
	@echo "lapse: adding Spark for the tests (once)"
	@if command -v uv >/dev/null 2>&1; then \
		uv pip install --quiet --python "$(BIN)/python" --require-hashes -r requirements-spark.lock ; \
	else \
		"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --progress-bar off --require-hashes -r requirements-spark.lock ; \
	fi
	@touch "$@"

# The rivals live apart: featuretools does not run on the pandas that lapse needs.
benchmark: $(SETUP_DONE) .venv-bench/.set-up
	@$(BIN)/python benchmarks/features.py --all

.venv-bench/.set-up: benchmarks/requirements.txt
	@echo "lapse: setting up .venv-bench (once)"
	@$(PYTHON) -m venv --clear .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch "$@"

# Writes both locks anew from pyproject.toml; needs uv.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header
lock:
	$(LOCK) --group dev pyproject.toml -o requirements.lock
	grep -o '"pyspark>[^"]*"' pyproject.toml | tr -d '"' | $(LOCK) --constraints requirements.lock - -o requirements-spark.lock

clean:
	rm -rf "$(VENV)" .venv-bench
