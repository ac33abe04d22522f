"""What a request would have the service fetch or open: it does so with the gateway's own role, not the tenant's.

    an S3 location     read with the gateway's role, which may read other tenants' kept answers. Only buckets that the
                       tenant's record names (`s3_buckets`)
    a project, a       things of the gateway's account, that somebody else may pay for or keep his prompts in. None
    prompt, a base
    of knowledge

Named in the models that take a body of their own (Nova, TwelveLabs) as in Converse. Source: the service model of
bedrock-runtime, where S3Location and its URIs stand in images, documents, videos and sound, and in the output of
StartAsyncInvoke, which is not offered here; a guardrail only adds to what is refused, and is the caller's to name.
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


def must_own_references(body: Any, headers: Mapping[str, str], tenant: Tenant) -> None:
    """Raises ForbiddenError for what the tenant's record does not give to the tenant."""
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
    """The addresses in a place: it may be one, or an object that has one beside its owner."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            if name not in ("bucketOwner", "bucket_owner", "kmsKeyId"):
                yield from _texts(part)
    else:
        yield ""  # nobody knows what a service would read in it


def _references(part: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(part, Mapping):
        for name, value in part.items():
            if name in _PLACES_IN_S3 or name in _OF_THE_ACCOUNT:
                yield name, value
            elif name == "invokeModel" and isinstance(value, Mapping):
                yield from _references(_packed(value.get("body")))  # of CountTokens: a body in base64
            elif not _is_text(part, name):
                yield from _references(value)
    elif isinstance(part, list | tuple):
        for item in part:
            yield from _references(item)


def _packed(body: Any) -> Any:
    try:
        return json.loads(base64.b64decode(body))
    except (TypeError, ValueError, RecursionError):
        return None  # nothing that the service could read either


def _is_text(around: Mapping[str, Any], name: str) -> bool:
    """Is it JSON that the model only reads: what a tool was given or gave back, or how it is described?"""
    if name == "input":
        return "toolUseId" in around or around.get("type") == "tool_use"
    if name == "json":
        return len(around) == 1
    return name in ("inputSchema", "input_schema", "parameters", "schema") and "name" in around
