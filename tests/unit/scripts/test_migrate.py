"""The 2024 sample's configuration becomes parameters of the templates, and no setting is dropped silently."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.calls.catalog import Catalog
from gateway.calls.model_registry import ModelRegistry
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import TenantId, is_label
from scripts.operate.cli.gateway import main
from scripts.operate.migrate_2024 import CannotMigrate, as_parameter, migrate, name_of
from scripts.project.template import ROOT, load, refusal
from tests.command_line import parsed
from tests.contract.sam_cli import deployed

# The two ways in which a full deployment was said, in 2023 and from 2024 on, and the two of an API key alone.
FULL: dict[str, Any] = {
    "STACK_PREFIX": "retail-1",
    "BEDROCK_REQUIREMENTS": "boto3>=1.35.38",
    "LANGCHAIN_REQUIREMENTS": "langchain",
    "PANDAS_REQUIREMENTS": "pandas",
    "SAGEMAKER_ENDPOINTS": '{"Mixtral": "mixtral-endpoint"}',
    "VPC_CIDR": "10.10.0.0/16",
    "API_THROTTLING_RATE": 10000,
    "API_BURST_RATE": 5000,
}
OLDER: dict[str, Any] = {
    "STACK_PREFIX": "retail-1",
    "BEDROCK_ENDPOINT": "https://bedrock-runtime.{}.amazonaws.com",
    "BEDROCK_SDK_URL": "https://example.com/sdk.zip",
    "LANGCHAIN_REQUIREMENTS": "langchain",
    "PANDAS_REQUIREMENTS": "pandas",
    "VPC_CIDR": "10.10.0.0/16",
}
BY_PARENT = {"STACK_PREFIX": "shop", "PARENT_STACK_PREFIX": "retail-1", "API_THROTTLING_RATE": 50}
BY_API = {"STACK_PREFIX": "shop", "API_GATEWAY_ID": "abc123", "API_GATEWAY_RESOURCE_ID": "def456"}
NAME = "retail-1-model-gateway"
DECLARED = load(ROOT / "template.yaml")
GATEWAY, TENANT = DECLARED["Parameters"], load(ROOT / "templates/tenant.yaml")["Parameters"]


# ----------------------------------------------------------------------------------- read back as SAM CLI and shells read
def appended(folder: Path, text: str) -> Path:
    """samconfig.toml with the program's lines appended."""
    config = folder / "samconfig.toml"
    config.write_text((ROOT / "samconfig.toml").read_text() + "\n" + text)
    return config


def environment(folder: Path, text: str, name: str = NAME) -> dict[str, Any]:
    """How SAM CLI would deploy the unit."""
    return deployed(appended(folder, text), "--config-env", name)


def commands(lines: list[str]) -> list[list[str]]:
    """The commands of the lines, as a shell splits them."""
    found = [shlex.split(line, comments=True) for line in lines]
    return [words for words in found if words]


def tenant_deployment(lines: list[str]) -> dict[str, Any]:
    """How SAM CLI would deploy the one tenant among the lines."""
    (words,) = [words for words in commands(lines) if "templates/tenant.yaml" in words]
    assert words[:4] == ["sam", "deploy", "-t", "templates/tenant.yaml"]
    told = deployed(ROOT / "samconfig.toml", *words[4:])
    for parameter, value in told["parameter_overrides"].items():
        assert refusal(TENANT[parameter], value) is None, parameter
    return told


class Added(NamedTuple):
    """A command for a tenant or a key, and what it reads of its line."""

    command: str
    given: dict[str, Any]


def added(lines: list[str]) -> list[Added]:
    """The arguments that the project's own tenants command parses from the lines that run it."""
    found = []
    for words in commands(lines):
        if words[:2] == [".venv/bin/gateway", "tenants"]:
            found.append(Added(words[2], parsed(words[1:]).params))
    return found


