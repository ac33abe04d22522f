"""A tenant as a part of a CloudFormation stack: `Custom::Tenant`, whose properties are those of the admin API.

It makes no key: whatever CloudFormation is told stays readable in the stack. Keys come from the admin API, shown once.

The id of a deleted tenant that had a key is not given again, but to a stack of the name that had made it: what is made
anew after a rollback, a replacement or the stack's own end is the same tenant, with its usage.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from gateway.core.errors import BadRequestError, NotFoundError
from gateway.tenancy.administration import STACK, Actor, Administration
from gateway.tenancy.tenant import tenant_from_json, tenant_to_json
from gateway.usage.records import TenantId
from gateway.web.custom_resource import NOT_MADE
from gateway.web.generated.schemas import TenantSettings
from gateway.web.problems import SchemaViolationError

_ITS_OWN = ("ServiceToken", "ServiceTimeout")


def tenant_of_stack(event: Mapping[str, Any], administration: Administration) -> dict[str, Any]:
    """Make, change or delete the tenant that the stack describes."""
    actor = Actor(f"{STACK}{event['StackId']}")
    if event["RequestType"] == "Delete":
        physical_id = str(event["PhysicalResourceId"])
        if physical_id != NOT_MADE:
            with suppress(NotFoundError):  # gone is what the stack wants
                administration.delete_tenant(TenantId(physical_id), actor)
        return {"PhysicalResourceId": physical_id}
    said = {name: value for name, value in event["ResourceProperties"].items() if name not in _ITS_OWN}
    tenant_id = TenantId(str(said.pop("tenant_id", "")))
    try:
        # Not strictly: CloudFormation sends numbers and booleans as text.
        sent = TenantSettings.model_validate(said).model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        raise SchemaViolationError(error, "Properties", "invalid_tenant") from error
    is_new = tenant_id != event.get("PhysicalResourceId")
    if is_new and administration.exists(tenant_id) and not administration.was_made_by(tenant_id, actor):
        # Or else the stack's end would delete what it did not make.
        raise BadRequestError(f"Tenant {tenant_id} already exists.", code="tenant_exists")
    tenant, _ = administration.put_tenant(tenant_from_json(sent | {"tenant_id": tenant_id}), actor)
    shown = tenant_to_json(tenant)
    # A new id is a new resource: CloudFormation then deletes the old one.
    return {"PhysicalResourceId": tenant_id, "Data": {"tenant_id": tenant_id, "version": shown["version"]}}
