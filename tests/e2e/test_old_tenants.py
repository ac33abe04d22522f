"""The old tenants' own calls, replayed with plain `requests` through the local gateway, return exactly the old shapes."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from scripts.dev.stack import LocalStack

PNG = base64.b64encode(
    base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
).decode()


class OldClient:
    """A client that calls as the tenants' code does: headers, a query, a JSON body."""

    def __init__(self, stack: LocalStack, tenant: int = 0):
        self.url = stack.url
        self.key = stack.tenants[tenant]["key"]
        self.centre = stack.tenants[tenant]["cost_centres"][0]
        # An answer of `requests.post` that is kept keeps its connection open.
        self._session = requests.Session()

    def post(
        self, body: Any, model_id: str | None = None, *, query: dict[str, str] | None = None, **headers: str
    ) -> Any:
        return self._session.post(
            f"{self.url}/invoke_model",
            params={"model_id": model_id} if model_id else query,
            headers={"x-api-key": self.key, "team_id": self.centre, **headers},
            json=body,
            timeout=60,
        )

    def poll(self, request_id: str) -> Any:
        """Poll once; again if API Gateway timed out on a busy machine."""
        while (answer := self.post({}, query={"requestId": request_id})).status_code == 504:
            assert answer.json()["code"] == "still_running"
        return answer

    def polled(self, request_id: str) -> Any:
        for _ in range(200):
            answer = self.poll(request_id)
            if answer.status_code != 200 or "generated_text" in answer.json()[0]:
                return answer
            assert answer.json() == [{"request_id": request_id}]
            time.sleep(0.1)
        raise AssertionError("the submitted call never ended")


@pytest.fixture
def client(stack: LocalStack) -> OldClient:
    return OldClient(stack)


TEXT = {
    "amazon.titan-text-express-v1": {"maxTokenCount": 64, "temperature": 0.1},
    "anthropic.claude-v2": {"max_tokens_to_sample": 64},
    "anthropic.claude-3-sonnet-20240229-v1:0": {"max_tokens": 64},
    "mistral.mistral-7b-instruct-v0:2": {"max_tokens": 64},
    "cohere.command-text-v14": {"max_tokens": 64},
    "meta.llama3-8b-instruct-v1:0": {"max_gen_len": 64},
    "ai21.jamba-instruct-v1:0": {"max_tokens": 64},
    "our-llama": {"max_new_tokens": 64},
}


def test_the_list_of_models(client: OldClient) -> None:
    answer = requests.get(f"{client.url}/list_foundation_models", headers={"x-api-key": client.key}, timeout=30)
    (body,) = answer.json()
    assert (answer.status_code, list(body)) == (200, ["modelSummaries"])
    assert {"modelId", "modelArn", "providerName"} <= set(body["modelSummaries"][0])


@pytest.mark.parametrize("model_id", TEXT)
def test_text_at_once(client: OldClient, model_id: str) -> None:
    answer = client.post({"inputs": "What is a ledger?", "parameters": TEXT[model_id]}, model_id)
    assert (answer.status_code, [list(item) for item in answer.json()]) == (200, [["generated_text"]])
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("model_id", TEXT)
def test_text_submitted_and_polled(client: OldClient, model_id: str) -> None:
    submitted = client.post({"inputs": "What is a ledger?", "parameters": TEXT[model_id]}, model_id, streaming="true")
    assert (submitted.status_code, [list(item) for item in submitted.json()]) == (200, [["request_id"]])
    request_id = submitted.json()[0]["request_id"]
    first, again = client.polled(request_id), client.polled(request_id)
    assert [list(item) for item in first.json()] == [["generated_text"]]
    assert first.json() == again.json()


def test_converse_with_an_image_submitted_and_at_once(client: OldClient) -> None:
    content = [{"text": "What is this?"}, {"image": {"format": "png", "source": {"bytes": PNG}}}]
    body = {"inputs": [{"role": "user", "content": content}], "parameters": {"maxTokens": 64, "system": "Be brief."}}
    model_id = "anthropic.claude-3-sonnet-20240229-v1:0"
    answer = client.post(body, model_id, messages_api="true")
    assert [list(item) for item in answer.json()] == [["generated_text"]]
    submitted = client.post(body, model_id, messages_api="true", streaming="true")
    assert client.polled(submitted.json()[0]["request_id"]).json() == answer.json()


