"""No call exceeds a hard budget: each is held before and booked once after, with both account stores."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.aws.dynamodb.accounts import AccountTable
from gateway.aws.dynamodb.circuits import Circuits
from gateway.aws.events import warn
from gateway.budgets.accounts import CLAIM_TTL, AccountId, Accounts, Booked, Booking, Hold, Limits
from gateway.budgets.scopes import holds_of
from gateway.budgets.status import states
from gateway.budgets.sweep import sweep_holds, sweep_thresholds
from gateway.budgets.thresholds import ThresholdCrossed, newly_crossed, notify_once
from gateway.calls.attempts import AttemptPlan
from gateway.calls.call import DEFAULT_MAX_OUTPUT, Context, ModelAnswer, ModelCall
from gateway.calls.catalog import Catalog, Model, Service
from gateway.calls.invoke import answered
from gateway.calls.metering import Meter, UnpricedUsageNotice, booking_for, quote
from gateway.calls.model_routes import Route
from gateway.calls.policy import enforce_output_limit
from gateway.calls.token_bounds import TokenBound
from gateway.core.errors import ForbiddenError, GatewayError, UpstreamError
from gateway.core.times import month_of, next_month
from gateway.costs.usage_report import add_up
from gateway.formats.bedrock import read_converse, read_invoke
from gateway.formats.legacy.requests import LegacyRequest
from gateway.formats.openai.endpoint import read_endpoint_chat
from gateway.pricing.price_book import PriceBook
from gateway.pricing.price_csv import read_prices
from gateway.tenancy.budgets import Budget
from gateway.tenancy.caller import Caller
from gateway.tenancy.tenant import Tenant, Unpriced
from gateway.usage.ledger import sweep
from gateway.usage.provider_counts import estimate_tokens
from gateway.usage.records import KeyId, ModelId, Outcome, RequestId, TenantId, TokenUsage, UsageRecord
from tests.fakes import InMemoryAccounts, InMemoryLedger, translated

NOW = datetime(2026, 11, 24, 10, 0, 30, tzinfo=UTC)
ACME = AccountId(TenantId("acme"), "2026-11")
BOOK = PriceBook(
    read_prices(
        [
            "model_id,region,tier,unit,usd,per,effective_from,source",
            "m,us-east-1,default,input_tokens,1,1000000,2026-01-01,x",
            "m,us-east-1,default,output_tokens,10,1000000,2026-01-01,x",
            "m,us-east-1,default,cache_write_5m_tokens,1.25,1000000,2026-01-01,x",
            "dear,us-east-1,default,output_tokens,100,1000000,2026-01-01,x",
        ]
    )
)


@pytest.fixture(params=["in memory", "dynamodb"])
def accounts(request: pytest.FixtureRequest) -> Iterator[Accounts]:
    if request.param == "in memory":
        yield InMemoryAccounts()
    else:
        request.getfixturevalue("aws")
        yield AccountTable("budgets")


def hold(name: str = "r1", amount: str = "1", centre: str = "research", tokens: int = 10, at: datetime = NOW) -> Hold:
    return Hold(RequestId(name), 1, ACME, centre, Decimal(amount), tokens, at, at + timedelta(minutes=5))


def test_room_is_taken_until_it_is_booked(accounts: Accounts) -> None:
    limits = Limits(usd=Decimal("2.5"))
    accounts.hold(hold("r1"), limits)
    accounts.hold(hold("r2"), limits)
    with pytest.raises(GatewayError) as refused:
        accounts.hold(hold("r3"), limits)
    assert (refused.value.status, refused.value.code) == (429, "budget_exceeded")
    for said in ("limit 2.5 USD", "spent 0", "reserved 2", "2026-12-01T00:00:00Z"):
        assert said in refused.value.message
    booked = accounts.book(hold("r1"), Booking(Decimal("0.25")))
    assert booked == Booked(Decimal("0.25"), Decimal("0.25"), Decimal("0.25"))
    accounts.hold(hold("r3"), limits)
    account = accounts.account(ACME)
    assert (account.committed, account.spent, sorted(account.holds)) == (
        Decimal("2.25"),
        Decimal("0.25"),
        ["r2#1", "r3#1"],
    )


def test_a_hold_fits_to_the_last_digit(accounts: Accounts) -> None:
    limits = Limits(usd=Decimal("0.000000000003"))
    for name in ("a", "b", "c"):
        accounts.hold(hold(name, "0.000000000001"), limits)
    with pytest.raises(GatewayError):
        accounts.hold(hold("d", "0.000000000001"), limits)


def test_a_hold_is_booked_once_and_taken_once(accounts: Accounts) -> None:
    accounts.hold(hold(), Limits())
    accounts.hold(hold(), Limits())
    assert accounts.book(hold(), Booking(Decimal(1)))
    assert accounts.book(hold(), Booking(Decimal(1))) is None
    assert (accounts.account(ACME).spent, accounts.account(ACME).committed) == (Decimal(1), Decimal(1))


def test_a_cost_centre_has_room_of_its_own(accounts: Accounts) -> None:
    limits = Limits(usd=Decimal(10), centre_usd=Decimal(1))
    accounts.hold(hold("r1", centre="research"), limits)
    accounts.hold(hold("r2", centre="ops"), limits)
    with pytest.raises(GatewayError, match="cost centre's monthly budget"):
        accounts.hold(hold("r3", centre="ops"), limits)
    with pytest.raises(GatewayError, match="cost centre's monthly budget"):
        accounts.hold(hold("r4", "1.1", centre="new"), limits)


def test_calls_at_once_are_counted_while_they_run(accounts: Accounts) -> None:
    limits = Limits(calls=2)
    for name in ("r1", "r2"):
        accounts.hold(hold(name), limits)
    with pytest.raises(GatewayError) as refused:
        accounts.hold(hold("r3"), limits)
    assert (refused.value.code, refused.value.retry_after) == ("too_many_invocations", 1)
    accounts.book(hold("r1"), Booking(Decimal(0)))
    accounts.hold(hold("r3"), limits)


def test_tokens_are_counted_by_the_minute(accounts: Accounts) -> None:
    limits = Limits(tokens=25)
    for name in ("r1", "r2"):
        accounts.hold(hold(name), limits)
    with pytest.raises(GatewayError) as refused:
        accounts.hold(hold("r3"), limits)
    assert (refused.value.code, refused.value.retry_after) == ("too_many_tokens", 30)
    accounts.hold(hold("r3", at=NOW + timedelta(minutes=1)), limits)


def test_200_at_once_take_no_more_than_there_is(aws: None) -> None:
    """moto is not atomic under threads, so its writes are made one by one; their interleaving is what is tried."""
    accounts, taken, turn = AccountTable("budgets"), [], threading.Lock()
    real = accounts._writes

    class OneByOne:
        def __getattr__(self, name: str) -> Any:
            def call(**request: Any) -> Any:
                with turn:
                    return getattr(real, name)(**request)

            return call

    accounts._writes = OneByOne()

    def take(number: int) -> None:
        with suppress(GatewayError):
            accounts.hold(hold(f"r{number}"), Limits(usd=Decimal(20)))
            taken.append(number)

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(take, range(200)))
    assert len(taken) == 20


@pytest.mark.parametrize(
    ("spent", "charge", "passed"),
    [("49.9", "1", []), ("50", "1", [50]), ("100", "60", [50, 80, 100]), ("100.5", "0.6", [100]), ("120", "1", [])],
)
def test_a_threshold_is_passed_by_one_charge(spent: str, charge: str, passed: list[int]) -> None:
    tenant = Tenant(TenantId("acme"), "Acme", (), budget=Budget(Decimal(100)))
    booked = Booked(Decimal(spent), Decimal(spent), Decimal(charge))
    found = list(newly_crossed(tenant, hold(), booked, InMemoryAccounts()))
    assert [crossing.threshold for crossing in found] == passed
    assert all(crossing.limit == 100 and crossing.cost_centre == "" for crossing in found)


SHARDED = Tenant(TenantId("acme"), "Acme", (), budget=Budget(Decimal(100)), budget_shards=4)


def spend(accounts: Accounts, tenant: Tenant, usd: str, shard: int, told: list[ThresholdCrossed]) -> None:
    """One call of so much, booked on a shard by a process that tells."""
    number = len(told) + int(accounts.account(replace(ACME, shard=shard)).spent * 10**6)
    held = replace(hold(f"r{shard}-{number}", usd), account=replace(ACME, shard=shard))
    accounts.hold(held, Limits())
    booked = accounts.book(held, Booking(Decimal(usd)))
    assert booked
    for crossing in newly_crossed(tenant, held, booked, accounts):
        notify_once(accounts, ACME, crossing.mark, crossing, told.append, NOW)


def test_a_budget_in_shards_tells_each_threshold_once_when_all_of_them_pass_it(accounts: Accounts) -> None:
    told: list[ThresholdCrossed] = []
    for shard in range(4):
        spend(accounts, SHARDED, "12", shard, told)
    assert told == []  # 48 of 100
    spend(accounts, SHARDED, "3", 0, told)
    assert [(crossing.threshold, crossing.spent) for crossing in told] == [(50, Decimal(51))]
    for shard in (0, 1, 2, 3):
        spend(accounts, SHARDED, "13", shard, told)
    assert [crossing.threshold for crossing in told] == [50, 80, 100]


def test_one_shard_that_spends_all_alone_is_told_as_well(accounts: Accounts) -> None:
    told: list[ThresholdCrossed] = []
    for _ in range(11):
        spend(accounts, SHARDED, "5", 2, told)
    assert [(crossing.threshold, crossing.spent) for crossing in told] == [(50, Decimal(50))]


def test_a_threshold_that_a_crash_kept_back_is_told_by_the_sweep_once(accounts: Accounts) -> None:
    tenant = Tenant(TenantId("acme"), "Acme", ("research",), budget=Budget(Decimal(2)))
    tenant = replace(tenant, cost_centre_budgets={"research": Budget(Decimal(1), thresholds=(90,))})
    accounts.hold(hold(), Limits())
    assert accounts.book(hold(), Booking(Decimal("1.1")))  # and dies
    told: list[ThresholdCrossed] = []

    def swept(at: datetime) -> int:
        return sweep_thresholds(accounts, {TenantId("acme"): tenant}.get, told.append, at)

    assert swept(NOW) == 2
    assert [(c.cost_centre, c.threshold, c.month) for c in told] == [("", 50, "2026-11"), ("research", 90, "2026-11")]
    assert swept(NOW) == swept(NOW + timedelta(hours=1)) == 0


def test_who_dies_while_it_tells_is_followed_by_the_sweep(accounts: Accounts) -> None:
    def dies(_: Any) -> None:
        raise Crash

    with suppress(Crash):
        notify_once(accounts, ACME, "passed 50 ", "it", dies, NOW)
    told: list[Any] = []
    assert not notify_once(accounts, ACME, "passed 50 ", "it", told.append, NOW + timedelta(seconds=1))
    assert notify_once(accounts, ACME, "passed 50 ", "it", told.append, NOW + CLAIM_TTL)
    assert not notify_once(accounts, ACME, "passed 50 ", "it", told.append, NOW + 2 * CLAIM_TTL)
    assert told == ["it"]


def test_last_months_spending_is_measured_by_last_months_budget(accounts: Accounts) -> None:
    accounts.hold(hold(), Limits())
    assert accounts.book(hold(), Booking(Decimal(1)))
    lowered = Tenant(TenantId("acme"), "Acme", (), budget=Budget(Decimal("0.5")))
    told: list[ThresholdCrossed] = []
    assert sweep_thresholds(accounts, lambda _: lowered, told.append, datetime(2026, 12, 2, 1, tzinfo=UTC)) == 0
    assert sweep_thresholds(accounts, lambda _: lowered, told.append, datetime(2026, 12, 1, 1, tzinfo=UTC)) == 3


def test_a_hold_in_the_table_is_small_and_says_all_that_the_sweep_needs(aws: None) -> None:
    accounts = AccountTable("budgets")
    held = replace(hold("7d3f4a9e-2f9b-4d0c-8a64-6b8f4f6f4b7e", "12.345678901234"), tokens=123_456)
    accounts.hold(held, Limits())
    item = accounts._dynamodb.get_item(TableName="budgets", Key={"pk": {"S": "acme#2026-11#00"}})["Item"]
    ((name, packed),) = item["holds"]["M"].items()
    assert len(name) + len(packed["B"]) < 80
    assert accounts.account(ACME).holds == {held.name: held}


@pytest.mark.parametrize("amount", ["0", "0.000000000001", "1234567890123456.000000000001"])
def test_a_hold_may_be_of_any_amount(aws: None, amount: str) -> None:
    accounts = AccountTable("budgets")
    held = replace(hold("r1", amount, centre="b\u00fcro 1"), tokens=2**32 - 1)
    accounts.hold(held, Limits())
    assert accounts.account(ACME).holds == {held.name: held}
    assert accounts.book(held, Booking(Decimal(0)))
    assert accounts.account(ACME).committed == 0


def a_row(**values: Any) -> UsageRecord:
    known: dict[str, Any] = {
        "request_id": "r1", "attempt": 1, "tenant_id": "acme", "cost_centre": "research", "key_id": "k",
        "operation": "text", "model_id": "m", "model_used": "m", "region": "us-east-1", "started_at": NOW,
    }  # fmt: skip
    known |= values
    return UsageRecord(**known, lease_until=known["started_at"] + timedelta(minutes=5))


def test_budgets_are_new_each_month() -> None:
    assert month_of(datetime(2026, 12, 31, 23, 59, tzinfo=UTC)) == "2026-12"
    assert next_month(datetime(2026, 12, 31, 23, 59, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_budget_spread_over_shards_never_adds_up_to_more() -> None:
    tenant = Tenant(TenantId("a"), "A", (), budget=Budget(Decimal(1), hard=True), budget_shards=3)
    ((_, limits),) = holds_of(tenant, a_row(), Decimal(0), TokenUsage())
    assert limits.usd is not None
    assert limits.usd * 3 <= 1


# ----------------------------------------------------------------------------------------- whole calls, with crashes

MODEL = Model(ModelId("m"), Service.BEDROCK, "m", "m", "m")


class Crash(BaseException):
    """The process is gone: nothing after this runs."""


class Scripted:
    """A scripted model: it makes `tokens`, or raises, or crashes before or after it ran."""

    def __init__(self, script: Iterator[str]):
        self.script = script

    def call(self, made: ModelCall) -> ModelAnswer:
        what = next(self.script)
        if what == "crash":
            raise Crash
        if what == "refuse":
            raise UpstreamError("no", code="model_throttled", status=429, error_type="ThrottlingException")
        if what == "lost":
            raise UpstreamError("no", code="model_timeout", status=408, error_type="ReadTimeout", ran=True)
        asked = made.max_output_tokens
        assert asked is not None
        return ModelAnswer(
            {}, TokenUsage(input_tokens=len(made.body["prompt"]), output_tokens=asked * int(what) // 100)
        )


def attempts(context: Context, meter: Meter) -> AttemptPlan:
    return AttemptPlan(Route(MODEL.id, (MODEL.id,)), context, meter, Circuits("none"))


def made_by(tenant: Tenant, meter: Meter, model: Scripted, number: int, tokens: int, ledger_crash: str = "") -> str:
    call = ModelCall(MODEL, "text", "InvokeModel", {"prompt": "x" * 50, "max": tokens}, output_path=("max",))
    context = Context(
        RequestId(f"r{number}"),
        Caller(tenant, KeyId("k")),
        "research",
        "us-east-1",
        NOW + timedelta(minutes=5),
        lambda: NOW,
    )
    try:
        answered([call], attempts(context, meter), model)
    except Crash:
        return "crashed"
    except GatewayError as error:
        return error.code
    return "ok"


class Crashing:
    """A store that crashes its process before or after a write, as it is told."""

    def __init__(self, real: Any, plan: Iterator[str]):
        self.real, self.plan = real, plan

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.real, name)
        if name not in ("hold", "book", "reserve", "settle", "begin_telling"):
            return real

        def write(*given: Any) -> Any:
            fate = next(self.plan, "")
            if fate == "before":
                raise Crash
            done = real(*given)
            if fate == "after":
                raise Crash
            return done

        return write


class Remembering(InMemoryAccounts):
    """Accounts that still know what each call held after it was booked."""

    def __init__(self) -> None:
        super().__init__()
        self.amounts: dict[str, Decimal] = {}

    def hold(self, hold: Hold, limits: Limits) -> None:
        super().hold(hold, limits)
        self.amounts[hold.request_id] = hold.amount


fates = st.lists(st.sampled_from(["", "", "", "", "before", "after"]), max_size=12)
steps = st.tuples(st.integers(1, 4000), st.sampled_from(["0", "37", "100", "refuse", "lost", "crash"]), fates)


@settings(max_examples=150)
@given(st.lists(steps, max_size=25), st.decimals("0", "0.3", places=4))
def test_whatever_happens_a_hard_budget_is_not_passed_and_only_what_nobody_knows_stays_held(
    plan: list[tuple[int, str, list[str]]], limit: Decimal
) -> None:
    ledger, accounts, warned = InMemoryLedger(), Remembering(), list[Any]()
    tenant = Tenant(TenantId("acme"), "Acme", ("research",), budget=Budget(limit, hard=True))
    for number, (tokens, what, doom) in enumerate(plan):
        fate = iter(doom)
        meter = Meter(Crashing(ledger, fate), Crashing(accounts, fate), lambda: BOOK, warned.append)
        made_by(tenant, meter, Scripted(iter([what])), number, tokens)
        account = accounts.account(ACME)
        assert account.spent <= account.committed <= limit
    later = NOW + timedelta(hours=1)
    sweep(ledger, later)
    sweep_holds(accounts, ledger, lambda held, row: booking_for(BOOK, held, row), later)
    sweep_thresholds(accounts, lambda _: tenant, warned.append, later)
    account, rows = accounts.account(ACME), list(ledger.rows.values())
    charges = [BOOK.charge_record(row) for row in rows]
    assert account.holds == {}
    assert account.spent == sum(charge.cost for charge in charges if charge)
    unknown = [accounts.amounts[row.request_id] for row, charge in zip(rows, charges, strict=True) if charge is None]
    assert account.committed == account.spent + sum(unknown)
    assert account.committed <= limit
    assert sorted(crossing.threshold for crossing in warned) == [
        percent for percent in (50, 80, 100) if limit * percent <= account.spent * 100 and account.spent
    ]


def test_a_call_that_does_not_fit_is_neither_made_nor_written() -> None:
    ledger, accounts = InMemoryLedger(), InMemoryAccounts()
    tenant = Tenant(TenantId("acme"), "Acme", ("research",), budget=Budget(Decimal("0.00001"), hard=True))
    meter = Meter(ledger, accounts, lambda: BOOK, lambda _: None)
    assert made_by(tenant, meter, Scripted(iter([])), 1, 4000) == "budget_exceeded"
    assert ledger.rows == {}


@pytest.mark.parametrize(
    ("policy", "outcome", "kept"),
    [
        (Unpriced.BLOCK, "model_unpriced", "0"),
        (Unpriced.PARK, "ok", "0.1"),
        (Unpriced.ALLOW, "ok", "0"),
        (None, "model_unpriced", "0"),
    ],
)
def test_a_model_without_a_price_follows_the_tenants_policy(policy: Unpriced | None, outcome: str, kept: str) -> None:
    accounts = InMemoryAccounts()
    tenant = Tenant(TenantId("acme"), "Acme", ("research",), budget=Budget(Decimal(10), hard=True), unpriced=policy)
    book = PriceBook(price for price in BOOK.prices() if price.model_id == "dear")
    meter = Meter(InMemoryLedger(), accounts, lambda: book, lambda _: None)
    assert made_by(tenant, meter, Scripted(iter(["100"])), 1, 1000) == outcome
    account = accounts.account(ACME)
    assert (account.spent, account.committed) == (Decimal(0), Decimal(kept))  # nothing is spent that has no price


@pytest.mark.parametrize(
    ("tiers", "used"),
    [
        (("default", "priority"), TokenUsage(100, 50, service_tier="priority")),
        (("default",), TokenUsage(60, 50, cache_read_tokens=40)),
    ],
    ids=["tier", "part"],
)
def test_a_tier_or_part_without_a_price_has_one_figure_in_hold_booking_budget_and_usage(
    accounts: Accounts, tiers: tuple[str, ...], used: TokenUsage
) -> None:
    budget = Budget(Decimal("0.005"), hard=True)
    tenant = Tenant(TenantId("acme"), "Acme", ("research",), budget=budget, unpriced=Unpriced.ALLOW)
    ledger = InMemoryLedger()
    meter, most = Meter(ledger, accounts, lambda: BOOK, lambda _: None), Decimal("0.0006")
    for number, usage in enumerate((TokenUsage(100, 50), used, used)):
        row = UsageRecord(
            request_id=RequestId(f"r{number}"),
            attempt=1,
            tenant_id=TenantId("acme"),
            cost_centre="research",
            key_id=KeyId("k"),
            operation="text",
            model_id=ModelId("m"),
            model_used="m",
            region="us-east-1",
            started_at=NOW,
            lease_until=NOW + timedelta(minutes=5),
        )
        reserved = meter.reserve(tenant, row, TokenBound(TokenUsage(100, 50), tiers=tiers))
        (held,) = reserved.holds
        assert held.amount == most
        settled = row.settle(Outcome.SUCCEEDED, usage, NOW)
        booked = Booking(kept=most) if number else Booking(most)
        assert booking_for(BOOK, held, settled) == booked
        meter.settle(tenant, reserved, settled)
    (shown,) = states(tenant, accounts, NOW)
    listed = add_up(ledger.rows.values(), "model", BOOK).total
    assert (shown.spent, shown.held) == (listed.cost, most * listed.unpriced_invocations) == (most, most * 2)
    assert listed.partial


@pytest.mark.parametrize("limited", [True, False])
def test_parked_usage_is_told_once_a_day_and_model_and_counted_each_time(
    accounts: Accounts, limited: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = Tenant(TenantId("acme"), "Acme", ("research",), unpriced=Unpriced.PARK)
    tenant = replace(tenant, budget=Budget(Decimal(10))) if limited else tenant
    book = PriceBook(price for price in BOOK.prices() if price.model_id == "dear")
    told: list[Any] = []
    meter = Meter(InMemoryLedger(), accounts, lambda: book, told.append)
    for number in range(3):
        assert made_by(tenant, meter, Scripted(iter(["100"])), number, 1000) == "ok"
    assert told == [UnpricedUsageNotice(TenantId("acme"), ModelId("m"), "us-east-1", "2026-11-24", Decimal("0.1"))]
    assert capsys.readouterr().out.count('"UnpricedUsage":[1.0]') == 3


@pytest.mark.parametrize(
    ("outcome", "kept"),
    [(Outcome.SUCCEEDED, "0"), (Outcome.INTERRUPTED, "0.7"), (Outcome.UNSETTLED, "0.7")],
)
def test_a_call_that_broke_off_keeps_what_its_known_part_leaves_of_its_hold(outcome: Outcome, kept: str) -> None:
    row = UsageRecord(
        request_id=RequestId("r1"),
        attempt=1,
        tenant_id=TenantId("acme"),
        cost_centre="research",
        key_id=KeyId("k"),
        operation="text",
        model_id=ModelId("m"),
        model_used="m",
        region="us-east-1",
        started_at=NOW,
        lease_until=NOW + timedelta(minutes=5),
    ).settle(outcome, TokenUsage(input_tokens=300_000), NOW)
    assert booking_for(BOOK, hold(amount="1"), row) == Booking(Decimal("0.3"), Decimal(kept))


def test_a_call_that_used_nothing_is_not_unpriced(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[Any] = []
    meter = Meter(InMemoryLedger(), InMemoryAccounts(), lambda: PriceBook([]), told.append)
    tenant = Tenant(TenantId("acme"), "Acme", ("research",), unpriced=Unpriced.PARK)
    for number, fate in enumerate(("refuse", "lost")):
        made_by(tenant, meter, Scripted(iter([fate])), number, 1000)
    assert (told, "UnpricedUsage" in capsys.readouterr().out) == ([], False)


def test_what_is_told_is_an_event_on_the_default_bus(aws: None) -> None:
    events, queues = boto3.client("events"), boto3.client("sqs")
    queue = queues.create_queue(QueueName="told")["QueueUrl"]
    events.put_rule(Name="all", EventPattern=json.dumps({"source": ["model-gateway"]}))
    events.put_targets(Rule="all", Targets=[{"Id": "told", "Arn": "arn:aws:sqs:us-east-1:123456789012:told"}])
    warn(ThresholdCrossed(TenantId("acme"), "", "2026-11", 80, Decimal(10), Decimal("8.5")))
    warn(UnpricedUsageNotice(TenantId("acme"), ModelId("m"), "us-east-1", "2026-11-24", Decimal("0.1")))
    found = queues.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    bodies = [json.loads(message["Body"]) for message in found]
    told = {body["detail-type"]: body["detail"] for body in bodies}
    assert [body["resources"] for body in bodies] == [[os.environ["GATEWAY_ARN"]]] * 2  # which gateway it was
    assert told["Budget threshold passed"]["threshold_percent"] == 80
    assert told["Budget threshold passed"]["spent_usd"] == "8.5"
    assert told["Unpriced usage parked"]["model_id"] == "m"
    assert told["Unpriced usage parked"]["kept_usd"] == "0.1"


def test_a_tenant_without_limits_costs_no_account() -> None:
    class Untouched:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} was called")

        def __call__(self) -> PriceBook:
            raise AssertionError("the prices were read")

    untouched: Any = Untouched()

    meter = Meter(InMemoryLedger(), untouched, untouched, lambda _: None)
    tenant = Tenant(TenantId("acme"), "Acme", ("research",))
    assert made_by(tenant, meter, Scripted(iter(["100"])), 1, 1000) == "ok"


def test_more_tokens_than_the_record_allows_are_refused_and_fewer_are_put_in() -> None:
    seen: list[int | None] = []

    class Watching(Scripted):
        def call(self, made: ModelCall) -> ModelAnswer:
            seen.append(made.max_output_tokens)
            return super().call(made)

    tenant = Tenant(TenantId("acme"), "Acme", ("research",), max_output_tokens=100)
    meter = Meter(InMemoryLedger(), InMemoryAccounts(), lambda: BOOK, lambda _: None)
    assert made_by(tenant, meter, Watching(iter([])), 1, 101) == "max_tokens_not_allowed"
    call = ModelCall(MODEL, "text", "InvokeModel", {"prompt": "x"}, output_path=("config", "max"))
    context = Context(RequestId("r2"), Caller(tenant, KeyId("k")), "research", "us-east-1", NOW, lambda: NOW)
    answered([call], attempts(context, meter), Watching(iter(["100"])))
    assert seen == [100]


def test_forbidden_is_what_a_blocked_model_says() -> None:
    tenant = replace(Tenant(TenantId("acme"), "Acme", ()), unpriced=Unpriced.BLOCK)
    call = ModelCall(
        replace(MODEL, id=ModelId("unheard-of")), "text", "InvokeModel", {"prompt": "x"}, output_path=("max",)
    )
    with pytest.raises(ForbiddenError):
        quote(BOOK, tenant, "unheard-of", "us-east-1", call.bound, NOW)


# ----------------------------------------------------------------------------------------------- what a call is held for
TIERED = PriceBook(
    read_prices(
        [
            "model_id,region,tier,unit,usd,per,effective_from,source",
            *(
                f"amazon.nova-lite-v1:0,us-east-1,{tier},{unit},{usd},1000000,2026-01-01,x"
                for tier, times in (("default", 1), ("priority", 2), ("flex", 0.5), ("default_above_200k", 3))
                for unit, usd in (("input_tokens", 1 * times), ("output_tokens", 10 * times))
            ),
            "openai.gpt-6-sol,us-east-1,default,input_tokens,2,1000000,2026-01-01,x",
            "openai.gpt-6-sol,us-east-1,default,output_tokens,10,1000000,2026-01-01,x",
            "openai.gpt-6-sol,us-east-1,default,cache_write_5m_tokens,2.5,1000000,2026-01-01,x",
        ]
    )
)
NOVA, HARD = "amazon.nova-lite-v1:0", Tenant(TenantId("acme"), "Acme", (), budget=Budget(Decimal(1000), hard=True))


def held_for(call: ModelCall, usage: TokenUsage, tenant: Tenant = HARD) -> tuple[Decimal, Decimal]:
    """The hold of a call at its start, and the cost of a usage of its model."""
    allowed = enforce_output_limit(call, tenant)
    amount = quote(TIERED, tenant, call.model.id, "us-east-1", allowed.bound, NOW)
    charge = TIERED.charge(call.model.id, "us-east-1", usage, NOW)
    assert amount is not None
    assert charge is not None
    return amount, charge.cost


def called(body: Any, model_id: str = NOVA, headers: dict[str, str] | None = None, invoke: bool = False) -> ModelCall:
    model = Catalog({}).find(model_id)
    if invoke:
        return read_invoke(model, body, headers or {}, streaming=False)
    return read_converse(model, body, streaming=False)


SAID = [{"role": "user", "content": [{"text": "hi"}]}]


@pytest.mark.parametrize(
    "call",
    [
        called({"messages": SAID, "inferenceConfig": {"maxTokens": 100}, "serviceTier": {"type": "priority"}}),
        called({"messages": SAID, "inferenceConfig": {"maxTokens": 100}, "service_tier": "priority"}, invoke=True),
        called(
            {"messages": SAID, "inferenceConfig": {"maxTokens": 100}},
            NOVA,
            {"x-amzn-bedrock-service-tier": "priority"},
            invoke=True,
        ),
        called(
            {"messages": SAID, "inferenceConfig": {"maxTokens": 100}, "serviceTier": {"type": "flex"}},
            NOVA,
            {"x-amzn-bedrock-service-tier": "priority"},
            invoke=True,
        ),
    ],
)
def test_a_dearer_tier_is_held_for_at_its_own_price(call: ModelCall) -> None:
    held, cost = held_for(call, TokenUsage(1, call.max_output_tokens or 0, service_tier="priority"))
    assert held >= cost


def test_a_cheaper_tier_is_held_for_at_the_default_since_the_service_may_not_grant_it() -> None:
    call = called({"messages": SAID, "inferenceConfig": {"maxTokens": 100}, "serviceTier": {"type": "flex"}})
    held, cost = held_for(call, TokenUsage(1, 100))
    assert held >= cost


def test_a_family_that_writes_to_its_cache_unasked_is_held_for_it() -> None:
    call = called(
        {"messages": [{"role": "user", "content": "x" * 9000}], "max_tokens": 1}, "openai.gpt-6-sol", invoke=True
    )
    held, cost = held_for(call, TokenUsage(output_tokens=1, cache_write_5m_tokens=9000))
    assert held >= cost


@pytest.mark.parametrize(
    ("body", "made", "invoke"),
    [
        ({"max_tokens": 1, "max_completion_tokens": 50_000}, 50_000, True),
        ({"max_completion_tokens": 50_000}, 50_000, True),
        ({"max_completion_tokens": None, "max_tokens": 50_000}, 50_000, True),
        ({"max_tokens": 1, "max_completion_tokens": "50000"}, 50_000, True),
        ({"max_tokens": 1, "max_completion_tokens": 5e4}, 50_000, True),
        ({"max_tokens": 100, "n": 5}, 500, True),
        ({"max_tokens": 100, "n": 1, "num_generations": 5}, 500, True),
        ({"max_tokens": 100, "n": "5"}, 500, True),
        ({"inferenceConfig": {"maxTokens": 1}, "additionalModelRequestFields": {"max_tokens": 50_000}}, 50_000, False),
        ({"additionalModelRequestFields": {"inferenceConfig": {"maxTokens": 50_000}}}, 50_000, False),
        ({"inferenceConfig": {"maxTokens": 100}, "additionalModelRequestFields": {"n": 5}}, 500, False),
        ({"inferenceConfig": {"maxTokens": 100},
          "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 20_000}}}, 20_000, False),
    ],
)  # fmt: skip
def test_whatever_a_body_lets_the_model_make_is_held_for(body: Any, made: int, invoke: bool) -> None:
    call = called({"messages": SAID, **body}, "openai.gpt-6-sol", invoke=invoke)
    held, cost = held_for(call, TokenUsage(1, made))
    assert held >= cost


@pytest.mark.parametrize("name", ["max_completion_tokens", "max_tokens"])
def test_a_tenants_own_maximum_holds_wherever_a_body_says_more(name: str) -> None:
    tenant = Tenant(TenantId("acme"), "Acme", (), max_output_tokens=100)
    call = called(
        {"messages": SAID, "max_tokens": 5, "max_completion_tokens": 5} | {name: 101}, "qwen.qwen3", invoke=True
    )
    with pytest.raises(GatewayError) as refused:
        enforce_output_limit(call, tenant)
    assert refused.value.code == "max_tokens_not_allowed"


PNG = "iVBORw0KGgo"


@pytest.mark.parametrize(
    ("content", "least"),
    [
        ([{"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://b/long.mp4"}}}}], 250_000),
        ([{"document": {"format": "pdf", "name": "d", "source": {"s3Location": {"uri": "s3://b/d.pdf"}}}}], 250_000),
        ([{"toolUse": {"toolUseId": "1", "name": "t", "input": {"bytes": PNG + "word " * 50_000}}}], 50_000),
        ([{"toolUse": {"toolUseId": "1", "name": "t",
                       "input": {"source": {"type": "base64", "data": PNG + "word " * 50_000}}}}], 50_000),
        ([{"toolResult": {"toolUseId": "1", "content": [{"json": {"bytes": PNG + "word " * 50_000}}]}}], 50_000),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64," + PNG}}], 4_784),
    ],
)  # fmt: skip
def test_no_content_is_read_for_more_than_it_is_held_for(content: Any, least: int) -> None:
    assert called({"messages": [{"role": "user", "content": content}]}).bound.usage.input_tokens >= least


@pytest.mark.parametrize(
    "content",
    [
        {"image": {"format": "png", "source": {"bytes": PNG + "A" * 3_000_000}}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG + "A" * 3_000_000}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PNG + "A" * 3_000_000}},
    ],
)
def test_a_picture_is_held_for_by_its_size_on_screen(content: Any) -> None:
    assert called({"messages": [{"role": "user", "content": [content]}]}).bound.usage.input_tokens < 10_000


def test_text_beside_a_picture_to_embed_is_held_for() -> None:
    body = {"inputText": "word " * 100, "inputImage": "A" * 100_000}
    usage = called(body, "amazon.titan-embed-image-v1", invoke=True).bound.usage
    assert 500 <= usage.input_tokens < 1_000
    assert usage.input_images == 1


def test_text_beside_pictures_to_embed_is_held_for_whatever_it_is_called() -> None:
    body = {"texts": ["word " * 100], "images": ["data:image/png;base64," + PNG + "A" * 100_000]}
    usage = called(body, "cohere.embed-english-v3", invoke=True).bound.usage
    assert 500 <= usage.input_tokens < 1_000
    assert usage.input_images == 1


def test_pictures_to_embed_are_held_for_wherever_they_are_asked_for() -> None:
    """The oldest operations put parameters into the body as they are."""
    pictures = {"texts": [], "images": ["data:image/png;base64," + PNG] * 3, "input_type": "image"}
    for kind in ("embeddings", "embeddings-image"):
        asked = LegacyRequest({"inputs": "a", "parameters": pictures}, "cohere.embed-english-v3", None, kind)
        (call,) = translated(asked, Catalog({})).calls
        assert (call.input_images, call.bound.usage.input_images) == (3, 3)


def test_half_a_character_can_be_counted() -> None:
    assert called({"messages": [{"role": "user", "content": [{"text": "\ud83d"}]}]}).bound.usage.input_tokens > 0
    assert estimate_tokens("ab\ud83d") == 2


def test_an_endpoints_answer_is_held_for() -> None:
    """A container makes as much as its body says; who makes no text makes nothing."""
    endpoints = Catalog({"ours": "endpoint"})
    asked = {"inputs": "hi", "parameters": {"max_new_tokens": 9000}}
    (call,) = translated(LegacyRequest(asked, "ours"), endpoints).calls
    assert call.bound.usage.output_tokens == 9000
    (call,) = translated(LegacyRequest({"inputs": "hi"}, "ours"), endpoints).calls
    assert call.bound.usage.output_tokens == DEFAULT_MAX_OUTPUT
    (call,) = translated(LegacyRequest({"inputs": "hi"}, "ours", None, "embeddings"), endpoints).calls
    assert call.bound.usage.output_tokens == 0
    for many in ({"inputs": ["hi", "ho"]}, {"inputs": {"inputs": ["hi", "ho"]}}, {"inputs": {"prompt": [[1, 2], [3]]}}):
        (call,) = translated(LegacyRequest(many | {"parameters": {"max_new_tokens": 9}}, "ours"), endpoints).calls
        assert call.bound.usage.output_tokens == 18
    chat = {"model": "ours", "messages": SAID, "max_tokens": 100, "n": 5}
    assert read_endpoint_chat(chat, endpoints.find("ours")).bound.usage.output_tokens == 500


def test_a_maximum_beyond_all_measure_is_refused_by_the_budget(aws: None) -> None:
    call = called({"messages": SAID, "inferenceConfig": {"maxTokens": 10**40}})
    meter = Meter(InMemoryLedger(), AccountTable("budgets"), lambda: TIERED, lambda _: None)
    context = Context(RequestId("r1"), Caller(HARD, KeyId("k")), "research", "us-east-1", NOW, lambda: NOW)
    with pytest.raises(GatewayError) as refused:
        answered([call], attempts(context, meter), Scripted(iter([])))
    assert refused.value.code == "budget_exceeded"