# ----------------------------------------------------------------------------------------------------------- full units
@pytest.mark.parametrize("unit", [FULL, OLDER], ids=["2024", "2023"])
def test_a_full_deployment_keeps_its_shape_its_functions_in_a_vpc_and_its_api_public(
    tmp_path: Path, unit: dict[str, Any]
) -> None:
    text, lines = migrate([unit])
    told = environment(tmp_path, text)
    parameters = told["parameter_overrides"]
    network = {"Network": "functions-in-vpc", "VpcCidr": "10.10.0.0/16", "ClientCidr": "10.10.0.0/16"}
    assert network.items() <= parameters.items()
    assert parameters.keys() <= GATEWAY.keys()
    assert all(refusal(GATEWAY[name], value) is None for name, value in parameters.items())
    assert (told["stack_name"], told["tags"]) == (NAME, {"Tenant": "retail-1", "Project": "SO9482"})
    assert any("its API is public and its functions run in a VPC (10.10.0.0/16)" in line for line in lines)
    assert f"sam build && sam deploy --config-env {NAME}" in lines


def test_a_unit_without_a_vpc_gets_none(tmp_path: Path) -> None:
    text, lines = migrate([{"STACK_PREFIX": "retail-1"}])
    assert environment(tmp_path, text)["parameter_overrides"] == {"RateLimit": "10000", "BurstLimit": "10000"}
    assert any("its functions run outside a VPC and its API is public" in line for line in lines)


@pytest.mark.parametrize(
    ("said", "rates"),
    [
        ({}, ("10000", "10000")),
        ({"API_THROTTLING_RATE": None, "API_BURST_RATE": ""}, ("10000", "10000")),
        ({"API_THROTTLING_RATE": 50}, ("50", "10000")),
        ({"API_THROTTLING_RATE": "50", "API_BURST_RATE": 7.0}, ("50", "7")),
        ({"API_THROTTLING_RATE": 0}, ("0", "10000")),
    ],
)
def test_rates_that_are_left_out_are_what_the_sample_had(
    tmp_path: Path, said: dict[str, Any], rates: tuple[str, str]
) -> None:
    text, _ = migrate([OLDER | said])
    whole = environment(tmp_path, text)["parameter_overrides"]
    _, lines = migrate([{"STACK_PREFIX": "shop", "PARENT_STACK_PREFIX": "retail-1"} | said])
    alone = tenant_deployment(lines)["parameter_overrides"]
    assert (whole["RateLimit"], whole["BurstLimit"]) == (alone["RateLimit"], alone["BurstLimit"]) == rates


@pytest.mark.parametrize("rate", ["fast", -1, True, 2.5, [1]])
def test_a_rate_that_is_none_is_refused(rate: Any) -> None:
    with pytest.raises(CannotMigrate, match="API_THROTTLING_RATE, which is .*, is not a whole number"):
        migrate([FULL | {"API_THROTTLING_RATE": rate}])


def test_it_says_that_no_tenant_and_no_key_exists_yet_and_how_to_make_them() -> None:
    _, lines = migrate([FULL], {"retail-1": ["web", "app team"]})
    (made,) = added(lines)
    assert made.command == "add"
    assert {"tenant_id": "retail-1", "cost_centres": ("web", "app team"), "stack": NAME}.items() <= made.given.items()
    assert any("no tenant and no key exists yet" in line for line in lines)
    _, unsaid = migrate([FULL])
    (made,) = added(unsaid)  # as it stands it works: the tenant's own id is a cost centre
    assert (made.given["tenant_id"], made.given["cost_centres"]) == ("retail-1", ())
    assert any("--cost-centre TEAM_ID" in line for line in unsaid)


def test_the_old_reports_of_costs_are_to_be_saved_before_their_bucket_goes() -> None:
    for unit, bucket in ((FULL, "cost-tracking"), (OLDER, "metering")):
        _, lines = migrate([unit])
        (saved,) = [words for words in commands(lines) if words[0] == "aws"]
        assert saved == ["aws", "s3", "sync", f"s3://retail-1-bucket-{bucket}-bedrock", f"old-costs-{NAME}"]
        assert any("deletes its bucket of cost reports" in line for line in lines)


# ------------------------------------------------------------------------------------------------------- API-key units
@pytest.mark.parametrize("unit", [BY_PARENT, BY_API], ids=["by its parent", "by an id"])
def test_a_key_of_its_own_becomes_a_tenant_and_then_a_key(unit: dict[str, Any]) -> None:
    text, lines = migrate([unit, FULL], {"shop": ["web", "app team"]})
    assert f"[{NAME}.deploy.parameters]" in text
    assert "shop" not in text
    told = tenant_deployment(lines)
    assert (told["stack_name"], told["tags"]) == ("tenant-shop", {"Tenant": "shop", "Project": "SO9482"})
    expected = {"GatewayStack": NAME, "TenantId": "shop", "CostCentres": "web,app team"}
    assert expected.items() <= told["parameter_overrides"].items()
    *_, made = added(lines)
    assert (made.command, made.given["tenant_id"], made.given["stack"]) == ("key", "shop", NAME)
    assert any("that creates the tenant without a key" in line for line in lines)


