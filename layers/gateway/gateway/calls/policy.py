"""Applies a tenant's record to a call: permissions, output limit, guardrail and tags."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from gateway.calls.call import DEFAULT_MAX_OUTPUT, Context, ModelCall
from gateway.calls.catalog import Catalog, Model, Service
from gateway.calls.claims import RESERVED
from gateway.calls.model_routes import Route
from gateway.calls.resource_ownership import must_own_references
from gateway.core.errors import ForbiddenError, GatewayError
from gateway.tenancy.tenant import Kept, Tenant


def apply_tenant_policy(call: ModelCall, context: Context) -> ModelCall:
    """The call within its tenant's limits, with the tenant's guardrail and tags. Raises ForbiddenError."""
    tenant = context.caller.tenant
    if call.model.service is Service.BEDROCK:
        must_own_references(call.body, call.headers, tenant)
    allowed = replace(enforce_output_limit(call, tenant), tags=context.tags, until=context.lease_until)
    allowed = _without_reserved_metadata(allowed, tenant)
    if tenant.guardrail is None or call.model.service is not Service.BEDROCK:
        return allowed
    guardrail = tenant.guardrail
    if call.api.startswith("Converse"):
        # The client's other guardrail settings (trace, stream processing mode) stay.
        own = allowed.body.get("guardrailConfig")
        forced = {"guardrailIdentifier": guardrail.id, "guardrailVersion": guardrail.version}
        return replace(
            allowed, body={**allowed.body, "guardrailConfig": {**(own if isinstance(own, dict) else {}), **forced}}
        )
    names = {name: text for name, text in call.headers.items() if name.lower() not in _GUARDRAIL_HEADERS}
    forced = {_GUARDRAIL_ID: guardrail.id, _GUARDRAIL_VERSION: guardrail.version}
    return replace(allowed, headers={**names, **forced})


def _without_reserved_metadata(call: ModelCall, tenant: Tenant) -> ModelCall:
    """The call without request metadata that only the gateway may set; without any that the tenant keeps out of clear.

    A user there would be a claim among verified names, and the service writes all of them to its logs.
    """
    own = call.body.get("requestMetadata") if call.api.startswith("Converse") else None
    if not isinstance(own, dict):
        return call
    clear = tenant.attribution.tags is Kept.CLEAR
    kept = {name: text for name, text in own.items() if clear and name.lower() not in RESERVED}
    body = {name: part for name, part in call.body.items() if name != "requestMetadata"}
    return replace(call, body={**body, "requestMetadata": kept} if kept else body)


_GUARDRAIL_ID, _GUARDRAIL_VERSION = "X-Amzn-Bedrock-GuardrailIdentifier", "X-Amzn-Bedrock-GuardrailVersion"
_GUARDRAIL_HEADERS = {_GUARDRAIL_ID.lower(), _GUARDRAIL_VERSION.lower()}


def enforce_output_limit(call: ModelCall, tenant: Tenant) -> ModelCall:
    """The call with the tenant's output limit. Raises ForbiddenError if the call requests more tokens."""
    asked, most = call.max_output_tokens, tenant.max_output_tokens
    if call.operation != "text":
        return call
    if most is not None and asked is not None and asked > most:
        raise ForbiddenError(f"Your tenant may request at most {most} output tokens.", code="max_tokens_not_allowed")
    if call.named_maximum is not None or not call.output_path or (most is None and not tenant.has_hard_budget):
        return call
    return call.with_max_output(min(most or DEFAULT_MAX_OUTPUT, DEFAULT_MAX_OUTPUT))


# ---------------------------------------------------------------------------------------------------------- permission
Find = Callable[[str], Model]


def by_id(catalog: Catalog, route: Route, model_arn: str | None) -> Find:
    """How the two oldest operations name models: by an id, and an ARN beside it that stands for the first alone."""
    first = route.models[0]
    return lambda name: catalog.find(name, model_arn if name == first else None)


def authorized_models(
    route: Route, tenant: Tenant, operation: str | None, find: Find, *, by_default: bool
) -> tuple[Model, ...]:
    """The models of a route that a tenant may call, in their order. Raises GatewayError if the first is not allowed.

    A tenant may call a model by its own id, or by an alias of it that its record allows; an ARN of an account only if
    the record lists it. Fallbacks that are not allowed are left out.
    """
    if operation is not None:
        tenant.must_allow_operation(operation)
    models = [_permitted(route, tenant, find(route.models[0]), by_default=by_default)]
    for name in route.models[1:]:
        with suppress(GatewayError):
            models.append(_permitted(route, tenant, find(name), by_default=by_default))
    return tuple(models)


def _permitted(route: Route, tenant: Tenant, model: Model, *, by_default: bool) -> Model:
    if model.own_arn:
        tenant.must_allow_arn(model.target)
    if not (route.is_alias and tenant.allows_model(route.name, by_default=by_default)):
        tenant.must_allow_model(model.id, by_default=by_default)
    return model
