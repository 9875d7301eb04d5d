# The two commands of the README. Both work from a fresh clone.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: fit test lint clean

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

# setuptools would pack what an earlier build left here.
clean:
	rm -rf build

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)
