"""Every invalid body gets a precise refusal: no body of any shape causes an internal error.

The bodies are valid ones with a value of any kind put anywhere in them, sent to every surface.
"""

from __future__ import annotations

import base64
import copy
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from gateway.web.reading import MOST_LEVELS
from scripts.dev.fake_models import FakeModels

from .conftest import ROOT, context, event
from .test_manage_tenants import Admin
from .test_stream_model import HAIKU, NOVA, ask

TITAN, COHERE = "amazon.titan-embed-text-v2:0", "cohere.embed-english-v3"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}}
CHAT_TOOL = {"type": "function", "function": {"name": "get", "description": "d", "parameters": SCHEMA}}
CUSTOM = {
    "type": "custom",
    "custom": {"name": "c", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}},
}
CHAT = {
    "model": NOVA, "max_tokens": 9, "temperature": 0.5, "stop": ["x"], "tools": [CHAT_TOOL, CUSTOM], "tool_choice": "auto",
    "response_format": {"type": "json_object"}, "stream_options": None, "metadata": {"a": "b"},
    "messages": [
        {"role": "system", "content": "be kind"},
        {"role": "user", "name": "n", "content": [
            {"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGk="}},
        ]},
        {"role": "assistant", "content": None, "thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": "s"}],
         "tool_calls": [{"id": "c", "type": "function", "function": {"name": "get", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "1"},
        {"role": "assistant", "tool_calls": [{"id": "d", "type": "custom", "custom": {"name": "c", "input": "x"}}]},
        {"role": "tool", "tool_call_id": "d", "content": "1"},
    ],
}  # fmt: skip
RESPONSE = {
    "model": HAIKU, "instructions": "i", "max_output_tokens": 9, "reasoning": {"effort": "none"},
    "text": {"format": {"type": "text"}, "verbosity": "low"}, "include": ["x"], "tool_choice": "auto",
    "tools": [
        {"type": "function", "name": "get", "parameters": SCHEMA}, {"type": "local_shell"},
        {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}]},
    ],
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "x"}], "encrypted_content": "signature:s"},
        {"type": "function_call", "call_id": "c", "name": "get", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
        {"type": "custom_tool_call", "call_id": "d", "name": "c", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "x"}]},
        {"type": "local_shell_call", "id": "e", "action": {"type": "exec", "command": ["ls"]}},
        {"type": "local_shell_call_output", "id": "e", "output": "x"},
    ],
}  # fmt: skip
BLOCKS = [
    {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
]
MESSAGES = {
    "model": NOVA, "max_tokens": 9, "system": [{"type": "text", "text": "s"}], "stop_sequences": ["x"], "metadata": {"user_id": "u"},
    "tools": [{"name": "get", "description": "d", "input_schema": SCHEMA}, {"type": "web_search_20250305", "name": "w"}],
    "tool_choice": {"type": "auto"},
    "messages": [
        {"role": "user", "content": BLOCKS},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "get", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "1"}]}]},
    ],
}  # fmt: skip
CONVERSE = {
    "messages": [{"role": "user", "content": [{"text": "hi"}, {"image": {"format": "png", "source": {"bytes": PNG}}}]}],
    "inferenceConfig": {"maxTokens": 9}, "requestMetadata": {"a": "b"}, "serviceTier": {"type": "default"},
    "toolConfig": {"tools": [{"toolSpec": {"name": "get", "inputSchema": {"json": SCHEMA}}}]},
}  # fmt: skip
STREAMED: dict[str, list[dict[str, Any]]] = {
    "/v1/chat/completions": [CHAT, {**CHAT, "stream": True}, {**CHAT, "model": "our-llama"}],
    "/v1/responses": [RESPONSE, {**RESPONSE, "stream": True}],
    "/v1/embeddings": [{"model": TITAN, "input": ["a", "b"], "dimensions": 256}, {"model": COHERE, "input": "a"}],
    "/v1/messages": [MESSAGES, {**MESSAGES, "model": HAIKU}, {**MESSAGES, "stream": True}],
    "/v1/messages/count_tokens": [{k: MESSAGES[k] for k in ("model", "messages", "tools")} | {"model": HAIKU}],
    f"/model/{NOVA}/converse": [CONVERSE],
    f"/model/{NOVA}/converse-stream": [CONVERSE],
    f"/model/{NOVA}/count-tokens": [{"input": {"converse": CONVERSE}}],
    f"/model/{HAIKU}/invoke": [{"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": MESSAGES["messages"]}],
    f"/model/{TITAN}/invoke": [{"inputText": "a"}],
}  # fmt: skip
INVOKED: list[tuple[str, str, dict[str, Any]]] = [
    (HAIKU, "text", {"inputs": "hi", "parameters": {"max_tokens": 9}}),
    (NOVA, "text", {"inputs": CONVERSE["messages"], "parameters": {"maxTokens": 9, "system": "s"}, "additional_model_fields": {},
                    "tool_config": CONVERSE["toolConfig"]}),
    (TITAN, "embeddings", {"inputs": ["a", "b"], "parameters": {}}),
    ("amazon.titan-image-generator-v1", "image", {"textToImageParams": {"text": "a"}, "parameters": {"imageGenerationConfig": {"width": 512, "numberOfImages": 1}}}),
    ("stability.stable-diffusion-xl-v1", "image", {"text_prompts": [{"text": "a"}], "parameters": {"steps": 30, "width": 512}}),
    ("our-llama", "text", {"inputs": {"inputs": "hi"}, "parameters": {"max_new_tokens": 9}}),
    ("our-embedder", "embeddings", {"inputs": {"text_inputs": ["a"]}, "parameters": {}}),
]  # fmt: skip

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, -1, 7, 10**30, 1.5, -0.5, 1e300, "", " ", "x", "\n", "auto", "0" * 200, "ä\u0000", [], [[]],
     [None], ["x"], [7], {}, {"x": None}, {"type": 7}, {"type": "text"}, {"bytes": "?"}, {"": {}}]
)  # fmt: skip


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in members:
        yield (*way, name)
        yield from places(inner, (*way, name))


