"""The authorizer: only a key or a token identifies the caller, and every other request gets a 401."""

from __future__ import annotations

import io
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest

from gateway.aws import identity_providers
from gateway.aws.dynamodb.issuer_register import IssuerRegister
from gateway.aws.dynamodb.issuers import IssuerTable
from gateway.aws.dynamodb.tenant_register import TenantRegister
from gateway.aws.dynamodb.tenants import TenantTable, add_key, add_tenant
from gateway.aws.identity_providers import discover
from gateway.core.settings import settings
from gateway.core.telemetry import logger
from gateway.tenancy.administration import Actor, Administration
from gateway.tenancy.caller import Role, caller_from_context
from gateway.tenancy.issuer_keys import ProviderError
from gateway.tenancy.issuers import ClaimMap, Issuer, IssuerAdministration, IssuerId
from gateway.tenancy.keys import Key, digest_of, new_key
from gateway.tenancy.tenant import Tenant
from gateway.tenancy.users import User
from gateway.usage.records import KeyId, TenantId, UserSource
from tests.contract.expanded import of_kind, stack
from tests.tokens import AUDIENCE, claims, jwks, signed, signing_key

from .conftest import ROOT, context

Load = Callable[[str], Any]
ACME = Tenant(TenantId("acme"), "Acme", ("research", "ops"))