def test_the_old_apis_id_is_of_no_gateway() -> None:
    _, lines = migrate([FULL, BY_API])
    assert "RestApiId" not in " ".join(lines)
    assert any("API_GATEWAY_ID abc123 is left out" in line for line in lines)
    _, lines = migrate([BY_API], gateway="the-gateway")
    assert tenant_deployment(lines)["parameter_overrides"]["GatewayStack"] == "the-gateway"
    with pytest.raises(CannotMigrate, match="API_GATEWAY_ID abc123 is the old API; name its new gateway's stack"):
        migrate([BY_API])


def test_a_full_unit_with_an_empty_parent_stays_whole(tmp_path: Path) -> None:
    for unit in (FULL, OLDER, {"STACK_PREFIX": "retail-1", "VPC_CIDR": "10.10.0.0/16"}):
        for said in ("", None):
            text, lines = migrate([unit | {"PARENT_STACK_PREFIX": said, "API_GATEWAY_ID": said}])
            assert environment(tmp_path, text)["stack_name"] == NAME
            assert "templates/tenant.yaml" not in " ".join(lines)


def test_a_key_alone_may_name_a_gateway_without_a_prefix() -> None:
    _, lines = migrate([FULL | {"STACK_PREFIX": ""}, {"STACK_PREFIX": "shop", "PARENT_STACK_PREFIX": ""}])
    assert tenant_deployment(lines)["parameter_overrides"]["GatewayStack"] == "model-gateway"


@pytest.mark.parametrize("team", ["", "a/b", "#1", "x" * 129, "é"])
def test_a_team_id_that_can_be_no_cost_centre_is_told(team: str) -> None:
    with pytest.raises(CannotMigrate, match="cannot be a cost centre"):
        migrate([FULL], {"retail-1": [team]})


def test_more_team_ids_than_a_tenant_has_cost_centres_are_told() -> None:
    with pytest.raises(CannotMigrate, match="101 team ids"):
        migrate([FULL], {"retail-1": [f"team-{number}" for number in range(101)]})


# ---------------------------------------------------------------------------------------------------------------- names
@pytest.mark.parametrize("prefixes", [["", "", ""], ["a", "a"], ["a_b", "a-b", "A.B"], ["", "_"], ["1", "unit-1"]])
def test_units_of_like_names_have_stacks_and_environments_of_their_own(tmp_path: Path, prefixes: list[str]) -> None:
    text, lines = migrate([FULL | {"STACK_PREFIX": prefix} for prefix in prefixes])
    names = list(tomllib.loads(text))
    assert len(names) == len(prefixes)
    config = appended(tmp_path, text)
    stacks = {deployed(config, "--config-env", name)["stack_name"] for name in names}
    assert stacks == set(names)
    assert len({(made.given["stack"], made.given["tenant_id"]) for made in added(lines)}) == len(prefixes)
    assert len({made.given["tenant_id"].lower() for made in added(lines)}) == len(prefixes)


def test_of_gateways_with_one_prefix_a_key_takes_the_first_and_says_so() -> None:
    _, lines = migrate([FULL, FULL, BY_PARENT])
    assert tenant_deployment(lines)["parameter_overrides"]["GatewayStack"] == NAME
    assert any(f"{NAME} and {NAME}-2 have the prefix 'retail-1'" in line for line in lines)


@pytest.mark.parametrize("prefix", ["Retail", "1st", "_", "é", "x" * 200, "a b", "--", "A" * 64])
def test_a_stack_is_named_as_cloudformation_glue_and_the_template_allow(prefix: str) -> None:
    name = name_of(prefix)
    assert name[0].isalpha()
    assert name == name.lower()
    assert len(name) <= 65
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
PREFIX = TEXT.filter(str.isprintable)
LITERAL = st.dictionaries(
    TEXT.filter(bool), st.from_regex(r"[A-Za-z0-9](-{0,4}[A-Za-z0-9]){0,10}", fullmatch=True), max_size=3
)


