"""Deceptively small bodies through every surface: the hard budget covers whatever a tokenizer makes of them.

The model counts every symbol of the whole body that reached it, with documents unpacked. HOSTILE_BODIES sets the number
of bodies per surface.
"""

from __future__ import annotations

import base64
import io
import json
import os
import random
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
import requests

from gateway.tenancy.budgets import Budget
from scripts.dev.stack import LocalStack

from .test_budgets import account_of, tenant_with
from .test_every_cent import charged, served

BODIES = int(os.environ.get("HOSTILE_BODIES", "60"))
AT_ONCE = 20
CLAUDE, NOVA = "anthropic.claude-3-haiku-20240307-v1:0", "amazon.nova-pro-v1:0"
TITAN = "amazon.titan-embed-text-v2:0"
CONTEXTS = {CLAUDE: 200_000, NOVA: 300_000, TITAN: 8_192}
ANSWER = 16  # tokens
# What has been taken for nothing, or for less than it is.
ATOMS: tuple[Any, ...] = (
    [], {}, "", None, True, 0, -1, 7, 1e300, [[]], {"": ""}, {"a": []}, "\n", '"', "\\", "\u0000", "\u200b", "é", "漢", "😀",
    "\ufdfa", "a b", ",", "{}", "[]", '\\"', "\t\t", ".", "1 2 3", {"k" * 3: {"漢": 0}},
)  # fmt: skip

Body = dict[str, Any]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("hostile")) as running:
        yield running


# ----------------------------------------------------------------------------------------------- what the bodies hold
def value(dice: random.Random) -> Any:
    """A JSON value, mostly of what hides its size: one atom many times, nested, or under many keys."""
    atom, times = dice.choice(ATOMS), int(10 ** dice.uniform(0, 3.7))
    match dice.randrange(4):
        case 0:
            return [atom] * times
        case 1:
            return {dice.choice(("k", "é", "漢", "😀", '"')) + str(number): atom for number in range(times)}
        case 2:
            return [dice.choice(ATOMS) for _ in range(times)]
    nested: Any = atom
    for _ in range(min(times, 60)):
        nested = [nested, atom] if dice.random() < 0.5 else {"": nested}
    return nested


def text(dice: random.Random) -> str:
    piece = dice.choice(["漢", "😀", "\ufdfa", ".", "1 ", '"', "{}", "\\n", "word ", "é", "\u200b", "a\n"])
    return "x" + piece * int(10 ** dice.uniform(0, 3.7))


def schema(dice: random.Random) -> Any:
    return {"type": "object", "properties": {"a": {"enum": [json.dumps(value(dice))]}}, "description": text(dice)}


def docx(dice: random.Random) -> str:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", "word " * dice.randrange(100, 90_000))
    return base64.b64encode(whole.getvalue()).decode()


def pdf(dice: random.Random) -> str:
    pages = b"<< /Type /Page /Contents 1 0 R >>\n" * dice.randrange(1, 100)
    drawn = zlib.compress(b"(word) Tj " * dice.randrange(10, 900))
    return base64.b64encode(b"%PDF-1.7\n" + pages + b"stream\n" + drawn).decode()


# ---------------------------------------------------------------------------------- one body of each surface's format
def wish(model: str) -> str:
    return f"[[whole={CONTEXTS[model]}]] [[tokens_out={ANSWER}]] "


def converse(dice: random.Random) -> tuple[str, Body]:
    model = dice.choice((CLAUDE, NOVA))
    content: list[Any] = [{"text": wish(model) + text(dice)}]
    if dice.random() < 0.25:
        kind, blob = dice.choice((("docx", docx), ("pdf", pdf)))
        content.append({"document": {"format": kind, "name": "d", "source": {"bytes": blob(dice)}}})
    called = {"toolUse": {"toolUseId": "t1", "name": "find", "input": {"a": value(dice)}}}
    result = dice.choice([{"json": {"a": value(dice)}}, {"text": text(dice)}])
    messages = [
        {"role": "user", "content": content},
        {"role": "assistant", "content": [called]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [result]}}]},
    ]
    tool = {"toolSpec": {"name": "find", "description": text(dice), "inputSchema": {"json": schema(dice)}}}
    body = {"messages": messages, "toolConfig": {"tools": [tool]}, "system": [{"text": text(dice)}]}
    return f"/model/{model}/converse", body | {"inferenceConfig": {"maxTokens": ANSWER}}


