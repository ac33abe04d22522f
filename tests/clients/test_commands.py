"""Coding agents: the real API accepts their requests, and the real commands run to their end against the gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from scripts.dev.stack import LocalStack
from scripts.project.environments import NotSetUp, has_node
from tests.e2e.test_sdks import metered

from .commands import claude, codex, installed
from .matrix import MODELS
from .playing import INPUTS, Players, apart

AGENTS = Path(__file__).parents[1] / "data/agents"
NEWEST = "us.anthropic.claude-opus-4-8"
SENT = [
    ("codex", MODELS["Claude"]),
    ("codex", MODELS["Nova"]),
    ("claude_code", NEWEST),
    ("claude_code_account", MODELS["Claude"]),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("agents")) as running:
        yield running


@pytest.fixture(scope="module")
def commands() -> None:
    if not has_node():
        pytest.skip("There is no Node 20.19, or 22.12 or newer, here: the coding agents were not run.")
    try:
        installed()
    except NotSetUp as why:
        pytest.skip(f"The coding agents were not run: {why}")


def ended(stream: str) -> dict[str, Any]:
    """The last event of a server-sent stream that says anything."""
    data = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: {")]
    event: dict[str, Any] = json.loads(data[-1])
    return event


@pytest.mark.parametrize(("agent", "model"), SENT)
def test_what_an_agent_sends_is_answered(stack: LocalStack, agent: str, model: str) -> None:
    sent = json.loads((AGENTS / f"{agent}.json").read_text())
    answer = requests.post(
        stack.url + sent["path"],
        json=sent["body"] | {"model": model},
        headers=sent["headers"] | {"authorization": f"Bearer {stack.tenants[0]['key']}"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    assert ended(answer.text)["type"] in ("response.completed", "message_stop")


def tenant(stack: LocalStack, name: str) -> str:
    """The key of a new tenant."""
    key: str = Players(stack).key_of(name)
    return key


def used(stack: LocalStack, key: str) -> tuple[int, int]:
    """Tokens in, cached ones too, and out, as `/usage` reports them."""
    totals = requests.get(f"{stack.url}/usage", headers={"x-api-key": key}, timeout=30).json()["totals"]
    return sum(int(totals[name]) for name in INPUTS), int(totals["output_tokens"])


def test_codex_gets_through_a_turn_with_a_tool(stack: LocalStack, commands: None, tmp_path: Path) -> None:
    key = tenant(stack, "codex")
    events = codex("Which command prints 'hello'?", stack.url, key, apart(stack, tmp_path / "home"), tmp_path / "work")
    assert events[-1]["type"] == "turn.completed", events
    items: list[Any] = [event["item"] for event in events if event["type"] == "item.completed"]
    assert "command_execution" in [item["type"] for item in items]
    assert "answers" in items[-1]["text"]
    usage: Any = events[-1]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == used(stack, key)


@pytest.mark.parametrize("model", [MODELS["Claude"], NEWEST])
def test_claude_code_gets_through_turns_with_a_tool(
    stack: LocalStack, commands: None, tmp_path: Path, model: str
) -> None:
    key, alone = tenant(stack, f"claude-code-{model}"), apart(stack, tmp_path / "home")
    messages = claude("Say hello.", model, stack.url, key, alone, tmp_path / "work")
    assert (messages[-1]["subtype"], messages[-1]["is_error"]) == ("success", False), messages[-1]
    said: Any = messages[-1]["modelUsage"]
    inputs = ("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
    assert (sum(said[model][name] for name in inputs), said[model]["outputTokens"]) == used(stack, key)
    # The prompt asks for the tool at every turn, so it is the limit that ends them.
    loop = claude("[[tool=Read]]", model, stack.url, key, alone, tmp_path / "work", "--max-turns", "2")
    assert loop[-1]["subtype"] == "error_max_turns", loop[-1]
    assert len([message for message in loop if message["type"] == "user"]) == 2


def test_no_call_of_an_agent_stays_open(stack: LocalStack) -> None:
    assert {row["outcome"] for row in metered(stack)} == {"succeeded"}
