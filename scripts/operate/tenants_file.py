"""Reads tenants.yaml: the desired tenants, each with the fields of the admin API, its users and the labels of its keys.

    - tenant_id: my-team
      cost_centres: [research, ops]
      budget: {monthly_usd: "100", hard: true}
      users: [{user_id: ann@example.com, display_name: Ann}]
      keys: [{label: ci, expires_at: 2027-11-24T00:00:00Z}, {label: ann, user_id: ann@example.com, role: tenant-admin}]

The list may stand under `tenants:`, beside `issuers:`, a list of the identity providers whose tokens name callers:

    issuers:
      - {issuer_id: okta, issuer: https://acme.okta.com, audiences: [gateway], algorithms: [RS256], tenants: [my-team]}

Each fault is reported with its line. The admin API checks the fields of an issuer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from gateway.core.errors import BadRequestError
from gateway.tenancy.administration import must_be_sound
from gateway.tenancy.tenant import tenant_from_json, tenant_to_json
from gateway.tenancy.users import User
from gateway.tenancy.users import must_be_sound as must_be_sound_user
from gateway.usage.records import TenantId
from gateway.web.generated.schemas import KeyRequest, TenantSettings, UserSettings
from scripts.project import quick_yaml

Entry = TypeVar("Entry")


class _Loader(quick_yaml.Loader):  # type: ignore[misc]
    """A YAML loader without dates: a time is text, as in JSON."""

    yaml_implicit_resolvers = {
        letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for letter, resolvers in quick_yaml.Loader.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True)
class WantedKey:
    """One key of the file. `body` is that of its POST: the label, owner, role, cost centres and expiry."""

    label: str
    expires_at: str | None
    body: dict[str, Any]

    def is_over(self, now: datetime) -> bool:
        return self.expires_at is not None and datetime.fromisoformat(self.expires_at) <= now


@dataclass(frozen=True)
class WantedUser:
    """One user of the file. `settings` is the body of its PUT."""

    user_id: str
    settings: dict[str, Any]

    @property
    def shown(self) -> dict[str, Any]:
        """The API's response to the PUT."""
        return {"user_name": self.user_id, "active": True} | self.settings


@dataclass(frozen=True)
class Wanted:
    """One tenant of the file. `settings` is the body of its PUT, `shown` the API's response to it."""

    tenant_id: str
    settings: dict[str, Any]
    shown: dict[str, Any]
    keys: tuple[WantedKey, ...] | None
    users: tuple[WantedUser, ...] | None = None


@dataclass(frozen=True)
class WantedIssuer:
    """One issuer of the file. `settings` is the body of its PUT."""

    issuer_id: str
    settings: dict[str, Any]


class WrongFile(Exception):
    """The faults of the file, one per line: `tenants.yaml:12: …`."""


class _Faults(list[tuple[int, str]]):
    def add(self, node: yaml.Node, sentence: str) -> None:
        self.append((node.start_mark.line + 1, sentence))


def read(path: Path) -> list[Wanted]:
    """The tenants of the file. Raises WrongFile."""
    return _read(path, _tenants)


def read_issuers(path: Path) -> list[WantedIssuer]:
    """The issuers of the file. Raises WrongFile."""
    return _read(path, _issuers)


