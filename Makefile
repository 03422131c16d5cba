# `make demo` and `make test` are all the set-up there is: what they need is installed on the way, once.

VENV ?= .venv
# The first Python that is new enough; PYTHON=/path/to/python3 chooses another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := $(VENV)/bin
APP := $(VENV)/.stamp-app
DEV := $(VENV)/.stamp-dev
BENCHMARKS := $(sort $(wildcard benchmarks/*.py))

.DEFAULT_GOAL := help
.PHONY: help demo test lint arrows bench eval screenshots

help: ## what can be made
	@awk -F ': .*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(APP) ## three questions about a picture of the Earth from orbit; PLACE="lat,lon" or PHOTO=file chooses another
	@$(BIN)/gaea demo $(if $(PHOTO),--photo="$(PHOTO)",$(if $(PLACE),--place="$(PLACE)"))

test: $(DEV) arrows ## all tests, offline, on the CPU
	@$(BIN)/pytest $(ARGS)

lint: $(DEV) arrows ## ruff, strict types on the ground floor, and the arrows of the design
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# import-linter reads one folder per package, so the rooms are laid out as they are installed.
arrows: $(DEV) ## who may import whom
	@rm -rf build/arrows && mkdir -p build/arrows
	@find gaea -name '*.py' | tar cf - -T - | tar xf - -C build/arrows
	@find rag finetune app eval -name '*.py' | tar cf - -T - | tar xf - -C build/arrows/gaea
	@cd build/arrows && "$(abspath $(BIN))/lint-imports" --config "$(CURDIR)/pyproject.toml" --no-cache --no-logo

eval: $(DEV) ## the small suite, against docs/results/gate.json; ARGS=--update makes that anew
	@$(BIN)/python -m gaea.eval gate $(ARGS)

bench: $(DEV) ## speed, each beside a public peer on the same work
	@set -e; for benchmark in $(BENCHMARKS); do echo "== $$benchmark"; $(BIN)/python $$benchmark; done

screenshots: $(DEV) ## pictures of the chat page for the documents; needs Chromium
	@$(BIN)/python docs/screenshots.py

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "GAEA needs Python 3.11 or newer, and none was found: install one, or name it with PYTHON=/path/to/python3"; exit 1; }
	@echo "Making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python3 -m venv does not work: on Debian and Ubuntu, install python3-venv"; exit 1; }

$(VENV)/.stamp-%: pyproject.toml | $(BIN)/python
	@echo "Installing gaea-geo[$*]; the first time this takes minutes (tail -f $(VENV)/install.log shows how far it is)"
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --editable '.[$*]' > $(VENV)/install.log 2>&1 \
		|| { tail -n 20 $(VENV)/install.log; exit 1; }
	@touch $@
