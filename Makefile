# Every target sets up what it needs. PYTHON may name any Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
export PYTHONPATH := layers/gateway:.

help: ## what there is to make
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: help dev costs backfill statements tenants prices redrive verify-deployment test test-lambda check lint types contract validate spec scan roles generate lock athena-check focus-check build sam-local sam-local-check deploy-local client client-matrix bench clean

.venv/ready: requirements.lock
	$(PYTHON) scripts/project/set_up.py .venv requirements.lock

dev: .venv/ready ## serve the whole gateway on this machine
	@exec $(BIN)/python -m scripts.dev

costs: .venv/ready ## aggregate what was metered so far, and print the report
	@$(BIN)/python -m scripts.operate.costs

backfill: .venv/ready ## costs of a range of days again: make backfill ARGS="2026-10-01 2026-10-31"
	@$(BIN)/python -m scripts.operate.backfill $(ARGS)

statements: .venv/ready ## a tenant's month, and its proof: make statements ARGS="verify s3://bucket"
	@$(BIN)/python -m scripts.operate.statements $(ARGS)

tenants: .venv/ready ## tenants and keys: make tenants ARGS="plan -f examples/tenants.yaml --local"
	@$(BIN)/python -m scripts.operate.tenants $(ARGS)

prices: .venv/ready ## the price book: make prices ARGS="diff --offer index.json"
	@$(BIN)/python -m scripts.operate.prices $(ARGS)

redrive: .venv/ready ## do again what failed in a deployed gateway: make redrive ARGS="list --stack model-gateway"
	@$(BIN)/python -m scripts.operate.redrive $(ARGS)

verify-deployment: .venv/ready ## what a deployed gateway has to be: make verify-deployment ARGS="--stack model-gateway"
	@$(BIN)/python -m scripts.operate.verify $(ARGS)

test: .venv/ready ## all tests, the quick ones first; some of them: make test ARGS="-k budget"
	@$(BIN)/python -m scripts.check.rings $(ARGS)

test-lambda: .venv/ready ## unit, function and contract tests on the Python that Lambda runs, where it is here
	@$(BIN)/python -m scripts.check.lambda_python

check: lint types contract validate spec scan focus-check ## all that CI checks beside the tests

lint: .venv/ready ## style, imports, template
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/cfn-lint template.yaml templates/*.yaml

types: .venv/ready ## strict types, function by function: each is an `app`
	$(BIN)/python -m scripts.check.types

contract: .venv/ready ## what is generated is what openapi.yaml and scripts/analytics/sql say
	$(BIN)/python -m scripts.generate.schemas --check && $(BIN)/python -m scripts.generate.parameters --check && $(BIN)/python -m scripts.generate.fields --check && $(BIN)/python -m scripts.analytics.views --check && $(BIN)/python -m scripts.deploy.sam_local.overlay --check && $(BIN)/python -m scripts.generate.locks --check

validate: .venv/ready ## the template by the pinned SAM CLI and its linter, offline
	$(BIN)/python -m scripts.project.sam validate --lint

spec: .venv/ready ## openapi.yaml by Redocly and the rules of the house, where there is Node 20 or newer
	$(BIN)/python -m scripts.check.spec

scan: .venv/ready ## the templates by a security scanner; every finding is explained
	$(BIN)/python -m scripts.check.scan

roles: .venv/ready ## a table of what each function may do
	@$(BIN)/python -m scripts.check.roles

generate: .venv/ready ## schemas from openapi.yaml, views in template.yaml from scripts/analytics/sql, what `sam local` runs from both
	$(BIN)/python -m scripts.generate.schemas && $(BIN)/python -m scripts.analytics.views && $(BIN)/python -m scripts.generate.parameters && $(BIN)/python -m scripts.generate.fields && $(BIN)/python -m scripts.deploy.sam_local.overlay

lock: .venv/ready ## compile requirements.lock and the layers' requirements from pyproject.toml
	$(BIN)/python -m scripts.generate.locks

build: .venv/ready ## sam build, with the pinned SAM CLI and any Python 3.13 that is here; fails above Lambda's size limit
	$(BIN)/python -m scripts.project.sam build && $(BIN)/python -m scripts.deploy.artifact_sizes

sam-local: .venv/ready ## the AWS and the models behind `sam local start-api` and `sam local invoke`
	@$(BIN)/python -m scripts.deploy.sam_local.serve

sam-local-check: .venv/ready ## every route and every event through `sam local`, where a Docker engine runs
	@$(BIN)/python -m scripts.deploy.sam_local.check

athena-check: .venv/ready ## run every view and query on a lake whose numbers are known
	$(BIN)/python -m scripts.analytics.athena_check

focus-check: .venv/ready ## validate the FOCUS 1.2 export with the specification's own validator
	$(BIN)/python -m scripts.analytics.focus check

deploy-local: .venv/ready ## the whole template into an embedded AWS and back: calls, roles, schedule, Athena, upgrade, rollback
	$(BIN)/python -m scripts.deploy.prove_stack

client: .venv/ready ## clients in Python and TypeScript from openapi.yaml, into build/clients; each is run
	@$(BIN)/python -m scripts.generate.clients

client-matrix: .venv/ready ## popular clients in every scenario, into docs/clients.md; some: make client-matrix ARGS="litellm strands"
	@$(BIN)/python -m tests.clients $(ARGS)

bench: .venv/ready ## figures as ratios against a baseline in the same run
	$(BIN)/python -m tests.benchmarks

clean: ## remove what builds and runs leave behind
	rm -rf .venv .venv-* .dev .aws-sam build .pytest_cache .mypy_cache .ruff_cache .hypothesis
