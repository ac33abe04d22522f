"""Accounts in DynamoDB: an item per tenant, month and shard, or per holder, changed by conditional updates.

A hold is an entry of the item's map `holds`. So taking room and booking a charge are each one atomic write that cannot
happen twice, and `size(holds)` counts the running calls. An entry lives as long as its call, and every write is billed
for the whole item. So each entry is packed into some 30 bytes plus its name. Money is stored in whole 10^-12 USD, the
smallest unit of a price. A month's notices to a tenant are in a separate item, and so is each notice of an account that
stays.

A counter has up to two attributes, `counted@NAME` and `spent-of@NAME`; `counters@HOLD` names those of a hold. Releases
that know no counters do not read them, nor the accounts that stay.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError, HTTPClientError

from gateway.aws.clients import client
from gateway.aws.dynamodb.items import attributes, conditional
from gateway.aws.dynamodb.writes import Writes
from gateway.budgets.accounts import (
    CLAIM_TTL,
    ROLLING,
    Account,
    AccountId,
    Booked,
    Booking,
    Counter,
    Hold,
    Limits,
    Unit,
    counter_amount,
)
from gateway.budgets.scopes import stale_counters
from gateway.core.errors import GatewayError
from gateway.core.times import minute_of, month_of
from gateway.pricing.price_book import SCALE, ZERO
from gateway.usage.records import RequestId, TenantId

KEPT = timedelta(days=400)
IDLE = timedelta(days=70)  # after which an account that stays may go, if no budget of its tenant is a total
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
_COUNTED, _COUNTED_SPENT, _COUNTERS = "counted@", "spent-of@", "counters@"
_BETWEEN = "\n"  # between the names of a hold's counters


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
            if found is None or not self.make_room(hold, limits, found):
                return
        message = "Too many calls of your tenant start at once. Retry."
        raise GatewayError(message, code="too_many_invocations", status=429, retry_after=1)

    def make_room(self, hold: Hold, limits: Limits, found: Mapping[str, Any]) -> bool:
        """Prepare an account that did not take a hold; False if it has the hold. Raises GatewayError."""
        account = _account(hold.account, found)
        if hold.name in account.holds:  # the retry of a write whose response was lost
            return False
        if not found:
            self._open(hold.account)
        elif refusal := account.refusal(hold, limits):
            raise refusal
        elif hold.own_sums and account.minute != minute_of(hold.started_at):
            self._next_minute(hold.account, account.minute, minute_of(hold.started_at))
        return True

    def _take(self, hold: Hold, limits: Limits) -> dict[str, Any] | None:
        """Take the room, or return the current account if it refuses."""
        try:
            self._writes.update_item(**self.taking(hold, limits))
        except ClientError as error:
            if not conditional(error):
                raise
            return dict(error.response.get("Item") or {})
        return None

    def taking(self, hold: Hold, limits: Limits) -> dict[str, Any]:
        """The conditional update that takes a hold; also valid in a transaction."""
        taking = _Update()
        taking.set("holds.#hold = :hold", hold=hold.name)
        taking.values |= {":hold": _packed(hold), ":zero": 0}
        taking.need("attribute_exists(holds)", "attribute_not_exists(holds.#hold)")
        if hold.own_sums:
            taking.set("committed = committed + :amount", "minute_tokens = minute_tokens + :tokens")
            taking.set("#centre = if_not_exists(#centre, :zero) + :amount", centre=_COMMITTED + hold.cost_centre)
            taking.need("current_minute = :minute")
            taking.values |= {":amount": _whole(hold.amount), ":tokens": hold.tokens}
            taking.values[":minute"] = minute_of(hold.started_at)
        elif hold.account.month != ROLLING:  # a release that knows no counters expects the cost centre's sum
            taking.set("#centre = if_not_exists(#centre, :zero)", centre=_COMMITTED + hold.cost_centre)
        if hold.account.month == ROLLING:
            taking.set("expires_at = :expires_at")
            taking.values[":expires_at"] = _NEVER if limits.keeps else int((hold.started_at + IDLE).timestamp())
        if limits.usd is not None:
            taking.values[":room"] = _whole(limits.usd - hold.amount)
            taking.need("committed <= :room")
        if limits.centre_usd is not None:
            taking.values[":centre_room"] = _whole(limits.centre_usd - hold.amount)
            room_of_a_new_centre = "" if limits.centre_usd < hold.amount else "attribute_not_exists(#centre) OR "
            taking.need(f"({room_of_a_new_centre}#centre <= :centre_room)")
        if limits.calls is not None:
            taking.values[":calls"] = limits.calls
            taking.need("size(holds) < :calls")
        if limits.tokens is not None:
            taking.values[":token_room"] = limits.tokens - hold.tokens
            taking.need("minute_tokens <= :token_room")
        for number, counter in enumerate(limits.counters):
            _count(taking, f"c{number}", counter, hold)
        if counters := _packed_counters(hold):
            taking.set("#counters = :counters", counters=_COUNTERS + hold.name)
            taking.values[":counters"] = counters
        return taking.request(self.table, hold.account) | {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}

    def _open(self, account: AccountId) -> None:
        """Create the account, at a tenant's first call of the month, or the first call ever of a holder."""
        first = {
            "committed": 0,
            "spent": 0,
            "holds": {},
            "current_minute": "",
            "minute_tokens": 0,
            "tenant_id": account.tenant_id,
            "month": account.month,
            "shard": account.shard,
            **({"holder": account.holder} if account.holder else {}),
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
        update = _Update()
        update.need("attribute_exists(holds.#hold)")
        update.remove("holds.#hold", hold=hold.name)
        if hold.account.month == ROLLING:
            update.set("booked_at = :booked_at")
            update.values[":booked_at"] = int(datetime.now(UTC).timestamp())
        if hold.own_sums:
            names = {"centre": _COMMITTED + hold.cost_centre, "spent": _SPENT + hold.cost_centre}
            update.set("committed = committed + :delta", "spent = spent + :charge")
            update.set("#centre = #centre + :delta", "#spent = if_not_exists(#spent, :zero) + :charge", **names)
            update.values |= _booked(hold, booking)
        for number, name in enumerate(hold.counters):
            _uncount(update, f"c{number}", name, hold, booking)
        if _packed_counters(hold):
            update.remove("#counters", counters=_COUNTERS + hold.name)
        try:
            updated = self._writes.update_item(
                **update.request(self.table, hold.account),
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if conditional(error):
                return None
            raise
        after = _account(hold.account, updated["Attributes"])
        if stale := stale_counters([*after.counted], hold.started_at):
            self._forget(hold.account, stale)
        spent = {name: after.counted_spent.get(name, ZERO) for name in hold.counters}
        return Booked(after.spent, after.centres_spent.get(hold.cost_centre, ZERO), booking.charge, spent)

    def _forget(self, account: AccountId, counters: list[str]) -> None:
        """Remove the counters of old periods; the next booking tries again if this fails."""
        update = _Update()
        for number, name in enumerate(counters[:100]):
            gone = {f"c{number}": _COUNTED + name, f"s{number}": _COUNTED_SPENT + name}
            update.remove(*(f"#{word}" for word in gone), **gone)
        with suppress(ClientError, HTTPClientError):
            self._writes.update_item(**update.request(self.table, account))

    def all(self, now: datetime, *, held: bool = False) -> Iterator[tuple[AccountId, Account]]:
        # A tenant's months may be those of a time zone up to 14 hours ahead.
        months = {month_of(now + timedelta(days=1)), month_of(now), month_of(now.replace(day=1) - timedelta(days=1))}
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self.table, ConsistentRead=True)
        for item in (item for page in pages for item in page["Items"] if "holds" in item):
            if item["month"]["S"] not in months | {ROLLING} or (held and not item["holds"]["M"]):
                continue
            holder = item["holder"]["S"] if "holder" in item else ""
            of = AccountId(TenantId(item["tenant_id"]["S"]), item["month"]["S"], int(item["shard"]["N"]), holder)
            yield of, _account(of, item)

    def claim_notification(self, account: AccountId, mark: str, now: datetime) -> bool:
        found = self._dynamodb.get_item(TableName=self.table, Key=_told_key(account, mark)).get("Item") or {}
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
            Key=_told_key(account, mark),
            UpdateExpression="SET #mark = :until, expires_at = if_not_exists(expires_at, :expires_at)",
            ExpressionAttributeNames={"#mark": mark},
            ExpressionAttributeValues=attributes(values | kept),
            **condition,
        )