@pytest.mark.parametrize(
    ("model_id", "kind", "inputs"),
    [
        ("amazon.titan-embed-text-v1", "embeddings", "hello"),
        ("cohere.embed-english-v3", "embeddings", "hello"),
        ("amazon.titan-embed-image-v1", "embeddings-image", PNG),
        ("our-embedder", "embeddings", "hello"),
    ],
)
def test_embeddings(client: OldClient, model_id: str, kind: str, inputs: str) -> None:
    answer = client.post({"inputs": inputs}, model_id, type=kind)
    assert (answer.status_code, [list(item) for item in answer.json()]) == (200, [["embedding"]])
    assert all(isinstance(number, float) for number in answer.json()[0]["embedding"])


def test_images_of_stability_and_titan(client: OldClient) -> None:
    stability = client.post(
        {"text_prompts": [{"text": "a turtle"}], "parameters": {"steps": 30}},
        "stability.stable-diffusion-xl-v1",
        type="image",
    ).json()
    assert list(stability[0]) == ["artifacts"]
    assert base64.b64decode(stability[0]["artifacts"][0]["base64"]).startswith(b"\x89PNG")
    titan = client.post(
        {"textToImageParams": {"text": "a turtle"}, "parameters": {"taskType": "TEXT_IMAGE"}},
        "amazon.titan-image-generator-v1", type="image",
    ).json()  # fmt: skip
    assert list(titan[0]) == ["images"]
    assert base64.b64decode(titan[0]["images"][0]).startswith(b"\x89PNG")


# --------------------------------------------------------------------------------- calls of both generations, as data
CALLS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data/old_calls.json").read_text())


def replay(client: OldClient, call: dict[str, Any], **query: str) -> requests.Response:
    """The call as its client makes it, with this tenant's key and names."""
    text = json.dumps(call)
    for name, value in (("$KEY", client.key), ("$TEAM", client.centre), ("$TENANT", "demo-research"), ("$PNG", PNG)):
        text = text.replace(name, value)
    said = json.loads(text)
    body = {"data": said["text"]} if "text" in said else {"json": said["json"]} if "json" in said else {}
    url, parameters = client.url + said["path"], said["query"] | query
    return requests.request(said["method"], url, params=parameters, headers=said["headers"], timeout=60, **body)


@pytest.mark.parametrize("call", CALLS["calls"], ids=lambda call: f"{call['generation']}: {call['name']}")
def test_a_call_of_the_first_clients_is_answered_as_it_was(client: OldClient, call: dict[str, Any]) -> None:
    answer = replay(client, call)
    assert answer.status_code == call["status"], answer.text
    if call["status"] != 200:
        assert answer.json()["code"] == call["shape"]
        return
    (body,) = answer.json()
    assert list(body) == [call["shape"]]
    if call["shape"] == "request_id":
        (text,) = client.polled(body["request_id"]).json()
        assert list(text) == ["generated_text"]


@pytest.mark.parametrize("body", CALLS["polls"], ids=lambda body: body["name"])
def test_a_poll_may_carry_anything_or_nothing(client: OldClient, body: dict[str, Any]) -> None:
    """The first clients name the model in it again, and nobody reads the rest."""
    submitted = client.post({"inputs": "What is a ledger?"}, "anthropic.claude-v2", streaming="true").json()[0]
    client.polled(submitted["request_id"])
    call = CALLS["calls"][1] | {"headers": {"x-api-key": client.key, "team_id": client.centre}} | body
    call = {name: value for name, value in call.items() if name in body or name != "json"}
    answer = replay(client, call, requestId=submitted["request_id"])
    assert (answer.status_code, [list(item) for item in answer.json()]) == (200, [["generated_text"]])


HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"