def anthropic_messages(dice: random.Random) -> Body:
    called = {"type": "tool_use", "id": "t1", "name": "find", "input": {"a": value(dice)}}
    content: list[Any] = [{"type": "text", "text": wish(CLAUDE) + text(dice)}]
    if dice.random() < 0.2:
        source = {"type": "base64", "media_type": "application/pdf", "data": pdf(dice)}
        content.append({"type": "document", "source": source})
    return {
        "max_tokens": ANSWER,
        "system": text(dice),
        "messages": [
            {"role": "user", "content": content},
            {"role": "assistant", "content": [called]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": text(dice)}]},
        ],
        "tools": [{"name": "find", "description": text(dice), "input_schema": schema(dice)}],
    }


def native(dice: random.Random) -> tuple[str, Body]:
    return f"/model/{CLAUDE}/invoke", {"anthropic_version": "bedrock-2023-05-31", **anthropic_messages(dice)}


def messages(dice: random.Random) -> tuple[str, Body]:
    return "/v1/messages", {"model": CLAUDE, **anthropic_messages(dice)}


def chat(dice: random.Random) -> tuple[str, Body]:
    model = dice.choice((CLAUDE, NOVA))
    arguments = json.dumps({"a": value(dice)}, ensure_ascii=dice.random() < 0.5)
    function = {"name": "find", "description": text(dice), "parameters": schema(dice)}
    said = [
        {"role": "system", "content": text(dice)},
        {"role": "user", "content": wish(model) + text(dice)},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "find", "arguments": arguments}}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": text(dice)},
    ]
    body = {"model": model, "messages": said, "tools": [{"type": "function", "function": function}]}
    return "/v1/chat/completions", body | {"max_tokens": ANSWER}


def responses(dice: random.Random) -> tuple[str, Body]:
    model = dice.choice((CLAUDE, NOVA))
    items = [
        {"role": "user", "content": wish(model) + text(dice)},
        {"type": "function_call", "call_id": "t1", "name": "find", "arguments": json.dumps({"a": value(dice)})},
        {"type": "function_call_output", "call_id": "t1", "output": text(dice)},
    ]
    tools = [{"type": "function", "name": "find", "description": text(dice), "parameters": schema(dice)}]
    body = {"model": model, "input": items, "tools": tools, "instructions": text(dice), "store": False}
    return "/v1/responses", body | {"max_output_tokens": ANSWER}


def compat(dice: random.Random) -> tuple[str, Body]:
    model = dice.choice((CLAUDE, NOVA))
    said = wish(model) + text(dice) + json.dumps(value(dice))
    return f"/invoke_model?model_id={model}", {"inputs": said, "parameters": {"max_tokens": ANSWER}}


def embedding(dice: random.Random) -> tuple[str, Body]:
    return "/v1/embeddings", {"model": TITAN, "input": wish(TITAN) + text(dice) + json.dumps(value(dice))[:8_000]}


SCALES: dict[Callable[[random.Random], tuple[str, Body]], Decimal] = {
    embedding: Decimal("0.01"),
    compat: Decimal("0.1"),
    chat: Decimal(2),
}  # how dear a surface's bodies are


# --------------------------------------------------------------------------------------------------------- the promise
@pytest.mark.parametrize("made", [converse, native, messages, chat, responses, compat, embedding])
def test_no_body_spends_more_than_a_hard_budget(
    stack: LocalStack, made: Callable[[random.Random], tuple[str, Body]]
) -> None:
    dice = random.Random(f"{made.__name__} of 2026-11-30")
    bodies = [made(dice) for _ in range(BODIES)]
    statuses, spent, before = Counter[int](), Decimal(0), len(served(stack))
    for first in range(0, BODIES, AT_ONCE):
        # Now one call fits, now most of them do.
        limit = SCALES.get(made, Decimal(1)) * int(10 ** dice.uniform(3.3, 5.5)) / 1_000_000
        key, tenant = tenant_with(stack, f"{made.__name__}-{first}".replace("_", "-"), budget=Budget(limit, hard=True))

        def send(body: tuple[str, Body], key: str = key) -> requests.Response:
            path, asked = body
            return requests.post(f"{stack.url}{path}", headers={"x-api-key": key}, json=asked, timeout=60)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(send, bodies[first : first + AT_ONCE]))
        account = account_of(stack, tenant)
        assert account.holds == {}
        assert account.spent == account.committed <= limit
        spent += account.spent
        statuses.update(answer.status_code for answer in answers)
        assert {answer.status_code for answer in answers} <= {200, 400, 429}, [a.text[:300] for a in answers]
    assert spent == sum(map(charged, served(stack)[before:]))
    assert statuses[200] > BODIES // 8
    assert statuses[429] > BODIES // 20
