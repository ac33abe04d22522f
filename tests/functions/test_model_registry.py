"""Routes and endpoints from an S3 object: any number, never an invalid one; a broken object keeps the last good ones."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from gateway.aws.s3.model_registry import RoutesUnavailable, StoredRegistry
from gateway.aws.s3.watched import FRESH
from gateway.core.settings import settings
from gateway.core.telemetry import logger
from scripts.dev.fake_models import FakeModels

from .test_invoke_model import call, work_off
from .test_stream_model import ask

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
NOVA = "amazon.nova-lite-v1:0"
INLINE = json.dumps({"inline": {"model": HAIKU}})
ENDPOINTS = '{"our-llama": "llama-endpoint"}'
URI = "s3://models/routes.json"
WRONG = {
    "no JSON": "{",
    "a list": "[]",
    "a member that there is not": '{"aliases": {}}',
    "a wrong route": '{"routes": {"fast": {"retires": 1}}}',
    "routes that are none": '{"routes": null}',
    "an endpoint that is none": '{"endpoints": {"a": 1}}',
    "no text": b"\xff\xfe",
}


@pytest.fixture
def bucket() -> Iterator[None]:
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="models")
        yield


def put(said: Any) -> None:
    body = said if isinstance(said, bytes) else (said if isinstance(said, str) else json.dumps(said)).encode()
    boto3.client("s3").put_object(Bucket="models", Key="routes.json", Body=body)


def directory() -> StoredRegistry:
    return StoredRegistry(INLINE, ENDPOINTS, URI)


def target(reader: StoredRegistry, name: str) -> str:
    return reader().routes.find(name).models[0]


def test_without_an_object_the_environment_counts_and_nothing_is_asked_of_s3() -> None:
    assert target(StoredRegistry(INLINE, ENDPOINTS, ""), "inline") == HAIKU


def test_a_member_of_the_object_stands_in_place_of_its_parameter(bucket: None) -> None:
    put({"routes": {"fast": {"model": NOVA}}})
    read = directory()()
    assert [route.name for route in read.routes.aliases()] == ["fast"]
    assert read.catalog.sagemaker_endpoints == {"our-llama": "llama-endpoint"}
    put({"endpoints": {"ours": "endpoint"}})
    read = directory()()
    assert [route.name for route in read.routes.aliases()] == ["inline"]
    assert read.catalog.sagemaker_endpoints == {"ours": "endpoint"}


def test_a_hundred_aliases_and_endpoints_are_found(bucket: None) -> None:
    many = {f"alias-{n}": {"model": NOVA, "fallbacks": [HAIKU], "retries": 2, "concurrency": 50} for n in range(100)}
    put({"routes": many, "endpoints": {f"endpoint-{n}": f"e-{n}" for n in range(100)}})
    read = directory()()
    assert len(read.routes.aliases()) == len(read.catalog.sagemaker_endpoints) == 100
    assert read.routes.find("alias-99").models == (NOVA, HAIKU)


def test_a_new_object_counts_within_minutes_and_the_same_one_is_read_once(
    bucket: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put({"routes": {"fast": {"model": NOVA}}})
    reader = directory()
    first = reader()
    put({"routes": {"fast": {"model": HAIKU}}})
    assert reader() is first
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + FRESH)
    assert target(reader, "fast") == HAIKU
    monkeypatch.setattr(time, "monotonic", lambda: now + 2 * FRESH)
    assert reader() is reader()


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_object_leaves_the_last_good_one_and_is_logged(
    bucket: None, monkeypatch: pytest.MonkeyPatch, wrong: Any
) -> None:
    put({"routes": {"fast": {"model": NOVA}}})
    reader = directory()
    assert target(reader, "fast") == NOVA
    put(wrong)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + FRESH)
    said: list[str] = []
    monkeypatch.setattr(logger(), "error", lambda message, **_: said.append(message))
    assert target(reader, "fast") == NOVA
    assert said == ["model_routes_unreadable"]


@pytest.mark.parametrize("wrong", [*WRONG.values(), None], ids=[*WRONG, "no object"])
def test_until_it_was_read_no_name_leads_anywhere(bucket: None, wrong: Any) -> None:
    reader = directory()
    if wrong is not None:
        put(wrong)
    for _ in range(2):
        with pytest.raises(RoutesUnavailable, match="routes of models") as refused:
            reader()
        assert (refused.value.status, refused.value.code) == (503, "routes_unavailable")
    put({"routes": {"fast": {"model": NOVA}}})
    assert target(reader, "fast") == NOVA


def test_a_call_before_that_is_refused_and_reaches_no_model(
    load: Callable[[str], Any], models: FakeModels, streaming: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3.client("s3").create_bucket(Bucket="models")
    put({})
    assert call(load("invoke_model"), {"inputs": "hi"}, HAIKU, streaming="true")[0] == 200
    put("{")
    monkeypatch.setenv("MODEL_ROUTES_URI", URI)
    settings.cache_clear()
    status, body = call(load("invoke_model"), {"inputs": "hi"}, HAIKU)
    assert (status, body["code"]) == (503, "routes_unavailable")
    said = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    assert ask(load("stream_model").app, f"/model/{HAIKU}/converse", said)[0] == 503
    worker = load("complete_invocation")
    assert len(work_off(worker)["batchItemFailures"]) == 1  # it stays in the queue
    assert models.ledger.after() == []