@pytest.mark.parametrize(
    ("headers", "body", "query", "status", "code"),
    [
        ({"x-api-key": ""}, {"inputs": "x"}, {"model_id": HAIKU}, 401, "unauthorized"),
        ({"x-api-key": "mgw_wrong"}, {"inputs": "x"}, {"model_id": HAIKU}, 401, "unauthorized"),
        ({"team_id": "marketing"}, {"inputs": "x"}, {"model_id": HAIKU}, 403, "cost_centre_not_owned"),
        ({}, {}, {"requestId": "00000000-0000-4000-8000-000000000000"}, 404, "request_not_found"),
        ({}, {"inputs": "x"}, {}, 400, "model_id_missing"),
        ({}, {}, {"model_id": HAIKU}, 400, "inputs_missing"),
        ({}, {"inputs": "x", "parameters": 5}, {"model_id": HAIKU}, 400, "invalid_body"),
        ({}, {"inputs": "[[throttle]]"}, {"model_id": HAIKU}, 429, "model_throttled"),
    ],
    ids=["no key", "wrong key", "other cost centre", "unknown request", "no model", "no inputs", "wrong type", "throttle"],
)  # fmt: skip
def test_a_refusal_is_a_problem_and_tells_nothing_else(
    client: OldClient, headers: dict[str, str], body: Any, query: dict[str, str], status: int, code: str
) -> None:
    answer = client.post(body, query=query, **headers)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert set(problem) <= {"code", "message", "request_id", "details", "type", "error"}
    assert problem["request_id"] == answer.headers["x-request-id"]
    for secret in ("Traceback", "arn:aws", client.key, "demo-marketing", ".py"):
        assert secret not in answer.text


def test_a_request_that_is_too_large_is_refused_in_api_gateway_s_words(client: OldClient) -> None:
    answer = client.post({"inputs": "x" * 7_000_000}, query={"model_id": HAIKU})
    assert (answer.status_code, answer.json()) == (413, {"message": "Request Too Long"})


def test_a_body_that_is_not_json(client: OldClient) -> None:
    answer = requests.post(
        f"{client.url}/invoke_model?model_id={HAIKU}",
        headers={"x-api-key": client.key, "content-type": "application/json"}, data="{not json", timeout=30,
    )  # fmt: skip
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_body")


def test_a_bearer_token_is_a_key_as_well(client: OldClient) -> None:
    answer = requests.get(
        f"{client.url}/usage",
        headers={"Authorization": f"Bearer {client.key}"},
        params={"group_by": "model"},
        timeout=30,
    )
    assert (answer.status_code, answer.json()["tenant_id"]) == (200, "demo-research")


def test_another_tenants_job_does_not_exist(client: OldClient, stack: LocalStack) -> None:
    submitted = client.post({"inputs": "a secret"}, HAIKU, streaming="true").json()[0]["request_id"]
    client.polled(submitted)
    answer = OldClient(stack, 1).post({}, query={"requestId": submitted})
    assert (answer.status_code, answer.json()["code"]) == (404, "request_not_found")
    assert "secret" not in answer.text


def test_large_bodies_go_through_both_ways(client: OldClient) -> None:
    prompt = "a long text " * 400_000  # 4.8 MB
    assert client.post({"inputs": prompt}, HAIKU).status_code == 200
    submitted = client.post({"inputs": prompt}, HAIKU, streaming="true")
    assert client.polled(submitted.json()[0]["request_id"]).status_code == 200


def test_nothing_that_was_sent_is_written_to_a_log(client: OldClient, stack: LocalStack) -> None:
    client.post({"inputs": "xyzzy-the-prompt"}, HAIKU)
    client.post({"inputs": ["xyzzy-the-prompt"]}, "no-such-model")
    for log in stack.data.glob("logs/*"):
        text = log.read_text(errors="replace")
        assert client.key not in text, log
        assert "xyzzy" not in text, log


def test_json_is_what_the_spec_says(stack: LocalStack) -> None:
    contract = stack.data / "logs/contract.log"
    assert not contract.exists() or contract.read_text() == "", json.dumps(contract.read_text()[:2000])
