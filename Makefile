# Everything a person needs to type. Each target makes .venv if it is missing, installs, and runs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: demo test lint unit install clean

demo: install  ## phantom brains → conditional GAN → synthetic cohort → demo/report.html
	$(BIN)/synthoma demo --out demo

test: install lint unit  ## everything that CI checks

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One process a core with one thread each: threads of several processes on few cores wait for each other.
unit: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

install: .venv/installed

# torch comes first and pinned: another order, or an open range, may bring gigabytes of CUDA libraries.
.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:  ## remove what make made
	rm -rf .venv demo
