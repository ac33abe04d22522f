"""Model calls as a tenant makes them: each is answered, metered and settled; too many are throttled."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import boto3
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.pricing.model_names import split_profile
from gateway.usage.records import Outcome, RequestId, UsageRecord
from scripts.operate.admin_api import of
from scripts.operate.verify.deployment import PREFIX, Caller, Deployment, patience, said, shown
from scripts.operate.verify.edge import model_of
from scripts.operate.verify.steps import NotAskedError, StepError, must

Json = Any
BEARER = "AWS_BEARER_TOKEN_BEDROCK"
SETTLING = 90.0  # seconds until a call is settled after a hang-up
PROPAGATION = 90.0  # seconds until a usage plan takes effect; API Gateway throttles on a best-effort basis
AT_ONCE = 20
LONG = "Count from 1 to 300 in words, one number a line, and leave none out."


# ------------------------------------------------------------------------------------------------------------- one call
def admin(deployment: Deployment) -> str:
    """A signature covers the path, and a path with a space and a colon has several valid encodings."""
    tenant_id, _ = deployment.new_tenant({}, " a:b@c")
    found = deployment.admin.call("GET", of(tenant_id))["tenant_id"]
    must(found == tenant_id, f"the tenant {tenant_id} is returned as {found}")
    return f"{tenant_id!r} was put, got a key, and was read back"


def call(deployment: Deployment) -> str:
    caller, model, start = deployment.caller, model_of(deployment), f"{datetime.now(UTC):%Y-%m-%d}"
    before = totals_of(caller, start)
    asked = [{"role": "user", "content": [{"text": "What is a ledger? Answer in one sentence."}]}]
    answer = caller.call("POST", f"/invoke_model?model_id={model}", {"inputs": asked, "parameters": {"max_tokens": 60}})
    must(answer.status_code == 200, f"{model} returns {shown(answer)}")
    row = settled_row(deployment, answer.headers.get("x-request-id", ""))
    if row is not None:
        must_be_charged(row)
    return costs_more(before, totals_of(caller, start), model)


def totals_of(caller: Caller, start: str) -> Mapping[str, Any]:
    report = caller.call("GET", f"/usage?start={start}")
    must(report.status_code == 200, f"GET /usage returns {shown(report)}")
    totals: Mapping[str, Any] = said(report)["totals"]
    return totals


def costs_more(before: Mapping[str, Any], after: Mapping[str, Any], model: str) -> str:
    """The change of GET /usage after one more call."""
    calls = after["invocations"] - before["invocations"]
    must(calls >= 1, "GET /usage does not show the call")
    unpriced = after["unpriced_invocations"] - before["unpriced_invocations"]
    must(unpriced == 0, f"the price book has no price for {model} in this region, so GET /usage lists it as unpriced")
    cost = Decimal(after["cost"]) - Decimal(before["cost"])
    must(cost > 0, f"GET /usage reports {cost} USD for the call")
    return f"{model}: 200, a settled row, {cost:f} USD"


def settled_row(deployment: Deployment, request_id: str) -> UsageRecord | None:
    """Wait until a call's row is settled, and return it; None if these credentials may not read the ledger."""
    must(bool(request_id), "a response has no x-request-id")
    ledger = DynamoLedger(deployment.outputs["UsageTableName"])
    row: UsageRecord | None = None
    with patience(SETTLING) as time_is_left:
        while time_is_left():
            try:
                row = ledger.find(RequestId(request_id), datetime.now(UTC))
            except ClientError as error:
                if "AccessDenied" in str(error):
                    return None
                raise
            if row is not None and row.outcome is not Outcome.OPEN:
                return row
            time.sleep(1)
    raise StepError(f"the row of {request_id} {'is still open' if row else 'is not in the ledger'}")


def must_be_charged(row: UsageRecord) -> None:
    must(row.outcome is Outcome.SUCCEEDED, f"its row ended as {row.outcome} {row.error_code}")
    must(row.usage.output_tokens > 0, f"its row has no output tokens: {row.usage}")


