"""Only the tenant's record can name objects that the service would fetch with the gateway's own role."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.loaders import Loader

from gateway.calls.resource_ownership import must_own_references
from gateway.core.errors import ForbiddenError
from gateway.tenancy.tenant import Tenant, tenant_from_json, tenant_to_json
from gateway.usage.records import TenantId

ACME = Tenant(TenantId("acme"), "Acme", ("research",), s3_buckets=("acme-files",))
THEIRS, OURS = (
    {"uri": "s3://gateway-payloads/answers/1.json"},
    {"uri": "s3://acme-files/a.pdf", "bucketOwner": "1" * 12},
)


def content(block: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [block]}]}


REACHING = [
    content({"document": {"format": "pdf", "name": "d", "source": {"s3Location": THEIRS}}}),
    content({"image": {"format": "png", "source": {"s3Location": THEIRS}}}),
    content({"video": {"format": "mp4", "source": {"s3Location": THEIRS}}}),
    content({"audio": {"format": "mp3", "source": {"s3Location": THEIRS}}}),
    content({"toolResult": {"toolUseId": "t", "content": [{"image": {"source": {"s3Location": THEIRS}}}]}}),
    {"additionalModelRequestFields": {"mediaSource": {"s3Location": THEIRS}}},
    {"inputType": "video", "mediaSource": {"s3Location": THEIRS}},
    {"input": {"converse": content({"document": {"source": {"s3Location": THEIRS}}})}},
    {
        "input": {
            "invokeModel": {"body": base64.b64encode(json.dumps({"video": {"s3Location": THEIRS}}).encode()).decode()}
        }
    },
    {"parameters": {"video": {"s3Location": THEIRS}}},
    {"video": {"s3Location": "s3://gateway-payloads/answers/1.json"}},
    {"video": {"s3Location": {}}},
    {"video": {"s3Location": [THEIRS]}},
    {"video": {"s3Location": OURS | {"other": THEIRS["uri"]}}},
    {"video": {"s3Location": {"uri": "s3://acme-files@gateway-payloads/answers/1.json"}}},
    {"video": {"s3Location": {"uri": "s3://acme-files.evil/../x"}}},
    {"video": {"s3Location": {"uri": "https://acme-files/x"}}},
]


@pytest.mark.parametrize("body", REACHING, ids=lambda body: json.dumps(body)[:60])
def test_a_bucket_that_the_record_does_not_name_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ForbiddenError) as refused:
        must_own_references(body, {}, ACME)
    assert refused.value.code == "s3_location_not_allowed"


def test_a_bucket_of_the_tenant_s_own_is_read() -> None:
    must_own_references(content({"document": {"format": "pdf", "name": "d", "source": {"s3Location": OURS}}}), {}, ACME)


@pytest.mark.parametrize(
    "body",
    [
        content({"toolUse": {"toolUseId": "t", "name": "copy", "input": {"s3Location": THEIRS}}}),
        content({"type": "tool_use", "id": "t", "name": "copy", "input": {"s3Location": THEIRS}}),
        content({"toolResult": {"toolUseId": "t", "content": [{"json": {"s3Location": THEIRS}}]}}),
        {"toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"s3Uri": "string"}}}}]}},
        {"tools": [{"name": "f", "input_schema": {"properties": {"promptArn": {"type": "string"}}}}]},
        content({"text": '{"s3Location": {"uri": "s3://gateway-payloads/x"}}'}),
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_what_a_model_only_reads_as_text_may_speak_of_any_bucket(body: dict[str, Any]) -> None:
    must_own_references(body, {}, ACME)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"projectIdentifier": "arn:aws:bedrock:us-east-1:111122223333:project/x"}, {}),
        ({"retrievalConfiguration": {"knowledgeBaseId": "ABC"}}, {}),
        ({}, {"X-Amzn-Bedrock-Project-Identifier": "x"}),
    ],
)
def test_things_of_the_account_are_refused(body: dict[str, Any], headers: Mapping[str, str]) -> None:
    with pytest.raises(ForbiddenError) as refused:
        must_own_references(body, headers, ACME)
    assert refused.value.code == "reference_not_allowed"


def test_the_record_keeps_its_buckets() -> None:
    assert tenant_from_json(tenant_to_json(ACME)).s3_buckets == ("acme-files",)
    assert "s3_buckets" not in tenant_to_json(Tenant(TenantId("acme"), "Acme", ()))


def places(shapes: Mapping[str, Any], shape: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """The members of a shape that name an S3 object, at any depth."""
    if shape in seen:
        return
    said = shapes[shape]
    inside = {"list": ["member"], "map": ["value"]}.get(said["type"], [])
    for name, member in (*said.get("members", {}).items(), *((each, said[each]) for each in inside)):
        if "S3" in member["shape"]:
            yield name
        else:
            yield from places(shapes, member["shape"], seen | {shape})


def test_every_place_in_s3_that_a_service_model_has_is_looked_at() -> None:
    model = Loader().load_service_model("bedrock-runtime", "service-2")
    for operation in ("Converse", "ConverseStream", "CountTokens", "InvokeModel", "StartAsyncInvoke"):
        for name in places(model["shapes"], model["operations"][operation]["input"]["shape"]):
            with pytest.raises(ForbiddenError):
                must_own_references({"somewhere": [{name: THEIRS}]}, {}, ACME)
