"""Tenants from the command line.

    python -m scripts.operate.tenants plan  -f tenants.yaml --stack NAME   what apply would do
    python -m scripts.operate.tenants apply -f tenants.yaml --stack NAME   make the gateway's tenants what the file says
    python -m scripts.operate.tenants show  --stack NAME                   what there is, in the form of the file
    python -m scripts.operate.tenants add TENANT_ID --cost-centre research --stack NAME     one tenant with one key
    python -m scripts.operate.tenants key TENANT_ID --stack NAME           one more key of a tenant that there is

The first three talk to the gateway's admin API, signed with the AWS credentials of the environment: that of a stack, of
`--url https://…`, or with `--local` of the local stack. A key is printed once, when it is made, or written to the file
of `--keys-out`, and never again. `add` and `key` need no API: they reach the tenants table of the stack, or that which
--table (or TENANTS_TABLE) names. An example of the file is examples/tenants.yaml.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, TypeVar

import boto3
import requests
import yaml
from botocore.credentials import Credentials
from botocore.exceptions import NoCredentialsError
from botocore.session import get_session

from gateway.aws.dynamodb.tenants import TenantTable, add_key, add_tenant
from gateway.core.errors import BadRequest
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import TenantId
from scripts.operate.admin_api import AdminApi, Refused, of
from scripts.operate.tenants_file import Wanted, WantedKey, WrongFile, is_live, read, shown
from scripts.project.command import WrongUse, run, sentence

_THREADS = 16
Item = TypeVar("Item")
Result = TypeVar("Result")


# ---------------------------------------------------------------------------------------------------------- the change
@dataclass
class Change:
    """What has to be done to one tenant so that it is what the file says."""

    tenant_id: str
    lines: list[str] = field(default_factory=list)  # of the difference, for people
    settings: dict[str, Any] | None = None  # to put
    version: int | None = None  # which the difference was read from
    delete: bool = False
    make: list[WantedKey] = field(default_factory=list)
    revoke: list[str] = field(default_factory=list)
    kind: str = ""


def changes(api: AdminApi, wanted: list[Wanted], prune: str | None) -> list[Change]:
    """All that differs between the file and the gateway. With `prune` also what the file does not name."""
    there = {tenant["tenant_id"]: tenant for tenant in api.tenants()}
    now = datetime.now(UTC)

    def difference(tenant: Wanted) -> Change:
        found = there.get(tenant.tenant_id)
        change = Change(tenant.tenant_id)
        if found is None:
            change.kind, change.settings = "create", tenant.settings
            change.lines.append(f"+ {tenant.tenant_id}")
        elif (is_now := shown(found)) != tenant.shown:
            change.kind, change.settings, change.version = "change", tenant.settings, found["version"]
            change.lines += [f"~ {tenant.tenant_id}: {line}" for line in _fields("", is_now, tenant.shown)]
        if tenant.keys is not None:
            _compare_keys(change, tenant.keys, api.keys(tenant.tenant_id) if found else [], now, prune)
        return change

    found = _at_once(difference, wanted)
    if prune:
        named = {tenant.tenant_id for tenant in wanted}
        found += [_pruned(tenant, prune) for name, tenant in sorted(there.items()) if name not in named]
    return [change for change in found if change.lines]


def _compare_keys(
    change: Change, wanted: tuple[WantedKey, ...], keys: list[dict[str, Any]], now: datetime, prune: str | None
) -> None:
    live = [key for key in keys if is_live(key, now)]
    labels = {key["label"] for key in live}
    for key in wanted:
        if key.label not in labels and not key.is_over(now):
            change.make.append(key)
            change.lines.append(f"+ {change.tenant_id}: key {key.label!r}")
    if prune:
        for old in live:
            if old["label"] not in {key.label for key in wanted}:
                change.revoke.append(old["key_id"])
                change.lines.append(f"- {change.tenant_id}: key {old['label']!r} ({old['key_id']})")


def _pruned(tenant: dict[str, Any], prune: str) -> Change:
    change = Change(tenant["tenant_id"], version=tenant["version"])
    if prune == "delete":
        change.kind, change.delete, change.lines = "delete", True, [f"- {change.tenant_id}"]
    elif not tenant["suspended"]:
        change.kind, change.settings = "suspend", shown(tenant) | {"suspended": True}
        change.lines = [f"~ {change.tenant_id}: suspended false -> true"]
    return change


def _fields(way: str, before: Any, after: Any) -> list[str]:
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return [f"{way} {_word(before)} -> {_word(after)}"]
    lines = []
    for name in [*before, *(name for name in after if name not in before)]:
        if before.get(name) != after.get(name):
            lines += _fields(f"{way}.{name}" if way else name, before.get(name), after.get(name))
    return lines


def _word(value: Any) -> str:
    return "unset" if value is None else json.dumps(value)


class Keys:
    """Where the texts of new keys go, each at once and once."""

    def __init__(self, path: Path | None):
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        if path is not None:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.fchmod(descriptor, 0o600)
            self._file = os.fdopen(descriptor, "a")

    def show(self, tenant_id: str, made: dict[str, Any]) -> None:
        line = {"tenant_id": tenant_id, "label": made["label"], "key_id": made["key_id"], "key": made["key"]}
        with self._lock:
            print(json.dumps(line), file=self._file or sys.stdout, flush=True)


def carry_out(api: AdminApi, change: Change, keys: Keys) -> str | None:
    """Do it; the sentence of what went wrong, if anything did."""
    try:
        if change.delete:
            api.call("DELETE", of(change.tenant_id))
        if change.settings is not None:
            condition = {} if change.version is None else {"if-match": str(change.version)}
            api.must(api.send("PUT", of(change.tenant_id), change.settings, **condition))
        for key in change.make:
            body = {"label": key.label} | ({"expires_at": key.expires_at} if key.expires_at else {})
            keys.show(change.tenant_id, api.call("POST", f"{of(change.tenant_id)}/keys", body))
        for key_id in change.revoke:
            api.call("DELETE", f"{of(change.tenant_id)}/keys/{key_id}")
    except (Refused, requests.RequestException) as error:
        return f"{change.tenant_id}: {error if isinstance(error, Refused) else sentence(error)}"
    return None


def _at_once(act: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(act, items))


# ------------------------------------------------------------------------------------------------------------ commands
def plan(api: AdminApi, arguments: argparse.Namespace) -> int:
    found = changes(api, read(arguments.file), arguments.prune)
    _tell(found)
    return 0


def apply(api: AdminApi, arguments: argparse.Namespace) -> int:
    found = changes(api, read(arguments.file), arguments.prune)
    _tell(found)
    keys = Keys(arguments.keys_out) if any(change.make for change in found) else Keys(None)
    faults = [fault for fault in _at_once(lambda change: carry_out(api, change, keys), found) if fault]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def show(api: AdminApi, arguments: argparse.Namespace) -> int:
    named = {tenant.tenant_id for tenant in read(arguments.file)} if arguments.file else None
    tenants = [tenant for tenant in api.tenants() if named is None or tenant["tenant_id"] in named]

    def whole(tenant: dict[str, Any]) -> dict[str, Any]:
        live = [key for key in api.keys(tenant["tenant_id"]) if is_live(key)]
        keys = [{name: key[name] for name in ("label", "expires_at") if name in key} for key in live]
        return {"tenant_id": tenant["tenant_id"]} | shown(tenant) | ({"keys": keys} if keys else {})

    print(yaml.safe_dump(_at_once(whole, tenants), sort_keys=False, allow_unicode=True), end="")
    return 0


def _tell(found: list[Change]) -> None:
    """The difference, for people. It goes to stderr: stdout is for keys."""
    for change in found:
        for line in change.lines:
            print(line, file=sys.stderr)
    if not found:
        print("Nothing to change: the gateway is what the file says.", file=sys.stderr)
        return
    kinds = ("create", "change", "suspend", "delete")
    counted = [f"{sum(change.kind == kind for change in found)} to {kind}" for kind in kinds]
    made, revoked = (sum(len(getattr(change, name)) for change in found) for name in ("make", "revoke"))
    print(f"Tenants: {', '.join(counted)}. Keys: {made} to make, {revoked} to revoke.", file=sys.stderr)


def table_of(arguments: argparse.Namespace) -> str:
    """The tenants table that the command line names. Raises WrongUse."""
    table = arguments.table or (output(arguments.stack, "TenantsTableName") if arguments.stack else "")
    table = table or os.environ.get("TENANTS_TABLE", "")
    if not table:
        raise WrongUse("name the gateway's stack with --stack, or its output TenantsTableName with --table")
    return str(table)


def add(arguments: argparse.Namespace) -> int:
    table = table_of(arguments)
    tenant = Tenant(TenantId(arguments.tenant_id), arguments.name or arguments.tenant_id, tuple(arguments.cost_centre))
    add_tenant(table, tenant)
    print(add_key(table, arguments.tenant_id, arguments.label))
    return 0


def key(arguments: argparse.Namespace) -> int:
    table = table_of(arguments)
    if TenantTable(table).tenant(TenantId(arguments.tenant_id)) is None:
        raise WrongUse(f"there is no tenant {arguments.tenant_id}: `add` makes one with its first key")
    print(add_key(table, arguments.tenant_id, arguments.label))
    return 0


def reach(arguments: argparse.Namespace) -> AdminApi:
    """The admin API that the command line names. Raises WrongUse."""
    if arguments.local is not None:
        try:
            said = json.loads((Path(arguments.local) / "tenants.json").read_text())
            known = Credentials(said["admin"]["access_key_id"], said["admin"]["secret_access_key"])
        except (OSError, ValueError, KeyError) as error:
            raise WrongUse(f"no local stack has run in {arguments.local}: `make dev` starts one") from error
        return AdminApi(arguments.url or said["url"], arguments.region or said["region"], known)
    url = arguments.url or (output(arguments.stack, "ApiUrl", arguments.region) if arguments.stack else "")
    if not url:
        raise WrongUse("name the gateway with --stack or --url, or take --local")
    host = re.search(r"\.execute-api\.([a-z0-9-]+)\.", url)
    region = arguments.region or (host[1] if host else None) or os.environ.get("AWS_REGION")
    credentials = get_session().get_credentials()
    if credentials is None:
        raise NoCredentialsError
    if not region:
        raise WrongUse("name the --region")
    return AdminApi(url, region, credentials)


def output(stack: str, name: str, region: str | None = None) -> str:
    """An output of a deployed gateway. Raises WrongUse."""
    (found,) = boto3.client("cloudformation", region_name=region).describe_stacks(StackName=stack)["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}
    if name not in outputs:
        raise WrongUse(f"the stack {stack} has no output {name}: is it a gateway, and deployed to its end?")
    return str(outputs[name])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, act in (("plan", plan), ("apply", apply), ("show", show)):
        command = commands.add_parser(name)
        command.set_defaults(act=act)
        command.add_argument("-f", "--file", type=Path, required=name != "show")
        command.add_argument("--stack", help="the gateway's stack, whose output ApiUrl is taken")
        command.add_argument("--url", help="of the API and its stage")
        command.add_argument("--region", help="of the API; by default what its address says")
        command.add_argument("--local", nargs="?", const=".dev", metavar="FOLDER", help="the local stack (of .dev)")
        if name != "show":
            wanted = "suspend, or delete, the tenants that the file does not name, and revoke keys it does not list"
            command.add_argument("--prune", nargs="?", const="suspend", choices=["suspend", "delete"], help=wanted)
        if name == "apply":
            command.add_argument("--keys-out", type=Path, help="a file for new keys, instead of stdout")
    for name, by_table in (("add", add), ("key", key)):
        command = commands.add_parser(name)
        command.set_defaults(act=None, by_table=by_table)
        command.add_argument("tenant_id")
        if by_table is add:
            command.add_argument("--name", default="")
            centres = "may be repeated; the first is the default"
            command.add_argument("--cost-centre", action="append", default=[], help=centres)
        command.add_argument("--label", default="first key")
        command.add_argument("--stack", help="the gateway's stack, whose output TenantsTableName is taken")
        command.add_argument("--table", help="the table; by default what TENANTS_TABLE names")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    try:
        if arguments.act is None:
            return int(arguments.by_table(arguments))
        return int(arguments.act(reach(arguments), arguments))
    except (WrongFile, BadRequest) as error:
        print(error, file=sys.stderr)
        return 2
    except Refused as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(run(main))
