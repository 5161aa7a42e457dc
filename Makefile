# `make demo`: from nothing to a trained, measured and filmed run. `make test`: all checks. `make help`: the rest.

PYTHON ?= python3
FAMILY ?= mixed
BUNDLE ?= bundled
SCENES ?= 4
VIEWS ?= 60
SIZE ?= 128
TRAIN_FLAGS ?=
# Tests of a file stay in one process, which makes what they share once.
TEST_FLAGS ?= -n 2 --dist loadfile
CHECK_FLAGS ?=

VENV := .venv
BIN := $(VENV)/bin
DATA := data/demo
BENCHMARK := data/benchmark
RUN := outputs/demo/latent-triplane/latest
SOURCES := latent_nerfstudio method_configs scripts benchmarks examples tests

export PATH := $(CURDIR)/$(BIN):$(PATH)
# Nerfstudio warns of its own indexing and of torch versions to come, several times a command.
export PYTHONWARNINGS ?= ignore

.PHONY: help install demo benchmark test gpu-check docs lint format clean distclean
.DEFAULT_GOAL := help

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  Variables: PYTHON=python3.12  TRAIN_FLAGS=\"--max-num-iterations 500\"  TEST_FLAGS=\"-k planes\""

install: $(VENV)/installed ## Creates .venv and installs the package with all it needs

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "Python: expected 3.10 or later, got " + sys.version.split()[0] + "; call make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/installed: pyproject.toml setup.py latent_nerfstudio/prepare.py | $(BIN)/python
	@echo "Installing latent-nerfstudio and Nerfstudio into $(VENV): some minutes and 9 GB, once"
	$(BIN)/python -m latent_nerfstudio.prepare
	$(BIN)/python -m pip install --quiet --editable '.[meshes]'
	$(BIN)/lns link-ffmpeg
	@touch $@

$(VENV)/installed-dev: pyproject.toml $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

$(DATA)/.complete: | $(VENV)/installed
	lns demo-scenes --output $(DATA) --family $(FAMILY) --num-scenes $(SCENES) --views $(VIEWS) --size $(SIZE) --overwrite
	@touch $@

demo: $(VENV)/installed $(DATA)/.complete ## Generates scenes, trains, evaluates, renders a video, and prints the numbers
	rm -rf $(RUN)
	ns-train latent-triplane --data $(DATA) --pipeline.model.shared-bundle $(BUNDLE) \
		--pipeline.train-base-planes True --pipeline.train-mlp True --experiment-name demo --timestamp latest --vis tensorboard $(TRAIN_FLAGS)
	ns-eval --load-config $(RUN)/config.yml --output-path $(RUN)/eval.json
	ns-render interpolate --load-config $(RUN)/config.yml --output-path $(RUN)/demo.mp4 \
		--rendered-output-names rgb latent depth --order-poses True --interpolation-steps 8
	lns report $(RUN)/config.yml --eval $(RUN)/eval.json --output $(RUN)/report.md --video $(RUN)/demo.mp4
	@echo "To look at it: source $(BIN)/activate; ns-viewer --load-config $(RUN)/config.yml"

$(BENCHMARK)/.complete: | $(VENV)/installed
	lns demo-scenes --output $(BENCHMARK) --num-scenes 2 --views 60 --seed 77 --overwrite
	@touch $@

benchmark: $(VENV)/installed $(BENCHMARK)/.complete ## What a scene costs, in RGB and in latent space: benchmarks/numerous_scenes.md
	python benchmarks/numerous_scenes.py --data $(BENCHMARK) --resume

test: lint ## Installs what the tests need; runs ruff, pyright and pytest
	pytest $(TEST_FLAGS)

gpu-check: ## Checks and measures on a GPU, offline; first scripts/gpu_wheels.sh where there is a network
	scripts/gpu_wheels.sh --install
	PYTHONPATH=$(CURDIR):$(CURDIR)/.whl/site python3 scripts/gpu_check.py $(CHECK_FLAGS)

docs: $(VENV)/installed-dev ## Builds the documentation's site into site/, with warnings as errors
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict
	@echo "Open site/index.html"

lint: $(VENV)/installed-dev ## ruff and pyright
	ruff check $(SOURCES)
	ruff format --check $(SOURCES)
	pyright

format: $(VENV)/installed-dev ## Formats the code
	ruff check --fix $(SOURCES)
	ruff format $(SOURCES)

clean: ## Removes what builds and tests leave behind
	rm -rf build dist site *.egg-info .pytest_cache .ruff_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Also removes .venv and the demo's scenes and run
	rm -rf $(VENV) $(DATA) $(RUN)
