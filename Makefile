# make demo, make test: each creates .venv when it is missing and installs the pinned versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.bdscan-installed
PYTEST ?= $(BIN)/python -m pytest

.PHONY: setup test slow lint demo check-readme readme clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $(PYTHON) is older than 3.11; name another with PYTHON=..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt hatchling -e '.[dev]'
	$(BIN)/python -m compileall -q scanner  # the sandboxed worker may not write what it compiles
	@touch $@

test: setup
	$(PYTEST)

slow: setup
	$(PYTEST) -m slow

lint: setup
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The backdoored model must raise the alarm (exit code 1) and the clean one must not (0).
demo: setup
	@mkdir -p demo
	$(BIN)/bdscan scan fixtures/badnets.pth.tar --arch fixtures/arch.py:digits_bn --samples fixtures/samples.npz \
	  -o demo/backdoored.json -o demo/backdoored.html; test $$? -eq 1
	$(BIN)/bdscan scan fixtures/clean-1.onnx --samples fixtures/samples.npz \
	  -o demo/clean.json -o demo/clean.html
	@echo "Open demo/backdoored.html and demo/clean.html in a browser."

check-readme: setup
	$(BIN)/python -m pytest tests/test_readme.py

readme: setup
	$(BIN)/python tests/readme_help.py README.md

clean:
	rm -rf demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find scanner tests fixtures -name __pycache__ -type d -prune -exec rm -rf {} +