def asking(**headers: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events/authorize_tenant/key.json").read_text())
    return event | {"headers": headers}


@pytest.fixture
def authorizer(load: Load) -> Any:
    add_tenant("tenants", ACME)
    return load("authorize_tenant")


@pytest.mark.parametrize("present", ["x-api-key", "X-API-Key", "Authorization", "authorization"])
def test_a_key_is_taken_from_either_header(authorizer: Any, present: str) -> None:
    key = add_key("tenants", "acme", "ci")
    sent = f"Bearer {key}" if present.lower() == "authorization" else key
    said = authorizer.handler(asking(**{present: sent}), context())
    assert said["context"]["tenant_id"] == said["principalId"] == "acme"
    assert json.loads(said["context"]["tenant"])["cost_centres"] == ["research", "ops"]
    assert said["usageIdentifierKey"] == "0123456789abcdef0123456789abcdef"
    (statement,) = said["policyDocument"]["Statement"]
    assert statement["Resource"] == "arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/v1/*"
    assert key not in json.dumps(said)


@pytest.mark.parametrize("headers", [{}, {"x-api-key": ""}, {"x-api-key": "guess"}, {"Authorization": "Basic eDp5"}])
def test_no_key_and_a_wrong_key_are_unauthorized(authorizer: Any, headers: dict[str, str]) -> None:
    with pytest.raises(Exception, match="^Unauthorized$"):
        authorizer.handler(asking(**headers), context())


def test_a_well_formed_key_that_was_never_made_is_unauthorized(authorizer: Any) -> None:
    with pytest.raises(Exception, match="^Unauthorized$"):
        authorizer.handler(asking(**{"x-api-key": new_key()}), context())


@pytest.mark.parametrize("state", ["revoked", "expired", "deleted"])
def test_a_key_that_is_no_longer_good_is_unauthorized(load: Load, state: str) -> None:
    table, key, now = TenantTable("tenants"), new_key(), datetime.now(UTC)
    if state != "deleted":
        table.put_tenant(Tenant(TenantId("acme"), "Acme", ()))
    expiry = now - timedelta(seconds=1) if state == "expired" else None
    table.put_key(Key(KeyId("k1"), TenantId("acme"), digest_of(key), "ci", now, expiry, revoked=state == "revoked"))
    with pytest.raises(Exception, match="^Unauthorized$"):
        load("authorize_tenant").handler(asking(**{"x-api-key": key}), context())


def test_a_revoked_key_stops_working_when_the_cache_has_passed(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    add_tenant("tenants", ACME)
    table, key, now = TenantTable("tenants"), new_key(), datetime.now(UTC)
    good = Key(KeyId("k1"), TenantId("acme"), digest_of(key), "ci", now)
    table.put_key(good)
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    authorizer = load("authorize_tenant")
    asked = asking(**{"x-api-key": key})
    assert authorizer.handler(asked, None)
    table.put_key(Key(good.key_id, good.tenant_id, good.digest, "ci", now, revoked=True))
    clock[0] += 4.9
    assert authorizer.handler(asked, None)
    clock[0] += 0.2
    with pytest.raises(Exception, match="^Unauthorized$"):
        authorizer.handler(asked, None)


def test_the_table_never_holds_a_key(authorizer: Any) -> None:
    key = add_key("tenants", "acme", "ci")
    assert key not in json.dumps(boto3.client("dynamodb").scan(TableName="tenants")["Items"])


def test_a_suspended_tenant_is_denied_with_a_reason(load: Load) -> None:
    add_tenant("tenants", replace(ACME, suspended=True))
    said = load("authorize_tenant").handler(asking(**{"x-api-key": add_key("tenants", "acme", "ci")}), context())
    assert said["policyDocument"]["Statement"][0]["Effect"] == "Deny"
    assert "suspended" in said["context"]["reason"]


def test_a_tenant_with_a_plan_of_its_own_is_throttled_by_that(load: Load) -> None:
    add_tenant("tenants", replace(ACME, usage_plan_key="f" * 32))
    said = load("authorize_tenant").handler(asking(**{"x-api-key": add_key("tenants", "acme", "ci")}), context())
    assert said["usageIdentifierKey"] == "f" * 32


def listen(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """The function's log from now on, including metrics."""
    written = io.StringIO()
    logger().info("the logger is made once a process, and keeps the stream of the test that made it")
    for handler in logging.getLogger("model-gateway").handlers:
        monkeypatch.setattr(handler, "stream", written)
    monkeypatch.setattr(sys, "stdout", written)
    return lambda: [json.loads(line) for line in written.getvalue().splitlines() if line.startswith("{")]


def test_a_decoy_is_unauthorized_and_raises_the_alarm(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    text = new_key()
    decoy = Key(KeyId("key_decoy"), TenantId(""), digest_of(text), "wiki", datetime.now(UTC), decoy=True)
    TenantTable("tenants").put_key(decoy)
    authorizer = load("authorize_tenant")
    logged = listen(monkeypatch)
    with pytest.raises(Exception, match="^Unauthorized$"):
        authorizer.handler(asking(**{"x-api-key": text}), context())
    said = logged()
    (warning,) = [line for line in said if line.get("message") == "decoy_key_used"]
    assert (warning["level"], warning["key_id"], warning["source_ip"]) == ("WARNING", "key_decoy", "203.0.113.7")
    (metric,) = [line for line in said if "DecoyKeyUsed" in line]
    assert metric["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "ModelGateway"
    assert metric["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]
    assert metric["service"] == "model-gateway"
    assert text not in json.dumps(said)


def test_the_last_use_is_written_once_a_day(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    add_tenant("tenants", ACME)
    key = add_key("tenants", "acme", "ci")
    authorizer = load("authorize_tenant")
    written: list[Any] = []
    dynamodb = authorizer.tenants._tenants._dynamodb
    update = dynamodb.update_item

    def count(**request: Any) -> Any:
        written.append(request)
        return update(**request)

    monkeypatch.setattr(dynamodb, "update_item", count)
    for _ in range(5):
        assert authorizer.handler(asking(**{"x-api-key": key}), context())
    record = TenantTable("tenants").key(digest_of(key))
    assert record is not None
    assert (len(written), record.last_used) == (1, datetime.now(UTC).date())
    for _ in range(2):  # by another environment, and once more by it
        assert load("authorize_tenant").handler(asking(**{"x-api-key": key}), context())
    assert TenantTable("tenants").key(digest_of(key)) == record


# ------------------------------------------------------------------------------------------------------------- tokens
ADMIN = Actor("arn:aws:iam::111122223333:user/ann")


class Provider:
    """An identity provider at a real port, which counts its requests."""

    def __init__(self) -> None:
        self.keys = [signing_key()]
        self.status = 200
        self.body: bytes | None = None
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                said: Any = jwks(*outer.keys)
                if self.path.endswith("openid-configuration"):
                    said = {"issuer": outer.url, "jwks_uri": f"{outer.url}/keys"}
                body = json.dumps(said).encode() if outer.body is None else outer.body
                self.send_response(outer.status)
                self.send_header("location", f"{outer.url}/elsewhere")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, **changed: Any) -> str:
        return signed(claims(iss=self.url, **changed), self.keys[0])


@pytest.fixture
def provider(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setenv("LOOPBACK_ISSUERS", "on")
    settings.cache_clear()
    add_tenant("tenants", ACME)
    provider = Provider()
    issuers(provider, tenants=("acme",))
    yield provider
    provider.server.shutdown()
    provider.server.server_close()


def issuers(provider: Provider, **said: Any) -> IssuerAdministration:
    register = IssuerRegister(TenantRegister("tenants"))
    admin = IssuerAdministration(register, loopback=True)
    admin.put(Issuer(IssuerId("idp"), provider.url, (AUDIENCE,), ("RS256",), **said), ADMIN)
    return admin


def refused(authorizer: Any, token: str) -> None:
    with pytest.raises(Exception, match="^Unauthorized$"):
        authorizer.handler(asking(Authorization=f"Bearer {token}"), context())


@pytest.mark.parametrize("present", ["x-api-key", "Authorization", "authorization"])
def test_a_token_is_taken_from_either_header(load: Load, provider: Provider, present: str) -> None:
    token = provider.token()
    sent = f"Bearer {token}" if present.lower() == "authorization" else token
    said = load("authorize_tenant").handler(asking(**{present: sent}), context())
    caller = caller_from_context(said["context"])
    assert (caller.tenant, caller.user_id, caller.key_id) == (ACME, "ann", "token:idp")
    assert caller.user_source is UserSource.TOKEN
    assert said["usageIdentifierKey"] == "0123456789abcdef0123456789abcdef"
    assert all(isinstance(value, str) for value in said["context"].values())
    assert token not in json.dumps(said)


def test_role_and_cost_centres_reach_the_functions(load: Load, provider: Provider) -> None:
    issuers(provider, tenants=("acme",), claims=ClaimMap(cost_centre="dep", role="groups"))
    token = provider.token(dep=["ops"], groups=["auditor"])
    said = load("authorize_tenant").handler(asking(Authorization=f"Bearer {token}"), context())
    caller = caller_from_context(said["context"])
    assert (caller.role, caller.cost_centres) == (Role.AUDITOR, ("ops",))


def test_no_warm_call_and_no_cold_start_goes_to_the_provider_again(load: Load, provider: Provider) -> None:
    for _ in range(3):
        authorizer = load("authorize_tenant")
        for _ in range(5):
            assert authorizer.handler(asking(Authorization=f"Bearer {provider.token()}"), context())
    assert provider.asked == ["/.well-known/openid-configuration", "/keys"]


def test_a_flood_of_bad_tokens_asks_the_provider_once(load: Load, provider: Provider) -> None:
    authorizers = [load("authorize_tenant") for _ in range(3)]
    assert authorizers[0].handler(asking(Authorization=f"Bearer {provider.token()}"), context())
    provider.asked.clear()
    for number in range(60):
        token = signed(claims(iss=provider.url), signing_key("RSA", "evil"), kid=f"k{number}")
        refused(authorizers[number % 3], token)
        refused(authorizers[number % 3], signed(claims(iss=f"https://{number}.example.com")))
        refused(authorizers[number % 3], signed(claims(iss=provider.url, exp=1)))
    assert len(provider.asked) == 0  # the interval of the first fetch runs
    table = IssuerTable("tenants")
    admin = issuers(provider, tenants=("acme",))
    name = admin.issuer(IssuerId("idp")).keys_name
    boto3.client("dynamodb").update_item(
        TableName="tenants",
        Key={"pk": {"S": f"jwks#{name}"}, "sk": {"S": "jwks"}},
        UpdateExpression="SET claimed_at = :then",
        ExpressionAttributeValues={":then": {"N": "1"}},
    )
    assert table.read(name).claimed_at == 1
    for number in range(60):
        refused(load("authorize_tenant") if number < 3 else authorizers[0], signed(claims(iss=provider.url), kid="x"))
    assert provider.asked.count("/keys") == 1


def test_a_new_key_serves_and_a_provider_that_is_down_does_not_matter(load: Load, provider: Provider) -> None:
    authorizer = load("authorize_tenant")
    old = provider.token()
    assert authorizer.handler(asking(Authorization=f"Bearer {old}"), context())
    provider.status = 503
    assert load("authorize_tenant").handler(asking(Authorization=f"Bearer {provider.token()}"), context())
    assert provider.asked.count("/keys") == 1


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (503, None, "status_503"),
        (302, b"", "status_302"),
        (200, b"<html>", "not_json"),
        (200, b"[" * 60_000, "not_json"),
        (200, b" " * 70_000, "too_large"),
        (
            200,
            b'{"issuer": "https://another.example.com", "jwks_uri": "https://x/keys"}',
            "discovery_names_another_issuer",
        ),
    ],
)
def test_a_provider_that_answers_badly_is_logged_and_not_followed(
    load: Load, provider: Provider, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes | None, reason: str
) -> None:
    provider.status, provider.body = status, body
    token = provider.token()
    authorizer = load("authorize_tenant")
    logged = listen(monkeypatch)
    refused(authorizer, token)
    said = {line["message"]: line for line in logged() if "message" in line}
    assert said["issuer_keys_not_fetched"]["reason"] == reason
    assert said["token_refused"]["reason"] == "keys_unavailable"
    assert provider.asked == ["/.well-known/openid-configuration"]
    assert token not in json.dumps(said)


def test_a_discovered_address_must_be_safe(load: Load, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("http://169.254.169.254/latest", "file:///etc/passwd", 7, None):
        provider.body = json.dumps({"issuer": provider.url, "jwks_uri": address}).encode()
        with pytest.raises(ProviderError, match="discovery_names_no_keys"):
            discover(Issuer(IssuerId("x"), provider.url, (), (), ()), loopback=True)
    provider.body = json.dumps({"issuer": provider.url, "jwks_uri": f"{provider.url}/keys"}).encode()
    with pytest.raises(ProviderError, match="discovery_names_no_keys"):
        discover(Issuer(IssuerId("x"), provider.url, (), (), ()), loopback=False)


def test_a_provider_that_never_ends_its_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(identity_providers, "SECONDS", 0.3)
        began = time.monotonic()
        with pytest.raises(ProviderError, match="too_slow|unreachable"):
            identity_providers.get(f"http://127.0.0.1:{server.getsockname()[1]}/keys")
        assert time.monotonic() - began < 5


def test_a_suspended_tenant_is_denied_whatever_identifies_it(load: Load, provider: Provider) -> None:
    add_tenant("tenants", replace(ACME, suspended=True))
    said = load("authorize_tenant").handler(asking(Authorization=f"Bearer {provider.token()}"), context())
    assert said["policyDocument"]["Statement"][0]["Effect"] == "Deny"
    assert "suspended" in said["context"]["reason"]


def test_a_deleted_issuer_identifies_nobody_when_the_cache_has_passed(
    load: Load, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    authorizer = load("authorize_tenant")
    token = provider.token()
    assert authorizer.handler(asking(Authorization=f"Bearer {token}"), context())
    issuers(provider, tenants=("acme",)).delete(IssuerId("idp"), ADMIN)
    clock[0] += 4.9
    assert authorizer.handler(asking(Authorization=f"Bearer {token}"), context())
    clock[0] += 0.2
    refused(authorizer, token)


def test_a_key_imports_nothing_of_tokens() -> None:
    """In a process of its own: a key's cold start must cost what it cost before there were tokens."""
    script = """
import json, sys
sys.path[:0] = ["functions/authorize_tenant", "layers/gateway", "."]
sys.modules["OpenSSL"] = None  # not in the artefact; urllib3 would import cryptography with it
import app
found = sorted(name for name in sys.modules if name.split(".")[0] in {"joserfc", "cryptography"})
found += [name for name in sys.modules if name.startswith("gateway.tenancy.") and name.split(".")[-1] in
          {"tokens", "issuers", "issuer_keys", "signatures"}]
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


# ------------------------------------------------------------------------------------------------------------- alarms
# What API Gateway answers when the authorizer has raised "Unauthorized", and when it has failed (`openapi.yaml`).
SEEN_BY_THE_API = {"Unauthorized": "4XXError", "failed": "5XXError"}


def watching(moved: set[tuple[str, str, str]]) -> set[str]:
    """The alarms of a deployed stack on one of these metrics: namespace, name, and the dimension's value."""
    found = set()
    for name, alarm in of_kind(stack(), "AWS::CloudWatch::Alarm").items():
        metrics = [one["MetricStat"]["Metric"] for one in alarm.get("Metrics", ()) if "MetricStat" in one] or [alarm]
        for metric in metrics:
            told = {(metric["Namespace"], metric["MetricName"], one["Value"]) for one in metric["Dimensions"]}
            found |= {name} if told & moved else set()
    return found


def moved_by(raised: str, lines: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """The metrics that a raising invocation changes: Lambda's own, the API's, and those that it logged."""
    own = {
        (described["Namespace"], metric["Name"], line["service"])
        for line in lines
        for described in line.get("_aws", {}).get("CloudWatchMetrics", ())
        for metric in described["Metrics"]
    }
    api = SEEN_BY_THE_API["Unauthorized" if raised == "Unauthorized" else "failed"]
    return own | {
        ("AWS/Lambda", "Errors", "model-gateway/AuthorizeTenantFunction"),
        ("AWS/ApiGateway", api, "model-gateway"),
    }


@pytest.fixture
def _as_deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    said = stack()["AuthorizeTenantFunction"]["Properties"]["Environment"]["Variables"]
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", said["POWERTOOLS_METRICS_NAMESPACE"])


@pytest.mark.usefixtures("_as_deployed")
@pytest.mark.parametrize(
    "key",
    ["mgw_guess", "x" * 10_000, "gäste", "mgw_" + "0" * 46, "eyJ.a.b", "eyJ" + "x" * 64_000 + "..", signed(claims())],
)
def test_a_wrong_key_moves_no_metric_that_an_alarm_watches(
    authorizer: Any, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Else any stranger could call the operators out, and roll a release back."""
    logged = listen(monkeypatch)
    with pytest.raises(Exception, match="^Unauthorized$"):
        authorizer.handler(asking(**{"x-api-key": key}), context())
    assert watching(moved_by("Unauthorized", logged())) == set()


@pytest.mark.usefixtures("_as_deployed")
def test_an_authorizer_that_fails_moves_metrics_of_both_alarms_that_roll_a_release_back(
    authorizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = add_key("tenants", "acme", "ci")
    boto3.client("dynamodb").delete_table(TableName="tenants")
    logged = listen(monkeypatch)
    with pytest.raises(Exception, match="ResourceNotFound") as raised:
        authorizer.handler(asking(**{"x-api-key": key}), context())
    lines = logged()
    assert watching(moved_by(str(raised.value), lines)) == {"ApiErrorsAlarm", "RequestErrorsAlarm"}
    assert [line["error_type"] for line in lines if line.get("message") == "authorizer_failed"]
    assert key not in json.dumps(lines)


# ------------------------------------------------------------------------------------------------------------- users
def owned_key(user_id: str) -> str:
    key = new_key()
    owned = Key(KeyId(f"key_{user_id}"), TenantId("acme"), digest_of(key), "ci", datetime.now(UTC), user_id=user_id)
    TenantTable("tenants").put_key(owned)
    return key


def put_user(user_id: str, *, active: bool, **more: Any) -> None:
    now = datetime.now(UTC)
    admin = Administration(TenantRegister("tenants"))
    admin.put_user(User(TenantId("acme"), user_id, now, now, active=active, **more), Actor("arn:aws:iam::1:user/ann"))


def test_nothing_of_a_user_that_is_switched_off_works_when_the_cache_has_passed(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_tenant("tenants", ACME)
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    authorizer = load("authorize_tenant")
    anns, bobs = asking(**{"x-api-key": owned_key("Ann")}), asking(**{"x-api-key": owned_key("bob")})

    def effects() -> list[str]:
        answers = [authorizer.handler(asked, None) for asked in (anns, bobs)]
        return [answer["policyDocument"]["Statement"][0]["Effect"] for answer in answers]

    assert effects() == ["Allow", "Allow"]  # of a user without a record too
    put_user("ann", active=False)
    clock[0] += 4.9
    assert effects() == ["Allow", "Allow"]
    clock[0] += 0.2
    assert effects() == ["Deny", "Allow"]
    denied = authorizer.handler(anns, None)
    assert "switched off" in denied["context"]["reason"]
    assert "usageIdentifierKey" not in denied
    put_user("ann", active=True)
    clock[0] += 5.1
    assert effects() == ["Allow", "Allow"]


@pytest.mark.parametrize("name", ["ann", "ANN@acme.example", "0A1B-object-id"])
def test_a_user_is_off_under_each_of_its_names(load: Load, name: str) -> None:
    """A directory knows a person by another name than a key or a token may."""
    add_tenant("tenants", ACME)
    put_user("ann", active=False, user_name="ann@acme.example", external_id="0a1b-object-id")
    said = load("authorize_tenant").handler(asking(**{"x-api-key": owned_key(name)}), context())
    assert said["policyDocument"]["Statement"][0]["Effect"] == "Deny"


def test_a_user_is_read_once_in_a_while_and_never_for_a_key_without_an_owner(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_tenant("tenants", ACME)
    authorizer = load("authorize_tenant")
    read: list[str] = []
    get = authorizer.tenants._tenants._get

    def noted(pk: str, sk: str) -> Any:
        read.append(sk)
        return get(pk, sk)

    monkeypatch.setattr(authorizer.tenants._tenants, "_get", noted)
    for key, wanted in (
        (add_key("tenants", "acme", "ci"), ["key", "tenant"]),
        (owned_key("ann"), ["key", "tenant", "user#ann"]),
    ):
        read.clear()
        for _ in range(3):
            authorizer.handler(asking(**{"x-api-key": key}), context())
        assert read == wanted
