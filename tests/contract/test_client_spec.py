"""Client generators get a valid spec with everything that openapi.yaml has for a client."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator

from scripts.generate.client_spec import FLAGS, TYPES, typed
from scripts.project import quick_yaml
from scripts.project.template import ROOT
from tests.contract.contract import METHODS, OPERATIONS, SPEC, everywhere

FOR_API_GATEWAY = {name for name in SPEC["components"]["securitySchemes"]["TenantKey"] if name.startswith("x-amazon")}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target: Path = tmp_path_factory.mktemp("client") / "build" / "openapi.client.yaml"
    subprocess.run([sys.executable, "-m", "scripts.generate.client_spec", str(target)], cwd=ROOT, check=True)
    written: dict[str, Any] = quick_yaml.read(target.read_text())
    return written


def test_it_is_openapi_3_0(spec: dict[str, Any]) -> None:
    assert spec["openapi"] == "3.0.3"
    OpenAPIV30SpecValidator(spec).validate()


def test_it_has_nothing_that_only_aws_understands(spec: dict[str, Any]) -> None:
    assert FOR_API_GATEWAY
    for where, part in everywhere(spec):
        assert not [name for name in part if str(name).startswith(("x-amazon-", "Fn::"))], where


def with_flags(operation: Mapping[str, Any]) -> dict[str, Any]:
    """An operation whose flags are two words."""
    told = copy.deepcopy(dict(operation))
    for parameter in told.get("parameters", ()):
        if parameter.get("name") in FLAGS:
            parameter["schema"] = {"type": "string", "enum": ["true", "false"]}
    return told


def test_a_header_that_is_a_flag_has_two_words_in_a_client_and_any_text_in_the_contract() -> None:
    parameters = [parameter for operation in OPERATIONS for parameter in operation.said.get("parameters", ())]
    flags = [parameter for parameter in parameters if "`true` (any case)" in parameter.get("description", "")]
    assert {parameter["name"] for parameter in flags} == set(FLAGS)
    assert all(parameter["schema"] == {"type": "string", "maxLength": 16} for parameter in flags)


def test_it_has_every_operation_whole(spec: dict[str, Any]) -> None:
    found = {(method, path): said for path, item in spec["paths"].items() for method, said in item.items()}
    assert found == {
        (operation.method, operation.path): {
            name: part for name, part in with_flags(operation.said).items() if not name.startswith("x-amazon-")
        }
        | {"security": [{scheme: []} for scheme in operation.said["security"][0]]}
        for operation in OPERATIONS
    }
    assert {method for method, _ in found} <= set(METHODS)


def test_it_has_every_schema_response_and_example_whole(spec: dict[str, Any]) -> None:
    for kind in SPEC["components"].keys() - {"securitySchemes", "schemas"}:
        assert spec["components"][kind] == SPEC["components"][kind]
    told = copy.deepcopy(spec["components"]["schemas"])
    for name in TYPES:
        told_property, said = properties(told, name), properties(SPEC["components"]["schemas"], name)
        for added in told_property.keys() - said.keys():
            del told_property[added]
    assert told == SPEC["components"]["schemas"]


def test_it_gives_types_where_openapi_yaml_can_only_describe_them() -> None:
    untyped = set()
    for schema, said in SPEC["components"]["schemas"].items():
        for name, part in said.get("properties", {}).items():
            if not part.keys() & {"type", "$ref", "enum"} and part["description"] != "Null.":
                untyped.add(f"{schema}.{name}")
    assert untyped == TYPES.keys()


def test_a_value_of_several_types_is_told_as_openapi_3_0_tells_it() -> None:
    assert typed("string?") == {"nullable": True, "type": "string"}
    assert typed("Usage?") == {"nullable": True, "allOf": [{"$ref": "#/components/schemas/Usage"}]}
    strings = {"type": "array", "items": {"type": "string"}}
    assert typed("string|[string]") == {"anyOf": [{"type": "string"}, strings]}


@pytest.mark.parametrize("folder", ["scripts/generate/clients", "scripts/check"])
def test_a_lock_of_node_s_packages_is_hashed_and_names_no_registry(folder: str) -> None:
    packages = json.loads((ROOT / folder / "package-lock.json").read_text())["packages"]
    assert len(packages) >= 2
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert not name or package["integrity"].startswith("sha512-"), name


def properties(schemas: dict[str, Any], name: str) -> dict[str, Any]:
    schema, _, inner = name.partition(".")
    found: dict[str, Any] = schemas[schema]["properties"][inner]
    return found


def test_a_client_sends_its_key_in_one_header_or_in_the_other(spec: dict[str, Any]) -> None:
    assert "security" not in spec
    asked = {
        operation["operationId"]: operation["security"]
        for item in spec["paths"].values()
        for operation in item.values()
    }
    assert asked["invokeModel"] == [{"TenantKey": []}, {"UsagePlanKey": []}]
    assert asked["listTenants"] == [{"AdminSignature": []}]
    schemes = spec["components"]["securitySchemes"]
    assert (schemes["TenantKey"]["type"], schemes["TenantKey"]["scheme"]) == ("http", "bearer")
    assert schemes["UsagePlanKey"]["name"] == "x-api-key"
    assert schemes.keys() == SPEC["components"]["securitySchemes"].keys()