class _Update:
    """The parts of one update, with the names and values that they use."""

    def __init__(self) -> None:
        self.sets: list[str] = []
        self.removes: list[str] = []
        self.conditions: list[str] = []
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    def set(self, *parts: str, **names: str) -> None:
        self.sets += parts
        self.names |= {f"#{word}": name for word, name in names.items()}

    def remove(self, *parts: str, **names: str) -> None:
        self.removes += parts
        self.names |= {f"#{word}": name for word, name in names.items()}

    def need(self, *conditions: str) -> None:
        self.conditions += conditions

    def request(self, table: str, account: AccountId) -> dict[str, Any]:
        expression = f"SET {', '.join(self.sets)}" if self.sets else ""
        expression += f" REMOVE {', '.join(self.removes)}" if self.removes else ""
        request: dict[str, Any] = {"TableName": table, "Key": _key(account), "UpdateExpression": expression.strip()}
        if self.conditions:
            request["ConditionExpression"] = " AND ".join(self.conditions)
        if self.names:
            request["ExpressionAttributeNames"] = self.names
        if self.values:
            request["ExpressionAttributeValues"] = attributes(self.values)
        return request


def _count(taking: _Update, word: str, counter: Counter, hold: Hold) -> None:
    """Add a hold to a counter, if there is room for it."""
    more = counter_amount(counter, hold)
    whole = _whole if counter.unit is Unit.USD else int
    taking.set(f"#{word} = if_not_exists(#{word}, :zero) + :{word}", **{word: _COUNTED + counter.name})
    taking.values[f":{word}"] = whole(more)
    if counter.limit is not None:
        taking.values[f":{word}_room"] = whole(counter.limit - more)
        new = f"attribute_not_exists(#{word}) OR " if more <= counter.limit else ""
        taking.need(f"({new}#{word} <= :{word}_room)")


