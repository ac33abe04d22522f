"""Budgets and rate limits of every scope and window: what counts where, and what refuses."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.aws.dynamodb.accounts import AccountTable
from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.dynamodb.reservations import Reservations
from gateway.budgets.accounts import ROLLING, AccountId, Accounts, Booking, Hold, hold_all, release_all
from gateway.budgets.changes import lend, reset
from gateway.budgets.report import budget_report
from gateway.budgets.scopes import holds_of
from gateway.budgets.status import states
from gateway.budgets.sweep import sweep_holds, sweep_thresholds
from gateway.budgets.thresholds import ThresholdCrossed, newly_crossed
from gateway.budgets.windows import period_of
from gateway.calls.metering import Meter, booking_for
from gateway.calls.token_bounds import TokenBound
from gateway.core.errors import BadRequestError, GatewayError
from gateway.tenancy.administration import must_be_sound
from gateway.tenancy.budgets import Loan, Scope, ScopedBudget, Window
from gateway.tenancy.caller import Caller
from gateway.tenancy.tenant import Tenant, tenant_from_json, tenant_to_json
from gateway.usage.ledger import AlreadyReservedError
from gateway.usage.records import (
    Attribution,
    KeyId,
    ModelId,
    Outcome,
    RequestId,
    TenantId,
    TokenUsage,
    UsageRecord,
    UserSource,
)
from tests.fakes import InMemoryAccounts, InMemoryLedger

from .test_budgets import BOOK, accounts

__all__ = ["accounts"]  # the fixture of both stores
NOW = datetime(2026, 11, 24, 10, 0, 30, tzinfo=UTC)


def tenant(*budgets: dict[str, Any], **values: Any) -> Tenant:
    record = {"tenant_id": "acme", "cost_centres": ["research", "ops"], "budgets": list(budgets)}
    made = tenant_from_json(record | values)
    must_be_sound(made)
    return made


def budget(limit: str, window: str = "day", **more: Any) -> dict[str, Any]:
    scope = {name: more.pop(name) for name in ("user", "key", "cost_centre", "model") if name in more}
    return {"scope": scope, "window": window, "limit_usd": limit, "hard": True, **more}


def row(name: str = "r1", user: str = "", source: UserSource | None = None, **values: Any) -> UsageRecord:
    at = values.pop("at", NOW)
    known: dict[str, Any] = {
        "request_id": RequestId(name), "attempt": 1, "tenant_id": TenantId("acme"), "cost_centre": "research",
        "key_id": KeyId("key_1"), "operation": "text", "model_id": ModelId("m"), "model_used": "m",
        "region": "us-east-1", "started_at": at, "lease_until": at + timedelta(minutes=5),
    }  # fmt: skip
    source = source or (UserSource.TOKEN if user else UserSource.NONE)
    return UsageRecord(**known | values, attribution=Attribution(user, source))


def take(accounts: Accounts, of: Tenant, usd: str, made: UsageRecord, tokens: int = 10) -> tuple[Hold, ...]:
    return hold_all(accounts, holds_of(of, made, Decimal(usd), TokenUsage(tokens)))


def spend(accounts: Accounts, of: Tenant, usd: str, made: UsageRecord) -> None:
    for hold in take(accounts, of, usd, made):
        assert accounts.book(hold, Booking(Decimal(usd)))


def refusal(accounts: Accounts, of: Tenant, usd: str, made: UsageRecord) -> GatewayError:
    with pytest.raises(GatewayError) as refused:
        take(accounts, of, usd, made)
    return refused.value


def lines(accounts: Accounts, of: Tenant, caller: Caller | None = None, at: datetime = NOW) -> dict[str, Any]:
    return {str(line["scope"]): line for line in budget_report(of, states(of, accounts, at, caller), at)["budgets"]}


def caller(of: Tenant, user: str = "", source: UserSource = UserSource.TOKEN) -> Caller:
    return Caller(of, KeyId("key_1"), user, source if user else UserSource.NONE)


# --------------------------------------------------------------------------------------------------- scopes
def test_each_user_has_a_budget_of_its_own(accounts: Accounts) -> None:
    acme = tenant(budget("1", user="*"))
    spend(accounts, acme, "0.9", row("r1", "alice"))
    error = refusal(accounts, acme, "0.2", row("r2", "alice"))
    assert (error.code, error.status) == ("budget_exceeded", 429)
    assert error.message == (
        "This call would exceed the daily budget of user alice: limit 1 USD, spent 0.9, reserved 0. The budget resets at"
        " 2026-11-25T00:00:00Z."
    )
    spend(accounts, acme, "1", row("r3", "bob"))
    assert take(accounts, acme, "5", row("r4")) == ()  # nobody's call has no user's budget


def test_a_claimed_name_uses_up_nothing_of_a_verified_one(accounts: Accounts) -> None:
    acme = tenant(budget("1", user="*"))
    spend(accounts, acme, "1", row("r1", "alice", UserSource.CLAIMED))
    assert refusal(accounts, acme, "0.1", row("r2", "alice", UserSource.CLAIMED)).code == "budget_exceeded"
    spend(accounts, acme, "0.5", row("r3", "alice", UserSource.TOKEN))
    spend(accounts, acme, "0.5", row("r4", "alice", UserSource.KEY))  # the same person as by the token
    assert refusal(accounts, acme, "0.1", row("r5", "alice", UserSource.KEY)).code == "budget_exceeded"


def test_a_budget_that_names_somebody_replaces_the_default(accounts: Accounts) -> None:
    acme = tenant(budget("1", user="*"), budget("3", user="alice"))
    spend(accounts, acme, "3", row("r1", "alice"))
    assert "limit 3 USD" in refusal(accounts, acme, "1", row("r2", "alice")).message
    assert "limit 1 USD" in refusal(accounts, acme, "2", row("r3", "bob")).message
    assert list(lines(accounts, acme, caller(acme, "alice"))) == ["{'user': 'alice'}"]
    assert lines(accounts, acme, caller(acme, "alice"))["{'user': 'alice'}"]["limit_usd"] == "3"


def test_a_key_has_a_budget_whoever_uses_it(accounts: Accounts) -> None:
    acme = tenant(budget("1", key="*"), budget("10", user="*"))
    spend(accounts, acme, "0.6", row("r1", "alice", UserSource.CLAIMED))
    assert "key key_1" in refusal(accounts, acme, "0.6", row("r2", "bob", UserSource.CLAIMED)).message
    spend(accounts, acme, "0.6", row("r3", "bob", UserSource.CLAIMED, key_id=KeyId("key_2")))
    spend(accounts, acme, "0.6", row("r4", "eve", UserSource.KEY, key_id=KeyId("key_3")))
    assert (
        "key key_3" in refusal(accounts, acme, "0.6", row("r5", "eve", UserSource.KEY, key_id=KeyId("key_3"))).message
    )
    spend(accounts, acme, "5", row("r6", "eve", UserSource.TOKEN, key_id=KeyId("token:corp")))  # no key


def test_a_key_and_the_pair_of_it_with_its_owner_are_two_budgets(accounts: Accounts) -> None:
    acme = tenant(budget("1", key="*"), budget("10", key="*", user="*"))
    spend(accounts, acme, "1", row("r1", "eve", UserSource.KEY))
    found = lines(accounts, acme, caller(acme, "eve", UserSource.KEY))
    assert [line["spent"] for line in found.values()] == ["1", "1"]


def test_a_models_pattern_is_one_budget_and_a_star_is_one_for_each(accounts: Accounts) -> None:
    acme = tenant(budget("1", "week", cost_centre="research", model="*opus*"), budget("9", "week", model="*"))
    spend(accounts, acme, "0.6", row("r1", model_id=ModelId("claude-opus-4")))
    refused = refusal(accounts, acme, "0.6", row("r2", model_id=ModelId("claude-opus-5")))
    assert "weekly budget of cost centre research, model *opus*" in refused.message
    spend(accounts, acme, "0.6", row("r3", model_id=ModelId("claude-opus-5"), cost_centre="ops"))
    spend(accounts, acme, "0.6", row("r4", model_id=ModelId("nova")))
    found = lines(accounts, acme)
    assert {name: line["spent"] for name, line in found.items()} == {
        "{'cost_centre': 'research', 'model': '*opus*'}": "0.6",
        "{'model': 'claude-opus-4'}": "0.6",
        "{'model': 'claude-opus-5'}": "0.6",
        "{'model': 'nova'}": "0.6",
    }


def test_a_call_fits_into_all_of_its_budgets_or_takes_nothing_in_any(accounts: Accounts) -> None:
    acme = tenant(budget("5", user="*"), budget("2", "month"), budget("1", "total", model="*"))
    assert (
        "the tenant"
        in refusal(accounts, tenant(budget("5", user="*"), budget("2", "month")), "3", row("r0", "a")).message
    )
    assert "total budget of model m" in refusal(accounts, acme, "1.5", row("r1", "alice")).message
    assert all(line["held"] == "0" for line in lines(accounts, acme, caller(acme, "alice")).values())
    spend(accounts, acme, "1", row("r2", "alice"))
    found = lines(accounts, acme, caller(acme, "alice"))
    assert [line["spent"] for line in found.values()] == ["1", "1", "1"]


def test_the_month_in_short_and_in_full_is_one_sum(accounts: Accounts) -> None:
    short = tenant(budget={"monthly_usd": "5", "hard": True}, cost_centre_budgets={"ops": {"monthly_usd": "2"}})
    spend(accounts, short, "1", row("r1", cost_centre="ops"))
    full = tenant(budget("5", "month"), budget("2", "month", cost_centre="*"))
    spend(accounts, full, "1", row("r2", cost_centre="ops"))
    assert "spent 2" in refusal(accounts, full, "1", row("r3", cost_centre="ops")).message
    assert {line["spent"] for line in lines(accounts, full).values()} == {"2", "0"}
    assert lines(accounts, short)["tenant"]["spent"] == "2"


# --------------------------------------------------------------------------------------------------- windows
@pytest.mark.parametrize(
    ("window", "zone", "at", "begins", "ends"),
    [
        ("day", "Europe/Berlin", "2026-03-29T10:00", "2026-03-28T23:00", "2026-03-29T22:00"),  # 23 hours
        ("day", "Europe/Berlin", "2026-10-25T10:00", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours
        ("day", "Africa/Cairo", "2026-04-24T03:00", "2026-04-23T22:00", "2026-04-24T21:00"),  # without a midnight
        ("day", "America/Havana", "2026-11-01T04:30", "2026-11-01T04:00", "2026-11-02T05:00"),  # with two of them
        ("day", "America/Havana", "2026-11-01T05:30", "2026-11-01T04:00", "2026-11-02T05:00"),
        ("month", "Pacific/Kiritimati", "2026-12-31T10:30", "2026-12-31T10:00", "2027-01-31T10:00"),
        ("month", "UTC", "2026-02-28T23:59", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("week", "UTC", "2026-11-29T23:59", "2026-11-23T00:00", "2026-11-30T00:00"),
    ],
)
def test_a_period_is_that_of_its_time_zone(window: str, zone: str, at: str, begins: str, ends: str) -> None:
    made = ScopedBudget(Scope(), Window(window), Decimal(1), time_zone=zone)
    period = period_of(made, datetime.fromisoformat(at).replace(tzinfo=UTC))
    assert (period.begins, period.resets_at) == tuple(
        datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (begins, ends)
    )


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2031, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.sampled_from([Window.DAY, Window.WEEK, Window.MONTH]),
    st.sampled_from(["UTC", "Europe/Berlin", "Africa/Cairo", "America/Havana", "Asia/Kathmandu", "Pacific/Apia"]),
    st.sampled_from(["monday", "sunday", "thursday"]),
)
def test_periods_follow_one_another_without_a_gap(at: datetime, window: Window, zone: str, first: str) -> None:
    made = ScopedBudget(Scope(), window, Decimal(1), time_zone=zone, week_begins=first)
    period = period_of(made, at)
    assert period.begins is not None
    assert period.resets_at is not None
    assert period.begins <= at < period.resets_at
    assert period_of(made, period.begins) == period
    assert period_of(made, period.resets_at).begins == period.resets_at


def test_a_week_begins_on_its_day(accounts: Accounts) -> None:
    acme = tenant(budget("1", "week", user="*", week_begins="wednesday", time_zone="Europe/Berlin"))
    tuesday = datetime(2026, 11, 24, 22, 59, tzinfo=UTC)
    spend(accounts, acme, "1", row("r1", "alice", at=tuesday))
    assert "resets at 2026-11-24T23:00:00Z" in refusal(accounts, acme, "1", row("r2", "alice", at=tuesday)).message
    spend(accounts, acme, "1", row("r3", "alice", at=tuesday + timedelta(minutes=1)))


def test_a_stream_that_outlives_its_window_is_charged_to_the_window_of_its_start(accounts: Accounts) -> None:
    acme = tenant(budget("1", user="*"), budget("9", "week"))
    late = datetime(2026, 11, 30, 23, 59, 50, tzinfo=UTC)  # a day, and a month; the week goes on
    held = take(accounts, acme, "1", row("r1", "alice", at=late))
    tomorrow = late + timedelta(minutes=1)
    spend(accounts, acme, "0.25", row("r2", "alice", at=tomorrow))
    for hold in held:
        assert accounts.book(hold, Booking(Decimal("0.5")))
    today, after = (lines(accounts, acme, caller(acme, "alice"), at) for at in (late, tomorrow))
    assert [line["spent"] for line in today.values()] == ["0.5", "0.75"]
    assert [line["spent"] for line in after.values()] == ["0.25", "0.75"]
    assert {line["held"] for line in (*today.values(), *after.values())} == {"0"}


@pytest.mark.parametrize("scope", [{}, {"user": "*"}, {"cost_centre": "research"}])
def test_a_new_time_zone_keeps_what_the_month_has_spent(accounts: Accounts, scope: dict[str, str]) -> None:
    before = tenant(budget("1", "month", **scope))
    spend(accounts, before, "0.75", row("r1", "alice"))
    after = tenant(budget("1", "month", time_zone="Asia/Tokyo", **scope))
    assert "spent 0.75" in refusal(accounts, after, "0.5", row("r2", "alice")).message


def test_a_total_never_begins_anew(accounts: Accounts) -> None:
    acme = tenant(budget("1", "total", cost_centre="research"))
    spend(accounts, acme, "1", row("r1"))
    error = refusal(accounts, acme, "0.1", row("r2", at=NOW + timedelta(days=800)))
    assert error.message.endswith("The budget does not reset.")
    assert "resets_at" not in next(iter(lines(accounts, acme).values()))


def test_an_account_with_a_total_is_kept_for_ever_and_any_other_for_70_days(aws: None) -> None:
    table = AccountTable("budgets")
    for number, window in enumerate(("total", "day")):
        take(table, tenant(budget("1", window, user="*")), "1", row(f"r{number}", window))
    expiries = {
        item["holder"]["S"]: int(item["expires_at"]["N"]) for item in table._dynamodb.scan(TableName="budgets")["Items"]
    }
    assert expiries["user:day"] == int((NOW + timedelta(days=70)).timestamp())
    assert expiries["user:total"] > 250_000_000_000


def test_a_claim_of_a_name_gets_nothing_that_the_name_was_given(accounts: Accounts) -> None:
    acme = tenant(budget("1", user="*"), budget("5", user="alice", hard=False))
    lent = lend(acme, Loan(Scope(user="alice"), Window.DAY, Decimal(50), NOW + timedelta(hours=2)), NOW)
    assert "limit 1 USD" in refusal(accounts, lent, "2", row("r1", "alice", UserSource.CLAIMED)).message
    spend(accounts, lent, "20", row("r2", "alice", UserSource.TOKEN))


def test_a_new_number_of_shards_waits_for_a_new_month(accounts: Accounts) -> None:
    """Else the new shards had room that the old ones spent already."""
    before = tenant(budget("4", "month"), budget("4", "day"), budget_shards=1)
    after = replace(before, budget_shards=4, shards_since="2026-12", shards_before=1)
    spend(accounts, before, "4", row("r0"))
    for number in range(20):
        assert refusal(accounts, after, "0.5", row(f"r{number}")).code == "budget_exceeded"
    assert {line["spent"] for line in lines(accounts, after).values()} == {"4"}
    december = datetime(2026, 12, 1, tzinfo=UTC)
    taken = 0
    for number in range(60):
        with suppress(GatewayError):
            taken += bool(take(accounts, after, "0.5", row(f"d{number}", at=december)))
    assert taken == 8  # four shards of 1 USD


def test_a_reset_month_tells_its_own_thresholds_only(accounts: Accounts) -> None:
    acme, told = tenant(budget("100", "month", thresholds=[80])), list[Any]()
    spend(accounts, acme, "60", row("r1"))
    acme = reset(acme, Scope(), Window.MONTH, NOW)
    for number, usd in enumerate(("45", "40")):
        for hold in take(accounts, acme, usd, row(f"r{number + 2}")):
            booked = accounts.book(hold, Booking(Decimal(usd)))
            assert booked
            told += newly_crossed(acme, hold, booked, accounts)
    assert [(each.threshold, each.spent, each.month, each.period) for each in told] == [
        (80, Decimal(85), "2026-11", "")
    ]
    swept: list[Any] = []
    sweep_thresholds(accounts, {TenantId("acme"): acme}.get, swept.append, NOW)
    assert [each.spent for each in swept] == [Decimal(85)]


def test_the_sweep_tells_of_a_week_that_began_last_month_and_of_no_period_long_over(accounts: Accounts) -> None:
    acme, told = tenant(budget("10", "week", thresholds=[80]), budget("10", user="*", thresholds=[80])), list[Any]()
    spend(accounts, acme, "9", row("r1", "alice", at=datetime(2026, 11, 30, 9, tzinfo=UTC)))
    assert (
        sweep_thresholds(accounts, {TenantId("acme"): acme}.get, told.append, datetime(2026, 12, 3, 1, tzinfo=UTC)) >= 1
    )
    assert [each.scope for each in told if each.window is Window.WEEK] == [Scope()]
    lowered, later = tenant(budget("1", user="*"), budget("1", "week")), list[Any]()
    sweep_thresholds(accounts, {TenantId("acme"): lowered}.get, later.append, datetime(2027, 1, 20, tzinfo=UTC))
    assert later == []


def test_a_release_that_knows_no_counters_takes_nothing_from_the_sums(aws: None) -> None:
    """It sees the hold with an amount of 0, and the cost centre's sum that it expects."""
    table, acme = AccountTable("budgets"), tenant(budget("5", "day"))
    (held,) = take(table, acme, "2", row("r1"))
    item = table._dynamodb.get_item(TableName="budgets", Key={"pk": {"S": "acme#2026-11#00"}})["Item"]
    packed = item["holds"]["M"]["r1#1"]["B"]
    assert packed[12] == 0  # the length of the amount
    assert item["committed@research"]["N"] == item["committed"]["N"] == "0"
    assert table.account(held.account).holds == {held.name: held}


