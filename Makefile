# make demo: install and restore the sample photographs.  make test: all checks.  make test-fast: lint and quick tests.
PYTHON ?= python3
DEMO := .venv
TEST := .venv-test
BARE := .venv-bare
DOCS := .venv-docs
CODE := src tests benchmarks $(wildcard tools)
CPP := $(wildcard src/cmudrn/engines/native/cpp/*.cpp src/cmudrn/engines/native/cpp/*.h src/cmudrn/engines/native/cpp/*.inl src/cmudrn/page/*.cpp tests/engines/*.cpp)
NATIVE := src/cmudrn/engines/native/cpp
# What an installation is made from; Python files are read where they lie.
BUILT := pyproject.toml setup.py $(wildcard $(NATIVE)/*.cpp $(NATIVE)/*.h $(NATIVE)/*.inl)
WASM := fusion kernels_portable packing program ranges rounded schedule steps task winograd
# Scripts call what exists; their arrays' element types are not checked. Mypy forgets what it knows when options change,
# so they have a cache of their own.
LOOSELY := $(patsubst %,--disable-error-code=%,arg-type assignment call-overload import-not-found misc no-any-return)
# Slow files first (tests/conftest.py), not files of many tests.
PARALLEL := --numprocesses=2 --dist=loadfile --no-loadscope-reorder
# Two processes whose matrix products spin on all cores would wait for each other.
export OPENBLAS_NUM_THREADS := 1
SLOW := cluster experiments live page server training video

.PHONY: demo test test-fast lint bare docs release-check wasm clean

demo: $(DEMO)/.installed
	$(DEMO)/bin/cmudrn restore samples -o restored --overwrite
	@echo "The restored photographs are in $(CURDIR)/restored"

$(DEMO)/.installed: $(BUILT)
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(TEST)/.installed: $(BUILT)
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/pip install --quiet --disable-pip-version-check --editable '.[all,test]'
	touch $@

lint: $(TEST)/.installed
	$(TEST)/bin/ruff check $(CODE)
	$(TEST)/bin/ruff format --check $(CODE)
	$(TEST)/bin/clang-format --dry-run -Werror $(CPP)
	$(TEST)/bin/mypy
	MYPYPATH=tools $(TEST)/bin/mypy --cache-dir .mypy_cache/scripts --no-warn-unused-ignores $(LOOSELY) benchmarks $(wildcard tools)
	$(TEST)/bin/lint-imports

# The two environments are made side by side. Tests run in two processes, a file's in one.
test:
	$(MAKE) --jobs=2 lint bare
	$(TEST)/bin/python -m pytest $(PARALLEL) --ignore=tests/page
	$(TEST)/bin/python -m pytest tests/page  # a browser takes both cores

test-fast: lint
	$(TEST)/bin/python -m pytest $(PARALLEL) $(SLOW:%=--ignore=tests/%) --ignore=tests/engines/test_native_sanitizers.py

# The built wheel, in an environment with neither torch nor any extra. It is built from a copy, since the test
# environment compiles in src meanwhile.
$(BARE)/.installed: pyproject.toml
	rm -rf $(BARE)
	$(PYTHON) -m venv $(BARE)
	$(BARE)/bin/pip install --quiet --disable-pip-version-check pytest
	touch $@

bare: $(BARE)/.installed
	rm -rf $(BARE)/source $(BARE)/dist
	mkdir $(BARE)/source
	cp -R pyproject.toml setup.py README.md LICENSE src $(BARE)/source
	find $(BARE)/source -name '*.so' -delete
	$(BARE)/bin/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(BARE)/dist ./$(BARE)/source
	$(BARE)/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps $(BARE)/dist/*.whl
	$(BARE)/bin/pip install --quiet --disable-pip-version-check $(BARE)/dist/*.whl
	cd tests/wheel && ../../$(BARE)/bin/python -m pytest -p no:cacheprovider .

# The documentation site, from the pages and the docstrings; broken links end it.
docs: $(DOCS)/.installed
	$(DOCS)/bin/python tools/build_docs.py build/docs
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet --strict --site-dir site

$(DOCS)/.installed: pyproject.toml docs/requirements.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement docs/requirements.txt
	$(DOCS)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# Everything that has to hold before a release, on a fresh clone.
release-check:
	bash tools/release_check.sh

# The native engine for browsers. Needs emscripten (Debian: apt-get install emscripten).
wasm:
	emcc -O3 -std=c++20 -msimd128 -fno-rtti -ffp-contract=fast -Wno-psabi -I$(NATIVE) --no-entry \
		-s STANDALONE_WASM -s ALLOW_MEMORY_GROWTH=1 -s MAXIMUM_MEMORY=4GB -s EXPORTED_FUNCTIONS= \
		-s ERROR_ON_UNDEFINED_SYMBOLS=0 src/cmudrn/page/wasm.cpp $(WASM:%=$(NATIVE)/%.cpp) \
		-o src/cmudrn/page/assets/engine.wasm
	chmod 644 src/cmudrn/page/assets/engine.wasm

clean:
	rm -rf $(DEMO) $(TEST) $(BARE) $(DOCS) build dist site release restored
