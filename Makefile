# Each target sets up the virtual environment it needs; nothing is installed again while setup.cfg
# and pyproject.toml are unchanged.

# The first that is new enough, looked for only when .venv is made.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	echo $$python && break; done)
DATA ?= racos-cluster
PORT ?= 2379
NODES ?= 3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help up down test coverage lint format bench micro clean

help:
	@echo "make up      start $(NODES) nodes on this machine (clients from port $(PORT)) and show them at work"
	@echo "make down    stop them; the data stays in $(DATA)"
	@echo "make test    run all tests"
	@echo "make coverage  which lines and branches of racos/core the tests of the core take"
	@echo "make lint    check format, style, types and imports"
	@echo "make format  format the code"
	@echo "make bench   compare with stock etcd"
	@echo "make micro   micro benchmarks, and the cost of a put by stage"
	@echo "make clean   remove $(VENV) and caches"

up: $(VENV)/.racos-etcd
	$(BIN)/racos cluster up --nodes $(NODES) --data-dir $(DATA) --client-port $(PORT) --detach
	@$(BIN)/racos cluster demo --data-dir $(DATA)

down: $(VENV)/.racos-etcd
	$(BIN)/racos cluster down --data-dir $(DATA)

test: $(VENV)/.racos-dev
	$(BIN)/python -m pytest $(TESTS)

coverage: $(VENV)/.racos-dev
	$(BIN)/python -m coverage run -m pytest tests/core tests/scenarios tests/transitions
	$(BIN)/python -m coverage report --show-missing

lint: $(VENV)/.racos-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.racos-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.racos-bench
	$(BIN)/racos bench put --size 256 --clients 100 --nodes $(NODES)
	$(BIN)/racos bench put --size 65536 --clients 32 --nodes $(NODES)

# Without the option of setup.cfg that leaves benchmarks out of the tests.
micro: $(VENV)/.racos-dev
	$(BIN)/python -m pytest -o addopts="" --benchmark-only --benchmark-columns=median,iqr,ops \
		tests/micro
	$(BIN)/python -m tests.micro

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info

# One stamp per set of extras.
$(VENV)/.racos-%: setup.cfg pyproject.toml | $(BIN)/pip
	@echo "installing racos[$*] into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

$(BIN)/pip:
	@test -n "$(PYTHON)" && \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Racos needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "no venv module (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
