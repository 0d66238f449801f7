# make demo: install and restore the sample pictures.  make test: everything that must hold.
PYTHON ?= python3
DEMO := .venv
TEST := .venv-test
BARE := .venv-bare

.PHONY: demo test lint bare clean

demo: $(DEMO)/.installed
	$(DEMO)/bin/cmudrn restore samples -o restored --overwrite
	@echo "The restored pictures are in $(CURDIR)/restored"

$(DEMO)/.installed: pyproject.toml
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(TEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/pip install --quiet --disable-pip-version-check --editable '.[all,test]'
	touch $@

lint: $(TEST)/.installed
	$(TEST)/bin/ruff check src tests benchmarks
	$(TEST)/bin/mypy
	$(TEST)/bin/lint-imports

test: lint bare
	$(TEST)/bin/python -m pytest

# The built wheel, in an environment with neither torch nor any extra.
bare: $(TEST)/.installed
	rm -rf build dist $(BARE)
	$(TEST)/bin/python -m build --wheel --outdir dist . > /dev/null
	$(PYTHON) -m venv $(BARE)
	$(BARE)/bin/pip install --quiet --disable-pip-version-check dist/*.whl pytest
	cd tests/wheel && ../../$(BARE)/bin/python -m pytest -p no:cacheprovider .

clean:
	rm -rf $(DEMO) $(TEST) $(BARE) build dist restored
