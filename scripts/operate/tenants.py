"""Applies a file of tenants to a gateway, shows its tenants, and adds tenants and keys: `gateway tenants`.

Plan, apply and show call the gateway's admin API, signed with the AWS credentials of the environment. A key is shown
once, at its creation. Adding a tenant or a key needs no API: it writes to the tenants table.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import boto3
import requests
from botocore.credentials import Credentials
from botocore.exceptions import NoCredentialsError
from botocore.session import get_session

from gateway.aws.dynamodb.tenant_register import TenantRegister
from gateway.tenancy.administration import Actor, Administration, VersionConflict
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import TenantId
from scripts.operate.admin_api import AdminApi, Refused, of, of_issuer, of_user
from scripts.operate.tenants_file import Wanted, WantedIssuer, WantedKey, WantedUser, is_live, shown, shown_user
from scripts.project.command import WrongUse
from scripts.project.refusals import sentence

_THREADS = 16
Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]  # finished, and in total


def unseen(_done: int, _total: int) -> None:
    """Ignore the progress."""


# ---------------------------------------------------------------------------------------------------------- the change
@dataclass
class Change:
    """The changes that make one tenant match the file."""

    tenant_id: str
    lines: list[str] = field(default_factory=list)  # the difference as text
    settings: dict[str, Any] | None = None  # to put
    version: int | None = None  # the version that was compared
    delete: bool = False
    users: list[WantedUser] = field(default_factory=list)  # to put
    leavers: list[str] = field(default_factory=list)  # to delete
    make: list[WantedKey] = field(default_factory=list)
    revoke: list[str] = field(default_factory=list)
    kind: str = ""
    issuer_id: str = ""  # of a change of an issuer, which has no tenant

    @property
    def path(self) -> str:
        return of_issuer(self.issuer_id) if self.issuer_id else of(self.tenant_id)

    @property
    def as_json(self) -> dict[str, Any]:
        if self.issuer_id:
            return {"issuer_id": self.issuer_id, "kind": self.kind, "differences": self.lines}
        keys = {"make_keys": [key.label for key in self.make], "revoke_keys": self.revoke}
        users = {"put_users": [user.user_id for user in self.users], "delete_users": self.leavers}
        return {"tenant_id": self.tenant_id, "kind": self.kind or "keys", "differences": self.lines, **keys, **users}


def changes(api: AdminApi, wanted: list[Wanted], prune: str | None, progress: Progress = unseen) -> list[Change]:
    """All differences between the file and the gateway. With `prune` also tenants and keys missing from the file."""
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
        if tenant.users is not None:
            _compare_users(change, tenant.users, list(api.users(tenant.tenant_id)) if found else [], prune)
        if tenant.keys is not None:
            _compare_keys(change, tenant.keys, api.keys(tenant.tenant_id) if found else [], now, prune)
        return change

    found = at_once(difference, wanted, progress)
    if prune:
        named = {tenant.tenant_id for tenant in wanted}
        found += [_pruned(tenant, prune) for name, tenant in sorted(there.items()) if name not in named]
    return [change for change in found if change.lines]


def issuer_changes(api: AdminApi, wanted: Sequence[WantedIssuer]) -> list[Change]:
    """The differences between the file's issuers and the gateway's; others stay, since nothing else names them."""
    if not wanted:
        return []
    there = {issuer["issuer_id"]: issuer for issuer in api.issuers()}
    found = []
    for issuer in wanted:
        is_now = there.get(issuer.issuer_id)
        change = Change("", settings=issuer.settings, issuer_id=issuer.issuer_id)
        if is_now is None:
            change.kind, change.lines = "create_issuer", [f"+ issuer {issuer.issuer_id}"]
        else:
            change.kind, change.version = "change_issuer", is_now["version"]
            shown_now = {name: value for name, value in is_now.items() if name not in ("issuer_id", "version")}
            if "claims" not in issuer.settings:
                shown_now.pop("claims", None)  # by default the API shows its own
            change.lines = [f"~ issuer {issuer.issuer_id}: {line}" for line in _fields("", shown_now, issuer.settings)]
        found.append(change)
    return [change for change in found if change.lines]


def _compare_keys(
    change: Change, wanted: tuple[WantedKey, ...], keys: list[dict[str, Any]], now: datetime, prune: str | None
) -> None:
    live = [key for key in keys if is_live(key, now)]
    known, revoked = {key["label"]: key for key in live}, {key["label"]: key for key in keys if key["revoked"]}
    for key in wanted:
        if key.label in known:
            change.lines += _unlike(change.tenant_id, key, known[key.label])
        elif not key.is_over(now):
            change.make.append(key)
            old = f" ({revoked[key.label]['key_id']} is revoked)" if key.label in revoked else ""
            owner = f" of {key.body['user_id']}" if "user_id" in key.body else ""
            change.lines.append(f"+ {change.tenant_id}: key {key.label!r}{owner}{old}")
    if prune:
        for left in live:
            if left["label"] not in {key.label for key in wanted}:
                change.revoke.append(left["key_id"])
                change.lines.append(f"- {change.tenant_id}: key {left['label']!r} ({left['key_id']})")


def _unlike(tenant_id: str, wanted: WantedKey, key: dict[str, Any]) -> list[str]:
    """A key never changes, so another owner or role in the file is told, and left to the operator."""
    fields = {"user_id": "", "role": "member", "cost_centres": []}
    return [
        f"! {tenant_id}: key {wanted.label!r} has {name} {_word(key.get(name, default))}, "
        f"not {_word(wanted.body.get(name, default))}: revoke {key['key_id']}, then apply again"
        for name, default in fields.items()
        if key.get(name, default) != wanted.body.get(name, default)
    ]


def _compare_users(
    change: Change, wanted: tuple[WantedUser, ...], users: list[dict[str, Any]], prune: str | None
) -> None:
    there = {user["user_id"].lower(): user for user in users}
    for user in wanted:
        found = there.pop(user.user_id.lower(), None)
        if found is None:
            change.users.append(user)
            change.lines.append(f"+ {change.tenant_id}: user {user.user_id}")
        elif (is_now := shown_user(found)) != (wanted_now := is_now | user.settings):
            change.users.append(WantedUser(user.user_id, wanted_now))
            whose = f"~ {change.tenant_id}: user {user.user_id}"
            change.lines += [f"{whose}: {line}" for line in _fields("", is_now, wanted_now)]
    for left in there.values() if prune else ():
        if prune == "delete":
            change.leavers.append(left["user_id"])
            change.lines.append(f"- {change.tenant_id}: user {left['user_id']}")
        elif left["active"]:
            change.users.append(WantedUser(left["user_id"], shown_user(left) | {"active": False}))
            change.lines.append(f"~ {change.tenant_id}: user {left['user_id']}: active true -> false")


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


KeySink = Callable[[dict[str, str]], None]


def key_file(path: Path) -> KeySink:
    """Appends each key immediately to a file that only its owner can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.fchmod(descriptor, 0o600)
    file = os.fdopen(descriptor, "a")
    return lambda made: print(json.dumps(made), file=file, flush=True)