# ----------------------------------------------------------------------------------------------------------------- ARNs
def arns(deployment: Deployment) -> str:
    """boto3 sends an ARN as one segment of the path, with %2F in it."""
    arn, caller = arn_of(deployment), deployment.caller
    if not deployment.given_key:
        caller = deployment.new_tenant({"allowed_model_arns": [arn]})[1]
    asked = [{"role": "user", "content": [{"text": "Say yes."}]}]
    with bedrock(deployment, caller) as runtime:
        try:
            answer = runtime.converse(modelId=arn, messages=asked, inferenceConfig={"maxTokens": 10})
        except ClientError as error:
            told = error.response["Error"]
            raise StepError(f"{kind_of(arn)} gets {told.get('Code')}: {told.get('Message')}") from error
    return f"{kind_of(arn)}: {answer['usage']['totalTokens']} tokens"


def arn_of(deployment: Deployment) -> str:
    """A profile of the model, if one exists and no key was given (a given key may not allow it); else the model."""
    base = split_profile(model_of(deployment))[1]
    region = deployment.session.region_name
    plain = f"arn:{deployment.session.get_partition_for_region(region)}:bedrock:{region}::foundation-model/{base}"
    if deployment.given_key:
        return plain
    listed = deployment.client("bedrock").list_inference_profiles(maxResults=1000)["inferenceProfileSummaries"]
    profiles = [it["inferenceProfileArn"] for it in listed if split_profile(it["inferenceProfileId"])[1] == base]
    return next(iter(profiles), plain)


def kind_of(arn: str) -> str:
    return f"…:{arn.split(':', 5)[5]}"


@contextmanager
def bedrock(deployment: Deployment, caller: Caller) -> Iterator[Any]:
    """boto3's bedrock-runtime with a tenant's settings: the gateway as endpoint, the key as Bedrock's bearer token."""
    told = {"endpoint_url": caller.url, "region_name": deployment.session.region_name}
    once = Config(retries={"total_max_attempts": 1})
    os.environ[BEARER] = caller.key
    try:
        if caller.url.startswith("https:"):
            yield boto3.client("bedrock-runtime", config=once, **told)
        else:  # boto3 sends a bearer token over TLS only
            plain = boto3.client("bedrock-runtime", config=once.merge(Config(signature_version=UNSIGNED)), **told)
            plain.meta.events.register(
                "before-send", lambda request, **_: request.headers.update({"Authorization": f"Bearer {caller.key}"})
            )
            yield plain
    finally:
        del os.environ[BEARER]


# -------------------------------------------------------------------------------------------------------------- streams
@dataclass(frozen=True)
class Heard:
    """A received stream: its request id, and each part with its arrival in seconds after the request."""

    request_id: str
    content_type: str
    parts: tuple[tuple[float, bytes], ...]

    @property
    def text(self) -> str:
        return b"".join(part for _, part in self.parts).decode(errors="replace")


