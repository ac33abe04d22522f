"""CPU of a ledger row on its way to Parquet, compared with the floor of the same run and the old algorithm.

    PYTHONPATH=layers/gateway:. python -m tests.benchmarks.bench_aggregation [sizes] [rows of the old algorithm]

    floor         reads and parses the bytes
    aggregation   reads, checks, prices and sorts them, and writes the usage file of a partition
    before        the predecessor's way: a row at a time, the price file read again for each day, all rows in memory

`1000000,5000000` takes some minutes. Each figure comes from its own process with one thread, so that its peak memory is
its own. The rows are pages of DynamoDB's JSON in the form of its HTTP API, in a file, without a network. Read the
ratios.
"""

from __future__ import annotations

import csv
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.aws.dynamodb import usage_rows
from gateway.aws.lake import parquet
from gateway.aws.lake.priced_pages import PricedPages
from gateway.costs.pricer import Pricer
from gateway.costs.stores import QuarantinedRow
from gateway.costs.verify import price_by_kind
from gateway.pricing.price_csv import price_book
from gateway.usage.records import KeyId, ModelId, Outcome, RequestId, TenantId, TokenUsage, UsageRecord
from tests.rows import item, page

PAGE = 1_000  # rows of a page: it ends at 1 MB
DISTINCT_PAGES = 50
HOUR = "2026-11-24T01"
START = datetime(2026, 11, 24, 1, tzinfo=UTC)
MODELS = (
    "anthropic.claude-3-sonnet-20240229-v1:0",
    "anthropic.claude-3-haiku-20240307-v1:0",
    "amazon.titan-embed-text-v1",
    "maker.unheard-of",
)
SIZES = "200000,600000"
MEMORY = 512  # MB, for any size
CPU = 2.0  # times the floor
GROWTH = 1.05  # exponent of the CPU over the rows
FLAT = 1.05  # times the peak of the smallest size


