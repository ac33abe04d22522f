"""Streams: translates a service's frames to the client's bytes, and settles the call before the last of them.

    open      reserve, call, wait for the first frame: until then an error has its own status and may be retried
    deliver   frame by frame; the frame with the usage settles the call before the client gets it
    break     an interrupted stream settles with the known usage, as `interrupted`; the client's format reports it

The reader must read the bytes to the end, even after the client has disconnected: the last frame has the usage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Protocol

from gateway.calls.attempts import AttemptPlan, OpenAttempt
from gateway.calls.call import ModelCall
from gateway.calls.eventstream import Frame
from gateway.calls.spans import finish_reason
from gateway.core.errors import GatewayError, UpstreamError
from gateway.usage.provider_counts import header_tier, texts
from gateway.usage.records import UNKNOWN, Outcome, TokenUsage
from gateway.usage.stream_counts import ConverseStreamUsage, EndpointUsage, InvokeStreamUsage

# A comment of server-sent events, without an empty line: some decoders take that for an event without data and fail
# (openai/openai-python#2722; openai-go as well).
SSE_PING = b": ping\n"
SETTLING = timedelta(seconds=5)  # the part of a function's time that is reserved for settling


@dataclass(frozen=True)
class MeteredUsage:
    """A settled call's usage, and its cost in USD if it has a price."""

    usage: TokenUsage
    cost: Decimal | None = None


class StreamWriter(Protocol):
    """Writes one stream in one wire format. It gets each frame in order, then either the end or the error.

    `write` gets the frame that ends the answer (Converse's `metadata`) only after the call is settled. It may return
    empty bytes, since not every format has bytes for every event.
    """

    content_type: str
    ping: bytes  # a keep-alive that may be sent between two writes; may be empty

    def write(self, frame: Frame) -> bytes: ...

    def end(self, metered: MeteredUsage) -> bytes:
        """The last bytes of a complete stream."""

    def error(self, error: GatewayError) -> bytes:
        """The last bytes of a stream that failed after its HTTP status was sent."""


class ModelStream(Protocol):
    """An open stream of a model service."""

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def frames(self) -> Iterator[Frame]:
        """Each frame as it arrives. Raises UpstreamError for an error frame and for a broken stream."""

    def abort(self) -> None:
        """End the stream now, from another thread."""


class Streams(Protocol):
    """Opens streams at model services. Raises UpstreamError. One call is one upstream attempt, without retries."""

    def open(self, call: ModelCall) -> ModelStream: ...


@dataclass(frozen=True)
class StreamServices:
    """Opens each stream at the service of its model."""

    services: Mapping[str, Streams]

    def open(self, call: ModelCall) -> ModelStream:
        return self.services[call.model.service].open(call)


class UsageCollector:
    """Reads the usage from a passing stream, and parses as few frames as possible."""

    def __init__(self, call: ModelCall, headers: Mapping[str, str]):
        self._call = call
        self._tier = header_tier(headers)
        self._counts = _COUNTS[call.api]()
        self._stopped = False
        self.finish_reason = ""

    def see(self, frame: Frame) -> None:
        with suppress(ValueError, KeyError, TypeError, AttributeError):  # unreadable counts are no counts
            if isinstance(self._counts, InvokeStreamUsage):
                if frame.kind == "chunk":
                    self._counts.read(frame.chunk)
            elif frame.kind in ("metadata", "line"):
                self._counts.see(frame.json)
            elif frame.kind == "messageStop":
                self._stopped = True
                self.finish_reason = finish_reason(frame.json)

    @property
    def complete(self) -> bool:
        return self._counts.complete

    @property
    def is_complete(self) -> bool:
        """Is the answer complete? A connection may also close cleanly in the middle of one."""
        return self._stopped or self._counts.is_complete

    def partial_usage(self) -> TokenUsage | None:
        """The counts so far; None without any."""
        try:
            return self._counts.usage(self._tier)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def usage(self) -> TokenUsage:
        """The usage of an ended stream. If a container counts nothing, it is an estimate, which the row states."""
        if (counted := self.partial_usage()) is not None:
            return counted
        if isinstance(self._counts, EndpointUsage):
            return self._call.estimated(texts(self._call.body), self._counts.said)
        return TokenUsage(source=UNKNOWN)


