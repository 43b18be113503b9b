# Everything a person needs to type. Each target makes .venv if it is missing, installs, and runs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: demo test lint unit install docs build sbom clean

demo: install  ## phantom brains → conditional GAN → synthetic cohort → demo/report.html
	$(BIN)/synthoma demo --out demo

test: install lint unit  ## everything that CI checks

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One process a core with one thread each: threads of several processes on few cores wait for each other.
unit: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

install: .venv/installed

# torch comes first and pinned: another order, or an open range, may bring gigabytes of CUDA libraries.
.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

docs: install  ## the documentation as a site: site/index.html
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

build:  ## dist/: the wheel and the source archive
	$(PYTHON) -m venv build/tools
	build/tools/bin/python -m pip install --quiet --disable-pip-version-check build==1.6.1
	rm -rf dist
	build/tools/bin/python -m build

# Of what a user installs, not of what we develop with; so in an environment of its own.
sbom: build  ## build/sbom.json: every package with version and licence (CycloneDX)
	$(PYTHON) -m venv --clear build/runtime
	build/runtime/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	build/runtime/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "$$(echo dist/*.whl)[dicom,study]"
	$(PYTHON) -m venv --clear build/cyclonedx
	build/cyclonedx/bin/python -m pip install --quiet --disable-pip-version-check cyclonedx-bom==7.5.0
	build/cyclonedx/bin/cyclonedx-py environment build/runtime/bin/python --pyproject pyproject.toml \
		--output-format JSON --output-reproducible --output-file build/sbom.json

clean:  ## remove what make made
	rm -rf .venv demo site build dist
