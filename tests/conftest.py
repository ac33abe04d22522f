"""The environment of every test: no AWS account, no network except this machine's, fixed names."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import boto3
import pytest
from hypothesis import settings as property_settings
from moto import mock_aws

from gateway.aws import clients
from gateway.core.settings import settings
from tests.answered import Answers
from tests.recorded import Recorder

collect_ignore = ["sdks"]  # runs in an environment of its own: tests/e2e/test_sdks.py

ENVIRONMENT = {
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
    "POWERTOOLS_TRACE_DISABLED": "1",
    "POWERTOOLS_SERVICE_NAME": "model-gateway",
    "POWERTOOLS_METRICS_NAMESPACE": "ModelGateway",
    "GATEWAY_ARN": "arn:aws:cloudformation:us-east-1:123456789012:stack/gateway/1b4db7eb",
    "USAGE_TABLE": "usage",
    "RESULTS_TABLE": "results",
    "TENANTS_TABLE": "tenants",
    "PAYLOADS_BUCKET": "payloads",
    "BUDGETS_TABLE": "budgets",
    "IDEMPOTENCY_TABLE": "idempotency",
    "LAKE_BUCKET": "lake",
    "USAGE_PLAN_KEY": "0123456789abcdef0123456789abcdef",
    "SAGEMAKER_ENDPOINTS": '{"our-llama": "llama-endpoint", "our-embedder": "embed-endpoint"}',
    "KEY_CACHE_SECONDS": "5",
}


# How long an example takes is the machine's affair; timing is measured in tests/benchmarks.
property_settings.register_profile("untimed", deadline=None)
property_settings.load_profile("untimed")


# A shell starts what runs in its background deaf to Ctrl-C, and so would be the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    recorder = Recorder()
    recorder.install()
    config.pluginmanager.register(recorder)
    answers = Answers()
    answers.install()
    config.pluginmanager.register(answers)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    clients.client.cache_clear()
    yield
    settings.cache_clear()
    clients.client.cache_clear()


def make_tables() -> None:
    """Create the tables, buckets and queue of template.yaml, as far as the functions see them."""
    dynamodb = boto3.client("dynamodb")

    def key(name: str, kind: str) -> dict[str, str]:
        return {"AttributeName": name, "KeyType": kind}

    def text(*names: str) -> list[dict[str, str]]:
        return [{"AttributeName": name, "AttributeType": "S"} for name in names]

    dynamodb.create_table(
        TableName="usage",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=text("pk", "sk", "tenant_day", "started_at", "open_shard", "lease_until"),
        KeySchema=[key("pk", "HASH"), key("sk", "RANGE")],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_tenant",
                "KeySchema": [key("tenant_day", "HASH"), key("started_at", "RANGE")],
                "Projection": {"ProjectionType": "ALL"},
            },
            {
                "IndexName": "open_rows",
                "KeySchema": [key("open_shard", "HASH"), key("lease_until", "RANGE")],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            },
        ],
    )
    dynamodb.create_table(
        TableName="tenants",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=text("pk", "sk"),
        KeySchema=[key("pk", "HASH"), key("sk", "RANGE")],
    )
    dynamodb.create_table(
        TableName="results",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=text("request_id"),
        KeySchema=[key("request_id", "HASH")],
    )
    dynamodb.create_table(
        TableName="budgets",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=text("pk"),
        KeySchema=[key("pk", "HASH")],
    )
    dynamodb.create_table(
        TableName="idempotency",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=text("id"),
        KeySchema=[key("id", "HASH")],
    )
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="payloads")
    s3.create_bucket(Bucket="lake")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An AWS in this process. Calls to 127.0.0.1 (the model stand-in) go through."""
    with mock_aws(config={"core": {"passthrough": {"urls": [r"http://127\.0\.0\.1.*"]}}}):
        make_tables()
        queue = boto3.client("sqs").create_queue(QueueName="jobs", Attributes={"VisibilityTimeout": "30"})
        monkeypatch.setenv("JOBS_QUEUE_URL", queue["QueueUrl"])
        yield
