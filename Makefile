# Every target creates the environment it needs. PYTHON may name any Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
export PYTHONPATH := layers/gateway:.
READY := .venv/ready $(BIN)/gateway

help: ## list the targets; for operators, .venv/bin/gateway --help lists the commands
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 20

.PHONY: help docs outline dev costs backfill statements tenants budgets prices redrive verify-deployment test test-lambda check lint types contract validate spec scan roles generate lock athena-check focus-check build sam-local sam-local-check deploy-local client client-matrix bench clean

.venv/ready: requirements.lock
	$(PYTHON) scripts/project/set_up.py .venv requirements.lock

# The operator's command, also for an existing environment.
$(BIN)/gateway: scripts/project/set_up.py .venv/ready
	@$(BIN)/python scripts/project/set_up.py --command $@

dev: $(READY) ## serve the whole gateway on this machine
	@exec $(BIN)/python -m scripts.dev

costs: $(READY) ## aggregate the usage metered so far, and print the report
	@$(BIN)/gateway costs $(ARGS)

backfill: $(READY) ## aggregate a range of days again: make backfill ARGS="2026-10-01 2026-10-31"
	@$(BIN)/gateway backfill $(ARGS)

statements: $(READY) ## show and verify monthly statements: make statements ARGS="verify s3://bucket"
	@$(BIN)/gateway statements $(ARGS)

tenants: $(READY) ## manage tenants and keys: make tenants ARGS="plan -f examples/tenants.yaml --local"
	@$(BIN)/gateway tenants $(ARGS)

budgets: $(READY) ## lend to a budget, or begin it anew: make budgets ARGS="reset my-team --user alice --window day --local"
	@$(BIN)/gateway budgets $(ARGS)

prices: $(READY) ## update the price book: make prices ARGS="diff --offer index.json"
	@$(BIN)/gateway prices $(ARGS)

redrive: $(READY) ## retry failed work in a deployed gateway: make redrive ARGS="list --stack model-gateway"
	@$(BIN)/gateway redrive $(ARGS)

verify-deployment: $(READY) ## verify a deployed gateway: make verify-deployment ARGS="--stack model-gateway"
	@$(BIN)/gateway verify-deployment $(ARGS)

test: $(READY) ## run all tests, the fast ones first; a selection: make test ARGS="-k budget"
	@$(BIN)/python -m scripts.check.rings $(ARGS)

test-lambda: $(READY) ## run unit, function and contract tests on Lambda's Python version, if installed
	@$(BIN)/python -m scripts.check.lambda_python

check: lint types contract validate spec scan focus-check ## run all CI checks except the tests

lint: $(READY) ## check style, imports and templates
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/cfn-lint template.yaml templates/*.yaml

types: $(READY) ## check types strictly, function by function: each is an `app`
	$(BIN)/python -m scripts.check.types

contract: $(READY) ## check that generated files match their sources
	$(BIN)/python -m scripts.generate.schemas --check && $(BIN)/python -m scripts.generate.reference --check && $(BIN)/python -m scripts.generate.fields --check && $(BIN)/python -m scripts.generate.glue_tables --check && $(BIN)/python -m scripts.analytics.views --check && $(BIN)/python -m scripts.generate.contents --check && $(BIN)/python -m scripts.deploy.sam_local.overlay --check && $(BIN)/python -m scripts.generate.locks --check

validate: $(READY) ## validate the template with the pinned SAM CLI and its linter, offline
	$(BIN)/python -m scripts.project.sam validate --lint

spec: $(READY) ## lint openapi.yaml with Redocly and the house's rules, if Node 20 or newer is installed
	$(BIN)/python -m scripts.check.spec

scan: $(READY) ## scan the templates for security faults; every accepted finding has a reason
	$(BIN)/python -m scripts.check.scan

roles: $(READY) ## print a table of each function's permissions
	@$(BIN)/python -m scripts.check.roles

generate: $(READY) ## generate schemas, tables and views in template.yaml, docs/reference, and the template of `sam local`
	$(BIN)/python -m scripts.generate.schemas && $(BIN)/python -m scripts.generate.glue_tables && $(BIN)/python -m scripts.analytics.views && $(BIN)/python -m scripts.generate.contents && $(BIN)/python -m scripts.generate.reference && $(BIN)/python -m scripts.generate.fields && $(BIN)/python -m scripts.deploy.sam_local.overlay

lock: $(READY) ## compile requirements.lock and the layers' requirements from pyproject.toml
	$(BIN)/python -m scripts.generate.locks

outline: $(READY) ## print an outline of template.yaml and openapi.yaml, with line numbers
	@$(BIN)/python -m scripts.project.outline

docs: $(READY) ## build docs/ as a site with search in build/docs; fails at a dead link
	@$(BIN)/python -m scripts.generate.site

build: $(READY) ## sam build, with the pinned SAM CLI and a local Python 3.13; fails above Lambda's size limit
	$(BIN)/python -m scripts.project.sam build && $(BIN)/python -m scripts.deploy.artifact_sizes

sam-local: $(READY) ## serve the AWS and the models for `sam local start-api` and `sam local invoke`
	@$(BIN)/python -m scripts.deploy.sam_local.serve

sam-local-check: $(READY) ## call every route and event through `sam local`; needs a Docker engine
	@$(BIN)/python -m scripts.deploy.sam_local.check

athena-check: $(READY) ## run every view and query on a lake of known figures
	$(BIN)/python -m scripts.analytics.athena_check

focus-check: $(READY) ## validate the FOCUS 1.2 export with the specification's own validator
	@$(BIN)/gateway focus check

deploy-local: $(READY) ## deploy the template into an embedded AWS and test it: calls, roles, schedule, Athena, upgrade, rollback
	$(BIN)/python -m scripts.deploy.prove_stack

client: $(READY) ## generate clients in Python and TypeScript from openapi.yaml into build/clients, and run them
	@$(BIN)/python -m scripts.generate.clients

client-matrix: $(READY) ## run popular clients in every scenario, into docs/call/clients.md; a selection: make client-matrix ARGS="litellm strands"
	@$(BIN)/python -m tests.clients $(ARGS)

bench: $(READY) ## run the benchmarks, as ratios to a baseline of the same run
	$(BIN)/python -m tests.benchmarks

clean: ## remove the files of builds and runs
	rm -rf .venv .venv-* .dev .aws-sam build .pytest_cache .mypy_cache .ruff_cache .hypothesis
