"""After a thousand mixed calls, some failing, submitted or never polled, the lake matches the models' ledger."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
import requests

from gateway.pricing.price_csv import price_book
from gateway.usage.records import TokenUsage
from scripts.dev.stack import LocalStack
from scripts.operate.costs import aggregate

from .test_old_tenants import PNG, OldClient

CALLS = 1000
COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "images",
)
FAILURES = ("[[throttle]]", "[[denied]]", "[[modelerror]]", "[[timeout]]", "[[unavailable]]", "[[invalid]]")


def kinds(dice: random.Random) -> tuple[str, Any, dict[str, Any]]:
    """One call as some tenant might make it: model, body, headers."""
    text = f"question {dice.randrange(10**6)} " * dice.randrange(1, 40)
    if dice.random() < 0.12:
        text += dice.choice(FAILURES)
    model = dice.choice([
        "amazon.titan-text-express-v1", "anthropic.claude-v2", "anthropic.claude-3-haiku-20240307-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "mistral.mistral-7b-instruct-v0:2", "cohere.command-text-v14",
        "meta.llama3-8b-instruct-v1:0", "ai21.jamba-instruct-v1:0", "amazon.nova-lite-v1:0",
    ])  # fmt: skip
    roll = dice.random()
    if roll < 0.08:
        return "amazon.titan-embed-text-v1", {"inputs": [text, text + "2"]}, {"type": "embeddings"}
    if roll < 0.14:
        return "cohere.embed-english-v3", {"inputs": text}, {"type": "embeddings"}
    if roll < 0.18:
        return "amazon.titan-embed-image-v1", {"inputs": PNG}, {"type": "embeddings-image"}
    if roll < 0.22:
        config = {"numberOfImages": dice.randrange(1, 4), "width": 512, "height": 512}
        return "amazon.titan-image-generator-v1", {
            "textToImageParams": {"text": text}, "parameters": {"taskType": "TEXT_IMAGE", "imageGenerationConfig": config}
        }, {"type": "image"}  # fmt: skip
    if roll < 0.4:
        content = [{"text": "stable prefix " * 80}, {"cachePoint": {"type": "default"}}, {"text": text}]
        return (
            "anthropic.claude-3-5-sonnet-20241022-v2:0",
            {"inputs": [{"role": "user", "content": content}]},
            {"messages_api": "true"},
        )
    headers = {"streaming": "true"} if dice.random() < 0.25 else {}
    return model, {"inputs": text}, headers


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("cents")) as running:
        yield running


def served(stack: LocalStack) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = requests.get(f"{stack.model_stand_in_url}/_ledger", timeout=30).json()["records"]
    return [record for record in records if record["operation"] not in ("ListFoundationModels", "CountTokens")]


def aggregated(stack: LocalStack) -> list[dict[str, Any]]:
    aggregate(stack, datetime.now(UTC), alone=False)
    return usage_rows(stack.lake)


def usage_rows(lake: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ds.dataset(lake / "usage", format="parquet").to_table().to_pylist()
    return rows


def charged(record: dict[str, Any]) -> Decimal:
    """The price-book cost of a served call; nothing if the service does not bill it."""
    if not record["billed"]:
        return Decimal(0)
    names = (*COUNTS, "image_class", "input_images", "service_tier")
    usage = TokenUsage(**{name: record[name] for name in names if record.get(name)})
    if record["images"]:  # image models are priced by the picture
        usage = TokenUsage(images=record["images"], image_class=record["image_class"])
    charge = price_book().charge(record["model_id"], "us-east-1", usage, datetime.now(UTC))
    assert charge is not None, record["model_id"]
    return charge.cost


def test_tokens_and_money_equal_what_the_models_served(stack: LocalStack) -> None:
    dice = random.Random(20261124)
    clients = [OldClient(stack, 0), OldClient(stack, 1)]
    plan = [(clients[dice.randrange(2)], *kinds(dice)) for _ in range(CALLS)]

    def make(call: tuple[OldClient, str, Any, dict[str, Any]]) -> Any:
        client, model, body, headers = call
        answer = client.post(body, model, **headers)
        assert answer.status_code < 500 or answer.status_code in (503,), answer.text
        return answer

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(make, plan))
    assert len(os.listdir("/dev/fd")) < 200, "answers that are kept keep no connection"
    submitted = [(c[0], a.json()[0]["request_id"]) for c, a in zip(plan, answers, strict=True) if c[3].get("streaming")]
    for client, request_id in submitted[::2]:  # the others are never polled
        client.polled(request_id)
    deadline = time.monotonic() + 60
    rows = aggregated(stack)
    while any(row["outcome"] == "open" for row in rows) and time.monotonic() < deadline:
        time.sleep(1)
        rows = aggregated(stack)
    ledger = served(stack)
    assert len(ledger) > CALLS * 0.9
    assert len(rows) == len(ledger)
    assert len({(row["request_id"], row["attempt"]) for row in rows}) == len(rows)
    for name in COUNTS:
        theirs = sum(
            record[name] for record in ledger if record["billed"] and not (record["images"] and name != "images")
        )
        assert sum(row[name] for row in rows) == theirs, name
    assert sum(row["cost"] for row in rows) == sum(map(charged, ledger))
    by_model = Counter[str]()
    for row in rows:
        by_model[row["model_id"]] += row["cost"]
    for record in ledger:
        by_model[record["model_id"]] -= charged(record)  # type: ignore[assignment]
    assert not any(by_model.values())
    costs = ds.dataset(stack.lake / "costs", format="parquet").to_table().to_pylist()
    assert sum(line["cost"] for line in costs) == sum(row["cost"] for row in rows)
    assert {line["cost_centre"] for line in costs} == {"research", "marketing"}


def test_killing_the_gateway_in_the_middle_loses_no_row(tmp_path: Path) -> None:
    with LocalStack(tmp_path / "killed") as stack:
        client = OldClient(stack)

        def make(number: int) -> int:
            try:
                return int(
                    client.post({"inputs": f"[[delay=0.2]] {number}"}, "amazon.titan-text-express-v1").status_code
                )
            except requests.RequestException:
                return 0

        with ThreadPoolExecutor(10) as pool:
            answers = [pool.submit(make, number) for number in range(100)]
            while len(served(stack)) < 40:
                time.sleep(0.01)
            before = served(stack)
            stack.kill_gateway()
            answered = [answer.result() for answer in answers].count(200)
        assert 0 < answered < 100
        stack.restart()
        rows = aggregated(stack)
        ledger = served(stack)
    assert len(ledger) >= len(before)
    assert len(rows) >= len(ledger) >= answered
    assert [row["outcome"] for row in rows].count("succeeded") >= answered
