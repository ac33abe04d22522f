"""The published AWS SDK for JavaScript, which uses HTTP/2 for Bedrock, at both ports of the local stack."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from scripts.dev.stack import LocalStack
from scripts.project.environments import has_node, set_up_node

from .processes import eventually
from .sdk_environment import ROOT, SUITES, run
from .test_sdks import metered

HOME = SUITES / "node"
NO_NODE = "There is no Node 20.19, or 22.12 or newer, here: the AWS SDK for JavaScript was not run."


@pytest.fixture(scope="module")
def installed() -> Path:
    """The folder with the SDK and the program that uses it."""
    if not has_node():
        print(NO_NODE, file=sys.stderr)
        pytest.skip(NO_NODE)
    folder = ROOT / "build/sdks/node"
    set_up_node(HOME, folder)
    shutil.copyfile(HOME / "walk.mjs", folder / "walk.mjs")
    return folder


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("javascript")) as running:
        yield running


def walked(stack: LocalStack, installed: Path, url: str) -> dict[str, Any]:
    told = {
        "GATEWAY_URL": url,
        "AWS_BEARER_TOKEN_BEDROCK": stack.tenants[0]["key"],
        "NODE_EXTRA_CA_CERTS": str(stack.ca),
    }
    ran = run(stack, ["node", str(installed / "walk.mjs")], told, 120)
    assert ran.returncode == 0, ran.stderr
    met: dict[str, Any] = json.loads(ran.stdout)
    return met


@pytest.mark.parametrize("port", ["plain", "TLS"])
def test_every_operation_works_by_http_2(stack: LocalStack, installed: Path, port: str) -> None:
    url = stack.url if port == "plain" else stack.tls_url.replace("127.0.0.1", "localhost")
    met = walked(stack, installed, url)
    assert met["protocol"] == "h2"
    for name in ("converse", "converseStream", "invoke", "invokeStream", "after"):
        assert met[name]["text"], name
    assert met["converse"]["usage"]["outputTokens"] > 0
    assert met["converseStream"]["usage"] == met["converse"]["usage"]
    assert met["many"] == 20
    assert met["large"] > 1000
    assert met["refused"]["status"] in (400, 404)
    assert met["leftEarly"]["usage"] is None, "it left before the counts came"


def test_what_it_used_is_what_the_models_served_and_who_hung_up_pays_in_full(stack: LocalStack) -> None:
    """By HTTP/2 a client hangs up by resetting its stream; the gateway reads on."""

    def settled() -> Any:
        rows = metered(stack)
        return all(row["outcome"] != "open" for row in rows) and rows

    rows = eventually(settled, 15)
    records = requests.get(f"{stack.model_stand_in_url}/_ledger", timeout=30).json()["records"]
    billed = sorted((r["request_metadata"]["request_id"], r["output_tokens"]) for r in records if r["billed"])
    assert len(billed) == 2 * 27
    succeeded = [row for row in rows if row["outcome"] == "succeeded"]
    assert sorted((row["request_id"], int(row["output_tokens"])) for row in succeeded) == billed
    assert sum(int(row["output_tokens"]) == 40 for row in succeeded) == 2, "the two that were given up"


def test_plain_curl_speaks_it_too(stack: LocalStack) -> None:
    if not (curl := shutil.which("curl")):
        pytest.skip("there is no curl here")
    if "HTTP2" not in subprocess.run([curl, "--version"], capture_output=True, text=True, check=False).stdout:
        pytest.skip("this curl has no HTTP/2")
    for how, url in ((["--http2-prior-knowledge"], stack.url), (["--http2", "--cacert", str(stack.ca)], stack.tls_url)):
        asked = ["-s", *how, "-w", "\n%{http_version}", "-H", f"x-api-key: {stack.tenants[0]['key']}"]
        command = [curl, *asked, f"{url}/list_foundation_models"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        body, _, version = ran.stdout.rpartition("\n")
        assert (version, "modelSummaries" in body) == ("2", True), ran
