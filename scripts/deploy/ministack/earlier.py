"""A deployed stack over an earlier release's data: calls, keys, answers and months continue as if they were its own.

The proof adds the tables and the lake of a generation to the stack's data, and removes them afterwards.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from scripts.deploy.ministack.cloud import Cloud
from scripts.deploy.ministack.deployed import ended, hold, rows_below
from scripts.deploy.ministack.generation import BUCKETS, Generation
from scripts.deploy.ministack.roles import resources

PLACES = {
    "usage": "UsageTable",
    "tenants": "TenantsTable",
    "results": "ResultsTable",
    "budgets": "BudgetsTable",
    "idempotency": "IdempotencyTable",
    "lake": "LakeBucket",
    "payloads": "PayloadsBucket",
}
KEYS = {"results": ("request_id",), "budgets": ("pk",), "idempotency": ("id",)}  # of the others `pk` and `sk`
SCHEDULED = "2026-11-25T08:10:00Z"  # after everything in a generation, by its own calendar
TENANT = "acme"

Place = tuple[str, str]
Json = Any


def places(cloud: Cloud, stack: str) -> dict[str, str]:
    physical = {it.logical: it.physical for it in resources(cloud, stack)}
    return {name: physical[logical] for name, logical in PLACES.items()}


def load(cloud: Cloud, stack: str, generation: Generation) -> None:
    until = datetime.now(UTC) + timedelta(days=30)
    generation.load(cloud.client("dynamodb"), cloud.client("s3"), places(cloud, stack), until)


def forget_proofs(cloud: Cloud, stack: str) -> None:
    """Simulate an upgrade: remove the proofs, which an earlier release does not write, before the first run."""
    dynamodb, table = cloud.client("dynamodb"), places(cloud, stack)["usage"]
    proofs = dynamodb.query(
        TableName=table, KeyConditionExpression="pk = :proofs", ExpressionAttributeValues={":proofs": {"S": "proofs"}}
    )
    for item in proofs["Items"]:
        dynamodb.delete_item(TableName=table, Key={name: item[name] for name in ("pk", "sk")})


@contextmanager
def beside(cloud: Cloud, stack: str, generation: Generation) -> Iterator[None]:
    """Within it the stack contains an earlier release's data, and everything derived from it."""
    before = set(_all(cloud, stack))
    load(cloud, stack, generation)
    yield
    dynamodb, s3, names = cloud.client("dynamodb"), cloud.client("s3"), places(cloud, stack)
    for where, key in set(_all(cloud, stack)) - before:
        if where in BUCKETS:
            s3.delete_object(Bucket=names[where], Key=key)
        else:
            dynamodb.delete_item(TableName=names[where], Key=json.loads(key))


def _all(cloud: Cloud, stack: str) -> Iterator[Place]:
    """Every item and every file of a stack, by place and key."""
    dynamodb, s3 = cloud.client("dynamodb"), cloud.client("s3")
    for where, name in places(cloud, stack).items():
        if where in BUCKETS:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=name)
            yield from ((where, entry["Key"]) for page in pages for entry in page.get("Contents", ()))
            continue
        for page in dynamodb.get_paginator("scan").paginate(TableName=name):
            for item in page["Items"]:
                yield where, json.dumps({part: item[part] for part in KEYS.get(where, ("pk", "sk"))}, sort_keys=True)


def aggregated(cloud: Cloud, stack: str, outputs: Mapping[str, str], generation: Generation) -> str:
    """The state machine continues where the earlier release stopped."""
    asked = json.dumps({"scheduledTime": SCHEDULED})
    run = cloud.client("stepfunctions").start_execution(stateMachineArn=outputs["AggregateCostsArn"], input=asked)
    said = json.loads(ended(cloud, run["executionArn"], f"the aggregation over {generation.folder.name}")["output"])
    hold((said["mendedFiles"], said["lostFiles"]) == ([], []), f"over {generation.folder.name} it reports {said}")
    for day, groups in generation.manifest["days"].items():
        held: dict[str, list[Any]] = defaultdict(lambda: [0, 0, 0, Decimal(0)])
        for line in rows_below(cloud, outputs["LakeBucketName"], f"costs/dt={day}/"):
            sums = held["/".join(line[name] for name in ("tenant_id", "cost_centre", "model_id"))]
            for place, name in enumerate(("invocations", "input_tokens", "output_tokens", "cost")):
                sums[place] += line[name] or 0
        expected = {
            group: [sums["calls"], sums["input_tokens"], sums["output_tokens"], Decimal(sums["cost"])]
            for group, sums in groups.items()
        }
        hold(dict(held) == expected, f"costs of {day} are {dict(held)}, not {expected} as the earlier release computed")
    return f"{generation.folder.name}: {sum(map(len, generation.manifest['days'].values()))} sums"


def prove_months(cloud: Cloud, stack: str, generation: Generation) -> None:
    """The months that the earlier release closed are proven, and stay unchanged."""
    (function,) = [it.physical for it in resources(cloud, stack) if it.logical == "CloseMonthFunction"]
    for month in generation.manifest["closed_months"]:
        proof = json.dumps({"scheduledTime": SCHEDULED, "month": month}).encode()
        done = cloud.client("lambda").invoke(FunctionName=function, Payload=proof)
        answer = json.load(done["Payload"])
        hold("FunctionError" not in done, f"{month}, closed by an earlier release, was not proven: {answer}")
        hold([line["closed"] for line in answer["months"]] == [False], f"{month} was closed a second time: {answer}")


def reported(report: Json, generation: Generation) -> None:
    """GET /usage with a key of an earlier release returns its last two days."""
    own = [
        sums
        for day in ("2026-11-24", "2026-11-25")
        for group, sums in generation.manifest["days"][day].items()
        if group.startswith(f"{TENANT}/")
    ]
    totals = report["totals"]
    hold(totals["invocations"] == sum(sums["calls"] for sums in own), f"GET /usage returns {totals}")
    cost = sum((Decimal(sums["cost"]) for sums in own), Decimal(0))
    hold(Decimal(totals["cost"]) == cost, f"GET /usage returns {totals['cost']} USD, not the earlier release's {cost}")
