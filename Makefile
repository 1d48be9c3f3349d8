# The project's tasks; `make` lists them. Needs GNU make 3.81 or newer, and Python 3.11 or newer.

VENV := .venv/bin/python
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
# What makes the virtual environment: `make run PYTHON=/path/to/python`, or the first new enough.
PYTHON ?= $(shell for python in $(VENV) python3 python3.13 python3.12 python3.11; do \
	"$$python" $(NEW_ENOUGH) 2>/dev/null && echo "$$python" && break; done)

FOR_RUN := requirements.txt requirements-local.txt
FOR_ALL := $(FOR_RUN) requirements-dev.txt

# How many processes run tests side by side, each with servers of its own. Given servers
# (TEST_DATABASE_URL, TEST_REDIS_URL) serve one.
TEST_PROCESSES ?= $(if $(TEST_DATABASE_URL)$(TEST_REDIS_URL),0,2)

# Installs the given requirements files into .venv, and does nothing when that is done already.
define install
@"$(PYTHON)" $(NEW_ENOUGH) 2>/dev/null || { echo 'Error: Python 3.11 or newer is needed' \
	'$(if $(PYTHON),(PYTHON=$(PYTHON) is not),(none was found; name it: make PYTHON=...)).' >&2; exit 1; }
@"$(PYTHON)" -m app.local.install $(1)
endef

.PHONY: help run test faults bench bench-quick check fix migration requirements clean

help: ## List what make can do
	@awk -F ': ## ' '/^[a-z-]+: ## / { printf "make %-14s%s\n", $$1, $$2 }' Makefile

run: ## Start everything: PostgreSQL, Valkey, API, worker, Flower; Ctrl-C stops it
	$(call install,$(FOR_RUN))
	@exec $(VENV) -m app.local --with-parent

test: ## Run all tests; some only: make test ARGS="tests/unit -k cancel"
	$(call install,$(FOR_ALL))
	@exec $(VENV) -m pytest -n $(TEST_PROCESSES) --dist loadfile $(ARGS)

faults: ## Pull every plug, again and again: all fault tests in their long form, an hour or two
	$(call install,$(FOR_ALL))
	@FAULTS=long exec $(VENV) -m pytest -s tests/faults tests/model $(ARGS)

bench: ## Measure how fast it is, against what there is, and write docs/benchmarks.md; 45 minutes
	$(call install,$(FOR_ALL))
	@exec $(VENV) -m benchmarks $(ARGS)

bench-quick: ## A quick look at the most telling figures, in two minutes
	$(call install,$(FOR_ALL))
	@exec $(VENV) -m benchmarks --quick $(ARGS)

check: ## Check format, lint, types, imports, migrations and documents
	$(call install,$(FOR_ALL))
	$(VENV) -m ruff format --check .
	$(VENV) -m ruff check .
	$(VENV) -m mypy
	$(VENV) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'
	$(VENV) -m app.local.scratch sh -ec '$(VENV) -m alembic upgrade head; $(VENV) -m alembic check'
	$(VENV) -m pytest -q tests/unit/test_readme.py

fix: ## Correct what can be corrected by itself: format and simple lint
	$(call install,$(FOR_ALL))
	$(VENV) -m ruff format .
	$(VENV) -m ruff check --fix .

migration: ## Write a migration for what changed in the models: make migration name="add labels"
	$(call install,$(FOR_ALL))
	@test -n "$$name" || { echo 'Error: say what it does: make migration name="add labels"' >&2; exit 1; }
	@$(VENV) -m app.local.scratch sh -ec \
		'$(VENV) -m alembic upgrade head; $(VENV) -m alembic revision --autogenerate -m "$$name"'

requirements: ## Compile requirements*.in to exact versions; newer ones: ARGS=--upgrade
	$(call install,$(FOR_ALL))
	for name in requirements requirements-local requirements-dev; do \
		$(VENV) -m uv pip compile --universal --python-version 3.11 --no-emit-index-url --no-header \
			-q $(ARGS) $$name.in -o $$name.txt || exit 1; \
	done

clean: ## Remove the virtual environment and all caches; the data in .data stays
	rm -rf .venv .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
