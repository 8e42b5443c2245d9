# Two commands: `make lifecycle` runs the whole loop, `make test` proves it. Both make the environment where it is missing.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
# Commands of the environment call each other by name (dvc calls bloodyspy).
export PATH := $(CURDIR)/$(BIN):$(PATH)
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help install lifecycle test check bench bench-accuracy bench-drift bench-training bench-inference bench-loop bench-policy bench-promotion bench-serving bench-smears bench-store lock clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 18

install: $(READY) ## make the virtual environment from the lock

# uv installs the lock in seconds; its own wheel is checked against the same lock. Without --compile-bytecode every
# first import would be slow. The .pth line switches the tools' telemetry off in every command of the environment.
$(READY): requirements.lock pyproject.toml bloodyspy/telemetry.py
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
	  || { echo "Python 3.11 or 3.12 is needed, $(PYTHON) is another; set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/^[^ ]/{/^uv==/p;/^ /p}' requirements.lock > $(VENV)/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	$(BIN)/uv pip sync --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'import sysconfig, pathlib; \
	  pathlib.Path(sysconfig.get_path("purelib"), "zz_bloodyspy_telemetry.pth").write_text("import bloodyspy.telemetry\n")'
	@touch $@

lifecycle: $(READY) ## import, validate, version, train, compare, promote, serve, watch (DATA=PATH imports a folder first)
	$(BIN)/python -m pipelines lifecycle $(if $(DATA),--data "$(DATA)")

test: $(READY) ## run every test
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: $(READY) ## lint, types, layers, and known vulnerabilities of the dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@for lock in requirements-serving.lock requirements.lock; do \
	  $(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r $$lock || \
	  { echo "$$lock: a dependency has a known vulnerability, or the advisories could not be asked (they need the internet)."; exit 1; }; \
	done

bench: $(READY) ## measure what the performance claims rest on
	$(BIN)/python -m benchmarks

bench-accuracy: $(READY) ## five seeds, a learning curve, ablations, on real images (hours; SEEDS=N, ONLY="name name")
	$(BIN)/python -m benchmarks accuracy

bench-training: $(READY) ## the recipe beside a plain fine-tune, on real images
	$(BIN)/python -m benchmarks training

bench-promotion: $(READY) ## two rounds of champion and challengers on real images, after bench-accuracy (ROUNDS="first better worse")
	$(BIN)/python -m benchmarks promotion

bench-loop: $(READY) ## the whole loop on real images: drift, labels, retraining, a refusal, a bad release that goes back (SIZE=small)
	$(BIN)/python -m benchmarks loop

bench-smears: $(READY) ## simulated smears of known composition, from the best model's answers to the sealed images
	$(BIN)/python -m benchmarks smears

bench-drift: $(READY) ## false alarms, power and cost of the drift check, on real images
	$(BIN)/python -m benchmarks drift

bench-store: $(READY) ## a million observations collected, compacted and queried
	$(BIN)/python -m benchmarks store

bench-inference: $(READY) ## every way to run the best network, side by side on one core; `predict` beside its limit
	$(BIN)/python -m benchmarks inference
	$(BIN)/python -m benchmarks prediction

bench-policy: $(READY) ## which answers go out unseen, at home, elsewhere, and of pictures without a cell
	$(BIN)/python -m benchmarks policy

bench-serving: $(READY) ## the service beside others and its limit, and under too much load (needs wrk and hey; OPTIONS=--help)
	$(BIN)/python -m benchmarks.serving $(OPTIONS)

lock: ## compile both locks anew from pyproject.toml (needs uv)
	$(BIN)/uv pip compile pyproject.toml --extra platform --extra dev $(LOCKING) -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml $(LOCKING) -c requirements.lock -o requirements-serving.lock
LOCKING := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url

clean: ## remove the outputs of the stages; `dvc repro` brings them back from its cache
	rm -rf build
