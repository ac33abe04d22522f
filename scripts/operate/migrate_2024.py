"""Turns the 2024 sample's configuration into what deploys the same units: `gateway migrate`.

Each full deployment becomes an environment of samconfig.toml (`sam deploy --config-env UNIT`), each API-key deployment
a `sam deploy` of templates/tenant.yaml. Tenants and keys are made anew, by commands that are printed: the sample kept
keys in clear, and an API key of API Gateway is no credential here. What has no counterpart is named, never dropped. A
unit that cannot be read is named, and the others become what they become all the same.

    STACK_PREFIX                            the names of the stack, the environment and the tenant; the tag Tenant
    VPC_CIDR                                Network=functions-in-vpc, VpcCidr and ClientCidr
    API_THROTTLING_RATE, API_BURST_RATE     RateLimit, BurstLimit; 10000 where they are left out, as there
    SAGEMAKER_ENDPOINTS                     SageMakerEndpoints; JSON, else a literal of Python
    PARENT_STACK_PREFIX, API_GATEWAY_ID     GatewayStack of templates/tenant.yaml

What its tenants' code meets is in docs/call/coming-from-the-2024-sample.md.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.usage.records import is_label
from scripts.project.template import ROOT, load, refusal

# Of no use any more, and why.
GONE = {
    "BEDROCK_ENDPOINT": "the region's own endpoint is used",
    "BEDROCK_SDK_URL": "boto3 comes from requirements.lock",
    "BEDROCK_REQUIREMENTS": "boto3 comes from requirements.lock",
    "LANGCHAIN_REQUIREMENTS": "no function needs LangChain",
    "PANDAS_REQUIREMENTS": "no function needs pandas",
    "API_GATEWAY_RESOURCE_ID": "a usage plan is attached to the API's stage",
}
RATES = {"API_THROTTLING_RATE": "RateLimit", "API_BURST_RATE": "BurstLimit"}
RATE_UNSAID = 10000  # of the sample, for both
KNOWN = {
    *GONE, *RATES, "STACK_PREFIX", "VPC_CIDR", "SAGEMAKER_ENDPOINTS", "PARENT_STACK_PREFIX", "API_GATEWAY_ID",
}  # fmt: skip
# What the sample deployed whole had to say, the newer way and the older one.
WHOLE = ("VPC_CIDR", "LANGCHAIN_REQUIREMENTS", "PANDAS_REQUIREMENTS")
SDK = ("BEDROCK_REQUIREMENTS", "BEDROCK_SDK_URL")
PROJECT = "SO9482"  # the sample's own tag of this name
SUFFIX = "model-gateway"
TENANTS = (".venv/bin/gateway", "tenants")  # as it is typed in the project's folder
LONGEST_NAME = 65  # of a gateway's stack, or a name that is made of it is too long
MOST_COST_CENTRES = 100
ENDPOINT = re.compile(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,62}")  # SageMaker's API reference, CreateEndpoint
TAG = re.compile(r"[\w+\-.:/@ ]{1,256}")

Unit = Mapping[str, Any]


class CannotMigrate(ValueError):
    """The file, or a unit of it, is not what the sample reads. `rest` is what the other units become."""

    def __init__(self, message: str, rest: tuple[str, list[str]] = ("", [])):
        super().__init__(message)
        self.rest = rest


# ---------------------------------------------------------------------------------------------------------------- names
def slug(prefix: str) -> str:
    """A prefix as it may stand in a stack's name, a key of TOML and the name of a database."""
    return re.sub(r"[^a-z0-9]+", "-", prefix.lower()).strip("-")[: LONGEST_NAME - len(SUFFIX) - 10].strip("-")


def name_of(prefix: str) -> str:
    """The stack that a unit becomes. Glue and Athena name a database after it, and know no capitals."""
    name = "-".join(filter(None, (slug(prefix), SUFFIX)))
    return name if name[0].isalpha() else f"unit-{name}"


