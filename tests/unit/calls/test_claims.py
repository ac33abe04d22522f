"""The claims of a request: which fit, and what is said of the others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.claims import (
    MOST_TAGS,
    NAME,
    NO_CLAIM,
    RESERVED,
    USER,
    VALUE,
    Claim,
    ReadClaim,
    claim_of_headers,
    claimed_labels,
    claimed_user,
    read_claim,
)

DEVICE, ACCOUNT = "a1" * 32, "0b5a3c1e-1111-4222-8333-444455556666"
SESSION = "d2e70091-3007-41a3-a916-cb8b0d3098de"


def headers(tags: str = "", user: str = "") -> ReadClaim:
    return read_claim(claim_of_headers({"x-gateway-tags": tags, "x-gateway-user": user}))


def test_the_headers_name_a_user_and_tags() -> None:
    assert headers("project=apollo,stage=test", "alice") == ReadClaim(
        "alice", {"project": "apollo", "stage": "test"}, ()
    )
    assert headers(" project = apollo one , ,", " bob@example.com ") == ReadClaim(
        "bob@example.com", {"project": "apollo one"}, ()
    )
    assert claim_of_headers({"x-request-id": "1"}) is NO_CLAIM


def test_the_value_of_a_tag_may_have_an_equals_sign() -> None:
    assert headers("query=a=b").tags == {"query": "a=b"}


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ("stage", "a value is"),
        ("stage=", "a value is"),
        ("=test", "a name is"),
        ("sta ge=test", "a name is"),
        ("-stage=test", "a name is"),
        (f"{'s' * 65}=test", "a name is"),
        (f"stage={'t' * 129}", "a value is"),
        ("stage=tést", "a value is"),
        ("stage=<script>", "a value is"),
        ("project=other", "twice"),
        ("Project=other", "twice"),
        ("tenant_id=rich", "sets this name itself"),
        ("Cost_Centre=rich", "sets this name itself"),
        ("request_id=1", "sets this name itself"),
        ("user_id=bob", "sets this name itself"),
        ("aws:bedrock=1", "sets this name itself"),
        ("AWS:bedrock=1", "sets this name itself"),
    ],
)
def test_a_tag_that_does_not_fit_is_left_out_with_its_reason_and_the_others_stay(part: str, reason: str) -> None:
    read = headers(f"project=apollo,{part},after=1")
    assert read.tags == {"project": "apollo", "after": "1"}
    assert len(read.warnings) == 1
    assert reason in read.warnings[0]
    assert read.warnings[0].startswith("x-gateway-tags: the tag ")


def test_a_call_has_ten_tags_and_the_rest_is_named() -> None:
    read = headers(",".join(f"t{number}=v" for number in range(12)))
    assert list(read.tags) == [f"t{number}" for number in range(10)]
    assert [warning.split()[3] for warning in read.warnings] == ["t10", "t11"]


def test_the_header_is_stronger_than_the_body_which_adds_what_it_has_besides() -> None:
    header = claim_of_headers({"x-gateway-tags": "project=apollo", "x-gateway-user": "alice"})
    body = claimed_user("user", "bob") | claimed_labels("metadata", {"Project": "gemini", "stage": "test"})
    assert read_claim(header | body) == ReadClaim("alice", {"project": "apollo", "stage": "test"}, ())


def test_the_first_user_that_fits_is_the_user() -> None:
    read = read_claim(claimed_user("user", "no spaces please") | claimed_user("safety_identifier", "u-1"))
    assert read.user_id == "u-1"
    assert read.warnings[0].startswith("user was left out of the attribution")


def test_labels_name_the_user_by_user_id() -> None:
    claim = claimed_labels("requestMetadata", {"user_id": "alice", "project": "apollo"})
    assert read_claim(claim) == ReadClaim("alice", {"project": "apollo"}, ())


@pytest.mark.parametrize("value", [None, "", "text", 7, [], {}, ["a"], True])
def test_labels_that_are_no_object_claim_nothing(value: Any) -> None:
    assert claimed_labels("metadata", value).is_empty


@pytest.mark.parametrize(
    ("sent", "user"),
    [
        (f"user_{DEVICE}_account_{ACCOUNT}_session_{SESSION}", ACCOUNT),
        (f"user_{DEVICE}_account__session_{SESSION}", DEVICE),
        (json.dumps({"device_id": DEVICE, "account_uuid": ACCOUNT, "session_id": SESSION}), ACCOUNT),
        (json.dumps({"device_id": DEVICE, "account_uuid": "", "session_id": SESSION}), DEVICE),
        ("my_session_user", "my_session_user"),
        ("alice", "alice"),
        ('{"session_id": "x"}', ""),
        ('{"session', ""),
        (f'{{"device_id": {{}}, "session_id": {"[" * 5000}', ""),
    ],
)
def test_the_id_of_a_coding_agent_is_its_account_or_its_device_in_every_session(sent: str, user: str) -> None:
    assert read_claim(claimed_user("metadata.user_id", sent)).user_id == user


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
)
TEXT = st.text() | st.from_regex(r"[a-z,=:A-Z _.-]{0,40}") | st.sampled_from(["aws:x", "tenant_id", "USER_ID"])
PAIRS = st.lists(st.tuples(TEXT | JSON, TEXT | JSON), max_size=80).map(tuple)
CLAIMS = st.builds(
    Claim,
    st.lists(st.tuples(st.just("user"), TEXT | JSON), max_size=4).map(tuple),
    st.lists(st.tuples(st.sampled_from(["x-gateway-tags", "metadata"]), PAIRS), max_size=3).map(tuple),
)


@given(
    CLAIMS
    | st.builds(lambda tags, user: claim_of_headers({"x-gateway-tags": tags, "x-gateway-user": user}), TEXT, TEXT)
)
def test_no_input_makes_a_claim_beyond_the_bounds(claim: Claim) -> None:
    read = read_claim(claim)
    assert read.user_id == "" or USER.match(read.user_id)
    assert len(read.user_id) <= 128
    assert len(read.tags) <= MOST_TAGS
    assert len({name.lower() for name in read.tags}) == len(read.tags)
    for name, value in read.tags.items():
        assert NAME.match(name)
        assert VALUE.match(value)
        assert len(name) <= 64
        assert len(value) <= 128
        assert name.lower() not in RESERVED
        assert not name.lower().startswith("aws:")
    assert all(len(warning) < 300 for warning in read.warnings)
