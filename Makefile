# `make help` lists what there is. Needs git, make and Python >= 3.11; everything else goes under .local/.
# Environments are made when their lock file is newer than their stamp; otherwise every target is a no-op there.

.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

# The first Python on PATH that is new enough. Give another with `make PYTHON=/path/to/python3 ...`.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	$$name -c 'import sys; sys.version_info >= (3, 11) or sys.exit(1); print(sys.executable)' 2>/dev/null && break; done)

TOOLS := .local/tools/.done
DEV := .local/dev/.done
EMULATOR := .local/emulator/.done
SAM := .local/sam/.done
SBOM := .local/sbom/.done
CHECKOV := .local/checkov/.done
BROWSER_PY := .local/browser/.done
LOCAL := $(DEV) $(EMULATOR) $(SAM)
PY := .local/dev/bin/python
UV := .local/tools/bin/uv
export UV_PYTHON_DOWNLOADS := never
# The system's certificates, as pip has them: some networks put their own authority between.
export UV_SYSTEM_CERTS := 1
export UV_NATIVE_TLS := 1
# What changes how Python itself runs is meant for somebody else's programs. Images often set the last: without
# bytecode each of the hundreds of processes of a run would compile its libraries again.
unexport PYTHONPATH PYTHONHOME PYTHONWARNINGS PYTHONSTARTUP PYTHONINSPECT PYTHONOPTIMIZE PYTHONDONTWRITEBYTECODE
export SAM_CLI_TELEMETRY := 0
# It keeps its notes there, and else in the home folder.
export __SAM_CLI_APP_DIR := $(CURDIR)/.local/sam-app

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-11s %s\n", $$1, $$2}'

# --- Run ------------------------------------------------------------------------------------------------

.PHONY: demo up token invoke psql regions exercises stress sale bench dsql dsql-model
demo: $(LOCAL) ## Start a Region on this machine, place an order in it, show what followed, and stop
	@$(PY) -m demos.demo $(ARGS)

up: $(LOCAL) ## Start a Region on this machine, which uses what you edit, and leave it running until Ctrl-C
	@$(PY) -m local $(ARGS)

token: $(DEV) ## Print a token for the Region of `make up` (USERNAME=somebody for another than the demo customer)
	@$(PY) -m local.sign_in $(USERNAME)

invoke: $(DEV) $(SAM) ## Run one function with an event in the Region of `make up` (FUNCTION=CheckoutFunction, EVENT=FILE or -, CONTAINER=1)
	@$(PY) -m local.invoke $(if $(EVENT),--event "$(EVENT)") $(if $(CONTAINER),--container) $(ARGS) $(FUNCTION)

psql: $(DEV) ## Open psql on the database of `make up` (ARGS="-c 'select 1'" for one statement)
	@$(PY) -m local.psql $(ARGS)

regions: $(LOCAL) ## Lose one of two Regions under load, have it come back, and check that everything adds up (ARGS=--live: in a browser)
	@$(PY) -m demos.regions $(ARGS)

exercises: $(DEV) ## Tell the workshops' exercises in two psql sessions side by side (ARGS=--list names them)
	@$(PY) -m demos.exercises $(ARGS)

stress: $(DEV) ## Make 10,000 transfers, 1,000 in parallel, without and with retries (ARGS="--live --transfers 1000")
	@$(PY) -m demos.stress $(ARGS)

sale: $(DEV) ## Sell one seat to 60 buyers from two Regions, and show the scoreboard (ARGS="--live --units 100 --buyers 1000")
	@$(PY) -m demos.sale $(ARGS)

bench: $(LOCAL) ## Run the measurements, quickly (BENCH=name for one, ARGS= for its options)
	@$(PY) -m bench $(or $(BENCH),--quick) $(ARGS)

dsql: $(DEV) ## Run an Aurora DSQL on this machine until Ctrl-C (ARGS="--port 5432 --tokens" and more: ARGS=--help)
	@$(PY) -m local_dsql $(ARGS)

