.DEFAULT_GOAL := help
.PHONY: help setup demo test slow lives lint types docs bench dashboard clean

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

setup: $(INSTALLED) ## make .venv with pinned dependencies

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("setup: Python 3.11 or newer is needed, \
	$(PYTHON) is %d.%d; if you have one, name it: make setup PYTHON=python3.11" % sys.version_info[:2])'
	@$(PYTHON) -m venv $$(test "$$($(BIN)/python -V 2>&1)" = "$$($(PYTHON) -V)" || echo --clear) .venv
	@$(BIN)/python .ci/install
	@touch $@

demo: $(INSTALLED) ## search the embedded data set, in about two minutes after set-up
	@$(BIN)/dpc search experiment=demo

test: $(INSTALLED) ## run the tests
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

slow: $(INSTALLED) ## run the slow tests, among them every benchmark in its smallest form
	$(BIN)/pytest -m slow

lives: $(INSTALLED) ## live SEEDS=10000 simulated searches with a fault at any step
	$(BIN)/python -m tests.lives --seeds $(or $(SEEDS),10000)

lint: $(INSTALLED) ## style, import contracts, known vulnerabilities of dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python .ci/audit

types: $(INSTALLED) ## static types
	$(BIN)/mypy

docs: $(INSTALLED) ## build the documentation into build/site, offline; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo 'build/site is built; to read it with its search: $(BIN)/python -m http.server --directory build/site'

bench: $(INSTALLED) ## measure, each figure against a baseline in the same run
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

dashboard: $(INSTALLED) ## open the MLflow dashboard on 127.0.0.1:5000
	$(BIN)/mlflow ui --backend-store-uri sqlite:///outputs/mlflow.db --host 127.0.0.1

clean: ## delete .venv and outputs
	rm -rf .venv outputs
