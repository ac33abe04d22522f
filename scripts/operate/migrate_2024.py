"""Turns the 2024 sample's configuration into commands that deploy the same units: `gateway migrate`.

Each full deployment becomes an environment of samconfig.toml (`sam deploy --config-env UNIT`), each API-key deployment
a `sam deploy` of templates/tenant.yaml. Printed commands create new tenants and keys: the sample stored keys in clear
text, and an API Gateway key is no credential here. The output lists every setting without a counterpart. An unreadable
unit is reported and does not stop the others.

    STACK_PREFIX                            the names of the stack, the environment and the tenant; the tag Tenant
    VPC_CIDR                                Network=functions-in-vpc, VpcCidr and ClientCidr
    API_THROTTLING_RATE, API_BURST_RATE     RateLimit, BurstLimit; 10000 by default, as in the sample
    SAGEMAKER_ENDPOINTS                     SageMakerEndpoints; JSON, else a literal of Python
    PARENT_STACK_PREFIX, API_GATEWAY_ID     GatewayStack of templates/tenant.yaml

docs/call/coming-from-the-2024-sample.md describes the changes for its tenants' code.
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

# Obsolete keys, with the reason.
GONE = {
    "BEDROCK_ENDPOINT": "the region's own endpoint is used",
    "BEDROCK_SDK_URL": "boto3 comes from requirements.lock",
    "BEDROCK_REQUIREMENTS": "boto3 comes from requirements.lock",
    "LANGCHAIN_REQUIREMENTS": "no function needs LangChain",
    "PANDAS_REQUIREMENTS": "no function needs pandas",
    "API_GATEWAY_RESOURCE_ID": "a usage plan is attached to the API's stage",
}
RATES = {"API_THROTTLING_RATE": "RateLimit", "API_BURST_RATE": "BurstLimit"}
RATE_UNSAID = 10000  # the sample's own, for both
KNOWN = {
    *GONE, *RATES, "STACK_PREFIX", "VPC_CIDR", "SAGEMAKER_ENDPOINTS", "PARENT_STACK_PREFIX", "API_GATEWAY_ID",
}  # fmt: skip
# The keys that a full deployment of the sample required, in the newer form and the older one.
WHOLE = ("VPC_CIDR", "LANGCHAIN_REQUIREMENTS", "PANDAS_REQUIREMENTS")
SDK = ("BEDROCK_REQUIREMENTS", "BEDROCK_SDK_URL")
PROJECT = "SO9482"  # the sample's own tag of this name
SUFFIX = "model-gateway"
TENANTS = (".venv/bin/gateway", "tenants")  # as typed in the project's folder
LONGEST_NAME = 65  # characters of a gateway's stack name; a longer one makes a derived name too long
MOST_COST_CENTRES = 100
ENDPOINT = re.compile(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,62}")  # SageMaker's API reference, CreateEndpoint
TAG = re.compile(r"[\w+\-.:/@ ]{1,256}")

Unit = Mapping[str, Any]


class CannotMigrate(ValueError):
    """The file, or a unit of it, is not in the sample's format. `rest` is the output for the other units."""

    def __init__(self, message: str, rest: tuple[str, list[str]] = ("", [])):
        super().__init__(message)
        self.rest = rest


# ---------------------------------------------------------------------------------------------------------------- names
def slug(prefix: str) -> str:
    """A prefix in a form that is valid in a stack's name, a TOML key and a database's name."""
    return re.sub(r"[^a-z0-9]+", "-", prefix.lower()).strip("-")[: LONGEST_NAME - len(SUFFIX) - 10].strip("-")


def name_of(prefix: str) -> str:
    """A unit's stack name. Glue and Athena name a database after it, and allow no capitals."""
    name = "-".join(filter(None, (slug(prefix), SUFFIX)))
    return name if name[0].isalpha() else f"unit-{name}"


class Names:
    """Names that are still free."""

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
    """A unit and its migration target: a gateway, or another tenant of one. `tenant` owns its key."""

    unit: Unit
    key_only: bool
    stack: str
    tenant: str
    team_ids: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        return str(self.unit["STACK_PREFIX"])


