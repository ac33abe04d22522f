"""Turns the 2024 sample's configuration into what deploys the same units: `python -m scripts.migrate configs.json`.

Each full deployment becomes an environment of samconfig.toml (`sam deploy --config-env UNIT`), each API-key deployment
a `sam deploy` of templates/tenant.yaml. Keys are made anew: the sample kept them in clear, and an API key of API
Gateway is no credential here. What has no counterpart is named, never dropped. A unit that cannot be read is named on
standard error, the others are printed all the same, and the program ends with 1.

    STACK_PREFIX                            the stack's name and the environment's
    VPC_CIDR                                Network=private, VpcCidr
    API_THROTTLING_RATE, API_BURST_RATE     RateLimit, BurstLimit
    SAGEMAKER_ENDPOINTS                     SageMakerEndpoints; JSON, else a literal of Python
    PARENT_STACK_PREFIX                     GatewayStack of templates/tenant.yaml
    API_GATEWAY_ID                          RestApiId of templates/tenant.yaml
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.command import run
from scripts.template import ROOT, load, refusal

# Of no use any more, and why.
GONE = {
    "BEDROCK_ENDPOINT": "the region's own endpoint is used",
    "BEDROCK_SDK_URL": "boto3 comes from requirements.lock",
    "BEDROCK_REQUIREMENTS": "boto3 comes from requirements.lock",
    "LANGCHAIN_REQUIREMENTS": "no function needs LangChain",
    "PANDAS_REQUIREMENTS": "no function needs pandas",
    "API_GATEWAY_RESOURCE_ID": "a usage plan is attached to the API's stage",
}
PARAMETERS = {"VPC_CIDR": "VpcCidr", "API_THROTTLING_RATE": "RateLimit", "API_BURST_RATE": "BurstLimit"}
KNOWN = {
    *GONE, *PARAMETERS, "STACK_PREFIX", "SAGEMAKER_ENDPOINTS", "PARENT_STACK_PREFIX", "API_GATEWAY_ID",
}  # fmt: skip


class CannotMigrate(ValueError):
    """The file, or a unit of it, is not what the sample reads. `rest` is what the other units become."""

    def __init__(self, message: str, rest: tuple[str, list[str]] = ("", [])):
        super().__init__(message)
        self.rest = rest


def name_of(prefix: str) -> str:
    """The stack that a unit becomes: a CloudFormation name, and a key of TOML."""
    return "-".join(filter(None, (re.sub(r"[^A-Za-z0-9]+", "-", prefix).strip("-"), "model-gateway")))


def is_key_only(unit: Mapping[str, Any]) -> bool:
    return bool(unit.get("PARENT_STACK_PREFIX") or unit.get("API_GATEWAY_ID")) or "PARENT_STACK_PREFIX" in unit


def migrate(units: Any) -> tuple[str, list[str]]:
    """What to append to samconfig.toml, and what to run and to know. Raises CannotMigrate, with the rest of it."""
    if not isinstance(units, list) or not all(isinstance(unit, dict) for unit in units):
        raise CannotMigrate("configs.json must be a list of units")
    declared = load(ROOT / "template.yaml")["Parameters"]
    environments: list[str] = []
    commands: list[str] = []
    notes: list[str] = []
    faults: list[str] = []
    for unit in units:
        if not is_key_only(unit):
            try:
                environment, about = _environment(unit, declared)
            except CannotMigrate as error:
                faults.append(str(error))
                continue
            environments.append(environment)
            notes += about
        commands.append(_command(unit))
        notes += _left_out(unit)
    rest = "\n".join(environments), [*commands, *notes]
    if faults:
        raise CannotMigrate("; ".join(faults), rest)
    return rest


def _environment(unit: Mapping[str, Any], declared: Mapping[str, Any]) -> tuple[str, list[str]]:
    """A unit's tables of samconfig.toml, and what there is to know of it.

    Parameters are a table: of a text "Name=value" SAM CLI keeps what stands before the value's first quotation mark.
    """
    name = name_of(unit.get("STACK_PREFIX", ""))
    parameters = {ours: str(unit[theirs]) for theirs, ours in PARAMETERS.items() if unit.get(theirs)}
    if "VpcCidr" in parameters:
        parameters = {"Network": "private", **parameters}
    notes = []
    if said := unit.get("SAGEMAKER_ENDPOINTS"):
        endpoints = _endpoints(name, said)
        text = as_parameter(endpoints)
        if len(text) <= declared["SageMakerEndpoints"]["MaxLength"]:
            parameters["SageMakerEndpoints"] = text
        else:
            whole = json.dumps({"endpoints": endpoints})
            notes.append(f"# {name}: a parameter holds no {len(endpoints)} endpoints; put this into an object of S3,")
            notes.append(f"# {name}: and name that in ModelRoutesUri: {whole}")
    for parameter, value in parameters.items():
        if why := refusal(declared[parameter], value):
            raise CannotMigrate(f"{name}: {parameter}, which is {value!r}, {why}")
    overrides = "".join(f"{key} = {json.dumps(value)}\n" for key, value in parameters.items())
    environment = (
        f"[{name}.global.parameters]\nstack_name = {json.dumps(name)}\n\n"
        f'[{name}.deploy.parameters]\ncapabilities = "CAPABILITY_IAM CAPABILITY_AUTO_EXPAND"\n'
        f"resolve_s3 = true\ns3_prefix = {json.dumps(name)}\n\n"
        f"[{name}.deploy.parameters.parameter_overrides]\n{overrides}"
    )
    return environment, notes


def _endpoints(name: str, said: Any) -> dict[str, str]:
    """Names and endpoints, as the sample reads them: JSON, else a literal of Python."""
    endpoints = said
    if isinstance(said, str):
        try:
            endpoints = json.loads(said)
        except ValueError:
            try:
                endpoints = ast.literal_eval(said)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                endpoints = None
    if not isinstance(endpoints, dict) or not all(isinstance(part, str) for pair in endpoints.items() for part in pair):
        raise CannotMigrate(f"{name}: SAGEMAKER_ENDPOINTS is no object of names to endpoints")
    return endpoints


def as_parameter(value: Any) -> str:
    r"""JSON that SAM CLI hands on as it is: it takes away a backslash that stands before a quotation mark or a space.

    Every character that JSON escapes stands as \uXXXX here, which leaves no such backslash.
    """

    def by_number(escape: re.Match[str]) -> str:
        return f"\\u{ord(json.loads(chr(34) + escape[0] + chr(34))):04x}"

    return re.sub(r"\\[^u]", by_number, json.dumps(value, separators=(",", ":")))


def _command(unit: Mapping[str, Any]) -> str:
    name = name_of(unit.get("STACK_PREFIX", ""))
    if not is_key_only(unit):
        return f"sam build && sam deploy --config-env {name}"
    tenant = name.removesuffix("-model-gateway")
    given = {"TenantId": tenant} | (
        {"RestApiId": unit["API_GATEWAY_ID"]}
        if unit.get("API_GATEWAY_ID")
        else {"GatewayStack": name_of(unit.get("PARENT_STACK_PREFIX", ""))}
    )
    given |= {PARAMETERS[key]: unit[key] for key in ("API_THROTTLING_RATE", "API_BURST_RATE") if unit.get(key)}
    overrides = " ".join(f"{key}={value}" for key, value in given.items())
    return f"sam deploy -t templates/tenant.yaml --stack-name tenant-{tenant} --parameter-overrides {overrides}"


def _left_out(unit: Mapping[str, Any]) -> Iterator[str]:
    name = name_of(unit.get("STACK_PREFIX", ""))
    if unit.get("API_GATEWAY_ID"):
        yield f"# {name}: RestApiId also needs StageName and ManageTenantsArn, outputs of the gateway's stack"
    for key in unit:
        if key in GONE:
            yield f"# {name}: {key} is left out: {GONE[key]}"
        elif key not in KNOWN:
            yield f"# {name}: {key} is not known; decide what it is to become"


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    fault = None
    try:
        environments, notes = migrate(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except CannotMigrate as error:
        fault, (environments, notes) = error, error.rest
    except (OSError, ValueError) as error:
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)
        return 1
    if environments or notes:
        print("# Append this to samconfig.toml:\n\n" + environments)
        print("# Then run:\n\n" + "\n".join(notes))
    if fault:
        print(f"{sys.argv[1]}: {fault}", file=sys.stderr)
    return int(fault is not None)


if __name__ == "__main__":
    sys.exit(run(main))
