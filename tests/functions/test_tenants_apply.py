"""A file of tenants, users and keys, applied to the function of the admin API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from gateway.aws.dynamodb.tenants import TenantTable
from gateway.tenancy.caller import Role
from gateway.tenancy.keys import digest_of
from gateway.usage.records import TenantId
from scripts.operate.admin_api import AdminApi
from scripts.operate.tenants import Keys, apply, changes, current, issuer_changes, key_file, summary
from scripts.operate.tenants_file import read, read_issuers

from .test_delegation import Gateway, gateway

__all__ = ["gateway"]
FILE = """
- tenant_id: my-team
  cost_centres: [research, ops]
  users:
    - user_id: ann@example.com
      display_name: Ann
      external_id: 0a1b
    - {user_id: bob, active: false}
  keys:
    - label: administration
      user_id: ann@example.com
      role: tenant-admin
      cost_centres: [ops]
    - label: ci
"""


class Direct(AdminApi):
    """The admin API without a network: each request is an event of the function."""

    def __init__(self, gateway: Gateway):
        self._gateway = gateway
        self.sent: list[str] = []

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        self.sent.append(method)
        asked = urlsplit(path)
        sent = {name: value for name, value in headers.items() if name == "if-match"}
        status, said = self._gateway(
            None, method, asked.path, body, query=dict(parse_qsl(asked.query)) or None, headers=sent
        )
        answer = requests.Response()
        answer.status_code, answer._content = status, b"" if said is None else json.dumps(said).encode()
        return answer


@pytest.fixture
def api(gateway: Gateway) -> Direct:
    return Direct(gateway)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tenants.yaml"
    path.write_text(FILE)
    return path


def applied(api: AdminApi, file: Path, prune: str | None = None) -> tuple[list[str], list[dict[str, str]]]:
    """The lines of the plan, and the keys that were made."""
    found, made = changes(api, read(file), prune), list[dict[str, str]]()
    assert apply(api, found, Keys(made.append)) == []
    return [line for change in found for line in change.lines], made


def test_users_and_keys_are_made_once(api: Direct, file: Path) -> None:
    lines, made = applied(api, file)
    assert lines == [
        "+ my-team",
        "+ my-team: user ann@example.com",
        "+ my-team: user bob",
        "+ my-team: key 'administration' of ann@example.com",
        "+ my-team: key 'ci'",
    ]
    key = TenantTable("tenants").key(digest_of(made[0]["key"]))
    assert key is not None
    assert (key.user_id, key.role, key.cost_centres) == ("ann@example.com", Role.TENANT_ADMIN, ("ops",))
    assert not TenantTable("tenants").is_active(TenantId("my-team"), "bob")
    api.sent.clear()
    assert applied(api, file) == ([], [])
    assert set(api.sent) == {"GET"}


def test_what_differs_is_shown_and_changed(api: Direct, file: Path) -> None:
    applied(api, file)
    file.write_text(FILE.replace("display_name: Ann", "active: false").replace("bob, active: false", "bob"))
    lines, _ = applied(api, file)
    # A field that the file leaves out stays: a directory may have switched bob off.
    assert lines == ["~ my-team: user ann@example.com: active true -> false"]
    assert applied(api, file) == ([], [])


def test_a_key_that_differs_is_told_and_left(api: Direct, file: Path) -> None:
    _, made = applied(api, file)
    file.write_text(FILE.replace("tenant-admin", "auditor"))
    lines, again = applied(api, file)
    assert lines == [
        '! my-team: key \'administration\' has role "tenant-admin", not "auditor": '
        f"revoke {made[0]['key_id']}, then apply again"
    ]
    assert again == []
    api.call("DELETE", f"/admin/tenants/my-team/keys/{made[0]['key_id']}")
    lines, again = applied(api, file)
    assert lines == [f"+ my-team: key 'administration' of ann@example.com ({made[0]['key_id']} is revoked)"]
    assert len(again) == 1


def test_users_that_the_file_lacks_stay_without_prune(api: Direct, file: Path) -> None:
    applied(api, file)
    api.call("PUT", "/admin/tenants/my-team/users/eve", {})
    assert applied(api, file) == ([], [])
    found = [change for change in changes(api, read(file), "suspend") if change.tenant_id == "my-team"]
    assert [line for change in found for line in change.lines] == ["~ my-team: user eve: active true -> false"]
    assert summary(found).endswith("Users: 1 to create or change, 0 to delete.")
    assert apply(api, found, Keys(print)) == []
    assert not TenantTable("tenants").is_active(TenantId("my-team"), "eve")
    found = [change for change in changes(api, read(file), "delete") if change.tenant_id == "my-team"]
    assert [line for change in found for line in change.lines] == ["- my-team: user eve"]


def test_a_file_without_users_says_nothing_about_them(api: Direct, file: Path) -> None:
    applied(api, file)
    file.write_text("- {tenant_id: my-team, cost_centres: [research, ops]}\n")
    assert applied(api, file) == ([], [])


def test_what_there_is_is_shown_in_the_form_of_the_file(api: Direct, file: Path, tmp_path: Path) -> None:
    applied(api, file)
    (tenant,) = current(api, {"my-team"})
    shown = tmp_path / "shown.yaml"
    shown.write_text(json.dumps([tenant]))
    assert applied(api, shown) == ([], [])


def test_new_keys_go_into_a_file_that_only_its_owner_reads(api: Direct, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "keys.jsonl"
    apply(api, changes(api, read(file), None), Keys(key_file(out)))
    assert out.stat().st_mode & 0o777 == 0o600
    assert len(out.read_text().splitlines()) == 2


# ------------------------------------------------------------------------------------------------------------- issuers
OKTA = {"issuer": "https://acme.okta.com", "audiences": ["gateway"], "algorithms": ["RS256"], "tenants": ["my-team"]}


class Issuers(Direct):
    """The admin API with `/admin/issuers`, by its contract."""

    def __init__(self, gateway: Gateway):
        super().__init__(gateway)
        self.kept: dict[str, dict[str, Any]] = {}

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        if not path.startswith("/admin/issuers"):
            return super().send(method, path, body, **headers)
        answer = requests.Response()
        issuer_id = path.partition("?")[0].removeprefix("/admin/issuers").strip("/")
        if method == "PUT":
            before = self.kept.get(issuer_id)
            assert headers.get("if-match") == (str(before["version"]) if before else None)
            assert TenantTable("tenants").tenant(TenantId("my-team"))  # an issuer names tenants that are there
            made = (
                {"issuer_id": issuer_id, "claims": {"user": "sub"}}
                | body
                | {"version": (before or {"version": 0})["version"] + 1}
            )
            self.kept[issuer_id] = made
        answer.status_code, answer._content = 200, json.dumps({"issuers": list(self.kept.values())}).encode()
        return answer


def test_issuers_are_put_after_their_tenants_and_once(gateway: Gateway, file: Path) -> None:
    api = Issuers(gateway)

    def run(issuer: dict[str, Any]) -> list[str]:
        file.write_text(
            json.dumps({"issuers": [{"issuer_id": "okta"} | issuer], "tenants": [{"tenant_id": "my-team"}]})
        )
        found = [*issuer_changes(api, read_issuers(file)), *changes(api, read(file), None)]
        assert apply(api, found, Keys(print)) == []
        return [line for change in found for line in change.lines]

    assert run(OKTA) == ["+ issuer okta", "+ my-team"]
    assert run(OKTA) == []
    assert run(OKTA | {"audiences": ["gateway", "cli"]}) == [
        '~ issuer okta: audiences ["gateway"] -> ["gateway", "cli"]'
    ]
    assert run(OKTA | {"claims": {"user": "oid"}})[:1] == ['~ issuer okta: claims.user "sub" -> "oid"']
    assert run(OKTA | {"claims": {"user": "oid"}}) == []