@pytest.mark.parametrize(
    "written", [json.dumps, repr, lambda said: json.dumps(said, ensure_ascii=False), lambda said: said]
)
@given(prefix=PREFIX, endpoints=LITERAL, teams=st.lists(TEXT.filter(is_label), max_size=3, unique=True))
@settings(max_examples=8, deadline=None)
def test_whatever_a_unit_says_sam_cli_and_the_shell_read_it_back(
    tmp_path_factory: pytest.TempPathFactory, written: Any, prefix: str, endpoints: dict[str, str], teams: list[str]
) -> None:
    """Through SAM CLI's own reading of samconfig.toml and of arguments, for JSON and for literals of Python."""
    folder = tmp_path_factory.mktemp("unit")
    whole = FULL | {"STACK_PREFIX": prefix, "SAGEMAKER_ENDPOINTS": written(endpoints)}
    text, lines = migrate(
        [whole, {"STACK_PREFIX": prefix, "PARENT_STACK_PREFIX": prefix or None, "API_GATEWAY_ID": "x"}], {prefix: teams}
    )
    (name,) = tomllib.loads(text)
    told = environment(folder, text, name)
    given_endpoints = told["parameter_overrides"].get("SageMakerEndpoints")
    if given_endpoints is None:
        assert not endpoints or any("ModelRoutesUri" in line for line in lines)
    else:
        assert json.loads(given_endpoints) == endpoints
        assert refusal(GATEWAY["SageMakerEndpoints"], given_endpoints) is None
    assert told["tags"].get("Tenant", prefix) == prefix
    alone = tenant_deployment(lines)
    assert alone["parameter_overrides"]["GatewayStack"] == name
    assert alone["parameter_overrides"].get("CostCentres", "") == ",".join(teams)
    for made in added(lines):
        tenant_id = made.given["tenant_id"]
        assert made.given["stack"] == name
        assert is_label(tenant_id)
        assert Tenant(TenantId(tenant_id), "", ()).owns(tenant_id)


@pytest.mark.parametrize(
    "name",
    [
        "Mixtral 8x7B", 'a "b"', "it's", "a=b, c=d", "\\", '\\"', "a\\ b", "ends with \\", "é", "😀", "a\nb\t", "\x7f", "#", "{}[]", "$HOME",
    ],
)  # fmt: skip
def test_a_name_reaches_cloudformation_as_it_is(tmp_path: Path, name: str) -> None:
    """Byte for byte, whatever is in the name."""
    text, _ = migrate([FULL | {"SAGEMAKER_ENDPOINTS": {name: "endpoint", "another": "endpoint-2"}}])
    parameter = environment(tmp_path, text)["parameter_overrides"]["SageMakerEndpoints"]
    assert parameter == as_parameter({name: "endpoint", "another": "endpoint-2"})
    assert json.loads(parameter) == {name: "endpoint", "another": "endpoint-2"}
    assert refusal(GATEWAY["SageMakerEndpoints"], parameter) is None


@pytest.mark.parametrize("said", ["{'Mixtral 8x7B': 'Mixtral-SM-Endpoint'}", '{"Mixtral 8x7B": "Mixtral-SM-Endpoint"}'])
def test_endpoints_may_be_json_or_a_literal_of_python(tmp_path: Path, said: str) -> None:
    text, _ = migrate([FULL | {"SAGEMAKER_ENDPOINTS": said}])
    told = environment(tmp_path, text)
    assert json.loads(told["parameter_overrides"]["SageMakerEndpoints"]) == {"Mixtral 8x7B": "Mixtral-SM-Endpoint"}


def test_more_endpoints_than_a_parameter_holds_become_an_object_to_put_into_s3() -> None:
    many = {f"model-{number}": f"endpoint-{number}" for number in range(100)}
    text, notes = migrate([FULL | {"SAGEMAKER_ENDPOINTS": many}])
    assert "SageMakerEndpoints" not in text
    (note,) = [note for note in notes if "ModelRoutesUri" in note]
    assert ModelRegistry.inline("{}", "{}").with_object(note.partition(": ")[2].partition(": ")[2]).catalog == Catalog(
        many
    )


