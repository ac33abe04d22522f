"""How fast the ledger becomes Parquet, in rows per CPU second, beside the floor of the same run: only reading the rows.

    PYTHONPATH=layers/gateway python -m tests.benchmarks.bench_aggregation [rows]

The rows are pages of DynamoDB's own JSON, as its HTTP API answers them; there is no network in it. Read the ratios.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from statistics import median
from typing import Any

from botocore.awsrequest import AWSResponse

from gateway.aggregation import Pricer, price_by_kind
from gateway.aws import dynamodb, parquet
from gateway.ledger import Partition
from gateway.pricing import price_book
from gateway.usage import KeyId, ModelId, Outcome, RequestId, TenantId, TokenUsage, UsageRecord

PAGE = 1_000  # rows of a page: it ends at 1 MB
DISTINCT_PAGES = 20
START = datetime(2026, 11, 24, 1, tzinfo=UTC)
MODELS = (
    "anthropic.claude-3-sonnet-20240229-v1:0",
    "anthropic.claude-3-haiku-20240307-v1:0",
    "amazon.titan-embed-text-v1",
    "maker.unheard-of",
)


def row(n: int) -> dict[str, Any]:
    """A settled row as it lies in the table."""
    started = START + timedelta(milliseconds=n % 3_600_000)
    record = UsageRecord(
        request_id=RequestId(f"0198f1f0-0000-7000-8000-{n:012d}"),
        attempt=1,
        tenant_id=TenantId(f"tenant-{n % 17}"),
        cost_centre=f"centre-{n % 5}",
        key_id=KeyId(f"key-{n % 17}"),
        operation="Converse",
        model_id=ModelId(MODELS[n % 4]),
        model_used=MODELS[n % 4],
        region="us-east-1",
        started_at=started,
        lease_until=started + timedelta(minutes=15),
    )
    tokens = {"inputTokens": 100 + n % 4000, "outputTokens": 1 + n % 900, "totalTokens": 101 + n % 4900}
    usage = TokenUsage(input_tokens=tokens["inputTokens"], output_tokens=tokens["outputTokens"], raw=json.dumps(tokens))
    settled = record.settle(Outcome.SUCCEEDED, usage, started + timedelta(seconds=2))
    update = dynamodb.settlement("usage", settled)
    values, names = update["ExpressionAttributeValues"], update["ExpressionAttributeNames"]
    item = dynamodb._to_row(record, timedelta(days=400))
    del item["open_shard"]
    return item | {names[f"#{name[1:]}"]: value for name, value in values.items() if f"#{name[1:]}" in names}


class Body:
    """An HTTP body that is there already."""

    def __init__(self, content: bytes):
        self._content = content

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._content


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    os.environ |= {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    bodies = [
        json.dumps({"Items": [row(page * PAGE + n) for n in range(PAGE)], "Count": PAGE}).encode()
        for page in range(DISTINCT_PAGES)
    ]
    book = price_book()

    def items() -> Iterator[dict[str, Any]]:
        for page in range(count // PAGE):
            yield from json.loads(bodies[page % DISTINCT_PAGES])["Items"]

    def records() -> Iterator[UsageRecord]:
        return map(dynamodb._from_row, items())

    def by_the_adapter() -> Iterator[UsageRecord]:
        """A tenth of the rows as the ledger's adapter reads them: everything of boto3 but the socket."""
        pages = iter(range(count // PAGE // 10, 0, -1))

        def answer(**_: Any) -> AWSResponse:
            left = next(pages)
            more = b', "LastEvaluatedKey": {"pk": {"S": "a"}, "sk": {"S": "%d"}}}' % left if left > 1 else b"}"
            return AWSResponse("http://localhost", 200, {}, Body(bodies[left % DISTINCT_PAGES][:-1] + more))

        ledger = dynamodb.DynamoLedger("usage")
        ledger._dynamodb.meta.events.register("before-send.dynamodb.Query", answer, unique_id="bench")
        yield from ledger.read(Partition("2026-11-24T01", 0))
        ledger._dynamodb.meta.events.unregister("before-send.dynamodb.Query", unique_id="bench")

    held = list(islice(records(), min(count, PAGE * DISTINCT_PAGES)))
    file = parquet.usage_file(map(Pricer(book).price, held), book.version)[1]

    def again(times: int, work: Callable[[], object]) -> None:
        for _ in range(times):
            work()

    times = max(1, count // len(held))
    measured: dict[str, tuple[int, Callable[[], object]]] = {
        "floor: parse JSON": (count, lambda: deque(items(), maxlen=0)),
        "floor: parse JSON into records": (count, lambda: deque(records(), maxlen=0)),
        "parse, price, write": (count, lambda: parquet.usage_file(map(Pricer(book).price, records()), book.version)),
        "parse, price a second way (verify)": (count, lambda: price_by_kind(records(), book)),
        "price and write alone": (
            times * len(held),
            lambda: again(times, lambda: parquet.usage_file(map(Pricer(book).price, held), book.version)),
        ),
        "price alone": (
            times * len(held),
            lambda: again(times, lambda: deque(map(Pricer(book).price, held), maxlen=0)),
        ),
        "close a day from Parquet": (times * len(held), lambda: again(times, lambda: list(parquet.usage_lines(file)))),
        "the adapter, from HTTP to records": (count // 10, lambda: deque(by_the_adapter(), maxlen=0)),
    }
    spent: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(3):  # interleaved, so that a noisy neighbour disturbs all alike
        for name, (_rows, work) in measured.items():
            begun = time.process_time()
            work()
            spent[name].append(time.process_time() - begun)
    floor = median(spent["floor: parse JSON into records"]) / count
    print(f"{'':40}{'rows/CPU s':>12}{'µs/row':>9}{'x floor':>9}")
    for name, (rows, _work) in measured.items():
        each = median(spent[name]) / rows
        print(f"{name:40}{1 / each:12,.0f}{each * 1e6:9.2f}{each / floor:9.2f}")
    print(
        f"{len(file) / len(held):.0f} bytes of Parquet a row; peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"
    )


if __name__ == "__main__":
    main()
