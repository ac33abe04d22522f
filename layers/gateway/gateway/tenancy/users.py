"""Users of a tenant, as its directory or its administrators describe them. A user without a record is switched on.

A record grants nothing: keys and tokens do. It switches a person off, with all tokens and keys that the person owns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gateway.core.errors import BadRequestError, GatewayError
from gateway.usage.records import TenantId

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@|/+=-]{0,127}")
_LONGEST = 256


class UserExistsError(GatewayError):
    """Another user of the tenant has this name or external id."""

    status = 409
    code = "user_exists"

    def __init__(self, name: str):
        super().__init__(f"A user of the tenant has the name or the external id {name!r} already.")


@dataclass(frozen=True)
class User:
    """A person or an application of a tenant.

    `user_id` never changes; it is the first `user_name`. A token or a key may name the user by each of `names`. A
    deleted user keeps a record that is switched off, so that nothing works again. `version` counts the changes.
    """

    tenant_id: TenantId
    user_id: str
    created_at: datetime
    changed_at: datetime
    user_name: str = ""
    display_name: str = ""
    external_id: str = ""
    email: str = ""
    active: bool = True
    deleted: bool = False
    version: int = 0
    former: tuple[str, ...] = ()  # names of before, by which a key or token may still come

    @property
    def names(self) -> frozenset[str]:
        """The names under which a caller may come, without regard to case."""
        names = (self.user_id, self.user_name, self.external_id, *self.former)
        return frozenset(name_of(name) for name in names if name)

    @property
    def is_sound(self) -> bool:
        texts = (self.display_name, self.email)
        names = [self.user_id, *(name for name in (self.user_name, self.external_id) if name)]
        return all(map(_NAME.fullmatch, names)) and all(len(text) <= _LONGEST for text in texts)


def name_of(name: str) -> str:
    """A name as directories compare it: `Ann@Example.com` and `ann@example.com` are one user."""
    return name.lower()


def must_be_sound(user: User) -> None:
    """Raises BadRequestError."""
    if not user.is_sound:
        raise BadRequestError(
            "A user's id, user name and external id must begin with a letter or digit and have at most 128 letters, "
            f"digits, _.:@|/+=-. Other texts have at most {_LONGEST} characters.",
            code="invalid_user",
        )


def user_to_json(user: User) -> dict[str, Any]:
    """A user as the admin API shows it."""
    values: dict[str, Any] = {
        "user_id": user.user_id,
        "user_name": user.user_name or user.user_id,
        "display_name": user.display_name,
        "external_id": user.external_id,
        "email": user.email,
        "active": user.active,
        "created_at": _at(user.created_at),
        "changed_at": _at(user.changed_at),
    }
    return {name: value for name, value in values.items() if value != ""}


def user_from_json(tenant_id: TenantId, values: Mapping[str, Any]) -> User:
    return User(
        tenant_id,
        values["user_id"],
        datetime.fromisoformat(values["created_at"]),
        datetime.fromisoformat(values["changed_at"]),
        values.get("user_name", ""),
        values.get("display_name", ""),
        values.get("external_id", ""),
        values.get("email", ""),
        bool(values["active"]),
    )


def _at(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
