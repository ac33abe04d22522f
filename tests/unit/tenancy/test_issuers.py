"""Operators' changes to issuers, on a register in memory and in DynamoDB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from gateway.aws.dynamodb.issuer_register import IssuerRegister as DynamoRegister
from gateway.aws.dynamodb.issuers import IssuerTable
from gateway.aws.dynamodb.tenant_register import TenantRegister
from gateway.core.errors import BadRequestError, NotFoundError
from gateway.tenancy.administration import Actor, AuditRecord, Changed, Conflict, Page, VersionConflict
from gateway.tenancy.caller import Role
from gateway.tenancy.issuer_keys import KeySet
from gateway.tenancy.issuers import (
    ClaimMap,
    Issuer,
    IssuerAdministration,
    IssuerId,
    IssuerUsedError,
    WrongKeysError,
    issuer_from_json,
    issuer_to_json,
    public_keys,
)
from tests.tokens import AUDIENCE, ISSUER, jwks, signing_key

ANN = Actor("arn:aws:iam::111122223333:user/ann")
ID = IssuerId("idp")
OURS = Issuer(ID, ISSUER, (AUDIENCE,), ("RS256",), ("acme",))


@dataclass
class MemoryRegister:
    held: dict[str, Issuer] = field(default_factory=dict)
    records: list[AuditRecord] = field(default_factory=list)

    def issuer(self, issuer_id: IssuerId) -> Issuer | None:
        return self.held.get(issuer_id)

    def issuers(self, limit: int, start: str | None) -> Page:
        names = [name for name in sorted(self.held) if start is None or name > start]
        return Page([self.held[name] for name in names[:limit]], names[limit - 1] if len(names) > limit else None)

    def is_used(self, issuer: str, issuer_id: IssuerId) -> bool:
        return any(one.issuer == issuer and one.issuer_id != issuer_id for one in self.held.values())

    def put_issuer(self, after: Issuer, before: Issuer | None, record: AuditRecord) -> None:
        if self.held.get(after.issuer_id) != before or self.is_used(after.issuer, after.issuer_id):
            raise Changed
        self.held[after.issuer_id] = after
        self.records.append(record)

    def remove_issuer(self, before: Issuer, record: AuditRecord) -> None:
        if self.held.get(before.issuer_id) != before:
            raise Changed
        del self.held[before.issuer_id]
        self.records.append(record)


@pytest.fixture(params=["memory", "DynamoDB"])
def admin(request: pytest.FixtureRequest) -> IssuerAdministration:
    if request.param == "memory":
        return IssuerAdministration(MemoryRegister())
    request.getfixturevalue("aws")
    return IssuerAdministration(DynamoRegister(TenantRegister("tenants")))


def records(admin: IssuerAdministration) -> list[AuditRecord]:
    if isinstance(admin.register, MemoryRegister):
        return admin.register.records[::-1]
    return list(TenantRegister("tenants").audit(None, 100, None, datetime.now(UTC)).items)


def test_an_issuer_is_created_changed_and_deleted_on_record(admin: IssuerAdministration) -> None:
    made, is_new = admin.put(OURS, ANN)
    assert (made, is_new) == (replace(OURS, version=1), True)
    assert admin.put(OURS, ANN) == (made, False)
    changed, is_new = admin.put(replace(OURS, tenants=("rival",)), ANN, 1)
    assert (changed.version, is_new, admin.issuer(ID)) == (2, False, changed)
    with pytest.raises(VersionConflict, match="version 2"):
        admin.put(OURS, ANN, 1)
    admin.delete(ID, ANN)
    with pytest.raises(NotFoundError):
        admin.issuer(ID)
    with pytest.raises(NotFoundError):
        admin.delete(ID, ANN)
    assert [(one.action, one.actor) for one in records(admin)] == [
        ("delete_issuer", ANN),
        ("change_issuer", ANN),
        ("create_issuer", ANN),
    ]
    newest = records(admin)[0]
    assert newest.before is not None
    assert (newest.before["issuer_id"], newest.before["tenants"], newest.after) == ("idp", ["rival"], None)


def test_two_records_never_have_the_same_issuer(admin: IssuerAdministration) -> None:
    other = replace(OURS, issuer_id=IssuerId("other"), issuer="https://other.example.com")
    admin.put(OURS, ANN)
    admin.put(other, ANN)
    for wrong in (replace(other, issuer=ISSUER), replace(OURS, issuer_id=IssuerId("third"))):
        with pytest.raises(IssuerUsedError):
            admin.put(wrong, ANN)
    admin.put(replace(OURS, issuer="https://moved.example.com"), ANN)
    assert admin.put(replace(other, issuer=ISSUER), ANN)[0].issuer == ISSUER


def test_of_two_records_at_once_one_gets_the_issuer(
    admin: IssuerAdministration, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.put(OURS, ANN)
    monkeypatch.setattr(type(admin.register), "is_used", lambda *_: False)  # both looked before either wrote
    if isinstance(admin.register, MemoryRegister):
        monkeypatch.undo()
    with pytest.raises(Conflict):
        admin.put(replace(OURS, issuer_id=IssuerId("other")), ANN)
    assert len(records(admin)) == 1


def test_the_authorizer_sees_what_the_operators_wrote(aws: None) -> None:
    admin, table = IssuerAdministration(DynamoRegister(TenantRegister("tenants"))), IssuerTable("tenants")
    made, _ = admin.put(OURS, ANN)
    assert table.named(ISSUER) == table.issuer(ID) == made
    assert table.named(ISSUER + "/") is None
    table.keep(made.keys_name, KeySet([{"kid": "k1"}], 1.0))
    moved, _ = admin.put(replace(OURS, issuer="https://moved.example.com"), ANN)
    assert (table.named(ISSUER), table.named(moved.issuer)) == (None, moved)
    assert table.read(made.keys_name) == KeySet()
    admin.delete(ID, ANN)
    assert table.named(moved.issuer) is table.issuer(ID) is None
    left = boto3.client("dynamodb").scan(TableName="tenants")["Items"]
    assert {item["pk"]["S"].partition("#")[0] for item in left} == {"audit", "tenant"}  # histories


def test_a_record_survives_the_table() -> None:
    whole = replace(
        OURS,
        jwks=jwks(signing_key()),
        claims=ClaimMap("tid", "dep", "oid", "groups"),
        roles={"finance": Role.AUDITOR},
        version=3,
    )
    assert issuer_from_json(issuer_to_json(whole)) == whole
    assert issuer_from_json(issuer_to_json(OURS)) == OURS


def edited(**changed: Any) -> Callable[[], Issuer]:
    return lambda: replace(OURS, **changed)


def private_jwks() -> Issuer:
    return replace(OURS, jwks={"keys": [signing_key().as_dict(private=True)]})


def weak_jwks() -> Issuer:
    key = jwks(signing_key())["keys"][0]
    return replace(OURS, jwks={"keys": [key | {"n": key["n"][:100]}]})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (edited(issuer_id=IssuerId("a b")), "issuer_id"),
        (edited(issuer="http://idp.example.com"), "https"),
        (edited(issuer="http://127.0.0.1:9000"), "https"),
        (edited(issuer="ftp://idp.example.com"), "https"),
        (edited(issuer="https://"), "issuer"),
        (edited(issuer="https://user:secret@idp.example.com"), "credentials"),
        (edited(issuer="https://idp.example.com?x=1"), "query"),
        (edited(issuer="https://idp.example.com:99999"), "not a URL"),
        (edited(issuer="https://idp.exämple.com"), "issuer"),
        (edited(jwks_uri="http://169.254.169.254/latest"), "jwks_uri"),
        (edited(jwks_uri="file:///etc/passwd"), "jwks_uri"),
        (edited(algorithms=("HS256",)), "'HS256' is not allowed"),
        (edited(algorithms=("RS256", "none")), "'none' is not allowed"),
        (edited(algorithms=()), "must"),
        (edited(audiences=()), "audiences"),
        (edited(audiences=("a", "a")), "audiences"),
        (edited(tenants=()), "tenants"),
        (edited(tenants=("acme", "rival")), "claims.tenant"),
        (edited(tenants=("*",)), "claims.tenant"),
        (edited(tenants=("*", "acme"), claims=ClaimMap("tid")), "stand alone"),
        (edited(jwks={"keys": []}), "no usable key"),
        (edited(jwks={}), "list `keys`"),
        (edited(jwks={"keys": "x"}), "list `keys`"),
        (edited(jwks={"keys": [{"kty": "RSA"}] * 51}), "at most 50"),
        (edited(jwks={"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}), "private or symmetric"),
        (private_jwks, "private or symmetric"),
        (weak_jwks, "no usable key"),
        (lambda: replace(OURS, jwks=jwks(signing_key()), jwks_uri="https://a/keys"), "either"),
        (lambda: replace(OURS, jwks={"keys": jwks(signing_key())["keys"], "x": "y" * 50_000}), "exceeds"),
    ],
)
def test_what_is_unsafe_is_refused(admin: IssuerAdministration, wrong: Callable[[], Issuer], said: str) -> None:
    with pytest.raises(BadRequestError, match=said) as refused:
        admin.put(wrong(), ANN)
    assert refused.value.code == "invalid_issuer"
    assert records(admin) == []


def test_only_a_local_stack_takes_issuers_of_its_own_machine(admin: IssuerAdministration) -> None:
    local = replace(admin, loopback=True)
    assert local.put(replace(OURS, issuer="http://127.0.0.1:9000"), ANN)[1]
    for elsewhere in ("http://idp.example.com", "http://127.0.0.1.example.com", "http://10.0.0.1"):
        with pytest.raises(BadRequestError):
            local.put(replace(OURS, issuer=elsewhere), ANN)


@pytest.mark.parametrize(
    "changed",
    [
        {"kty": "oct"},
        {"kty": 7},
        {"use": "enc"},
        {"alg": "HS256"},
        {"kid": 7},
        {"kid": "x" * 300},
        {"n": "!"},
        {"n": 7},
        {"n": "A" * 3000},
        {"e": "AQ"},  # 1
        {"e": "_" * 40},
        {"kty": "EC", "crv": "secp256k1"},
        {"kty": "OKP", "crv": "X25519"},
    ],
)
def test_a_key_that_is_not_safe_to_use_is_left_out(changed: dict[str, Any]) -> None:
    good = jwks(signing_key())["keys"][0]
    assert public_keys({"keys": [good]}) == [{name: good[name] for name in ("kty", "kid", "use", "n", "e")}]
    assert public_keys({"keys": [good | changed, 7, None]}) == []


@pytest.mark.parametrize("document", [None, 7, [], {"keys": None}, {"keys": [{}] * 51}])
def test_a_document_that_is_no_key_set_is_refused(document: Any) -> None:
    with pytest.raises(WrongKeysError):
        public_keys(document)
