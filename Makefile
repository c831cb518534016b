# leap.mail: everything a person or CI runs. `make help` lists it.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-thunderbird lint docs soak bench lock clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.runtime: requirements.lock pyproject.toml
	@sh tools/setup-venv "$(PYTHON)" "$(VENV)" requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock requirements.lock pyproject.toml
	@sh tools/setup-venv "$(PYTHON)" "$(VENV)" requirements-dev.lock
	@touch $(VENV)/.runtime $@

demo: $(VENV)/.runtime ## alice and bob write to each other on this machine (ARGS="--once|--json|--wait|--keep DIR")
	@exec $(BIN)/python -m leap.bitmask.demo $(ARGS)

lint: $(VENV)/.dev ## ruff, mypy --strict, import contracts, module size
	$(BIN)/ruff check src tests bench examples tools docs
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/module-size

test: $(VENV)/.dev ## install what the tests need, lint, then run every test
	@VENV="$(VENV)" sh tools/setup-peers
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-thunderbird: $(VENV)/.dev ## a headless Thunderbird against provider and daemon (installs it as root)
	@VENV="$(VENV)" sh tools/setup-peers thunderbird
	$(BIN)/python -m pytest tests/thunderbird/thunderbird_journey.py $(ARGS)

docs: $(VENV)/.dev ## build the documentation into build/docs, warnings being errors
	$(BIN)/python -m sphinx -W --keep-going -n -q -b html docs build/docs $(ARGS)
	@echo "open build/docs/index.html"

soak: $(VENV)/.dev ## the long runs; results go to docs/soak.md
	$(BIN)/python -m tests.soak $(ARGS)

bench: $(VENV)/.dev ## measure, beside a peer where there is one
	$(BIN)/python -m bench $(ARGS)

lock: ## write both lock files anew (needs pip-tools)
	pip-compile -q --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --strip-extras --extra build -o requirements.lock pyproject.toml
	pip-compile -q --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --strip-extras --extra build --extra twisted --extra docs --extra dev -o requirements-dev.lock pyproject.toml

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis
