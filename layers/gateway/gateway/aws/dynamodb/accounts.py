"""Accounts in DynamoDB: an item per tenant, month and shard, changed by one conditional update at a time.

A hold is an entry of the item's map `holds`. So taking room and booking a charge are each one atomic write that cannot
happen twice, and `size(holds)` counts the running calls. An entry lives as long as its call, and every write is billed
for the whole item. So each entry is packed into some 30 bytes plus its name. Money is stored in whole 10^-12 USD, the
smallest unit of a price. The month's notices to a tenant are in a separate item.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from gateway.aws.clients import client
from gateway.aws.dynamodb.items import attributes, conditional
from gateway.aws.dynamodb.writes import Writes
from gateway.budgets.accounts import CLAIM_TTL, Account, AccountId, Booked, Booking, Hold, Limits
from gateway.core.errors import GatewayError
from gateway.core.times import minute_of, month_of
from gateway.pricing.price_book import SCALE, ZERO
from gateway.usage.records import RequestId, TenantId

KEPT = timedelta(days=400)
# A hold's tokens, lease start and end in seconds, and length of the amount; the amount and the cost centre follow.
_HOLD = struct.Struct(">IIIB")
_MOST_TOKENS = 2**32 - 1  # a larger hold is counted in full, but stores this many
_NEVER = 253_402_300_799  # the last second of 9999
_plain = TypeDeserializer().deserialize


def _whole(usd: Decimal) -> int:
    """USD in the table's unit, rounded down, so that a limit's finer fraction gives no room."""
    return int(usd.scaleb(SCALE).to_integral_value(ROUND_FLOOR))


def _usd(whole: Decimal) -> Decimal:
    return whole.scaleb(-SCALE)


_COMMITTED, _SPENT = "committed@", "spent@"  # a cost centre follows: its sums, beside the tenant's


class AccountTable:
    """`gateway.budgets.accounts.Accounts` in one table."""

    def __init__(self, table: str):
        self.table = table
        self._dynamodb = client("dynamodb")
        self._writes: Any = Writes()

    def account(self, account: AccountId) -> Account:
        found = self._dynamodb.get_item(TableName=self.table, Key=_key(account), ConsistentRead=True)
        return _account(account, found.get("Item") or {})

    def hold(self, hold: Hold, limits: Limits) -> None:
        for _ in range(20):
            found = self._take(hold, limits)
            if found is None:
                return
            account = _account(hold.account, found)
            if hold.name in account.holds:  # the retry of a write whose response was lost
                return
            if not found:
                self._open(hold.account)
            elif refusal := account.refusal(hold, limits):
                raise refusal
            elif account.minute != minute_of(hold.started_at):
                self._next_minute(hold.account, account.minute, minute_of(hold.started_at))
        message = "Too many calls of your tenant start at once. Retry."
        raise GatewayError(message, code="too_many_invocations", status=429, retry_after=1)

    def _take(self, hold: Hold, limits: Limits) -> dict[str, Any] | None:
        """Take the room, or return the current account if it refuses."""
        try:
            self._writes.update_item(**self._taking(hold, limits))
        except ClientError as error:
            if not conditional(error):
                raise
            return dict(error.response.get("Item") or {})
        return None

    def _taking(self, hold: Hold, limits: Limits) -> dict[str, Any]:
        values: dict[str, Any] = {
            ":zero": 0,
            ":amount": _whole(hold.amount),
            ":tokens": hold.tokens,
            ":minute": minute_of(hold.started_at),
            ":hold": _packed(hold),
        }
        conditions = ["attribute_exists(holds)", "attribute_not_exists(holds.#hold)", "current_minute = :minute"]
        if limits.usd is not None:
            values[":room"] = _whole(limits.usd - hold.amount)
            conditions.append("committed <= :room")
        if limits.centre_usd is not None:
            values[":centre_room"] = _whole(limits.centre_usd - hold.amount)
            room_of_a_new_centre = "" if limits.centre_usd < hold.amount else "attribute_not_exists(#centre) OR "
            conditions.append(f"({room_of_a_new_centre}#centre <= :centre_room)")
        if limits.calls is not None:
            values[":calls"] = limits.calls
            conditions.append("size(holds) < :calls")
        if limits.tokens is not None:
            values[":token_room"] = limits.tokens - hold.tokens
            conditions.append("minute_tokens <= :token_room")
        return {
            "TableName": self.table,
            "Key": _key(hold.account),
            "UpdateExpression": (
                "SET holds.#hold = :hold, committed = committed + :amount, minute_tokens = minute_tokens + :tokens, "
                "#centre = if_not_exists(#centre, :zero) + :amount"
            ),
            "ConditionExpression": " AND ".join(conditions),
            "ExpressionAttributeNames": {"#hold": hold.name, "#centre": _COMMITTED + hold.cost_centre},
            "ExpressionAttributeValues": attributes(values),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def _open(self, account: AccountId) -> None:
        """Create the account, at a tenant's first call of the month."""
        first = {
            "committed": 0,
            "spent": 0,
            "holds": {},
            "current_minute": "",
            "minute_tokens": 0,
            "tenant_id": account.tenant_id,
            "month": account.month,
            "shard": account.shard,
            "expires_at": int((datetime.now(UTC) + KEPT).timestamp()),
        }
        self._conditionally(
            self._writes.put_item,
            Item=_key(account) | attributes(first),
            ConditionExpression="attribute_not_exists(pk)",
        )

    def _next_minute(self, account: AccountId, before: str, minute: str) -> None:
        self._conditionally(
            self._writes.update_item,
            Key=_key(account),
            UpdateExpression="SET current_minute = :minute, minute_tokens = :zero",
            ConditionExpression="current_minute = :before",
            ExpressionAttributeValues=attributes({":minute": minute, ":before": before, ":zero": 0}),
        )

    def _conditionally(self, write: Any, **request: Any) -> None:
        """A write that may lose to an identical one from another process."""
        try:
            write(TableName=self.table, **request)
        except ClientError as error:
            if not conditional(error):
                raise

    def book(self, hold: Hold, booking: Booking) -> Booked | None:
        names = {"#hold": hold.name, "#centre": _COMMITTED + hold.cost_centre, "#spent": _SPENT + hold.cost_centre}
        values = {
            ":delta": _whole(booking.committed - hold.amount),
            ":charge": _whole(booking.charge),
            ":zero": 0,
        }
        try:
            updated = self._writes.update_item(
                TableName=self.table,
                Key=_key(hold.account),
                UpdateExpression=(
                    "SET committed = committed + :delta, spent = spent + :charge, #centre = #centre + :delta, "
                    "#spent = if_not_exists(#spent, :zero) + :charge REMOVE holds.#hold"
                ),
                ConditionExpression="attribute_exists(holds.#hold)",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=attributes(values),
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if conditional(error):
                return None
            raise
        after = _account(hold.account, updated["Attributes"])
        return Booked(after.spent, after.centres_spent.get(hold.cost_centre, ZERO), booking.charge)

    def all(self, now: datetime) -> Iterator[tuple[AccountId, Account]]:
        months = {month_of(now), month_of(now.replace(day=1) - timedelta(days=1))}
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self.table, ConsistentRead=True)
        for item in (item for page in pages for item in page["Items"] if "holds" in item):
            if item["month"]["S"] in months:
                of = AccountId(TenantId(item["tenant_id"]["S"]), item["month"]["S"], int(item["shard"]["N"]))
                yield of, _account(of, item)

    def claim_notification(self, account: AccountId, mark: str, now: datetime) -> bool:
        found = self._dynamodb.get_item(TableName=self.table, Key=_told_key(account)).get("Item") or {}
        if mark in found and int(found[mark]["N"]) == _NEVER:
            return False  # the case in all sweeps but one: a read costs less than a refused write
        seconds = int(now.timestamp())
        values = {":now": seconds, ":until": seconds + int(CLAIM_TTL.total_seconds())}
        try:
            self._mark(account, mark, values, ConditionExpression="attribute_not_exists(#mark) OR #mark <= :now")
        except ClientError as error:
            if conditional(error):
                return False
            raise
        return True

    def mark_notified(self, account: AccountId, mark: str) -> None:
        self._mark(account, mark, {":until": _NEVER})

    def _mark(self, account: AccountId, mark: str, values: dict[str, int], **condition: str) -> None:
        """Store until when no other process may notify."""
        kept = {":expires_at": int((datetime.now(UTC) + KEPT).timestamp())}
        self._writes.update_item(
            TableName=self.table,
            Key=_told_key(account),
            UpdateExpression="SET #mark = :until, expires_at = if_not_exists(expires_at, :expires_at)",
            ExpressionAttributeNames={"#mark": mark},
            ExpressionAttributeValues=attributes(values | kept),
            **condition,
        )