def _read(path: Path, entries: Callable[[yaml.Node, _Faults], Iterator[Entry]]) -> list[Entry]:
    faults = _Faults()
    try:
        root = yaml.compose(path.read_text(), Loader=_Loader)
    except OSError as error:
        raise WrongFile(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise WrongFile(f"{path}: not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise WrongFile(f"{path}:{mark.line + 1 if mark else 1}: {error.problem}") from error
    found = list(entries(root, faults)) if root is not None else []
    if faults:
        raise WrongFile("\n".join(f"{path}:{line}: {sentence}" for line, sentence in sorted(faults)))
    return found


def _part(root: yaml.Node, name: str) -> yaml.Node | None:
    """The list of this name in a file that has several; None where the file has none."""
    if not isinstance(root, yaml.MappingNode) or not {key.value for key, _ in root.value} <= {"tenants", "issuers"}:
        return root if name == "tenants" else None
    return next((value for key, value in root.value if key.value == name), None)


def _issuers(root: yaml.Node, faults: _Faults) -> Iterator[WantedIssuer]:
    entries = _part(root, "issuers")
    if entries is None:
        return
    if not isinstance(entries, yaml.SequenceNode):
        faults.add(entries, "issuers: must be a list")
        return
    seen: set[str] = set()
    for entry in entries.value:
        values = _plain(entry, faults)
        if not isinstance(values, dict) or not isinstance(values.get("issuer_id"), str):
            faults.add(entry, "an issuer must be a mapping with a text issuer_id")
            continue
        issuer_id = values.pop("issuer_id")
        if issuer_id in seen:
            faults.add(entry, f"issuers: two have the id {issuer_id}")
        seen.add(issuer_id)
        yield WantedIssuer(issuer_id, values)


def _tenants(root: yaml.Node, faults: _Faults) -> Iterator[Wanted]:
    entries = _part(root, "tenants")
    if entries is None:
        return
    if not isinstance(entries, yaml.SequenceNode):
        faults.add(entries, "must be a list of tenants")
        return
    seen: dict[str, int] = {}
    for entry in entries.value:
        wanted = _tenant(entry, faults)
        if wanted is None:
            continue
        if wanted.tenant_id in seen:
            faults.add(entry, f"{wanted.tenant_id} is already on line {seen[wanted.tenant_id]}")
        seen[wanted.tenant_id] = entry.start_mark.line + 1
        yield wanted


def _tenant(entry: yaml.Node, faults: _Faults) -> Wanted | None:
    before = len(faults)
    values = _plain(entry, faults)
    if not isinstance(values, dict) or not isinstance(values.get("tenant_id"), str):
        faults.add(entry, "a tenant must be a mapping with a text tenant_id")
        return None
    tenant_id, keys, users = values.pop("tenant_id"), values.pop("keys", None), values.pop("users", None)
    settings = _fit(TenantSettings, values, entry, (), faults)
    wanted_keys = None if keys is None else _keys(keys, entry, faults)
    wanted_users = None if users is None else _users(tenant_id, users, entry, faults)
    if len(faults) > before or settings is None:
        return None
    tenant = tenant_from_json(settings | {"tenant_id": tenant_id})
    try:
        must_be_sound(tenant)
    except BadRequestError as error:
        field = error.message.partition(":")[0]
        faults.add(_at(entry, (field,)), error.message)
        return None
    return Wanted(tenant_id, settings, shown(tenant_to_json(tenant)), wanted_keys, wanted_users)


def _keys(keys: Any, entry: yaml.Node, faults: _Faults) -> tuple[WantedKey, ...]:
    node = _at(entry, ("keys",))
    if not isinstance(keys, list):
        faults.add(node, "keys: must be a list")
        return ()
    wanted: list[WantedKey] = []
    for number, key in enumerate(keys):
        said = _fit(KeyRequest, key, entry, ("keys", number), faults)
        label = str((said or {}).get("label") or "")
        if said is not None and label in {other.label for other in wanted}:
            faults.add(
                _at(entry, ("keys", number)), f"keys: two have the label {label!r}, but a label identifies a key"
            )
        wanted.append(WantedKey(label, (said or {}).get("expires_at"), (said or {}) | {"label": label}))
    return tuple(wanted)


def _users(tenant_id: str, users: Any, entry: yaml.Node, faults: _Faults) -> tuple[WantedUser, ...]:
    if not isinstance(users, list):
        faults.add(_at(entry, ("users",)), "users: must be a list")
        return ()
    wanted: list[WantedUser] = []
    names: set[str] = set()
    for number, user in enumerate(users):
        node = _at(entry, ("users", number))
        if not isinstance(user, dict) or not isinstance(user.get("user_id"), str):
            faults.add(node, "users: each must be a mapping with a text user_id")
            continue
        user_id = user.pop("user_id")
        said = _fit(UserSettings, user, entry, ("users", number), faults)
        if said is None:
            continue
        now = datetime.now(UTC)
        made = User(TenantId(tenant_id), user_id, now, now, **said)
        try:
            must_be_sound_user(made)
        except BadRequestError as error:
            faults.add(node, f"users: {error.message}")
        if names & made.names:
            faults.add(node, f"users: two have the name {sorted(names & made.names)[0]!r}")
        names |= made.names
        wanted.append(WantedUser(user_id, said))
    return tuple(wanted)


def _fit(
    schema: type[BaseModel], values: Any, entry: yaml.Node, way: tuple[str | int, ...], faults: _Faults
) -> dict[str, Any] | None:
    """The values as the admin API would accept them; else None, and the faults with their lines."""
    try:
        return schema.model_validate_json(json.dumps(values), strict=True).model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_context=False, include_input=False):
            whole = (*way, *fault["loc"])
            faults.add(_at(entry, whole), f"{'.'.join(map(str, whole))}: {fault['msg']}")
        return None


def _plain(node: yaml.Node, faults: _Faults) -> Any:
    """The value of a node; a duplicate key is a fault."""
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Any] = {}
        for key, value in node.value:
            if str(key.value) in values:
                faults.add(key, f"{key.value}: duplicate key")
            values[str(key.value)] = _plain(value, faults)
        return values
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value, faults) for value in node.value]
    try:
        return _Scalars().construct_object(node)
    except (yaml.YAMLError, ValueError):
        faults.add(node, "cannot be read as a value")
        return None


class _Scalars(yaml.constructor.SafeConstructor):
    pass


def _at(entry: yaml.Node, way: tuple[str | int, ...]) -> yaml.Node:
    """The node at a path, or the last one on it if the path ends early. A mapping's key marks its value."""
    node, place = entry, entry
    for step in way:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(step)), None)
            if found is None:
                break
            place, node = found
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = place = node.value[step]
        else:
            break
    return place


_SET_BY_THE_API = ("version", "tenant_id", "loans", "resets", "shards_since", "shards_before")


def shown(tenant: dict[str, Any]) -> dict[str, Any]:
    """A tenant as the API shows it, without the fields that only the API sets."""
    return {name: value for name, value in tenant.items() if name not in _SET_BY_THE_API}


def is_live(key: dict[str, Any], now: datetime | None = None) -> bool:
    """Is this key, as the API shows it, still valid?"""
    expires_at = key.get("expires_at")
    return not key["revoked"] and (
        expires_at is None or datetime.fromisoformat(expires_at) > (now or datetime.now(UTC))
    )


def shown_user(user: dict[str, Any]) -> dict[str, Any]:
    """A user as the API shows it, without the fields that only the API sets."""
    return {name: value for name, value in user.items() if name not in ("user_id", "created_at", "changed_at")}