def is_key_only(unit: Unit) -> bool:
    """Did the sample deploy only an API key? By its own rule, except that empty values name no API and no network."""
    if all(unit.get(name) is not None for name in WHOLE) and any(unit.get(name) is not None for name in SDK):
        return False
    if unit.get("API_GATEWAY_ID") or unit.get("PARENT_STACK_PREFIX"):
        return True
    # An empty prefix names a gateway without a prefix, or none if the unit itself is a gateway.
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
                f"{stack}: the team id {strange[0]!r} cannot be a cost centre, which begins with a letter or digit and "
                "has up to 128 letters, digits, _.:@ -"
            )
        elif len(said) > MOST_COST_CENTRES:
            yield CannotMigrate(
                f"{stack}: {len(said)} team ids, but a tenant has at most {MOST_COST_CENTRES} cost centres"
            )
        else:
            yield Named(unit, key_only, stack, tenants.new(wanted), said)


# ------------------------------------------------------------------------------------------------------------ the whole
def migrate(
    units: Any, team_ids: Mapping[str, Sequence[str]] | None = None, gateway: str = ""
) -> tuple[str, list[str]]:
    """The lines for samconfig.toml, the commands and the notes. Raises CannotMigrate, with the rest of the output."""
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
    """A unit's tables of samconfig.toml, and its notes.

    Parameters are a table: in a text "Name=value" SAM CLI cuts the value at its first quotation mark.
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
            notes.append(f"# {name}: a parameter cannot hold {len(endpoints)} endpoints; put this into an S3 object,")
            notes.append(f"# {name}: and name the object in ModelRoutesUri: {whole}")
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
    """The shape of the sample's deployment, and a line that describes it."""
    if not (cidr := unit.unit.get("VPC_CIDR")):
        return {}, [f"# {unit.stack}: it names no VPC, so its functions run outside a VPC and its API is public."]
    shape = {"Network": "functions-in-vpc", "VpcCidr": str(cidr), "ClientCidr": str(cidr)}
    return shape, [
        f"# {unit.stack}: as before, its API is public and its functions run in a VPC ({cidr}) that this stack makes.",
        f"# {unit.stack}: Network=private would make the API private too; ClientCidr would then restrict its callers.",
    ]


def _rates(unit: Named) -> dict[str, str]:
    rates = {}
    for theirs, ours in RATES.items():
        said = unit.unit.get(theirs)
        text = str(RATE_UNSAID if said is None or said == "" else said)
        if isinstance(said, bool) or not re.fullmatch(r"[0-9]{1,9}(\.0+)?", text):
            raise CannotMigrate(f"{unit.stack}: {theirs}, which is {said!r}, is not a whole number")
        rates[ours] = text.partition(".")[0]
    return rates


def _endpoints(name: str, said: Any) -> dict[str, str]:
    """Names and endpoints, parsed as the sample does: JSON, else a Python literal."""
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
        raise CannotMigrate(f"{name}: SAGEMAKER_ENDPOINTS is not an object of names to endpoints")
    if wrong := [endpoint for endpoint in endpoints.values() if not ENDPOINT.fullmatch(endpoint)]:
        raise CannotMigrate(
            f"{name}: SAGEMAKER_ENDPOINTS has {wrong[0]!r}, which is not a valid SageMaker endpoint name"
        )
    return endpoints


def as_parameter(value: Any) -> str:
    r"""JSON that SAM CLI passes on unchanged: it removes a backslash before a quotation mark or a space.

    Every character that JSON escapes becomes \uXXXX here, so no such backslash remains.
    """

    def by_number(escape: re.Match[str]) -> str:
        return f"\\u{ord(json.loads(chr(34) + escape[0] + chr(34))):04x}"

    return re.sub(r"\\[^u]", by_number, json.dumps(value, separators=(",", ":")))


def _toml(text: str) -> str:
    r"""A basic TOML string. JSON's form is valid, except for lone surrogates (\ud83d), and U+007F must be escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _tags(unit: Named) -> list[str]:
    """The sample's own stack tags, so that reports by tag continue."""
    return [*([f"Tenant={unit.prefix}"] if TAG.fullmatch(unit.prefix) else []), f"Project={PROJECT}"]