def record(n: int) -> UsageRecord:
    started = START + timedelta(milliseconds=n % 3_600_000)
    open_row = UsageRecord(
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
    return open_row.settle(Outcome.SUCCEEDED, usage, started + timedelta(seconds=2))


def write_pages(folder: Path) -> None:
    for number in range(DISTINCT_PAGES):
        rows = (item(record(number * PAGE + n)) for n in range(PAGE))
        (folder / f"{number:03}.json").write_bytes(page(rows))


def pages(folder: Path, rows: int) -> Iterator[bytes]:
    for number in range(rows // PAGE):
        yield (folder / f"{number % DISTINCT_PAGES:03}.json").read_bytes()


def floor(folder: Path, rows: int) -> None:
    for body in pages(folder, rows):
        json.loads(body)


def aggregation(folder: Path, rows: int) -> None:
    priced = PricedPages(HOUR, Pricer(price_book()), START + timedelta(hours=2))
    with (folder / f"usage-{rows}.parquet").open("wb") as file:
        file.writelines(parquet.usage_parts(map(priced.table, pages(folder, rows))))
    assert (priced.rows, priced.quarantined) == (rows, [])


def row_by_row(folder: Path, rows: int) -> None:
    """The way of pages that hold something unusual."""
    priced = PricedPages(HOUR, Pricer(price_book()), START + timedelta(hours=2))
    with (folder / "row-by-row.parquet").open("wb") as file:
        file.writelines(parquet.usage_parts(map(priced._slow, pages(folder, rows))))


def verify(folder: Path, rows: int) -> None:
    """The second way, which proves the first."""

    def records() -> Iterator[UsageRecord]:
        for body in pages(folder, rows):
            for row in usage_rows.items(body):
                found = usage_rows.inspect(row, HOUR, START + timedelta(hours=2))
                assert not isinstance(found, QuarantinedRow)
                yield found

    price_by_kind(records(), price_book())


def close(folder: Path, rows: int) -> None:
    """From the usage file to the lines of a day."""
    with (folder / f"usage-{rows}.parquet").open("rb") as file:
        list(parquet.usage_lines(file))


def before(folder: Path, rows: int) -> None:
    """Every row as a dict in one list; a function applied to each for each column."""
    held = [
        {name: next(iter(value.values())) for name, value in row.items()}
        for body in pages(folder, rows)
        for row in json.loads(body)["Items"]
    ]
    by_day: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in held:
        by_day[row["started_at"][:10]].append(row)
    for day_rows in by_day.values():
        with resources.files("gateway.pricing").joinpath("price_book.csv").open(encoding="utf-8") as file:
            prices = {(price["model_id"], price["region"], price["unit"]): price for price in csv.DictReader(file)}

        def price_of(row: dict[str, Any], unit: str, prices: dict[Any, dict[str, str]] = prices) -> Decimal:
            price = prices.get((row["model_id"], row["region"], unit))
            return Decimal(price["usd"]) / int(price["per"]) if price else Decimal(0)

        for side in ("input", "output"):
            for row in day_rows:
                row[f"{side}_cost"] = price_of(row, f"{side}_tokens") * int(row.get(f"{side}_tokens", 0))
        for row in day_rows:
            row["cost"] = row["input_cost"] + row["output_cost"]
        names = sorted({name for row in day_rows for name in row if not name.endswith("cost")})
        table = {name: pa.array([row.get(name) for row in day_rows], pa.string()) for name in names}
        table |= {
            name: pa.array([round(row[name], 12) for row in day_rows], pa.decimal128(38, 12))
            for name in ("input_cost", "output_cost", "cost")
        }
        pq.write_table(pa.table(table), folder / "before.parquet", compression="snappy")


WAYS: dict[str, Callable[[Path, int], None]] = {
    way.__name__: way for way in (floor, aggregation, row_by_row, verify, close, before)
}


def measure(way: str, folder: Path, rows: int) -> tuple[float, float]:
    """CPU seconds of it, and the peak of memory in MB of a process that does nothing else."""
    command = [sys.executable, "-m", __spec__.name, "--only", way, str(folder), str(rows)]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return float(told["cpu"]), float(told["peak"])


def only(way: str, folder: Path, rows: int) -> None:
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    price_book()
    begun = time.process_time()
    WAYS[way](folder, rows)
    cpu = time.process_time() - begun
    print(json.dumps({"cpu": cpu, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main() -> None:
    sizes = [int(size) // PAGE * PAGE for size in (sys.argv[1] if len(sys.argv) > 1 else SIZES).split(",")]
    old = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    plan = [(way, rows) for rows in sizes for way in ("floor", "aggregation")]
    plan += [("verify", sizes[0]), ("close", sizes[0]), ("row_by_row", old), ("before", old), ("floor", old)]
    spent: dict[tuple[str, int], float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pages(folder)
        peaks: dict[tuple[str, int], float] = {}
        for _ in range(3 if max(sizes) <= 1_000_000 else 2):  # interleaved: a noisy neighbour disturbs all alike
            for key in plan:
                cpu, peak = measure(key[0], folder, key[1])
                spent[key] = min(cpu, spent.get(key, cpu))
                peaks[key] = max(peak, peaks.get(key, peak))
        width = (folder / f"usage-{sizes[0]}.parquet").stat().st_size / sizes[0]
    print(f"{'':14}{'rows':>12}{'CPU s':>9}{'us/row':>9}{'x floor':>9}{'peak MB':>9}")
    for way, rows in sorted(spent, key=lambda key: (list(WAYS).index(key[0]), key[1])):
        cpu = spent[way, rows]
        ratio = cpu / rows / (spent["floor", rows] / rows)
        print(f"{way:14}{rows:12,}{cpu:9.2f}{cpu / rows * 1e6:9.2f}{ratio:9.2f}{peaks[way, rows]:9.0f}")
    small, large = sizes[0], sizes[-1]
    ratio = max(spent["aggregation", rows] / spent["floor", rows] for rows in sizes)
    growth = math.log(spent["aggregation", large] / spent["aggregation", small]) / math.log(large / small)
    held = [peaks["aggregation", rows] for rows in (small, large)]
    print(
        f"{width:.0f} bytes of Parquet a row; {spent['before', old] / old / (spent['aggregation', small] / small):.0f} times less CPU than before"
    )
    for what, found, limit in (
        ("x floor", ratio, CPU), ("growth exponent", growth, GROWTH), ("peak MB", max(held), MEMORY),
        (f"peak of {large:,} over {small:,} rows", held[1] / held[0], FLAT),
    ):  # fmt: skip
        print(f"{what:40}{found:9.2f} <= {limit:6.2f}  {'yes' if found <= limit else 'NO'}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--only"]:
        only(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
