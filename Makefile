# make demo   the main job on the embedded data, ends with report.html
# make test   the whole test suite
# make lint   ruff, pyright, the layer contract
#
# Both set up .venv from the versions in constraints.txt first. A CPU build of torch that $(PYTHON) already
# has is used as it is: the environment is then created on top of it and nothing of CUDA is fetched.

PYTHON ?= python3
TORCH  := 2.13.0
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

HAS_TORCH = $(shell $(PYTHON) -c 'import importlib.metadata as m; print(m.version("torch").split("+")[0])' 2>/dev/null)

.PHONY: demo test lint clean

demo: $(VENV)/core
	$(BIN)/bitproof demo --report report.html

test: $(VENV)/dev
	$(BIN)/python -m pytest

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

$(VENV)/core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(if $(filter $(TORCH),$(HAS_TORCH)),--system-site-packages) $(VENV)
	$(PIP) torch==$(TORCH)
	$(PIP) -e .
	touch $@

$(VENV)/dev: $(VENV)/core
	$(PIP) -e '.[zoo,dev]'
	touch $@

clean:
	rm -rf $(VENV)