def test_a_lost_response_of_the_transaction_leaves_nothing_held(aws: None) -> None:
    tables, ledger = AccountTable("budgets"), DynamoLedger("usage")
    meter, acme = meter_of(tables, ledger), tenant(*THREE[1], **THREE[0])
    real = meter.reservations._writes.transact_write_items  # type: ignore[union-attr]

    def lost(**request: Any) -> None:
        real(**request)
        raise HTTPClientError(error=OSError("reset"))

    take(tables, acme, "0", row("r0", "alice", UserSource.CLAIMED))  # opens the accounts
    meter.reservations._writes.transact_write_items = lost  # type: ignore[union-attr]
    with pytest.raises(HTTPClientError):
        meter.reserve(acme, row("r1", "alice", UserSource.CLAIMED), TokenBound(TokenUsage(1, 1)))
    assert [name for _, account in tables.all(NOW) for name in account.holds if name == "r1#1"] == []


def test_a_conflict_of_one_account_does_not_keep_the_others_from_their_booking(aws: None) -> None:
    tables, ledger = AccountTable("budgets"), DynamoLedger("usage")
    meter, acme = meter_of(tables, ledger), tenant(budget("5", user="*"), budget={"monthly_usd": "9", "hard": True})
    one = row("r1", "alice")
    reserved = meter.reserve(acme, one, TokenBound(TokenUsage(100, 50)))
    book = tables.book

    def fails_for_users(hold: Hold, booking: Booking) -> Any:
        if hold.account.holder:
            raise ClientError({"Error": {"Code": "TransactionConflictException", "Message": ""}}, "UpdateItem")
        return book(hold, booking)

    tables.book = fails_for_users  # type: ignore[method-assign]
    with pytest.raises(ClientError):
        meter.settle(acme, reserved, one.settle(Outcome.SUCCEEDED, TokenUsage(10, 5), NOW))
    assert {of.holder: bool(account.holds) for of, account in tables.all(NOW)} == {"": False, "user:alice": True}


