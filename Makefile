# make demo   the main job on the embedded data, ends with report.html
# make test   the test suite, but for its slowest tests
# make test-all   the slow tests, too
# make lint   ruff, pyright, the layer contract
# make docs   the documentation as a site, in site/
#
# Both set up .venv from the versions in constraints.txt first. Where $(PYTHON) has this version of torch already
# (a CPU build, say), the new environment sees that one through a .pth file, and nothing of CUDA is fetched.

PYTHON ?= python3
TORCH  := 2.13.0
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

define TORCH_HOME
import importlib.metadata as m
found = [d for d in m.distributions(name="torch") if d.version.split("+")[0] == "$(TORCH)"]
print(*[d.locate_file("") for d in found[:1]], sep="")
endef
export TORCH_HOME

.PHONY: demo test test-all lint docs clean

demo: $(VENV)/core
	$(BIN)/bitproof demo --report report.html

test: $(VENV)/dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-all: $(VENV)/dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m ""

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: $(VENV)/docs
	$(BIN)/zensical build --strict --clean

$(VENV)/core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PYTHON) -c "$$TORCH_HOME" > $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/host_torch.pth
	$(PIP) torch==$(TORCH)
	$(PIP) -e .
	touch $@

$(VENV)/dev: $(VENV)/core
	$(PIP) -e '.[zoo,deploy,tflite,openvino,video,dev]'
	touch $@

$(VENV)/docs: $(VENV)/core
	$(PIP) -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV)
