# Every command people and CI use. Each does its own set-up; `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PACKAGES := protos services/kit services/ingest services/classify services/route services/train mlops services/cli
PROJECTS := $(addsuffix /pyproject.toml,$(PACKAGES))
export RAY_USAGE_STATS_ENABLED := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo tour test up down check chaos bench house quality proto lock baseline clean

help: ## This list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

$(READY): requirements.lock $(PROJECTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Apaise needs Python 3.11 or later. Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (2 GB, one to three minutes; log: $(VENV)/install.log)"
	@$(BIN)/python -m pip install -r requirements.lock > $(VENV)/install.log 2>&1 & pid=$$!; \
	  total=$$(grep -cE '^[a-zA-Z0-9]' requirements.lock); \
	  while kill -0 $$pid 2>/dev/null; do \
	    have=$$(grep -cE '^(Collecting|Requirement already)' $(VENV)/install.log || true); \
	    test -t 1 && printf '\r  %3d of %d packages found, %s' "$$have" "$$total" \
	      "$$(grep -q '^Installing' $(VENV)/install.log && echo 'installing…' || echo 'downloading…')  "; sleep 1; \
	  done; test -t 1 && printf '\n'; wait $$pid || { tail -n 20 $(VENV)/install.log; exit 1; }
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation $(addprefix -e ,$(PACKAGES)) >> $(VENV)/install.log 2>&1 \
	  || { tail -n 20 $(VENV)/install.log; exit 1; }
	@touch $(READY)

setup: $(READY) ## Install everything into .venv

demo: $(READY) ## A sample live event through the whole mesh, and two brands learning from corrections
	@$(BIN)/apaise demo

tour: $(READY) ## The demo and what follows: a precedent, a refusal, a rollback, a canary, the evening's report
	@$(BIN)/apaise tour

test: $(READY) ## All tests but chaos and benches
	$(BIN)/pytest -n 2 --dist loadfile tests/architecture tests/unit tests/contract tests/swap
	$(BIN)/pytest tests/e2e

up: $(READY) ## Start the mesh and stay with it (Ctrl-C stops it)
	@$(BIN)/apaise up

down: $(READY) ## Stop the mesh
	@$(BIN)/apaise down

check: $(READY) ## Style, types, layers, contracts, containers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf format -d --exit-code --path apaise
	cd protos && ../$(BIN)/buf build -o - | ../$(BIN)/buf breaking - --against baseline.binpb \
	  --config '{"version": "v2", "breaking": {"use": ["FILE"]}}'
	PYTHON=$(abspath $(BIN)/python) protos/generate.sh && git diff --exit-code --stat -- protos/gen
	$(BIN)/hadolint docker/*.Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose*.yaml

chaos: $(READY) ## Kill every part of the mesh during a replay and of training, and count what is lost (about 15 minutes)
	$(BIN)/pytest tests/chaos

bench: $(READY) ## Figures of this machine, side by side
	@$(BIN)/apaise bench pipeline
	@$(BIN)/apaise bench serving
	@$(BIN)/apaise bench swap
	@$(BIN)/apaise bench route

house: $(READY) ## Train the house model again (APAISE_DATA=folder; QUICK=1 for a reduced run)
	@$(BIN)/python -m mlops.house train

quality: $(READY) ## Measure the house model on the frozen tests: docs/quality.md (APAISE_DATA=folder)
	@$(BIN)/python -m mlops.house quality

proto: $(READY) ## Generate the stubs from protos/apaise
	PYTHON=$(abspath $(BIN)/python) protos/generate.sh

baseline: $(READY) ## Accept the contracts as they are now as the ones not to break (needs an ADR)
	cd protos && ../$(BIN)/buf build -o baseline.binpb

lock: ## Resolve requirements.lock again
	@$(BIN)/python -c 'import tomllib, sys; \
	  needs = {d for f in sys.argv[1:] for p in [tomllib.load(open(f, "rb"))["project"]] \
	    for d in p["dependencies"] + [x for e in p.get("optional-dependencies", {}).values() for x in e] \
	    if not d.startswith("apaise")}; print("\n".join(sorted(needs)))' $(PROJECTS) > $(VENV)/needs.in
	@$(BIN)/pip-compile -q --strip-extras --allow-unsafe --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --annotation-style=line -o requirements.lock $(VENV)/needs.in requirements.in
	@sed -i -E 's/^(torch==[0-9.]+)\+cpu/\1/' requirements.lock

clean: ## Remove what was installed and every local state
	rm -rf $(VENV) .apaise
