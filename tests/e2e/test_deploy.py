"""The template deploys, and what it deploys meters: `make deploy-local` as a test.

The AWS is an embedded one. What it does not do as AWS does, so that nothing here proves it:

- API Gateway's import of openapi.yaml is the one of scripts/dev/rest_api, written after AWS's documentation, with
  ministack behind it: names of headers reach a function in lower case. The spec's own responses (a throttled call's
  problem), the key that the authorizer names for the usage plan, joined lists in conditions, the partition keys that
  roles are limited to, the role and the moment of a schedule, and views in Athena are there only because
  scripts/deploy/ministack/launch.py mends them.
- A request to the admin API must be signed, and any signature will do; `make dev` checks them as AWS does.
- Athena is DuckDB: a query here shows that table, view and workgroup fit the files, not that Trino plans it.
- The schedule fires at a moment that the test sets, with its own target, role and input; its cron expression is only
  read. What it does about a target that fails (retries, its dead letter queue) is not imitated.
- A rollback is a deployment of the former template. That CloudFormation takes a failed update back, and that an alias
  shifts between releases, is not shown.
- The functions run on this machine's CPU and libraries, not on arm64 and Amazon Linux; `sam build` for arm64 is
  proven by scripts/project/sam.py and scripts/deploy/artifact_sizes.py.
- IAM's other condition keys are partly evaluated. A role is refused on its own; what a resource policy of another
  account would add is not there.
"""

from __future__ import annotations

import warnings

import pytest

from scripts.deploy.prove_stack import Steps, prove
from scripts.project import sam


def test_the_template_deploys_and_every_call_is_in_the_lake_at_its_price() -> None:
    if sam.find_python() is None:
        warnings.warn(f"THE DEPLOYMENT IS NOT TESTED. {sam.NONE_FOUND}", stacklevel=1)
        pytest.skip(f"the deployment is not tested: {sam.NONE_FOUND}")
    prove(Steps(print))