@st.composite
def spoiled(draw: Callable[..., Any], bodies: list[dict[str, Any]]) -> Any:
    """A valid body in which values of any kind replace one to three others."""
    body = copy.deepcopy(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(1, 3))):
        ways = list(places(body))
        if not ways:
            break
        *before, last = draw(st.sampled_from(ways))
        inside = body
        for step in before:
            inside = inside[step]
        if isinstance(inside, dict) and draw(st.integers(0, 9)) == 0:
            del inside[last]
        else:
            inside[last] = copy.deepcopy(draw(ODD))
    return body


@pytest.fixture
def app(streaming: Any) -> Any:
    return streaming


def must_not_fail(status: int, sent: bytes, body: Any) -> None:
    """No 5xx, unless the stand-in itself failed on a body (599): the service would have answered 400."""
    said = sent.decode(errors="replace")
    if status == 503 and "model_unavailable" in said:
        return
    assert status < 500, f"{status} {said} for {json.dumps(body)}"
    assert "internal_error" not in said, f"{said} for {json.dumps(body)}"


many = settings(
    max_examples=int(os.environ.get("HOSTILE_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
)


@pytest.mark.parametrize("path", STREAMED)
def test_no_body_is_a_failure_of_the_gateway(app: Any, path: str) -> None:
    @seed(20261201)
    @many
    @given(spoiled(STREAMED[path]))
    def hold(body: Any) -> None:
        status, sent, _ = ask(app, path, body)
        must_not_fail(status, sent, body)

    hold()


@pytest.mark.parametrize("name", [HAIKU, NOVA])
def test_no_body_fails_the_old_stream(app: Any, name: str) -> None:
    @seed(20261201)
    @many
    @given(spoiled([body for model, kind, body in INVOKED if model == name and kind == "text"]))
    def hold(body: Any) -> None:
        status, sent, _ = ask(app, "/stream_model", body, query=f"model_id={name}")
        must_not_fail(status, sent, body)

    hold()


@pytest.mark.parametrize(("name", "kind", "sound"), INVOKED, ids=lambda part: part if isinstance(part, str) else "")
def test_no_body_fails_the_old_operation(
    load: Callable[[str], Any], name: str, kind: str, sound: dict[str, Any]
) -> None:
    handler = load("invoke_model").handler

    @seed(20261201)
    @many
    @given(spoiled([sound]), st.booleans())
    def hold(body: Any, flagged: bool) -> None:
        headers: dict[str, Any] = {"type": kind, "messages_api": str(flagged)}
        answer = handler(event("/invoke_model", body, query={"model_id": name}, **headers), context())
        must_not_fail(answer["statusCode"], answer["body"].encode(), body)

    hold()


@pytest.mark.parametrize(("name", "kind", "sound"), INVOKED, ids=lambda part: part if isinstance(part, str) else "")
def test_no_body_fails_a_quote(load: Callable[[str], Any], name: str, kind: str, sound: dict[str, Any]) -> None:
    handler = load("report_usage").handler

    @seed(20261201)
    @many
    @given(spoiled([sound]), st.booleans())
    def hold(body: Any, flagged: bool) -> None:
        headers: dict[str, Any] = {"type": kind, "messages_api": str(flagged)}
        answer = handler(event("/quote", body, query={"model_id": name}, **headers), context())
        must_not_fail(answer["statusCode"], answer["body"].encode(), body)

    hold()


BUDGET = {"monthly_usd": "10.00", "hard": True, "thresholds": [50, 80]}
ADMIN: dict[tuple[str, str], dict[str, Any]] = {
    ("PUT", "/admin/tenants/acme"): {
        "name": "Acme", "cost_centres": ["research", "ops"], "suspended": False, "allowed_models": ["anthropic.*"],
        "allowed_model_arns": ["arn:aws:bedrock:*"], "allowed_operations": ["text"], "max_output_tokens": 9,
        "tokens_per_minute": 1000, "concurrent_invocations": 2, "budget": BUDGET, "cost_centre_budgets": {"ops": BUDGET},
        "budget_shards": 1, "unpriced": "allow", "idempotency_seconds": 60, "guardrail": {"id": "gr1", "version": "1"},
        "s3_buckets": ["bucket"],
    },
    ("POST", "/admin/tenants/acme/keys"): {"label": "k", "expires_at": "2099-01-01T00:00:00Z"},
    ("POST", "/admin/tenants/acme/keys/key_1/rotate"): {"overlap_seconds": 60},
    ("POST", "/admin/decoys"): {"label": "the wiki"},
}  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_no_body_fails_an_operator_s_operation(load: Callable[[str], Any], method: str, path: str) -> None:
    sound = ADMIN[method, path]
    admin = Admin(load("manage_tenants"))
    assert admin("PUT", "/admin/tenants/acme", ADMIN["PUT", "/admin/tenants/acme"])[0] == 201
    path = path.replace("key_1", admin("POST", "/admin/tenants/acme/keys", {})[1]["key_id"])
    assert admin(method, path, sound)[0] in (200, 201)
    reached: set[int] = set()

    @seed(20261201)
    @many
    @given(spoiled([sound]))
    def hold(body: Any) -> None:
        status, answer = admin(method, path, body)
        must_not_fail(status, json.dumps(answer).encode(), body)
        reached.add(status)

    hold()
    assert 400 in reached


# ------------------------------------------------------------------------------------------------- bodies that are none
def deep(levels: int) -> bytes:
    return b'{"model":"m","inputs":' + b"[" * levels + b"]" * levels + b"}"


NO_BODIES = {
    "no JSON": b"{", "nothing": b"", "no object": b"[]", "a number": b"7", "null": b"null", "text": b'"x"',
    "not UTF-8": b'{"model": "\xff"}', "UTF-16": '{"model": "m"}'.encode("utf-16"), "NaN": b'{"model": NaN}',
    "Infinity": b'{"a": -Infinity}', "too large": b'{"a": 1e999}', "too long": b'{"a": ' + b"9" * 5000 + b"}",
    "half a pair": b'{"model": "\\ud800"}', "450 levels": deep(450), "1000 levels": deep(1000), "10000 levels": deep(10_000),
    "unbalanced": b'{"a":' * 10_000,
}  # fmt: skip


@pytest.mark.parametrize("path", ["/stream_model", *STREAMED])
def test_what_is_no_json_is_400(app: Any, models: FakeModels, path: str) -> None:
    for name, sent in NO_BODIES.items():
        assert ask(app, path, sent, query=f"model_id={HAIKU}")[0] == 400, name
    assert models.ledger.after() == []


@pytest.mark.parametrize(
    ("function", "path", "method"),
    [
        ("invoke_model", "/invoke_model", "POST"),
        ("report_usage", "/quote", "POST"),
        ("manage_tenants", "/admin/tenants/acme", "PUT"),
    ],
)
def test_what_is_no_json_is_400_of_buffered_functions_too(
    load: Callable[[str], Any], function: str, path: str, method: str
) -> None:
    handler = load(function).handler
    for name, sent in NO_BODIES.items():
        for packed in (True, False):
            text = base64.b64encode(sent).decode() if packed else sent.decode(errors="replace")
            asked = event(path, text, query={"model_id": HAIKU}) | {"httpMethod": method, "isBase64Encoded": packed}
            if function == "manage_tenants":  # API Gateway verified a signature, and no authorizer ran
                signed = json.loads((ROOT / "events/manage_tenants/put_tenant.json").read_text())["requestContext"]
                asked["requestContext"] = signed | {"requestId": asked["requestContext"]["requestId"]}
            status = handler(asked, context())["statusCode"]
            # An operator may leave a body out: it is an empty object then.
            assert status == 400 or (method == "PUT" and sent == b"" and status in (200, 201)), name


def test_what_is_nearly_too_deep_is_read(app: Any, models: FakeModels) -> None:
    schema: Any = {"type": "string"}
    for _ in range((MOST_LEVELS - 12) // 2):
        schema = {"type": "object", "properties": {"x": schema}}
    body = {**CHAT, "model": HAIKU, "tools": [{"type": "function", "function": {"name": "get", "parameters": schema}}]}
    body.pop("response_format")
    status, sent, _ = ask(app, "/v1/chat/completions", body)
    assert status == 200, sent


def test_of_two_members_of_one_name_the_last_counts_here_and_for_the_model(app: Any, models: FakeModels) -> None:
    sent = b'{"model": "nobody.x", "model": "%s", "messages": [{"role": "user", "content": "hi"}]}' % HAIKU.encode()
    assert ask(app, "/v1/chat/completions", sent)[0] == 200
    assert models.ledger.after()[-1]["model_id"] == HAIKU


# ------------------------------------------------------------------------------------------------- headers and queries
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", f"/model/{HAIKU}/converse"])
def test_a_cost_centre_may_be_named_with_a_hyphen(app: Any, path: str) -> None:
    body: Any = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    if path.startswith("/v1"):
        body = {"model": HAIKU, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
    record = {"cost_centres": ["research", "ops"]}
    assert ask(app, path, body, record, team_id="ops")[0] == 200
    assert ask(app, path, body, record, team_id="nobody")[0] == 403


def test_both_spellings_of_a_header_are_read_and_may_not_disagree(load: Callable[[str], Any]) -> None:
    handler = load("invoke_model").handler

    def status(**headers: str) -> int:
        named = event("/invoke_model", {"inputs": "hi"}, query={"model_id": HAIKU})
        named["headers"] |= {name.replace("__", "-"): text for name, text in headers.items()}
        return int(handler(named, context())["statusCode"])

    assert status(team__id="ops") == 200
    assert status(team__id="nobody") == 403
    assert status(team__id="ops", team_id="ops") == 200
    assert status(team__id="ops", team_id="research") == 400
    assert status(messages__api="true", messages_api="false") == 400
    for path in ("/quote",):
        asked = event(path, {"inputs": "hi"}, query={"model_id": HAIKU})
        asked["headers"]["team-id"] = "nobody"
        assert load("report_usage").handler(asked, context())["statusCode"] == 403


@pytest.mark.parametrize(
    "query",
    [
        {"end": "9999-12-31"}, {"start": "9999-12-30", "end": "9999-12-31T00:00:00Z"}, {"start": "0001-01-01"},
        {"start": "0001-01-01T00:00:00+14:00"}, {"end": "9999-12-31T23:59:59-14:00"}, {"start": "2026-13-01"},
        {"start": "x" * 10}, {"start": "2026-11-01", "end": "2026-10-01"}, {"group_by": "colour"}, {"strat": "2026-11-01"},
        {"start": "9999-01-01", "end": "9999-01-02"}, {"start": "\uff12026-11-01"}, {"start": ""},
    ],
    ids=str,
)  # fmt: skip
def test_a_report_that_cannot_be_is_400(load: Callable[[str], Any], query: dict[str, str]) -> None:
    answer = load("report_usage").handler(event("/usage", query=query), context())
    assert answer["statusCode"] == 400, answer["body"]
    unknown = [name for name in query if name not in ("start", "end", "group_by")]
    assert all(name in json.loads(answer["body"])["message"] for name in unknown)


@pytest.mark.parametrize(
    "name",
    [f"{HAIKU}\n", f"{HAIKU}/../x", "anthropic.x/../../model", "anthropic.\u0661", "anthropic.x\r", f" {HAIKU}", f"{HAIKU}\u0000"],
    ids=repr,
)  # fmt: skip
def test_no_name_passes_a_wildcard_by_what_stands_behind_it(app: Any, models: FakeModels, name: str) -> None:
    record = {"allowed_models": ["anthropic.*"]}
    body = {"model": name, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
    for path in ("/v1/chat/completions", "/v1/messages"):
        assert ask(app, path, body, record)[0] in (400, 403)
    assert models.ledger.after() == []
