"""The template deploys, and what it deploys meters: `make deploy-local` as a test.

The AWS is an embedded one. What it does not do as AWS does, so that nothing here proves it:

- API Gateway's import of openapi.yaml is ministack's: gateway responses of the spec are not rendered (a refusal is
  `{"message": …}` here, a problem in AWS), and names of headers reach a function in lower case.
- The usage plan is checked with the key that the authorizer names only because scripts/embedded/launch.py mends it.
- Lists are joined in templates/tenant.yaml's conditions only because scripts/embedded/launch.py mends it. A request to
  the admin API must be signed, and any signature will do; `make dev` checks them as AWS does.
- The functions run on this machine's CPU and libraries, not on arm64 and Amazon Linux; `sam build` for arm64 is
  proven by scripts/sam.py and scripts/artifact_sizes.py.
- IAM's condition keys are partly evaluated; schedules are deployed and do not fire within the test.
"""

from __future__ import annotations

import warnings

import pytest

from scripts import sam
from scripts.deploy_local import Steps, prove


def test_the_template_deploys_and_every_call_is_in_the_lake_at_its_price() -> None:
    if sam.find_python() is None:
        warnings.warn(f"THE DEPLOYMENT IS NOT TESTED. {sam.NONE_FOUND}", stacklevel=1)
        pytest.skip(f"the deployment is not tested: {sam.NONE_FOUND}")
    prove(Steps(print))