def test_counters_of_old_periods_go(aws: None) -> None:
    table, acme = (
        AccountTable("budgets"),
        tenant(budget("1", user="*"), rate_limits=[{"scope": {"user": "*"}, "requests_per_minute": 5}]),
    )
    for days in range(30):
        spend(table, acme, "0.5", row(f"r{days}", "alice", at=NOW + timedelta(days=days)))
    (item,) = table._dynamodb.scan(TableName="budgets")["Items"]
    assert len([name for name in item if name.startswith("counted@")]) <= 8
    assert next(iter(lines(table, acme, caller(acme, "alice"), NOW + timedelta(days=29)).values()))["spent"] == "0.5"


# --------------------------------------------------------------------------------------------------- rates
def test_requests_tokens_and_calls_at_once_are_limited_in_any_scope(accounts: Accounts) -> None:
    limits = [
        {"scope": {"user": "*"}, "requests_per_minute": 2},
        {"scope": {"cost_centre": "ops"}, "tokens_per_minute": 25},
        {"scope": {"key": "key_9"}, "concurrent_invocations": 1},
    ]
    acme = tenant(rate_limits=limits)
    for name in ("r1", "r2"):
        take(accounts, acme, "0", row(name, "alice"))
    error = refusal(accounts, acme, "0", row("r3", "alice"))
    assert (error.code, error.retry_after, error.status) == ("too_many_requests", 30, 429)
    assert error.message == "This call would exceed the limit of user alice: 2 requests per minute. Wait, then retry."
    take(accounts, acme, "0", row("r4", "alice", at=NOW + timedelta(minutes=1)))
    for name in ("r5", "r6"):
        take(accounts, acme, "0", row(name, cost_centre="ops"))
    assert refusal(accounts, acme, "0", row("r7", cost_centre="ops")).code == "too_many_tokens"
    held = take(accounts, acme, "0", row("r8", key_id=KeyId("key_9")))
    assert refusal(accounts, acme, "0", row("r9", key_id=KeyId("key_9"))).code == "too_many_invocations"
    release_all(accounts, held)
    take(accounts, acme, "0", row("r9", key_id=KeyId("key_9")))


