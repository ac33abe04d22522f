"""No request has more input tokens than its budget held, whatever its body looks like."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.calls.call import ModelCall
from gateway.calls.catalog import Catalog
from gateway.calls.token_bounds import ANY_MODEL, Reader, input_bound, reader_of
from gateway.formats.anthropic.messages import converse_body, read_messages
from gateway.formats.bedrock import read_converse, read_invoke
from gateway.formats.legacy.requests import LegacyRequest
from gateway.formats.openai.chat import read_chat
from gateway.formats.openai.responses import read_response
from tests.fakes import translated

CLAUDE, NOVA, LLAMA, GPT = (
    "anthropic.claude-3-haiku-20240307-v1:0", "amazon.nova-pro-v1:0", "meta.llama3-70b-instruct-v1:0",
    "openai.gpt-oss-120b-1:0",
)  # fmt: skip
WIDE = Reader(10**12, 12_000)


def tokens(value: Any) -> int:
    """An upper bound of a JSON value's tokens: one per word, per symbol, and per byte of any other character.

    It shares no code with the bound.
    """
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    found = re.findall(r"[A-Za-z]+|\s+|.", text, re.DOTALL)
    return sum(len(piece.encode(errors="surrogatepass")) if not piece.isascii() else 1 for piece in found)


def bound_of(call: ModelCall) -> int:
    return call.bound.usage.input_tokens


def converse(content: Any, model: str = CLAUDE, arn: str | None = None, **more: Any) -> ModelCall:
    body = {"messages": [{"role": "user", "content": content}], **more}
    return read_converse(Catalog({}).find(model, arn), body, streaming=False)


def invoke(body: Any, model: str = CLAUDE) -> ModelCall:
    return read_invoke(Catalog({}).find(model), body, {}, streaming=False)


# ------------------------------------------------------------------------------------------------------ what hides text
EMPTY: list[Any] = [[], "", {}, None, 0, -1, [[]], {"": ""}, "\n", '"', "\\", "\u0000", 1e300, True]


@pytest.mark.parametrize("part", EMPTY, ids=repr)
@pytest.mark.parametrize(
    "body",
    [
        lambda many: converse([{"toolResult": {"toolUseId": "1", "content": [{"json": {"many": many}}]}}]),
        lambda many: converse([{"toolUse": {"toolUseId": "1", "name": "t", "input": {"many": many}}}]),
        lambda many: converse(
            [{"text": "x"}], toolConfig={"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"enum": many}}}}]}
        ),
        lambda many: invoke({"messages": [], "max_tokens": 1, "tools": [{"name": "t", "input_schema": {"enum": many}}]}),
        lambda many: invoke({"messages": [{"role": "user", "content": [{"type": "tool_use", "input": {"a": many}}]}]}),
        lambda many: converse([{"text": "x"}], additionalModelRequestFields={"anything": many}),
    ],
    ids=["tool result", "tool call", "schema", "native schema", "native tool call", "other fields"],
)  # fmt: skip
def test_what_looks_like_nothing_is_counted(part: Any, body: Any) -> None:
    many = [part] * 10_000
    assert bound_of(body(many)) >= min(tokens(many), 200_000) >= 10_000


@pytest.mark.parametrize("key", ["k" * 5, "é" * 5, "漢" * 5, "😀" * 5, "\ud83d"])
def test_a_key_counts_by_its_bytes(key: str) -> None:
    made = {f"{key}{number}": 0 for number in range(5_000)}
    assert bound_of(converse([{"toolUse": {"toolUseId": "1", "name": "t", "input": made}}])) >= tokens(made)


def test_a_letter_that_a_tokenizer_unfolds_counts_unfolded() -> None:
    ligature = "\ufdfa"  # one character of three bytes; eighteen of thirty-three once it is normalised
    assert bound_of(converse([{"text": ligature * 1_000}])) >= 33_000


def packed_docx(words: int) -> str:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", "word " * words)
    return base64.b64encode(whole.getvalue()).decode()


PACKED_PDF = base64.b64encode(b"%PDF-1.7\n" + zlib.compress(b"(word) Tj " * 20_000)).decode()
CONTEXT = reader_of(CLAUDE).context


@pytest.mark.parametrize(
    "content",
    [
        {"document": {"format": "docx", "name": "d", "source": {"bytes": packed_docx(200_000)}}},
        {"document": {"format": "xlsx", "name": "d", "source": {"bytes": packed_docx(200_000)}}},
        {"document": {"format": "pdf", "name": "d", "source": {"bytes": PACKED_PDF}}},
        {"document": {"name": "d", "source": {"bytes": PACKED_PDF}}},
        {"document": {"format": "pdf", "name": "d", "source": {"bytes": PACKED_PDF, "media_type": "text/plain"}}},
        {"document": {"format": "pdf", "name": "d", "source": {"bytes": PACKED_PDF, "type": "text", "data": "x"}}},
        {"document": {"format": "pdf", "name": "d", "type": "image", "source": {"bytes": "iVBORw" + PACKED_PDF}}},
        {"type": "document", "format": "txt", "source": {"type": "base64", "data": PACKED_PDF}},
        {"document": {"format": "pdf", "name": "d", "source": {"s3Location": {"uri": "s3://b/d.pdf"}}}},
        {"document": {"format": "txt", "name": "d", "citations": {"enabled": True}, "source": {"text": "a. " * 99}}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PACKED_PDF}},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/d.pdf"}},
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64," + PACKED_PDF}},
        {"video": {"format": "mp4", "source": {"bytes": "AAAA"}}},
        {"audio": {"format": "mp3", "source": {"bytes": "AAAA"}}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"image": {"format": "png", "source": {"bytes": "bm90IGEgcGljdHVyZQ=="}}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ],
    ids=lambda content: str(content)[:40],
)  # fmt: skip
def test_what_nobody_can_measure_is_held_for_as_the_whole_context(content: Any) -> None:
    assert bound_of(converse([content])) == CONTEXT


OWN = "arn:aws:bedrock:us-east-1:123456789012:"
TITAN = "amazon.titan-text-lite-v1"


@pytest.mark.parametrize(
    "resource",
    [
        "application-inference-profile/ab12cd34ef56", "provisioned-model/ab12cd34ef56", "imported-model/ab12cd34ef56",
        "custom-model/amazon.titan-text-lite-v1:0:4k/ab12cd34ef56", "custom-model-deployment/ab12cd34ef56",
    ],
)  # fmt: skip
def test_the_model_of_an_own_arn_is_not_taken_from_its_caller(resource: str) -> None:
    own = converse([{"text": "a" * 1_000_000}], model=TITAN, arn=OWN + resource)
    assert 1_000_000 < bound_of(own) < ANY_MODEL
    assert bound_of(converse([{"text": "a" * 3_000_000}], model=TITAN, arn=OWN + resource)) == ANY_MODEL
    assert own.bound.cached  # a model nobody knows may write to its cache unasked


def test_a_model_that_is_known_is_bound_by_its_own_context() -> None:
    long, profile = [{"text": "a" * 1_000_000}], OWN + "application-inference-profile/ab12cd34ef56"
    system = OWN + "inference-profile/us.amazon.nova-micro-v1:0"
    assert bound_of(converse(long, model=TITAN)) == reader_of(TITAN).context
    assert bound_of(converse(long, model="us.amazon.nova-micro-v1:0", arn=system)) == 128_000
    resolved = Catalog({}).named(profile, lambda _: TITAN)
    call = read_converse(resolved, {"messages": [{"role": "user", "content": long}]}, streaming=False)
    assert (bound_of(call), call.bound.cached) == (reader_of(TITAN).context, False)


def test_a_video_that_a_tool_gave_back_is_held_for_as_the_whole_context() -> None:
    film = {"video": {"format": "mp4", "source": {"bytes": "AAAA"}}}
    called = {"toolUse": {"toolUseId": "1", "name": "film", "input": {}}}
    turns: list[Any] = [
        {"role": "user", "content": [{"text": "x"}]},
        {"role": "assistant", "content": [called]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": [film]}}]},
    ]
    tools = {"tools": [{"toolSpec": {"name": "film", "inputSchema": {"json": {"type": "object"}}}}]}
    body = {"messages": turns, "toolConfig": tools}
    assert bound_of(read_converse(Catalog({}).find(NOVA), body, streaming=False)) == reader_of(NOVA).context


def test_a_tool_of_the_service_reads_whatever_it_finds() -> None:
    nova, claude = {"systemTool": {"name": "nova_grounding"}}, {"type": "web_search_20250305", "name": "w"}
    assert input_bound({"toolConfig": {"tools": [nova]}}, reader_of(NOVA)) == reader_of(NOVA).context
    assert input_bound({"messages": [], "tools": [claude]}, reader_of(CLAUDE)) == CONTEXT


def test_a_tool_of_a_family_brings_its_own_prompt() -> None:
    tools = [{"type": kind, "name": kind} for kind in ("bash_20250124", "text_editor_20250728", "computer_20250124")]
    assert bound_of(invoke({"messages": [], "tools": tools})) >= 3 * 1_000


@pytest.mark.parametrize(
    ("content", "size"),
    [("plain text", 10), ("naïve".encode("latin-1"), 15), ("漢字".encode("utf-16"), 18), (b"<b>x</b>", 8)],
)
def test_a_plain_document_is_held_for_by_its_text(content: Any, size: int) -> None:
    blob = base64.b64encode(content.encode() if isinstance(content, str) else content).decode()
    held = bound_of(converse([{"document": {"format": "txt", "name": "d", "source": {"bytes": blob}}}]))
    assert size <= held < 1_000


def test_a_request_is_never_held_for_more_than_the_model_reads() -> None:
    assert bound_of(converse([{"text": "word " * 500_000}])) == CONTEXT
    assert bound_of(invoke({"prompt": "word " * 500_000}, LLAMA)) == reader_of(LLAMA).context


@pytest.mark.parametrize("model", [CLAUDE, NOVA, GPT, "a.model-that-nobody-knows"])
def test_a_picture_costs_its_size_on_screen(model: str) -> None:
    picture = {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo" + "A" * 3_000_000}}}
    assert 4_784 <= bound_of(converse([picture], model)) <= 13_000


# ----------------------------------------------------------------------------------------------------- generated bodies
words = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    ["", '"', "\\n", "\ufdfa", "{}", " "]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(words, inner, max_size=6),
    max_leaves=40,
)
objects = st.dictionaries(words, values, max_size=6)


def as_converse(text: str, value: dict[str, Any]) -> ModelCall:
    content = [
        {"text": text},
        {"toolUse": {"toolUseId": "1", "name": text, "input": value}},
        {"toolResult": {"toolUseId": "1", "content": [{"json": value}, {"text": text}]}},
    ]
    tools = {"tools": [{"toolSpec": {"name": "t", "description": text, "inputSchema": {"json": value}}}]}
    return converse(content, NOVA, system=[{"text": text}], toolConfig=tools)


def as_native(text: str, value: dict[str, Any]) -> ModelCall:
    content = [{"type": "tool_use", "id": "1", "name": text, "input": value}, {"type": "text", "text": text}]
    tools = [{"name": "t", "description": text, "input_schema": value}]
    return invoke({"system": text, "messages": [{"role": "assistant", "content": content}], "tools": tools})


def as_openai_native(text: str, value: dict[str, Any]) -> ModelCall:
    calls = [{"id": "1", "type": "function", "function": {"name": "t", "arguments": json.dumps(value)}}]
    messages = [{"role": "user", "content": text}, {"role": "assistant", "tool_calls": calls, "content": None}]
    return invoke({"messages": messages, "tools": [{"type": "function", "function": {"parameters": value}}]}, GPT)


def as_chat(text: str, value: dict[str, Any]) -> ModelCall:
    function = {"name": "t", "description": text, "parameters": {"type": "object", "properties": value}}
    calls = [{"id": "1", "type": "function", "function": {"name": "t", "arguments": json.dumps(value)}}]
    messages: list[Any] = [
        {"role": "system", "content": text},
        {"role": "user", "content": text},
        {"role": "assistant", "content": text, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "1", "content": text},
    ]
    body = {"model": NOVA, "messages": messages, "tools": [{"type": "function", "function": function}]}
    read = read_chat(body, NOVA)
    return read_converse(Catalog({}).find(NOVA), read.converse, streaming=False)


def as_response(text: str, value: dict[str, Any]) -> ModelCall:
    items: list[Any] = [
        {"role": "user", "content": text},
        {"type": "function_call", "call_id": "1", "name": "t", "arguments": json.dumps(value)},
        {"type": "function_call_output", "call_id": "1", "output": text},
    ]
    tools = [{"type": "function", "name": "t", "parameters": {"type": "object", "properties": value}}]
    read = read_response({"model": NOVA, "input": items, "tools": tools, "instructions": text, "store": False}, NOVA)
    return read_converse(Catalog({}).find(NOVA), read.converse, streaming=False)


def as_messages(text: str, value: dict[str, Any]) -> ModelCall:
    messages: list[Any] = [
        {"role": "user", "content": text},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "t", "input": value}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": text}]},
    ]
    tools = [{"name": "t", "description": text, "input_schema": {"type": "object", "properties": value}}]
    body = {"model": NOVA, "max_tokens": 1, "system": text, "messages": messages, "tools": tools}
    read = converse_body(read_messages(body), NOVA).body
    return read_converse(Catalog({}).find(NOVA), read, streaming=False)


def as_compat(text: str, value: dict[str, Any]) -> ModelCall:
    asked = {"inputs": [{"role": "user", "content": [{"text": text}, {"text": json.dumps(value)}]}]}
    (call,) = translated(LegacyRequest(asked, NOVA, None, "text", True), Catalog({})).calls
    return call


@pytest.mark.parametrize(
    "made", [as_converse, as_native, as_openai_native, as_chat, as_response, as_messages, as_compat]
)
@settings(max_examples=150, deadline=None)
@given(words, objects)
def test_no_generated_body_is_read_for_more_than_it_is_held_for(made: Any, text: str, value: dict[str, Any]) -> None:
    call = made("x" + text, value)
    read = {name: part for name, part in call.body.items() if name not in ("inferenceConfig", "max_tokens")}
    assert bound_of(call) >= tokens(read) - 2


@settings(max_examples=300, deadline=None)
@given(values)
def test_the_bound_grows_with_what_is_read(value: Any) -> None:
    assert input_bound([value, value], WIDE) >= input_bound(value, WIDE) >= tokens(value) - 4


def test_honest_text_is_held_for_by_little_more_than_its_bytes() -> None:
    prose = 'He said: "A ledger is a book of accounts."\n' * 100
    body = {"messages": [{"role": "user", "content": [{"text": prose}]}]}
    before = len(prose.encode()) + 3 * 64 + len("messages" + "role" + "user" + "content" + "text")
    assert input_bound(body) <= 1.1 * before
