"""template.yaml as CloudFormation gets it: expanded by SAM, conditions decided, names resolved, for a stack and its parameters."""

from __future__ import annotations

import copy
import json
import logging
import os
from collections.abc import Mapping
from functools import cache
from typing import Any
from unittest import mock
from uuid import NAMESPACE_URL, uuid5

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from scripts.dev.template import Template
from scripts.template import FUNCTION, LAYER, ROOT, STATE_MACHINE
from tests.contract.contract import TEMPLATE

REGION = "eu-west-1"
CODE = {FUNCTION: "CodeUri", LAYER: "ContentUri", STATE_MACHINE: "DefinitionUri"}


class _Stack(Template):
    """The intrinsic functions of an expanded template, for a stack of this name."""

    def __init__(self, document: Mapping[str, Any], name: str, given: Mapping[str, str]):
        self.region, self._endpoint, self.folder = REGION, "", ROOT
        self._globals: dict[str, Any] = {}
        self._conditions = dict(document["Conditions"])
        self._mappings = dict(document.get("Mappings", {}))
        self._name = name
        self.resources: dict[str, dict[str, Any]] = {}
        environment = {f"GATEWAY_PARAM_{parameter}": value for parameter, value in given.items()}
        self.parameters = {
            parameter: self._parameter(parameter, declared, environment)
            for parameter, declared in document["Parameters"].items()
        }
        self.resources = {
            logical_id: resource
            for logical_id, resource in document["Resources"].items()
            if "Condition" not in resource or self._condition(resource["Condition"])
        }

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


@cache
def _expanded(parameters: str) -> str:
    template: dict[str, Any] = copy.deepcopy(TEMPLATE)
    for resource in template["Resources"].values():
        if uri := CODE.get(resource["Type"]):
            resource["Properties"][uri] = f"s3://artifacts/{resource['Properties'][uri]}"
    given = {name: declared.get("Default") for name, declared in template["Parameters"].items()}
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    with mock.patch.dict(os.environ, {"AWS_DEFAULT_REGION": REGION}):
        session = boto3.session.Session(region_name=REGION)
        translator = Translator(managed_policy_map={}, sam_parser=Parser(), boto_session=session)
        return json.dumps(translator.translate(template, given | json.loads(parameters)))


def plain(**parameters: str) -> dict[str, Any]:
    """Plain CloudFormation, with conditions and intrinsic functions as they are."""
    document: dict[str, Any] = json.loads(_expanded(json.dumps(parameters)))
    return document


def stack(name: str = "model-gateway", **parameters: str) -> dict[str, dict[str, Any]]:
    """The resources of a stack, by logical id, with nothing left to resolve; a name of AWS's own is STACK/LOGICALID."""
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
