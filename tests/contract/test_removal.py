"""What a stack leaves behind, and when."""

from __future__ import annotations

from scripts.expand import GUARDED, TEMPLATES, Stack, expand
from scripts.template import ROOT

KEPT = {
    "TenantsTable", "UsageTable", "BudgetsTable", "LakeBucket", "PayloadLogsBucket", "Key",
}  # fmt: skip
# AWS::ApiGateway::Account: "When you delete a stack containing this resource, API Gateway can still assume the provided IAM
# role". It goes on naming it, so that a role that went with a failed deployment would end the logs of all APIs.
OF_THE_ACCOUNT = {"AccessLogsRole", "AccessLogsAccount"}


def test_what_is_kept_is_kept_but_for_a_first_deployment_that_fails() -> None:
    """Retain alone leaves tables and buckets behind a stack that never came to be, and so does the next attempt."""
    said = {
        name: (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy"))
        for path in TEMPLATES
        for given in (GUARDED, {**GUARDED, "AccessLog": "with-role"})
        for name, resource in Stack(expand(path), given).decided().items()
        if "DeletionPolicy" in resource and resource["DeletionPolicy"] != "Delete"
    }
    assert said == dict.fromkeys(KEPT, ("RetainExceptOnCreate", "Retain")) | dict.fromkeys(
        OF_THE_ACCOUNT, ("Retain", "Retain")
    )


def test_the_account_names_a_role_that_stays_as_long_as_it_does() -> None:
    resources = expand(ROOT / "template.yaml")["Resources"]
    assert resources["AccessLogsAccount"]["Properties"]["CloudWatchRoleArn"] == {
        "Fn::GetAtt": ["AccessLogsRole", "Arn"]
    }
