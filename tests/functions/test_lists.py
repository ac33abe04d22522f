"""The lists of models: with Bedrock's filters, in OpenAI's format, and in Anthropic's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .test_stream_model import ask

VERSION = {"anthropic_version": "2023-06-01"}


@pytest.fixture
def app(streaming: Any) -> Any:
    return streaming


def listed(app: Any, path: str, query: str = "", **headers: Any) -> tuple[int, Any]:
    status, body, _ = ask(app, path, None, method="GET", query=query, **headers)
    return status, json.loads(body)


@pytest.mark.parametrize(
    ("query", "place", "value"),
    [
        ("byProvider=anthropic", "providerName", "Anthropic"),
        ("byOutputModality=EMBEDDING", "outputModalities", "EMBEDDING"),
        ("byOutputModality=IMAGE", "outputModalities", "IMAGE"),
        ("byInferenceType=ON_DEMAND", "inferenceTypesSupported", "ON_DEMAND"),
    ],
)
def test_models_are_listed_by_what_is_asked(app: Any, query: str, place: str, value: str) -> None:
    all_of_them = listed(app, "/foundation-models")[1]["modelSummaries"]
    status, body = listed(app, "/foundation-models", query)
    chosen = [one for one in all_of_them if one[place] == value or value in one[place]]
    assert status == 200
    assert body["modelSummaries"] == chosen
    assert 0 < len(chosen) <= len(all_of_them)


def test_a_filter_that_nothing_fits_lists_nothing(app: Any) -> None:
    assert listed(app, "/foundation-models", "byCustomizationType=DISTILLATION&byProvider=Nobody") == (
        200, {"modelSummaries": []},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/foundation-models", "byOutputModality=SMELL"), ("/foundation-models", "byInferenceType=x"),
        ("/foundation-models", "byCustomizationType="), ("/foundation-models", "byProvider=%0A"),
        ("/inference-profiles", "type=x"), ("/inference-profiles", "maxResults=0"), ("/inference-profiles", "maxResults=1e3"),
        ("/inference-profiles", "maxResults=%C2%B2"), ("/inference-profiles", "nextToken=x"),
    ],
)  # fmt: skip
def test_what_a_list_cannot_be_asked_by_is_refused(app: Any, path: str, query: str) -> None:
    status, body = listed(app, path, query)
    assert (status, body["code"]) == (400, "invalid_parameters")


def test_profiles_are_listed_by_type_and_in_pages(app: Any) -> None:
    whole = listed(app, "/inference-profiles")[1]["inferenceProfileSummaries"]
    assert listed(app, "/inference-profiles", "type=SYSTEM_DEFINED")[1]["inferenceProfileSummaries"] == [
        one for one in whole if one["type"] == "SYSTEM_DEFINED"
    ]
    assert listed(app, "/inference-profiles", "type=APPLICATION")[1]["inferenceProfileSummaries"] == []
    found, query = [], "maxResults=2"
    while query:
        page = listed(app, "/inference-profiles", query)[1]
        assert len(page["inferenceProfileSummaries"]) <= 2
        found += page["inferenceProfileSummaries"]
        query = f"maxResults=2&nextToken={page['nextToken']}" if "nextToken" in page else ""
    assert found == whole


def test_anthropic_s_sdk_reads_its_own_shape(app: Any) -> None:
    names = [one["id"] for one in listed(app, "/v1/models")[1]["data"]]
    page = listed(app, "/v1/models", "limit=2", **VERSION)[1]
    told = [{"type": "model", "display_name": name, "created_at": "1970-01-01T00:00:00Z"} for name in names[:2]]
    assert [one | own for one, own in zip(page["data"], told, strict=True)] == page["data"]
    assert (page["has_more"], page["first_id"], page["last_id"]) == (True, names[0], names[1])
    following = listed(app, "/v1/models", f"limit=1000&after_id={names[1]}", **VERSION)[1]
    assert [one["id"] for one in following["data"]] == names[2:]
    assert following["has_more"] is False
    before = listed(app, "/v1/models", f"limit=1&before_id={names[2]}", **VERSION)[1]
    assert ([one["id"] for one in before["data"]], before["has_more"]) == ([names[1]], True)
    assert listed(app, f"/v1/models/{names[0]}", **VERSION)[1] == page["data"][0]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after_id=nobody", "before_id="])
def test_anthropic_s_page_that_is_none_is_refused(app: Any, query: str) -> None:
    assert listed(app, "/v1/models", query, **VERSION)[0] == 400


def test_a_model_that_is_not_there_is_told_in_anthropic_s_words_too(app: Any) -> None:
    status, body = listed(app, "/v1/models/nobody", **VERSION)
    assert (status, body["type"], body["error"]["type"]) == (404, "error", "not_found_error")


def test_the_owner_of_a_profile_is_its_model_s_maker(app: Any) -> None:
    owners = {one["id"]: one["owned_by"] for one in listed(app, "/v1/models")[1]["data"]}
    assert {owner for name, owner in owners.items() if name.startswith("us.amazon.")} == {"amazon"}
    assert not {"us", "eu", "global", "apac"} & set(owners.values())
