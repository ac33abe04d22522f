"""A test fails when an answer that it got does not fit openapi.yaml, whatever the test itself looks at."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.project.template import ROOT

# The real gateway, but for two functions: one lists other fields than the spec says, one breaks the events of its streams.
BROKEN = {
    "list_models": """
import json

def handler(event, context):
    headers = {"content-type": "application/json", "x-request-id": event["requestContext"]["requestId"]}
    return {"statusCode": 200, "headers": headers, "body": json.dumps({"models": []})}
""",
    "stream_model": """
async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"text/event-stream"), (b"x-request-id", b"r1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for data in (b'{"object": "chat.completion.chunk"}', b"[DONE]"):
        await send({"type": "http.response.body", "body": b"data: " + data + b"\\n\\n", "more_body": True})
    await send({"type": "http.response.body"})
""",
}
TESTS = """
import json, os, pathlib, pytest, requests
from scripts.dev.stack import LocalStack

HERE = pathlib.Path(__file__).parent

@pytest.fixture(scope="module")
def stack():
    with LocalStack(HERE / "data", template=HERE / "template.yaml") as running:
        yield running

def sent(stack, method, path, **more):
    headers = {"x-api-key": stack.tenants[0]["key"]}
    return requests.request(method, stack.url + path, headers=headers, timeout=30, **more)

def test_usage(stack):
    assert sent(stack, "GET", "/usage").status_code == 200

def test_list(stack):
    assert sent(stack, "GET", "/list_foundation_models").status_code == 200

def test_after_it(stack):
    assert sent(stack, "GET", "/budget").status_code == 200

def test_stream(stack):
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    assert sent(stack, "POST", "/v1/chat/completions", json=body).text.endswith("[DONE]\\n\\n")

def test_refusal(stack):
    assert sent(stack, "POST", "/quote?model_id=m", json={"inputs": 7}).status_code == 400
    assert sent(stack, "GET", "/nowhere").status_code == 403
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest prints of `TESTS` against a gateway with broken functions."""
    folder: Path = tmp_path_factory.mktemp("broken")
    for name in ("openapi.yaml", "layers", "templates", "scripts", "functions/*"):
        for found in ROOT.glob(name):
            place = folder / found.relative_to(ROOT)
            place.parent.mkdir(exist_ok=True)
            if found.name not in BROKEN:
                place.symlink_to(found)
    (folder / "template.yaml").write_bytes((ROOT / "template.yaml").read_bytes())
    for name, code in BROKEN.items():
        place = folder / "functions" / name
        place.mkdir()
        for found in (ROOT / "functions" / name).iterdir():
            if found.name != "app.py":
                (place / found.name).symlink_to(found)
        (place / "app.py").write_text(code)
    (folder / "test_broken.py").write_text(TESTS)
    options = ["-p", "tests.judged", "-p", "no:cacheprovider", "-rfE", "-c", str(ROOT / "pyproject.toml")]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", str(folder), str(folder / "test_broken.py")],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "layers/gateway"), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return run.stdout + run.stderr


def test_an_answer_that_does_not_fit_fails_its_test_and_no_other(printed: str) -> None:
    assert set(re.findall(r"^(?:FAILED|ERROR) \S+::(\w+)", printed, re.MULTILINE)) == {"test_list", "test_stream"}, (
        printed
    )
    assert "2 failed, 3 passed" in printed


def test_the_failure_says_which_answer_and_where_and_nothing_of_it(printed: str) -> None:
    assert re.search(r"GET /list_foundation_models 200 of [\w-]+: InvalidSchemaValue \$", printed), printed
    assert re.search(r"POST /v1/chat/completions 200 of [\w-]+: event 0 ChatCompletionChunk \$ required", printed), (
        printed
    )
    assert '"models": []' not in printed


def test_it_is_counted_how_many_were_judged(printed: str) -> None:
    """Of five operations; the answer to a path that leads nowhere has no schema."""
    assert "5 answers of local stacks were judged by openapi.yaml" in printed
