# Every target works on a fresh clone: the environment is made when it is not there, or when what it is made from changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: test nightly report docs lint types wheel clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

test: $(VENV)/.installed  ## the whole test suite, in another order each time; GENUS_TEST_ORDER=seed repeats one
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) $(ARGUMENTS)

nightly: $(VENV)/.installed  ## every test there is; the suite in three orders, with 1, 2 and 4 workers; then the speed beside peers
	$(MAKE) test ARGUMENTS="-m nightly"
	for n in 1 2 4; do GENUS_TEST_ORDER=$$n $(MAKE) test WORKERS=$$n || exit 1; done
	$(BIN)/python -m benchmarks.reliability --minutes 10
	$(MAKE) types docs wheel
	for name in loop naive_bayes made wavenet; do $(BIN)/python benchmarks/$$name.py || exit 1; done

report: $(VENV)/.installed  ## compare every family on the digits: report/index.html
	$(BIN)/genus compare digits --budget 10s --out report

docs: $(VENV)/.installed  ## the site, in build/site; a warning is an error; GENUS_SITE_SECONDS trains each figure's family so long
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	OMP_NUM_THREADS=1 NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --site-dir build/site

lint: $(VENV)/.installed  ## style and types
	$(BIN)/ruff check src tests benchmarks tools examples
	$(BIN)/ruff format --check src tests benchmarks tools examples
	$(BIN)/mypy

types: $(VENV)/.installed  ## a user's script under pyright's strict mode too; pyright fetches itself from npm
	$(BIN)/pip install --quiet --constraint constraints.txt 'pyright[nodejs]'
	$(BIN)/pyright --pythonpath $(BIN)/python

wheel:  ## the wheel in clean environments, with the newest versions and the oldest ones that are allowed
	$(PYTHON) tools/clean_install.py
	$(PYTHON) tools/clean_install.py --python 3.11 --oldest

clean:  ## the environment and everything built
	rm -rf $(VENV) report build dist src/*.egg-info