def _key(account: AccountId) -> dict[str, Any]:
    return attributes({"pk": f"{account.tenant_id}#{account.month}#{account.shard:02d}"})


def _told_key(account: AccountId) -> dict[str, Any]:
    return attributes({"pk": f"{account.tenant_id}#{account.month}#told"})


def _packed(hold: Hold) -> bytes:
    times = int(hold.started_at.timestamp()), math.ceil(hold.lease_until.timestamp())
    whole = _whole(hold.amount)
    amount = whole.to_bytes(-(-whole.bit_length() // 8), "big")
    return _HOLD.pack(min(hold.tokens, _MOST_TOKENS), *times, len(amount)) + amount + hold.cost_centre.encode()


def _unpacked(of: AccountId, name: str, packed: bytes) -> Hold:
    """The stored hold; its times are to the second, and its lease is rounded up."""
    request_id, _, attempt = name.rpartition("#")
    tokens, started, ends, length = _HOLD.unpack_from(packed)
    centre = _HOLD.size + length
    return Hold(
        RequestId(request_id),
        int(attempt),
        of,
        packed[centre:].decode(),
        _usd(Decimal(int.from_bytes(packed[_HOLD.size : centre], "big"))),
        tokens,
        datetime.fromtimestamp(started, UTC),
        datetime.fromtimestamp(ends, UTC),
    )


def _account(of: AccountId, item: Mapping[str, Any]) -> Account:
    plain = {name: _plain(value) for name, value in item.items()}
    holds = {name: _unpacked(of, name, bytes(packed)) for name, packed in plain.get("holds", {}).items()}
    return Account(
        committed=_usd(plain.get("committed", ZERO)),
        spent=_usd(plain.get("spent", ZERO)),
        centres_committed=_centres(plain, _COMMITTED),
        centres_spent=_centres(plain, _SPENT),
        holds=holds,
        minute=plain.get("current_minute", ""),
        minute_tokens=int(plain.get("minute_tokens", 0)),
    )


def _centres(plain: Mapping[str, Any], prefix: str) -> dict[str, Decimal]:
    return {name.removeprefix(prefix): _usd(amount) for name, amount in plain.items() if name.startswith(prefix)}