class Keys:
    """Passes on the text of each new key as soon as it exists, one at a time."""

    def __init__(self, sink: KeySink):
        self._lock, self._sink = threading.Lock(), sink

    def show(self, tenant_id: str, made: dict[str, Any]) -> None:
        with self._lock:
            self._sink({"tenant_id": tenant_id} | {name: made[name] for name in ("label", "key_id", "key")})


def carry_out(api: AdminApi, change: Change, keys: Keys) -> str | None:
    """Carry out the change; returns a sentence about the failure, if any."""
    try:
        if change.delete:
            api.call("DELETE", of(change.tenant_id))
        if change.settings is not None:
            condition = {} if change.version is None else {"if-match": str(change.version)}
            api.must(api.send("PUT", change.path, change.settings, **condition))
        for user in change.users:
            api.call("PUT", of_user(change.tenant_id, user.user_id), user.settings)
        for user_id in change.leavers:
            api.call("DELETE", of_user(change.tenant_id, user_id))
        for key in change.make:
            keys.show(change.tenant_id, api.call("POST", f"{of(change.tenant_id)}/keys", key.body))
        for key_id in change.revoke:
            api.call("DELETE", f"{of(change.tenant_id)}/keys/{key_id}")
    except (Refused, requests.RequestException) as error:
        return f"{change.tenant_id or change.issuer_id}: {error if isinstance(error, Refused) else sentence(error)}"
    return None


def at_once(act: Callable[[Item], Result], items: Iterable[Item], progress: Progress = unseen) -> list[Result]:
    with ThreadPoolExecutor(_THREADS) as pool:
        running = [pool.submit(act, item) for item in items]
        for done, _ in enumerate(as_completed(running), 1):
            progress(done, len(running))
        return [one.result() for one in running]


def apply(api: AdminApi, found: Sequence[Change], keys: Keys, progress: Progress = unseen) -> list[str]:
    """Carry out all changes, issuers after the tenants that they name; a sentence for each that failed."""
    tenants, issuers = (
        [change for change in found if bool(change.issuer_id) is is_issuer] for is_issuer in (False, True)
    )
    faults = at_once(lambda change: carry_out(api, change, keys), tenants, progress)
    faults += at_once(lambda change: carry_out(api, change, keys), issuers)
    return [fault for fault in faults if fault]


