"""The template deploys, and the deployed stack meters: `make deploy-local` as a test.

The AWS is embedded. It differs from the real one in these points, which the test therefore does not prove:

- scripts/dev/rest_api imports openapi.yaml, following AWS's documentation, with ministack behind it: header names reach
  a function in lower case. scripts/deploy/ministack/launch.py adds several features: the spec's own responses (a
  throttled call's problem), the authorizer's key for the usage plan, joined lists in conditions, the partition keys
  that limit roles, a schedule's role and time, and views in Athena.
- A request to the admin API must be signed, but any signature is accepted; `make dev` checks signatures as AWS does.
- Athena is DuckDB: a query proves that table, view and workgroup match the files, not that Trino plans it.
- The schedule fires at a time that the test sets, with its own target, role and input; its cron expression is only
  parsed. Its retries and its dead-letter queue for a failing target are missing.
- A rollback is a deployment of the former template. CloudFormation's rollback of a failed update, and an alias's shift
  between releases, are not covered.
- The functions run on this machine's CPU and libraries, not on arm64 and Amazon Linux; `sam build` for arm64 is
  proven by scripts/project/sam.py and scripts/deploy/artifact_sizes.py.
- Other IAM condition keys are only partly evaluated. Refusals depend on the role alone, without resource policies of
  other accounts.
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