# ------------------------------------------------------------------------------------------------------------- the page
def test_the_pages_command_works_as_it_stands_and_its_words_are_those_of_the_templates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs/call/coming-from-the-2024-sample.md").read_text()
    assert len(page.splitlines()) <= 250
    (command,) = re.findall(r"^\.venv/bin/gateway migrate (.+)$", page, re.MULTILINE)
    (teams,) = re.findall(r"`(\{\"retail\": .+?\})`", page)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "setup").mkdir()
    (tmp_path / "setup/configs.json").write_text(json.dumps([FULL | {"STACK_PREFIX": "retail"}]))
    (tmp_path / "team-ids.json").write_text(teams)
    assert typed(*shlex.split(command)) == 0
    assert "--cost-centre web --cost-centre app --stack retail-model-gateway" in capsys.readouterr().out
    shapes = re.findall(r"^\| `([a-z-]+)` \|", page.partition("## The network")[2].partition("##")[0], re.MULTILINE)
    assert shapes == GATEWAY["Network"]["AllowedValues"]
    said = set(re.findall(r"`([A-Z][a-z]+[A-Za-z0-9]*)`", page)) - {"Tenant", "Project"}
    assert said <= GATEWAY.keys() | TENANT.keys() | DECLARED["Resources"].keys() | DECLARED["Outputs"].keys()


# ------------------------------------------------------------------------------------------------------------ what is wrong
def typed(*arguments: Any) -> int:
    return main(["migrate", *map(str, arguments)])


def test_a_unit_that_cannot_be_read_leaves_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "configs.json"
    wrong = {"STACK_PREFIX": "wrong", "SAGEMAKER_ENDPOINTS": "{'a': open('x')}"}
    outside = {"STACK_PREFIX": "outside", "VPC_CIDR": "10.0.0.0/28"}
    file.write_text(json.dumps([wrong, FULL, outside, {"VPC_CIDR": "10.0.0.0/16"}, BY_PARENT]))
    assert typed(file) == 1
    said = capsys.readouterr()
    assert f"[{NAME}.deploy.parameters]" in said.out
    assert "--stack-name tenant-shop " in said.out
    assert "wrong" not in said.out
    assert "wrong-model-gateway: SAGEMAKER_ENDPOINTS is not an object" in said.err
    assert "outside-model-gateway: VpcCidr, which is '10.0.0.0/28', must match" in said.err
    assert "unit 4: STACK_PREFIX is not defined" in said.err
    file.write_text(json.dumps([FULL]))
    assert typed(file) == 0


def test_team_ids_come_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, teams = tmp_path / "configs.json", tmp_path / "teams.json"
    file.write_text(json.dumps([FULL]))
    teams.write_text('{"retail-1": ["web"]}')
    assert typed(file, "--team-ids", teams) == 0
    assert "--cost-centre web" in capsys.readouterr().out
    for wrong in ("[]", '{"retail-1": "web"}', "{", '{"retail-1": [1]}'):
        teams.write_text(wrong)
        assert typed(file, "--team-ids", teams) == 1
        said = capsys.readouterr()
        assert (said.out, "teams.json: " in said.err) == ("", True)


def test_what_has_no_counterpart_is_named() -> None:
    _, notes = migrate([FULL | {"NEW_THING": 1}, BY_PARENT | {"SAGEMAKER_ENDPOINTS": "{'a': 'b'}"}])
    assert any("BEDROCK_REQUIREMENTS is left out" in note for note in notes)
    assert any("NEW_THING is unknown" in note for note in notes)
    assert any("tenant-shop: SAGEMAKER_ENDPOINTS is left out: it is the gateway's" in note for note in notes)


@pytest.mark.parametrize("wrong", [{}, ["x"], [{"STACK_PREFIX": "a", "SAGEMAKER_ENDPOINTS": "endpoint"}], [{}]])
def test_a_wrong_file_is_refused(wrong: Any) -> None:
    with pytest.raises(CannotMigrate):
        migrate(wrong)


@pytest.mark.parametrize("endpoint", ["", "under_score", "a b", "-a", "x" * 64])
def test_an_endpoint_that_sagemaker_cannot_have_is_told(endpoint: str) -> None:
    with pytest.raises(CannotMigrate, match="not a valid SageMaker endpoint name"):
        migrate([FULL | {"SAGEMAKER_ENDPOINTS": {"a": endpoint}}])