def _gateway_commands(unit: Named) -> Iterator[str]:
    yield f"sam build && sam deploy --config-env {unit.stack}"
    yield f"# {unit.stack}: no tenant and no key exists yet. This creates one of each, and shows the key once:"
    centres = [part for team in unit.team_ids for part in ("--cost-centre", team)]
    made = shlex.join([*TENANTS, "add", unit.tenant, *centres, "--stack", unit.stack])
    unsaid = "" if centres else "  # --cost-centre TEAM_ID, once for each team_id that its code sends"
    yield made + unsaid
    yield from _teams(unit)
    yield f"# {unit.stack}: deleting the old stack deletes its bucket of cost reports. Save them first:"
    older = "metering" if unit.unit.get("BEDROCK_SDK_URL") else "cost-tracking"
    saved = f"s3://{unit.prefix}-bucket-{older}-bedrock"
    yield shlex.join(["aws", "s3", "sync", saved, f"old-costs-{unit.stack}"])
    yield f"# {unit.stack}: if deployed before 10 January 2024, that bucket's name ends in -bucket-metering-bedrock."


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
    yield f"# {unit.stack}: that creates the tenant without a key. This creates a key, and shows it once:"
    yield shlex.join([*TENANTS, "key", unit.tenant, "--stack", stack])


def _gateway_of(unit: Named, gateways: Sequence[Named], gateway: str) -> tuple[str, list[str]]:
    """The stack of the gateway that the unit becomes a tenant of, and notes about it."""
    parent, api = unit.unit.get("PARENT_STACK_PREFIX"), _line(unit.unit.get("API_GATEWAY_ID") or "")
    if parent or not api:
        found = [one.stack for one in gateways if one.prefix == parent]
        several = f"# {unit.stack}: {' and '.join(found)} have the prefix {parent!r}: choose its GatewayStack."
        return found[0] if found else name_of(str(parent)), [several] if len(found) > 1 else []
    if not gateway and len(gateways) != 1:
        raise CannotMigrate(
            f"{unit.stack}: API_GATEWAY_ID {api} is the old API; name its new gateway's stack with --gateway"
        )
    about = f"# {unit.stack}: API_GATEWAY_ID {api} is left out: it is the old API, not a gateway of this kind."
    return gateway or gateways[0].stack, [about]


def _line(text: Any) -> str:
    """A text in a form that is valid in a one-line comment."""
    return " ".join(str(text).split())


def _quoted(value: str) -> str:
    """A value of "Name=value", which SAM CLI would otherwise cut at the first space."""
    return f'"{value}"' if " " in value else value


# ---------------------------------------------------------------------------------------------------------------- both
def _teams(unit: Named) -> Iterator[str]:
    if unit.team_ids:
        yield f"# {unit.stack}: team_id may be {', '.join(unit.team_ids)} or {unit.tenant}; any other is refused (403)."
    else:
        yield f"# {unit.stack}: without that, the only accepted team_id is {unit.tenant}; others are refused (403)."


def _left_out(unit: Named) -> Iterator[str]:
    if not TAG.fullmatch(unit.prefix):
        yield f"# {unit.stack}: the tag Tenant is left out: no tag has the value {unit.prefix!r}"
    for key, said in ((_line(key), said) for key, said in unit.unit.items()):
        if key in GONE:
            yield f"# {unit.stack}: {key} is left out: {GONE[key]}"
        elif key not in KNOWN:
            yield f"# {unit.stack}: {key} is unknown; migrate it by hand if you need it"
        elif unit.key_only and key in ("VPC_CIDR", "SAGEMAKER_ENDPOINTS") and said:
            yield f"# {unit.stack}: {key} is left out: it is the gateway's, and this is an API key of one"
        elif not unit.key_only and key in ("PARENT_STACK_PREFIX", "API_GATEWAY_ID"):
            yield f"# {unit.stack}: {key} is left out: a full deployment has its own API"


def read_team_ids(path: Path) -> dict[str, list[str]]:
    """Raises ValueError and OSError."""
    said = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(said, dict) or not all(
        isinstance(teams, list) and all(isinstance(team, str) for team in teams) for teams in said.values()
    ):
        raise ValueError('map each STACK_PREFIX to a list of team ids, such as {"retail": ["web", "app"]}')
    return said


@dataclass(frozen=True)
class Migration:
    """The lines for samconfig.toml, the commands, the notes, and the unreadable units."""

    samconfig: str
    commands: Sequence[str]
    fault: str = ""


def read_and_migrate(configs: Path, team_ids: Path | None, gateway: str) -> Migration:
    """The same for files. An unreadable file is an error with its path."""
    path = team_ids or configs
    try:
        teams = read_team_ids(team_ids) if team_ids else {}
        path = configs
        return Migration(*migrate(json.loads(path.read_text(encoding="utf-8")), teams, gateway))
    except CannotMigrate as error:
        return Migration(*error.rest, f"{path}: {error}")
    except (OSError, ValueError, RecursionError) as error:
        return Migration("", [], f"{path}: {error}")