dsql-model: $(DEV) ## Hold the local DSQL against a model of its isolation, at random (SEEDS=1000, FIRST=1)
	@$(PY) -m tests.local_dsql.model --seeds $(or $(SEEDS),1000) --first $(or $(FIRST),1)

# --- Check ----------------------------------------------------------------------------------------------

.PHONY: test pages pictures check unit chaos mutations release format
test: check $(LOCAL) $(BROWSER_PY) ## Run everything: the checks, then all tests, on all cores
	@echo "pytest: unit, integration, system, browser and chaos tests, at most $(MOST_WORKERS) at once"
	@$(PAGES_PY) -m tools.browser
	@$(PAGES_PY) -m pytest -q --numprocesses logical --maxprocesses $(MOST_WORKERS)

# The environment of the pages' tests: what the others need, and what drives a browser.
PAGES_PY := .local/browser/bin/python

# Each worker of the tests has a PostgreSQL server of its own.
MOST_WORKERS := 8

check: $(DEV) $(SAM) $(CHECKOV) ## Run the linters and the type checker, all at once
	@echo "checks: $(CHECKS:check-%=%)"
	@$(MAKE) --keep-going --jobs $(words $(CHECKS)) $(CHECKS)

# The longest first. What a check says is shown, in one piece, when it finds something.
CHECKS := check-mypy check-cfn-lint check-checkov check-dsql check-ruff
.PHONY: $(CHECKS)
FOUND = >.local/$@.txt 2>&1 || { { echo; echo "$@ fails:"; cat .local/$@.txt; } >&2; exit 1; }

check-ruff:
	@{ $(PY) -m ruff check . && $(PY) -m ruff format --check .; } $(FOUND)

check-mypy:
	@$(PY) -m mypy --no-error-summary $(FOUND)

check-dsql:
	@$(PY) -m tools.dsql_check $(FOUND)

# What `sam validate --lint` asks is a part of this: that is cfn-lint without these rules.
check-cfn-lint:
	@.local/sam/bin/cfn-lint --append-rules cfn_lint_serverless.rules --non-zero-exit-code warning \
		template.yaml cluster.yaml pipeline.yaml $(FOUND)

check-checkov:
	@CKV_SKIP_PACKAGE_UPDATE_CHECK=true TMPDIR=.local .local/checkov/bin/python -c "$$RUN_CHECKOV" \
		--config-file .checkov.yaml -f template.yaml cluster.yaml pipeline.yaml $(FOUND)

# Of each path of a template it would make its parser's tables anew, for three quarters of its time: once will do.
define RUN_CHECKOV
import sys, warnings, ply.yacc
make, made = ply.yacc.yacc, {}
ply.yacc.yacc = lambda **options: made.get(options["start"]) or made.setdefault(options["start"], make(**options))
from checkov.main import Checkov
warnings.simplefilter("ignore", category=SyntaxWarning)
sys.exit(Checkov().run())
endef
check-checkov: export RUN_CHECKOV := $(value RUN_CHECKOV)

pages: $(LOCAL) $(BROWSER_PY) ## Run the tests of the pages in a real browser (ARGS="-k cart")
	@$(PAGES_PY) -m tools.browser
	@$(PAGES_PY) -m pytest -q tests/browser $(ARGS)

pictures: $(LOCAL) $(BROWSER_PY) ## Take the documents' pictures anew, from Regions that run: a quarter of an hour (ARGS="shop operations")
	@$(PAGES_PY) -m tools.browser
	@$(PAGES_PY) -m tests.browser.pictures $(ARGS)

unit: $(DEV) $(SAM) $(EMULATOR) ## Run the unit tests alone (seconds)
	@$(PY) -m pytest -q tests/unit

