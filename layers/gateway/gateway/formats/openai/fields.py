"""What OpenAI's formats share: errors, usage, the list of models, and how a field is refused by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any

from gateway.calls.claims import Claim, claimed_labels, claimed_user
from gateway.core.errors import BadRequestError, GatewayError, ModelMissingError, SchemaError
from gateway.pricing.model_names import split_profile
from gateway.usage.records import TokenUsage

if TYPE_CHECKING:
    from gateway.core.error_codes import ErrorCode

Json = dict[str, Any]

# A string as JSON, in ASCII. The encoder's own function, since it runs for every token of a stream.
quoted: Callable[[str], str] = encode_basestring_ascii

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}


def error_json(error: GatewayError) -> Json:
    """The inner object of an error. A spent budget is `insufficient_quota`, which no SDK's user takes for a rate."""
    budget = error.code == "budget_exceeded"
    kind = "insufficient_quota" if budget else _TYPES.get(error.status)
    if kind is None:
        kind = "server_error" if error.status >= 500 else "invalid_request_error"
    return {"message": error.message, "type": kind, "param": getattr(error, "param", None), "code": error.code}


def problem(error: GatewayError, request_id: str) -> Json:
    """The body of an error: OpenAI's object, and beside it the gateway's own three fields."""
    return {"error": error_json(error), "code": error.code, "message": error.message, "request_id": request_id}


def usage_json(usage: TokenUsage) -> Json:
    """OpenAI's counts: the prompt's include what the cache gave and took, and the details say how much that was."""
    return {
        "prompt_tokens": usage.context_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.context_tokens + usage.output_tokens,
        "prompt_tokens_details": cache_json(usage),
    }


def cache_json(usage: TokenUsage) -> Json:
    return {
        "cached_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
    }


def tier_json(usage: TokenUsage) -> str | None:
    """The service tier as it was echoed, where OpenAI has a name for it."""
    return usage.service_tier if usage.service_tier in ("default", "flex", "priority") else None


def model_object(model: str, created: int) -> Json:
    """One model of `/v1/models`; its owner is the provider that its id names, in whichever profile."""
    base = split_profile(model)[1]
    owner = base.partition(".")[0] if "." in base else "gateway"
    return {"id": model, "object": "model", "created": created, "owned_by": owner}


def model_list(models: Iterable[str], created: int) -> Json:
    return {"object": "list", "data": [model_object(model, created) for model in models]}


# ------------------------------------------------------------------------------------------------- reading requests


def invalid_param(param: str, message: str, code: ErrorCode = "invalid_value") -> BadRequestError:
    """The refusal of one field; `message` goes on after the field's name."""
    return BadRequestError(f"{param} {message}", code=code, param=param)


def claim_of(body: Json) -> Claim:
    """The user and the labels that a body claims; all three operations name them alike."""
    user = claimed_user("user", body.get("user")) | claimed_user("safety_identifier", body.get("safety_identifier"))
    return user | claimed_labels("metadata", body.get("metadata"))


_PLACES = re.compile(r"\[\d+\]")  # in lists: a field is named once, not for each item that has it
_RULES: dict[str, ErrorCode] = {"type": "invalid_type", "required": "missing_required_parameter"}


def misfit(error: SchemaError) -> BadRequestError:
    """The refusal of a body that openapi.yaml forbids."""
    if not error.where:
        return BadRequestError("The body must be a JSON object.", code="invalid_body")
    if error.where == "model" and error.rule != "maxLength":
        return ModelMissingError()
    return invalid_param(error.where, error.sentence, _RULES.get(error.rule, "invalid_value"))


def known_fields(
    body: Any,
    where: str,
    known: Sequence[str],
    refused: Mapping[str, str] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Json:
    """An object's fields that are not null and known. `warn` is told of each other; without it the first is refused.

    `refused` are fields that are never left out, with what to do instead (`gateway.formats.refusals`). Raises
    BadRequestError with the field's name.
    """
    if not isinstance(body, Mapping):
        raise invalid_param(where or "body", "must be a JSON object.", "invalid_type")
    given = {str(name): value for name, value in body.items() if value is not None}
    for name, value in given.items():
        if name in known:
            continue
        path = f"{where}.{name}" if where else name
        if refused and name in refused and value != []:
            raise invalid_param(path, f"is not supported here. {refused[name]}", "unsupported_parameter")
        if warn is None:
            raise invalid_param(path, "is not a known parameter. Leave it out.", "unknown_parameter")
        warn(f"{_PLACES.sub('', path)} is ignored: the gateway does not know it")
    return {name: value for name, value in given.items() if name in known}


def enum_field(given: Json, name: str, allowed: Mapping[str, Any], where: str = "") -> Any:
    """What a field's word means; None where it is not given. Raises BadRequestError for any other word."""
    if name not in given:
        return None
    value = given[name]
    if not isinstance(value, str) or value not in allowed:
        raise invalid_param(f"{where}{name}", f"must be one of {', '.join(allowed)}.")
    return allowed[value]


def text(given: Json, name: str, where: str = "") -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid_param(f"{where}{name}", "must be a string.", "invalid_type")
    return value


def count(given: Json, name: str) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise invalid_param(name, "must be a positive integer.")
    return value


def reject_unless_default(given: Json, name: str, *harmless: Any, why: str) -> None:
    """Refuse a field unless its value asks for nothing."""
    if name in given and not any(given[name] == value and type(given[name]) is type(value) for value in harmless):
        raise invalid_param(name, why, "unsupported_value")


def listed(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise invalid_param(where, "must be a list.", "invalid_type")
    return value
