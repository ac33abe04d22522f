"""A tenant as a part of a CloudFormation stack: `Custom::Tenant`, whose properties are those of the admin API.

It makes no key: whatever CloudFormation is told stays readable in the stack. Keys come from the admin API, shown once.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from gateway.administration import Actor, Administration
from gateway.errors import BadRequest, GatewayError, NotFound
from gateway.http.problems import Unfit
from gateway.http.schemas import TenantSettings
from gateway.telemetry import logger
from gateway.tenants import tenant_from_json, tenant_to_json
from gateway.usage import TenantId

# What Create answers when it fails. Its Delete follows, and must not delete a tenant that was there before.
NOT_MADE = "not-made"
_ITS_OWN = ("ServiceToken", "ServiceTimeout")
_PATIENCE = 10.0  # seconds
_TRIES = 3


def is_from_stack(event: Mapping[str, Any]) -> bool:
    return "ResponseURL" in event and "RequestType" in event


def answer_stack(event: Mapping[str, Any], administration: Administration) -> dict[str, Any]:
    """Do what the stack asks and tell it so, whatever happens: a stack that hears nothing waits for an hour."""
    physical_id = str(event.get("PhysicalResourceId") or NOT_MADE)
    answer: dict[str, Any]
    try:
        answer = {"Status": "SUCCESS"} | _do(event, administration)
    except GatewayError as error:
        answer = {"Status": "FAILED", "PhysicalResourceId": physical_id, "Reason": f"{error.code}: {error.message}"}
    except Exception as error:
        logger().error("custom_resource_failed", extra={"error_type": type(error).__name__})
        reason = "The gateway failed. Its log has the cause."
        answer = {"Status": "FAILED", "PhysicalResourceId": physical_id, "Reason": reason}
    answer |= {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    _tell(str(event["ResponseURL"]), answer)
    return answer


def _do(event: Mapping[str, Any], administration: Administration) -> dict[str, Any]:
    actor = Actor(f"cloudformation:{event['StackId']}")
    if event["RequestType"] == "Delete":
        physical_id = str(event["PhysicalResourceId"])
        if physical_id != NOT_MADE:
            with suppress(NotFound):  # gone is what the stack wants
                administration.delete_tenant(TenantId(physical_id), actor)
        return {"PhysicalResourceId": physical_id}
    said = {name: value for name, value in event["ResourceProperties"].items() if name not in _ITS_OWN}
    tenant_id = TenantId(str(said.pop("tenant_id", "")))
    try:
        # Not strictly: CloudFormation sends numbers and booleans as text.
        sent = TenantSettings.model_validate(said).model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        raise Unfit(error, "Properties", "invalid_tenant") from error
    is_new = tenant_id != event.get("PhysicalResourceId")
    if is_new and administration.exists(tenant_id) and not administration.was_made_by(tenant_id, actor):
        # Or else the stack's end would delete what it did not make.
        raise BadRequest(f"There is a tenant {tenant_id} already.", code="tenant_exists")
    tenant, _ = administration.put_tenant(tenant_from_json(sent | {"tenant_id": tenant_id}), actor)
    shown = tenant_to_json(tenant)
    # A new id is a new resource: CloudFormation then deletes the old one.
    return {"PhysicalResourceId": tenant_id, "Data": {"tenant_id": tenant_id, "version": shown["version"]}}


def _tell(url: str, answer: Mapping[str, Any]) -> None:
    """PUT to the address that CloudFormation signed; it takes no content type."""
    request = urllib.request.Request(url, json.dumps(answer).encode(), {"Content-Type": ""}, method="PUT")  # noqa: S310
    for left in reversed(range(_TRIES)):
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE):  # noqa: S310
                return
        except OSError as error:
            logger().warning("stack_not_told", extra={"error_type": type(error).__name__, "tries_left": left})
            if not left:
                raise
            time.sleep(1)
