"""A SAM template as declared: its resources, and each function with its Globals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.project import quick_yaml

ROOT = Path(__file__).parents[3]
FUNCTION = "AWS::Serverless::Function"
STATE_MACHINE = "AWS::Serverless::StateMachine"
LAYER = "AWS::Serverless::LayerVersion"


class _Loader(quick_yaml.Loader):  # type: ignore[misc]
    """YAML with CloudFormation's tags."""


def _intrinsic(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    content: Any = None
    if isinstance(node, yaml.ScalarNode):
        content = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        content = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        content = loader.construct_mapping(node, deep=True)
    if tag == "GetAtt" and isinstance(content, str):
        content = content.split(".", 1)
    return {tag if tag in {"Ref", "Condition"} else f"Fn::{tag}": content}


_Loader.add_multi_constructor("!", _intrinsic)
# An unquoted date is text to CloudFormation.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def load(path: Path) -> dict[str, Any]:
    """A template with its intrinsics in long form: `{"Ref": …}`, `{"Fn::GetAtt": […]}`."""
    template: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a safe loader, with tags
    return template


def of_type(template: Mapping[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The properties of every resource of a type, by logical id."""
    return {
        logical_id: resource.get("Properties") or {}
        for logical_id, resource in (template.get("Resources") or {}).items()
        if resource["Type"] == kind
    }


def refusal(declared: Mapping[str, Any], value: str) -> str | None:
    """Why CloudFormation refuses a parameter's value, as far as its text decides; None if it accepts it.

    A pattern has to match the whole value (CloudFormation's user guide, "Parameters"). Numeric bounds are ignored.
    """
    reason = declared.get("ConstraintDescription")
    if "AllowedValues" in declared and value not in map(str, declared["AllowedValues"]):
        return reason or f"must be one of {', '.join(map(str, declared['AllowedValues']))}"
    if len(value) > declared.get("MaxLength", len(value)):
        return f"must be no longer than {declared['MaxLength']} characters" + (f": {reason}" if reason else "")
    if "AllowedPattern" in declared and not re.fullmatch(declared["AllowedPattern"], value):
        return reason or f"must match {declared['AllowedPattern']}"
    return None


def starts_a_server(environment: Mapping[str, Any]) -> bool:
    """Is a function with this environment a server behind the Lambda Web Adapter, started by its handler?"""
    return "AWS_LAMBDA_EXEC_WRAPPER" in environment


@dataclass(frozen=True)
class DeclaredFunction:
    """One function of a template, with Globals merged as SAM does. `layers` are the template's own layers."""

    logical_id: str
    code: str
    layers: tuple[str, ...]
    environment: Mapping[str, Any]
    properties: Mapping[str, Any]

    def events(self, kind: str) -> list[dict[str, Any]]:
        found = (self.properties.get("Events") or {}).values()
        return [event["Properties"] for event in found if event["Type"] == kind]

    @property
    def serves_http(self) -> bool:
        return starts_a_server(self.environment)

    @property
    def statements(self) -> list[dict[str, Any]]:
        """Its role's statements, including those under a condition."""
        said = (statement for policy in self.properties.get("Policies", ()) for statement in policy["Statement"])
        return [statement["Fn::If"][1] if "Fn::If" in statement else statement for statement in said]


def functions(template: Mapping[str, Any]) -> dict[str, DeclaredFunction]:
    """By logical id."""
    common = (template.get("Globals") or {}).get("Function") or {}
    found = {}
    for logical_id, own in of_type(template, FUNCTION).items():
        layers = [layer for part in (common, own) for layer in part.get("Layers") or ()]
        named = tuple(layer["Ref"] for layer in layers if isinstance(layer, dict) and "Ref" in layer)
        variables = [(part.get("Environment") or {}).get("Variables") or {} for part in (common, own)]
        merged = {**common, **own}
        found[logical_id] = DeclaredFunction(
            logical_id, merged.get("CodeUri", "."), named, variables[0] | variables[1], merged
        )
    return found
