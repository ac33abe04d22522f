"""template.yaml as CloudFormation gets it for a stack and its parameters: SAM, conditions and names resolved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from unittest import mock
from uuid import NAMESPACE_URL, uuid5

from scripts.check.expand import Stack, expand
from scripts.project.template import ROOT

REGION = "eu-west-1"


class _Stack(Stack):
    """The intrinsic functions of an expanded template, for a stack of this name."""

    def __init__(self, document: Mapping[str, Any], name: str, given: Mapping[str, str]):
        self._name = name
        super().__init__(document, given, REGION)

    def ref(self, name: str) -> Any:
        if name == "AWS::StackName":
            return self._name
        if name == "AWS::StackId":
            return f"arn:aws:cloudformation:{REGION}:123456789012:stack/{self._name}/{uuid5(NAMESPACE_URL, self._name)}"
        if name in self.resources and name not in self.parameters:
            return f"{self._name}/{name}"
        return super().ref(name)

    def attribute(self, name: str, attribute: str) -> Any:
        return f"{self._name}/{name}.{attribute}"


def plain(**parameters: str) -> dict[str, Any]:
    """Plain CloudFormation, with conditions and intrinsic functions as they are."""
    with mock.patch.dict(os.environ, {"AWS_DEFAULT_REGION": REGION}):
        return expand(ROOT / "template.yaml", parameters)


def stack(name: str = "model-gateway", **parameters: str) -> dict[str, dict[str, Any]]:
    """The resources of a stack by logical id, completely resolved; a name that AWS generates is STACK/LOGICALID."""
    document = plain(**parameters)
    resolver = _Stack(document, name, parameters)
    return {
        logical_id: {**resource, "Properties": resolver.resolve(resource.get("Properties") or {})}
        for logical_id, resource in resolver.resources.items()
    }


def outputs(name: str, **parameters: str) -> dict[str, Any]:
    document = plain(**parameters)
    resolver = _Stack(document, name, parameters)
    found = {
        output: said
        for output, said in document["Outputs"].items()
        if "Condition" not in said or resolver.resolve({"Condition": said["Condition"]})
    }
    resolved: dict[str, Any] = resolver.resolve(
        {output: {k: v for k, v in said.items() if k != "Condition"} for output, said in found.items()}
    )
    return resolved


def of_kind(resources: Mapping[str, Mapping[str, Any]], kind: str) -> dict[str, Any]:
    """The properties of each resource of a type, by logical id."""
    return {
        logical_id: resource["Properties"] for logical_id, resource in resources.items() if resource["Type"] == kind
    }