chaos: $(DEV) ## Have everything fail at random and check what is left (SEEDS=1000, FIRST=1; SEED=123 for one with its trace)
	@$(PY) -m tests.chaos $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000) --first $(or $(FIRST),1))

mutations: $(DEV) ## Take each guard out, see what fails without it, and write the table of docs/proof.md (ONLY=words of its name)
	@$(PY) -m tests.chaos.mutations --markdown docs/proof.md $(if $(ONLY),--only "$(ONLY)") $(ARGS)

release: $(DEV) ## Keep this release's code and statements, for the next one's tests to run on their schema
	@$(PY) -m tests.former_release

format: $(DEV) ## Format the code and fix what the linter can
	@$(PY) -m ruff check --quiet --fix . || true
	@$(PY) -m ruff format --quiet .

# --- Build ----------------------------------------------------------------------------------------------

.PHONY: build
build: $(SAM) ## Build the Lambda artifacts for AWS into .aws-sam/build (then: sam deploy --guided)
	@.local/sam/bin/sam build
	@[ -n "$$(find .aws-sam/build -name '*.cpython-313.pyc' -print -quit)" ] || { echo; \
		echo "Note: there is no Python 3.13 here ($(CLOUD_PYTHON)), so the artifacts carry no bytecode. They work, and"; \
		echo "start in twice the time. Install one, or name it: make build CLOUD_PYTHON=/path/to/python3.13"; } >&2

.PHONY: sbom
sbom: $(SBOM) ## Write what the artifacts hold, from the locks, as CycloneDX into .aws-sam/sbom
	@mkdir -p .aws-sam/sbom
	@PYTHONWARNINGS=ignore .local/sbom/bin/cyclonedx-py requirements requirements/runtime.txt --output-reproducible \
		--pyproject pyproject.toml --mc-type application -o .aws-sam/sbom/functions.cdx.json
	@echo "wrote .aws-sam/sbom/functions.cdx.json"

# The interpreter that artifacts are for: bytecode made by another version would be carried along for nothing.
CLOUD_PYTHON ?= python3.13
export CLOUD_PYTHON

# What `sam build` calls for each function and layer.
build-%:
	@if [ "$$BUNDLE_FOR" = host ]; then python=.local/emulator/bin/python; \
	else python=$$($(CLOUD_PYTHON) -c "import sys; print(sys.executable)" 2>/dev/null || echo .local/tools/bin/python); fi; \
	"$$python" tools/bundle.py $* "$(ARTIFACTS_DIR)"

# --- Environments and their lock files ------------------------------------------------------------------

.PHONY: tools lock clean
tools: $(TOOLS) $(LOCAL) $(CHECKOV) $(BROWSER_PY) ## Make the environments under .local/ without doing anything with them
	@:

$(TOOLS): requirements/tools.txt
	@"$(or $(PYTHON),false)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed$(if $(PYTHON), and $(PYTHON) is not)." \
			"Put it on PATH, or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "making .local/tools (once)"
	@"$(PYTHON)" -m venv .local/tools
	@.local/tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.local/%/.done: requirements/%.txt $(TOOLS)
	@echo "making .local/$* from $< (once; some seconds to a minute)"
	@[ -x .local/$*/bin/python ] || $(UV) venv --quiet --python .local/tools/bin/python .local/$*
	@$(UV) pip sync --quiet --require-hashes --python .local/$*/bin/python $<
	@touch $@

lock: $(TOOLS) ## Lock the dependencies again (UPGRADE=1 for newer versions)
	@for name in tools runtime dev browser emulator sam checkov sbom; do \
		echo "locking requirements/$$name.txt"; \
		UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --quiet --universal --python-version 3.11 \
			--generate-hashes --no-emit-index-url --no-emit-find-links $(if $(UPGRADE),--upgrade) \
			requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done

clean: ## Remove everything that was built, the environments included, and what killed runs left
	@[ ! -x $(PY) ] || $(PY) -m local.clean || true
	rm -rf .local .aws-sam .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
