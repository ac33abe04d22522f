"""The steps of `gateway verify-deployment` that need streaming, against the whole gateway on this machine.

The embedded AWS of `make deploy-local` runs the other steps; it lacks AWS's streaming layer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway.aws import clients
from scripts.dev.stack import LocalStack
from scripts.operate.admin_api import Refused, of
from scripts.operate.verify import calls, edge
from scripts.operate.verify.deployment import Deployment
from scripts.operate.verify.steps import StepError

MODEL = "amazon.nova-micro-v1:0"
SLOWLY = "[[chunk_delay=0.05]] [[chunks=20]] Count."


@pytest.fixture
def deployment(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    admin = json.loads((stack.data / "tenants.json").read_text())["admin"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.aws_endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK", stack.model_stand_in_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", admin["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", admin["secret_access_key"])
    clients.client.cache_clear()
    with ExitStack() as undo:
        made = Deployment("local", undo, stack.url, given_model=MODEL)
        made.__dict__["outputs"] = {"UsageTableName": stack.info["tables"]["UsageTable"]}
        yield made


def test_a_call_an_arn_and_a_stranger(deployment: Deployment) -> None:
    assert edge.strangers(deployment) == "401 without a key and 6 times with a wrong one"
    assert calls.admin(deployment).endswith(" a:b@c' was put, got a key, and was read back")
    assert calls.call(deployment).startswith(f"{MODEL}: 200, a settled row, 0.0000")
    assert calls.arns(deployment).startswith("…:inference-profile/us.amazon.nova-micro-v1:0: ")


def test_a_model_is_chosen_that_the_gateway_lists(deployment: Deployment) -> None:
    deployment.given_model = ""
    assert edge.model_of(deployment) in edge.CHEAP


def test_a_stream_comes_over_time_and_one_in_one_piece_is_found_out(deployment: Deployment) -> None:
    heard = calls.listen(deployment.caller, MODEL, 300, lambda _: False, SLOWLY)
    assert calls.over_time(heard).endswith("s")
    with pytest.raises(StepError, match="one piece"):
        calls.over_time(calls.Heard("r", heard.content_type, ((1.0, heard.text.encode()),)))


def test_whoever_hangs_up_is_charged_in_full(deployment: Deployment) -> None:
    whole = calls.settled_row(
        deployment, calls.listen(deployment.caller, MODEL, 300, lambda _: False, SLOWLY).request_id
    )
    heard = calls.listen(deployment.caller, MODEL, 300, lambda parts: parts >= 2, SLOWLY)
    assert len(heard.parts) == 2
    row = calls.settled_row(deployment, heard.request_id)
    assert row is not None
    assert whole is not None
    calls.must_be_charged(row)
    assert row.usage.output_tokens == whole.usage.output_tokens


def test_the_tenants_of_a_run_go_with_it(deployment: Deployment) -> None:
    before = {tenant["tenant_id"] for tenant in deployment.admin.tenants()}
    tenant_id, caller = deployment.new_tenant({})
    assert caller.call("GET", "/budget").status_code == 200
    deployment.undo.close()
    with pytest.raises(Refused, match="404"):
        deployment.admin.call("GET", of(tenant_id))
    assert {tenant["tenant_id"] for tenant in deployment.admin.tenants()} == before
