"""The people and applications that the identity provider knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

AUDIENCE = "model-gateway"


@dataclass(frozen=True)
class Person:
    """Somebody who signs in. `groups` are the values of the gateway's role claim."""

    sub: str
    name: str
    tenant: str
    groups: tuple[str, ...] = ()

    @property
    def claims(self) -> dict[str, Any]:
        return {
            "sub": self.sub,
            "name": self.name,
            "email": f"{self.sub}@example.com",
            "tenant": self.tenant,
            "groups": list(self.groups),
        }


@dataclass(frozen=True)
class Client:
    """An application: public (with PKCE or a device code), or confidential with a secret and tokens of its own."""

    client_id: str
    secret: str = ""
    tenant: str = ""


PEOPLE = (
    Person("ann", "Ann of Research", "demo-research", ("staff",)),
    Person("bob", "Bob of Research", "demo-research", ("staff", "gateway-admins")),
    Person("cat", "Cat of Marketing", "demo-marketing", ("staff",)),
    Person("dan", "Dan of Finance", "demo-research", ("finance",)),
)
CLIENTS = (
    Client("gateway-cli"),
    Client("gateway-web"),
    Client("nightly-job", "local-secret", "demo-research"),
)
ROLES = {"gateway-admins": "tenant-admin", "finance": "auditor"}
