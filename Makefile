PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Also for the tools that pip builds the package with.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test coverage lint format docs bench clean

demo: $(VENV)/installed
	$(BIN)/gradlaw analyze --out runs/demo --force

# As many processes as cores, of a thread each: small models gain nothing by more threads.
test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --dist loadfile

# Of lines and branches of src/: a table of what no test reaches, and coverage.xml.
coverage: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --dist loadfile --cov --cov-report term --cov-report xml

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The site, in docs/_build/html; every warning is an error.
docs: $(VENV)/installed-dev
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean:
	rm -rf $(VENV) .venv-bench docs/_build

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[all]'
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/installed

# The peers live in environments of their own and never become dependencies.
POWERLAW := 1.5 2.0.0
PEERS := $(POWERLAW:%=.venv-bench/powerlaw-%/installed) .venv-bench/peers/installed
# Some sections only: make bench SECTIONS='collection_speed gram_speed'
bench: $(VENV)/installed $(PEERS)
	$(BIN)/python bench/run.py $(SECTIONS)

.venv-bench/powerlaw-%/installed:
	$(PYTHON) -m venv .venv-bench/powerlaw-$*
	env -u PIP_CONSTRAINT .venv-bench/powerlaw-$*/bin/pip install --quiet powerlaw==$* 'setuptools<81'
	touch $@

# torchvision comes with backpack-for-pytorch and does not load beside a CPU build of torch.
.venv-bench/peers/installed: bench/peers/requirements.txt
	$(PYTHON) -m venv .venv-bench/peers
	env -u PIP_CONSTRAINT .venv-bench/peers/bin/pip install --quiet --requirement $<
	.venv-bench/peers/bin/pip uninstall --quiet --yes torchvision
	touch $@
