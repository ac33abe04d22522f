"""The published SDKs, with only a base URL and a key set, against the whole gateway.

They have their own environment (tests/sdks/requirements.lock), so that their dependencies stay separate. Their tests are
in tests/sdks. This module runs them, and compares their usage with the models' ledger.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from boto3.dynamodb.types import TypeDeserializer
from botocore.credentials import Credentials

from scripts.dev.stack import LocalStack
from scripts.operate.admin_api import AdminApi
from tests.judged import judged

from .sdk_environment import SUITES, run_suites, set_up_sdks
from .test_every_cent import COUNTS

FILES = ("test_openai_sdk.py", "test_anthropic_sdk.py", "test_boto3_sdk.py")
FEWEST = 200  # tests there are, so that none gets lost; each makes a call at least
ALIASES = {"fast": {"model": "us.anthropic.claude-haiku-4-5-20251001-v1:0"}}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    set_up_sdks()
    with LocalStack(
        tmp_path_factory.mktemp("sdks"), environment={"GATEWAY_PARAM_ModelRoutes": json.dumps(ALIASES)}
    ) as running:
        yield running


def made(admin: AdminApi, tenant_id: str, **record: Any) -> str:
    """A tenant's key."""
    admin.call("PUT", f"/admin/tenants/{tenant_id}", record)
    key: str = admin.call("POST", f"/admin/tenants/{tenant_id}/keys", {"label": "sdks"})["key"]
    return key


def told(stack: LocalStack) -> dict[str, str]:
    """The variables that tests/sdks/under_test.py reads, besides the gateway's own."""
    said: dict[str, Any] = json.loads((stack.data / "tenants.json").read_text())
    known = Credentials(said["admin"]["access_key_id"], said["admin"]["secret_access_key"])
    admin = AdminApi(stack.url, said["region"], known)
    return {
        "GATEWAY_NARROW_KEY": made(admin, "narrow", allowed_models=["amazon.nova-lite-v1:0"]),
        "GATEWAY_POOR_KEY": made(admin, "poor", budget={"monthly_usd": "0.000001", "hard": True}),
        "GATEWAY_ACCESS_LOG": str(stack.data / "logs/access.log"),
        "MODELS_URL": stack.model_stand_in_url,
    }


def test_every_sdk_works_unchanged(stack: LocalStack) -> None:
    last = run_suites(stack, told(stack), *(str(SUITES / suite) for suite in FILES))
    passed = re.match(r"=* ?(\d+) passed", last)
    assert passed, last
    assert int(passed[1]) >= FEWEST, last
    assert not re.search(r"failed|error|skipped|deselected|xfailed", last), last


def test_what_the_sdks_used_is_what_the_models_served(stack: LocalStack) -> None:
    """Call by call: the models were told whose each was. What broke off is not complete, and stands apart."""
    rows = metered(stack)
    records = requests.get(f"{stack.model_stand_in_url}/_ledger", timeout=30).json()["records"]
    billed = [record for record in records if record["billed"] and record["completed"]]
    assert len(billed) >= FEWEST
    succeeded = sorted(counted(row, row["request_id"]) for row in rows if row["outcome"] == "succeeded")
    assert succeeded == sorted(counted(record, record["request_metadata"]["request_id"]) for record in billed)
    assert {row["outcome"] for row in rows} == {"succeeded", "failed", "interrupted"}
    tenant = stack.tenants[0]
    totals = requests.get(f"{stack.url}/usage", headers={"x-api-key": tenant["key"]}, timeout=30).json()["totals"]
    own = [row for row in rows if row["tenant_id"] == tenant["tenant_id"]]
    assert [totals[name] for name in COUNTS] == [sum(int(row.get(name, 0)) for row in own) for name in COUNTS]


def test_what_the_sdks_were_answered_was_judged_and_fits_the_spec(stack: LocalStack) -> None:
    assert (stack.data / "logs/contract.log").read_text() == ""
    assert judged.verdicts.judged[stack.info["pid"]] >= FEWEST


def metered(stack: LocalStack) -> list[dict[str, Any]]:
    """The rows of the gateway's ledger."""
    table, plain = stack.info["tables"]["UsageTable"], TypeDeserializer().deserialize
    pages = stack.client("dynamodb").get_paginator("scan").paginate(TableName=table)
    items = (item for page in pages for item in page["Items"])
    return [{name: plain(value) for name, value in item.items()} for item in items]


def counted(usage: dict[str, Any], request_id: str) -> tuple[str, str, tuple[int, ...]]:
    return request_id, usage["model_id"].rpartition("/")[2], tuple(int(usage.get(name) or 0) for name in COUNTS)
