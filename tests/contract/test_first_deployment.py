"""The runbook of the first deployment: AWS, SAM, `gateway` and the API have all of its commands."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from scripts.operate.verify import verification as verify
from scripts.project.template import ROOT, load
from tests.command_line import parsed

from .contract import OPERATIONS

PAGE = ROOT / "docs/run/first-deployment.md"
TEXT = PAGE.read_text()
SECTIONS = {int(number): text for number, text in re.findall(r"^## (\d+)\. (.*?)(?=^## |\Z)", TEXT, re.M | re.S)}
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TEXT, re.M | re.S)
# Of the AWS CLI itself, not of a service. Its `s3 ls` and `rm` are no operations either.
GLOBAL = {"--query", "--output", "--region"}
SHORT = {"--recursive"}


def commands() -> Iterator[list[str]]:
    """Each simple command of the blocks, split into words; a `$(…)` is a separate command."""
    for block in BLOCKS:
        for inner in re.findall(r"\$\(([^()]*(?:\([^()]*\)[^()]*)*)\)", block):
            yield shlex.split(inner)
        for line in block.splitlines():
            for part in re.split(r"; (?:do )?|&& ", re.sub(r"^output\(\) \{ (.*); \}$", r"\1", line)):
                words = shlex.split(re.sub(r"\$\(([^()]*(?:\([^()]*\)[^()]*)*)\)", "VALUE", part))
                while words and re.match(r"^\w+=", words[0]):
                    words = words[1:]
                if words:
                    yield words


COMMANDS = list(commands())


def of(name: str) -> list[list[str]]:
    found = [words for words in COMMANDS if words[0] == name]
    assert found
    return found


def test_the_page_is_one_question_in_15_steps_and_no_more() -> None:
    assert TEXT.startswith("# How ")
    assert TEXT.splitlines()[0].endswith("?")
    assert len(TEXT.splitlines()) <= 250
    assert list(SECTIONS) == list(range(1, 16))
    for number, text in SECTIONS.items():
        assert "**Proves**:" in text, number
        assert "**Expect**:" in text, number
        assert "```sh" in text, number


def test_every_step_of_the_command_is_told_where_its_number_is() -> None:
    for step in verify.STEPS:
        told = "By hand" if step.ask is verify.by_hand else f"`{step.name}`"
        assert told in SECTIONS[step.number], step.name


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_what_a_shell_reads(block: str) -> None:
    done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize("words", of("aws"), ids=lambda words: " ".join(words[1:3]))
def test_aws_has_the_operation_and_its_parameters(words: list[str]) -> None:
    service, operation, *rest = words[1:]
    named = {word for word in rest if word.startswith("--")}
    if service == "s3":
        assert operation in {"ls", "rm"}
        assert named <= SHORT
        return
    model = botocore.session.get_session().get_service_model(service)
    by_name = {xform_name(name, "-"): name for name in model.operation_names}
    members = model.operation_model(by_name[operation]).input_shape
    taken = {f"--{xform_name(member, '-')}" for member in (members.members if members else ())}
    assert named - GLOBAL <= taken, named - GLOBAL - taken


def test_the_operators_command_takes_what_is_said() -> None:
    named = {parsed(words[1:]).command_path for words in of(".venv/bin/gateway")}
    assert named == {"gateway verify-deployment", "gateway tenants add"}


def test_sam_is_given_parameters_that_the_templates_have() -> None:
    configured = set(re.findall(r"^\[([\w-]+)\.deploy", (ROOT / "samconfig.toml").read_text(), re.M))
    for words in of("sam"):
        if "--config-env" in words:
            assert words[words.index("--config-env") + 1] in configured
        if "--parameter-overrides" not in words:
            continue
        template = words[words.index("--template-file") + 1] if "--template-file" in words else "template.yaml"
        parameters = load(ROOT / template)["Parameters"]
        for said in words[words.index("--parameter-overrides") + 1 :]:
            name, _, value = said.partition("=")
            declared = parameters[name]
            assert value in declared.get("AllowedValues", [value]), said
            if name == "ModelRoutes":
                assert list(read_by_sam(said)) == ["fast"]


def read_by_sam(said: str) -> dict[str, Any]:
    """JSON in a parameter, as SAM CLI passes it on."""
    from samcli.cli.types import CfnParameterOverridesType

    (value,) = CfnParameterOverridesType().convert([said], None, None).values()
    found: dict[str, Any] = json.loads(value)
    return found


def test_curl_asks_what_the_api_has_with_bodies_that_are_json() -> None:
    known = {operation.path for operation in OPERATIONS}
    for words in of("curl"):
        (url,) = [word for word in words if word.startswith("VALUE/")]
        assert url.removeprefix("VALUE").partition("?")[0] in known
        if "-d" in words:
            json.loads(words[words.index("-d") + 1])


def test_outputs_and_alarms_are_the_stacks() -> None:
    template = load(ROOT / "template.yaml")
    asked = set(re.findall(r"\$\(output (\w+)\)", TEXT))
    assert asked
    assert asked <= template["Outputs"].keys()
    assert set(re.findall(r"`(\w+Alarm)`", TEXT)) <= template["Resources"].keys()
    assert len(OPERATIONS) == 54  # as steps 2 and 3 say: 34 of tenants, 20 of operators
    admin = [operation for operation in OPERATIONS if operation.path.startswith("/admin")]
    assert len(admin) == 20
