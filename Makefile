# Everything runs in a virtual environment below the checkout; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test unit lint format types sandbox requests clean

help: ## List what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' \
		| while IFS='|' read -r name words; do printf '  make %-10s %s\n' "$$name" "$$words"; done

$(INSTALLED): setup.py pyproject.toml
	@echo "Installing into $(VENV) (once; one or two minutes) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[sandbox,dev]'
	@touch $(INSTALLED)

install: $(INSTALLED) ## Install the connector and its tools into .venv

demo: ## Show the connector at work against the sandbox: no account needed
	@PYTHON="$(PYTHON)" sh demo/demo.sh

test: lint types unit ## Run every check and every test

unit: $(INSTALLED) ## Run the tests, with coverage
	@$(BIN)/python -m pytest --numprocesses auto --cov --cov-report=term

lint: $(INSTALLED) ## Check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(INSTALLED) ## Mend style and formatting
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(INSTALLED) ## Check types
	@$(BIN)/mypy

sandbox: $(INSTALLED) ## Serve the four providers on loopback until Ctrl-C
	@$(BIN)/python -m sandbox

requests: $(INSTALLED) ## Count the requests that first and later syncs take
	@$(BIN)/python -m benchmarks.requests

clean: ## Remove all that make has made
	@rm -rf $(VENV) .demo build dist *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
