"""The rate at which a tenant needs more than one account item, and the number of shards it then needs.

DynamoDB serves 1,000 write units a second from one item, and a write costs a unit per started KB of the whole item. Each
call writes twice (hold, book), and has an entry in the item while it runs. So the item grows with rate x duration, and
each call costs more. Here the real AccountTable (in moto) makes the items, and DynamoDB's published rules give their
size. Then calls arrive evenly at a bucket of 1,000 units a second; a write that finds it empty is throttled.
"""

from __future__ import annotations

import heapq
import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.benchmarks.items import weight

UNITS = 1000  # write units a second of one item
LARGEST = 400 * 1024  # bytes of an item
SHARDS = 64  # the most that openapi.yaml lets a tenant have
WEIGHED = (0, 1, 10, 100, 1000)
DURATIONS = (0.5, 2, 10, 30)  # seconds of a call
RATES = (10, 50, 100, 200, 500)  # calls a second


def item_of(calls: int) -> dict[str, Any]:
    """The account of a tenant that runs so many calls, all of a hard budget, as it lies in the table."""
    from gateway.aws.dynamodb.accounts import AccountTable
    from gateway.budgets.accounts import AccountId, Booking, Hold, Limits
    from gateway.core.times import month_of
    from gateway.usage.records import RequestId, TenantId

    accounts, now = AccountTable("budgets"), datetime.now(UTC)
    account = AccountId(TenantId(f"tenant-{calls}"), month_of(now))
    held = Hold(RequestId(""), 1, account, "research", Decimal("0.0123456789"), 5000, now, now + timedelta(minutes=10))
    for number in range(calls + 1):  # and one that is over: an account that was never spent from is smaller
        accounts.hold(
            Hold(**{**vars(held), "request_id": RequestId(str(uuid.uuid4())), "tokens": 4000 + number}),
            Limits(usd=Decimal(1000)),
        )
    last = next(iter(accounts.account(account).holds.values()))
    accounts.book(last, Booking(Decimal("0.00456789")))
    key = {"pk": {"S": f"{account.tenant_id}#{account.month}#00"}}
    item: dict[str, Any] = accounts._dynamodb.get_item(TableName="budgets", Key=key)["Item"]
    return item


def weigh() -> Callable[[int], int]:
    """Bytes of an account's item by how many calls run."""
    sizes = {calls: weight({"M": item_of(calls)}) for calls in WEIGHED}
    least, most = WEIGHED[0], WEIGHED[-1]
    each = (sizes[most] - sizes[least]) / (most - least)
    entries = ", ".join(f"{calls}: {size:,}" for calls, size in sizes.items())
    print(f"\nBytes of an account by calls that run: {entries} ({each:.0f} for each)")
    return lambda calls: round(sizes[least] + each * calls)


def serves(rate: float, seconds: float, size: Callable[[int], int]) -> bool:
    """Can one item take all writes at this rate of calls, with this duration of each?"""
    horizon = 2 * seconds + 60  # a bucket that is drained slowly is drained by then
    writes = [(n / rate, True) for n in range(int(horizon * rate))]
    heapq.heapify(writes)
    running, bucket, before = 0, float(UNITS), 0.0
    while writes:
        at, begins = heapq.heappop(writes)
        if at > horizon:
            return True
        bucket, before = min(UNITS, bucket + (at - before) * UNITS), at
        # A write costs what the larger of the item before and after it weighs.
        bytes_of_item = size(running + begins)
        bucket -= -(-bytes_of_item // 1024)
        if bucket < 0 or bytes_of_item > LARGEST:
            return False
        running += 1 if begins else -1
        if begins:
            heapq.heappush(writes, (at + seconds, False))
    return True


def most_served(seconds: float, size: Callable[[int], int]) -> int:
    """The maximum rate of calls that one item can take."""
    low, high = 1, UNITS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if serves(middle, seconds, size) else (low, middle)
    return low


def shards_for(rate: int, seconds: float, size: Callable[[int], int]) -> int:
    return next(shards for shards in range(1, 1000) if serves(rate / shards, seconds, size))


def main() -> None:
    from moto import mock_aws

    from tests.conftest import ENVIRONMENT, make_tables

    os.environ |= ENVIRONMENT
    with mock_aws():
        make_tables()
        size = weigh()
    heading = "".join(f"{f'{rate}/s':>9}" for rate in RATES)
    print(f"\nA call lasts   one item takes   shards for{heading}")
    for seconds in DURATIONS:
        shards = [shards_for(rate, seconds, size) for rate in RATES]
        told = "".join(f"{f'{number}' if number <= SHARDS else f'> {SHARDS}':>9}" for number in shards)
        print(f"{f'{seconds:g} s':>12}{f'{most_served(seconds, size)}/s':>17}             {told}")


if __name__ == "__main__":
    main()
