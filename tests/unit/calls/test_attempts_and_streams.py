"""Attempts and streams: each attempt is a row, and each row settles once, whatever breaks."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.budgets.accounts import AccountId, Booking
from gateway.budgets.sweep import sweep_holds
from gateway.calls.attempts import AttemptPlan, CircuitOpenError
from gateway.calls.call import Context, ModelAnswer, ModelCall
from gateway.calls.catalog import Catalog
from gateway.calls.eventstream import Frame
from gateway.calls.invoke import answered
from gateway.calls.metering import Meter
from gateway.calls.model_routes import Circuit, Route, Routes
from gateway.calls.streaming import SSE_PING, MeteredUsage, open_stream
from gateway.core.errors import ForbiddenError, GatewayError, RetryableError, UpstreamError
from gateway.core.times import month_of
from gateway.pricing.price_csv import price_book
from gateway.tenancy.budgets import Budget
from gateway.tenancy.caller import Caller
from gateway.tenancy.tenant import Guardrail, Tenant
from gateway.usage.ledger import sweep
from gateway.usage.records import Attribution, KeyId, Outcome, RequestId, TenantId, TokenUsage, UserSource
from tests.fakes import InMemoryAccounts, InMemoryLedger

HAIKU, NOVA = "anthropic.claude-3-haiku-20240307-v1:0", "amazon.nova-lite-v1:0"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def throttled(retry_after: int = 1) -> RetryableError:
    return RetryableError(
        "wait", code="model_throttled", status=429, error_type="ThrottlingException", retry_after=retry_after
    )


def invalid() -> UpstreamError:
    return UpstreamError("no", code="model_rejected_request", status=400, error_type="ValidationException")


def broken() -> RetryableError:
    return RetryableError("cut", code="model_error", status=424, error_type="ProtocolError", ran=True)


@dataclass
class World:
    """A gateway in memory, whose models do what `script` says, one entry a call: a list of frames, or an error."""

    script: list[Any] = field(default_factory=list)
    ledger: InMemoryLedger = field(default_factory=InMemoryLedger)
    accounts: InMemoryAccounts = field(default_factory=InMemoryAccounts)
    sent: list[ModelCall] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    now: datetime = NOW
    open_circuits: set[str] = field(default_factory=set)
    guarded: list[str] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)

    def attempts(self, route: Route, tenant: Tenant | None = None, request_id: str = "r1") -> AttemptPlan:
        who = Caller(tenant or Tenant(TenantId("acme"), "Acme", ("research",)), KeyId("key_1"))
        context = Context(
            RequestId(request_id), who, "research", "us-east-1", NOW + timedelta(seconds=600), clock=lambda: self.now
        )
        meter = Meter(self.ledger, self.accounts, price_book, lambda _: None)
        return AttemptPlan(route, context, meter, self, sleep=self.slept.append, random=lambda: 1.0)

    def guard(self, model_id: str, circuit: Circuit) -> AbstractContextManager[None]:
        self.guarded.append(model_id)
        if model_id in self.open_circuits:
            raise CircuitOpenError(circuit.seconds)
        return nullcontext()

    def call(self, call: ModelCall) -> ModelAnswer:
        self.sent.append(call)
        what = self.script.pop(0)
        if isinstance(what, Exception):
            raise what
        return ModelAnswer({}, what)

    def open(self, call: ModelCall) -> Opened:
        self.sent.append(call)
        what = self.script.pop(0)
        if isinstance(what, Exception):
            raise what
        return Opened(what, self.headers)

    @property
    def rows(self) -> list[tuple[int, str, str, str]]:
        found = sorted(self.ledger.rows.values(), key=lambda row: row.attempt)
        return [(row.attempt, row.model_id, row.outcome.value, row.routing) for row in found]


class Opened:
    def __init__(self, said: Sequence[Any], headers: Mapping[str, str]):
        self.headers = headers
        self.frames = self._read(said)

    def _read(self, said: Sequence[Any]) -> Iterator[Frame]:
        for what in said:
            if isinstance(what, Exception):
                raise what
            yield what

    def abort(self) -> None: ...


class Plain:
    """A writer whose bytes say which frames came."""

    content_type, ping = "text/plain", b""

    def write(self, frame: Frame) -> bytes:
        return frame.kind.encode() + b";"

    def end(self, metered: MeteredUsage) -> bytes:
        return f"end {metered.usage.output_tokens} {metered.cost}".encode()

    def error(self, error: GatewayError) -> bytes:
        return f"error {error.code}".encode()


def calls(*models: str, api: str = "Converse") -> list[ModelCall]:
    body = {"messages": [], "inferenceConfig": {"maxTokens": 100}}
    catalog = Catalog({})
    return [ModelCall(catalog.find(m), "text", api, body, output_path=("inferenceConfig", "maxTokens")) for m in models]


def delta() -> Frame:
    return Frame("contentBlockDelta", b'{"delta": {"text": "x"}}')


def metadata(made: int = 7) -> Frame:
    return Frame("metadata", json.dumps({"usage": {"inputTokens": 5, "outputTokens": made}}).encode())


def chunk(event: Mapping[str, Any]) -> Frame:
    return Frame("chunk", json.dumps({"bytes": base64.b64encode(json.dumps(event).encode()).decode()}).encode())


METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 5, "outputTokenCount": 7}}


# ------------------------------------------------------------------------------------------------------------ attempts
def test_what_passes_is_tried_again_and_each_try_is_a_row() -> None:
    world = World([throttled(), throttled(), TokenUsage(3, 4)])
    call, answer = answered(calls(HAIKU), world.attempts(Route(HAIKU, (HAIKU,), retries=2)), world)
    assert (call.model.id, answer.usage) == (HAIKU, TokenUsage(3, 4))
    assert world.rows == [
        (1, HAIKU, "failed", ""),
        (2, HAIKU, "failed", "retry:model_throttled"),
        (3, HAIKU, "succeeded", "retry:model_throttled"),
    ]
    assert len(world.slept) == 2


def test_what_is_the_requests_own_fault_is_not_tried_again() -> None:
    world = World([invalid()])
    with pytest.raises(UpstreamError, match="no"):
        answered(calls(HAIKU, NOVA), world.attempts(Route(HAIKU, (HAIKU, NOVA), retries=3)), world)
    assert world.rows == [(1, HAIKU, "failed", "")]


def test_a_fallback_says_what_was_asked_what_was_used_and_why() -> None:
    world = World([throttled(), TokenUsage(3, 4)])
    answered(calls(HAIKU, NOVA), world.attempts(Route("fast", (HAIKU, NOVA))), world)
    assert world.rows == [(1, HAIKU, "failed", ""), (2, NOVA, "succeeded", "fallback:model_throttled")]
    assert {row.asked_model for row in world.ledger.rows.values()} == {"fast"}


def test_no_try_begins_after_the_deadline_of_its_route() -> None:
    world = World([throttled(), throttled()])
    route = Route(HAIKU, (HAIKU,), retries=5, deadline_seconds=1.0)
    with pytest.raises(RetryableError):
        answered(calls(HAIKU), world.attempts(route), world)
    assert len(world.rows) == 1  # the service asks for a second, and by then the deadline has passed


def test_a_model_that_asks_for_a_long_pause_is_left_for_the_next() -> None:
    world = World([throttled(60), TokenUsage(3, 4)])
    answered(calls(HAIKU, NOVA), world.attempts(Route("fast", (HAIKU, NOVA), retries=2)), world)
    assert world.rows == [(1, HAIKU, "failed", ""), (2, NOVA, "succeeded", "fallback:model_throttled")]
    assert world.slept == []


def test_a_model_whose_circuit_is_open_is_passed_over_without_a_row() -> None:
    world = World([TokenUsage(3, 4)], open_circuits={HAIKU})
    answered(calls(HAIKU, NOVA), world.attempts(Route("fast", (HAIKU, NOVA), retries=2, circuit=Circuit(3, 30))), world)
    assert world.rows == [(1 + 1, NOVA, "succeeded", "fallback:model_unavailable")]
    assert world.guarded == [HAIKU, NOVA]
    assert world.slept == []


def test_a_model_runs_no_more_calls_at_once_than_its_route_lets_it() -> None:
    world = World([[delta(), metadata()], [delta(), metadata()]])
    route = Route(HAIKU, (HAIKU,), concurrency=1)
    first = open_stream(calls(HAIKU, api="ConverseStream"), world.attempts(route), world)
    second = AttemptPlan(route, first.attempt.attempts.context, first.attempt.attempts.meter, world)
    object.__setattr__(second.context, "request_id", RequestId("r2"))
    with pytest.raises(RetryableError) as refused:
        open_stream(calls(HAIKU, api="ConverseStream"), second, world)
    assert (refused.value.status, refused.value.retry_after) == (429, 1)
    list(first.deliver(Plain()))
    open_stream(calls(HAIKU, api="ConverseStream"), second, world)  # the slot is free again


def test_a_slot_that_a_crash_left_is_given_back_by_the_sweep_and_charged_to_nobody() -> None:
    world = World([[delta(), metadata()]])
    route = Route(HAIKU, (HAIKU,), concurrency=1)
    open_stream(calls(HAIKU, api="ConverseStream"), world.attempts(route), world)  # and nobody ever reads it
    late = NOW + timedelta(seconds=601)
    sweep(world.ledger, late)
    assert sweep_holds(world.accounts, world.ledger, lambda *_: Booking(Decimal(9)), late) == 1
    (account,) = world.accounts.accounts.values()
    assert (dict(account.holds), account.spent, account.committed) == ({}, Decimal(0), Decimal(0))


def test_a_budget_refuses_before_any_model_is_asked_and_is_no_reason_for_a_fallback() -> None:
    world = World([])
    poor = Tenant(TenantId("acme"), "Acme", ("research",), budget=Budget(Decimal("0.0000001"), hard=True))
    with pytest.raises(GatewayError) as refused:
        answered(calls(HAIKU, NOVA), world.attempts(Route(HAIKU, (HAIKU, NOVA), retries=2), poor), world)
    assert refused.value.code == "budget_exceeded"
    assert (world.sent, world.rows) == ([], [])


def test_every_call_carries_its_owner_and_the_tenants_guardrail() -> None:
    world = World([TokenUsage(1, 1)])
    guarded = Tenant(TenantId("acme"), "Acme", ("research",), guardrail=Guardrail("gr-1", "3"))
    call = calls(HAIKU)[0]
    call.body["guardrailConfig"] = {"guardrailIdentifier": "mine", "guardrailVersion": "1", "trace": "enabled"}
    answered([call], world.attempts(Route(HAIKU, (HAIKU,)), guarded), world)
    (sent,) = world.sent
    assert sent.tags == {"tenant_id": "acme", "cost_centre": "research", "request_id": "r1"}
    assert sent.body["guardrailConfig"] == {"guardrailIdentifier": "gr-1", "guardrailVersion": "3", "trace": "enabled"}


def test_a_call_and_its_row_carry_the_user_and_how_the_gateway_knows_it() -> None:
    world = World([TokenUsage(1, 1)])
    attempts = world.attempts(Route(HAIKU, (HAIKU,)))
    by = Attribution("alice", UserSource.KEY, (("project", "apollo"),))
    object.__setattr__(attempts.context, "attribution", by)
    answered(calls(HAIKU), attempts, world)
    assert {"user_id": "alice", "user_source": "key"}.items() <= world.sent[0].tags.items()
    assert [row.attribution for row in world.ledger.rows.values()] == [by]


def test_more_tokens_than_the_tenant_may_ask_for_are_refused() -> None:
    world = World([])
    small = Tenant(TenantId("acme"), "Acme", (), max_output_tokens=50)
    with pytest.raises(ForbiddenError):
        answered(calls(HAIKU), world.attempts(Route(HAIKU, (HAIKU,)), small), world)


# ------------------------------------------------------------------------------------------------------------- streams
def stream(world: World, **said: Any) -> list[bytes]:
    attempts = world.attempts(Route(HAIKU, (HAIKU,)), **said)
    live = open_stream(calls(HAIKU, api="ConverseStream"), attempts, world)
    return list(live.deliver(Plain(), lambda _: Decimal("0.5")))


def settled(world: World) -> tuple[Outcome, int, int]:
    (row,) = world.ledger.rows.values()
    return row.outcome, row.usage.input_tokens, row.usage.output_tokens


def test_a_stream_is_settled_before_its_last_bytes() -> None:
    world = World([[delta(), delta(), metadata()]])
    live = open_stream(calls(HAIKU, api="ConverseStream"), world.attempts(Route(HAIKU, (HAIKU,))), world)
    seen = [(part, settled(world)[0]) for part in live.deliver(Plain())]
    assert [outcome.value for _, outcome in seen] == ["open", "open", "succeeded", "succeeded"]
    assert b"".join(part for part, _ in seen) == b"contentBlockDelta;contentBlockDelta;metadata;end 7 None"
    assert settled(world) == (Outcome.SUCCEEDED, 5, 7)


def test_a_refusal_before_the_first_frame_is_raised_and_not_streamed() -> None:
    world = World([[throttled()]])
    with pytest.raises(RetryableError):
        stream(world)
    assert settled(world) == (Outcome.FAILED, 0, 0)


def test_nothing_is_tried_again_once_an_answer_has_begun() -> None:
    world = World([[delta(), broken()], [delta(), metadata()]])
    live = open_stream(
        calls(HAIKU, NOVA, api="ConverseStream"), world.attempts(Route(HAIKU, (HAIKU, NOVA), retries=3)), world
    )
    assert list(live.deliver(Plain())) == [b"contentBlockDelta;", b"error model_error"]
    assert world.rows == [(1, HAIKU, "interrupted", "")]


def test_a_stream_that_breaks_after_its_usage_is_whole() -> None:
    world = World([[delta(), metadata(), broken()]])
    assert stream(world)[-1] == b"end 7 0.5"
    assert settled(world) == (Outcome.SUCCEEDED, 5, 7)


@pytest.mark.parametrize("client_stays", [True, False])
def test_what_is_known_of_a_broken_stream_is_settled(client_stays: bool) -> None:
    """Claude tells what it read in its first event."""
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 11, "output_tokens": 1}}}
    world = World([[chunk(start), chunk({"type": "content_block_delta"}), broken()]])
    attempts = world.attempts(Route(HAIKU, (HAIKU,)))
    live = open_stream(calls(HAIKU, api="InvokeModelWithResponseStream"), attempts, world)
    parts = live.deliver(Plain())
    if client_stays:
        assert list(parts)[-1] == b"error model_error"
    else:
        next(parts)
        parts.close()  # type: ignore[attr-defined]
    outcome, read, _ = settled(world)
    assert (outcome, read) == (Outcome.INTERRUPTED, 11)


@pytest.mark.parametrize(
    ("api", "said"),
    [
        ("ConverseStream", [Frame("messageStart", b"{}"), delta()]),
        (
            "InvokeModelWithResponseStream",
            [chunk({"type": "message_start", "message": {"usage": {"input_tokens": 11}}})],
        ),
    ],
)
def test_a_connection_that_is_closed_in_good_order_amid_an_answer_is_no_end_of_it(api: str, said: list[Frame]) -> None:
    for client_stays in (True, False):
        world = World([said])
        live = open_stream(calls(HAIKU, api=api), world.attempts(Route(HAIKU, (HAIKU,))), world)
        parts = live.deliver(Plain())
        first = next(parts)
        rest = list(parts) if client_stays else parts.close()  # type: ignore[attr-defined]
        assert first
        assert not client_stays or (rest and rest[-1] == b"error model_error")
        outcome, _, made = settled(world)
        assert (outcome, made) == (Outcome.INTERRUPTED, 0)


def test_a_stream_without_a_single_event_is_a_failure_with_a_status() -> None:
    world = World([[]])
    with pytest.raises(UpstreamError) as broke:
        stream(world)
    assert broke.value.status == 424
    assert settled(world)[0] is Outcome.INTERRUPTED


def test_the_tier_that_only_the_header_of_a_stream_echoes_is_kept() -> None:
    for api, last in (("ConverseStream", metadata()), ("InvokeModelWithResponseStream", chunk(METRICS))):
        world = World([[delta(), last]], headers={"x-amzn-bedrock-service-tier": "flex"})
        live = open_stream(calls(HAIKU, api=api), world.attempts(Route(HAIKU, (HAIKU,))), world)
        list(live.deliver(Plain()))
        (row,) = world.ledger.rows.values()
        assert row.usage.service_tier == "flex"


def test_whoever_stops_reading_leaves_a_call_that_is_settled_in_full() -> None:
    world = World([[delta(), delta(), delta(), metadata(9)]])
    live = open_stream(calls(HAIKU, api="ConverseStream"), world.attempts(Route(HAIKU, (HAIKU,))), world)
    parts = live.deliver(Plain())
    next(parts)
    parts.close()  # type: ignore[attr-defined]
    assert settled(world) == (Outcome.SUCCEEDED, 5, 9)


def test_a_writer_that_fails_costs_no_metering() -> None:
    class Faulty(Plain):
        def write(self, frame: Frame) -> bytes:
            raise RuntimeError("a fault of ours")

    world = World([[delta(), metadata(9)]])
    live = open_stream(calls(HAIKU, api="ConverseStream"), world.attempts(Route(HAIKU, (HAIKU,))), world)
    with pytest.raises(RuntimeError):
        list(live.deliver(Faulty()))
    assert settled(world) == (Outcome.SUCCEEDED, 5, 9)


def test_a_stream_that_outlives_its_function_is_broken_off_in_time_to_settle() -> None:
    world = World([[delta(), delta(), metadata()]])
    live = open_stream(calls(HAIKU, api="ConverseStream"), world.attempts(Route(HAIKU, (HAIKU,))), world)
    parts = live.deliver(Plain())
    next(parts)
    world.now = NOW + timedelta(seconds=599)
    assert list(parts) == [b"error model_timeout"]
    assert settled(world)[0] is Outcome.INTERRUPTED


def test_the_hold_of_a_stream_becomes_its_charge() -> None:
    world = World([[delta(), metadata(50)]])
    stream(world, tenant=Tenant(TenantId("acme"), "Acme", ("research",), budget=Budget(Decimal(1), hard=True)))
    account = world.accounts.account(AccountId(TenantId("acme"), month_of(NOW)))
    (row,) = world.ledger.rows.values()
    charge = price_book().charge_record(row)
    assert charge is not None
    assert account.spent == account.committed == charge.cost > 0


def test_streams_that_are_cut_fill_a_hard_budget_by_their_holds() -> None:
    """Nobody knows the cost of what a cut stream left out, so its hold stays."""

    def committed(world: World, number: int, limit: Decimal) -> Decimal:
        tenant = Tenant(TenantId("acme"), "Acme", ("research",), budget=Budget(limit, hard=True))
        stream(world, tenant=tenant, request_id=f"r{number}")
        account = world.accounts.account(AccountId(TenantId("acme"), month_of(NOW)))
        assert account.spent == 0
        assert not account.holds
        return account.committed

    hold = committed(World([[delta(), broken()]]), 0, Decimal(1))
    world, limit = World([[delta(), broken()] for _ in range(11)]), hold * Decimal("10.5")
    assert [committed(world, number, limit) for number in range(10)] == [hold * (number + 1) for number in range(10)]
    with pytest.raises(GatewayError) as full:
        committed(world, 10, limit)
    assert full.value.code == "budget_exceeded"
    assert {row.outcome for row in world.ledger.rows.values()} == {Outcome.INTERRUPTED}
    assert (len(world.sent), len(world.ledger.rows)) == (10, 10)


@given(
    st.lists(st.sampled_from(["frames", "throttled", "invalid", "broken", "cut"]), min_size=1, max_size=6),
    st.integers(0, 3),
    st.integers(1, 6),
)
def test_whatever_happens_every_row_is_settled_once_and_nothing_stays_held(
    happens: list[str], retries: int, read: int
) -> None:
    said: dict[str, Callable[[], Any]] = {
        "frames": lambda: [delta(), delta(), metadata()],
        "throttled": throttled,
        "invalid": invalid,
        "broken": broken,
        "cut": lambda: [delta(), broken()],
    }
    world = World([said[what]() for what in happens] + [throttled()] * 20)
    tenant = Tenant(TenantId("acme"), "Acme", ("research",), budget=Budget(Decimal(1), hard=True))
    route = Route("fast", (HAIKU, NOVA), retries=retries, concurrency=2)
    try:
        live = open_stream(calls(HAIKU, NOVA, api="ConverseStream"), world.attempts(route, tenant), world)
        parts = live.deliver(Plain())
        list(itertools.islice(parts, read))
        parts.close()  # type: ignore[attr-defined]
    except GatewayError:
        pass
    assert len(world.ledger.rows) == len(world.sent)
    assert not [row for row in world.ledger.rows.values() if row.is_open]
    assert not [hold for account in world.accounts.accounts.values() for hold in account.holds.values()]


# -------------------------------------------------------------------------------------------------------------- routes
def test_a_sign_of_life_is_no_event_even_to_a_decoder_that_makes_one_of_every_empty_line() -> None:
    stream = SSE_PING + SSE_PING + b'data: {"a": 1}\n\n' + SSE_PING + b"data: [DONE]\n\n"
    for event in stream.split(b"\n\n")[:-1]:
        assert [line for line in event.split(b"\n") if line.startswith(b"data:")], event


def test_a_name_without_a_route_is_a_model_that_is_tried_once() -> None:
    assert Routes.from_json("{}").find(HAIKU) == Route(HAIKU, (HAIKU,))


def test_a_route_is_read_as_operators_write_it() -> None:
    routes = Routes.from_json(
        json.dumps(
            {"fast": {"model": HAIKU, "fallbacks": [NOVA], "retries": 2, "circuit": {"failures": 5, "seconds": 30}}}
        )
    )
    assert routes.find("fast") == Route("fast", (HAIKU, NOVA), 2, circuit=Circuit(5, 30))
    assert [route.name for route in routes.aliases()] == ["fast"]


@pytest.mark.parametrize(
    "said",
    [
        "[]",
        '{"a": 1}',
        '{"a": {"retries": -1}}',
        '{"a": {"retires": 1}}',
        '{"a": {"fallbacks": "x"}}',
        '{"a": {"circuit": {"failures": 3}}}',
        '{"a": {"concurrency": 0}}',
    ],
)
def test_a_wrong_route_is_refused_at_the_cold_start(said: str) -> None:
    with pytest.raises(ValueError, match="MODEL_ROUTES"):
        Routes.from_json(said)
