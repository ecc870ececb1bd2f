# Two commands do all the set-up: `make train` and `make test`. `make test PYTHON=python3.12` uses another Python.
PYTHON ?= python3
VENV ?= .venv
WORKDIR ?= runs/tiny-$(shell date +%Y%m%d-%H%M%S)
ARGS ?=
BIN := $(VENV)/bin

.PHONY: train test check format assets clean

train: $(VENV)/.installed
	$(BIN)/python -m hsd_jax.train --config configs/tiny.py --workdir $(WORKDIR) $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 $(ARGS)

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

# Made by one Python; choosing another one makes it anew.
$(VENV)/.python-$(notdir $(PYTHON)):
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.python-$(notdir $(PYTHON)) requirements.txt
	$(BIN)/pip install --quiet -r requirements.txt
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(BIN)/pip install --quiet -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
