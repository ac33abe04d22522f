"""Checks the API that API Gateway made of the deployed definition, and that it refuses a faulty one, as AWS does."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from scripts.deploy.ministack.cloud import Cloud
from scripts.deploy.ministack.deployed import hold
from scripts.deploy.ministack.roles import resources

Json = dict[str, Any]

PROBE = "probe-of-a-definition"
INTEGRATION = "x-amazon-apigateway-integration"
SPEC: Json = {
    "openapi": "3.0.3",
    "info": {"title": PROBE, "version": "1"},
    "security": [{"Plan": []}],
    "paths": {"/pets": {"get": {"responses": {}, INTEGRATION: {"type": "mock"}}}},
    "components": {"securitySchemes": {"Plan": {"type": "apiKey", "name": "x-api-key", "in": "header"}}},
}
FAULTY: Json = SPEC | {"components": SPEC["components"] | {"schemas": {"Pet": {"type": "object", "nullable": True}}}}


def hold_methods_closed(cloud: Cloud, stack: str) -> str:
    """API Gateway itself reports that each method of the deployed API with a backend authorizes its callers."""
    api = next(it.physical for it in resources(cloud, stack) if it.kind == "AWS::ApiGateway::RestApi")
    made = Counter((it["authorizationType"], it["apiKeyRequired"]) for it in methods(cloud, api) if not it["mocks"])
    hold(made.keys() == {("CUSTOM", True), ("AWS_IAM", False)}, f"the authorizations of the methods are {dict(made)}")
    return ", ".join(f"{count} {kind}" for (kind, _), count in made.items())


def hold_import_strict(cloud: Cloud) -> str:
    """A faulty definition fails its stack, and `security` at the root protects no method."""
    status, reason = deploy(cloud, FAULTY)
    hold(status == "ROLLBACK_COMPLETE", f"a faulty definition ends as {status}")
    hold("nullable" in reason, f"a faulty definition fails with the reason {reason!r}")
    status, api = deploy(cloud, SPEC)
    hold(status == "CREATE_COMPLETE", f"a valid definition ends as {status}: {api}")
    (method,) = methods(cloud, api)
    found = (method["authorizationType"], method["apiKeyRequired"])
    hold(found == ("NONE", False), f"`security` at the root gives a method {found}, but AWS ignores it")
    cloud.client("cloudformation").delete_stack(StackName=PROBE)
    return "refused, and open"


def methods(cloud: Cloud, api: str) -> Iterator[Json]:
    client = cloud.client("apigateway")
    for resource in client.get_resources(restApiId=api, limit=500)["items"]:
        for name in resource.get("resourceMethods", ()):
            method = client.get_method(restApiId=api, resourceId=resource["id"], httpMethod=name)
            yield {
                "authorizationType": method["authorizationType"],
                "apiKeyRequired": method.get("apiKeyRequired", False),
                "mocks": (method.get("methodIntegration") or {}).get("type") == "MOCK",
            }


def deploy(cloud: Cloud, spec: Json) -> tuple[str, str]:
    """Deploy a stack of one API; returns its last status, and the reason or the API's id."""
    client = cloud.client("cloudformation")
    template = {"Resources": {"Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Body": spec}}}}
    stack = client.create_stack(StackName=PROBE, TemplateBody=json.dumps(template))["StackId"]
    end = time.monotonic() + 60
    while (status := client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]).endswith("_IN_PROGRESS"):
        hold(time.monotonic() < end, "a stack of one API takes more than a minute")
        time.sleep(0.2)
    if status == "CREATE_COMPLETE":
        return status, resources(cloud, PROBE)[0].physical
    reasons = [
        event.get("ResourceStatusReason", "") for event in client.describe_stack_events(StackName=stack)["StackEvents"]
    ]
    client.delete_stack(StackName=stack)
    return status, " ".join(reasons)
