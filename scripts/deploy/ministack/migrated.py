"""Migrates the 2024 sample's configuration, deploys it over the running gateway, and calls it as its clients do.

It uses the program's output unchanged: the tables as the samconfig.toml of `sam deploy`, the command for the tenant and
key as a command.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scripts.deploy.ministack.cloud import Cloud
from scripts.deploy.ministack.deployed import hold
from scripts.operate.migrate_2024 import TENANTS, migrate

ROOT = Path(__file__).parents[3]
MODEL = "amazon.titan-text-express-v1"
TEAM = "web"
# As in the sample's own file, except for one endpoint name with characters that shells and parsers interpret.
UNIT: Mapping[str, Any] = {
    "STACK_PREFIX": "retail",
    "BEDROCK_REQUIREMENTS": "boto3",
    "LANGCHAIN_REQUIREMENTS": "langchain",
    "PANDAS_REQUIREMENTS": "pandas",
    "SAGEMAKER_ENDPOINTS": "{'Llama \"8B\"': 'llama-endpoint'}",
    "VPC_CIDR": "10.10.0.0/16",
    "API_BURST_RATE": 5000,
}


def configuration(folder: Path, stack: str, more: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The arguments that make `sam deploy` use the migrated parameters for this stack, and the printed lines."""
    text, lines = migrate([UNIT], {UNIT["STACK_PREFIX"]: [TEAM]})
    (name,) = tomllib.loads(text)
    # The bucket exists, so SAM creates none. The parameters are the last table.
    text = text.replace("resolve_s3 = true", 's3_bucket = "artifacts"')
    text += "".join(f"{parameter} = {json.dumps(value)}\n" for parameter, value in more.items())
    config = folder / "samconfig.toml"
    config.write_text(f"version = 0.1\n\n{text}", encoding="utf-8")
    told = ["--config-file", str(config), "--config-env", name, "--stack-name", stack]
    return [*told, "--no-confirm-changeset", "--no-progressbar"], lines


def key_of(cloud: Cloud, lines: list[str], stack: str) -> str:
    """Create the tenant and its key in this stack with the printed command."""
    (words,) = [said for line in lines if (said := shlex.split(line, comments=True))[:2] == list(TENANTS)]
    command = [sys.executable, "-m", "scripts.operate.cli", *words[1:-1], stack]
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT / "layers/gateway"), str(ROOT)])}
    environment = os.environ | dict(cloud.environment) | paths
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    hold(done.returncode == 0, f"{shlex.join(words)} fails: {done.stderr}")
    return done.stdout.strip()


class Client:
    """Call as the sample's notebooks do: a key and a team in headers, the model in the query, JSON in the body."""

    def __init__(self, url: str, key: str):
        self._url, self._headers = url, {"x-api-key": key, "team_id": TEAM}

    def get(self, path: str) -> Any:
        return self._send(urllib.request.Request(self._url + path, headers=self._headers))

    def post(self, query: str, body: Any, **headers: str) -> Any:
        said = {"content-type": "application/json", **self._headers, **headers}
        url = f"{self._url}/invoke_model?model_id={MODEL}{query}"
        return self._send(urllib.request.Request(url, json.dumps(body).encode(), said, method="POST"))

    def _send(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                (body,) = json.load(answer)
                return body
        except urllib.error.HTTPError as error:
            hold(False, f"{request.method} {request.selector} answers {error.code} {error.read()[:500]!r}")


def call(client: Client) -> int:
    """List models, call one and submit a call; returns the number of calls that reached a model."""
    hold(bool(client.get("/list_foundation_models")["modelSummaries"]), "the list of models is empty")
    asked = {"inputs": "What is a ledger?", "parameters": {"maxTokenCount": 64, "temperature": 0.2}}
    hold(bool(client.post("", asked)["generated_text"]), "a call's response has no text")
    request_id = client.post("", asked, streaming="true")["request_id"]
    end = time.monotonic() + 30
    while "generated_text" not in client.post(f"&requestId={request_id}", {}):
        hold(time.monotonic() < end, f"{request_id} has no response after half a minute")
        time.sleep(0.3)
    return 2


def hold_migrated(
    cloud: Cloud, stack: str, folder: Path, url: str, deploy: Callable[..., None], more: Mapping[str, str]
) -> str:
    """Deploy the migrated parameters into the stack, create its tenant, and call; `more` has further parameters."""
    told, lines = configuration(folder, stack, more)
    deploy(told)
    (found,) = cloud.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    given = {said["ParameterKey"]: said["ParameterValue"] for said in found["Parameters"]}
    shape = {"Network": "functions-in-vpc", "VpcCidr": UNIT["VPC_CIDR"], "RateLimit": "10000", "BurstLimit": "5000"}
    hold(shape.items() <= given.items(), f"the stack has {given}")
    hold(json.loads(given["SageMakerEndpoints"]) == {'Llama "8B"': "llama-endpoint"}, "an endpoint's name is lost")
    tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags", ())}
    hold(tags.get("Tenant") == UNIT["STACK_PREFIX"], f"its tags are {tags}")
    calls = call(Client(url, key_of(cloud, lines, stack)))
    return f"{calls} calls of team {TEAM}"
