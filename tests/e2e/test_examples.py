"""Each example of examples/ runs unchanged against the whole gateway, and prints the promised output.

tests/e2e/test_clients.py runs the example of the generated client.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest

from scripts.dev.stack import LocalStack
from scripts.project.template import ROOT

from .sdk_environment import python, run, set_up_sdks

EXAMPLES = ROOT / "examples"
SPOKEN = r"\S*claude\S* answers [0-9a-f]{8} after \d+ tokens\. .+"
CHAT = (rf"answer: {SPOKEN}", rf"stream: {SPOKEN}", r"usage: \d+ tokens in, \d+ out")
PRINTED = {
    "requests_old_calls.py": (
        *(f"{what}: {SPOKEN}" for what in ("answer", "polled", "stream")),
        r"vectors: 2 of \d+ numbers",
        r"usage: 24 tokens out, 0\.00003125 USD",
    ),
    "openai_sdk.py": (*CHAT, r"usage: \d+ tokens", rf"response: {SPOKEN}", r"vectors: 2 of 1024 numbers"),
    "anthropic_sdk.py": (*CHAT, r"count: \d+ tokens in"),
    "boto3_sdk.py": (*CHAT, r"usage: \d+ tokens"),
    "langchain_chat.py": (*CHAT, r"tool: get_weather says Sunny in Oslo\."),
    "curl.sh": (
        rf'\[{{"generated_text":"{SPOKEN}"}}\]',
        r"data: \[DONE\]",
        r'{.*"outputTokens": \d+.*}',
        r'{"tenant_id":"demo-research".*"cost":"0\.\d+".*}',
    ),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    set_up_sdks()
    with LocalStack(tmp_path_factory.mktemp("examples")) as running:
        yield running


def printed_by(example: str, url: str, stack: LocalStack) -> str:
    told = {"GATEWAY_URL": url, "GATEWAY_KEY": stack.tenants[0]["key"], "AWS_CA_BUNDLE": str(stack.ca)}
    file = str(EXAMPLES / example)
    ran = run(stack, python(file) if example.endswith(".py") else [file], told, 60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def assert_printed(text: str, patterns: Sequence[str]) -> None:
    for pattern in patterns:
        assert re.search(rf"^{pattern}$", text, re.M), f"{pattern}\n{text}"


def test_each_example_is_run_and_listed() -> None:
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")}
    assert files == {*PRINTED, "generated_client.py"}
    assert set(re.findall(r"^\| \[([\w.]+)\]", (EXAMPLES / "README.md").read_text(), re.M)) == files


@pytest.mark.parametrize("example", PRINTED)
def test_an_example_prints_what_it_promises(stack: LocalStack, example: str) -> None:
    assert_printed(printed_by(example, stack.url, stack), PRINTED[example])


def test_boto3_needs_no_more_than_the_key_over_tls(stack: LocalStack) -> None:
    assert_printed(printed_by("boto3_sdk.py", stack.tls_url, stack), PRINTED["boto3_sdk.py"])
