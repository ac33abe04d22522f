"""Runs functions as Lambda does: with their own module, a real event, and a context with a deadline."""

from __future__ import annotations

import importlib.util
import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.aws.dynamodb.tenants import TenantTable
from gateway.tenancy.caller import Caller
from gateway.tenancy.keys import Key
from gateway.web.asgi import Asgi
from scripts.dev.fake_models import FakeModels

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def stand_in() -> Iterator[FakeModels]:
    with FakeModels() as server:
        yield server


@pytest.fixture
def models(stand_in: FakeModels, monkeypatch: pytest.MonkeyPatch) -> FakeModels:
    """The model stand-in with an empty ledger, as the functions' Bedrock and SageMaker."""
    for service in ("BEDROCK", "BEDROCK_RUNTIME", "SAGEMAKER_RUNTIME"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", stand_in.url)
    stand_in.ledger.clear()
    return stand_in


@pytest.fixture
def load(aws: None, models: FakeModels) -> Iterator[Callable[[str], Any]]:
    """A function's app module, freshly imported: its cold start."""
    loaded = []

    def load(function: str) -> Any:
        spec = importlib.util.spec_from_file_location(
            f"{function.replace('/', '_')}_app", ROOT / "functions" / function / "app.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        loaded.append(module)
        return module

    yield load
    for module in loaded:
        # A call that goes on after its client has left is not one of the next test.
        if isinstance(app := getattr(module, "app", None), Asgi):
            app._threads.shutdown()


@pytest.fixture
def streaming(load: Callable[[str], Any]) -> Any:
    """The application of the function stream_model."""
    return load("stream_model").app


def register(caller: Caller, *, revoked: bool = False, expires_at: datetime | None = None) -> None:
    """Write the tenant and the key of a caller into their table."""
    table = TenantTable("tenants")
    table.put_tenant(caller.tenant)
    now = datetime.now(UTC)
    digest = f"sha256-of-{caller.key_id}"
    table.put_key(Key(caller.key_id, caller.tenant_id, digest, "", now, expires_at, revoked=revoked))


def context(seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    return SimpleNamespace(
        aws_request_id=str(uuid.uuid4()),
        function_name="function",
        memory_limit_in_mb=1024,
        invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:function",
        get_remaining_time_in_millis=lambda: int((deadline - time.monotonic()) * 1000),
    )


def event(path: str, body: Any = None, *, query: dict[str, str] | None = None, tenant: str = "acme",
          centres: tuple[str, ...] = ("research", "ops"), record: dict[str, Any] | None = None, late: float = 0,
          **headers: str) -> dict[str, Any]:  # fmt: skip
    """API Gateway's proxy event for a tenant's call; `late` seconds ago it was received. `record` adds to its tenant."""
    real: dict[str, Any] = json.loads((ROOT / "events/invoke_model/text.json").read_text())
    method = "GET" if body is None else "POST"
    sent = {name.replace("_", "_"): value for name, value in headers.items()}
    real |= {
        "path": path,
        "resource": path,
        "httpMethod": method,
        "headers": {"content-type": "application/json"} | sent,
        "multiValueHeaders": {name: [value] for name, value in sent.items()},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": {name: [value] for name, value in (query or {}).items()},
        "body": body if isinstance(body, str) or body is None else json.dumps(body),
    }
    real["requestContext"] |= {
        "path": path,
        "resourcePath": path,
        "httpMethod": method,
        "requestId": str(uuid.uuid4()),
        "requestTimeEpoch": int((time.time() - late) * 1000),
        "authorizer": {
            "principalId": tenant,
            "tenant_id": tenant,
            "key_id": f"key_{tenant}",
            "tenant": json.dumps({"tenant_id": tenant, "cost_centres": centres, **(record or {})}),
        },
    }
    return real
