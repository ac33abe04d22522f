"""A token identifies a caller only if its issuer signed it for this gateway, and names what the issuer was given."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tenancy.caller import Caller, Role
from gateway.tenancy.issuer_keys import KeysUnavailableError
from gateway.tenancy.issuers import ClaimMap, Issuer, IssuerId, public_keys
from gateway.tenancy.keys import looks_like_token
from gateway.tenancy.tenant import Tenant
from gateway.tenancy.tokens import LARGEST, Records, TokenRefusedError, authenticate_token, user_of
from gateway.usage.records import TenantId, UserSource
from tests.tokens import AUDIENCE, ISSUER, claims, jwks, part, public_pem, signed, signed_by_hand, signing_key

ACME = Tenant(TenantId("acme"), "Acme", ("research", "ops"))
RIVAL = Tenant(TenantId("rival"), "Rival", ())
OURS = Issuer(IssuerId("idp"), ISSUER, (AUDIENCE,), ("RS256",), ("acme",))


@dataclass
class World:
    """Issuers, tenants and keys in memory. `asked` counts the lookups of keys."""

    issuers: tuple[Issuer, ...] = (OURS,)
    document: Mapping[str, Any] = field(default_factory=lambda: jwks(signing_key()))
    tenants: tuple[Tenant, ...] = (ACME, RIVAL)
    asked: int = 0
    down: bool = False

    @property
    def now(self) -> float:
        return time.time()

    def issuer(self, issuer: str) -> Issuer | None:
        return next((one for one in self.issuers if one.issuer == issuer), None)

    def tenant(self, tenant_id: TenantId) -> Tenant | None:
        return next((one for one in self.tenants if one.tenant_id == tenant_id), None)

    def find(self, issuer: Issuer, kid: str | None) -> Sequence[Mapping[str, str]]:
        self.asked += 1
        if self.down:
            raise KeysUnavailableError
        return [key for key in public_keys(self.document) if kid is None or key.get("kid") == kid]

    def caller(self, token: str) -> Caller:
        return authenticate_token(token, self, self, self.now)

    def reason(self, token: str) -> str:
        with pytest.raises(TokenRefusedError) as refused:
            self.caller(token)
        assert str(refused.value) == refused.value.reason
        assert not any(piece in str(vars(refused.value)) for piece in token.split(".") if len(piece) > 3)
        return refused.value.reason


def with_issuer(**changed: Any) -> World:
    return World((replace(OURS, **changed),))


def test_a_good_token_names_its_caller() -> None:
    caller = World().caller(signed(claims()))
    assert (caller.tenant, caller.user_id, caller.key_id) == (ACME, "ann", "token:idp")
    assert (caller.user_source, caller.role, caller.cost_centres) == (UserSource.TOKEN, Role.MEMBER, ())


# ------------------------------------------------------------------------------------------------------- signatures
@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [
        *(("RSA", name) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        ("P-256", "ES256"),
        ("P-384", "ES384"),
        ("P-521", "ES512"),
        ("Ed25519", "EdDSA"),
    ],
)
def test_each_asymmetric_algorithm_verifies_and_no_other_key_does(kind: str, algorithm: str) -> None:
    world = with_issuer(algorithms=(algorithm,))
    world.document = jwks(signing_key(kind))
    token = signed(claims(), signing_key(kind), algorithm)
    assert world.caller(token).user_id == "ann"
    world.document = jwks(signing_key(kind, "k1-other"))
    world.document["keys"][0]["kid"] = "k1"
    assert world.reason(token) == "wrong_signature"


def test_no_algorithm_is_no_signature() -> None:
    for name in ("none", "None", "NONE", "nOnE"):
        unsigned = f"{part({'alg': name, 'typ': 'JWT'})}.{part(claims())}."
        assert World().reason(unsigned) == "algorithm_not_allowed"
    stripped = signed(claims()).rpartition(".")[0] + "."
    assert World().reason(stripped) == "wrong_signature"


@pytest.mark.parametrize("name", ["HS256", "HS384", "HS512"])
def test_the_public_key_is_no_shared_secret(name: str) -> None:
    """RFC 8725, 2.1: whoever has the public key would make tokens with it."""
    world = World()
    for secret in (public_pem(signing_key()), json.dumps(jwks(signing_key())["keys"][0]).encode()):
        body = f"{part({'alg': name, 'kid': 'k1'})}.{part(claims())}"
        mac = hmac.new(secret, body.encode(), getattr(hashlib, f"sha{name[2:]}")).digest()
        forged = f"{body}.{part(mac.decode('latin-1'))}"
        assert world.reason(forged) == "algorithm_not_allowed"
    # Not even if a record or a provider says so.
    symmetric = with_issuer(algorithms=(name, "RS256"))
    assert symmetric.reason(forged) == "algorithm_not_allowed"
    assert public_keys({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1"}]}) == []


def test_an_algorithm_that_the_record_does_not_name_is_refused() -> None:
    assert World().reason(signed(claims(), alg="PS256")) == "algorithm_not_allowed"
    ec = with_issuer(algorithms=("ES256", "RS256"))
    assert ec.reason(signed(claims(), signing_key("P-256"), "ES256")) == "unknown_key"  # the key of `k1` is of RSA


def test_a_key_is_used_only_for_what_it_says() -> None:
    world = with_issuer(algorithms=("RS256", "PS256"))
    world.document = {"keys": [{**jwks(signing_key())["keys"][0], "alg": "PS256"}]}
    assert world.reason(signed(claims())) == "unknown_key"
    world.document = {"keys": [{**jwks(signing_key())["keys"][0], "use": "enc"}]}
    assert world.reason(signed(claims())) == "unknown_key"


def test_a_changed_token_is_refused() -> None:
    header, payload, signature = signed(claims()).split(".")
    assert World().reason(f"{header}.{part(claims(sub='eve'))}.{signature}") == "wrong_signature"
    assert World().reason(f"{part({'alg': 'RS256', 'kid': 'k1', 'x': 1})}.{payload}.{signature}") == "wrong_signature"
    assert World().reason(f"{header}.{payload}.{signature[:-4]}AAAA") == "wrong_signature"
    assert World().reason(f"{header}.{payload}.!!!") == "wrong_signature"


def test_a_replaced_key_and_an_unknown_one() -> None:
    old, new = signing_key("RSA", "k1"), signing_key("RSA", "k2")
    world = World(document=jwks(new))
    assert world.reason(signed(claims(), old)) == "unknown_key"
    assert world.caller(signed(claims(), new)).user_id == "ann"
    assert world.reason(signed(claims(), old, kid="k2")) == "wrong_signature"


def test_a_token_without_a_key_id_needs_a_provider_with_one_key() -> None:
    token = signed(claims(), kid=None)
    assert World().caller(token).user_id == "ann"
    assert World(document=jwks(signing_key(), signing_key("RSA", "k2"))).reason(token) == "no_kid"
    assert World(document=jwks(signing_key(), signing_key("P-256", "k3"))).caller(token).user_id == "ann"


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
def test_a_key_that_the_token_itself_names_is_not_used(name: str) -> None:
    own = signing_key("RSA", "own")
    said = {"jwk": own.as_dict(private=False), "x5c": ["MIIB"]}.get(name, "https://evil.example.com/keys")
    assert World().reason(signed_by_hand({"alg": "RS256", "kid": "k1", name: said}, claims(), own)) == "wrong_signature"
    assert World().reason(signed_by_hand({"alg": "RS256", "kid": "own", name: said}, claims(), own)) == "unknown_key"


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"crit": []}, {"b64": False, "crit": ["b64"]}, {"b64": True}])
def test_a_critical_header_is_refused(header: dict[str, Any]) -> None:
    token = signed_by_hand({"alg": "RS256", "kid": "k1"} | header, claims())
    assert World().reason(token) == "critical_header"


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "secevent+jwt", "JWE", 7])
def test_a_token_of_another_type_is_refused(kind: Any) -> None:
    assert World().reason(signed_by_hand({"alg": "RS256", "kid": "k1", "typ": kind}, claims())) == "wrong_type"


@pytest.mark.parametrize("kind", [None, "JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_the_types_of_access_tokens_are_accepted(kind: str | None) -> None:
    assert World().caller(signed(claims(), typ=kind)).user_id == "ann"


# ------------------------------------------------------------------------------------------------------------- claims
NOW = int(time.time())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"iss": None}, "no_iss"),
        ({"iss": 7}, "no_iss"),
        ({"iss": ISSUER + "/"}, "unknown_issuer"),
        ({"iss": "https://evil.example.com"}, "unknown_issuer"),
        ({"aud": None}, "no_aud"),
        ({"aud": []}, "no_aud"),
        ({"aud": 7}, "no_aud"),
        ({"aud": [AUDIENCE, 7]}, "no_aud"),
        ({"aud": "another"}, "wrong_audience"),
        ({"aud": ["another"]}, "wrong_audience"),
        ({"aud": AUDIENCE.upper()}, "wrong_audience"),
        ({"aud": [AUDIENCE, "another"]}, "wrong_azp"),
        ({"aud": [AUDIENCE, "another"], "azp": "another"}, "wrong_azp"),
        ({"exp": None}, "no_exp"),
        ({"exp": NOW - 61}, "expired"),
        ({"exp": "9999999999"}, "wrong_exp"),
        ({"exp": True}, "wrong_exp"),
        ({"exp": -1}, "wrong_exp"),
        ({"exp": 10**400}, "wrong_exp"),
        ({"exp": [NOW + 60]}, "wrong_exp"),
        ({"nbf": NOW + 120}, "not_yet_valid"),
        ({"nbf": "soon"}, "wrong_nbf"),
        ({"iat": NOW + 120}, "wrong_iat"),
        ({"iat": NOW + 30, "exp": NOW + 10}, "wrong_iat"),
        ({"iat": "now"}, "wrong_iat"),
        ({"token_use": "refresh"}, "wrong_token_use"),
        ({"token_use": "id", "aud": None, "client_id": AUDIENCE}, "no_aud"),
        ({"token_use": "access", "aud": None, "client_id": "another"}, "wrong_audience"),
        ({"aud": None, "client_id": AUDIENCE}, "no_aud"),
        ({"cnf": {"jkt": "x"}}, "sender_constrained"),
        ({"sub": None}, "no_user"),
        ({"sub": ""}, "no_user"),
        ({"sub": 7}, "no_user"),
    ],
)
def test_a_claim_that_does_not_fit_is_refused(
    changed: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)  # the examples were made some time ago
    world = World()
    assert world.reason(signed(claims(**changed))) == reason
    assert world.asked == (reason == "no_user")  # the keys are looked for last, so that they cost a flood nothing


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": NOW - 50},  # within the skew
        {"nbf": NOW + 30},
        {"iat": NOW + 30},
        {"iat": None},
        {"exp": NOW + 300.5},
        {"aud": [AUDIENCE]},
        {"aud": [AUDIENCE, AUDIENCE]},
        {"aud": [AUDIENCE, "another"], "azp": AUDIENCE},
        {"token_use": "access", "aud": None, "client_id": AUDIENCE},  # Cognito
        {"token_use": "id"},
        {"azp": "a-client"},
    ],
)
def test_what_providers_send_is_accepted(changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)  # the examples were made some time ago
    assert World().caller(signed(claims(**{"iat": None} | changed))).user_id == "ann"


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps(claims())[:-1] + ', "sub": "eve"}',
        json.dumps(claims())[:-1] + ', "x": {"a": 1, "a": 2}}',
        json.dumps(claims())[:-1] + ', "\\u0073ub": "eve"}',
    ],
)
def test_a_claim_that_comes_twice_is_refused(payload: str) -> None:
    assert World().reason(signed(payload)) == "duplicate_name"


def test_a_header_that_comes_twice_is_refused() -> None:
    header = '{"alg": "RS256", "kid": "k1", "alg": "none"}'
    assert World().reason(signed_by_hand(header, claims())) == "duplicate_name"


@pytest.mark.parametrize(
    "token",
    [
        "eyJ..",
        "eyJ.eyJ.eyJ",
        "eyJhbGciOiJSUzI1NiJ9.e30",
        "eyJhbGciOiJSUzI1NiJ9.e30.a.b.c",  # encrypted
        f"{part('[]')}.{part(claims())}.x",
        f"{part({'alg': 'RS256'})}.{part('[1]')}.x",
        f"{part({'alg': 'RS256'})}.{part('{nope')}.x",
        f"{part({'alg': 'RS256'})}.{part('[' * 5000)}.x",
        ".".join((part({"alg": "RS256"}), part('{"exp": NaN}'), "x")),
        ".".join((part({"alg": "RS256"}), part('{"exp": 1%s}' % ("0" * 4400)), "x")),
        f"{part({'alg': 'RS256'})}.{part(claims())}=.x",
        f"{part({'alg': 'RS256'})}.gA.x",
    ],
)
def test_no_token_at_all_is_malformed(token: str) -> None:
    assert World().reason(token) == "malformed"


def test_a_large_token_is_refused_before_it_is_read() -> None:
    for size in (LARGEST + 1, 64 * 1024):
        token = "eyJ" + "!" * (size - 5) + ".."
        assert World().reason(token) == "too_large"
    padded = signed(claims(note="x" * 5000))
    assert len(padded) < LARGEST
    assert World().caller(padded).user_id == "ann"


@given(st.text(alphabet='eyJ.hbGciOiJub25lIn0_-=+/ \x00é{}[]"', max_size=200))
def test_whatever_is_presented_is_refused_and_never_fails(text: str) -> None:
    for token in (text, f"eyJ{text}", f"{part(text)}.{part(text)}.{text}"):
        with pytest.raises(TokenRefusedError):
            World().caller(token)


@given(
    st.dictionaries(
        st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "azp", "sub", "token_use", "cnf", "client_id"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.text(max_size=3)),
        min_size=1,
    )
)
def test_strange_claims_never_fail(changed: dict[str, Any]) -> None:
    token = f"{part({'alg': 'RS256', 'kid': 'k1'})}.{part(json.dumps(claims(**changed)))}.AAAA"
    with pytest.raises(TokenRefusedError):
        World().caller(token)


def test_a_provider_that_is_down_with_no_known_key_refuses() -> None:
    world = World(down=True)
    assert world.reason(signed(claims())) == "keys_unavailable"


# ------------------------------------------------------------------------------------------------------------- caller
def test_an_issuer_names_only_the_tenants_that_it_was_given() -> None:
    world = with_issuer(claims=ClaimMap(tenant="tid"), tenants=("acme", "gone"))
    assert world.caller(signed(claims(tid="acme"))).tenant == ACME
    assert world.caller(signed(claims(tid=["acme", "rival"]))).tenant == ACME
    assert world.reason(signed(claims(tid="rival"))) == "tenant_not_allowed"
    assert world.reason(signed(claims(tid="*"))) == "tenant_not_allowed"
    assert world.reason(signed(claims())) == "tenant_not_allowed"
    assert world.reason(signed(claims(tid={"acme": 1}))) == "tenant_not_allowed"
    assert world.reason(signed(claims(tid="gone"))) == "unknown_tenant"
    assert world.reason(signed(claims(tid=["acme", "gone"]))) == "several_tenants"
    # Without a claim, the issuer's one tenant, whatever the token says.
    assert World().caller(signed(claims(tenant="rival", tid="rival"))).tenant == ACME


def test_an_issuer_of_all_tenants_names_any() -> None:
    world = with_issuer(claims=ClaimMap(tenant="tid"), tenants=("*",))
    assert world.caller(signed(claims(tid="rival"))).tenant == RIVAL
    assert world.reason(signed(claims(tid="*"))) == "unknown_tenant"


def test_two_issuers_do_not_speak_for_each_other() -> None:
    theirs = replace(OURS, issuer_id=IssuerId("other"), issuer="https://other.example.com", tenants=("rival",))
    world = World((OURS, theirs))
    assert world.caller(signed(claims(iss=theirs.issuer))).tenant == RIVAL
    assert world.caller(signed(claims())).tenant == ACME


def test_cost_centres_of_the_token_limit_what_it_may_charge() -> None:
    world = with_issuer(claims=ClaimMap(cost_centre="department"))
    caller = world.caller(signed(claims(department=["ops", "foreign"])))
    assert (caller.cost_centres, caller.cost_centre(None)) == (("ops",), "ops")
    assert world.caller(signed(claims(department="research"))).cost_centres == ("research",)
    refusals: tuple[dict[str, Any], ...] = ({"department": "foreign"}, {"department": []}, {"department": 7}, {})
    for refused in refusals:
        assert world.reason(signed(claims(**refused))) == "cost_centre_not_owned"


@pytest.mark.parametrize(
    ("values", "role"),
    [
        (None, Role.MEMBER),
        ("auditor", Role.MEMBER),  # with a map of roles, only what it names counts
        (["finance", "tenant-admin"], Role.AUDITOR),
        (["finance", "staff"], Role.AUDITOR),
        (["gateway-admins", "finance"], Role.TENANT_ADMIN),
        (["root"], Role.MEMBER),
        (["nobody", 7, None], Role.MEMBER),
        ({"operator": True}, Role.MEMBER),
        ("AUDITOR", Role.MEMBER),
    ],
)
def test_the_strongest_role_wins(values: Any, role: Role) -> None:
    mapped = {"finance": Role.AUDITOR, "gateway-admins": Role.TENANT_ADMIN, "root": Role.OPERATOR}
    world = with_issuer(claims=ClaimMap(role="groups"), roles=mapped)
    assert world.caller(signed(claims(groups=values))).role is role
    assert World().caller(signed(claims(groups=values, role="operator"))).role is Role.MEMBER


@pytest.mark.parametrize(
    ("values", "role"),
    [
        ("auditor", Role.AUDITOR),
        (["auditor", "tenant-admin"], Role.TENANT_ADMIN),
        (["operator", "auditor"], Role.AUDITOR),
    ],
)
def test_without_a_map_of_roles_a_claim_names_them_itself(values: Any, role: Role) -> None:
    assert with_issuer(claims=ClaimMap(role="groups")).caller(signed(claims(groups=values))).role is role


@pytest.mark.parametrize(("value", "mapped"), [("operator", {}), ("root", {"root": Role.OPERATOR})])
def test_only_an_issuer_of_all_tenants_makes_an_operator(value: str, mapped: dict[str, Role]) -> None:
    everything = with_issuer(claims=ClaimMap("tid", role="groups"), roles=mapped, tenants=("*",))
    assert everything.caller(signed(claims(tid="acme", groups=value))).role is Role.OPERATOR


def test_an_issuer_that_is_no_text_of_a_record_is_unknown() -> None:
    for issuer in ("https://\ud800", "https://b\u00fccher.example"):
        records = Records(lambda _: 1 / 0, lambda _: None, 5, time.monotonic)  # type: ignore[arg-type,return-value]
        assert records.issuer(issuer) is None


def test_a_claim_may_lie_within_another() -> None:
    world = with_issuer(claims=ClaimMap(role="realm_access.roles", user="https://x.example/user"))
    caller = world.caller(signed(claims(realm_access={"roles": ["auditor"]}, **{"https://x.example/user": "bob"})))
    assert (caller.role, caller.user_id) == (Role.AUDITOR, "bob")


@pytest.mark.parametrize(
    "subject", ["ann", "auth0|5f7c8ec7c33c6c004bbafe82", "ann@example.com", "arn:aws:iam::1:user/x"]
)
def test_a_subject_that_is_an_id_stays(subject: str) -> None:
    assert user_of(subject) == subject


@given(st.text(min_size=1))
def test_every_subject_becomes_an_id_of_its_own(subject: str) -> None:
    import re

    made = user_of(subject)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:@|/+=-]*", made)
    assert len(made) <= 128
    assert made == user_of(subject) != user_of(f"{subject} ")
    assert user_of(made) == made or made.startswith("sha256:")


def test_nobody_can_be_named_like_an_encoded_subject() -> None:
    assert user_of(user_of("-x")) != user_of("-x")


def test_records_are_kept_for_some_seconds_and_in_bounded_number() -> None:
    clock, asked = [0.0], []

    def find(name: str) -> None:
        asked.append(name)

    records = Records(find, lambda _: ACME, 5, lambda: clock[0])
    for _ in range(3):
        assert records.issuer("https://a") is None
    assert asked == ["https://a"]
    clock[0] = 5
    records.issuer("https://a")
    assert len(asked) == 2
    for number in range(Records.MOST + 10):
        records.issuer(str(number))
    assert len(records._issuers) <= Records.MOST
    asked.clear()
    assert records.issuer("https://" + "x" * 512) is None
    assert asked == []


def test_what_looks_like_a_token() -> None:
    assert looks_like_token(signed(claims()))
    assert not looks_like_token("mgw_eyJ.a.b")
    assert not looks_like_token("eyJhbGciOiJSUzI1NiJ9.e30")
