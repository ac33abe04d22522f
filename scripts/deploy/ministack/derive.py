"""Derives from template.yaml what the embedded AWS can run: same resources, this machine's CPU, the model stand-in.

State machine definitions become JSON: CloudFormation accepts two forms, ministack one. The result omits resources that
ministack does not support: alarms over the sum of several metrics, Athena's saved queries, and a VPC's flow logs.

Nothing else may differ, or the proof would not be about template.yaml.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from bundle.recipe import this_machine
from scripts.project import quick_yaml
from scripts.project.template import FUNCTION, LAYER, STATE_MACHINE, load

MODELS = "ModelsUrl"
UNKNOWN = {"AWS::Athena::NamedQuery", "AWS::EC2::FlowLog"}
# The SDK's own variables: the deployed code needs no setting for a stand-in.
ENDPOINTS = ("AWS_ENDPOINT_URL_BEDROCK", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME")


def derive(source: Path, target: Path) -> None:
    """Write the template for this machine; its paths, relative to `target`, lead where those of `source` do."""
    template = load(source)
    template["Resources"] = {
        name: it
        for name, it in template["Resources"].items()
        if it["Type"] not in UNKNOWN and "Metrics" not in it.get("Properties", {})
    }
    adapt(template, source, target)
    template["Parameters"][MODELS] = {"Type": "String"}
    template["Globals"]["Function"]["Environment"]["Variables"] |= {variable: {"Ref": MODELS} for variable in ENDPOINTS}
    target.write_text(json.dumps(template, indent=1))  # JSON is YAML


def adapt(template: dict[str, Any], source: Path, target: Path) -> None:
    """Set this machine's CPU and paths relative to `target`; write state machine definitions beside it."""
    architecture = this_machine()
    way = os.path.relpath(source.parent, target.parent)
    target.parent.mkdir(parents=True, exist_ok=True)
    template["Globals"]["Function"]["Architectures"] = [architecture]
    for name, resource in template["Resources"].items():
        said = resource.get("Properties", {})
        if resource["Type"] == LAYER:
            resource["Metadata"]["BuildArchitecture"] = architecture
            said["CompatibleArchitectures"] = [architecture]
        if resource["Type"] == FUNCTION:
            said.pop("Architectures", None)
        if resource["Type"] == STATE_MACHINE:
            definition = quick_yaml.read((source.parent / said["DefinitionUri"]).read_text())
            (target.parent / f"{name}.asl.json").write_text(json.dumps(definition, indent=1))
            said["DefinitionUri"] = f"{name}.asl.json"
        for place, key in ((said, "CodeUri"), (said, "ContentUri"), (resource.get("Metadata", {}), "ContextPath")):
            if isinstance(place.get(key), str):
                place[key] = os.path.join(way, place[key])
    move_includes(template, way)


def move_includes(part: Any, way: str) -> None:
    if isinstance(part, dict):
        transform = part.get("Fn::Transform")
        if isinstance(transform, dict) and transform.get("Name") == "AWS::Include":
            transform["Parameters"]["Location"] = os.path.join(way, transform["Parameters"]["Location"])
        part = list(part.values())
    if isinstance(part, list):
        for item in part:
            move_includes(item, way)