_COUNTS: Mapping[str, Callable[[], ConverseStreamUsage | InvokeStreamUsage | EndpointUsage]] = {
    "ConverseStream": ConverseStreamUsage,
    "InvokeModelWithResponseStream": InvokeStreamUsage,
    "InvokeEndpointWithResponseStream": EndpointUsage,
}


@dataclass(frozen=True)
class MeteredStream:
    """A stream whose first frame has arrived."""

    call: ModelCall
    attempt: OpenAttempt
    opened: ModelStream
    first: Frame

    def deliver(
        self, writer: StreamWriter, cost_of: Callable[[OpenAttempt], Decimal | None] | None = None
    ) -> Iterator[bytes]:
        """The client's bytes, without empty parts. Always reads the service's stream to its end."""
        tap, until = UsageCollector(self.call, self.opened.headers), self.attempt.row.lease_until - SETTLING
        clock = self.attempt.attempts.context.clock
        rest = self.opened.frames
        try:
            frame: Frame | None = self.first
            while frame is not None:
                tap.see(frame)
                if tap.complete:
                    self._settle(tap)
                if part := _read(writer, frame):
                    yield part
                if clock() > until:
                    raise out_of_time()
                frame = next(rest, None)
            self._end(tap)
        except UpstreamError as error:
            if self.attempt.settled is None:
                said = out_of_time() if clock() > until else error
                self.attempt.fail(said, tap.partial_usage())
                yield writer.error(said)
                return
        finally:
            self._drain_and_settle(tap, rest)
        settled = self.attempt.settled
        usage = settled.usage if settled else TokenUsage(source=UNKNOWN)
        if part := writer.end(MeteredUsage(usage, cost_of(self.attempt) if cost_of else None)):
            yield part

    def _end(self, tap: UsageCollector) -> None:
        if not tap.is_complete:
            raise broken_off()
        self._settle(tap)

    def _settle(self, tap: UsageCollector) -> None:
        self.attempt.finish_reason = tap.finish_reason
        self.attempt.settle(Outcome.SUCCEEDED, tap.usage())

    def _drain_and_settle(self, tap: UsageCollector, rest: Iterator[Frame]) -> None:
        """After a failed delivery, read the rest: the model continues, and its whole output is charged."""
        if self.attempt.settled is not None:
            return
        try:
            for frame in rest:
                tap.see(frame)
            self._end(tap)
        except UpstreamError as error:
            self.attempt.fail(error, tap.partial_usage())


def _read(writer: StreamWriter, frame: Frame) -> bytes:
    """Raises GatewayError for a frame that does not match the service's own model."""
    try:
        return writer.write(frame)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise unreadable() from error


def unreadable() -> GatewayError:
    return GatewayError("The model's response has an unexpected format.", code="upstream_unreadable", status=502)


def out_of_time() -> UpstreamError:
    return UpstreamError(
        "The response exceeded the maximum duration. Reduce max_tokens.",
        code="model_timeout", status=408, error_type="ModelTimeoutException", ran=True,
    )  # fmt: skip


def broken_off() -> UpstreamError:
    return UpstreamError(
        "The model's response was cut off. Retry.",
        code="model_error", status=424, error_type="ModelErrorException", ran=True,
    )  # fmt: skip


def open_stream(calls: Sequence[ModelCall], attempts: AttemptPlan, streams: Streams) -> MeteredStream:
    """The stream of the first attempt that opens one. Raises GatewayError."""
    tries = attempts.of(calls)
    for attempt in tries:
        with attempt:
            opened = streams.open(attempt.call)
            first = next(opened.frames, None)
            if first is None:
                raise broken_off()
            attempt.first_chunk = attempts.context.clock()
            return MeteredStream(attempt.call, attempt, opened, first)
    raise tries.failure
