# Needs Python 3.11 or newer, and make. Everything else is installed into this folder.

SHELL := /bin/sh
# The first Python that is new enough; PYTHON= names another one.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
BIN := .venv/bin
TOOLS := $(BIN)/uv
STAMPS := .venv/.stamps
CODE := shared functions local agent infra tests bench
LOCK := uv pip compile --quiet --generate-hashes --universal --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

hash = $(shell cat $(1) 2>/dev/null | cksum | tr ' ' '-')
LOCAL_STAMP := $(STAMPS)/local-$(call hash,local/requirements.txt local/bootstrap.txt)
FUNCTIONS_STAMP := .venv-functions/.stamp-$(call hash,requirements.txt local/bootstrap.txt)
NODE_STAMP := local/node_modules/.stamp-$(call hash,local/package-lock.json)

.PHONY: help dev test check bench matrices catalogue package fmt lock clean install
.DEFAULT_GOAL := help

help:
	@echo "make dev        start everything at http://127.0.0.1:8080 (PORT=, DATA=, FRESH=1, PROCESSES=1 or names, MODEL=)"
	@echo "make test       run the tests"
	@echo "make check      lint, types, layers, and whether the generated files are current"
	@echo "make bench      run the benchmarks"
	@echo "make matrices   who may do what: every table and every operation, tried as every kind of caller"
	@echo "make catalogue  write what is generated from the functions' declarations"
	@echo "make package    write every function's archive into build/"
	@echo "make fmt        format the code"
	@echo "make lock       pin the requirements again"
	@echo "make clean      remove what was installed (never the state in .local)"

install: $(LOCAL_STAMP) $(NODE_STAMP)

dev: install
	@$(BIN)/python -m local.models fetch || echo "Starting without the language model; the page says so too."
	@exec $(BIN)/python -m local

test: install $(FUNCTIONS_STAMP)
	@$(BIN)/python -m local.launcher.browser
	@$(BIN)/python -m local.models fetch || echo "The tests that need the language model will be skipped."
	$(BIN)/python -m pytest $(PYTEST)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports
	$(BIN)/python -m infra.catalogue --check

bench: install $(FUNCTIONS_STAMP)
	$(BIN)/python -m bench $(BENCH)

matrices: install
	$(BIN)/python -m tests.security.matrices

catalogue: install
	$(BIN)/python -m infra.catalogue

package: install
	$(BIN)/python -m infra.packaging build --table

fmt: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: install
	$(BIN)/$(LOCK) local/requirements.in -o local/requirements.txt $(UPGRADE)
	$(BIN)/$(LOCK) requirements.in -c local/requirements.txt -o requirements.txt $(UPGRADE)
	$(BIN)/$(LOCK) agent/requirements.in -c local/requirements.txt -o agent/requirements.txt $(UPGRADE)

clean:
	rm -rf .venv .venv-functions local/node_modules .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

$(TOOLS): local/bootstrap.txt
	@python="$(PYTHON)"; command -v "$${python:=python3}" >/dev/null \
		|| { echo "This needs Python 3.11 or newer, and there is no $$python here." >&2; exit 1; }; \
		"$$python" local/bootstrap.py && "$$python" -m venv .venv
	@echo "Installing uv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
		-r local/bootstrap.txt
	@touch $@

$(LOCAL_STAMP): $(TOOLS)
	@echo "Installing what the local cloud and the tests need (.venv)"
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r local/requirements.txt
	@mkdir -p $(STAMPS) && rm -f $(STAMPS)/local-* && touch $@

$(FUNCTIONS_STAMP): $(TOOLS)
	@echo "Installing what the functions need, and nothing else (.venv-functions)"
	@test -x .venv-functions/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .venv-functions
	@$(BIN)/uv pip install --python .venv-functions/bin/python --require-hashes -r requirements.txt
	@rm -f .venv-functions/.stamp-* && touch $@

$(NODE_STAMP): $(LOCAL_STAMP) local/package.json
	@$(BIN)/python -m local.launcher.node
	@rm -f local/node_modules/.stamp-* && touch $@
