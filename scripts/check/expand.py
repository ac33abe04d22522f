"""The templates as CloudFormation sees them: AWS::Include and SAM's transform applied by the library that AWS runs.

The names of AWS's managed policies are given here, so the expansion calls no AWS.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.sdk.parameter import SamParameterValues
from samtranslator.translator.translator import Translator

from scripts.project import quick_yaml
from scripts.project.template import LAYER, ROOT, Template, load

REGION = "us-east-1"
TEMPLATES = [ROOT / "template.yaml", *sorted(ROOT.glob("templates/*.yaml"))]
POLICIES = {
    name: f"arn:aws:iam::aws:policy/{path}{name}"
    for name, path in {
        "AWSLambdaBasicExecutionRole": "service-role/",
        "AWSLambdaVPCAccessExecutionRole": "service-role/",
        "AWSXRayDaemonWriteAccess": "",
        "AWSXrayWriteOnlyAccess": "",
    }.items()
}

REQUIRED = {"TenantId": "acme"}
# With these parameters every condition of every template is true in one deployment and false in another.
GUARDED = {
    **REQUIRED,
    "AdministratorArn": "arn:aws:iam::123456789012:role/admin",
    "AlarmEmail": "ops@example.com",
    "AllowedModelArns": "arn:aws:bedrock:*:123456789012:provisioned-model/*",
    "AllowedModels": "anthropic.*",
    "AnalyticsDatabaseName": "costs_of_models",
    "CorsOrigin": "https://app.example.com",
    "CostCentres": "research,ops",
    "CurUri": "s3://bills/cur/data",
    "EnableWaf": "true",
    "S3Buckets": "papers",
    "FirstZone": "us-east-1b",
    "GatewayStack": "gateway",
    "IntegrationTimeoutSeconds": "60",
    "InvokeConcurrency": "10",
    "JobsConcurrency": "10",
    "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/6f2c9a6e-0e5b-4a57-9d51-1b8f0c2d7f10",
    "LambdaWebAdapterLayerArn": "arn:aws:lambda:us-east-1:123456789012:layer:adapter:1",
    "ModelRoutesUri": "s3://models/routes.json",
    "MonthlyUsd": "100",
    "PayloadLogging": "on",
    "PriceOverlayUri": "s3://prices/overlay.csv",
    "S3AccessLogsBucket": "access-logs",
    "SecondZone": "us-east-1d",
    "StreamConcurrency": "10",
    "TenantName": "Acme",
    "TenantRoleArn": "arn:aws:iam::123456789012:role/tenants",
}
DEPLOYMENTS: dict[str, dict[str, str]] = {
    "by default": REQUIRED,
    "by default, functions in a VPC": {**REQUIRED, "Network": "functions-in-vpc"},
    "public, with everything": {**GUARDED, "AccessLog": "on"},
    "private, with everything": {**GUARDED, "AccessLog": "off", "Network": "private"},
}


def expand(path: Path, parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Plain CloudFormation. Artifacts that `sam build` would upload are named as if they were in the bucket already."""
    document: dict[str, Any] = json.loads(_expanded(path, json.dumps(dict(parameters or {}), sort_keys=True)))
    return document


@cache
def _expanded(path: Path, parameters: str) -> str:
    template: dict[str, Any] = included(load(path), path.parent)
    if "Transform" not in template:
        return json.dumps(template)
    for resource in template["Resources"].values():
        said = resource.get("Properties", {})
        if resource["Type"] == LAYER:
            said["ContentUri"] = "s3://artifacts/layer.zip"
        if "CodeUri" in said:
            said["CodeUri"] = "s3://artifacts/function.zip"
        if "DefinitionUri" in said and resource["Type"].endswith("StateMachine"):
            said["Definition"] = quick_yaml.read((path.parent / said.pop("DefinitionUri")).read_text())
    values: dict[str, Any] = json.loads(parameters)
    SamParameterValues(values).add_default_parameter_values(template)
    logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it logs every feature that it does not toggle
    translator = Translator(POLICIES, Parser(), boto_session=boto3.Session(region_name=REGION))
    return json.dumps(translator.translate(template, values))


def included(part: Any, folder: Path) -> Any:
    """With each AWS::Include's file in its place."""
    if isinstance(part, dict):
        transform = part.get("Fn::Transform")
        if isinstance(transform, dict) and transform.get("Name") == "AWS::Include":
            return quick_yaml.read((folder / transform["Parameters"]["Location"]).read_text())
        return {name: included(inner, folder) for name, inner in part.items()}
    return [included(inner, folder) for inner in part] if isinstance(part, list) else deepcopy(part)


_OMITTED = object()


class Stack(Template):
    """The resources of plain CloudFormation whose conditions hold under its parameters."""

    def __init__(self, document: Mapping[str, Any], given: Mapping[str, str], region: str = REGION):
        self.region, self._endpoint, self.folder = region, "", ROOT
        self._globals: dict[str, Any] = {}
        self._conditions = dict(document.get("Conditions", {}))
        self._mappings = dict(document.get("Mappings", {}))
        self.resources: dict[str, dict[str, Any]] = {}
        environment = {f"GATEWAY_PARAM_{parameter}": value for parameter, value in given.items()}
        self.parameters = {
            parameter: self._parameter(parameter, declared, environment)
            for parameter, declared in document["Parameters"].items()
        }
        self.conditions = {name: self._condition(name) for name in self._conditions}
        self.resources = {
            logical_id: resource
            for logical_id, resource in document["Resources"].items()
            if self.conditions.get(resource.get("Condition"), True)
        }

    def decided(self) -> dict[str, dict[str, Any]]:
        """The resources with every Fn::If resolved; references are left to CloudFormation."""
        return {
            logical_id: self._decide({key: part for key, part in resource.items() if key != "Condition"})
            for logical_id, resource in self.resources.items()
        }

    def _decide(self, part: Any) -> Any:
        match part:
            case {"Fn::If": [name, yes, no]}:
                return self._decide(yes if self.conditions[name] else no)
            case {"Fn::Cidr": _}:  # has parameters only; moto does not support it
                return self.resolve(part)
            case {"Ref": "AWS::NoValue"}:
                return _OMITTED
            case dict():
                kept = {key: self._decide(inner) for key, inner in part.items()}
                return {key: inner for key, inner in kept.items() if inner is not _OMITTED}
            case list():
                return [inner for inner in map(self._decide, part) if inner is not _OMITTED]
        return part
