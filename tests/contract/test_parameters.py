"""JSON parameters: their form for SAM CLI, the template's refusals, and a function's errors for the rest."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from gateway.core.settings import SettingsError
from scripts.project.template import ROOT, Template, TemplateError, refusal
from tests.contract.contract import FUNCTIONS, TEMPLATE, import_app
from tests.contract.sam_cli import deployed

JSON = ("SageMakerEndpoints", "ModelRoutes")
DECLARED = TEMPLATE["Parameters"]
PAGE = (ROOT / "docs/run/routes-and-fallbacks.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
WRONG = {
    "what SAM CLI leaves of an unquoted value": "{",
    "a list": "[]",
    "nothing": "",
    "a literal of Python": "{'a': 'b'}",
    "what a shell leaves of it": "{a: b}",
    "quotation marks of a word processor": "{“a”: “b”}",
    "what is not closed": '{"a": "b"',
    "quotes around the whole": """'{"a": "b"}'""",
    "a quotation mark that SAM CLI bared": '{"a"b": "c"}',
}


# --------------------------------------------------------------------------------------------------- how they are said
def test_the_docs_say_json_in_a_table_as_sam_cli_hands_it_on(tmp_path: Path) -> None:
    (table,) = [text for language, text in BLOCKS if language == "toml" and "parameter_overrides]" in text]
    config = tmp_path / "samconfig.toml"
    config.write_text(f"version = 0.1\n{table}")
    told = deployed(config, "--stack-name", "gateway")["parameter_overrides"]
    assert told.keys() == set(JSON)
    for name in JSON:
        assert json.loads(told[name]), name
        assert f"{name} = '{told[name]}'" in table
        assert refusal(DECLARED[name], told[name]) is None


def test_the_readme_says_json_in_a_shell_as_sam_cli_hands_it_on() -> None:
    commands = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines()]
    (command,) = [line for line in commands if line.startswith("sam deploy --parameter-overrides")]
    told = deployed(ROOT / "samconfig.toml", *shlex.split(command)[2:])["parameter_overrides"]
    assert json.loads(told["SageMakerEndpoints"])
    assert refusal(DECLARED["SageMakerEndpoints"], told["SageMakerEndpoints"]) is None


def test_samconfig_shows_json_as_sam_cli_hands_it_on(tmp_path: Path) -> None:
    text = (ROOT / "samconfig.toml").read_text()
    assert "# [unit-c." in text
    config = tmp_path / "samconfig.toml"
    config.write_text(re.sub(r"^# (?=\[unit-c|\w+ = ')", "", text, flags=re.MULTILINE))
    told = deployed(config, "--config-env", "unit-c", "--stack-name", "unit-c")["parameter_overrides"]
    assert told.keys() == set(JSON)
    for name in JSON:
        assert json.loads(told[name]), name
        assert refusal(DECLARED[name], told[name]) is None


def test_an_unquoted_value_is_cut_by_sam_cli_and_then_refused_by_the_template() -> None:
    told = deployed(ROOT / "samconfig.toml", "--parameter-overrides", 'SageMakerEndpoints={"my-llama": "x"}')
    cut = told["parameter_overrides"]["SageMakerEndpoints"]
    assert cut == "{"
    assert "SageMakerEndpoints='{...}'" in str(refusal(DECLARED["SageMakerEndpoints"], cut))


# ------------------------------------------------------------------------------------------------- what is refused where
@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_the_template_refuses_what_is_no_json_object_and_says_how_to_quote_it(name: str, value: str) -> None:
    assert f"{name}='{{...}}'" in str(refusal(DECLARED[name], value))


@pytest.mark.parametrize("name", JSON)
def test_the_local_stack_refuses_it_in_the_same_words(name: str) -> None:
    with pytest.raises(TemplateError, match=re.escape(f"GATEWAY_PARAM_{name} must be one line of JSON")):
        Template(ROOT / "template.yaml", {f"GATEWAY_PARAM_{name}": "{"})


def test_a_route_of_every_member_is_taken() -> None:
    (said,) = [text for language, text in BLOCKS if language == "json" and '"fast"' in text and "circuit" in text]
    assert refusal(DECLARED["ModelRoutes"], " ".join(said.split())) is None


@pytest.mark.parametrize(
    "said", ['{"a":{}}', '{"a": {"model": "m"}}', '{"a": {"fallbacks": ["m", "n"]}, "b": {"retries": 1} }']
)
def test_a_route_may_end_in_any_way(said: str) -> None:
    assert refusal(DECLARED["ModelRoutes"], said) is None
    assert refusal(DECLARED["ModelRoutes"], said[:-1]) is not None


READERS = [f for f in FUNCTIONS.values() if "MODEL_ROUTES" in f.environment]


@pytest.mark.parametrize("function", READERS, ids=lambda function: str(function.logical_id))
@pytest.mark.parametrize("variable", ["MODEL_ROUTES", "SAGEMAKER_ENDPOINTS"])
@pytest.mark.parametrize("value", ["{", "[]", '{"a": 1}'])
def test_a_cold_start_names_the_variable_that_it_cannot_read(
    monkeypatch: pytest.MonkeyPatch, aws: None, function: Any, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"^{variable}"):
        import_app(function)


def test_four_functions_read_routes() -> None:
    assert len(READERS) == 4