class Names:
    """Names that were not given yet."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def new(self, wanted: str) -> str:
        name, number = wanted, 1
        while name.lower() in self._given:
            number += 1
            name = f"{wanted}-{number}"
        self._given.add(name.lower())
        return name


@dataclass(frozen=True)
class Named:
    """A unit and what becomes of it: a gateway, or one more tenant of one. `tenant` is who calls by its key."""

    unit: Unit
    key_only: bool
    stack: str
    tenant: str
    team_ids: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        return str(self.unit["STACK_PREFIX"])


def is_key_only(unit: Unit) -> bool:
    """Did the sample deploy an API key alone? As it decided, but that what is empty names no API and no network."""
    if all(unit.get(name) is not None for name in WHOLE) and any(unit.get(name) is not None for name in SDK):
        return False
    if unit.get("API_GATEWAY_ID") or unit.get("PARENT_STACK_PREFIX"):
        return True
    # A gateway without a prefix is named by an empty one; so is none, where the unit is one itself.
    return unit.get("PARENT_STACK_PREFIX") is not None and not any(
        unit.get(name) for name in (*WHOLE, *SDK, "SAGEMAKER_ENDPOINTS")
    )


def named(units: Sequence[Unit], team_ids: Mapping[str, Sequence[str]]) -> Iterator[Named | CannotMigrate]:
    stacks, tenants = Names(), Names()
    for number, unit in enumerate(units, 1):
        prefix = unit.get("STACK_PREFIX")
        if not isinstance(prefix, str) or not (prefix.isprintable() or prefix == ""):
            yield CannotMigrate(f"unit {number}: STACK_PREFIX is not defined")
            continue
        key_only = is_key_only(unit)
        base = slug(prefix) or "tenant"
        wanted = prefix if is_label(prefix) else base
        stack = stacks.new(f"tenant-{base}" if key_only else name_of(prefix))
        said = tuple(dict.fromkeys(team_ids.get(prefix, ())))
        if strange := [team for team in said if not is_label(team)]:
            yield CannotMigrate(
                f"{stack}: the team id {strange[0]!r} can be no cost centre, which begins with a letter or digit and "
                "has up to 128 letters, digits, _.:@ -"
            )
        elif len(said) > MOST_COST_CENTRES:
            yield CannotMigrate(
                f"{stack}: {len(said)} team ids, and a tenant has {MOST_COST_CENTRES} cost centres at most"
            )
        else:
            yield Named(unit, key_only, stack, tenants.new(wanted), said)


# ------------------------------------------------------------------------------------------------------------ the whole
def migrate(
    units: Any, team_ids: Mapping[str, Sequence[str]] | None = None, gateway: str = ""
) -> tuple[str, list[str]]:
    """What to append to samconfig.toml, and what to run and to know. Raises CannotMigrate, with the rest of it."""
    if not isinstance(units, list) or not all(isinstance(unit, dict) for unit in units):
        raise CannotMigrate("configs.json must be a list of units")
    declared = load(ROOT / "template.yaml")["Parameters"]
    environments: list[str] = []
    lines: list[str] = []
    faults: list[str] = []
    readable: list[Named] = []
    for found in named(units, team_ids or {}):
        if isinstance(found, Named):
            readable.append(found)
        else:
            faults.append(str(found))
    gateways = [unit for unit in readable if not unit.key_only]
    for unit in gateways:
        try:
            environment, about = _environment(unit, declared)
        except CannotMigrate as error:
            faults.append(str(error))
            continue
        environments.append(environment)
        lines += [*about, *_gateway_commands(unit), *_left_out(unit), ""]
    for unit in (unit for unit in readable if unit.key_only):
        try:
            lines += [*_tenant_commands(unit, gateways, gateway), *_left_out(unit), ""]
        except CannotMigrate as error:
            faults.append(str(error))
    rest = "\n".join(environments), lines
    if faults:
        raise CannotMigrate("; ".join(faults), rest)
    return rest


# ---------------------------------------------------------------------------------------------------------- full units
def _environment(unit: Named, declared: Mapping[str, Any]) -> tuple[str, list[str]]:
    """A unit's tables of samconfig.toml, and what there is to know of it.

    Parameters are a table: of a text "Name=value" SAM CLI keeps what stands before the value's first quotation mark.
    """
    name = unit.stack
    parameters, notes = _network(unit)
    parameters |= _rates(unit)
    if said := unit.unit.get("SAGEMAKER_ENDPOINTS"):
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
    overrides = "".join(f"{key} = {_toml(value)}\n" for key, value in parameters.items())
    tags = ", ".join(map(_toml, _tags(unit)))
    environment = (
        f"[{name}.global.parameters]\nstack_name = {_toml(name)}\n\n"
        f'[{name}.deploy.parameters]\ncapabilities = "CAPABILITY_IAM CAPABILITY_AUTO_EXPAND"\n'
        f"resolve_s3 = true\ns3_prefix = {_toml(name)}\ntags = [{tags}]\n\n"
        f"[{name}.deploy.parameters.parameter_overrides]\n{overrides}"
    )
    return environment, notes


def _network(unit: Named) -> tuple[dict[str, str], list[str]]:
    """The shape that the sample's deployment has, and a line that says it."""
    if not (cidr := unit.unit.get("VPC_CIDR")):
        return {}, [f"# {unit.stack}: it names no VPC, so that its functions run in none and its API is public."]
    shape = {"Network": "functions-in-vpc", "VpcCidr": str(cidr), "ClientCidr": str(cidr)}
    return shape, [
        f"# {unit.stack}: as before, its API is public and its functions run in a VPC ({cidr}) that this stack makes.",
        f"# {unit.stack}: Network=private would make the API private too; ClientCidr would then say who may call it.",
    ]