# --------------------------------------------------------------------------------------------------- changes
def test_a_loan_raises_one_budget_until_its_end(accounts: Accounts) -> None:
    acme = tenant(budget("1", user="*"))
    lent = lend(acme, Loan(Scope(user="alice"), Window.DAY, Decimal(50), NOW + timedelta(hours=2)), NOW)
    spend(accounts, lent, "20", row("r1", "alice"))
    assert "limit 1 USD" in refusal(accounts, lent, "20", row("r2", "bob")).message
    assert "limit 1 USD" in refusal(accounts, lent, "1", row("r3", "alice", at=NOW + timedelta(hours=3))).message
    line = next(iter(lines(accounts, lent, caller(lent, "alice")).values()))
    assert (line["limit_usd"], line["lent_usd"], line["available"]) == ("51", "50", "31")
    assert lend(lent, Loan(Scope(user="alice"), Window.DAY, Decimal(0), NOW), NOW).loans == ()
    assert tenant_from_json(tenant_to_json(lent)) == lent


@pytest.mark.parametrize("scope", [{}, {"user": "alice"}, {"cost_centre": "research", "model": "*"}])
@pytest.mark.parametrize("window", ["day", "month", "total"])
def test_a_reset_begins_a_budget_anew(accounts: Accounts, scope: dict[str, str], window: str) -> None:
    acme = tenant(budget("1", window, **scope))
    running = take(accounts, acme, "0.25", row("r0", "alice"))
    spend(accounts, acme, "0.75", row("r1", "alice"))
    resolved = Scope(**scope | ({"model": "m"} if "model" in scope else {}))
    for number in range(2):
        acme = reset(acme, resolved, Window(window), NOW)
        spend(accounts, acme, "1", row(f"r2-{number}", "alice"))
        assert "spent 1," in refusal(accounts, acme, "0.1", row("r3", "alice")).message
    for hold in running:
        assert accounts.book(hold, Booking(Decimal("0.25")))  # its own period, from before the reset
    assert next(iter(lines(accounts, acme, caller(acme, "alice")).values()))["spent"] == "1"


