"""Turns the 2024 sample's configuration into what deploys the same units: `python -m scripts.migrate configs.json`.

Each full deployment becomes an environment of samconfig.toml (`sam deploy --config-env UNIT`), each API-key deployment
a `sam deploy` of templates/tenant.yaml. Keys are made anew: the sample kept them in clear, and an API key of API
Gateway is no credential here. What has no counterpart is named, never dropped.

    STACK_PREFIX                            the stack's name and the environment's
    VPC_CIDR                                Network=private, VpcCidr
    API_THROTTLING_RATE, API_BURST_RATE     RateLimit, BurstLimit
    SAGEMAKER_ENDPOINTS                     SageMakerEndpoints
    PARENT_STACK_PREFIX                     GatewayStack of templates/tenant.yaml
    API_GATEWAY_ID                          RestApiId of templates/tenant.yaml
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.command import run

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
    """The file is not what the sample reads."""


def name_of(prefix: str) -> str:
    """The stack that a unit becomes: a CloudFormation name, and a key of TOML."""
    return "-".join(filter(None, (re.sub(r"[^A-Za-z0-9]+", "-", prefix).strip("-"), "model-gateway")))


def is_key_only(unit: Mapping[str, Any]) -> bool:
    return bool(unit.get("PARENT_STACK_PREFIX") or unit.get("API_GATEWAY_ID")) or "PARENT_STACK_PREFIX" in unit


def migrate(units: Any) -> tuple[str, list[str]]:
    """What to append to samconfig.toml, and what to run and to know. Raises CannotMigrate."""
    if not isinstance(units, list) or not all(isinstance(unit, dict) for unit in units):
        raise CannotMigrate("configs.json must be a list of units")
    full = [unit for unit in units if not is_key_only(unit)]
    notes = [note for unit in units for note in _left_out(unit)]
    return "\n".join(map(_environment, full)), [*_commands(units), *notes]


def _environment(unit: Mapping[str, Any]) -> str:
    name = name_of(unit.get("STACK_PREFIX", ""))
    parameters = {ours: unit[theirs] for theirs, ours in PARAMETERS.items() if unit.get(theirs)}
    if "VpcCidr" in parameters:
        parameters = {"Network": "private", **parameters}
    if endpoints := unit.get("SAGEMAKER_ENDPOINTS"):
        said = endpoints if isinstance(endpoints, str) else json.dumps(endpoints)
        try:
            parameters["SageMakerEndpoints"] = json.dumps(json.loads(said), separators=(",", ":"))
        except ValueError as error:
            raise CannotMigrate(f"{name}: SAGEMAKER_ENDPOINTS is no JSON object of names to endpoints") from error
    overrides = ", ".join(json.dumps(f"{key}={value}") for key, value in parameters.items())
    return (
        f"[{name}.global.parameters]\nstack_name = {json.dumps(name)}\n\n"
        f'[{name}.deploy.parameters]\ncapabilities = "CAPABILITY_IAM CAPABILITY_AUTO_EXPAND"\n'
        f"resolve_s3 = true\ns3_prefix = {json.dumps(name)}\nparameter_overrides = [{overrides}]\n"
    )


def _commands(units: list[dict[str, Any]]) -> Iterator[str]:
    for unit in units:
        name = name_of(unit.get("STACK_PREFIX", ""))
        if not is_key_only(unit):
            yield f"sam build && sam deploy --config-env {name}"
            continue
        tenant = name.removesuffix("-model-gateway")
        given = {"TenantId": tenant} | (
            {"RestApiId": unit["API_GATEWAY_ID"]}
            if unit.get("API_GATEWAY_ID")
            else {"GatewayStack": name_of(unit.get("PARENT_STACK_PREFIX", ""))}
        )
        given |= {PARAMETERS[key]: unit[key] for key in ("API_THROTTLING_RATE", "API_BURST_RATE") if unit.get(key)}
        overrides = " ".join(f"{key}={value}" for key, value in given.items())
        yield f"sam deploy -t templates/tenant.yaml --stack-name tenant-{tenant} --parameter-overrides {overrides}"


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
    try:
        environments, notes = migrate(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)
        return 1
    print("# Append this to samconfig.toml:\n\n" + environments)
    print("# Then run:\n\n" + "\n".join(notes))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
