# Every target makes its own .venv and needs nothing but Python 3.11+ and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# The sync face of the queue is made of the async one.
SYNC   := s/await //; s/async def/def/; s/async with/with/; s/AsyncConnection/Connection/; s/run_call_async/run_call/; \
          s/"""The queue for async code."""/"""The queue for sync code: made of queue.py by `make format`."""/; \
          s/class JobQueue/class SyncJobQueue/; s/for async code\./for sync code; the verbs of ``JobQueue``./

.DEFAULT_GOAL := help
.PHONY: help run test check format bench soak clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e . --group dev
	@touch $@

$(VENV)/.bench: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	@touch $@

run: $(STAMP) ## run the demo: a service desk whose tickets cross their thresholds, live
	@$(BIN)/slaq demo $(ARGS)

test: $(STAMP) ## run the tests
	@$(BIN)/pytest $(ARGS)

check: $(STAMP) ## lint, format, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@sed '$(SYNC)' slaq/jobs/queue.py | $(BIN)/ruff format - | diff - slaq/jobs/sync_queue.py
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports --no-cache

format: $(STAMP) ## format the code, and make the sync face of the queue
	@sed '$(SYNC)' slaq/jobs/queue.py > slaq/jobs/sync_queue.py
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

bench: $(VENV)/.bench ## measure slaq beside its peers, as ratios in one run
	@$(BIN)/python -m benchmarks $(ARGS)

soak: $(STAMP) ## the long tests: hundreds of kills, hours of lives
	@$(BIN)/pytest -m soak --timeout 1800 $(ARGS)

clean: ## remove what the targets made
	rm -rf $(VENV) dist .pytest_cache .ruff_cache .hypothesis
