"""The cost of a limit per call: DynamoDB requests and write/read units without a budget, with a soft and a hard one.

The handler's real requests give the units, by DynamoDB's published rules: a write unit per KB of an item and per changed
index entry, a read unit per 4 KB, and half of one for an eventually consistent read. The store is moto's.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gateway.core.settings import settings
from tests.benchmarks import quiet
from tests.benchmarks.items import weight

ROOT = Path(__file__).parents[2]
CALLS = 60
KINDS: dict[str, dict[str, Any]] = {
    "no budget": {},
    "soft budget": {"budget": {"monthly_usd": "1000"}},
    "hard budget": {"budget": {"monthly_usd": "1000", "hard": True}},
    "hard, and one of a cost centre": {
        "budget": {"monthly_usd": "1000", "hard": True},
        "cost_centre_budgets": {"research": {"monthly_usd": "500", "hard": True}},
    },
}


def module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"bench_{name}", ROOT / f"functions/{name}/app.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def units(operation: str, request: dict[str, Any], indexes: int) -> float:
    """Write or read units of one request: the item's KB, and an entry of each index that it changes."""
    if operation in ("GetItem", "Query"):
        return 1.0 if request.get("ConsistentRead") else 0.5
    kilobytes = -(-weight({"M": request.get("Item") or request["ExpressionAttributeValues"]}) // 1024)
    return float(kilobytes * (1 + indexes))


def main() -> None:
    from moto import mock_aws

    from scripts.dev.fake_models import FakeModels
    from tests.conftest import ENVIRONMENT, make_tables

    os.environ |= ENVIRONMENT | {"LOG_LEVEL": "ERROR"}
    with FakeModels() as models, mock_aws(config={"core": {"passthrough": {"urls": [r"http://127\.0\.0\.1.*"]}}}):
        os.environ |= {f"AWS_ENDPOINT_URL_{name}": models.url for name in ("BEDROCK_RUNTIME", "SAGEMAKER_RUNTIME")}
        os.environ["JOBS_QUEUE_URL"] = "https://sqs.us-east-1.amazonaws.com/123456789012/jobs"
        make_tables()
        limits()
        authorizer()


def limits() -> None:
    from gateway.aws.clients import client

    app = module("invoke_model")
    seen: list[tuple[str, dict[str, Any]]] = []

    def see(request: Any, event_name: str, **_: Any) -> None:
        seen.append((event_name.rpartition(".")[2], json.loads(request.body)))

    # The first to be asked: moto, which answers, ends the round.
    client("dynamodb").meta.events.register_first("before-send.dynamodb.*", see)
    event = json.loads((ROOT / "events/invoke_model/text.json").read_text())
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)
    print("\nDynamoDB per metered call")
    for number, (name, record) in enumerate(KINDS.items()):
        tenant = {"tenant_id": f"t{number}", "cost_centres": ["research"], **record}
        event["requestContext"]["authorizer"]["tenant"] = json.dumps(tenant)
        event["requestContext"]["requestTimeEpoch"] = int(time.time() * 1000)
        for call in range(CALLS):
            if call == 1:  # the first call of a month opens the account
                seen.clear()
            event["requestContext"]["requestId"] = f"r{number}-{call}"
            with quiet():
                assert app.handler(event, context)["statusCode"] == 200
        counted = Counter(operation for operation, _ in seen)
        total = sum(units(op, sent, 2 if sent["TableName"] == "usage" else 0) for op, sent in seen)
        operations = ", ".join(f"{count / (CALLS - 1):.2f} {op}" for op, count in sorted(counted.items()))
        print(f"  {name:32} {operations:42} {total / (CALLS - 1):5.2f} units")


# In a process of its own, whose modules are those of a key's authorization.
FIRST_TOKEN = """
import sys, time
sys.modules["OpenSSL"] = None  # not in the artefact; urllib3 would import cryptography with it
import gateway.aws.dynamodb.tenants
began = time.process_time()
import gateway.aws.token_callers, gateway.tenancy.signatures
print((time.process_time() - began) * 1000)
"""


def authorizer() -> None:
    from gateway.aws.dynamodb.issuer_register import IssuerRegister
    from gateway.aws.dynamodb.tenant_register import TenantRegister
    from gateway.aws.dynamodb.tenants import add_key, add_tenant
    from gateway.tenancy.administration import Actor
    from gateway.tenancy.issuers import Issuer, IssuerAdministration, IssuerId
    from gateway.tenancy.tenant import Tenant
    from gateway.usage.records import TenantId
    from tests.tokens import AUDIENCE, ISSUER, claims, jwks, signed, signing_key

    add_tenant("tenants", Tenant(TenantId("acme"), "Acme", ("research",)))
    event = json.loads((ROOT / "events/authorize_tenant/key.json").read_text())
    kinds = {"RS256": "RSA", "ES256": "P-256", "EdDSA": "Ed25519"}
    sent = {"key": add_key("tenants", "acme", "bench")}
    for algorithm, kind in kinds.items():
        name = f"{ISSUER}/{algorithm}"
        issuer = Issuer(IssuerId(algorithm), name, (AUDIENCE,), (algorithm,), ("acme",), jwks(signing_key(kind)))
        IssuerAdministration(IssuerRegister(TenantRegister("tenants"))).put(issuer, Actor("bench"))
        sent[f"token, {algorithm}"] = signed(claims(iss=name), signing_key(kind), algorithm)
    os.environ["KEY_CACHE_SECONDS"] = "600"
    settings.cache_clear()
    app = module("authorize_tenant")
    path = os.pathsep.join([str(ROOT), str(ROOT / "layers/gateway")])
    first = [
        float(subprocess.check_output([sys.executable, "-c", FIRST_TOKEN], env=os.environ | {"PYTHONPATH": path}))
        for _ in range(3)
    ]
    print(f"\nAuthorizer, the first token of an environment: {statistics.median(first):.0f} ms CPU more")
    for what, text in sent.items():
        event["headers"] = {"x-api-key": text}
        rounds = []
        with quiet():
            app.handler(event, None)
            for _ in range(7):
                before = time.process_time()
                for _ in range(500):
                    app.handler(event, None)
                rounds.append((time.process_time() - before) / 500 * 1000)
        print(f"Authorizer, warm, {what}: {statistics.median(rounds):.3f} ms CPU")


if __name__ == "__main__":
    main()
