"""A tenant in a CloudFormation stack: `Custom::Tenant`, whose properties are those of the admin API.

It creates no key, because every value that CloudFormation gets stays readable in the stack. The admin API creates keys
and shows each once.

The id of a deleted tenant that had a key is not reused, except by a stack with the name of its creator. A tenant
recreated after a rollback, a replacement or a deletion of the stack is the same tenant, with its usage.
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
    """Create, change or delete the tenant that the stack describes."""
    actor = Actor(f"{STACK}{event['StackId']}")
    if event["RequestType"] == "Delete":
        physical_id = str(event["PhysicalResourceId"])
        if physical_id != NOT_MADE:
            with suppress(NotFoundError):  # the stack wants it deleted
                administration.delete_tenant(TenantId(physical_id), actor)
        return {"PhysicalResourceId": physical_id}
    said = {name: value for name, value in event["ResourceProperties"].items() if name not in _ITS_OWN}
    tenant_id = TenantId(str(said.pop("tenant_id", "")))
    try:
        # Not strict: CloudFormation sends numbers and booleans as text.
        sent = TenantSettings.model_validate(said).model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        raise SchemaViolationError(error, "Properties", "invalid_tenant") from error
    is_new = tenant_id != event.get("PhysicalResourceId")
    if is_new and administration.exists(tenant_id) and not administration.was_made_by(tenant_id, actor):
        # Otherwise deleting the stack would delete a tenant that it did not create.
        raise BadRequestError(f"Tenant {tenant_id} already exists.", code="tenant_exists")
    tenant, _ = administration.put_tenant(tenant_from_json(sent | {"tenant_id": tenant_id}), actor)
    shown = tenant_to_json(tenant)
    # A new id is a new resource: CloudFormation then deletes the old one.
    return {"PhysicalResourceId": tenant_id, "Data": {"tenant_id": tenant_id, "version": shown["version"]}}
