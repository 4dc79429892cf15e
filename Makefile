# make study [STUDY=micro] [SEEDS=5] [CORES=4]   set up, then run a study, or what is left of it
# make test                                       set up, then run every test
# make lab                                        JupyterLab with the study's kernel
#
# The environment is .venv, made from requirements.txt. Inside a conda environment created from
# environment.yml (its name is xstilts) that environment is used instead.

SHELL := bash
STUDY ?= micro
PYTHON ?= python3
export JUPYTER_PREFER_ENV_PATH := 1  # this environment's kernel, not another python3's in the home folder
export PYTHONNOUSERSITE := 1

ifeq ($(CONDA_DEFAULT_ENV),xstilts)
BIN := $(CONDA_PREFIX)/bin
READY :=
else
BIN := $(CURDIR)/.venv/bin
READY := .venv/.ready
endif
export PATH := $(BIN):$(PATH)

.PHONY: help study test lab lint format clean setup
help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -3
study: $(READY)
	@$(BIN)/python -m xstilts study $(STUDY) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(CORES),--cores $(CORES))
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal
lab: $(READY)
	cd notebooks && $(BIN)/jupyter lab
lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/nbstripout --verify --keep-id notebooks/*.ipynb
format: $(READY)
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format . ; $(BIN)/nbstripout --keep-id notebooks/*.ipynb
clean:
	rm -rf .venv runs .snakemake
setup: $(READY)

# the stamp is written last: an interrupted installation is begun again
.venv/.ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "xstilts needs Python 3.11 or later; $(PYTHON) is `$(PYTHON) -V`. Name one: make PYTHON=python3.12"; exit 1; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	.venv/bin/python -m ipykernel install --sys-prefix --name python3 --display-name "Python 3 (xstilts)" >/dev/null
	touch $@
