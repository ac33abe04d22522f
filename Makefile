# Every target sets up what it needs. PYTHON may name any Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
export PYTHONPATH := layers/gateway:.
READY := .venv/ready $(BIN)/gateway

help: ## list the targets; for operators, .venv/bin/gateway --help lists the commands
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: help docs outline dev costs backfill statements tenants prices redrive verify-deployment test test-lambda check lint types contract validate spec scan roles generate lock athena-check focus-check build sam-local sam-local-check deploy-local client client-matrix bench clean

.venv/ready: requirements.lock
	$(PYTHON) scripts/project/set_up.py .venv requirements.lock

# What an operator types; an environment that is there already gets it too.
$(BIN)/gateway: scripts/project/set_up.py .venv/ready
	@$(BIN)/python scripts/project/set_up.py --command $@

dev: $(READY) ## serve the whole gateway on this machine
	@exec $(BIN)/python -m scripts.dev

costs: $(READY) ## aggregate what was metered so far, and print the report
	@$(BIN)/gateway costs $(ARGS)

backfill: $(READY) ## costs of a range of days again: make backfill ARGS="2026-10-01 2026-10-31"
	@$(BIN)/gateway backfill $(ARGS)

statements: $(READY) ## a tenant's month, and its proof: make statements ARGS="verify s3://bucket"
	@$(BIN)/gateway statements $(ARGS)

tenants: $(READY) ## tenants and keys: make tenants ARGS="plan -f examples/tenants.yaml --local"
	@$(BIN)/gateway tenants $(ARGS)

prices: $(READY) ## the price book: make prices ARGS="diff --offer index.json"
	@$(BIN)/gateway prices $(ARGS)

redrive: $(READY) ## do again what failed in a deployed gateway: make redrive ARGS="list --stack model-gateway"
	@$(BIN)/gateway redrive $(ARGS)

verify-deployment: $(READY) ## what a deployed gateway has to be: make verify-deployment ARGS="--stack model-gateway"
	@$(BIN)/gateway verify-deployment $(ARGS)

test: $(READY) ## all tests, the quick ones first; some of them: make test ARGS="-k budget"
	@$(BIN)/python -m scripts.check.rings $(ARGS)

test-lambda: $(READY) ## unit, function and contract tests on the Python that Lambda runs, where it is here
	@$(BIN)/python -m scripts.check.lambda_python

check: lint types contract validate spec scan focus-check ## all that CI checks beside the tests

lint: $(READY) ## style, imports, template
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/cfn-lint template.yaml templates/*.yaml

types: $(READY) ## strict types, function by function: each is an `app`
	$(BIN)/python -m scripts.check.types

contract: $(READY) ## what is generated is what its sources say
	$(BIN)/python -m scripts.generate.schemas --check && $(BIN)/python -m scripts.generate.reference --check && $(BIN)/python -m scripts.generate.fields --check && $(BIN)/python -m scripts.generate.glue_tables --check && $(BIN)/python -m scripts.analytics.views --check && $(BIN)/python -m scripts.generate.contents --check && $(BIN)/python -m scripts.deploy.sam_local.overlay --check && $(BIN)/python -m scripts.generate.locks --check

validate: $(READY) ## the template by the pinned SAM CLI and its linter, offline
	$(BIN)/python -m scripts.project.sam validate --lint

spec: $(READY) ## openapi.yaml by Redocly and the rules of the house, where there is Node 20 or newer
	$(BIN)/python -m scripts.check.spec

scan: $(READY) ## the templates by a security scanner; every finding is explained
	$(BIN)/python -m scripts.check.scan

roles: $(READY) ## a table of what each function may do
	@$(BIN)/python -m scripts.check.roles

generate: $(READY) ## all that is made from something else: schemas, tables and views in template.yaml, docs/reference, what `sam local` runs
	$(BIN)/python -m scripts.generate.schemas && $(BIN)/python -m scripts.generate.glue_tables && $(BIN)/python -m scripts.analytics.views && $(BIN)/python -m scripts.generate.contents && $(BIN)/python -m scripts.generate.reference && $(BIN)/python -m scripts.generate.fields && $(BIN)/python -m scripts.deploy.sam_local.overlay

lock: $(READY) ## compile requirements.lock and the layers' requirements from pyproject.toml
	$(BIN)/python -m scripts.generate.locks

outline: $(READY) ## template.yaml and openapi.yaml as an outline, with lines
	@$(BIN)/python -m scripts.project.outline

docs: $(READY) ## docs/ as a site with search in build/docs; fails at a dead link
	@$(BIN)/python -m scripts.generate.site

build: $(READY) ## sam build, with the pinned SAM CLI and any Python 3.13 that is here; fails above Lambda's size limit
	$(BIN)/python -m scripts.project.sam build && $(BIN)/python -m scripts.deploy.artifact_sizes

sam-local: $(READY) ## the AWS and the models behind `sam local start-api` and `sam local invoke`
	@$(BIN)/python -m scripts.deploy.sam_local.serve

sam-local-check: $(READY) ## every route and every event through `sam local`, where a Docker engine runs
	@$(BIN)/python -m scripts.deploy.sam_local.check

athena-check: $(READY) ## run every view and query on a lake whose numbers are known
	$(BIN)/python -m scripts.analytics.athena_check

focus-check: $(READY) ## validate the FOCUS 1.2 export with the specification's own validator
	@$(BIN)/gateway focus check

deploy-local: $(READY) ## the whole template into an embedded AWS and back: calls, roles, schedule, Athena, upgrade, rollback
	$(BIN)/python -m scripts.deploy.prove_stack

client: $(READY) ## clients in Python and TypeScript from openapi.yaml, into build/clients; each is run
	@$(BIN)/python -m scripts.generate.clients

client-matrix: $(READY) ## popular clients in every scenario, into docs/clients.md; some: make client-matrix ARGS="litellm strands"
	@$(BIN)/python -m tests.clients $(ARGS)

bench: $(READY) ## figures as ratios against a baseline in the same run
	$(BIN)/python -m tests.benchmarks

clean: ## remove what builds and runs leave behind
	rm -rf .venv .venv-* .dev .aws-sam build .pytest_cache .mypy_cache .ruff_cache .hypothesis
