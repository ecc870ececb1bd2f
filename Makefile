# Two commands do all the set-up: `make train` and `make test`. `make test PYTHON=python3.12` uses another Python.
# Versions come from requirements.lock.
PYTHON ?= python3
VENV ?= .venv
WORKDIR ?= runs/tiny-$(shell date +%Y%m%d-%H%M%S)
ARGS ?=
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint requirements.lock
LOCKED := requirements-oracle.txt tpu_scripts/requirements.txt

.PHONY: train test check format assets oracle newest lock clean

train: $(VENV)/.installed
	$(BIN)/python -m hsd_jax.train --config configs/tiny.py --workdir "$(WORKDIR)" $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

assets: $(VENV)/.installed
	$(BIN)/python -m tools.make_tiny_tokenizer
	$(BIN)/python -m tools.make_tiny_base

# The comparisons with torch, transformers and trl, which need some GB more.
oracle: $(VENV)/.installed-oracle
	$(BIN)/python -m pytest -n 2 -m oracle -rs $(ARGS)

# Says what today's newest versions break, in an environment without the lock.
newest:
	tools/newest.sh $(PYTHON)

# One set of versions for every Python from the oldest supported one on. Only the file is written; nothing is installed.
lock: $(VENV)/.installed-dev
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --no-header --no-annotate \
	    --no-emit-index-url $(LOCKED) --output-file requirements.lock

# Made by one Python; choosing another one makes it anew.
$(VENV)/.python-$(notdir $(PYTHON)):
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.python-$(notdir $(PYTHON)) requirements.txt requirements.lock
	$(INSTALL) --requirement requirements.txt
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(INSTALL) --requirement requirements-dev.txt
	touch $@

$(VENV)/.installed-oracle: $(VENV)/.installed-dev requirements-oracle.txt
	$(INSTALL) --requirement requirements-oracle.txt
	touch $@

clean:
	rm -rf $(VENV) .venv-newest .pytest_cache .ruff_cache .hypothesis