def _rates(unit: Named) -> dict[str, str]:
    rates = {}
    for theirs, ours in RATES.items():
        said = unit.unit.get(theirs)
        text = str(RATE_UNSAID if said is None or said == "" else said)
        if isinstance(said, bool) or not re.fullmatch(r"[0-9]{1,9}(\.0+)?", text):
            raise CannotMigrate(f"{unit.stack}: {theirs}, which is {said!r}, is no whole number")
        rates[ours] = text.partition(".")[0]
    return rates


def _endpoints(name: str, said: Any) -> dict[str, str]:
    """Names and endpoints, as the sample reads them: JSON, else a literal of Python."""
    endpoints = said
    if isinstance(said, str):
        try:
            endpoints = json.loads(said)
        except ValueError:
            try:
                endpoints = ast.literal_eval(said)
            except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
                endpoints = None
    if not isinstance(endpoints, dict) or not all(isinstance(part, str) for pair in endpoints.items() for part in pair):
        raise CannotMigrate(f"{name}: SAGEMAKER_ENDPOINTS is no object of names to endpoints")
    if wrong := [endpoint for endpoint in endpoints.values() if not ENDPOINT.fullmatch(endpoint)]:
        raise CannotMigrate(
            f"{name}: SAGEMAKER_ENDPOINTS names {wrong[0]!r}, and no endpoint of SageMaker is called so"
        )
    return endpoints


def as_parameter(value: Any) -> str:
    r"""JSON that SAM CLI hands on as it is: it takes away a backslash that stands before a quotation mark or a space.

    Every character that JSON escapes stands as \uXXXX here, which leaves no such backslash.
    """

    def by_number(escape: re.Match[str]) -> str:
        return f"\\u{ord(json.loads(chr(34) + escape[0] + chr(34))):04x}"

    return re.sub(r"\\[^u]", by_number, json.dumps(value, separators=(",", ":")))


