# Everything runs in a virtual environment below the checkout; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
IMAGE ?= source-meetings:$(shell sed -n 's/^LABEL io.airbyte.version=//p' Dockerfile)
ENGINE ?= $(shell docker info >/dev/null 2>&1 && echo docker || echo podman)
IMAGE_OPTIONS ?=
CLIENTS := .venv-clients/.installed
PORT ?= 8765
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 2)
AIRFLOW := .venv-airflow/.installed
DAGSTER := .venv-dagster/.installed
WAREHOUSES := .venv-warehouses/.installed
OLDEST_DBT := .venv-oldest-dbt/.installed
BENCHMARKS := .venv-bench/.installed
MUTANTS := .venv-mutants/.installed

.DEFAULT_GOAL := help
.PHONY: help install clients airflow dagster warehouses oldest-dbt demo image test unit lint format types coverage sandbox requests memory soak bench explore mutants clean

help: ## List what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' \
		| while IFS='|' read -r name words; do printf '  make %-10s %s\n' "$$name" "$$words"; done

$(INSTALLED): setup.py pyproject.toml
	@echo "Installing into $(VENV) (once; one or two minutes) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[sandbox,dev]'
	@touch $(INSTALLED)

# Clients have an environment of their own, as on a platform. The list is complete (--no-deps), and
# PyAirbyte works on 3.13 although it says that it does not know it (--ignore-requires-python).
$(CLIENTS): integration_tests/clients.txt demo/pyairbyte.txt dbt/requirements.txt
	@echo "Installing PyAirbyte, dbt and dlt into .venv-clients (once; one or two minutes) …"
	@$(PYTHON) -m venv .venv-clients
	@.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
		--no-compile --no-deps --ignore-requires-python -r integration_tests/clients.txt
	@touch $(CLIENTS)

clients: $(CLIENTS) ## Install PyAirbyte, dbt and dlt into .venv-clients

$(AIRFLOW): integration_tests/airflow.txt
	@echo "Installing Airflow into .venv-airflow (once; one minute) …"
	@$(PYTHON) -m venv .venv-airflow
	@.venv-airflow/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
		--no-compile --no-deps -r integration_tests/airflow.txt
	@touch $(AIRFLOW)

airflow: $(AIRFLOW) ## Install Airflow into .venv-airflow, to load the example

$(DAGSTER): integration_tests/dagster.txt
	@echo "Installing Dagster into .venv-dagster (once; half a minute) …"
	@$(PYTHON) -m venv .venv-dagster
	@.venv-dagster/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
		--no-compile --no-deps -r integration_tests/dagster.txt
	@touch $(DAGSTER)

dagster: $(DAGSTER) ## Install Dagster into .venv-dagster, to run the example

$(WAREHOUSES): integration_tests/warehouses.txt
	@echo "Installing dbt for BigQuery and Snowflake into .venv-warehouses (once; one minute) …"
	@$(PYTHON) -m venv .venv-warehouses
	@.venv-warehouses/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
		--no-compile --no-deps -r integration_tests/warehouses.txt
	@touch $(WAREHOUSES)

$(OLDEST_DBT): integration_tests/oldest_dbt.txt
	@echo "Installing the oldest dbt that is supported into .venv-oldest-dbt (once; half a minute) …"
	@$(PYTHON) -m venv .venv-oldest-dbt
	@.venv-oldest-dbt/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
		--no-compile --no-deps -r integration_tests/oldest_dbt.txt
	@touch $(OLDEST_DBT)

oldest-dbt: $(OLDEST_DBT) ## Install the oldest dbt that is supported, to test the package with it

warehouses: $(WAREHOUSES) ## Install dbt for BigQuery and Snowflake, to compile the models

# The programs that the connector is compared with get .venv-bench-*: see benchmarks/speed/peers.py.
$(BENCHMARKS): setup.py
	@echo "Installing into .venv-bench (once; one minute) …"
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[sandbox,bench]'
	@touch $(BENCHMARKS)

$(MUTANTS): setup.py
	@echo "Installing into .venv-mutants (once; one minute) …"
	@$(PYTHON) -m venv .venv-mutants
	@.venv-mutants/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[sandbox,dev,mutants]'
	@touch $(MUTANTS)

install: $(INSTALLED) ## Install the connector and its tools into .venv

demo: ## Show the connector at work against the sandbox: no account needed
	@PYTHON="$(PYTHON)" sh demo/demo.sh $(if $(SVG),--svg $(abspath $(SVG)))

image: ## Build the container image, with docker or podman; options: IMAGE_OPTIONS=...
	@$(ENGINE) build $(IMAGE_OPTIONS) --tag $(IMAGE) .

test: lint types unit ## Run every check and every test

# The image's tests run one after another. In a worker, podman was seen to wait twenty seconds for
# each container that had ended.
unit: $(INSTALLED) ## Run the tests
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup --ignore integration_tests/test_image.py
	@$(BIN)/python -m pytest integration_tests/test_image.py

coverage: $(INSTALLED) ## Run the tests and show which lines they miss; slower
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup --cov --cov-report=term

lint: $(INSTALLED) ## Check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(INSTALLED) ## Mend style and formatting
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(INSTALLED) ## Check types
	@$(BIN)/mypy

sandbox: $(INSTALLED) ## Serve the providers on loopback, with data and commands to try; PORT=8765
	@$(BIN)/python -m sandbox --port $(PORT) --folder $(if $(filter 8765,$(PORT)),.sandbox,.sandbox-$(PORT))

requests: $(INSTALLED) ## Count the requests that first and later syncs take
	@$(BIN)/python -m benchmarks.requests

memory: $(INSTALLED) ## Measure the memory of first syncs, up to a million meetings (an hour)
	@$(BIN)/python -m benchmarks.memory --sizes 10000 1000000

soak: $(INSTALLED) ## An hour of days with writes, faults and kills; SOAK="--days 30 --seed 7"
	@$(BIN)/python -m benchmarks.soak $(SOAK)

bench: $(BENCHMARKS) ## Compare the speed with that of others; BENCH="--quick" for two minutes
	@.venv-bench/bin/python -m benchmarks.speed $(BENCH)

explore: $(INSTALLED) ## Run small cases of syncs with writes between any requests; DEPTH= RUNS= SEED=
	@$(BIN)/python -m unit_tests.proof.explore \
		$(if $(DEPTH),--depth $(DEPTH)) $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(STREAM),--stream $(STREAM))

mutants: $(MUTANTS) ## Change the code in small ways and count which the tests find; SAMPLE=300 SEED=1
	@.venv-mutants/bin/python -m unit_tests.mutation $(if $(SAMPLE),--sample $(SAMPLE)) \
		$(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY)) $(if $(PROCESSES),--processes $(PROCESSES))

clean: ## Remove all that make has made
	@rm -rf $(VENV) .venv-* .demo .sandbox .sandbox-* mutants dbt/target dbt/logs build dist *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
