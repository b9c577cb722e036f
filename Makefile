# `make repro` and `make test` need Python 3.11 or newer and nothing else: they create .venv first.
PYTHON ?= python3
DEVICE ?= cpu
VENV := .venv
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
PIP := $(VENV)/bin/pip install --quiet --disable-pip-version-check --no-compile --constraint requirements.lock
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

.PHONY: help setup setup-dev repro test soak bench upload-data job cluster-repro lint format mlflow lock clean

help:
	@echo "make repro   run the pipeline on the profiles in params.yaml (default: the demo, minutes on 2 cores)"
	@echo "make test    run the test suite"
	@echo "make soak    run the long tests: clusters, faults, jobs (minutes)"
	@echo "make bench   compare speed and memory with the plain way -> benchmarks/RESULTS.md (DEVICE=cuda on a GPU)"
	@echo "make lint    check the style;  make format  apply it"
	@echo "make mlflow  open MLflow on http://localhost:5000"
	@echo "make job     run the pipeline on the cluster at RAY_ADDRESS, files on REGPROXY_STORAGE"
	@echo "make upload-data   prepare the data sets here and upload them to REGPROXY_STORAGE, for make job"
	@echo "make setup   create .venv with the locked dependencies (setup-dev: with those of the tests too)"

setup: $(STAMP)

setup-dev: $(DEV_STAMP)

# torch is installed first, because packages that depend on it may download another build. compileall uses all
# cores, pip only one.
$(STAMP): pyproject.toml setup.py requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than Python 3.11. Run make PYTHON=python3.11." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --editable '.[pipeline]'
	@$(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@

$(DEV_STAMP): $(STAMP)
	$(PIP) --editable '.[dev]'
	@$(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@

repro: setup
	@$(RUN) python -m pipelines.check
	$(RUN) dvc repro

test: setup-dev
	$(RUN) python -m pytest

soak: setup-dev
	$(RUN) python -m pytest -m soak

bench: setup
	$(RUN) python -m benchmarks --device $(DEVICE)

upload-data: setup
	$(RUN) python -m pipelines.cluster.upload_data

job: setup
	$(RUN) python -m pipelines.cluster.job

# Runs on a cluster with the Python of its image. Outside of a git checkout it runs in a copy of the folder, because
# Ray gives jobs with equal files the same folder. The results go to the storage.
cluster-repro:
	@python -m pipelines.check || exit 1; \
	  if test -e .git; then exec python -m dvc repro; fi; \
	  test -n "$$REGPROXY_STORAGE" || \
	    { echo "error: REGPROXY_STORAGE is not set: the results would be lost. Set it to a URL such as s3://bucket/folder." >&2; exit 1; }; \
	  copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT INT TERM && cp -R . "$$copy" && cd "$$copy" && \
	  python -m dvc config --local core.no_scm true && python -m dvc repro

lint: setup-dev
	$(RUN) ruff check . && $(RUN) ruff format --check .

format: setup-dev
	$(RUN) ruff check --fix . && $(RUN) ruff format .

mlflow: setup
	@echo "Open http://localhost:5000/#/experiments?workflowType=machine_learning"
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
	  $(RUN) mlflow ui --host 127.0.0.1 --backend-store-uri "sqlite:///$(CURDIR)/mlflow.db" \
	  --artifacts-destination "$(CURDIR)/mlartifacts"

lock:
	@{ sed -n '/^#/p' requirements.lock; \
	   $(VENV)/bin/pip freeze --exclude-editable | sed 's/+cpu//; s/+cu[0-9]*//' | grep -vE '^(nvidia-|triton|cuda-)'; } > .lock.tmp
	@mv .lock.tmp requirements.lock

clean:
	rm -rf .pytest_cache .ruff_cache .hypothesis