def current(api: AdminApi, named: set[str] | None = None, progress: Progress = unseen) -> list[dict[str, Any]]:
    """The gateway's tenants, all or the named ones, in the form of the file."""

    def whole(tenant: dict[str, Any]) -> dict[str, Any]:
        live = [key for key in api.keys(tenant["tenant_id"]) if is_live(key)]
        named = ("label", "user_id", "role", "cost_centres", "expires_at")
        keys = [{name: key[name] for name in named if name in key} for key in live]
        users = [{"user_id": user["user_id"]} | shown_user(user) for user in api.users(tenant["tenant_id"])]
        lists = {name: several for name, several in (("users", users), ("keys", keys)) if several}
        return {"tenant_id": tenant["tenant_id"]} | shown(tenant) | lists

    tenants = [tenant for tenant in api.tenants() if named is None or tenant["tenant_id"] in named]
    return at_once(whole, tenants, progress)


def counted(found: Sequence[Change]) -> dict[str, int]:
    """The numbers of changed tenants, keys and users, by kind of change."""
    kinds = {kind: sum(change.kind == kind for change in found) for kind in ("create", "change", "suspend", "delete")}
    keys = {"make_keys": sum(len(it.make) for it in found), "revoke_keys": sum(len(it.revoke) for it in found)}
    users = {"put_users": sum(len(it.users) for it in found), "delete_users": sum(len(it.leavers) for it in found)}
    return kinds | keys | users


def summary(found: Sequence[Change]) -> str:
    if not found:
        return "No changes: the gateway matches the file."
    *kinds, (_, made), (_, revoked), (_, put), (_, deleted) = counted(found).items()
    tenants = ", ".join(f"{number} to {kind}" for kind, number in kinds)
    users = f" Users: {put} to create or change, {deleted} to delete." if put or deleted else ""
    issuers = sum(bool(change.issuer_id) for change in found)
    more = f" Issuers: {issuers} to create or change." if issuers else ""
    return f"Tenants: {tenants}. Keys: {made} to create, {revoked} to revoke.{users}{more}"


# ------------------------------------------------------------------------------------------------------- by the table
def table_of(stack: str | None, table: str | None) -> str:
    """The tenants table: the named one, else the stack's, else TENANTS_TABLE. Raises WrongUse."""
    table = table or (output(stack, "TenantsTableName") if stack else "")
    table = table or os.environ.get("TENANTS_TABLE", "")
    if not table:
        raise WrongUse("name the gateway's stack with --stack, or its output TenantsTableName with --table")
    return table


def add(table: str, tenant_id: str, name: str, cost_centres: Sequence[str], label: str) -> str:
    """Add a tenant; its first key. Raises WrongUse for a tenant that exists, BadRequestError, Conflict."""
    administration = Administration(TenantRegister(table))
    wanted = Tenant(TenantId(tenant_id), name or tenant_id, tuple(cost_centres))
    known = WrongUse(f"the tenant {tenant_id} exists: change it with `tenants apply`, or add a key with `tenants key`")
    if administration.exists(wanted.tenant_id):
        raise known
    actor = caller()
    try:
        administration.put_tenant(wanted, actor, expected=0)
    except VersionConflict as error:
        raise known from error
    return administration.make_key(wanted.tenant_id, actor, label)[1]


def another_key(table: str, tenant_id: str, label: str) -> str:
    """Create another key of a tenant. Raises WrongUse."""
    administration = Administration(TenantRegister(table))
    if not administration.exists(TenantId(tenant_id)):
        raise WrongUse(f"no tenant {tenant_id} exists: `add` creates one with its first key")
    return administration.make_key(TenantId(tenant_id), caller(), label)[1]


def caller() -> Actor:
    """The principal of these credentials, for the audit. Asks AWS STS."""
    return Actor(boto3.client("sts").get_caller_identity()["Arn"])


# ---------------------------------------------------------------------------------------------------------- by the API
def local_api(data: Path) -> AdminApi:
    """The admin API of the local stack in a folder. Raises WrongUse."""
    try:
        said = json.loads((data / "tenants.json").read_text())
        known = Credentials(said["admin"]["access_key_id"], said["admin"]["secret_access_key"])
    except (OSError, ValueError, KeyError) as error:
        raise WrongUse(f"no local stack has run in {data}: `make dev` starts one") from error
    return AdminApi(said["url"], said["region"], known)


def deployed_api(stack: str | None, url: str | None, region: str | None) -> AdminApi:
    """The admin API of a deployed gateway, by its address or its stack. Raises WrongUse."""
    url = url or (output(stack, "ApiUrl", region) if stack else "")
    if not url:
        raise WrongUse("name the gateway with --stack or --url, or use --local")
    host = re.search(r"\.execute-api\.([a-z0-9-]+)\.", url)
    region = region or (host[1] if host else None) or os.environ.get("AWS_REGION")
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
        raise WrongUse(f"the stack {stack} has no output {name}: check that it is a gateway and completely deployed")
    return str(outputs[name])