def test_only_a_budget_that_there_is_can_be_lent_to_or_reset() -> None:
    acme = tenant(budget("1", user="*"))
    for scope, window in ((Scope(), Window.DAY), (Scope(user="a"), Window.WEEK), (Scope(user="*"), Window.DAY)):
        with pytest.raises(BadRequestError):
            reset(acme, scope, window, NOW)


@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        ([budget("1", user="*"), budget("2", user="*")], "more than one budget"),
        ([budget("1", "month"), budget("1", "month", cost_centre="ops", time_zone="Asia/Tokyo")], "same time_zone"),
        ([budget("1", time_zone="Mars/Olympus")], "not a time zone"),
        ([budget("1", time_zone="../../etc/passwd")], "not a time zone"),
        ([budget("1", cost_centre="strange")], "not one of the tenant's cost_centres"),
    ],
)
def test_budgets_that_contradict_each_other_are_refused(budgets: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(BadRequestError, match=said):
        tenant(*budgets)


def test_a_tenant_that_keeps_no_users_has_no_budget_of_one() -> None:
    rates = [{"scope": {"user": "a"}, "requests_per_minute": 1}]
    for more in ({"budgets": [budget("1", user="*")]}, {"rate_limits": rates}):
        record: dict[str, Any] = {"tenant_id": "acme", "attribution": {"users": "none"}}
        with pytest.raises(BadRequestError, match="keeps no user"):
            must_be_sound(tenant_from_json(record | more))


# --------------------------------------------------------------------------------------------------- thresholds
def test_each_scope_is_told_its_own_thresholds_once(accounts: Accounts) -> None:
    acme = tenant(
        budget("1", user="*", hard=False, thresholds=[80]), budget("10", "week", model="m", hard=False, thresholds=[5])
    )
    told: list[ThresholdCrossed] = []
    for number in range(3):
        for hold in take(accounts, acme, "0.45", row(f"r{number}", "alice")):
            booked = accounts.book(hold, Booking(Decimal("0.45")))
            assert booked
            told += newly_crossed(acme, hold, booked, accounts)
    assert [(each.scope, each.window, each.period, each.threshold, each.spent) for each in told] == [
        (Scope(user="alice"), Window.DAY, "2026-11-24", 80, Decimal("0.90")),
        (Scope(model="m"), Window.WEEK, "2026-11-23", 5, Decimal("0.90")),
    ]
    swept: list[Any] = []
    assert sweep_thresholds(accounts, {TenantId("acme"): acme}.get, swept.append, NOW) == 2  # nobody marked them
    assert sweep_thresholds(accounts, {TenantId("acme"): acme}.get, swept.append, NOW) == 0
    assert sorted(each.mark for each in swept) == sorted(each.mark for each in told)


def test_the_forecast_names_the_scope_that_runs_out_first(accounts: Accounts) -> None:
    acme = tenant(budget("2", user="*"), budget("1", "week", cost_centre="research", model="*"))
    spend(accounts, acme, "0.9", row("r1", "alice"))
    report = budget_report(acme, states(acme, accounts, NOW, caller(acme, "alice")), NOW)
    assert report["runs_out_first"] == {
        "scope": {"user": "alice"}, "window": "day", "runs_out_at": "2026-11-24T22:14:26Z",
    }  # fmt: skip


# --------------------------------------------------------------------------------------------------- all together
class Crash(BaseException):
    """The process is gone."""


SCOPES = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from(["*", "alice"]),
        "key": st.sampled_from(["*", "key_1"]),
        "cost_centre": st.sampled_from(["*", "research"]),
        "model": st.sampled_from(["*", "*opus*", "m"]),
    },
)
BUDGETS = st.builds(
    lambda scope, window, limit, zone: budget(f"{limit:f}", window, time_zone=zone, **scope),
    SCOPES,
    st.sampled_from(["day", "week", "month", "total"]),
    st.decimals("0", "3", places=2),
    st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Kiritimati"]),
)
CALLS = st.tuples(
    st.sampled_from(["", "alice", "bob"]),
    st.sampled_from([UserSource.TOKEN, UserSource.KEY, UserSource.CLAIMED]),
    st.sampled_from(["research", "ops"]),
    st.sampled_from(["m", "claude-opus-5"]),
    st.decimals("0", "2", places=2),
    st.integers(0, 60 * 24 * 9),  # minutes
    st.sampled_from(["all", "part", "fails", "dies before", "dies after", "runs on"]),
)