def _toml(text: str) -> str:
    r"""A basic string of TOML. JSON's is one, but for halves of characters (\ud83d), and U+007F wants to be escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _tags(unit: Named) -> list[str]:
    """The tags that the sample put on its stacks: reports by tag go on."""
    return [*([f"Tenant={unit.prefix}"] if TAG.fullmatch(unit.prefix) else []), f"Project={PROJECT}"]


def _gateway_commands(unit: Named) -> Iterator[str]:
    yield f"sam build && sam deploy --config-env {unit.stack}"
    yield f"# {unit.stack}: no tenant and no key exists yet. This makes one of each, and shows the key once:"
    centres = [part for team in unit.team_ids for part in ("--cost-centre", team)]
    made = shlex.join([*TENANTS, "add", unit.tenant, *centres, "--stack", unit.stack])
    unsaid = "" if centres else "  # --cost-centre TEAM_ID, once for each team_id that its code sends"
    yield made + unsaid
    yield from _teams(unit)
    yield f"# {unit.stack}: the old stack deletes its bucket of cost reports with itself. Save them before it goes:"
    older = "metering" if unit.unit.get("BEDROCK_SDK_URL") else "cost-tracking"
    saved = f"s3://{unit.prefix}-bucket-{older}-bedrock"
    yield shlex.join(["aws", "s3", "sync", saved, f"old-costs-{unit.stack}"])
    yield f"# {unit.stack}: deployed before 10 January 2024 that bucket's name ends in -bucket-metering-bedrock."


# ------------------------------------------------------------------------------------------------------- API-key units
def _tenant_commands(unit: Named, gateways: Sequence[Named], gateway: str) -> Iterator[str]:
    stack, about = _gateway_of(unit, gateways, gateway)
    yield from about
    given = {"GatewayStack": stack, "TenantId": unit.tenant, **_rates(unit)}
    if unit.team_ids:
        given["CostCentres"] = ",".join(unit.team_ids)
    overrides = shlex.join(f"{name}={_quoted(value)}" for name, value in given.items())
    unsaid = "" if unit.team_ids else "  # CostCentres=TEAM_ID,TEAM_ID before --tags: each team_id that its code sends"
    yield (
        f"sam deploy -t templates/tenant.yaml --stack-name {unit.stack} --parameter-overrides {overrides} "
        f"--tags {shlex.join(_tags(unit))}{unsaid}"
    )
    yield from _teams(unit)
    yield f"# {unit.stack}: that makes the tenant, and no key. This makes one, and shows it once:"
    yield shlex.join([*TENANTS, "key", unit.tenant, "--stack", stack])


def _gateway_of(unit: Named, gateways: Sequence[Named], gateway: str) -> tuple[str, list[str]]:
    """The stack of the gateway that the unit becomes a tenant of, and what there is to know of it."""
    parent, api = unit.unit.get("PARENT_STACK_PREFIX"), _line(unit.unit.get("API_GATEWAY_ID") or "")
    if parent or not api:
        found = [one.stack for one in gateways if one.prefix == parent]
        several = f"# {unit.stack}: {' and '.join(found)} have the prefix {parent!r}: choose its GatewayStack."
        return found[0] if found else name_of(str(parent)), [several] if len(found) > 1 else []
    if not gateway and len(gateways) != 1:
        raise CannotMigrate(
            f"{unit.stack}: API_GATEWAY_ID {api} is the old API; name its new gateway's stack with --gateway"
        )
    about = f"# {unit.stack}: API_GATEWAY_ID {api} is left out: it is the old API, which is no gateway of this kind."
    return gateway or gateways[0].stack, [about]


def _line(text: Any) -> str:
    """As it may stand in a comment, which ends with its line."""
    return " ".join(str(text).split())


def _quoted(value: str) -> str:
    """A value of "Name=value", of which SAM CLI else keeps what stands before the first space."""
    return f'"{value}"' if " " in value else value


# ---------------------------------------------------------------------------------------------------------------- both
def _teams(unit: Named) -> Iterator[str]:
    if unit.team_ids:
        yield f"# {unit.stack}: team_id may be {', '.join(unit.team_ids)} or {unit.tenant}; any other is refused (403)."
    else:
        yield f"# {unit.stack}: without that the one team_id that is taken is {unit.tenant}; others are refused (403)."


def _left_out(unit: Named) -> Iterator[str]:
    if not TAG.fullmatch(unit.prefix):
        yield f"# {unit.stack}: the tag Tenant is left out: no tag has the value {unit.prefix!r}"
    for key, said in ((_line(key), said) for key, said in unit.unit.items()):
        if key in GONE:
            yield f"# {unit.stack}: {key} is left out: {GONE[key]}"
        elif key not in KNOWN:
            yield f"# {unit.stack}: {key} is not known; decide what it is to become"
        elif unit.key_only and key in ("VPC_CIDR", "SAGEMAKER_ENDPOINTS") and said:
            yield f"# {unit.stack}: {key} is left out: it is the gateway's, and this is an API key of one"
        elif not unit.key_only and key in ("PARENT_STACK_PREFIX", "API_GATEWAY_ID"):
            yield f"# {unit.stack}: {key} is left out: a full deployment has an API of its own"


def read_team_ids(path: Path) -> dict[str, list[str]]:
    """Raises ValueError and OSError."""
    said = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(said, dict) or not all(
        isinstance(teams, list) and all(isinstance(team, str) for team in teams) for teams in said.values()
    ):
        raise ValueError('an object of STACK_PREFIX to a list of team ids is wanted, as {"retail": ["web", "app"]}')
    return said


@dataclass(frozen=True)
class Migration:
    """What to append to samconfig.toml, what to run and to know, and what could not be read."""

    samconfig: str
    commands: Sequence[str]
    fault: str = ""


def read_and_migrate(configs: Path, team_ids: Path | None, gateway: str) -> Migration:
    """The same for files. A file that is none is a fault, told with its path."""
    path = team_ids or configs
    try:
        teams = read_team_ids(team_ids) if team_ids else {}
        path = configs
        return Migration(*migrate(json.loads(path.read_text(encoding="utf-8")), teams, gateway))
    except CannotMigrate as error:
        return Migration(*error.rest, f"{path}: {error}")
    except (OSError, ValueError, RecursionError) as error:
        return Migration("", [], f"{path}: {error}")
