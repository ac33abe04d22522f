"""Checks references to AWS resources in a request: the service opens them with the gateway's role, not the tenant's.

    an S3 location     the gateway's role may read other tenants' stored answers. So only buckets of the tenant's
                       record (`s3_buckets`) are allowed
    a project, a       resources of the gateway's account, which may belong to another payer or hold another team's
    prompt, a          prompts. None is allowed
    knowledge base

Models with their own body format (Nova, TwelveLabs) and Converse name them alike. Source: the service model of
bedrock-runtime. It has S3Location and its URIs in images, documents, videos and audio, and in the output of
StartAsyncInvoke, which the gateway does not offer. A caller may name a guardrail, since it only adds refusals.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.errors import ForbiddenError
from gateway.tenancy.tenant import Tenant

_PLACES_IN_S3 = frozenset({"s3Location", "s3Uri", "s3OutputDataConfig", "outputDataConfig", "s3_location", "s3_uri"})
_OF_THE_ACCOUNT = frozenset(
    {"projectIdentifier", "projectArn", "dataAutomationProjectArn", "promptIdentifier", "promptArn", "knowledgeBaseId",
     "knowledgeBaseConfiguration", "retrievalConfiguration", "retrieveAndGenerateConfiguration", "vectorStoreIds"}
)  # fmt: skip
_HEADER = "x-amzn-bedrock-project"
_BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/.*)?\Z", re.DOTALL)


def must_name_no_project(body: Any, headers: Mapping[str, str]) -> None:
    """Raises ForbiddenError for a project, whichever operation names it: the gateway alone chooses one.

    `headers` has lower-case names. A format that drops unknown fields would drop this one in silence.
    """
    if any(name.startswith(_HEADER) for name in headers):
        raise _not_allowed("The header X-Amzn-Bedrock-Project…")
    if isinstance(body, Mapping) and "projectIdentifier" in body:
        raise _not_allowed("projectIdentifier")


def must_own_references(body: Any, headers: Mapping[str, str], tenant: Tenant) -> None:
    """Raises ForbiddenError for a reference that the tenant's record does not allow."""
    if any(name.lower().startswith(_HEADER) for name in headers):
        raise _not_allowed("The header X-Amzn-Bedrock-Project…")
    for name, value in _references(body):
        if name in _OF_THE_ACCOUNT:
            raise _not_allowed(name)
        buckets = [_bucket(uri) for uri in _texts(value)]
        if not buckets or not all(bucket in tenant.s3_buckets for bucket in buckets):
            raise ForbiddenError(
                f"{name} must be in a bucket that your tenant's record lists (s3_buckets). Ask the gateway's "
                "operators to add it, or send the content inline.",
                code="s3_location_not_allowed",
            )


def _not_allowed(name: str) -> ForbiddenError:
    return ForbiddenError(
        f"{name} refers to a resource of the gateway's AWS account. Leave it out.", code="reference_not_allowed"
    )


def _bucket(uri: str) -> str | None:
    found = _BUCKET.match(uri)
    return found[1] if found else None


def _texts(value: Any) -> Iterator[str]:
    """The URIs of a member: one URI, or an object with a URI and its owner."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            if name not in ("bucketOwner", "bucket_owner", "kmsKeyId"):
                yield from _texts(part)
    else:
        yield ""  # the service might read any location in it


def _references(part: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(part, Mapping):
        for name, value in part.items():
            if name in _PLACES_IN_S3 or name in _OF_THE_ACCOUNT:
                yield name, value
            elif name == "invokeModel" and isinstance(value, Mapping):
                yield from _references(_packed(value.get("body")))  # CountTokens has a body in base64
            elif not _is_text(part, name):
                yield from _references(value)
    elif isinstance(part, list | tuple):
        for item in part:
            yield from _references(item)


def _packed(body: Any) -> Any:
    try:
        return json.loads(base64.b64decode(body))
    except (TypeError, ValueError, RecursionError):
        return None  # the service could not decode it either


def _is_text(around: Mapping[str, Any], name: str) -> bool:
    """Is it JSON that the model only reads: the input, result or schema of a tool?"""
    if name == "input":
        return "toolUseId" in around or around.get("type") == "tool_use"
    if name == "json":
        return len(around) == 1
    return name in ("inputSchema", "input_schema", "parameters", "schema") and "name" in around