@settings(max_examples=120)
@given(st.lists(BUDGETS, max_size=6), st.lists(CALLS, max_size=20), st.integers(1, 3))
def test_whatever_happens_no_scope_is_above_its_limit_and_nothing_stays_held(
    budgets: list[dict[str, Any]], calls: list[Any], shards: int
) -> None:
    try:
        acme = tenant(*budgets, budget_shards=shards)
    except BadRequestError:
        return
    accounts, ledger = InMemoryAccounts(), InMemoryLedger()
    begun = datetime(2026, 11, 24, tzinfo=UTC)
    charges: dict[str, Decimal] = {}
    for number, (user, source, centre, model, usd, minutes, fate) in enumerate(calls):
        at = begun + timedelta(minutes=minutes)
        key = KeyId("token:corp" if source is UserSource.TOKEN and user else "key_1")
        made = row(
            f"r{number}", user, source if user else None, at=at, cost_centre=centre, model_id=ModelId(model), key_id=key
        )
        taken: list[Hold] = []
        wanted = holds_of(acme, made, usd, TokenUsage(1))
        with suppress(GatewayError, Crash):
            if fate == "dies before":  # between the holds of a call
                for hold, limits in wanted[: len(wanted) // 2]:
                    accounts.hold(hold, limits)
                raise Crash
            taken += hold_all(accounts, wanted)
            ledger.reserve(made)
            if fate == "dies after":
                continue
            if fate == "runs on":
                continue
            charge = {"all": usd, "part": usd / 2, "fails": Decimal(0)}[fate]
            outcome = Outcome.FAILED if fate == "fails" else Outcome.SUCCEEDED
            ledger.settle(made.settle(outcome, TokenUsage(), at))
            for hold in taken:
                accounts.book(hold, Booking(charge))
            charges[made.request_id] = charge
        for account in accounts.accounts.values():
            for name, committed in account.counted.items():
                assert Decimal(0) <= account.counted_spent.get(name, Decimal(0)) <= committed
        for made_at in (at, begun):
            for whom in (caller(acme, "alice"), caller(acme, "bob", UserSource.CLAIMED), caller(acme)):
                for state in states(acme, accounts, made_at, whom):
                    assert state.spent + state.held <= state.counted.limit, state
    later = begun + timedelta(days=30)
    for open_row in list(ledger.expired(later)):
        ledger.settle(open_row.settle(Outcome.FAILED, TokenUsage(), later))
    sweep_holds(accounts, ledger, lambda held, record: booking_for(BOOK, held, record), later)
    for of, account in accounts.accounts.items():
        assert account.holds == {}, of
        assert account.counted == {name: account.counted_spent.get(name, Decimal(0)) for name in account.counted}
        assert account.committed == account.spent
    everything = [b for b in acme.all_budgets if b.scope == Scope() and b.window is Window.TOTAL]
    if everything:
        whole = accounts.account(AccountId(TenantId("acme"), ROLLING))
        assert whole.counted_spent.get("total=", Decimal(0)) == sum(charges.values())


# --------------------------------------------------------------------------------------------------- requests
THREE = ({"budget": {"monthly_usd": "5", "hard": True}}, [budget("2", user="*"), budget("1", key="*")])


def meter_of(tables: AccountTable, ledger: DynamoLedger) -> Meter:
    return Meter(ledger, tables, lambda: BOOK, lambda _: None, Reservations(tables, ledger, lambda _: None))


def requests_of(of: Tenant, source: UserSource) -> list[str]:
    """The operations that one whole call asks of DynamoDB, its accounts being open."""
    counted: list[str] = []
    tables, ledger = AccountTable("budgets"), DynamoLedger("usage")
    made = [row(f"{secrets.token_hex(4)}{number}", "alice", source) for number in range(2)]
    meter = meter_of(tables, ledger)
    for one in made:
        counted.clear()
        for writes in (tables._writes, ledger._writes, meter.reservations._writes):  # type: ignore[union-attr]
            writes._once = _counted(writes, type(writes)._once, counted)  # type: ignore[method-assign]
        reserved = meter.reserve(of, one, TokenBound(TokenUsage(100, 50)))
        meter.settle(of, reserved, one.settle(Outcome.SUCCEEDED, TokenUsage(10, 5), NOW))
    return counted


def _counted(writes: Any, once: Any, counted: list[str]) -> Any:
    def call(operation: str, body: bytes) -> Any:
        counted.append(operation)
        return once(writes, operation, body)

    return call


def test_three_nested_budgets_cost_two_requests_more_than_one(aws: None) -> None:
    one = tenant(budget={"monthly_usd": "5", "hard": True})
    assert len(requests_of(one, UserSource.CLAIMED)) == 4
    nested = tenant(*THREE[1], **THREE[0])
    for source in (UserSource.CLAIMED, UserSource.KEY, UserSource.TOKEN):
        assert len(requests_of(nested, source)) <= 6, source
    personal = tenant(
        budget("1", user="*"), budget("3", "month", cost_centre="research"), budget("4", "day"), **THREE[0]
    )
    assert len(requests_of(personal, UserSource.TOKEN)) <= 6


def test_three_accounts_are_taken_together_or_not_at_all(aws: None) -> None:
    tables, ledger = AccountTable("budgets"), DynamoLedger("usage")
    meter, acme = meter_of(tables, ledger), tenant(*THREE[1], **THREE[0])
    bound = TokenBound(TokenUsage(0, 60_000))  # 0.6 USD
    first = row("r1", "alice", UserSource.CLAIMED)
    reserved = meter.reserve(acme, first, bound)
    assert len(reserved.holds) == 3
    assert meter.reserve(acme, first, bound) == reserved  # the retry of a write whose response was lost
    with pytest.raises(GatewayError, match="key key_1: limit 1 USD, spent 0, reserved 0.6"):
        meter.reserve(acme, row("r2", "bob", UserSource.CLAIMED), bound)
    assert ledger.get(RequestId("r2"), 1, NOW) is None
    held = {of.holder: sorted(account.holds) for of, account in tables.all(NOW)}
    assert held == {"": ["r1#1"], "claimed:alice": ["r1#1"], "key:key_1": ["r1#1"], "claimed:bob": []}
    with pytest.raises(AlreadyReservedError):
        meter.reserve(acme, row("r1", "eve", UserSource.CLAIMED), TokenBound(TokenUsage(1)))


def test_accounts_that_others_write_all_the_time_are_taken_one_by_one(aws: None) -> None:
    tables, ledger = AccountTable("budgets"), DynamoLedger("usage")
    meter, acme = meter_of(tables, ledger), tenant(*THREE[1], **THREE[0])
    conflict = ClientError(
        {"Error": {"Code": "TransactionCanceledException", "Message": ""},
         "CancellationReasons": [{"Code": "TransactionConflict"}, {"Code": "None"}, {"Code": "None"}]},
        "TransactWriteItems",
    )  # fmt: skip
    tried: list[int] = []

    def conflicts(**_: Any) -> None:
        tried.append(1)
        raise conflict

    meter.reservations._writes.transact_write_items = conflicts  # type: ignore[union-attr]
    reserved = meter.reserve(acme, row("r1", "alice", UserSource.CLAIMED), TokenBound(TokenUsage(1, 1)))
    assert len(tried) == 5
    assert {of.holder for of, account in tables.all(NOW) if account.holds} == {"", "claimed:alice", "key:key_1"}
    assert ledger.get(RequestId("r1"), 1, NOW) == reserved.row