def _uncount(update: _Update, word: str, name: str, hold: Hold, booking: Booking) -> None:
    """Book a hold's part of a counter. A counter of an old period may be gone by now: it held this at least."""
    held, spent = f"#{word}", f"#{word}s"
    if name.startswith(f"{Unit.CALLS}="):
        update.values |= {":one": 1}
        update.set(f"{held} = if_not_exists({held}, :one) - :one", **{word: _COUNTED + name})
        return
    update.values |= _booked(hold, booking) | {":amount": _whole(hold.amount)}
    update.set(f"{held} = if_not_exists({held}, :amount) + :delta", **{word: _COUNTED + name})
    update.set(f"{spent} = if_not_exists({spent}, :zero) + :charge", **{f"{word}s": _COUNTED_SPENT + name})


def _booked(hold: Hold, booking: Booking) -> dict[str, int]:
    return {":delta": _whole(booking.committed - hold.amount), ":charge": _whole(booking.charge), ":zero": 0}


def _packed_counters(hold: Hold) -> str:
    """The names of a hold's counters; after its amount where it counts in these alone.

    A release that knows no counters would take such a hold's amount from the account's sums, which never had it.
    """
    amount = "" if hold.own_sums else f"{_BETWEEN}{_whole(hold.amount)}{_BETWEEN}"
    return amount + _BETWEEN.join(hold.counters)


def _key(account: AccountId) -> dict[str, Any]:
    return attributes({"pk": f"{account.tenant_id}#{account.month}#{account.shard:02d}" + _held_by(account)})


def _told_key(account: AccountId, mark: str) -> dict[str, Any]:
    """One item for all notices of a month; one for each of an account that stays, where they would pile up."""
    each = f"{_held_by(account)}#{mark}" if account.month == ROLLING else ""
    return attributes({"pk": f"{account.tenant_id}#{account.month}#told{each}"})


def _held_by(account: AccountId) -> str:
    return f"#{account.holder}" if account.holder else ""


def _packed(hold: Hold) -> bytes:
    times = int(hold.started_at.timestamp()), math.ceil(hold.lease_until.timestamp())
    whole = _whole(hold.amount) if hold.own_sums else 0
    amount = whole.to_bytes(-(-whole.bit_length() // 8), "big")
    return _HOLD.pack(min(hold.tokens, _MOST_TOKENS), *times, len(amount)) + amount + hold.cost_centre.encode()


def _unpacked(of: AccountId, name: str, packed: bytes, counters: str) -> Hold:
    """The stored hold; its times are to the second, and its lease is rounded up."""
    request_id, _, attempt = name.rpartition("#")
    tokens, started, ends, length = _HOLD.unpack_from(packed)
    centre = _HOLD.size + length
    amount = Decimal(int.from_bytes(packed[_HOLD.size : centre], "big"))
    own_sums = not counters.startswith(_BETWEEN)
    if not own_sums:
        _, stated, counters = counters.split(_BETWEEN, 2)
        amount = Decimal(stated)
    return Hold(
        RequestId(request_id),
        int(attempt),
        of,
        packed[centre:].decode(),
        _usd(amount),
        tokens,
        datetime.fromtimestamp(started, UTC),
        datetime.fromtimestamp(ends, UTC),
        tuple(filter(None, counters.split(_BETWEEN))),
        own_sums,
    )


def _account(of: AccountId, item: Mapping[str, Any]) -> Account:
    plain = {name: _plain(value) for name, value in item.items()}
    holds = {
        name: _unpacked(of, name, bytes(packed), plain.get(_COUNTERS + name, ""))
        for name, packed in plain.get("holds", {}).items()
    }
    counted = {name.removeprefix(_COUNTED): number for name, number in plain.items() if name.startswith(_COUNTED)}
    return Account(
        committed=_usd(plain.get("committed", ZERO)),
        spent=_usd(plain.get("spent", ZERO)),
        centres_committed=_sums(plain, _COMMITTED),
        centres_spent=_sums(plain, _SPENT),
        holds=holds,
        minute=plain.get("current_minute", ""),
        minute_tokens=int(plain.get("minute_tokens", 0)),
        counted={name: number if name.startswith(_NUMBERS) else _usd(number) for name, number in counted.items()},
        counted_spent=_sums(plain, _COUNTED_SPENT),
        booked_at=datetime.fromtimestamp(int(plain["booked_at"]), UTC) if "booked_at" in plain else None,
    )


_NUMBERS = tuple(f"{unit}=" for unit in (Unit.CALLS, Unit.REQUESTS, Unit.TOKENS))


def _sums(plain: Mapping[str, Any], prefix: str) -> dict[str, Decimal]:
    return {name.removeprefix(prefix): _usd(amount) for name, amount in plain.items() if name.startswith(prefix)}