def listen(caller: Caller, model: str, tokens: int, enough: Callable[[int], bool], prompt: str = LONG) -> Heard:
    """Stream an answer; hang up after that many parts."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "stream": True}
    began, parts = time.monotonic(), list[tuple[float, bytes]]()
    with (
        requests.Session() as session,
        caller.send(session, "POST", "/v1/chat/completions", body, stream=True) as answer,
    ):
        if answer.status_code != 200:  # showing the response would read a stream to its end
            raise StepError(f"a stream of {model} returns {shown(answer)}")
        for part in answer.iter_content(chunk_size=None):
            parts.append((time.monotonic() - began, part))
            if enough(len(parts)):
                break
        kind, request_id = answer.headers.get("content-type", ""), answer.headers.get("x-request-id", "")
    return Heard(request_id, kind, tuple(parts))


def stream(deployment: Deployment) -> str:
    heard = listen(deployment.caller, model_of(deployment), 300, lambda _: False)
    return over_time(heard)


def over_time(heard: Heard) -> str:
    """A stream arrives in several parts, over time, and completely."""
    must(heard.content_type.startswith("text/event-stream"), f"a stream has the content type {heard.content_type}")
    must("data: [DONE]" in heard.text, "a stream is incomplete")
    first, last = heard.parts[0][0], heard.parts[-1][0]
    must(len(heard.parts) > 1 and last - first > 0.1, f"a stream arrives in one piece, after {last:.1f} s")
    return f"{len(heard.parts)} parts, the first after {first:.2f} s, the last after {last:.2f} s"


def hang_up(deployment: Deployment) -> str:
    """After a hang-up the tenant pays for the whole answer, which the gateway reads to its end."""
    heard = listen(deployment.caller, model_of(deployment), 400, lambda parts: parts >= 2)
    row = settled_row(deployment, heard.request_id)
    if row is None:
        raise NotAskedError("these credentials may not read the ledger")
    must_be_charged(row)
    return f"hung up after {heard.parts[-1][0]:.2f} s, settled with {row.usage.output_tokens} output tokens"


# ------------------------------------------------------------------------------------------------------------- throttle
def throttle(deployment: Deployment) -> str:
    """A usage plan of one request a second throttles one tenant, and no other."""
    if deployment.given_key:
        raise NotAskedError("it needs its own tenants: run it without --key")
    tenant_id, own = deployment.new_tenant({})
    value = secrets.token_hex(20)
    plan_of(deployment, value)
    deployment.put_tenant(tenant_id, {"usage_plan_key": value})
    with patience(PROPAGATION) as time_is_left:
        while True:
            answers = at_once(own, AT_ONCE)
            refused = [answer for answer in answers if answer.status_code == 429]
            if refused or not time_is_left():
                break
            time.sleep(2)
    must_be_throttled(answers)
    others = at_once(deployment.caller, 3)
    must(all(answer.status_code == 200 for answer in others), "another tenant is throttled too")
    return f"{len(refused)} of {AT_ONCE} requests get 429 throttled; another tenant's get 200"


def at_once(caller: Caller, times: int) -> list[requests.Response]:
    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(lambda _: caller.call("GET", "/budget"), range(times)))


def must_be_throttled(answers: Sequence[requests.Response]) -> None:
    refused = [answer for answer in answers if answer.status_code == 429]
    must(bool(refused), f"{len(answers)} requests at once all succeed, above one a second")
    for answer in refused:
        must(said(answer).get("code") == "throttled", f"a throttled request gets {answer.text[:200]}")
        must(bool(answer.headers.get("retry-after")), "a throttled response has no Retry-After")
    odd = {answer.status_code for answer in answers} - {200, 429}
    must(not odd, f"some of them get {odd}")


def plan_of(deployment: Deployment, value: str) -> None:
    """A usage plan of one request a second for the API key of that value, both for this run only."""
    api, outputs = deployment.client("apigateway"), deployment.outputs
    stage = {"apiId": outputs["ApiId"], "stage": outputs["StageName"]}
    name = f"{PREFIX}{secrets.token_hex(6)}"

    def remove(plan: Any) -> None:
        # A plan with a stage cannot be deleted.
        off = {"op": "remove", "path": "/apiStages", "value": f"{stage['apiId']}:{stage['stage']}"}
        api.update_usage_plan(usagePlanId=plan["id"], patchOperations=[off])
        api.delete_usage_plan(usagePlanId=plan["id"])

    plan = deployment.make(
        f"the usage plan {name}",
        lambda: api.create_usage_plan(name=name, apiStages=[stage], throttle={"rateLimit": 1, "burstLimit": 1}),
        remove,
    )
    key = deployment.make(
        f"the API key {name}",
        lambda: api.create_api_key(name=name, enabled=True, value=value),
        lambda key: api.delete_api_key(apiKey=key["id"]),
    )
    api.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
