# The two commands of the README. Both work from a fresh clone.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: fit test lint docs clean

# Set up an environment and fit the bundled mock galaxy with the bundled emulator.
fit: $(BIN)/pip clean
	$(BIN)/pip install -q .
	$(BIN)/prospect-emu fit --out runs/mock --overwrite

# Install the package as a wheel, then lint, check types and run the tests.
test: $(BIN)/pip clean
	$(BIN)/pip install -q ".[test]"
	$(MAKE) lint
	$(BIN)/pytest

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Build the site into site/: API reference, executed tutorials; a warning is an error.
docs: $(BIN)/pip clean
	$(BIN)/pip install -q ".[docs]"
	SITE_PACKAGES=$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))") \
	NO_MKDOCS_2_WARNING=1 PATH="$(abspath $(BIN)):$$PATH" $(BIN)/mkdocs build --strict

# setuptools would pack what an earlier build left here.
clean:
	rm -rf build

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)
